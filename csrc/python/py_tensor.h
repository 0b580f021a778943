// The Python type gradsmith.Tensor: a hand-rolled heap type, because a pybind11 instance costs
// several times what a small op does. A tensor has at most one live wrapper, so `p.grad is p.grad`.
#pragma once
#include <pybind11/pybind11.h>

#include "gradsmith/tensor.h"
#include "python/gil.h"

namespace gradsmith::python {

struct PyTensor {
  PyObject_HEAD Tensor tensor;
  PyObject* weakrefs;
};

extern PyTypeObject* tensor_type;  // set by make_tensor_type()
void make_tensor_type(PyObject* module);

inline bool is_tensor(PyObject* o) {
  return Py_TYPE(o) == tensor_type || PyType_IsSubtype(Py_TYPE(o), tensor_type);
}
inline const Tensor& tensor_of(PyObject* o) { return reinterpret_cast<PyTensor*>(o)->tensor; }

// A tensor whose memory an array outside shares and may write into.
class Exported {
 public:
  explicit Exported(const Tensor& tensor);
  ~Exported();
  Exported(const Exported&) = delete;

 private:
  const Tensor tensor_;
};

PyObject* wrap(Tensor t);                         // new reference; None for an undefined tensor
PyObject* wrap_as(PyTypeObject* type, Tensor t);  // a fresh wrapper of a subclass

// Python objects of dtypes and devices.
PyObject* wrap(DType dtype);    // new reference
PyObject* wrap(Device device);  // new reference

// Sets the Python exception for the C++ exception in flight; returns null.
PyObject* translate_exception() noexcept;

// Runs a callable and turns a C++ exception into a Python one.
template <class F>
auto guarded(F&& f, decltype(f()) on_error) -> decltype(f()) {
  try {
    return f();
  } catch (ForcedUnwind&) {
    throw;
  } catch (...) {
    translate_exception();
    return on_error;
  }
}

// Indexing (indexing.cpp): x[index] and x[index] = value.
Tensor get_item(const Tensor& x, PyObject* index);
void set_item(const Tensor& x, PyObject* index, PyObject* value);

// Interop (interop.cpp).
Tensor from_any_array(PyObject* o, const char* argument);  // DLPack or buffer, shares memory
// A NumPy array that the caller keeps for as long as the tensor lives: no reference is counted.
// Undefined for anything else, and where from_any_array has to look more closely.
Tensor borrow_array(PyObject* o);
Tensor tensor_from_data(PyObject* data, PyObject* dtype, PyObject* device);  // copies
PyObject* to_numpy(const Tensor& x);
bool is_number(PyObject* o);  // Python or NumPy scalar, no tensor
Operand operand_from_number(PyObject* o);

}  // namespace gradsmith::python

namespace pybind11::detail {
template <>
struct type_caster<gradsmith::Tensor> {
  PYBIND11_TYPE_CASTER(gradsmith::Tensor, const_name("gradsmith.Tensor"));
  bool load(handle src, bool) {
    if (src.is_none()) return true;
    if (!gradsmith::python::is_tensor(src.ptr())) return false;
    value = gradsmith::python::tensor_of(src.ptr());
    return true;
  }
  static handle cast(const gradsmith::Tensor& t, return_value_policy, handle) {
    return gradsmith::python::wrap(t);
  }
};
}  // namespace pybind11::detail
