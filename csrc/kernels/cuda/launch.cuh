// What every .cu file includes first. The same source is compiled by nvcc for the GPU and, with
// GS_CUDA_EMULATED, by a C++ compiler for the CPU (tests/cuda_emu), so kernels keep to these rules:
//
// * Shared memory is one struct per kernel, taken with GS_SHARED(Struct, name); no __shared__.
// * Launches go through launch(), never <<<>>>; it reports every error.
// * No PTX outside the headers of this folder.
#pragma once
#if defined(GS_CUDA_EMULATED)
#include "cuda_emu/emulator.h"
#else
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/cuda/status.h"

#if defined(GS_CUDA_EMULATED)
#define GS_SHARED(Struct, name) \
  Struct& name = *reinterpret_cast<Struct*>(cuda_emu::shared_memory(sizeof(Struct)))
#define GS_UNROLL
#define GS_UNROLL_BY(n)
#define GS_NO_UNROLL
#else
#define GS_SHARED(Struct, name)                                      \
  extern __shared__ __align__(1024) unsigned char gs_shared_bytes[]; \
  Struct& name = *reinterpret_cast<Struct*>(gs_shared_bytes)
#define GS_UNROLL _Pragma("unroll")
#define GS_UNROLL_BY(n) GS_PRAGMA(unroll(n))
#define GS_NO_UNROLL _Pragma("unroll 1")
#define GS_PRAGMA(...) _Pragma(#__VA_ARGS__)
#endif

namespace gradsmith::cuda {

inline constexpr std::int64_t kMaxGridX = 0x7fffffff, kMaxGridZ = 65535;

// `cluster` neighbouring blocks in x run together, on multiprocessors that reach each other's
// shared memory (compute capability 9.0); grid.x is a multiple of it.
template <class... Params, class... Args>
int launch_cluster(const char* what, void (*kernel)(Params...), dim3 grid, dim3 block,
                   unsigned cluster, std::size_t shared_bytes, void* stream, const Args&... args) {
#if defined(GS_CUDA_EMULATED)
  (void)stream;
  return check(what, cudaError_t(cuda_emu::run(
                         grid, block, shared_bytes, [&] { kernel(args...); }, cluster)));
#else
  if (shared_bytes > 48 * 1024) {
    const int status = check(
        what, cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                   cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes)));
    if (status) return status;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {cluster, 1, 1};
  config.attrs = &attribute;
  config.numAttrs = cluster > 1 ? 1 : 0;
  return check(what, cudaLaunchKernelEx(&config, kernel, args...));
#endif
}

template <class... Params, class... Args>
int launch(const char* what, void (*kernel)(Params...), dim3 grid, dim3 block,
           std::size_t shared_bytes, void* stream, const Args&... args) {
  return launch_cluster(what, kernel, grid, block, 1, shared_bytes, stream, args...);
}

}  // namespace gradsmith::cuda
