// Tensor methods that are not ops.
#include <pybind11/stl.h>

#include "core/tensor_impl.h"
#include "gradsmith/ops.h"
#include "ops/pinned.h"
#include "python/bindings.h"
#include "python/def_op.h"
#include "python/dlpack.h"
#include "python/tensor_members.h"

namespace py = pybind11;

namespace gradsmith::python {

namespace {

// Methods with Python objects in their signature: plain pybind11 functions set on the type.
template <class F, class... Extra>
void method(const char* name, F&& f, const Extra&... extra) {
  py::handle type(reinterpret_cast<PyObject*>(tensor_type));
  py::cpp_function fn(std::forward<F>(f), py::name(name), py::is_method(type), extra...);
  py::setattr(type, name, fn);
}

std::int64_t numel(const Tensor& x) { return x.numel(); }
std::int64_t dim(const Tensor& x) { return x.dim(); }
bool is_contiguous(const Tensor& x) { return x.is_contiguous(); }
std::int64_t data_ptr(const Tensor& x) {
  ++x.impl()->storage->exports;  // for good: whoever has the address may write
  x.impl()->storage->forget();
  return reinterpret_cast<std::int64_t>(x.data());
}

PyObject* steal_checked(PyObject* o) {
  if (!o) throw py::error_already_set();
  return o;
}
py::object owned(PyObject* o) { return py::reinterpret_steal<py::object>(steal_checked(o)); }

// to(dtype), to(device), to(device, dtype), to(other)
Tensor to(const Tensor& x, const py::args& args, const py::kwargs& kwargs) {
  std::optional<DType> dtype;
  std::optional<Device> device;
  const auto take = [&](py::handle o) {
    if (o.is_none()) return;
    if (is_tensor(o.ptr())) {
      dtype = tensor_of(o.ptr()).dtype();
      device = tensor_of(o.ptr()).device();
    } else if (py::isinstance<Device>(o) ||
               (PyUnicode_Check(o.ptr()) && (o.cast<std::string>().starts_with("cpu") ||
                                             o.cast<std::string>().starts_with("cuda")))) {
      device = FromPy<Device>::get(o.ptr(), {"to", "device"});
    } else {
      dtype = FromPy<DType>::get(o.ptr(), {"to", "dtype or device"});
    }
  };
  for (py::handle o : args) take(o);
  bool copy = false, non_blocking = false;
  for (auto [key, value] : kwargs) {
    const std::string name = key.cast<std::string>();
    if (name == "copy") {
      copy = value.cast<bool>();
    } else {
      GS_CHECK_TYPE(name == "dtype" || name == "device" || name == "non_blocking",
                    "to: has no argument '{}'", name);
      if (name == "non_blocking") {
        non_blocking = value.cast<bool>();
      } else {
        take(value);
      }
    }
  }
  GilRelease release(true);
  Tensor y = x;
  if (dtype && *dtype != y.dtype()) y = ops::to_dtype(y, *dtype);
  if (device && !(*device == y.device())) y = ops::to_device(y, *device, non_blocking);
  return copy && y.is(x) ? ops::clone(x) : y;
}

template <DType D>
Tensor cast(const Tensor& x) {
  return x.dtype() == D ? x : ops::to_dtype(x, D);
}

py::object size(const Tensor& x, std::optional<int> d) {
  if (d) return py::int_(x.size(*d));
  return owned(to_py(x.shape()));
}
py::object stride(const Tensor& x, std::optional<int> d) {
  if (!d) return owned(to_py(x.strides()));
  x.size(*d);
  return py::int_(x.strides()[*d < 0 ? *d + x.dim() : *d]);
}

}  // namespace

void bind_tensor(Binder& b) {
  b.method<&numel>("numel", "input", "Number of elements.");
  b.method<&dim>("dim", "input", "Number of dimensions.");
  b.method<&is_contiguous>("is_contiguous", "input", "Whether elements lie in row-major order.");
  b.method<&data_ptr>(
      "data_ptr", "input",
      "Address of the first element. Kernels keep no copies of memory whose address is known.");
  b.method<&cast<DType::f32>>("float", "input", "Cast to float32.");
  b.method<&cast<DType::f64>>("double", "input", "Cast to float64.");
  b.method<&cast<DType::f16>>("half", "input", "Cast to float16.");
  b.method<&cast<DType::bf16>>("bfloat16", "input", "Cast to bfloat16.");
  b.method<&cast<DType::i64>>("long", "input", "Cast to int64.");
  b.method<&cast<DType::i32>>("int", "input", "Cast to int32.");
  b.method<&cast<DType::b8>>("bool", "input", "Cast to bool.");
  method("to", &to,
         py::doc("Cast or move: to(dtype), to(device), to(device, dtype), to(other). With "
                 "non_blocking=True nobody waits for copies from pinned memory to a CUDA device, "
                 "nor for those to the CPU, which are into pinned memory."));
  method(
      "pin_memory", [](const Tensor& x) { return ops::pin_memory(x); },
      py::call_guard<GilRelease>(),
      py::doc("A copy off the tape in page-locked memory, which CUDA devices copy by themselves."));
  method(
      "is_pinned", [](const Tensor& x) { return ops::is_pinned(x); },
      py::doc("Whether the memory is page-locked."));
  method(
      "item", [](const Tensor& x) { return owned(item(x)); },
      py::doc("The one element as a Python number."));
  method(
      "numpy", [](const Tensor& x) { return owned(to_numpy(x)); },
      py::doc("A NumPy array over the same memory; the tensor must not require grad."));
  method("size", &size, py::arg("dim") = py::none(), py::doc("The shape, or one size."));
  method("stride", &stride, py::arg("dim") = py::none(),
         py::doc("Strides in elements, or one stride."));
  method(
      "__dlpack__",
      [](const Tensor& x, std::optional<std::int64_t> stream,
         std::optional<std::pair<int, int>> max_version,
         std::optional<std::pair<int, int>> dl_device, std::optional<bool> copy) {
        return owned(to_dlpack(x, stream, max_version && max_version->first >= 1, dl_device, copy));
      },
      py::kw_only(), py::arg("stream") = py::none(), py::arg("max_version") = py::none(),
      py::arg("dl_device") = py::none(), py::arg("copy") = py::none(),
      py::doc(
          "A DLPack capsule over the same memory. CUDA: stream is the consumer's, as an integer "
          "(1 or None: the default one, -1: do not wait), and waits for the tensor."));
  method("__dlpack_device__", [](const Tensor& x) {
    const auto [type, index] = dlpack_device(x);
    return py::make_tuple(type, index);
  });
  // A fresh wrapper of a subclass (nn.Parameter) over the same memory.
  py::handle type(reinterpret_cast<PyObject*>(tensor_type));
  py::setattr(
      type, "_make_subclass",
      py::module_::import("builtins")
          .attr("staticmethod")(
              py::cpp_function([](py::handle cls, const Tensor& data, bool requires_grad) {
                auto* wanted = reinterpret_cast<PyTypeObject*>(cls.ptr());
                GS_CHECK_TYPE(PyType_Check(cls.ptr()) && PyType_IsSubtype(wanted, tensor_type),
                              "_make_subclass: argument 'cls' must be a subclass of Tensor");
                GS_CHECK_TYPE(data.defined(), "_make_subclass: argument 'data' must be a Tensor");
                Tensor t = data.detach();
                if (requires_grad) t.set_requires_grad(true);
                return owned(wrap_as(wanted, t));
              })));
  // NumPy leaves `array + tensor` to us.
  py::setattr(type, "__array_priority__", py::int_(1000));
}

}  // namespace gradsmith::python
