// Tensor cores of 8.0 and newer: products of small matrices by a warp, loads of their factors from
// shared memory, and copies to shared memory that go on beside the arithmetic.
//
// Fragments, for lane = 4 * g + t of the warp: a product d += a b has 16 rows, 8 columns and a
// depth of 32 bytes (16 of bf16 and f16, 8 of tf32). A word is two neighbouring depths, of tf32
// one.
//   a[0] row g, word t      a[1] row g + 8, word t      a[2], a[3] the same, word t + 4
//   b[0] column g, word t   b[1] column g, word t + 4
//   d[0], d[1] row g, columns 2t and 2t + 1             d[2], d[3] row g + 8
#pragma once
#include "kernels/cuda/launch.cuh"

#if defined(GS_CUDA_EMULATED)
#include "cuda_emu/tensor_core.h"
#endif

namespace gradsmith::cuda {

#if defined(GS_CUDA_EMULATED)

using cuda_emu::copy_async;
using cuda_emu::copy_async_commit;
using cuda_emu::load_matrices;
using cuda_emu::round_to_tf32;

template <int kGroupsLeft>
void copy_async_wait() {
  cuda_emu::copy_async_wait(kGroupsLeft);
}
#define GS_MMA(name, kind, type, shape)                                                       \
  inline void name(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) { \
    cuda_emu::mma(cuda_emu::Kind::kind, d, a, b);                                             \
  }

#else

inline __device__ unsigned shared_address(const void* p) {
  return unsigned(__cvta_generic_to_shared(p));
}

// 16 bytes to shared memory, the first `bytes` of them from global memory and the others zero. Both
// addresses are 16-byte aligned.
inline __device__ void copy_async(void* shared, const void* global, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(bytes)
               : "memory");
}
// Copies come in groups; a thread waits for its own.
inline __device__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kGroupsLeft>
__device__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroupsLeft) : "memory");
}

// Four matrices of 8 rows of 16 bytes: lane l names row l % 8 of matrix l / 8 and gets word l of
// each. Transposed: of each matrix of 16-bit numbers.
inline __device__ void load_matrices(std::uint32_t (&words)[4], const void* row, bool transposed) {
  if (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(shared_address(row))
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// To nearest, ties away from zero.
inline __device__ float round_to_tf32(float x) {
  std::uint32_t u;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(u) : "f"(x));
  return __uint_as_float(u);
}

#define GS_MMA(name, kind, type, shape)                                               \
  inline __device__ void name(float (&d)[4], const std::uint32_t (&a)[4],             \
                              const std::uint32_t (&b)[2]) {                          \
    asm volatile("mma.sync.aligned." shape ".row.col.f32." type "." type              \
                 ".f32 "                                                              \
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"    \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                     \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1])); \
  }

#endif

GS_MMA(mma_bf16, bf16, "bf16", "m16n8k16")
GS_MMA(mma_f16, f16, "f16", "m16n8k16")
GS_MMA(mma_tf32, tf32, "tf32", "m16n8k8")
#undef GS_MMA

}  // namespace gradsmith::cuda
