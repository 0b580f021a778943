// Sums, products and counts. Contract: reduce.h.
//
// Float rows: four vector accumulators in T over blocks of a few hundred to 2048 elements, blocks
// added up in double (sum_of in simd/sweep.h). Squares of floats are formed and added in double, so
// that they cannot overflow; that costs nothing once the data comes from memory.
//
// Float columns: 8 lines at a time are folded as a tree in registers, so that a line of partial
// sums is read and written once per 8 lines of x; after kLines lines the partial sums, T, go to
// the double accumulators. The bound of reduce.h holds with 3 + kLines / 8 = 19 roundings.
//
// Integers, products and counts are plain loops that the compiler vectorises.
#include "kernels/reduce/reduce.h"
#include "kernels/simd/sweep.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

constexpr Index kLines = 128;
constexpr Index kTile = 1024;  // columns; with float, 4 KiB of partial sums: an eighth of L1

struct Sum {
  template <class V>
  static GS_INLINE V term(V x) {
    return x;
  }
};
struct AbsSum {
  template <class V>
  static GS_INLINE V term(V x) {
    return abs(x);
  }
};

// acc += v, lane by lane, T to double.
GS_INLINE void add_to(double* acc, F32 v, Whole) {
  constexpr int N = F64::N;
  store(acc, load(acc) + widen_lo(v));
  store(acc + N, load(acc + N) + widen_hi(v));
}
GS_INLINE void add_to(double* acc, F64 v, Whole) { store(acc, load(acc) + v); }
template <class V>
GS_INLINE void add_to(double* acc, V v, Tail tail) {
  typename V::T lanes[V::N];
  store(lanes, v);
  for (int i = 0; i < tail.lanes; ++i) acc[i] += double(lanes[i]);
}

template <class T, class Op>
void float_rows(const ReduceRows& a) {
  using V = Vec<T>;
  for (Index r = 0; r < a.rows; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.x_stride;
    static_cast<double*>(a.acc)[r] =
        sum_of<V>(a.n, [&](auto i, auto part) { return Op::term(get_ahead(x + i, part)); });
  }
}

void clear(double* acc, Index n) {
  for (Index i = 0; i < n; ++i) acc[i] = 0;
}

template <class T, class Op>
void float_cols_tile(const ReduceCols& a, Index first, Index cols) {
  using V = Vec<T>;
  double* acc = static_cast<double*>(a.acc) + first;
  if (a.fresh) clear(acc, cols);
  alignas(64) T sums[kTile];
  for (Index begin = 0; begin < a.rows; begin += kLines) {
    const Index end = a.rows - begin < kLines ? a.rows : begin + kLines;
    for (Index c = 0; c < cols; c += V::N) store(sums + c, V::zero());
    Index i = begin;
    for (; i + 8 <= end; i += 8) {
      const T* x = static_cast<const T*>(a.x) + i * a.x_stride + first;
      const Index s = a.x_stride;
      sweep<V>(cols, [&](auto c, auto part) {
        const auto line = [&](Index k) { return Op::term(get(x + k * s + c, part)); };
        const V low = (line(0) + line(1)) + (line(2) + line(3));
        const V high = (line(4) + line(5)) + (line(6) + line(7));
        store(sums + c, load(sums + c) + (low + high));
      });
    }
    for (; i < end; ++i) {
      const T* x = static_cast<const T*>(a.x) + i * a.x_stride + first;
      sweep<V>(cols, [&](auto c, auto part) {
        store(sums + c, load(sums + c) + Op::term(get(x + c, part)));
      });
    }
    sweep<V>(cols, [&](auto c, auto part) { add_to(acc + c, load(sums + c), part); });
  }
}

template <class T, class Op>
void float_cols(const ReduceCols& a) {
  for (Index first = 0; first < a.cols; first += kTile) {
    float_cols_tile<T, Op>(a, first, a.cols - first < kTile ? a.cols - first : kTile);
  }
}

GS_INLINE F64 squares(F32 x) {
  const F64 lo = widen_lo(x), hi = widen_hi(x);
  return fma(lo, lo, hi * hi);
}
GS_INLINE F64 squares(F64 x) { return x * x; }

template <class T>
void sumsq_rows(const ReduceRows& a) {
  using V = Vec<T>;
  for (Index r = 0; r < a.rows; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.x_stride;
    double total = 0;
    for (Index begin = 0; begin < a.n; begin += 4096) {
      const Index n = a.n - begin < 4096 ? a.n - begin : 4096;
      const T* block = x + begin;
      F64 p = F64::zero(), q = F64::zero();
      Index i = 0;
      for (; i + 2 * V::N <= n; i += 2 * V::N) {
        p = p + squares(load(block + i));
        q = q + squares(load(block + i + V::N));
      }
      for (; i + V::N <= n; i += V::N) p = p + squares(load(block + i));
      if (i < n) q = q + squares(load_n(block + i, int(n - i)));
      total += hsum(p + q);
    }
    static_cast<double*>(a.acc)[r] = total;
  }
}

template <class T>
void sumsq_cols(const ReduceCols& a) {
  double* acc = static_cast<double*>(a.acc);
  if (a.fresh) clear(acc, a.cols);
  for (Index first = 0; first < a.cols; first += kTile) {
    const Index cols = a.cols - first < kTile ? a.cols - first : kTile;
    for (Index i = 0; i < a.rows; ++i) {
      const T* x = static_cast<const T*>(a.x) + i * a.x_stride + first;
      for (Index c = 0; c < cols; ++c) acc[first + c] += double(x[c]) * double(x[c]);
    }
  }
}

// Everything below in plain loops: Acc f(Acc, T) folds one element in.
struct Plus {
  template <class Acc, class T>
  static GS_INLINE Acc join(Acc a, T x) {
    return Acc(a + Acc(x));
  }
  static constexpr int kStart = 0;
};
struct Times {
  template <class Acc, class T>
  static GS_INLINE Acc join(Acc a, T x) {
    return Acc(a * Acc(x));
  }
  static constexpr int kStart = 1;
};
struct CountNonzero {
  template <class Acc, class T>
  static GS_INLINE Acc join(Acc a, T x) {
    return Acc(a + Acc(x != T(0)));
  }
  static constexpr int kStart = 0;
};

// Signed overflow wraps: integers are accumulated as unsigned, which has the same bits.
template <class T>
struct AccOf {
  using type = std::uint64_t;
};
template <>
struct AccOf<float> {
  using type = double;
};
template <>
struct AccOf<double> {
  using type = double;
};

template <class T, class Acc, class Op>
void plain_rows(const ReduceRows& a) {
  constexpr int K = 16;  // independent accumulators: enough lanes for every target
  for (Index r = 0; r < a.rows; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.x_stride;
    Acc lanes[K];
    for (int k = 0; k < K; ++k) lanes[k] = Acc(Op::kStart);
    Index i = 0;
    for (; i + K <= a.n; i += K) {
      for (int k = 0; k < K; ++k) lanes[k] = Op::join(lanes[k], x[i + k]);
    }
    for (int k = 0; i + k < a.n; ++k) lanes[k] = Op::join(lanes[k], x[i + k]);
    for (int half = K / 2; half > 0; half /= 2) {
      for (int k = 0; k < half; ++k) {
        lanes[k] = Op::kStart == 1 ? lanes[k] * lanes[k + half] : lanes[k] + lanes[k + half];
      }
    }
    static_cast<Acc*>(a.acc)[r] = lanes[0];
  }
}

template <class T, class Acc, class Op>
void plain_cols(const ReduceCols& a) {
  Acc* acc = static_cast<Acc*>(a.acc);
  if (a.fresh) {
    for (Index c = 0; c < a.cols; ++c) acc[c] = Acc(Op::kStart);
  }
  for (Index first = 0; first < a.cols; first += kTile) {
    const Index last = a.cols - first < kTile ? a.cols : first + kTile;
    for (Index i = 0; i < a.rows; ++i) {
      const T* x = static_cast<const T*>(a.x) + i * a.x_stride;
      for (Index c = first; c < last; ++c) acc[c] = Op::join(acc[c], x[c]);
    }
  }
}

}  // namespace

#define GS_FLOAT(T, dtype)                                                  \
  void sum_rows_##dtype(const ReduceRows& a) { float_rows<T, Sum>(a); }     \
  void sum_cols_##dtype(const ReduceCols& a) { float_cols<T, Sum>(a); }     \
  void asum_rows_##dtype(const ReduceRows& a) { float_rows<T, AbsSum>(a); } \
  void asum_cols_##dtype(const ReduceCols& a) { float_cols<T, AbsSum>(a); } \
  void sumsq_rows_##dtype(const ReduceRows& a) { sumsq_rows<T>(a); }        \
  void sumsq_cols_##dtype(const ReduceCols& a) { sumsq_cols<T>(a); }
#define GS_INTEGER(T, dtype)                                                            \
  void sum_rows_##dtype(const ReduceRows& a) { plain_rows<T, std::uint64_t, Plus>(a); } \
  void sum_cols_##dtype(const ReduceCols& a) { plain_cols<T, std::uint64_t, Plus>(a); }
#define GS_ALL(T, dtype)                                                                   \
  void prod_rows_##dtype(const ReduceRows& a) { plain_rows<T, AccOf<T>::type, Times>(a); } \
  void prod_cols_##dtype(const ReduceCols& a) { plain_cols<T, AccOf<T>::type, Times>(a); } \
  void nonzero_rows_##dtype(const ReduceRows& a) {                                         \
    plain_rows<T, std::uint64_t, CountNonzero>(a);                                         \
  }                                                                                        \
  void nonzero_cols_##dtype(const ReduceCols& a) { plain_cols<T, std::uint64_t, CountNonzero>(a); }
GS_FLOAT(float, f32)
GS_FLOAT(double, f64)
GS_INTEGER(std::int64_t, i64)
GS_INTEGER(std::int32_t, i32)
GS_INTEGER(std::uint8_t, u8)
GS_INTEGER(std::uint8_t, b8)
GS_ALL(float, f32)
GS_ALL(double, f64)
GS_ALL(std::int64_t, i64)
GS_ALL(std::int32_t, i32)
GS_ALL(std::uint8_t, u8)
GS_ALL(std::uint8_t, b8)
#undef GS_FLOAT
#undef GS_INTEGER
#undef GS_ALL

}  // namespace gradsmith::kernels::GS_ISA
