// Splitting a run of 2N elements into its even and odd ones, and joining them again: what stride 2
// needs. One shuffle list per vector length serves every target.
#pragma once
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// even = elements 0, 2, 4, ... of a followed by b; odd = elements 1, 3, 5, ...
template <class V>
GS_INLINE void deinterleave(V a, V b, V& even, V& odd) {
  if constexpr (V::N == 1) {
    even = a;
    odd = b;
  } else if constexpr (V::N == 2) {
    even.v = __builtin_shufflevector(a.v, b.v, 0, 2);
    odd.v = __builtin_shufflevector(a.v, b.v, 1, 3);
  } else if constexpr (V::N == 4) {
    even.v = __builtin_shufflevector(a.v, b.v, 0, 2, 4, 6);
    odd.v = __builtin_shufflevector(a.v, b.v, 1, 3, 5, 7);
  } else if constexpr (V::N == 8) {
    even.v = __builtin_shufflevector(a.v, b.v, 0, 2, 4, 6, 8, 10, 12, 14);
    odd.v = __builtin_shufflevector(a.v, b.v, 1, 3, 5, 7, 9, 11, 13, 15);
  } else {
    static_assert(V::N == 16);
    even.v = __builtin_shufflevector(a.v, b.v, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26,
                                     28, 30);
    odd.v = __builtin_shufflevector(a.v, b.v, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29,
                                    31);
  }
}

// lo = a0 b0 a1 b1 ... and hi = the rest of the sequence.
template <class V>
GS_INLINE void interleave(V a, V b, V& lo, V& hi) {
  if constexpr (V::N == 1) {
    lo = a;
    hi = b;
  } else if constexpr (V::N == 2) {
    lo.v = __builtin_shufflevector(a.v, b.v, 0, 2);
    hi.v = __builtin_shufflevector(a.v, b.v, 1, 3);
  } else if constexpr (V::N == 4) {
    lo.v = __builtin_shufflevector(a.v, b.v, 0, 4, 1, 5);
    hi.v = __builtin_shufflevector(a.v, b.v, 2, 6, 3, 7);
  } else if constexpr (V::N == 8) {
    lo.v = __builtin_shufflevector(a.v, b.v, 0, 8, 1, 9, 2, 10, 3, 11);
    hi.v = __builtin_shufflevector(a.v, b.v, 4, 12, 5, 13, 6, 14, 7, 15);
  } else {
    static_assert(V::N == 16);
    lo.v =
        __builtin_shufflevector(a.v, b.v, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    hi.v = __builtin_shufflevector(a.v, b.v, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                   15, 31);
  }
}

// The same from memory: the first `available` elements at p (at least 1) are readable, lanes
// without an element are 0.
template <class V>
GS_INLINE void load_even_odd(const typename V::T* p, std::int64_t available, V& even, V& odd) {
  if (available >= 2 * V::N) {
    deinterleave(load(p), load(p + V::N), even, odd);
  } else if (available > V::N) {
    deinterleave(load(p), load_n(p + V::N, int(available) - V::N), even, odd);
  } else {
    deinterleave(load_n(p, int(available)), V::zero(), even, odd);
  }
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
