#include "python/tensor_members.h"

#include "core/tensor_impl.h"
#include "gradsmith/autograd.h"
#include "gradsmith/ops.h"
#include "python/convert.h"

namespace gradsmith::python {

PyObject* item(const Tensor& x) {
  GS_CHECK(x.numel() == 1, "item: a tensor of shape {} has not exactly one element", x.shape());
  const Tensor here = ops::to_device(x, {});
  const void* p = here.data();
  switch (x.dtype()) {
    case DType::f32:
      return PyFloat_FromDouble(*static_cast<const float*>(p));
    case DType::f64:
      return PyFloat_FromDouble(*static_cast<const double*>(p));
    case DType::bf16:
      return PyFloat_FromDouble(float(*static_cast<const BFloat16*>(p)));
    case DType::f16:
      return PyFloat_FromDouble(float(*static_cast<const Float16*>(p)));
    case DType::i64:
      return PyLong_FromLongLong(*static_cast<const std::int64_t*>(p));
    case DType::i32:
      return PyLong_FromLong(*static_cast<const std::int32_t*>(p));
    case DType::u8:
      return PyLong_FromLong(*static_cast<const std::uint8_t*>(p));
    case DType::b8:
      return PyBool_FromLong(*static_cast<const bool*>(p));
  }
  return nullptr;
}

namespace {

template <auto Get>
PyObject* getter(PyObject* self, void*) {
  return guarded([&] { return Get(tensor_of(self)); }, static_cast<PyObject*>(nullptr));
}
template <auto Set>
int setter(PyObject* self, PyObject* value, void*) {
  return guarded(
      [&] {
        GS_CHECK_TYPE(value, "this attribute of a tensor cannot be deleted");
        Set(tensor_of(self), value);
        return 0;
      },
      -1);
}

void set_grad(const Tensor& x, PyObject* value) {
  x.set_grad(FromPy<Tensor>::get(value, {"Tensor", "grad"}));
}
void set_requires_grad(const Tensor& x, PyObject* value) {
  x.set_requires_grad(FromPy<bool>::get(value, {"Tensor", "requires_grad"}));
}
// p.data = other: same tensor object, other memory.
void set_data(const Tensor& x, PyObject* value) {
  const Tensor& other = FromPy<Tensor>::get(value, {"Tensor", "data"});
  GS_CHECK_TYPE(other.defined(), "data: must be a Tensor, got None");
  TensorImpl& to = *x.impl();
  const TensorImpl& from = *other.impl();
  GS_CHECK_TYPE(to.dtype == from.dtype || (x.is_leaf() && is_floating(from.dtype)) || !to.meta,
                "data: dtype {} differs from the tensor's {}", from.dtype, to.dtype);
  // Never a version that this tensor had before: who saved it sees that it has changed.
  to.version_base = x.version() + 1 - from.storage->version;
  to.dtype = from.dtype;
  to.storage = from.storage;
  to.data = from.data;
  to.numel = from.numel;
  to.contiguous = from.contiguous;
  to.shape = from.shape;
  to.strides = from.strides;
  if (to.meta && to.meta->accumulator)
    to.meta->accumulator->outputs[0] = {x.shape(), x.dtype(), x.device()};
}

Tensor reversed(const Tensor& x) {
  Dims order;
  for (int d = x.dim() - 1; d >= 0; --d) order.push_back(d);
  return ops::permute(x, order);
}

PyObject* grad_fn(const Tensor& x) {
  if (x.is_leaf()) Py_RETURN_NONE;
  return PyUnicode_FromFormat("<%s>", x.impl()->meta->grad_fn->name);
}

}  // namespace

PyGetSetDef* tensor_getset() {
  static PyGetSetDef list[] = {
      {"shape", getter<[](const Tensor& x) { return to_py(x.shape()); }>, nullptr,
       "Sizes, a tuple.", nullptr},
      {"ndim", getter<[](const Tensor& x) { return PyLong_FromLong(x.dim()); }>, nullptr,
       "Number of dimensions.", nullptr},
      {"dtype", getter<[](const Tensor& x) { return wrap(x.dtype()); }>, nullptr, "Element type.",
       nullptr},
      {"device", getter<[](const Tensor& x) { return wrap(x.device()); }>, nullptr,
       "Where the memory is.", nullptr},
      {"itemsize", getter<[](const Tensor& x) { return PyLong_FromSize_t(itemsize(x.dtype())); }>,
       nullptr, "Bytes of an element.", nullptr},
      {"nbytes", getter<[](const Tensor& x) {
         return PyLong_FromLongLong(x.numel() * std::int64_t(itemsize(x.dtype())));
       }>,
       nullptr, "Bytes of all elements.", nullptr},
      {"requires_grad", getter<[](const Tensor& x) { return PyBool_FromLong(x.requires_grad()); }>,
       setter<&set_requires_grad>, "Whether gradients are computed for this tensor.", nullptr},
      {"is_leaf", getter<[](const Tensor& x) { return PyBool_FromLong(x.is_leaf()); }>, nullptr,
       "True where no recorded op made this tensor.", nullptr},
      {"grad", getter<[](const Tensor& x) { return wrap(x.grad()); }>, setter<&set_grad>,
       "The accumulated gradient, or None.", nullptr},
      {"grad_fn", getter<&grad_fn>, nullptr, "Name of the op that made this tensor, or None.",
       nullptr},
      {"data", getter<[](const Tensor& x) { return wrap(x.detach()); }>, setter<&set_data>,
       "The same memory off the tape; assign to exchange the memory.", nullptr},
      {"T", getter<[](const Tensor& x) { return wrap(reversed(x)); }>, nullptr,
       "Dimensions in reverse order (a view).", nullptr},
      {"mT", getter<[](const Tensor& x) { return wrap(ops::transpose(x, -2, -1)); }>, nullptr,
       "The last two dimensions exchanged (a view).", nullptr},
      {"_version", getter<[](const Tensor& x) { return PyLong_FromLong(long(x.version())); }>,
       nullptr, "Number of in-place writes to the memory.", nullptr},
      {nullptr, nullptr, nullptr, nullptr, nullptr}};
  return list;
}

}  // namespace gradsmith::python
