// Maximum and minimum, with and without the index. Contract: reduce.h.
//
// One template serves both directions: the minimum of x is the maximum with comparisons reversed.
// For floats a NaN beats every number and the first one wins; vectors of NaN-aware maxima cost one
// compare and one blend more than plain ones, nothing once data comes from memory.
//
// argmax of a row: find the block's maximum with vectors, and only if it beats what came before,
// scan that block, still in L1, for the first place where it occurs. argmax of columns: a vector
// of best values and a vector of line numbers (as floats, exact because a run of lines is at most
// kRun long), blended together.
#include "kernels/reduce/reduce.h"
#include "kernels/simd/sweep.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

constexpr Index kBlock = 1024;
constexpr Index kTile = 1024;
constexpr Index kRun = 1 << 20;  // below 2^24

template <class T>
constexpr bool kFloat = T(0.5) != T(0);

struct Max {
  template <class T>
  static GS_INLINE bool beats(T a, T b) {
    return a > b;
  }
  template <class T>
  static GS_INLINE Mask<T> beats(Vec<T> a, Vec<T> b) {
    return gt(a, b);
  }
  template <class V>
  static GS_INLINE V join(V a, V b) {
    return max_nan(a, b);
  }
  template <class T>
  static constexpr T kWorstFloat = -T(__builtin_inf());
};
struct Min {
  template <class T>
  static GS_INLINE bool beats(T a, T b) {
    return a < b;
  }
  template <class T>
  static GS_INLINE Mask<T> beats(Vec<T> a, Vec<T> b) {
    return lt(a, b);
  }
  template <class V>
  static GS_INLINE V join(V a, V b) {
    return min_nan(a, b);
  }
  template <class T>
  static constexpr T kWorstFloat = T(__builtin_inf());
};

// Is x a better extreme than `best`? Never true for equal ones: the first stays.
template <class Op, class T>
GS_INLINE bool improves(T x, T best) {
  return Op::beats(x, best) || (x != x && best == best);
}

// In lanes; NaN where there is one.
template <class Op, class T>
GS_INLINE Vec<T> extremes_of(const T* x, Index n) {
  using V = Vec<T>;
  return fold(
      0, n, V::set(Op::template kWorstFloat<T>),
      [&](auto i, auto part) { return get_ahead(x + i, part, Op::template kWorstFloat<T>); },
      [](V a, V b) { return Op::join(a, b); });
}
template <class Op, class V>
GS_INLINE typename V::T best_lane(V v) {
  typename V::T lanes[V::N];
  store(lanes, v);
  auto winner = lanes[0];
  for (int i = 1; i < V::N; ++i) winner = improves<Op>(lanes[i], winner) ? lanes[i] : winner;
  return winner;
}

// NaN if there is one.
template <class Op, class T>
GS_INLINE T extreme_of(const T* x, Index n) {
  if constexpr (kFloat<T>) {
    return best_lane<Op>(extremes_of<Op>(x, n));
  } else {
    T best = x[0];
    for (Index i = 1; i < n; ++i) best = Op::beats(x[i], best) ? x[i] : best;
    return best;
  }
}

template <class T>
GS_INLINE Index first_equal(const T* x, Index n, T value) {
  if constexpr (kFloat<T>) {
    using V = Vec<T>;
    const V wanted = V::set(value);
    const bool nan = value != value;
    Index i = 0;
    for (; i + V::N <= n; i += V::N) {
      const V v = load(x + i);
      if (any(nan ? is_nan(v) : eq(v, wanted))) break;
    }
    while (i < n - 1 && !(nan ? x[i] != x[i] : x[i] == value)) ++i;
    return i;
  } else {
    Index i = 0;
    while (i < n - 1 && x[i] != value) ++i;
    return i;
  }
}

template <class T, class Op>
void extreme_rows(const ReduceRows& a) {
  for (Index r = 0; r < a.rows; ++r) {
    static_cast<T*>(a.acc)[r] = extreme_of<Op>(static_cast<const T*>(a.x) + r * a.x_stride, a.n);
  }
}

template <class T, class Op>
void extreme_cols(const ReduceCols& a) {
  T* acc = static_cast<T*>(a.acc);
  const T* x = static_cast<const T*>(a.x);
  if (a.fresh) {
    for (Index c = 0; c < a.cols; ++c) acc[c] = x[c];
  }
  for (Index first = 0; first < a.cols; first += kTile) {
    const Index cols = a.cols - first < kTile ? a.cols - first : kTile;
    T* best = acc + first;
    for (Index i = a.fresh ? 1 : 0; i < a.rows; ++i) {
      const T* line = x + i * a.x_stride + first;
      if constexpr (kFloat<T>) {
        sweep<Vec<T>>(cols, [&](auto c, auto part) {
          put(best + c, Op::join(get(best + c, part), get(line + c, part)), part);
        });
      } else {
        for (Index c = 0; c < cols; ++c) best[c] = Op::beats(line[c], best[c]) ? line[c] : best[c];
      }
    }
  }
}

template <class T, class Op>
void arg_rows(const ReduceRows& a) {
  for (Index r = 0; r < a.rows; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.x_stride;
    T best = x[0];
    Index at = 0;
    for (Index begin = 0; begin < a.n && best == best; begin += kBlock) {
      const Index n = a.n - begin < kBlock ? a.n - begin : kBlock;
      if constexpr (kFloat<T>) {  // most blocks are done with before their lanes are looked at
        const Vec<T> lanes = extremes_of<Op>(x + begin, n);
        if (!any(Op::beats(lanes, Vec<T>::set(best)) | is_nan(lanes))) continue;
        best = best_lane<Op>(lanes);
      } else {
        const T block_best = extreme_of<Op>(x + begin, n);
        if (!improves<Op>(block_best, best)) continue;
        best = block_best;
      }
      at = begin + first_equal(x + begin, n, best);
    }
    static_cast<Extreme<T>*>(a.acc)[r] = {best, a.index_base + r * a.index_step + at};
  }
}

template <class T, class Op>
void arg_cols_tile(const ReduceCols& a, Index line0, Index lines, Index first, Index cols) {
  T best[kTile];
  const T* x = static_cast<const T*>(a.x) + line0 * a.x_stride + first;
  Extreme<T>* acc = static_cast<Extreme<T>*>(a.acc) + first;
  const auto merge = [&](Index c, Index line) {
    if ((a.fresh && line0 == 0) || improves<Op>(best[c], acc[c].value)) {
      acc[c] = {best[c], a.index_base + line0 + line};
    }
  };
  for (Index c = 0; c < cols; ++c) best[c] = x[c];
  if constexpr (kFloat<T>) {
    using V = Vec<T>;
    T at[kTile];
    for (Index c = 0; c < cols; ++c) at[c] = T(0);
    for (Index i = 1; i < lines; ++i) {
      const T* line = x + i * a.x_stride;
      const V number = V::set(T(i));
      sweep<V>(cols, [&](auto c, auto part) {
        const V v = get(line + c, part), b = get(best + c, part);
        const auto better = Op::beats(v, b) | (is_nan(v) & !is_nan(b));
        put(best + c, select(better, v, b), part);
        put(at + c, select(better, number, get(at + c, part)), part);
      });
    }
    for (Index c = 0; c < cols; ++c) merge(c, Index(at[c]));
  } else {
    std::int32_t at[kTile];
    for (Index c = 0; c < cols; ++c) at[c] = 0;
    for (Index i = 1; i < lines; ++i) {
      const T* line = x + i * a.x_stride;
      for (Index c = 0; c < cols; ++c) {
        const bool better = Op::beats(line[c], best[c]);
        best[c] = better ? line[c] : best[c];
        at[c] = better ? std::int32_t(i) : at[c];
      }
    }
    for (Index c = 0; c < cols; ++c) merge(c, at[c]);
  }
}

template <class T, class Op>
void arg_cols(const ReduceCols& a) {
  for (Index line0 = 0; line0 < a.rows; line0 += kRun) {
    const Index lines = a.rows - line0 < kRun ? a.rows - line0 : kRun;
    for (Index first = 0; first < a.cols; first += kTile) {
      const Index cols = a.cols - first < kTile ? a.cols - first : kTile;
      arg_cols_tile<T, Op>(a, line0, lines, first, cols);
    }
  }
}

}  // namespace

#define GS_DEFINE(T, dtype)                                               \
  void max_rows_##dtype(const ReduceRows& a) { extreme_rows<T, Max>(a); } \
  void max_cols_##dtype(const ReduceCols& a) { extreme_cols<T, Max>(a); } \
  void min_rows_##dtype(const ReduceRows& a) { extreme_rows<T, Min>(a); } \
  void min_cols_##dtype(const ReduceCols& a) { extreme_cols<T, Min>(a); } \
  void argmax_rows_##dtype(const ReduceRows& a) { arg_rows<T, Max>(a); }  \
  void argmax_cols_##dtype(const ReduceCols& a) { arg_cols<T, Max>(a); }  \
  void argmin_rows_##dtype(const ReduceRows& a) { arg_rows<T, Min>(a); }  \
  void argmin_cols_##dtype(const ReduceCols& a) { arg_cols<T, Min>(a); }
GS_DEFINE(float, f32)
GS_DEFINE(double, f64)
GS_DEFINE(std::int64_t, i64)
GS_DEFINE(std::int32_t, i32)
GS_DEFINE(std::uint8_t, u8)
GS_DEFINE(std::uint8_t, b8)
#undef GS_DEFINE

}  // namespace gradsmith::kernels::GS_ISA
