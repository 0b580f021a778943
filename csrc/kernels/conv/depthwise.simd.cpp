// Depthwise convolution, forward and input gradient. Contract and idea: depthwise.h. Constants and
// measurements: README.md.
#include "kernels/conv/depthwise.h"

#include "kernels/conv/strip.h"
#include "kernels/simd/activate.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// One plane: out from in and k * k weights.
template <class T>
struct Plane {
  Index h, w, out_h, out_w, pad_h, pad_w;
  const T* in;
  T* out;
  const T* weights;
  T bias;
  bool relu;
};

template <class V>
GS_INLINE V finish(V sum, const Plane<typename V::T>& p) {
  sum = sum + V::set(p.bias);
  return p.relu ? select(lt(sum, V::zero()), V::zero(), sum) : sum;
}

// What a step has to look at: rows that do not exist, outputs that are not finished yet, and rows
// that must not be stored whole.
enum class Steps { any, inner };

// Step t reads the padded rows S * t + e, e < S; they are tap S * a + e of output t - a, which
// waits in acc[a] and is finished with the last tap.
template <class V, int K, int S, bool kMasked>
struct Forward {
  using T = typename V::T;
  static constexpr int kWaiting = (K + S - 1) / S;
  const Plane<T>& p;
  const V (&w)[K * K];
  const Strip<V, K, S>& strip;
  Index column, begin, row_end;
  V acc[kWaiting];

  template <Steps kSteps>
  GS_INLINE void step(Index t) {
    const T* in = p.in + (t * S - p.pad_h) * p.w;
#pragma GCC unroll 2
    for (int e = 0; e < S; ++e, in += p.w) {
      const Index row = t * S + e - p.pad_h;
      if (kSteps == Steps::any && (row < 0 || row >= p.h)) continue;
      V x[K];
      strip.template taps<kMasked>(in, x);
      ask_ahead(in + strip.first);
      if (S == 2) ask_ahead(in + strip.first + V::N);
#pragma GCC unroll 8
      for (int j = 0; j < K; ++j)
#pragma GCC unroll 8
        for (int a = 0; a < kWaiting; ++a)
          if (a * S + e < K) acc[a] = fma(w[(a * S + e) * K + j], x[j], acc[a]);
    }
    const Index done = t - (kWaiting - 1);
    T* const to = p.out + done * p.out_w + column;
    ask_ahead_to_write(to);
    if (kSteps == Steps::inner) {
      store(to, finish(acc[kWaiting - 1], p));
    } else if (done >= begin) {
      const V sum = finish(acc[kWaiting - 1], p);
      if (stored_whole(done)) {
        store(to, sum);
      } else {
        store_n(to, sum, int(p.out_w));
      }
    }
#pragma GCC unroll 8
    for (int a = kWaiting - 1; a > 0; --a) acc[a] = acc[a - 1];
    acc[0] = V::zero();
  }

  // A row shorter than a register is stored whole where what follows is stored later.
  GS_INLINE bool stored_whole(Index row) const {
    return p.out_w >= V::N || (row_end - row) * p.out_w >= V::N;
  }

  GS_INLINE void rows(Index end) {
#pragma GCC unroll 8
    for (int a = 0; a < kWaiting; ++a) acc[a] = V::zero();
    const Index last = end + kWaiting - 1;
    Index t = begin;
    const Index inner = most(begin + kWaiting - 1, round_up_div(p.pad_h, S));
    for (; t < least(last, inner); ++t) step<Steps::any>(t);
    // Rows t * S + S - 1 - pad_h < h.
    Index inner_end = least(last, (p.h + p.pad_h) / S);
    while (inner_end > t && !stored_whole(inner_end - kWaiting)) --inner_end;
    for (; t < inner_end; ++t) step<Steps::inner>(t);
    for (; t < last; ++t) step<Steps::any>(t);
  }
};

// Planes of one strip share its masks.
template <class V, int K, int S>
void forward_plane(const Plane<typename V::T>& p, const Strip<V, K, S>& first, Index row_begin,
                   Index row_end) {
  V w[K * K];
#pragma GCC unroll 32
  for (int i = 0; i < K * K; ++i) w[i] = V::set(p.weights[i]);
  const Index band = depthwise_band(p.w, S);
  for (Index begin = row_begin; begin < row_end; begin += band) {
    const Index end = least(row_end, begin + band);
    Forward<V, K, S, true>{p, w, first, 0, begin, row_end, {}}.rows(end);
    for (Index c = V::N; c < p.out_w; c += V::N) {
      // The last strip overlaps its neighbour.
      const Index column = least(c, p.out_w - V::N);
      const Strip<V, K, S> strip(column * S - p.pad_w, p.w, V::N);
      if (strip.inside) {
        Forward<V, K, S, false>{p, w, strip, column, begin, row_end, {}}.rows(end);
      } else {
        Forward<V, K, S, true>{p, w, strip, column, begin, row_end, {}}.rows(end);
      }
    }
  }
}

// Stride 2. Step t reads row t of dy, which meets the padded input rows 2 * (t + m) + a in tap
// row 2 * m + a; they wait in acc[m][a], with even padded columns in [0], odd ones in [1].
template <class V, int K, bool kOddPad, bool kMasked>
GS_INLINE void adjoint_strip(const Plane<typename V::T>& p, const V (&w)[K * K],
                             const Strip<V, (K + 1) / 2, 1>& strip, Index column, Index begin,
                             Index end, Index row_begin, Index row_end) {
  using T = typename V::T;
  constexpr int M = (K + 1) / 2;
  V acc[M][2][2];
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
    for (int a = 0; a < 2; ++a) acc[m][a][0] = acc[m][a][1] = V::zero();
  const Index left = p.out_w - 2 * column;
  for (Index t = begin - (M - 1); t < end; ++t) {
    if (t >= 0 && t < p.h) {
      V x[M];
      strip.template taps<kMasked>(p.in + t * p.w, x);
      ask_ahead(p.in + t * p.w + strip.first);
#pragma GCC unroll 4
      for (int n = 0; n < M; ++n)  // dy columns ascending: taps descending
#pragma GCC unroll 4
        for (int i = 0; i < K; ++i)
#pragma GCC unroll 2
          for (int b = 0; b < 2; ++b) {
            // Odd taps of an odd padding meet the column before.
            const int j = 2 * (M - 1 - n) + b - (kOddPad && b ? 2 : 0);
            if (j >= 0 && j < K) {
              V& sum = acc[i / 2][i % 2][b];
              sum = fma(w[i * K + j], x[n], sum);
            }
          }
    }
#pragma GCC unroll 2
    for (int a = 0; a < 2; ++a) {
      const Index row = 2 * t + a - p.pad_h;
      if (t < begin || row < row_begin || row >= row_end) continue;
      V low, high;
      interleave(finish(acc[0][a][kOddPad], p), finish(acc[0][a][!kOddPad], p), low, high);
      T* const to = p.out + row * p.out_w + 2 * column;
      ask_ahead_to_write(to);
      ask_ahead_to_write(to + V::N);
      if (left >= 2 * V::N || (p.out_w <= 2 * V::N && (row_end - row) * p.out_w >= 2 * V::N)) {
        store(to, low);
        store(to + V::N, high);
      } else {
        store_n(to, low, int(least(left, V::N)));
        if (left > V::N) store_n(to + V::N, high, int(left - V::N));
      }
    }
#pragma GCC unroll 4
    for (int m = 0; m + 1 < M; ++m)
#pragma GCC unroll 2
      for (int a = 0; a < 2; ++a) {
        acc[m][a][0] = acc[m + 1][a][0];
        acc[m][a][1] = acc[m + 1][a][1];
      }
#pragma GCC unroll 2
    for (int a = 0; a < 2; ++a) acc[M - 1][a][0] = acc[M - 1][a][1] = V::zero();
  }
}

template <class V, int K, bool kOddPad>
void adjoint_plane(const Plane<typename V::T>& p, Index row_begin, Index row_end) {
  constexpr int M = (K + 1) / 2;
  V w[K * K];
#pragma GCC unroll 32
  for (int i = 0; i < K * K; ++i) w[i] = V::set(p.weights[i]);
  const Index first = (row_begin + p.pad_h) / 2, last = (row_end - 1 + p.pad_h) / 2 + 1;
  const Index band = depthwise_band(p.w, 1), pairs = (p.out_w + 1) / 2;
  for (Index begin = first; begin < last; begin += band) {
    const Index end = least(last, begin + band);
    for (Index c = 0; c < pairs; c += V::N) {
      const Index column = most(0, least(c, pairs - V::N));
      const Index dy_column = column + p.pad_w / 2 + kOddPad - (M - 1);
      const Strip<V, M, 1> strip(dy_column, p.w, V::N);
      if (strip.inside) {
        adjoint_strip<V, K, kOddPad, false>(p, w, strip, column, begin, end, row_begin, row_end);
      } else {
        adjoint_strip<V, K, kOddPad, true>(p, w, strip, column, begin, end, row_begin, row_end);
      }
    }
  }
}

// What is the same for all planes, outside of their loop.
template <class V, int K, int S>
struct ForwardPlanes {
  Strip<V, K, S> first;
  explicit ForwardPlanes(const Plane<typename V::T>& p) : first(-p.pad_w, p.w, V::N) {}
  GS_INLINE void operator()(const Plane<typename V::T>& p, Index begin, Index end) const {
    forward_plane<V, K, S>(p, first, begin, end);
  }
};

template <class V, int K, bool kOddPad>
struct AdjointPlanes {
  explicit AdjointPlanes(const Plane<typename V::T>&) {}
  GS_INLINE void operator()(const Plane<typename V::T>& p, Index begin, Index end) const {
    adjoint_plane<V, K, kOddPad>(p, begin, end);
  }
};

template <class V, int K, class Run>
void over_planes(const DepthwisePart& a, Plane<typename V::T>& p, bool reversed) {
  using T = typename V::T;
  const T* const bias = static_cast<const T*>(a.epilogue.bias);
  const T* const weight = static_cast<const T*>(a.weight);
  const bool late = a.epilogue.activation != Activation::none && !p.relu;
  const Index groups = a.shape.groups, rows = a.row_end - a.row_begin;
  const Run run(p);
  T turned[K * K];
  p.in = static_cast<const T*>(a.in) + a.plane_begin * p.h * p.w;
  p.out = static_cast<T*>(a.out) + a.plane_begin * p.out_h * p.out_w;
  Index c = a.plane_begin % groups;
  for (Index plane = a.plane_begin; plane < a.plane_end; ++plane) {
    p.weights = weight + c * K * K;
    if (reversed) {
#pragma GCC unroll 32
      for (int i = 0; i < K * K; ++i) turned[i] = p.weights[K * K - 1 - i];
      p.weights = turned;
    }
    p.bias = bias ? bias[c] : T(0);
    run(p, a.row_begin, a.row_end);
    if (late) {
      T* const y = p.out + a.row_begin * p.out_w;
      for (Index i = 0; i < rows * p.out_w; i += V::N) {
        const int lanes = int(least(V::N, rows * p.out_w - i));
        store_n(y + i, activate(load_n(y + i, lanes), a.epilogue.activation, T(a.epilogue.slope)),
                lanes);
      }
    }
    p.in += p.h * p.w;
    p.out += p.out_h * p.out_w;
    if (++c == groups) c = 0;
  }
}

template <class V, int K>
void run(const DepthwisePart& a, bool adjoint) {
  const ConvShape& s = a.shape;
  if (a.row_begin >= a.row_end || a.plane_begin >= a.plane_end) return;
  Plane<typename V::T> p{};
  p.h = s.h, p.w = s.w, p.out_h = s.out_h(), p.out_w = s.out_w();
  p.pad_h = s.pad_h, p.pad_w = s.pad_w;
  // With stride 1 the adjoint is a convolution with reversed taps.
  const bool reversed = adjoint && s.stride_h == 1;
  if (adjoint) p.h = s.out_h(), p.w = s.out_w(), p.out_h = s.h, p.out_w = s.w;
  if (reversed) p.pad_h = K - 1 - s.pad_h, p.pad_w = K - 1 - s.pad_w;
  p.relu = a.epilogue.activation == Activation::relu;
  if (s.stride_h == 1) {
    over_planes<V, K, ForwardPlanes<V, K, 1>>(a, p, reversed);
  } else if (!adjoint) {
    over_planes<V, K, ForwardPlanes<V, K, 2>>(a, p, false);
  } else if (s.pad_w % 2 == 0) {
    over_planes<V, K, AdjointPlanes<V, K, false>>(a, p, false);
  } else {
    over_planes<V, K, AdjointPlanes<V, K, true>>(a, p, false);
  }
}

template <class V>
void run(const DepthwisePart& a, bool adjoint) {
  a.shape.kh == 3 ? run<V, 3>(a, adjoint) : run<V, 5>(a, adjoint);
}

}  // namespace

void depthwise_forward_f32(const DepthwisePart& part) { run<F32>(part, false); }
void depthwise_forward_f64(const DepthwisePart& part) { run<F64>(part, false); }
void depthwise_input_grad_f32(const DepthwisePart& part) { run<F32>(part, true); }
void depthwise_input_grad_f64(const DepthwisePart& part) { run<F64>(part, true); }

}  // namespace gradsmith::kernels::GS_ISA
