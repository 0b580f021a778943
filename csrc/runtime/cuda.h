// CUDA for the layers above: whether there is a device, its memory, and the kernels. The CUDA
// library is loaded by the first call; on a machine without it, without a driver or without a
// device, cuda_available() is false and cuda_reason() says why in one sentence.
#pragma once
#include <cstddef>
#include <string>

#include "gradsmith/export.h"
#include "runtime/cuda_abi.h"

namespace gradsmith {

GS_API bool cuda_available();
GS_API int cuda_device_count();
GS_API std::string cuda_reason();  // why there is no device; "" where there is one

namespace cuda {

// All throw Error(device) where there is no such device or a call fails, Error(memory) where memory
// runs out. `stream` is a cudaStream_t; null is the device's default stream.
GS_API DeviceInfo device_info(int device);
GS_API void* allocate(int device, std::size_t bytes, void* stream = nullptr);
GS_API void deallocate(int device, void* p, std::size_t bytes, void* stream = nullptr) noexcept;
GS_API MemoryInfo memory_info(int device);
GS_API void empty_cache(int device);
GS_API void copy_bytes(int device, void* dst, const void* src, std::size_t bytes, CopyKind kind,
                       void* stream = nullptr);
GS_API void synchronize(int device);  // waits for all work of the device

GS_API void unary(int device, const UnaryArgs& args, void* stream = nullptr);
GS_API void binary(int device, const BinaryArgs& args, void* stream = nullptr);
GS_API void copy(int device, const CopyArgs& args, void* stream = nullptr);
GS_API void gemm(int device, const GemmArgs& args, void* stream = nullptr);
#define GS_DECLARE(name, Args) \
  GS_API void name(int device, const Args& args, void* stream = nullptr);
GS_CUDA_ROWS_FUNCTIONS(GS_DECLARE)
GS_CUDA_INDEX_FUNCTIONS(GS_DECLARE)
#undef GS_DECLARE

}  // namespace cuda
}  // namespace gradsmith
