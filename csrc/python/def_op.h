// The one way in which ops are bound:
//
//   b.both<&ops::softmax>("softmax", "input, dim", "Softmax over `dim`. ...");
//
// binds gradsmith._core.softmax(input, dim) and Tensor.softmax(dim). The signature string gives
// the names, the defaults (None, True, False, numbers, 'text', ()), `*` before keyword-only
// arguments, and `*name` for trailing integers that may also come as one sequence. Conversion is
// METH_FASTCALL without overloads; the GIL is let go when the tensors are large enough to matter.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "python/convert.h"
#include "python/type_names.h"

namespace gradsmith::python {

struct OpSpec {
  std::string name, signature, doc;
  struct Arg {
    std::string text;
    PyObject* name = nullptr;           // interned
    PyObject* default_value = nullptr;  // null: required
  };
  std::vector<Arg> args;
  std::size_t positional = 0;  // arguments from here on are keyword-only
  bool variadic = false;       // the last positional one takes all that remain

  void parse(const char* op, const char* text, const char* doc_text);
  // Fills `slots` (borrowed; a packed variadic tuple is returned in `owned`).
  void bind(PyObject** slots, PyObject* self, PyObject* const* given, Py_ssize_t n,
            PyObject* kwnames, PyObject*& owned) const;
};

// More elements than this in the arguments, and the op runs without the GIL.
inline constexpr std::int64_t kReleaseGilElements = 16384;

namespace detail {
template <class T>
std::int64_t work(const T&) {
  return 0;
}
inline std::int64_t work(const Tensor& t) { return t.defined() ? t.numel() : 0; }
inline std::int64_t work(const Operand& t) { return t.numel(); }
inline std::int64_t work(const std::vector<Tensor>& list) {
  std::int64_t n = 0;
  for (const Tensor& t : list) n += work(t);
  return n;
}

template <auto Fn>
struct Bound;
template <class R, class... A, R (*Fn)(A...)>
struct Bound<Fn> {
  static inline OpSpec spec;

  template <std::size_t... I>
  static PyObject* run(PyObject** slots, std::index_sequence<I...>) {
    std::tuple<decltype(FromPy<std::decay_t<A>>::get(nullptr, Where{}))...> values{
        FromPy<std::decay_t<A>>::get(slots[I],
                                     Where{spec.name.c_str(), spec.args[I].text.c_str()})...};
    const bool release = (work(std::get<I>(values)) + ... + 0) > kReleaseGilElements;
    if constexpr (std::is_void_v<R>) {
      {
        GilRelease gil(release);
        Fn(std::get<I>(values)...);
      }
      Py_RETURN_NONE;
    } else {
      std::optional<std::decay_t<R>> result;
      {
        GilRelease gil(release);
        result.emplace(Fn(std::get<I>(values)...));
      }
      return to_py(std::move(*result));
    }
  }
  static PyObject* invoke(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
    PyObject* slots[sizeof...(A) + 1];
    PyObject* owned = nullptr;
    PyObject* result = nullptr;
    try {
      spec.bind(slots, self, args, n, kwnames, owned);
      result = run(slots, std::index_sequence_for<A...>{});
    } catch (ForcedUnwind&) {
      throw;
    } catch (...) {
      translate_exception();
    }
    Py_XDECREF(owned);
    return result;
  }
  static PyObject* function(PyObject*, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
    return invoke(nullptr, args, n, kwnames);
  }
  static PyObject* method(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
    return invoke(self, args, n, kwnames);
  }
};
}  // namespace detail

// An op of one tensor that also takes PyTorch's `inplace`, and does not write in place.
template <auto Op>
struct TakesInplace;
template <class... A, Tensor (*Op)(A...)>
struct TakesInplace<Op> {
  static Tensor call(A... arguments, bool) { return Op(arguments...); }
};

class Binder {
 public:
  explicit Binder(PyObject* module) : module_(module) {}

  template <auto Fn>
  void function(const char* name, const char* signature, const char* doc) {
    prepare<Fn>(name, signature, doc);
    add_function(detail::Bound<Fn>::spec, &detail::Bound<Fn>::function);
  }
  template <auto Fn>
  void method(const char* name, const char* signature, const char* doc) {
    prepare<Fn>(name, signature, doc);
    add_method(detail::Bound<Fn>::spec, &detail::Bound<Fn>::method);
  }
  template <auto Fn>
  void both(const char* name, const char* signature, const char* doc) {
    prepare<Fn>(name, signature, doc);
    add_function(detail::Bound<Fn>::spec, &detail::Bound<Fn>::function);
    add_method(detail::Bound<Fn>::spec, &detail::Bound<Fn>::method);
  }
  void alias_method(const char* name, const char* existing);

  // What this binder has bound, for tools/make_stubs.py.
  struct Described {
    const OpSpec* spec;
    std::vector<std::string> (*types)();  // of the parameters, then of the result
    bool method;
  };
  const std::vector<Described>& described() const { return described_; }

 private:
  template <auto Fn>
  void prepare(const char* name, const char* signature, const char* doc) {
    detail::Bound<Fn>::spec.parse(name, signature, doc);
    check_count(detail::Bound<Fn>::spec, count(Fn));
    types_ = types(Fn);
  }
  template <class R, class... A>
  static std::size_t count(R (*)(A...)) {
    return sizeof...(A);
  }
  template <class R, class... A>
  static auto types(R (*)(A...)) {
    return +[] {
      return std::vector<std::string>{parameter_type<std::decay_t<A>>()...,
                                      result_type<std::decay_t<R>>()};
    };
  }
  static void check_count(const OpSpec& spec, std::size_t parameters);
  void add_function(const OpSpec& spec, _PyCFunctionFastWithKeywords fn);
  void add_method(const OpSpec& spec, _PyCFunctionFastWithKeywords fn);
  PyObject* module_;
  std::vector<std::string> (*types_)() = nullptr;  // of what is being bound
  std::vector<Described> described_;
};

}  // namespace gradsmith::python
