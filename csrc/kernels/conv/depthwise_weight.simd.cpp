// Weight gradient of depthwise convolution. Contract and idea: depthwise.h.
#include "kernels/conv/depthwise.h"
#include "kernels/conv/strip.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// lane k = the sum of the lanes of v[k]: neighbours are added until each vector is one lane.
template <class V>
GS_INLINE V sum_each(V (&v)[V::N]) {
#pragma GCC unroll 5
  for (int count = V::N; count > 1; count /= 2)
#pragma GCC unroll 16
    for (int i = 0; i < count / 2; ++i) {
      V even, odd;
      deinterleave(v[2 * i], v[2 * i + 1], even, odd);
      v[i] = even + odd;
    }
  return v[0];
}

template <class T>
struct WeightPlane {
  Index h, w, out_h, out_w, pad_h, pad_w;
  const T *x, *dy;
};

// As in the forward pass: step t reads the padded rows S * t + e of x, which row t - a of dy meets
// in tap row S * a + e.
template <class V, int K, int S, bool kMasked>
GS_INLINE void add_strip(const WeightPlane<typename V::T>& p, V (&acc)[K * K],
                         const Strip<V, K, S>& strip, Index column, Index begin, Index end) {
  constexpr int kWaiting = (K + S - 1) / S;
  const int lanes = int(least(V::N, p.out_w - column));
  V dy[kWaiting];
#pragma GCC unroll 8
  for (int a = 0; a < kWaiting; ++a) dy[a] = V::zero();
  for (Index t = begin; t < end + kWaiting - 1; ++t) {
#pragma GCC unroll 8
    for (int a = kWaiting - 1; a > 0; --a) dy[a] = dy[a - 1];
    const typename V::T* const from = p.dy + t * p.out_w + column;
    if (t < end) dy[0] = kMasked ? load_n(from, lanes) : load(from);
    ask_ahead(from);
    // A row of dy that is not there must not be a zero: the row of x may be infinite.
    const bool all = t >= begin + kWaiting - 1 && t < end;
#pragma GCC unroll 2
    for (int e = 0; e < S; ++e) {
      const Index row = t * S + e - p.pad_h;
      if (row < 0 || row >= p.h) continue;
      V x[K];
      strip.template taps<kMasked>(p.x + row * p.w, x);
      ask_ahead(p.x + row * p.w + strip.first);
      if (S == 2) ask_ahead(p.x + row * p.w + strip.first + V::N);
#pragma GCC unroll 8
      for (int a = 0; a < kWaiting; ++a) {
        if (a * S + e >= K || (!all && (t - a < begin || t - a >= end))) continue;
#pragma GCC unroll 8
        for (int j = 0; j < K; ++j) {
          V& sum = acc[(a * S + e) * K + j];
          sum = fma(dy[a], x[j], sum);
        }
      }
    }
  }
}

template <class V, int K, int S>
void add_plane(const WeightPlane<typename V::T>& p, typename V::T* sums, bool add) {
  const Index band = depthwise_band(p.w, S);
  for (Index begin = 0; begin < p.out_h; begin += band) {
    const Index end = least(p.out_h, begin + band);
    V acc[K * K];
#pragma GCC unroll 32
    for (int i = 0; i < K * K; ++i) acc[i] = V::zero();
    for (Index column = 0; column < p.out_w; column += V::N) {
      const Strip<V, K, S> strip(column * S - p.pad_w, p.w, p.out_w - column);
      if (strip.inside) {
        add_strip<V, K, S, false>(p, acc, strip, column, begin, end);
      } else {
        add_strip<V, K, S, true>(p, acc, strip, column, begin, end);
      }
    }
#pragma GCC unroll 32
    for (int i = 0; i < K * K; ++i) {
      if (add) acc[i] = load(sums + i * V::N) + acc[i];
      store(sums + i * V::N, acc[i]);
    }
    add = true;
  }
}

template <class V>
void run(const DepthwiseWeightPart& a) {
  using T = typename V::T;
  const ConvShape& s = a.shape;
  const Index taps = s.kh * s.kw;
  WeightPlane<T> p{};
  p.h = s.h, p.w = s.w, p.out_h = s.out_h(), p.out_w = s.out_w();
  p.pad_h = s.pad_h, p.pad_w = s.pad_w;
  T* const sums = static_cast<T*>(a.sums);
  const Index size = (a.channel_end - a.channel_begin) * taps;
  if (a.image_begin >= a.image_end || p.out_h == 0)
    for (Index i = 0; i < size; ++i) store(sums + i * V::N, V::zero());
  for (Index n = a.image_begin; n < a.image_end; ++n)
    for (Index c = a.channel_begin; c < a.channel_end; ++c) {
      const Index plane = n * s.groups + c;
      p.x = static_cast<const T*>(a.x) + plane * p.h * p.w;
      p.dy = static_cast<const T*>(a.dy) + plane * p.out_h * p.out_w;
      T* const to = sums + (c - a.channel_begin) * taps * V::N;
      const bool add = n > a.image_begin;
      if (s.kh == 3) {
        s.stride_h == 1 ? add_plane<V, 3, 1>(p, to, add) : add_plane<V, 3, 2>(p, to, add);
      } else {
        s.stride_h == 1 ? add_plane<V, 5, 1>(p, to, add) : add_plane<V, 5, 2>(p, to, add);
      }
    }
  T* const dw = static_cast<T*>(a.dw) + a.channel_begin * taps;
  for (Index i = 0; i < size; i += V::N) {
    const int count = int(least(V::N, size - i));
    V v[V::N];
#pragma GCC unroll 16
    for (int k = 0; k < V::N; ++k) v[k] = load(sums + least(i + k, size - 1) * V::N);
    store_n(dw + i, sum_each(v), count);
  }
}

}  // namespace

void depthwise_weight_grad_f32(const DepthwiseWeightPart& part) { run<F32>(part); }
void depthwise_weight_grad_f64(const DepthwiseWeightPart& part) { run<F64>(part); }

}  // namespace gradsmith::kernels::GS_ISA
