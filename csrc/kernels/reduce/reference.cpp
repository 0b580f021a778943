// The oracle of the reduce family: one fold(acc, element) per op in plain loops.
#include <cmath>

#include "kernels/reduce/reduce.h"

namespace gradsmith::kernels::reference {
namespace {

template <class T>
struct AccOf {
  using type = std::uint64_t;
};  // wraps around, same bits
template <>
struct AccOf<float> {
  using type = double;
};
template <>
struct AccOf<double> {
  using type = double;
};

// Each op: its accumulator, what it starts from, and how element number `i` is folded in.
template <class T>
struct Sum {
  using Acc = typename AccOf<T>::type;
  static Acc start(T) { return 0; }
  static void fold(Acc& acc, T x, std::int64_t) { acc += Acc(x); }
};
template <class T>
struct Sumsq {
  using Acc = double;
  static Acc start(T) { return 0; }
  static void fold(Acc& acc, T x, std::int64_t) { acc += double(x) * double(x); }
};
template <class T>
struct Asum {
  using Acc = double;
  static Acc start(T) { return 0; }
  static void fold(Acc& acc, T x, std::int64_t) { acc += std::fabs(double(x)); }
};
template <class T>
struct Prod {
  using Acc = typename AccOf<T>::type;
  static Acc start(T) { return 1; }
  static void fold(Acc& acc, T x, std::int64_t) { acc *= Acc(x); }
};
template <class T>
struct Nonzero {
  using Acc = std::int64_t;
  static Acc start(T) { return 0; }
  static void fold(Acc& acc, T x, std::int64_t) { acc += x != T(0); }
};
template <class T, bool Largest>
struct Extremum {
  using Acc = T;
  static bool improves(T x, T best) {
    if (best != best) return false;  // the first NaN stays
    return x != x || (Largest ? x > best : x < best);
  }
  static Acc start(T first) { return first; }
  static void fold(Acc& acc, T x, std::int64_t) {
    if (improves(x, acc)) acc = x;
  }
};
template <class T>
using Max = Extremum<T, true>;
template <class T>
using Min = Extremum<T, false>;
template <class T, bool Largest>
struct ArgExtremum {
  using Acc = Extreme<T>;
  static Acc start(T first) { return {first, -1}; }
  static void fold(Acc& acc, T x, std::int64_t i) {
    if (acc.index < 0 || Extremum<T, Largest>::improves(x, acc.value)) acc = {x, i};
  }
};
template <class T>
using ArgMax = ArgExtremum<T, true>;
template <class T>
using ArgMin = ArgExtremum<T, false>;
// B. P. Welford, "Note on a method for calculating corrected sums of squares and products", 1962.
template <class T>
struct Variance {
  using Acc = Moments;
  static Acc start(T) { return {0, 0, 0}; }
  static void fold(Acc& acc, T x, std::int64_t) {
    acc.count += 1;
    const double before = double(x) - acc.mean;
    acc.mean += before / acc.count;
    acc.m2 += before * (double(x) - acc.mean);
  }
};

template <class T, class Op>
void rows(const ReduceRows& a) {
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.x_stride;
    typename Op::Acc acc = Op::start(x[0]);
    for (std::int64_t i = 0; i < a.n; ++i) {
      Op::fold(acc, x[i], a.index_base + r * a.index_step + i);
    }
    static_cast<typename Op::Acc*>(a.acc)[r] = acc;
  }
}

template <class T, class Op>
void cols(const ReduceCols& a) {
  for (std::int64_t c = 0; c < a.cols; ++c) {
    const T* x = static_cast<const T*>(a.x) + c;
    auto& acc = static_cast<typename Op::Acc*>(a.acc)[c];
    if (a.fresh) acc = Op::start(x[0]);
    for (std::int64_t i = 0; i < a.rows; ++i) Op::fold(acc, x[i * a.x_stride], a.index_base + i);
  }
}

template <class T, class Out>
void scan(Out* y, const T* x, std::int64_t n, std::int64_t y_step, std::int64_t x_step) {
  using Acc = typename AccOf<T>::type;
  Acc sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    sum += Acc(x[i * x_step]);
    y[i * y_step] = Out(sum);
  }
}

template <class T, class Out>
void scan_rows(const CumsumRows& a) {
  for (std::int64_t r = 0; r < a.rows; ++r) {
    scan(static_cast<Out*>(a.y) + r * a.y_stride, static_cast<const T*>(a.x) + r * a.x_stride, a.n,
         1, 1);
  }
}

template <class T, class Out>
void scan_cols(const CumsumCols& a) {
  for (std::int64_t c = 0; c < a.cols; ++c) {
    scan(static_cast<Out*>(a.y) + c, static_cast<const T*>(a.x) + c, a.n, a.y_stride, a.x_stride);
  }
}

}  // namespace

#define GS_OP(op, Op, T, dtype)                                      \
  void op##_rows_##dtype(const ReduceRows& a) { rows<T, Op<T>>(a); } \
  void op##_cols_##dtype(const ReduceCols& a) { cols<T, Op<T>>(a); }
#define GS_FLOAT(T, dtype)      \
  GS_OP(sumsq, Sumsq, T, dtype) \
  GS_OP(asum, Asum, T, dtype)   \
  GS_OP(moments, Variance, T, dtype)
#define GS_ALL(T, Out, dtype)                                             \
  GS_OP(sum, Sum, T, dtype)                                               \
  GS_OP(prod, Prod, T, dtype)                                             \
  GS_OP(nonzero, Nonzero, T, dtype)                                       \
  GS_OP(max, Max, T, dtype)                                               \
  GS_OP(min, Min, T, dtype)                                               \
  GS_OP(argmax, ArgMax, T, dtype)                                         \
  GS_OP(argmin, ArgMin, T, dtype)                                         \
  void cumsum_rows_##dtype(const CumsumRows& a) { scan_rows<T, Out>(a); } \
  void cumsum_cols_##dtype(const CumsumCols& a) { scan_cols<T, Out>(a); }
GS_FLOAT(float, f32)
GS_FLOAT(double, f64)
GS_ALL(float, float, f32)
GS_ALL(double, double, f64)
GS_ALL(std::int64_t, std::int64_t, i64)
GS_ALL(std::int32_t, std::int64_t, i32)
GS_ALL(std::uint8_t, std::int64_t, u8)
GS_ALL(std::uint8_t, std::int64_t, b8)
#undef GS_OP
#undef GS_FLOAT
#undef GS_ALL

}  // namespace gradsmith::kernels::reference
