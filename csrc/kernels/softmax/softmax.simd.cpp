// Softmax kernels, written once on vectors and compiled for every target (GS_ISA).
//
// Formula and contract: softmax.h.
//
// Rows. While a row fits in L2, three passes over it cost one trip to memory: maximum; exponentials
// and their sum; scaling. From kOnePassBytes on, each trip counts, and exponentials are cheaper
// than bytes: the first pass finds maximum and sum together, block by block, rescaling the running
// sum whenever the maximum grows; the second writes the result from x alone. Either way the
// largest exponent is 0, so nothing overflows, and the sum is at least 1.
//
// Rows of up to kShort elements are taken as many at a time as a register has lanes, transposed, so
// that a lane is a row: what a row costs beyond its elements is shared by all of them. The more
// lanes, the more shuffles: with 16, four vectors of a row are better off without.
//
// Columns. The same three passes, on a tile of neighbouring columns that stays in L2. The maxima
// and sums of the tile live in small arrays in L1; there is no transposition.
//
// Accuracy: the sum follows sum_of's bound in simd/sweep.h (rows); columns and short rows add
// kFold terms at a time, so that |error| <= (kFold + n / kFold) u sum. The exponential is within 1
// ulp of that of x - max, whose own rounding counts |x - max| u.
#include "kernels/softmax/softmax.h"
#include "kernels/simd/math.h"
#include "kernels/simd/sweep.h"
#include "kernels/simd/transpose.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// Half of a 512 KiB L2 for x and y together: AMD Zen 2 and later; Intel's is 1 to 2 MiB.
constexpr Index kOnePassBytes = 128 * 1024;
constexpr Index kRowBlock = 2048;  // elements; 8 KiB of float in a 32 KiB L1
constexpr Index kFold = 64;
constexpr Index kShort = F32::N >= 16 ? 48 : 128;

template <class T>
constexpr T kLowest = -T(__builtin_inf());

template <class V, class T>
GS_INLINE T row_max(const T* x, Index begin, Index end) {
  return hmax(fold(
      begin, end, V::set(kLowest<T>),
      [&](auto i, auto part) { return get(x + i, part, kLowest<T>); },
      [](V a, V b) { return max(a, b); }));
}

// sum of exp(x_i - max). A NaN in x reaches the sum even though max() may have lost it.
template <class V, class T>
GS_INLINE double exp_sum(const T* x, Index n, T max) {
  return sum_of<V>(
      n, [&](auto i, auto part) { return exp(get(x + i, part, kLowest<T>) - V::set(max)); });
}

template <class V, class T>
T scalar_exp(T x) {
  return hmax(exp(V::set(x)));
}
template <class V, class T>
T scalar_log(T x) {
  return hmax(log(V::set(x)));
}

template <class V, class T>
void log_softmax_write(T* y, const T* x, Index n, T max, double sum) {
  const V m = V::set(max), log_sum = V::set(scalar_log<V>(T(sum)));
  sweep<V>(n, [&](auto i, auto part) { put(y + i, (get(x + i, part) - m) - log_sum, part); });
}

template <class V, class T, bool Log>
void short_row(T* y, const T* x, Index n) {
  const T max = row_max<V>(x, 0, n);
  if constexpr (Log) {
    log_softmax_write<V>(y, x, n, max, exp_sum<V>(x, n, max));
  } else {
    const V m = V::set(max);
    const double sum = sum_of<V>(n, [&](auto i, auto part) {
      const V e = exp(get(x + i, part, kLowest<T>) - m);
      put(y + i, e, part);
      return e;
    });
    const V scale = V::set(T(1 / sum));
    sweep<V>(n, [&](auto i, auto part) { put(y + i, get(y + i, part) * scale, part); });
  }
}

template <class V, class T, bool Log>
void long_row(T* y, const T* x, Index n) {
  T max = kLowest<T>;
  double sum = 0;
  for (Index begin = 0; begin < n; begin += kRowBlock) {
    const Index end = n - begin < kRowBlock ? n : begin + kRowBlock;
    const T block_max = row_max<V>(x, begin, end);
    if (block_max > max) {
      sum *= double(scalar_exp<V>(max - block_max));
      max = block_max;
    }
    // Nothing but -inf so far: any finite stand-in makes these terms 0 instead of NaN.
    sum += exp_sum<V>(x + begin, end - begin, max == kLowest<T> ? T(0) : max);
  }
  if constexpr (Log) {
    log_softmax_write<V>(y, x, n, max, sum);
  } else {
    const V m = V::set(max), scale = V::set(T(1 / sum));
    sweep<V>(n, [&](auto i, auto part) { put(y + i, exp(get(x + i, part) - m) * scale, part); });
  }
}

// columns[i * N + l]: element i of row l, in and out.
template <class V, bool Log>
void lanes_of_rows(typename V::T* columns, Index n) {
  using T = typename V::T;
  V top = V::set(kLowest<T>);
  for (Index i = 0; i < n; ++i) top = max(top, load(columns + i * V::N));
  V sum = V::zero();
  for (Index first = 0; first < n; first += kFold) {
    V part = V::zero();
    for (Index i = first; i < n && i < first + kFold; ++i) {
      const V difference = load(columns + i * V::N) - top, e = exp(difference);
      part = part + e;
      store(columns + i * V::N, Log ? difference : e);
    }
    sum = sum + part;
  }
  const V last = Log ? log(sum) : V::set(T(1)) / sum;
  for (Index i = 0; i < n; ++i) {
    const V value = load(columns + i * V::N);
    store(columns + i * V::N, Log ? value - last : value * last);
  }
}

template <class T, bool Log>
void short_rows(const SoftmaxRows& a) {
  using V = Vec<T>;
  alignas(64) T columns[kShort * V::N];
  for (Index r = 0; r < a.rows; r += V::N) {
    const int rows = a.rows - r < V::N ? int(a.rows - r) : V::N;
    load_columns<V>(columns, static_cast<const T*>(a.x) + r * a.x_stride, a.x_stride, rows, a.n);
    lanes_of_rows<V, Log>(columns, a.n);
    store_columns<V>(static_cast<T*>(a.y) + r * a.y_stride, a.y_stride, columns, rows, a.n);
  }
}

template <class T, bool Log>
void rows(const SoftmaxRows& a) {
  using V = Vec<T>;
  if (a.n <= kShort) return short_rows<T, Log>(a);
  for (Index r = 0; r < a.rows; ++r) {
    T* y = static_cast<T*>(a.y) + r * a.y_stride;
    const T* x = static_cast<const T*>(a.x) + r * a.x_stride;
    if (a.n * Index(sizeof(T)) <= kOnePassBytes) {
      short_row<V, T, Log>(y, x, a.n);
    } else {
      long_row<V, T, Log>(y, x, a.n);
    }
  }
}

template <class T, bool Log>
void rows_grad(const SoftmaxRowsGrad& a) {
  using V = Vec<T>;
  for (Index r = 0; r < a.rows; ++r) {
    T* dx = static_cast<T*>(a.dx) + r * a.dx_stride;
    const T* y = static_cast<const T*>(a.y) + r * a.y_stride;
    const T* g = static_cast<const T*>(a.g) + r * a.g_stride;
    const V sum = V::set(T(sum_of<V>(a.n, [&](auto i, auto part) {
      const V gi = get(g + i, part);
      return Log ? gi : gi * get(y + i, part);
    })));
    sweep<V>(a.n, [&](auto i, auto part) {
      const V yi = get(y + i, part), gi = get(g + i, part);
      put(dx + i, Log ? fnma(exp(yi), sum, gi) : yi * (gi - sum), part);
    });
  }
}

// Widest tile whose lines stay in L2 through all passes. The result does not depend on it.
constexpr Index kMaxTile = 512;
template <class T>
Index tile_columns(Index n) {
  const Index fits = kOnePassBytes / (Index(sizeof(T)) * n) / 64 * 64;
  return fits < 64 ? 64 : fits > kMaxTile ? kMaxTile : fits;
}

// total += part; part = 0, every kFold lines and after the last: keeps the rounding error of long
// sums down. Lanes past `cols` hold garbage that nobody reads.
template <class V, class T>
GS_INLINE void fold_lines(T* total, T* part, Index cols) {
  for (Index c = 0; c < cols; c += V::N) {
    store(total + c, load(total + c) + load(part + c));
    store(part + c, V::zero());
  }
}

template <class T, bool Log>
void cols_tile(const SoftmaxCols& a, Index first, Index cols) {
  using V = Vec<T>;
  alignas(64) T max_of[kMaxTile], sum_of_exp[kMaxTile], part_sum[kMaxTile];
  const T* x = static_cast<const T*>(a.x) + first;
  T* y = static_cast<T*>(a.y) + first;
  for (Index c = 0; c < cols; c += V::N) {
    store(max_of + c, V::set(kLowest<T>));
    store(sum_of_exp + c, V::zero());
    store(part_sum + c, V::zero());
  }
  for (Index i = 0; i < a.n; ++i) {
    const T* line = x + i * a.x_stride;
    sweep<V>(cols, [&](auto c, auto part) {
      store(max_of + c, max(load(max_of + c), get(line + c, part)));
    });
  }
  for (Index i = 0; i < a.n; ++i) {
    const T* line = x + i * a.x_stride;
    T* out = y + i * a.y_stride;
    sweep<V>(cols, [&](auto c, auto part) {
      const V e = exp(get(line + c, part) - load(max_of + c));
      if constexpr (!Log) put(out + c, e, part);
      store(part_sum + c, load(part_sum + c) + e);
    });
    if (i % kFold == kFold - 1 || i + 1 == a.n) fold_lines<V>(sum_of_exp, part_sum, cols);
  }
  for (Index c = 0; c < cols; c += V::N) {
    const V sum = load(sum_of_exp + c);
    store(sum_of_exp + c, Log ? log(sum) : V::set(T(1)) / sum);
  }
  for (Index i = 0; i < a.n; ++i) {
    const T* line = x + i * a.x_stride;
    T* out = y + i * a.y_stride;
    sweep<V>(cols, [&](auto c, auto part) {
      if constexpr (Log) {
        put(out + c, (get(line + c, part) - load(max_of + c)) - load(sum_of_exp + c), part);
      } else {
        put(out + c, get(out + c, part) * load(sum_of_exp + c), part);
      }
    });
  }
}

template <class T, bool Log>
void cols(const SoftmaxCols& a) {
  const Index tile = tile_columns<T>(a.n);
  for (Index first = 0; first < a.cols; first += tile) {
    cols_tile<T, Log>(a, first, a.cols - first < tile ? a.cols - first : tile);
  }
}

template <class T, bool Log>
void cols_grad_tile(const SoftmaxColsGrad& a, Index first, Index cols) {
  using V = Vec<T>;
  alignas(64) T sum[kMaxTile], part_sum[kMaxTile];
  T* dx = static_cast<T*>(a.dx) + first;
  const T* y = static_cast<const T*>(a.y) + first;
  const T* g = static_cast<const T*>(a.g) + first;
  for (Index c = 0; c < cols; c += V::N) {
    store(sum + c, V::zero());
    store(part_sum + c, V::zero());
  }
  for (Index i = 0; i < a.n; ++i) {
    const T* yi = y + i * a.y_stride;
    const T* gi = g + i * a.g_stride;
    sweep<V>(cols, [&](auto c, auto part) {
      const V term = Log ? get(gi + c, part) : get(gi + c, part) * get(yi + c, part);
      store(part_sum + c, load(part_sum + c) + term);
    });
    if (i % kFold == kFold - 1 || i + 1 == a.n) fold_lines<V>(sum, part_sum, cols);
  }
  for (Index i = 0; i < a.n; ++i) {
    const T* yi = y + i * a.y_stride;
    const T* gi = g + i * a.g_stride;
    T* out = dx + i * a.dx_stride;
    sweep<V>(cols, [&](auto c, auto part) {
      const V yv = get(yi + c, part), gv = get(gi + c, part), s = load(sum + c);
      put(out + c, Log ? fnma(exp(yv), s, gv) : yv * (gv - s), part);
    });
  }
}

template <class T, bool Log>
void cols_grad(const SoftmaxColsGrad& a) {
  const Index tile = tile_columns<T>(a.n);
  for (Index first = 0; first < a.cols; first += tile) {
    cols_grad_tile<T, Log>(a, first, a.cols - first < tile ? a.cols - first : tile);
  }
}

}  // namespace

#define GS_DEFINE(T, dtype)                                                               \
  void softmax_rows_##dtype(const SoftmaxRows& a) { rows<T, false>(a); }                  \
  void log_softmax_rows_##dtype(const SoftmaxRows& a) { rows<T, true>(a); }               \
  void softmax_cols_##dtype(const SoftmaxCols& a) { cols<T, false>(a); }                  \
  void log_softmax_cols_##dtype(const SoftmaxCols& a) { cols<T, true>(a); }               \
  void softmax_rows_grad_##dtype(const SoftmaxRowsGrad& a) { rows_grad<T, false>(a); }    \
  void log_softmax_rows_grad_##dtype(const SoftmaxRowsGrad& a) { rows_grad<T, true>(a); } \
  void softmax_cols_grad_##dtype(const SoftmaxColsGrad& a) { cols_grad<T, false>(a); }    \
  void log_softmax_cols_grad_##dtype(const SoftmaxColsGrad& a) { cols_grad<T, true>(a); }
GS_DEFINE(float, f32)
GS_DEFINE(double, f64)
#undef GS_DEFINE

}  // namespace gradsmith::kernels::GS_ISA
