#include "python/convert.h"

namespace gradsmith::python {

const Tensor no_tensor;

void wrong_type(Where where, const char* wanted, PyObject* got) {
  fail(ErrorKind::type, "{}: argument '{}' must be {}, got {}", where.op, where.argument, wanted,
       Py_TYPE(got)->tp_name);
}

bool FromPy<bool>::get(PyObject* o, Where where) {
  if (o == Py_True) return true;
  if (o == Py_False) return false;
  if (!is_tensor(o) && PyIndex_Check(o)) {
    const int truth = PyObject_IsTrue(o);
    if (truth >= 0) return truth != 0;
    PyErr_Clear();
  }
  wrong_type(where, "a bool", o);
}

std::int64_t FromPy<std::int64_t>::get(PyObject* o, Where where) {
  if (!PyBool_Check(o) && (PyLong_Check(o) || (PyIndex_Check(o) && !PyFloat_Check(o)))) {
    PyObject* index = PyNumber_Index(o);
    if (index) {
      int overflow = 0;
      const long long v = PyLong_AsLongLongAndOverflow(index, &overflow);
      Py_DECREF(index);
      GS_CHECK(!overflow, "{}: argument '{}' does not fit in 64 bits", where.op, where.argument);
      return v;
    }
    PyErr_Clear();
  }
  wrong_type(where, "an int", o);
}

double FromPy<double>::get(PyObject* o, Where where) {
  if (PyFloat_CheckExact(o)) return PyFloat_AS_DOUBLE(o);
  if (is_number(o)) {
    const double v = PyFloat_AsDouble(o);
    if (v != -1.0 || !PyErr_Occurred()) return v;
    PyErr_Clear();
  }
  wrong_type(where, "a number", o);
}

std::string FromPy<std::string>::get(PyObject* o, Where where) {
  if (!PyUnicode_Check(o)) wrong_type(where, "a str", o);
  Py_ssize_t n = 0;
  const char* text = PyUnicode_AsUTF8AndSize(o, &n);
  if (!text) throw pybind11::error_already_set();
  return std::string(text, std::size_t(n));
}

// A list can be changed by the __index__ of its items, a tuple of them cannot.
pybind11::tuple frozen(PyObject* sequence) {
  PyObject* tuple = PySequence_Tuple(sequence);
  if (!tuple) throw pybind11::error_already_set();
  return pybind11::reinterpret_steal<pybind11::tuple>(tuple);
}

Dims FromPy<Dims>::get(PyObject* o, Where where) {
  if (o == Py_None) return {};
  if (PyTuple_Check(o) || PyList_Check(o)) {
    pybind11::tuple items = frozen(o);
    // permute(*(0, 1)) and permute((0, 1)) are the same; so is a variadic call with one sequence.
    if (items.size() == 1 && (PyTuple_Check(items[0].ptr()) || PyList_Check(items[0].ptr())))
      items = frozen(items[0].ptr());
    GS_CHECK(items.size() <= std::size_t(kMaxDims),
             "{}: argument '{}' has {} entries, at most {} are allowed", where.op, where.argument,
             items.size(), kMaxDims);
    Dims dims;
    for (const auto& item : items) dims.push_back(FromPy<std::int64_t>::get(item.ptr(), where));
    return dims;
  }
  if (PyIndex_Check(o) && !PyBool_Check(o)) return {FromPy<std::int64_t>::get(o, where)};
  wrong_type(where, "an int or a sequence of ints", o);
}

PyObject* to_py(const Dims& dims) {
  PyObject* tuple = PyTuple_New(dims.size());
  for (int i = 0; i < dims.size(); ++i) PyTuple_SET_ITEM(tuple, i, PyLong_FromLongLong(dims[i]));
  return tuple;
}

}  // namespace gradsmith::python
