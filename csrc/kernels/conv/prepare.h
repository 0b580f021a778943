// Copying images into the padded, phase-split layout of ConvSource (see conv.h).
#pragma once
#include "kernels/conv/layout.h"
#include "kernels/simd/interleave.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

using Index = std::int64_t;

GS_INLINE Index least(Index a, Index b) { return a < b ? a : b; }
GS_INLINE Index most(Index a, Index b) { return a > b ? a : b; }
GS_INLINE Index round_up_div(Index a, Index b) { return a <= 0 ? 0 : (a + b - 1) / b; }

// Short ends go element by element and longer ones by a last vector that overlaps its neighbour:
// masked stores are microcoded on AMD.
template <class V>
GS_INLINE void clear_run(typename V::T* dst, Index n) {
  Index i = 0;
  for (; i + V::N <= n; i += V::N) store(dst + i, V::zero());
#pragma GCC unroll 1
  for (; i < n; ++i) dst[i] = 0;
}

// dst[i] = src[i * step]; `available` elements exist from src on.
template <class V>
GS_INLINE void copy_run(typename V::T* dst, const typename V::T* src, Index n, Index step,
                        Index available) {
  Index i = 0;
  if (step == 1 && n >= V::N) {
    for (; i + V::N <= n; i += V::N) store(dst + i, load(src + i));
    if (i < n) store(dst + n - V::N, load(src + n - V::N));
    return;
  }
  if (step == 2) {
    for (; i + V::N <= n; i += V::N) {
      V even, odd;
      load_even_odd(src + 2 * i, available - 2 * i, even, odd);
      store(dst + i, even);
    }
  }
#pragma GCC unroll 1
  for (; i < n; ++i) dst[i] = src[i * step];
}

// `channels` planes of h x w, one after the other, into dst.
template <class V>
void prepare_channels(const ConvSource& g, Index channels, Index h, Index w,
                      const typename V::T* src, typename V::T* dst) {
  const Index plane = g.plane();
  for (Index c = 0; c < channels; ++c, src += h * w) {
    for (Index ph = 0; ph < g.phases_h; ++ph) {
      for (Index pw = 0; pw < g.phases_w; ++pw, dst += plane) {
        const Index w0 = g.first_w + pw;
        const Index begin = least(g.cols, round_up_div(-w0, g.step_w));
        const Index end = most(begin, least(g.cols, round_up_div(w - w0, g.step_w)));
        for (Index r = 0; r < g.rows; ++r) {
          const Index ih = g.first_h + ph + r * g.step_h;
          typename V::T* row = dst + r * g.cols;
          if (ih < 0 || ih >= h || begin == end) {
            clear_run<V>(row, g.cols);
            continue;
          }
          const Index at = w0 + begin * g.step_w;
          clear_run<V>(row, begin);
          copy_run<V>(row + begin, src + ih * w + at, end - begin, g.step_w, w - at);
          clear_run<V>(row + end, g.cols - end);
        }
      }
    }
  }
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
