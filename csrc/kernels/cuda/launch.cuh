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
#define GS_SPIN() cuda_emu::yield()  // in a loop that waits for another block
#else
#define GS_SHARED(Struct, name)                                      \
  extern __shared__ __align__(1024) unsigned char gs_shared_bytes[]; \
  Struct& name = *reinterpret_cast<Struct*>(gs_shared_bytes)
#define GS_UNROLL _Pragma("unroll")
#define GS_UNROLL_BY(n) GS_PRAGMA(unroll(n))
#define GS_NO_UNROLL _Pragma("unroll 1")
#define GS_PRAGMA(...) _Pragma(#__VA_ARGS__)
#define GS_SPIN() ((void)0)
#endif

namespace gradsmith::cuda {

inline constexpr std::int64_t kMaxGridX = 0x7fffffff, kMaxGridZ = 65535;

// A kernel must be told of more shared memory than every device has.
inline int allow_shared([[maybe_unused]] const char* what, [[maybe_unused]] const void* kernel,
                        [[maybe_unused]] std::size_t bytes) {
#if !defined(GS_CUDA_EMULATED)
  if (bytes > 48 * 1024)
    return check(what, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                            int(bytes)));
#endif
  return kOk;
}

// Which blocks run at the same time: `cluster` neighbouring ones in x, on multiprocessors that
// reach each other's shared memory (compute capability 9.0; grid.x is a multiple of it), or all of
// the grid, or the launch fails.
struct Together {
  unsigned cluster = 1;
  bool grid = false;
};

template <class... Params, class... Args>
int launch_together(const char* what, void (*kernel)(Params...), dim3 grid, dim3 block,
                    Together together, std::size_t shared_bytes, void* stream,
                    const Args&... args) {
#if defined(GS_CUDA_EMULATED)
  return check(what, cuda_emu::launch(
                         static_cast<cudaStream_t>(stream), grid, block, shared_bytes,
                         [kernel, args...] { kernel(args...); }, together.cluster, together.grid));
#else
  if (const int status = allow_shared(what, reinterpret_cast<const void*>(kernel), shared_bytes))
    return status;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  cudaLaunchAttribute attribute{};
  if (together.grid) {
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
  } else {
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {together.cluster, 1, 1};
  }
  config.attrs = &attribute;
  config.numAttrs = together.grid || together.cluster > 1 ? 1 : 0;
  return check(what, cudaLaunchKernelEx(&config, kernel, args...));
#endif
}

template <class... Params, class... Args>
int launch(const char* what, void (*kernel)(Params...), dim3 grid, dim3 block,
           std::size_t shared_bytes, void* stream, const Args&... args) {
  return launch_together(what, kernel, grid, block, {}, shared_bytes, stream, args...);
}

}  // namespace gradsmith::cuda
