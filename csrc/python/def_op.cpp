#include "python/def_op.h"

namespace gradsmith::python {

namespace {

std::string trim(std::string_view s) {
  while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
  while (!s.empty() && s.back() == ' ') s.remove_suffix(1);
  return std::string(s);
}

// Splits at commas outside parentheses and quotes.
std::vector<std::string> split_arguments(std::string_view text) {
  std::vector<std::string> parts;
  int depth = 0;
  bool quoted = false;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    const char c = i < text.size() ? text[i] : ',';
    quoted ^= c == '\'';
    depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    if (c == ',' && depth == 0 && !quoted) {
      if (std::string part = trim(text.substr(begin, i - begin)); !part.empty())
        parts.push_back(std::move(part));
      begin = i + 1;
    }
  }
  return parts;
}

PyObject* parse_default(const std::string& text) {
  if (text == "None") Py_RETURN_NONE;
  if (text == "True") Py_RETURN_TRUE;
  if (text == "False") Py_RETURN_FALSE;
  if (text == "()") return PyTuple_New(0);
  if (text.front() == '\'') return PyUnicode_FromString(text.substr(1, text.size() - 2).c_str());
  if (text.find_first_of(".einf") == std::string::npos)
    return PyLong_FromString(text.c_str(), nullptr, 10);
  return PyFloat_FromDouble(std::stod(text));
}

// The argument of that name, or of the name that NumPy gives it.
std::size_t find(const std::vector<OpSpec::Arg>& args, const char* key) {
  std::string_view name = key ? key : "";
  if (name == "axis") name = "dim";
  if (name == "keepdims") name = "keepdim";
  std::size_t at = 0;
  while (at < args.size() && args[at].text != name) ++at;
  return at;
}

[[noreturn]] void bad_call(const OpSpec& spec, const std::string& what) {
  fail(ErrorKind::type, "{}({}): {}", spec.name, spec.signature, what);
}

}  // namespace

void OpSpec::parse(const char* op, const char* text, const char* doc_text) {
  if (!args.empty()) return;  // bound under a second name
  name = op;
  signature = text;
  doc = name + "(" + signature + ")\n--\n\n" + doc_text;
  bool keyword_only = false;
  for (const std::string& part : split_arguments(text)) {
    if (part == "*") {
      keyword_only = true;
      continue;
    }
    Arg arg;
    const auto equals = part.find('=');
    arg.text = part.substr(0, equals);
    if (arg.text.front() == '*') {
      arg.text.erase(0, 1);
      variadic = true;
      positional = args.size() + 1;
    }
    arg.name = PyUnicode_InternFromString(arg.text.c_str());
    if (equals != std::string::npos) arg.default_value = parse_default(part.substr(equals + 1));
    args.push_back(std::move(arg));
    if (!keyword_only) positional = args.size();
    keyword_only |= variadic;
  }
}

void OpSpec::bind(PyObject** slots, PyObject* self, PyObject* const* given, Py_ssize_t n,
                  PyObject* kwnames, PyObject*& owned) const {
  const std::size_t total = args.size();
  std::size_t filled = 0;
  if (self) slots[filled++] = self;
  const auto count = std::size_t(n);
  if (variadic && count + filled >= positional &&
      (count + filled > positional ||
       PyLong_Check(given[n - 1]))) {  // integers one by one: pack them into a tuple
    const std::size_t plain = positional - 1 - filled;
    for (std::size_t i = 0; i < plain; ++i) slots[filled++] = given[i];
    owned = PyTuple_New(Py_ssize_t(count - plain));
    for (std::size_t i = plain; i < count; ++i)
      PyTuple_SET_ITEM(owned, Py_ssize_t(i - plain), Py_NewRef(given[i]));
    slots[filled++] = owned;
  } else {
    if (count + filled > positional)
      bad_call(*this,
               format("takes at most {} positional arguments, got {}", positional, count + filled));
    for (std::size_t i = 0; i < count; ++i) slots[filled++] = given[i];
  }
  for (std::size_t i = filled; i < total; ++i) slots[i] = nullptr;
  const Py_ssize_t keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t k = 0; k < keywords; ++k) {
    PyObject* key = PyTuple_GET_ITEM(kwnames, k);
    std::size_t at = 0;
    while (at < total && args[at].name != key) ++at;
    if (at == total) at = find(args, PyUnicode_AsUTF8(key));
    if (at == total) bad_call(*this, format("has no argument '{}'", PyUnicode_AsUTF8(key)));
    if (at < filled || slots[at])
      bad_call(*this, format("argument '{}' given twice", args[at].text));
    slots[at] = given[n + k];
  }
  for (std::size_t i = filled; i < total; ++i) {
    if (slots[i]) continue;
    if (!args[i].default_value) bad_call(*this, format("argument '{}' is missing", args[i].text));
    slots[i] = args[i].default_value;
  }
  for (std::size_t i = 0; i < total; ++i) {
    if (slots[i] != Py_None || args[i].default_value == Py_None) continue;
    // PyTorch's code passes None where neither dtype nor device was asked for.
    if (args[i].default_value && (args[i].text == "dtype" || args[i].text == "device"))
      slots[i] = args[i].default_value;
    else
      fail(ErrorKind::type, "{}: argument '{}' must not be None", name, args[i].text);
  }
}

void Binder::check_count(const OpSpec& spec, std::size_t parameters) {
  if (spec.args.size() != parameters)
    fail(ErrorKind::state, "binding of {}({}): the C++ function takes {} parameters", spec.name,
         spec.signature, parameters);
}

namespace {
PyMethodDef* make_def(const OpSpec& spec, _PyCFunctionFastWithKeywords fn) {
  return new PyMethodDef{spec.name.c_str(),
                         reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(fn)),
                         METH_FASTCALL | METH_KEYWORDS, spec.doc.c_str()};
}
void set(PyObject* target, const char* name, PyObject* value) {
  const int rc = value ? PyObject_SetAttrString(target, name, value) : -1;
  Py_XDECREF(value);
  if (rc < 0) throw pybind11::error_already_set();
}
}  // namespace

void Binder::add_function(const OpSpec& spec, _PyCFunctionFastWithKeywords fn) {
  described_.push_back({&spec, types_, false});
  pybind11::str module_name("gradsmith");
  set(module_, spec.name.c_str(),
      PyCFunction_NewEx(make_def(spec, fn), nullptr, module_name.ptr()));
}

void Binder::add_method(const OpSpec& spec, _PyCFunctionFastWithKeywords fn) {
  described_.push_back({&spec, types_, true});
  // A method's text signature names self; `input` is what the function form calls it.
  PyMethodDef* def = make_def(spec, fn);
  set(reinterpret_cast<PyObject*>(tensor_type), spec.name.c_str(),
      PyDescr_NewMethod(tensor_type, def));
}

void Binder::alias_method(const char* name, const char* existing) {
  auto* type = reinterpret_cast<PyObject*>(tensor_type);
  set(type, name, PyObject_GetAttrString(type, existing));
}

}  // namespace gradsmith::python
