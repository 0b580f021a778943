// Reductions over any set of dimensions of any strided array, and cumulative sums.
//
// However many dimensions are reduced, memory is walked in one of two ways, a kernel each:
//
//   rows   the fastest dimension is reduced: every row of n neighbours becomes one number
//   cols   the fastest dimension is kept: lines are added up, vectorised across columns
//
// driver.cpp brings any layout to one of these, cuts it into chunks that depend on the shape
// alone, and combines the partial results in the order of the chunks, so that the bits do not
// depend on the number of threads.
//
// What a kernel leaves behind is an accumulator, wider than the elements where that matters:
//
//   op         accumulator   rule
//   sum        double        of float32, float64;  int64 of integers and bool (wraps around)
//   sumsq asum double        sum of x*x, of |x|; floating only
//   prod       as sum
//   max min    element       NaN if there is one
//   nonzero    int64         how many elements are not 0; NaN is not 0
//   argmax ..  Extreme<T>    value and first index of the extreme; a NaN counts as extreme
//   moments    Moments       count, mean and sum of squared deviations; floating only
//
// Accuracy of float sums, for any number n of elements (u = 2^-24 for float, 2^-53 for double):
//
//   |error| <= (41 u + n 2^-53) sum |x|
//
// The variance is accurate to about as many roundings however large the mean is; where it is put
// together from many short pieces, their means count with 2^-53 |mean| / sigma.
#pragma once
#include <cstdint>

#include "kernels/kernel.h"

namespace gradsmith::kernels {

template <class T>
struct Extreme {
  T value;
  std::int64_t index;
};

struct Moments {
  double count, mean, m2;  // m2 = sum (x - mean)^2
};

// acc[r] = reduction of row r: n >= 1 contiguous elements. The arg kernels number element i of row
// r as index_base + r * index_step + i.
struct ReduceRows {
  void* acc;
  const void* x;
  std::int64_t rows, n;
  std::int64_t x_stride;
  std::int64_t index_base = 0, index_step = 0;
};

// acc[c] = reduction of column c over `rows` >= 1 lines, joined to what acc[c] already holds unless
// `fresh`. The arg kernels number line i as index_base + i; lines come in ascending order.
struct ReduceCols {
  void* acc;
  const void* x;
  std::int64_t rows, cols;
  std::int64_t x_stride;
  bool fresh;
  std::int64_t index_base = 0;
};

GS_KERNEL(sum_rows, void(const ReduceRows& args));
GS_KERNEL(sum_cols, void(const ReduceCols& args));
GS_KERNEL(sumsq_rows, void(const ReduceRows& args));
GS_KERNEL(sumsq_cols, void(const ReduceCols& args));
GS_KERNEL(asum_rows, void(const ReduceRows& args));
GS_KERNEL(asum_cols, void(const ReduceCols& args));
GS_KERNEL(prod_rows, void(const ReduceRows& args));
GS_KERNEL(prod_cols, void(const ReduceCols& args));
GS_KERNEL(max_rows, void(const ReduceRows& args));
GS_KERNEL(max_cols, void(const ReduceCols& args));
GS_KERNEL(min_rows, void(const ReduceRows& args));
GS_KERNEL(min_cols, void(const ReduceCols& args));
GS_KERNEL(nonzero_rows, void(const ReduceRows& args));
GS_KERNEL(nonzero_cols, void(const ReduceCols& args));
GS_KERNEL(argmax_rows, void(const ReduceRows& args));
GS_KERNEL(argmax_cols, void(const ReduceCols& args));
GS_KERNEL(argmin_rows, void(const ReduceRows& args));
GS_KERNEL(argmin_cols, void(const ReduceCols& args));
GS_KERNEL(moments_rows, void(const ReduceRows& args));
GS_KERNEL(moments_cols, void(const ReduceCols& args));

// y[r][i] = x[r][0] + ... + x[r][i], accumulated in double (int64 for integers) and, for integers,
// stored as int64. Floating y may be x.
struct CumsumRows {
  void* y;
  const void* x;
  std::int64_t rows, n;
  std::int64_t y_stride, x_stride;
};
// Down the n lines of a plane. `carry` is scratch for `cols` accumulators.
struct CumsumCols {
  void* y;
  const void* x;
  void* carry;
  std::int64_t n, cols;
  std::int64_t y_stride, x_stride;
};
GS_KERNEL(cumsum_rows, void(const CumsumRows& args));
GS_KERNEL(cumsum_cols, void(const CumsumCols& args));

}  // namespace gradsmith::kernels

#if !defined(GS_ISA)
#include "gradsmith/view.h"

namespace gradsmith::kernels {

enum class ReduceOp : std::uint8_t {
  sum,   // float32, float64 keep their type; everything else gives int64
  mean,  // floating only
  prod,  // as sum
  max,   // same type; at least one element
  min,
  any,  // bool
  all,
  count_nonzero,  // int64
  sumsq,          // floating only: sum x^2
  norm1,          // sum |x|
  norm2,          // sqrt(sum x^2), without overflow in float32
  var,            // m2 / max(0, n - correction)
  std_dev,        // its square root
};

GS_API DType reduce_dtype(ReduceOp op, DType x);

// Reduces the dimensions whose bits are set in `dims`. `out` is dense, in the order of the kept
// dimensions of x, of type reduce_dtype. x: f32, f64, i64, i32, u8, b8 with any strides.
// `correction` is for var and std_dev: 1 is the unbiased estimate.
// An empty reduction gives the identity (0 for sum, 1 for prod, NaN for mean and var); the caller
// refuses it for max and min.
GS_API void reduce(ReduceOp op, void* out, const NdView& x, unsigned dims, double correction = 1);

// Variance and mean at once; either may be null. Floating only.
GS_API void var_mean(void* var, void* mean, const NdView& x, unsigned dims, double correction = 1);

// Extreme and its first index, counted in row-major order over the reduced dimensions. Either
// output may be null. At least one element must be reduced.
GS_API void arg_reduce(bool largest, void* values, std::int64_t* indices, const NdView& x,
                       unsigned dims);

// y = cumulative sum of x along the middle dimension of dense [outer, n, inner] arrays.
GS_API void cumsum(DType dtype, void* y, const void* x, std::int64_t outer, std::int64_t n,
                   std::int64_t inner);

}  // namespace gradsmith::kernels
#endif
