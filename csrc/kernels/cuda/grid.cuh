// Blocks that run at the same time and wait for each other.
#pragma once
#include "kernels/cuda/launch.cuh"

namespace gradsmith::cuda {

// How many blocks of a kernel the current device holds at a time; 0 where it has not the shared
// memory for one.
template <class... Params>
int resident_blocks(const char* what, void (*kernel)(Params...), int threads,
                    std::size_t shared_bytes, std::int64_t* blocks) {
  int device = 0, multiprocessors = 0, shared_limit = 0, each = 0;
  *blocks = 0;
  if (const int s = check(what, cudaGetDevice(&device))) return s;
  if (const int s = check(
          what,
          cudaDeviceGetAttribute(&shared_limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, device)))
    return s;
  if (shared_bytes > std::size_t(shared_limit)) return kOk;
  if (const int s = check(
          what, cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device)))
    return s;
  const auto* entry = reinterpret_cast<const void*>(kernel);
  if (const int s = allow_shared(what, entry, shared_bytes)) return s;
  if (const int s = check(
          what, cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, entry, threads, shared_bytes)))
    return s;
  *blocks = std::int64_t(each) * multiprocessors;
  return kOk;
}

// Meets the blocks that share `counter`, which starts at zero; `round` counts the meetings from 1.
// What any of their threads wrote before is seen after it by loads that pass the first cache by
// (__ldcg). The blocks must run at the same time: launch_together().
inline __device__ void grid_barrier(unsigned* counter, unsigned blocks, unsigned round) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    atomicAdd(counter, 1u);
    while (*static_cast<volatile unsigned*>(counter) < blocks * round) GS_SPIN();
    __threadfence();
  }
  __syncthreads();
}

}  // namespace gradsmith::cuda
