// The kernels behind cuda::gemm, one launcher per kind of factors; see gemm.cu for the choice.
#pragma once
#include "kernels/cuda/launch.cuh"
#include "runtime/cuda_abi.h"

namespace gradsmith::cuda {

int gemm_fma(const GemmArgs& g, void* stream);
int gemm_bf16(const GemmArgs& g, void* stream);
int gemm_f16(const GemmArgs& g, void* stream);
int gemm_tf32(const GemmArgs& g, void* stream);
int gemm_tf32x3(const GemmArgs& g, void* stream);
// `done` says whether the kernel takes this product, on this device.
int gemm_wgmma(const GemmArgs& g, bool only_if_worth_it, bool* done, void* stream);

inline std::int64_t magnitude(std::int64_t stride) { return stride < 0 ? -stride : stride; }

// Tiles of 128 where there are about two for each multiprocessor of a large GPU.
inline bool uses_large_tiles(const GemmArgs& g) {
  constexpr std::int64_t kManyBlocks = 256;
  if (g.kernel != GemmKernel::automatic) return g.kernel == GemmKernel::tile128;
  return ((g.m + 127) / 128) * ((g.n + 127) / 128) * g.batch >= kManyBlocks;
}

// launch_part(part) for parts of the batch that are no larger than a grid allows.
template <class F>
int for_batches(const GemmArgs& g, F launch_part) {
  GemmArgs part = g;
  const auto skip = [](Matrix& matrix, std::int64_t entries, DType dtype) {
    const std::int64_t bytes = entries * matrix.batch * std::int64_t(itemsize(dtype));
    if (matrix.data) matrix.data = static_cast<char*>(matrix.data) + bytes;
  };
  for (std::int64_t done = 0; done < g.batch; done += part.batch) {
    part.batch = g.batch - done < kMaxGridZ ? g.batch - done : kMaxGridZ;
    if (const int status = launch_part(part)) return status;
    for (Matrix* matrix : {&part.a, &part.b}) skip(*matrix, part.batch, g.dtype);
    for (Matrix* matrix : {&part.c, &part.bias, &part.residual}) skip(*matrix, part.batch, g.out);
  }
  return kOk;
}

}  // namespace gradsmith::cuda
