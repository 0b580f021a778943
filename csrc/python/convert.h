// Arguments and results of ops between Python and C++. FromPy<T>::get(object, where) converts or
// throws an Error that names the op and the argument.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

#include "base/check.h"
#include "python/py_tensor.h"

namespace gradsmith::python {

struct Where {
  const char* op;
  const char* argument;
};
[[noreturn]] void wrong_type(Where where, const char* wanted, PyObject* got);

extern const Tensor no_tensor;

template <class T>
struct FromPy;

template <>
struct FromPy<Tensor> {
  static const Tensor& get(PyObject* o, Where where) {
    if (is_tensor(o)) [[likely]]
      return tensor_of(o);
    if (o == Py_None) return no_tensor;
    wrong_type(where, "a Tensor", o);
  }
};
template <>
struct FromPy<Operand> {
  static Operand get(PyObject* o, Where where) {
    if (is_tensor(o)) [[likely]]
      return tensor_of(o);
    if (is_number(o)) return operand_from_number(o);
    wrong_type(where, "a Tensor or a number", o);
  }
};
template <>
struct FromPy<bool> {
  static bool get(PyObject* o, Where where);
};
template <>
struct FromPy<std::int64_t> {
  static std::int64_t get(PyObject* o, Where where);
};
template <>
struct FromPy<double> {
  static double get(PyObject* o, Where where);
};
template <>
struct FromPy<std::string> {
  static std::string get(PyObject* o, Where where);
};
template <>
struct FromPy<Dims> {  // an int, a sequence of ints, or None (empty)
  static Dims get(PyObject* o, Where where);
};
using IntOrDims = std::variant<std::int64_t, Dims>;
template <>
struct FromPy<IntOrDims> {  // an int or a sequence of ints, which is told apart
  static IntOrDims get(PyObject* o, Where where) {
    if (PyList_Check(o) || PyTuple_Check(o)) return FromPy<Dims>::get(o, where);
    return FromPy<std::int64_t>::get(o, where);
  }
};
using NumberOrName = std::variant<double, std::string>;
template <>
struct FromPy<NumberOrName> {
  static NumberOrName get(PyObject* o, Where where) {
    if (PyUnicode_Check(o)) return FromPy<std::string>::get(o, where);
    return FromPy<double>::get(o, where);
  }
};
template <>
struct FromPy<DType> {
  static DType get(PyObject* o, Where where);
};
template <>
struct FromPy<Device> {
  static Device get(PyObject* o, Where where);
};
template <class T>
struct FromPy<std::optional<T>> {
  static std::optional<T> get(PyObject* o, Where where) {
    if (o == Py_None) return std::nullopt;
    return FromPy<T>::get(o, where);
  }
};
pybind11::tuple frozen(PyObject* sequence);
template <class T>
struct FromPy<std::vector<T>> {
  static std::vector<T> get(PyObject* o, Where where) {
    if (!PyList_Check(o) && !PyTuple_Check(o)) {
      if (o == Py_None) return {};
      wrong_type(where, "a list or tuple", o);
    }
    const pybind11::tuple items = frozen(o);
    std::vector<T> values;
    values.reserve(items.size());
    for (const auto& item : items) values.push_back(FromPy<T>::get(item.ptr(), where));
    return values;
  }
};

inline PyObject* to_py(Tensor t) { return wrap(std::move(t)); }
inline PyObject* to_py(bool v) { return PyBool_FromLong(v); }
inline PyObject* to_py(std::int64_t v) { return PyLong_FromLongLong(v); }
inline PyObject* to_py(double v) { return PyFloat_FromDouble(v); }
inline PyObject* to_py(const std::string& s) {
  return PyUnicode_FromStringAndSize(s.data(), Py_ssize_t(s.size()));
}
PyObject* to_py(const Dims& dims);  // tuple of int
template <class List>
PyObject* list_to_tuple(const List& values) {
  PyObject* tuple = PyTuple_New(Py_ssize_t(values.size()));
  Py_ssize_t i = 0;
  for (const auto& v : values) PyTuple_SET_ITEM(tuple, i++, to_py(v));
  return tuple;
}
template <class T>
PyObject* to_py(const std::vector<T>& values) {
  return list_to_tuple(values);
}
template <class... Ts>
PyObject* to_py(std::tuple<Ts...> values) {
  PyObject* tuple = PyTuple_New(sizeof...(Ts));
  Py_ssize_t i = 0;
  std::apply([&](auto&... v) { (PyTuple_SET_ITEM(tuple, i++, to_py(std::move(v))), ...); }, values);
  return tuple;
}

template <class... Ts>
PyObject* to_py(std::variant<Ts...> value) {
  return std::visit([](auto& v) { return to_py(std::move(v)); }, value);
}

}  // namespace gradsmith::python
