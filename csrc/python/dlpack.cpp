#include "python/dlpack.h"

#include <memory>

#include "core/shape.h"
#include "core/tensor_impl.h"
#include "gradsmith/ops.h"
#include "python/convert.h"
#include "runtime/cuda.h"

namespace py = pybind11;

namespace gradsmith::python {

namespace {

enum DLCode : std::uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBFloat = 4, kBool = 6 };
constexpr std::int32_t kCpu = 1, kCuda = 2, kCudaHost = 3;
constexpr std::int64_t kDefaultStream = 1, kPerThreadStream = 2, kNoWait = -1;

constexpr DLDataType kTypes[kDTypes] = {{kFloat, 32, 1}, {kFloat, 64, 1}, {kBFloat, 16, 1},
                                        {kFloat, 16, 1}, {kInt, 64, 1},   {kInt, 32, 1},
                                        {kUInt, 8, 1},   {kBool, 8, 1}};

DType dtype_from(DLDataType type) {
  for (int i = 0; i < kDTypes; ++i)
    if (kTypes[i].code == type.code && kTypes[i].bits == type.bits && type.lanes == 1)
      return DType(i);
  fail(ErrorKind::type, "from_dlpack: elements of code {}, {} bits, {} lanes are not supported",
       int(type.code), int(type.bits), type.lanes);
}

// What an exported capsule keeps alive.
template <class Managed>
struct Export {
  Managed managed{};
  explicit Export(const Tensor& x) : tensor(x), shape(x.shape()), strides(x.strides()) {}
  Exported tensor;
  Dims shape, strides;
};

template <class Managed>
void delete_export(Managed* self) {
  delete static_cast<Export<Managed>*>(self->manager_ctx);
}
// A capsule that nobody consumed frees its tensor; a consumer renames it to "used_...".
template <class Managed>
void delete_capsule(PyObject* capsule, const char* name) {
  if (!PyCapsule_IsValid(capsule, name)) return;
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
  if (managed->deleter) managed->deleter(managed);
}

template <class Managed>
Managed* make_export(const Tensor& x) {
  auto* e = new Export<Managed>(x);
  e->managed.manager_ctx = e;
  e->managed.deleter = &delete_export<Managed>;
  DLTensor& d = e->managed.dl_tensor;
  d.data = x.data();
  const auto [type, index] = dlpack_device(x);
  d.device = {type, index};
  d.ndim = x.dim();
  d.dtype = kTypes[int(x.dtype())];
  d.shape = e->shape.begin();
  d.strides = e->strides.begin();
  d.byte_offset = 0;
  return &e->managed;
}

template <class Managed>
void release_import(void* owner) {
  auto* managed = static_cast<Managed*>(owner);
  if (!managed->deleter) return;
  // The producer may be a Python library whose deleter expects the GIL.
  if (!Py_IsInitialized()) return;
  const GilAcquire gil;
  or_stay([managed] { managed->deleter(managed); });
}

template <class Managed>
Tensor import_capsule(PyObject* capsule, const char* name, bool read_only) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
  const DLTensor& d = managed->dl_tensor;
  const bool on_cuda = d.device.device_type == kCuda;
  GS_CHECK(
      on_cuda || d.device.device_type == kCpu || d.device.device_type == kCudaHost,
      "from_dlpack: memory on DLPack device type {} is not supported; the CPU's (1), CUDA's (2) "
      "and pinned memory (3) are",
      d.device.device_type);
  if (on_cuda) cuda::device_info(d.device.device_id);  // says why the device cannot be had
  const Device device =
      on_cuda ? Device{DeviceType::cuda, std::int8_t(d.device.device_id)} : Device{};
  GS_CHECK(d.ndim >= 0 && d.ndim <= kMaxDims, "from_dlpack: rank {} is more than {}", d.ndim,
           kMaxDims);
  const DType dtype = dtype_from(d.dtype);
  const Dims shape(d.shape, d.ndim);
  const Dims strides = d.strides ? Dims(d.strides, d.ndim) : contiguous_strides(shape);
  char* data = static_cast<char*>(d.data) + d.byte_offset;
  GS_CHECK(reinterpret_cast<std::uintptr_t>(data) % itemsize(dtype) == 0,
           "from_dlpack: the data is not aligned to its elements of {} bytes", itemsize(dtype));
  Tensor t =
      from_blob(data, shape, strides, dtype, device, &release_import<Managed>, managed, read_only);
  PyCapsule_SetName(capsule, name[8] == '\0' ? "used_dltensor" : "used_dltensor_versioned");
  PyCapsule_SetDestructor(capsule, nullptr);
  return t;
}

}  // namespace

DlpackDevice dlpack_device(const Tensor& x) {
  return {x.device().type == DeviceType::cpu ? kCpu : kCuda, int(x.device().index)};
}

namespace {

// Makes the consumer's stream wait for what is queued here, and the memory for what it does.
void hand_over(const Tensor& x, std::optional<std::int64_t> stream) {
  if (x.device().type != DeviceType::cuda || stream == kNoWait) return;
  const std::int64_t number = stream.value_or(kDefaultStream);
  GS_CHECK(number > 0 && number != kPerThreadStream,
           "__dlpack__: stream must be -1, 1 or a CUDA stream's address, got {}", number);
  const int device = x.device().index;
  void* const theirs =
      number == kDefaultStream ? nullptr : reinterpret_cast<void*>(std::uintptr_t(number));
  void* const mine = cuda::current_stream(device);
  const Storage& storage = *x.impl()->storage;
  if (!storage.release_fn) cuda::use_on(device, storage.data, theirs);
  if (theirs == mine) return;
  void* const event = cuda::create_event(device, false);
  cuda::record_event(device, event, mine);
  cuda::wait_event(device, event, theirs);
  cuda::destroy_event(device, event);
}

// For a producer's __dlpack__.
py::object stream_argument(int device) {
  const auto mine = reinterpret_cast<std::uintptr_t>(cuda::current_stream(device));
  return py::int_(mine ? mine : std::uintptr_t(kDefaultStream));
}

}  // namespace

PyObject* to_dlpack(const Tensor& tensor, std::optional<std::int64_t> stream, bool versioned,
                    std::optional<DlpackDevice> device, std::optional<bool> copy) {
  if (tensor.requires_grad())
    throw py::buffer_error("__dlpack__: the tensor requires grad; use detach() before sharing it");
  const bool moved = device && *device != dlpack_device(tensor);
  if (moved && (copy == false || device->first != kCpu))
    throw py::buffer_error(
        format("__dlpack__: the tensor is on {}, not on DLPack device ({}, {}){}", tensor.device(),
               device->first, device->second, copy == false ? ", and copy=False" : ""));
  const Tensor x = moved                  ? ops::to_device(tensor, {})
                   : copy.value_or(false) ? ops::clone(tensor)
                                          : tensor;
  hand_over(x, stream);
  const bool read_only = x.impl()->storage->read_only;
  if (versioned) {
    auto* managed = make_export<DLManagedTensorVersioned>(x);
    managed->version = {1, 0};
    managed->flags = read_only ? kDlpackReadOnly : 0;
    return PyCapsule_New(managed, "dltensor_versioned", [](PyObject* c) {
      delete_capsule<DLManagedTensorVersioned>(c, "dltensor_versioned");
    });
  }
  if (read_only)
    throw py::buffer_error("__dlpack__: read-only memory needs a consumer that speaks DLPack 1.0");
  return PyCapsule_New(make_export<DLManagedTensor>(x), "dltensor",
                       [](PyObject* c) { delete_capsule<DLManagedTensor>(c, "dltensor"); });
}

Tensor from_dlpack(PyObject* o) {
  if (is_tensor(o)) return tensor_of(o).detach();
  py::object capsule = py::reinterpret_borrow<py::object>(o);
  if (!PyCapsule_CheckExact(o)) {
    GS_CHECK_TYPE(PyObject_HasAttrString(o, "__dlpack__"),
                  "from_dlpack: argument must have __dlpack__, got {}", Py_TYPE(o)->tp_name);
    py::object method = capsule.attr("__dlpack__");
    py::dict arguments;
    if (PyObject_HasAttrString(o, "__dlpack_device__")) {
      const auto where = capsule.attr("__dlpack_device__")().cast<std::pair<int, int>>();
      if (where.first == kCuda) arguments["stream"] = stream_argument(where.second);
    }
    try {
      capsule = method(py::arg("max_version") = py::make_tuple(1, 0), **arguments);
    } catch (py::error_already_set& e) {  // a producer from before version 1
      if (!e.matches(PyExc_TypeError)) throw;
      capsule = method(**arguments);
    }
  }
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned")) {
    auto* managed = static_cast<DLManagedTensorVersioned*>(
        PyCapsule_GetPointer(capsule.ptr(), "dltensor_versioned"));
    GS_CHECK(managed->version.major == 1, "from_dlpack: version {}.{} is not supported",
             managed->version.major, managed->version.minor);
    return import_capsule<DLManagedTensorVersioned>(capsule.ptr(), "dltensor_versioned",
                                                    (managed->flags & kDlpackReadOnly) != 0);
  }
  GS_CHECK(PyCapsule_IsValid(capsule.ptr(), "dltensor"),
           "from_dlpack: the capsule holds no DLPack tensor, or was used already");
  return import_capsule<DLManagedTensor>(capsule.ptr(), "dltensor", false);
}

}  // namespace gradsmith::python
