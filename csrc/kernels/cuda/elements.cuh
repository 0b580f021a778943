// Element types on the device and the walk over strided operands.
#pragma once
#include "gradsmith/dtype.h"
#include "gradsmith/view.h"
#include "kernels/cuda/launch.cuh"

namespace gradsmith::cuda {

// The 16-bit types share kernels: the bits are loaded alike, and a flag that is the same for all
// threads says what they mean.
struct Half16 {
  std::uint16_t bits;
};

inline __device__ float bfloat16_to_float(std::uint16_t bits) {
  return __uint_as_float(std::uint32_t(bits) << 16);
}
inline __device__ std::uint16_t float_to_bfloat16(float x) {
  const std::uint32_t u = __float_as_uint(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return std::uint16_t((u >> 16) | 0x40u);
  return std::uint16_t((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}
inline __device__ float float16_to_float(std::uint16_t bits) {
  return __half2float(__ushort_as_half(bits));
}
inline __device__ std::uint16_t float_to_float16(float x) {
  return __half_as_ushort(__float2half_rn(x));
}

// What arithmetic on T is done in.
template <class T>
struct ComputeOf {
  using type = T;
};
template <>
struct ComputeOf<Half16> {
  using type = float;
};
template <class T>
using Compute = typename ComputeOf<T>::type;

template <class T>
__device__ Compute<T> decode(T x, bool /*bf16*/) {
  return x;
}
inline __device__ float decode(Half16 x, bool bf16) {
  return bf16 ? bfloat16_to_float(x.bits) : float16_to_float(x.bits);
}
template <class T>
__device__ T encode(Compute<T> x, bool /*bf16*/) {
  return x;
}
template <>
inline __device__ Half16 encode<Half16>(float x, bool bf16) {
  return {bf16 ? float_to_bfloat16(x) : float_to_float16(x)};
}

// V neighbouring elements, moved in transactions of up to 16 bytes.
template <class T, int V>
struct alignas(sizeof(T) * V < 16 ? sizeof(T) * V : 16) Pack {
  T v[V];
};
inline constexpr int kThreads = 256;  // of an elementwise block

// The shape of an elementwise call with as few dimensions as its operands allow, and the strides
// of up to kOperands of them.
template <int kOperands>
struct Walk {
  std::int64_t numel;
  int ndim;
  bool contiguous;  // every operand that is walked has unit stride
  std::int64_t shape[kMaxDims];
  std::int64_t strides[kOperands][kMaxDims];

  // Offsets of element `linear` (row-major order) in each operand.
  __device__ void offsets(std::int64_t linear, std::int64_t (&at)[kOperands]) const {
    for (int o = 0; o < kOperands; ++o) at[o] = 0;
    if (contiguous) {
      for (int o = 0; o < kOperands; ++o) at[o] = linear;
      return;
    }
    if (numel <= 0x7fffffff) {
      std::uint32_t rest = std::uint32_t(linear);  // division of 32 bits is several times faster
      GS_NO_UNROLL
      for (int d = ndim - 1; d >= 0; --d) {
        const std::uint32_t next = rest / std::uint32_t(shape[d]);
        const std::int64_t index = rest - next * std::uint32_t(shape[d]);
        for (int o = 0; o < kOperands; ++o) at[o] += index * strides[o][d];
        rest = next;
      }
    } else {
      GS_NO_UNROLL
      for (int d = ndim - 1; d >= 0; --d) {
        const std::int64_t next = linear / shape[d], index = linear - next * shape[d];
        for (int o = 0; o < kOperands; ++o) at[o] += index * strides[o][d];
        linear = next;
      }
    }
  }
};

// Drops dimensions of one element and joins neighbours that every operand walks as one. An operand
// whose strides are null is a number and does not count.
template <int kOperands>
Walk<kOperands> make_walk(int ndim, const std::int64_t* shape,
                          const std::int64_t* const (&strides)[kOperands]) {
  Walk<kOperands> w{};
  w.numel = 1;
  for (int d = 0; d < ndim; ++d) {
    w.numel *= shape[d];
    if (shape[d] == 1) continue;
    const int last = w.ndim - 1;
    bool joins = last >= 0;
    for (int o = 0; o < kOperands && joins; ++o)
      joins = !strides[o] || w.strides[o][last] == strides[o][d] * shape[d];
    const int to = joins ? last : w.ndim++;
    w.shape[to] = joins ? w.shape[to] * shape[d] : shape[d];
    for (int o = 0; o < kOperands; ++o) w.strides[o][to] = strides[o] ? strides[o][d] : 0;
  }
  w.contiguous = w.ndim <= 1;
  for (int o = 0; o < kOperands && w.ndim == 1; ++o)
    if (strides[o] && w.strides[o][0] != 1) w.contiguous = false;
  return w;
}

// Blocks of an elementwise launch in which every thread handles V elements.
inline std::int64_t blocks_for(std::int64_t numel, int per_thread) {
  return (numel + std::int64_t(kThreads) * per_thread - 1) / (std::int64_t(kThreads) * per_thread);
}

inline bool aligned16(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

}  // namespace gradsmith::cuda
