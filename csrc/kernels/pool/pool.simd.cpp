// Pooling kernels; idea and contract in pool.h.
#include "kernels/pool/pool.h"

#include "kernels/simd/interleave.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

using Index = std::int64_t;

GS_INLINE Index least(Index a, Index b) { return a < b ? a : b; }
GS_INLINE Index most(Index a, Index b) { return a > b ? a : b; }
GS_INLINE Index ceil_div(Index a, Index b) { return a <= 0 ? 0 : (a + b - 1) / b; }

// Taps of one dimension that fall on existing inputs, given where tap 0 falls.
struct Taps {
  Index begin, end;
};
GS_INLINE Taps taps_inside(Index first, Index in, Index kernel, Index dilation) {
  return {least(kernel, ceil_div(-first, dilation)), least(kernel, ceil_div(in - first, dilation))};
}

// Output columns [begin, end) whose windows lie inside the row.
GS_INLINE Taps inner_columns(const PoolShape& s) {
  const Index begin = least(s.out_w, ceil_div(s.pad_w, s.stride_w));
  const Index room = s.w - 1 - (s.kernel_w - 1) * s.dilation_w + s.pad_w;
  const Index end = room < 0 ? 0 : least(s.out_w, room / s.stride_w + 1);
  return {begin, most(begin, end)};
}

// Calls body(column, lanes, n) for groups of output columns: inner ones N at a time where vectors
// apply, others one by one with n = 0.
template <int N, class Vectors, class Scalar>
GS_INLINE void over_columns(const PoolShape& s, bool use_vectors, Vectors vectors, Scalar scalar) {
  const Taps inner = use_vectors ? inner_columns(s) : Taps{0, 0};
  Index ow = 0;
  for (; ow < inner.begin; ++ow) scalar(ow);
  if (inner.end - inner.begin >= N) {  // the last vector overlaps its neighbour
    for (; ow < inner.end; ow += N) vectors(least(ow, inner.end - N), N);
  } else if (ow < inner.end) {
    vectors(ow, int(inner.end - ow));
  }
  for (ow = inner.end; ow < s.out_w; ++ow) scalar(ow);
}

// visit(value, tap column) for the taps of one input row under N neighbouring outputs. p points at
// tap 0 of the first output, `room` elements before the row's end.
template <class V, class Visit>
GS_INLINE void visit_row(const typename V::T* p, Index room, int n, const PoolShape& s,
                         Visit visit) {
  if (s.stride_w == 1) {
    for (Index j = 0; j < s.kernel_w; ++j) {
      const typename V::T* q = p + j * s.dilation_w;
      visit(n == V::N ? load(q) : load_n(q, n), j);
    }
    return;
  }
  V even, odd;
  const Index dilation = s.dilation_w;
  for (Index j = 0; j < s.kernel_w; ++j) {
    load_even_odd(p + j * dilation, room - j * dilation, even, odd);
    visit(even, j);
    if (dilation == 1 && j + 1 < s.kernel_w) visit(odd, ++j);
  }
}

template <class T>
GS_INLINE void max_of_window(const T* x, Index w, Index h0, Taps rows, Index row_step, Index w0,
                             Taps cols, Index col_step, T* y, Index* index) {
  T best = -__builtin_inf();
  Index where = (h0 + rows.begin * row_step) * w + w0 + cols.begin * col_step;
  for (Index i = rows.begin; i < rows.end; ++i) {
    const Index row = (h0 + i * row_step) * w + w0;
    for (Index j = cols.begin; j < cols.end; ++j) {
      const T v = x[row + j * col_step];
      if (v > best || v != v) {
        best = v;
        where = row + j * col_step;
      }
    }
  }
  *y = best;
  if (index) *index = where;
}

// One row of outputs. kIndexed: positions are wanted.
template <class V, bool kIndexed>
void max_row(const PoolShape& s, bool use_vectors, const typename V::T* x, Index h0,
             typename V::T* y, Index* index) {
  using T = typename V::T;
  const Taps rows = taps_inside(h0, s.h, s.kernel_h, s.dilation_h);
  const auto scalar = [&](Index ow) {
    const Index w0 = ow * s.stride_w - s.pad_w;
    const Taps cols = taps_inside(w0, s.w, s.kernel_w, s.dilation_w);
    max_of_window(x, s.w, h0, rows, s.dilation_h, w0, cols, s.dilation_w, y + ow,
                  kIndexed ? index + ow : nullptr);
  };
  const auto vectors = [&](Index ow, int n) __attribute__((always_inline)) {
    const Index w0 = ow * s.stride_w - s.pad_w;
    V best = V::set(T(-__builtin_inf()));
    V where = V::set(T(rows.begin * s.dilation_h * s.w));  // relative to (h0, w0)
    for (Index i = rows.begin; i < rows.end; ++i) {
      const T* p = x + (h0 + i * s.dilation_h) * s.w + w0;
      visit_row<V>(p, s.w - w0, n, s, [&](V v, Index j) __attribute__((always_inline)) {
        if constexpr (kIndexed) {
          const auto better = gt(v, best) | is_nan(v);
          best = select(better, v, best);
          where = select(better, V::set(T(i * s.dilation_h * s.w + j * s.dilation_w)), where);
        } else {
          best = max_nan(v, best);
        }
      });
    }
    store_n(y + ow, best, n);
    if constexpr (kIndexed) {
      T relative[V::N];
      store(relative, where);
      const Index base = h0 * s.w + w0;
      for (int l = 0; l < n; ++l)
        index[ow + l] = base + l * s.stride_w + Index(std::int32_t(relative[l]));
    }
  };
  over_columns<V::N>(s, use_vectors, vectors, scalar);
}

template <class V>
void max_pool_planes(const MaxPool& args) {
  using T = typename V::T;
  const PoolShape& s = args.shape;
  const bool exact = s.kernel_h * s.dilation_h * s.w + s.kernel_w * s.dilation_w < (1 << 24);
  const bool use_vectors = s.stride_w <= 2 && exact;
  for (Index row = 0; row < s.planes * s.out_h; ++row) {
    const Index plane = row / s.out_h, h0 = row % s.out_h * s.stride_h - s.pad_h;
    const T* x = static_cast<const T*>(args.x) + plane * s.h * s.w;
    T* y = static_cast<T*>(args.y) + row * s.out_w;
    if (args.index) {
      max_row<V, true>(s, use_vectors, x, h0, y, args.index + row * s.out_w);
    } else {
      max_row<V, false>(s, use_vectors, x, h0, y, nullptr);
    }
  }
}

// Sum of n contiguous elements, in a fixed order.
template <class V>
GS_INLINE typename V::T sum_run(const typename V::T* x, Index n) {
  V acc[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  Index i = 0;
  for (; i + 4 * V::N <= n; i += 4 * V::N)
    for (int u = 0; u < 4; ++u) acc[u] = acc[u] + load(x + i + u * V::N);
  for (; i < n; i += V::N) acc[0] = acc[0] + load_n(x + i, int(least(V::N, n - i)));
  return hsum((acc[0] + acc[1]) + (acc[2] + acc[3]));
}

template <class T>
GS_INLINE T sum_window(const T* x, Index w, Index h0, Index h1, Index w0, Index w1) {
  T sum = 0;
  for (Index ih = h0; ih < h1; ++ih)
    for (Index iw = w0; iw < w1; ++iw) sum += x[ih * w + iw];
  return sum;
}

GS_INLINE bool is_global(const PoolShape& s) {
  return s.out_h == 1 && s.out_w == 1 && s.pad_h == 0 && s.pad_w == 0 && s.kernel_h == s.h &&
         s.kernel_w == s.w;
}

// Rows and columns that count towards the divisor, of which those inside the input are summed.
struct Extent {
  Index begin, end;  // inside the input
  Index counted;
};
GS_INLINE Extent extent(Index o, Index stride, Index pad, Index kernel, Index in, bool with_pad) {
  const Index first = o * stride - pad;
  const Index begin = most(first, 0), end = most(begin, least(first + kernel, in));
  return {begin, end, with_pad ? least(first + kernel, in + pad) - first : end - begin};
}

template <class V>
void avg_pool_planes(const AvgPool& args) {
  using T = typename V::T;
  const PoolShape& s = args.shape;
  const Index fixed = args.divisor_override;
  const T* x = static_cast<const T*>(args.x);
  T* y = static_cast<T*>(args.y);
  if (is_global(s)) {
    const T divisor = T(fixed ? fixed : s.h * s.w);
    for (Index p = 0; p < s.planes; ++p) y[p] = sum_run<V>(x + p * s.h * s.w, s.h * s.w) / divisor;
    return;
  }
  for (Index row = 0; row < s.planes * s.out_h; ++row, y += s.out_w) {
    const Index plane = row / s.out_h, oh = row % s.out_h;
    const T* xp = x + plane * s.h * s.w;
    const Extent rows = extent(oh, s.stride_h, s.pad_h, s.kernel_h, s.h, args.count_include_pad);
    const auto scalar = [&](Index ow) {
      const Extent cols = extent(ow, s.stride_w, s.pad_w, s.kernel_w, s.w, args.count_include_pad);
      const T sum = sum_window(xp, s.w, rows.begin, rows.end, cols.begin, cols.end);
      const bool empty = rows.begin == rows.end || cols.begin == cols.end;
      y[ow] = empty ? T(0) : sum / T(fixed ? fixed : rows.counted * cols.counted);
    };
    const auto vectors = [&](Index ow, int n) __attribute__((always_inline)) {
      const Index w0 = ow * s.stride_w - s.pad_w;
      V sum = V::zero();
      for (Index ih = rows.begin; ih < rows.end; ++ih)
        visit_row<V>(xp + ih * s.w + w0, s.w - w0, n, s,
                     [&](V v, Index) __attribute__((always_inline)) { sum = sum + v; });
      store_n(y + ow, sum / V::set(T(fixed ? fixed : rows.counted * s.kernel_w)), n);
    };
    over_columns<V::N>(s, s.stride_w <= 2 && rows.begin < rows.end, vectors, scalar);
  }
}

template <class V>
GS_INLINE void fill_run(typename V::T* x, Index n, typename V::T value) {
  const V v = V::set(value);
  for (Index i = 0; i < n; i += V::N) {
    if (n - i >= V::N) {
      store(x + i, v);
    } else {
      store_n(x + i, v, int(n - i));
    }
  }
}

// x[0] = x[1] = g[0], x[2] = x[3] = g[1], ...
template <class V>
GS_INLINE void store_pairs(typename V::T* x, const typename V::T* g, Index n, V divisor) {
  for (Index i = 0; i < n; i += V::N) {
    const int lanes = int(least(V::N, n - i));
    V lo, hi;
    const V each = load_n(g + i, lanes) / divisor;
    interleave(each, each, lo, hi);
    store_n(x + 2 * i, lo, int(least(V::N, 2 * lanes)));
    store_n(x + 2 * i + V::N, hi, int(most(0, 2 * lanes - V::N)));
  }
}

template <class V>
void avg_pool_backward_planes(const AvgPoolBackward& args) {
  using T = typename V::T;
  const PoolShape& s = args.shape;
  const Index fixed = args.divisor_override, in = s.h * s.w, out = s.out_h * s.out_w;
  T* dx = static_cast<T*>(args.dx);
  const T* dy = static_cast<const T*>(args.dy);
  if (is_global(s)) {
    const T divisor = T(fixed ? fixed : in);
    for (Index p = 0; p < s.planes; ++p) fill_run<V>(dx + p * in, in, dy[p] / divisor);
    return;
  }
  const bool halves = s.kernel_h == 2 && s.kernel_w == 2 && s.stride_h == 2 && s.stride_w == 2 &&
                      s.pad_h == 0 && s.pad_w == 0 && s.h == 2 * s.out_h && s.w == 2 * s.out_w;
  if (halves) {
    const V divisor = V::set(T(fixed ? fixed : 4));
    for (Index row = 0; row < s.planes * s.out_h; ++row) {
      store_pairs<V>(dx + row * 2 * s.w, dy + row * s.out_w, s.out_w, divisor);
      store_pairs<V>(dx + row * 2 * s.w + s.w, dy + row * s.out_w, s.out_w, divisor);
    }
    return;
  }
  const Taps inner = s.stride_w == 1 ? inner_columns(s) : Taps{0, 0};
  for (Index p = 0; p < s.planes; ++p, dx += in, dy += out) {
    fill_run<V>(dx, in, T(0));
    for (Index oh = 0; oh < s.out_h; ++oh) {
      const T* g = dy + oh * s.out_w;
      const Extent rows = extent(oh, s.stride_h, s.pad_h, s.kernel_h, s.h, args.count_include_pad);
      const auto scalar = [&](Index ow) {
        const Extent cols =
            extent(ow, s.stride_w, s.pad_w, s.kernel_w, s.w, args.count_include_pad);
        if (cols.begin == cols.end || rows.begin == rows.end) return;
        const T share = g[ow] / T(fixed ? fixed : rows.counted * cols.counted);
        for (Index ih = rows.begin; ih < rows.end; ++ih)
          for (Index iw = cols.begin; iw < cols.end; ++iw) dx[ih * s.w + iw] += share;
      };
      for (Index ow = 0; ow < inner.begin; ++ow) scalar(ow);
      const V divisor = V::set(T(fixed ? fixed : rows.counted * s.kernel_w));
      for (Index ow = inner.begin; ow < inner.end; ow += V::N) {
        const int n = int(least(V::N, inner.end - ow));
        const V share = load_n(g + ow, n) / divisor;
        for (Index ih = rows.begin; ih < rows.end; ++ih)
          for (Index j = 0; j < s.kernel_w; ++j) {
            T* q = dx + ih * s.w + ow - s.pad_w + j;
            store_n(q, load_n(q, n) + share, n);
          }
      }
      for (Index ow = inner.end; ow < s.out_w; ++ow) scalar(ow);
    }
  }
}

GS_INLINE Index adaptive_begin(Index o, Index in, Index out) { return o * in / out; }
GS_INLINE Index adaptive_end(Index o, Index in, Index out) {
  return ((o + 1) * in + out - 1) / out;
}

// body(plane, output, h0, h1, w0, w1) for every window.
template <class Args, class Body>
GS_INLINE void over_adaptive(const Args& a, Body body) {
  Index o = 0;
  for (Index p = 0; p < a.planes; ++p)
    for (Index oh = 0; oh < a.out_h; ++oh)
      for (Index ow = 0; ow < a.out_w; ++ow, ++o)
        body(p, o, adaptive_begin(oh, a.h, a.out_h), adaptive_end(oh, a.h, a.out_h),
             adaptive_begin(ow, a.w, a.out_w), adaptive_end(ow, a.w, a.out_w));
}

template <class V>
void adaptive_max_planes(const AdaptivePool& a) {
  using T = typename V::T;
  const auto body = [&](Index p, Index o, Index h0, Index h1, Index w0, Index w1) {
    max_of_window(static_cast<const T*>(a.x) + p * a.h * a.w, a.w, h0, {0, h1 - h0}, 1, w0,
                  {0, w1 - w0}, 1, static_cast<T*>(a.y) + o, a.index ? a.index + o : nullptr);
  };
  over_adaptive(a, body);
}

template <class V>
void adaptive_avg_planes(const AdaptivePool& a) {
  using T = typename V::T;
  const auto body = [&](Index p, Index o, Index h0, Index h1, Index w0, Index w1) {
    const T* x = static_cast<const T*>(a.x) + p * a.h * a.w;
    static_cast<T*>(a.y)[o] = sum_window(x, a.w, h0, h1, w0, w1) / T((h1 - h0) * (w1 - w0));
  };
  over_adaptive(a, body);
}

template <class V>
void adaptive_avg_backward_planes(const AdaptivePoolBackward& a) {
  using T = typename V::T;
  fill_run<V>(static_cast<T*>(a.dx), a.planes * a.h * a.w, T(0));
  const auto body = [&](Index p, Index o, Index h0, Index h1, Index w0, Index w1) {
    T* dx = static_cast<T*>(a.dx) + p * a.h * a.w;
    const T share = static_cast<const T*>(a.dy)[o] / T((h1 - h0) * (w1 - w0));
    for (Index ih = h0; ih < h1; ++ih)
      for (Index iw = w0; iw < w1; ++iw) dx[ih * a.w + iw] += share;
  };
  over_adaptive(a, body);
}

template <class V>
void scatter_planes(const PoolScatter& a) {
  using T = typename V::T;
  T* dx = static_cast<T*>(a.dx);
  const T* dy = static_cast<const T*>(a.dy);
  const Index* index = a.index;
  for (Index p = 0; p < a.planes; ++p) {
    fill_run<V>(dx, a.in_size, T(0));
    for (Index o = 0; o < a.out_size; ++o) dx[index[o]] += dy[o];
    dx += a.in_size;
    dy += a.out_size;
    index += a.out_size;
  }
}

template <class V>
void gather_planes(const PoolGather& a) {
  using T = typename V::T;
  for (Index p = 0; p < a.planes; ++p) {
    const T* x = static_cast<const T*>(a.x) + p * a.in_size;
    for (Index o = p * a.out_size; o < (p + 1) * a.out_size; ++o)
      static_cast<T*>(a.y)[o] = x[a.index[o]];
  }
}

}  // namespace

#define GS_ROWS(op, Args, fn)                        \
  void op##_f32(const Args& args) { fn<F32>(args); } \
  void op##_f64(const Args& args) { fn<F64>(args); }
GS_ROWS(max_pool, MaxPool, max_pool_planes)
GS_ROWS(avg_pool, AvgPool, avg_pool_planes)
GS_ROWS(avg_pool_backward, AvgPoolBackward, avg_pool_backward_planes)
GS_ROWS(adaptive_max_pool, AdaptivePool, adaptive_max_planes)
GS_ROWS(adaptive_avg_pool, AdaptivePool, adaptive_avg_planes)
GS_ROWS(adaptive_avg_pool_backward, AdaptivePoolBackward, adaptive_avg_backward_planes)
GS_ROWS(pool_scatter, PoolScatter, scatter_planes)
GS_ROWS(pool_gather, PoolGather, gather_planes)
#undef GS_ROWS

}  // namespace gradsmith::kernels::GS_ISA
