// DLPack (dmlc/dlpack, version 1): the exchange of arrays between libraries without a copy. The
// structs below are its published binary interface.
#pragma once
#include <cstdint>
#include <optional>
#include <utility>

#include "python/py_tensor.h"

namespace gradsmith::python {

extern "C" {
struct DLDevice {
  std::int32_t device_type, device_id;
};
struct DLDataType {
  std::uint8_t code, bits;
  std::uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t *shape, *strides;  // strides in elements; null: contiguous
  std::uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor* self);
};
struct DLPackVersion {
  std::uint32_t major, minor;
};
struct DLManagedTensorVersioned {
  DLPackVersion version;
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned* self);
  std::uint64_t flags;
  DLTensor dl_tensor;
};
}

inline constexpr std::uint64_t kDlpackReadOnly = 1;

Tensor from_dlpack(PyObject* o);           // anything with __dlpack__, or a capsule
using DlpackDevice = std::pair<int, int>;  // type and index
DlpackDevice dlpack_device(const Tensor& x);
// A new capsule; versioned where the consumer asks for version 1 or later. Raises BufferError where
// the memory cannot be shared as asked.
// stream: the consumer's on CUDA, as DLPack numbers them.
PyObject* to_dlpack(const Tensor& x, std::optional<std::int64_t> stream, bool versioned,
                    std::optional<DlpackDevice> device, std::optional<bool> copy);

}  // namespace gradsmith::python
