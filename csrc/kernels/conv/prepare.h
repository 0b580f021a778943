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

template <class V>
GS_INLINE void clear_run(typename V::T* dst, Index n) {
  Index i = 0;
  for (; i + V::N <= n; i += V::N) store(dst + i, V::zero());
#pragma GCC unroll 1
  for (; i < n; ++i) dst[i] = 0;
}

// dst[i] = src[i * step], 0 <= i < n; `available` elements exist from src on. Up to N - 1 elements
// past dst[n - 1] are overwritten with zeros: what follows is padding or the next row, which is
// copied later, and masked stores are microcoded on AMD.
template <class V>
GS_INLINE void copy_run(typename V::T* dst, const typename V::T* src, Index n, Index step,
                        Index available) {
  Index i = 0;
  if (step == 1) {
    for (; i + V::N <= n; i += V::N) store(dst + i, load(src + i));
    if (i < n) store(dst + i, load_n(src + i, int(n - i)));
  } else if (step == 2) {
    for (; i < n; i += V::N) {
      V even, odd;
      const Index left = n - i;
      load_even_odd(src + 2 * i, left >= V::N ? available - 2 * i : 2 * left - 1, even, odd);
      store(dst + i, even);
    }
  } else {
#pragma GCC unroll 1
    for (; i < n; ++i) dst[i] = src[i * step];
  }
}

// `channels` planes of h x w, one after the other, into dst, which needs kConvSlack elements more.
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
        const Index at = w0 + begin * g.step_w, h0 = g.first_h + ph;
        const bool padded =
            begin > 0 || end < g.cols || h0 < 0 || h0 + (g.rows - 1) * g.step_h >= h;
        if (padded) clear_run<V>(dst, plane);
        if (begin == end) continue;
        const Index top = least(g.rows, round_up_div(-h0, g.step_h));
        const Index bottom = least(g.rows, round_up_div(h - h0, g.step_h));
        for (Index r = top; r < bottom; ++r)
          copy_run<V>(dst + r * g.cols + begin, src + (h0 + r * g.step_h) * w + at, end - begin,
                      g.step_w, w - at);
        // Kernels read whole vectors, with weights of 0 past the end, which must not meet a NaN.
        if (!padded) clear_run<V>(dst + g.rows * g.cols, plane - g.rows * g.cols);
      }
    }
  }
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
