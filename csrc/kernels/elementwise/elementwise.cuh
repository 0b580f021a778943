// What the elementwise kernels share: out = f(x), out = f(x, y), out = cast(x), over any strides.
//
// Contract    see cuda_abi.h. The math functions are CUDA's own, without fast-math.
// Algorithm   A thread handles V neighbouring elements of the output. Where all operands are
//             contiguous and 16-byte aligned they move in 16-byte transactions; otherwise element
//             by element, the offsets found by dividing the linear index.
// Constants   V covers 16 bytes of the widest operand (kUnroll packs of them): enough bytes in
//             flight for memory-bound code at full occupancy. 256 threads a block.
// Size        The ops that training runs all the time (float32) are kernels of their own. The rest
//             is one kernel a dtype whose op is an argument: a branch that all threads take the
//             same way, in code that waits for memory anyway.
#pragma once
#include <string>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace gradsmith::cuda {

inline constexpr int kAnyOp = -1;  // template argument: the op is args.op

template <class T>
inline constexpr bool kIsInteger = T(1.5) == T(1);
template <class T>
__device__ bool negative(T x) {
  if constexpr (T(-1) < T(0))
    return x < 0;
  else
    return false;
}

// Calls element(i) for the V elements of this thread, or pack() for all of them where they may be
// moved together.
template <int V, class PackFn, class ElementFn>
__device__ void for_elements(std::int64_t numel, bool packed, PackFn pack, ElementFn element) {
  const std::int64_t first = (std::int64_t(blockIdx.x) * kThreads + threadIdx.x) * V;
  if (packed && first + V <= numel) {
    pack(first);
  } else {
    // Not packed: the threads of a block take neighbouring elements in turn.
    const std::int64_t start =
        packed ? first : std::int64_t(blockIdx.x) * kThreads * V + threadIdx.x;
    const int step = packed ? 1 : kThreads;
    GS_NO_UNROLL
    for (int v = 0; v < V; ++v) {
      const std::int64_t i = start + std::int64_t(v) * step;
      if (i < numel) element(i);
    }
  }
}

template <class T>
inline constexpr int kPerThread = int(16 / sizeof(T)) < 4 ? 4 : 16 / sizeof(T);

template <class... P, class Params>
int launch_elements(const char* what, void (*kernel)(P...), std::int64_t numel, int per_thread,
                    void* stream, const Params& params) {
  if (numel == 0) return kOk;
  const std::int64_t blocks = blocks_for(numel, per_thread);
  if (blocks > kMaxGridX)
    return fail(kFailed,
                std::string(what) + ": " + std::to_string(numel) + " elements are too many");
  return launch(what, kernel, dim3(unsigned(blocks)), dim3(kThreads), 0, stream, params);
}

inline int refuse(const char* what, DType dtype) {
  return fail(kFailed, std::string(what) + ": no CUDA kernel for " + name(dtype));
}

}  // namespace gradsmith::cuda
