// Loads of depthwise convolution: a strip of a row, for every column of the window.
#pragma once
#include "kernels/conv/depthwise.h"
#include "kernels/conv/prepare.h"
#include "kernels/simd/interleave.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// What comes 4 KiB later, or is written 2 KiB later, goes to L2: the processor's own prefetching
// stops at the end of a page, and a strip's steps are a row apart.
template <class T>
GS_INLINE void ask_ahead(const T* p) {
  __builtin_prefetch(p + 4096 / sizeof(T), 0, 2);
}
template <class T>
GS_INLINE void ask_ahead_to_write(const T* p) {
  __builtin_prefetch(p + 2048 / sizeof(T), 1, 2);
}

// Lanes whose columns first, first + 1, ... lie in [0, width), of the first `lanes`.
template <class V>
GS_INLINE typename V::M columns_inside(Index first, Index width, Index lanes) {
  const int end = int(most(0, least(least(width - first, lanes), V::N)));
  const int begin = int(most(0, least(-first, V::N)));
  return V::M::first(end) & !V::M::first(begin);
}

// x[j] = lanes l of columns first + l * S + j of a row, 0 outside the row.
template <class V, int K, int S>
struct Strip {
  static constexpr int kLoads = S == 1 ? K : K + 1;
  Index first;
  bool inside;
  typename V::M mask[kLoads];

  // Only the first `lanes` lanes are wanted.
  GS_INLINE Strip(Index first_column, Index width, Index lanes) : first(first_column) {
    inside = lanes >= V::N && first >= 0 && first + S * V::N + K - 1 <= width;
#pragma GCC unroll 8
    for (int i = 0; i < kLoads; ++i)
      mask[i] = S == 1 ? columns_inside<V>(first + i, width, lanes)
                       : columns_inside<V>(first + i / 2 * 2 + i % 2 * V::N, width,
                                           2 * lanes - i % 2 * V::N);
  }

  template <bool kMasked>
  GS_INLINE V at(const typename V::T* row, int i, Index column) const {
    const typename V::T* const p = row + first + column;
    if constexpr (kMasked) {
      return load_where(p, mask[i]);
    } else {
      return load(p);
    }
  }

  template <bool kMasked>
  GS_INLINE void taps(const typename V::T* row, V (&x)[K]) const {
    if constexpr (S == 1) {
#pragma GCC unroll 8
      for (int j = 0; j < K; ++j) x[j] = at<kMasked>(row, j, j);
    } else {
#pragma GCC unroll 8
      for (int j = 0; j < K; j += 2) {
        V odd;
        deinterleave(at<kMasked>(row, j, j), at<kMasked>(row, j + 1, j + V::N), x[j], odd);
        if (j + 1 < K) x[j + 1] = odd;
      }
    }
  }
};

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
