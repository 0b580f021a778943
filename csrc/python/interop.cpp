// Arrays from and to the outside: Python numbers and lists, NumPy (buffer protocol), DLPack.
#include <pybind11/numpy.h>

#include <cstring>

#include "core/shape.h"
#include "core/tensor_impl.h"
#include "gradsmith/grad_mode.h"
#include "gradsmith/ops.h"
#include "python/convert.h"
#include "python/dlpack.h"

namespace py = pybind11;

namespace gradsmith::python {

// ---- numbers ----

bool is_number(PyObject* o) {
  if (PyFloat_Check(o) || PyLong_Check(o)) return true;  // bool is a long
  if (is_tensor(o) || PyUnicode_Check(o)) return false;
  // NumPy scalars are numbers, arrays are not (a 0-d array has a buffer and a shape).
  return (PyIndex_Check(o) || (Py_TYPE(o)->tp_as_number && Py_TYPE(o)->tp_as_number->nb_float)) &&
         !PySequence_Check(o) && !PyObject_HasAttrString(o, "__array_function__");
}

Operand operand_from_number(PyObject* o) {
  if (PyBool_Check(o)) return Operand(o == Py_True);
  if (PyFloat_Check(o)) return Operand(PyFloat_AS_DOUBLE(o));
  if (PyLong_Check(o) || PyIndex_Check(o))
    return Operand(FromPy<std::int64_t>::get(o, {"operator", "operand"}));
  return Operand(FromPy<double>::get(o, {"operator", "operand"}));
}

// ---- buffer protocol ----

namespace {

// Struct-module formats of the dtypes we hold; bfloat16 has none.
std::optional<DType> dtype_of_format(const char* format, Py_ssize_t item) {
  if (!format) return DType::u8;
  if (*format == '@' || *format == '=' || *format == '<') ++format;
  if (format[0] == '\0' || format[1] != '\0') return std::nullopt;
  switch (*format) {
    case 'f':
      return DType::f32;
    case 'd':
      return DType::f64;
    case 'e':
      return DType::f16;
    case 'B':
      return DType::u8;
    case '?':
      return DType::b8;
    case 'i':
    case 'l':
    case 'q':
      if (item == 8) return DType::i64;
      if (item == 4) return DType::i32;
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

// NumPy's own arrays without the buffer protocol, which takes longer than a small product does.
// The reference that is held keeps NumPy from resizing them, as an exported buffer would.
std::optional<DType> dtype_of_array(const py::array& array) {
  const py::dtype dtype = array.dtype();
  if (dtype.byteorder() == '>') return std::nullopt;
  switch (dtype.num()) {
    case py::detail::npy_api::NPY_FLOAT_:
      return DType::f32;
    case py::detail::npy_api::NPY_DOUBLE_:
      return DType::f64;
    case py::detail::npy_api::NPY_UBYTE_:
      return DType::u8;
    case py::detail::npy_api::NPY_BOOL_:
      return DType::b8;
    case py::detail::npy_api::NPY_INT_:
    case py::detail::npy_api::NPY_LONG_:
    case py::detail::npy_api::NPY_LONGLONG_:
      return dtype.itemsize() == 8 ? DType::i64 : DType::i32;
    default:
      return std::nullopt;
  }
}

void release_array(void* owner) {
  if (!Py_IsInitialized()) return;
  const GilAcquire gil;
  or_stay([owner] { Py_DECREF(static_cast<PyObject*>(owner)); });
}

void keep_array(void*) {}

// Empty where the array is one of those that from_buffer has to look at more closely. `borrowed`:
// the caller keeps the array, for longer than the tensor lives.
Tensor from_array(const py::array& array, bool borrowed) {
  const auto dtype = dtype_of_array(array);
  const int dims = int(array.ndim());
  if (!dtype || dims > kMaxDims) return {};
  const auto item = std::int64_t(itemsize(*dtype));
  if (reinterpret_cast<std::uintptr_t>(array.data()) % std::uintptr_t(item) != 0) return {};
  Dims shape, strides;
  for (int d = 0; d < dims; ++d) {
    if (array.strides(d) % item != 0) return {};
    shape.push_back(array.shape(d));
    strides.push_back(array.strides(d) / item);
  }
  void* const data = const_cast<void*>(array.data());
  const bool read_only = !array.writeable();
  return borrowed ? from_blob(data, shape, strides, *dtype, {}, &keep_array, nullptr, read_only)
                  : from_blob(data, shape, strides, *dtype, {}, &release_array,
                              Py_NewRef(array.ptr()), read_only);
}

void release_buffer(void* owner) {
  // The interpreter may be gone when the last tensor dies.
  if (!Py_IsInitialized()) return;
  const GilAcquire gil;
  auto* view = static_cast<Py_buffer*>(owner);
  or_stay([view] { PyBuffer_Release(view); });
  delete view;
}

Tensor from_buffer(PyObject* o, const char* argument) {
  auto* view = new Py_buffer;
  bool read_only = false;
  if (PyObject_GetBuffer(o, view, PyBUF_FULL) < 0) {
    PyErr_Clear();
    read_only = true;
    if (PyObject_GetBuffer(o, view, PyBUF_FULL_RO) < 0) {
      delete view;
      throw py::error_already_set();
    }
  }
  read_only |= view->readonly != 0;
  struct Guard {
    Py_buffer* view;
    ~Guard() {
      if (view) release_buffer(view);
    }
  } guard{view};
  const auto dtype = dtype_of_format(view->format, view->itemsize);
  GS_CHECK_TYPE(dtype,
                "{}: elements of format '{}' ({} bytes) are not supported; use float32, float64, "
                "float16, int64, int32, uint8 or bool",
                argument, view->format ? view->format : "B", view->itemsize);
  GS_CHECK(view->ndim <= kMaxDims, "{}: rank {} is more than {}", argument, view->ndim, kMaxDims);
  Dims shape, strides;
  for (int d = 0; d < view->ndim; ++d) {
    shape.push_back(view->shape[d]);
    GS_CHECK(view->strides[d] % view->itemsize == 0,
             "{}: stride of {} bytes is not a multiple of the {} bytes of an element", argument,
             view->strides[d], view->itemsize);
    strides.push_back(view->strides[d] / view->itemsize);
  }
  const auto address = reinterpret_cast<std::uintptr_t>(view->buf);
  guard.view = nullptr;
  Tensor t = from_blob(view->buf, shape, strides, *dtype, {}, &release_buffer, view, read_only);
  // Kernels need elements at multiples of their size: an odd address has to be copied.
  if (address % std::uintptr_t(view->itemsize) != 0) {
    Tensor aligned = empty(shape, *dtype);
    GS_CHECK(PyBuffer_ToContiguous(aligned.data(), view, view->len, 'C') == 0,
             "{}: the unaligned buffer could not be copied", argument);
    return aligned;
  }
  return t;
}

// ---- NumPy out ----

void delete_tensor(PyObject* capsule) {
  delete static_cast<Exported*>(PyCapsule_GetPointer(capsule, "gradsmith.Tensor"));
}

}  // namespace

Exported::Exported(const Tensor& tensor) : tensor_(tensor) {
  ++tensor_.impl()->storage->exports;
  tensor_.impl()->storage->forget();
}
Exported::~Exported() {
  tensor_.impl()->storage->forget();
  --tensor_.impl()->storage->exports;
}

// The array shares the tensor's memory and keeps it alive.
PyObject* to_numpy(const Tensor& x) {
  GS_CHECK_TYPE(x.dtype() != DType::bf16,
                "numpy: NumPy has no bfloat16; convert with .to(gradsmith.float32) first");
  GS_CHECK_TYPE(x.device().type == DeviceType::cpu,
                "numpy: the tensor is on {}; copy it with .to('cpu') first", x.device());
  GS_CHECK_STATE(!x.requires_grad(), "numpy: the tensor requires grad; use detach().numpy()");
  static const char* const codes[] = {"f4", "f8", "", "f2", "i8", "i4", "u1", "?"};
  const py::dtype dtype(codes[int(x.dtype())]);
  std::vector<py::ssize_t> shape(x.shape().begin(), x.shape().end()), strides;
  if (x.numel() == 0) return py::array(dtype, shape).release().ptr();
  for (const std::int64_t stride : x.strides()) {
    strides.push_back(stride * std::int64_t(itemsize(x.dtype())));
  }
  const auto owner = py::reinterpret_steal<py::capsule>(
      PyCapsule_New(new Exported(x), "gradsmith.Tensor", &delete_tensor));
  py::array array(dtype, shape, strides, x.data(), owner);
  if (x.impl()->storage->read_only) {
    py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  }
  return array.release().ptr();
}

// ---- in ----

Tensor borrow_array(PyObject* o) {
  if (!py::detail::npy_api::get().PyArray_Check_(o)) return {};
  return from_array(py::reinterpret_borrow<py::array>(o), true);
}

Tensor from_any_array(PyObject* o, const char* argument) {
  if (is_tensor(o)) return tensor_of(o);
  if (py::detail::npy_api::get().PyArray_Check_(o)) {
    Tensor t = from_array(py::reinterpret_borrow<py::array>(o), false);
    if (t.defined()) return t;
  }
  if (PyObject_CheckBuffer(o)) return from_buffer(o, argument);
  if (PyObject_HasAttrString(o, "__dlpack__")) return from_dlpack(o);
  fail(ErrorKind::type, "{}: must be a NumPy array or have __dlpack__, got {}", argument,
       Py_TYPE(o)->tp_name);
}

namespace {

// Numbers written down must not wrap; arrays and tensors are cast.
void check_range(const Tensor& numbers, DType dtype) {
  if (numbers.numel() == 0 || is_floating(dtype) || dtype == DType::b8) return;
  if (numbers.dtype() == dtype || numbers.dtype() == DType::b8) return;
  for (const Tensor& extreme : {ops::amin(numbers), ops::amax(numbers)}) {
    ops::element_of("tensor", "data", extreme, dtype);
  }
}

}  // namespace

Tensor tensor_from_data(PyObject* data, PyObject* dtype, PyObject* device) {
  const auto want = FromPy<std::optional<DType>>::get(dtype, {"tensor", "dtype"});
  const auto place = FromPy<std::optional<Device>>::get(device, {"tensor", "device"});
  Tensor source;
  if (is_tensor(data)) {
    source = tensor_of(data).detach();
  } else if (PyFloat_Check(data) || PyLong_Check(data)) {
    source = operand_from_number(data);
    if (want) check_range(source, *want);
    if (source.dtype() == DType::f64) source = ops::to_dtype(source, want.value_or(DType::f32));
  } else if (PyObject_CheckBuffer(data) || PyObject_HasAttrString(data, "__dlpack__")) {
    source = from_any_array(data, "data");
    if (want && is_number(data)) check_range(source, *want);  // NumPy's scalars
  } else {
    // Lists, nested or of tensors: NumPy finds the shape; floats become float32.
    py::object array =
        py::module_::import("gradsmith._interop").attr("array_from_sequence")(py::handle(data));
    source = from_buffer(array.ptr(), "data");
    if (want) check_range(source, *want);
    if (!want && source.dtype() == DType::f64) source = ops::to_dtype(source, DType::f32);
  }
  NoGradGuard no_grad;
  Tensor out = want && *want != source.dtype() ? ops::to_dtype(source, *want) : ops::clone(source);
  if (place) out = ops::to_device(out, *place);
  out.impl()->wrapped_number = false;
  return out;
}

}  // namespace gradsmith::python
