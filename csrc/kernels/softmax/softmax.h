// Softmax and log-softmax along one axis, forward and backward.
//
// This is the exemplar family: the five files here (softmax.h, softmax.inc, reference.cpp,
// softmax.simd.cpp, driver.cpp) show what every kernel family looks like.
//
//   softmax       y_i = exp(x_i - max x) / sum_j exp(x_j - max x)
//   log_softmax   y_i = (x_i - max x) - log sum_j exp(x_j - max x)
//
// Their backwards take the output y and the gradient g with respect to it:
//
//   softmax_backward       dx_i = y_i * (g_i - sum_j g_j y_j)
//   log_softmax_backward   dx_i = g_i - exp(y_i) * sum_j g_j
//
// A tensor with the softmax axis somewhere in the middle is a stack of [n, inner] planes.
// Two layouts get a kernel each, so that no transposed copy is ever made:
//
//   rows   inner == 1: each row of n neighbouring elements is one softmax, vectorised along the row
//   cols   inner  > 1: each column of the plane is one softmax, vectorised across columns
//
// Special values: a row that holds a NaN or +inf, or nothing but -inf, becomes all NaN. -inf among
// finite values has probability 0. These are the values the formulas give in IEEE arithmetic.
#pragma once
#include <cstdint>

#include "kernels/kernel.h"

namespace gradsmith::kernels {

// `rows` independent rows of n contiguous elements; strides count elements from row to row.
// y may be x itself (in place), otherwise they must not overlap. No alignment is required.
struct SoftmaxRows {
  void* y;
  const void* x;
  std::int64_t rows, n;
  std::int64_t y_stride, x_stride;
};

// One plane [n, cols]; column c is one softmax. Columns are contiguous, strides count elements
// from one line of the plane to the next. Same aliasing rule.
struct SoftmaxCols {
  void* y;
  const void* x;
  std::int64_t n, cols;
  std::int64_t y_stride, x_stride;
};

// dx may be g or y. A stride of 0 repeats one row (a broadcast gradient).
struct SoftmaxRowsGrad {
  void* dx;
  const void* y;
  const void* g;
  std::int64_t rows, n;
  std::int64_t dx_stride, y_stride, g_stride;
};

struct SoftmaxColsGrad {
  void* dx;
  const void* y;
  const void* g;
  std::int64_t n, cols;
  std::int64_t dx_stride, y_stride, g_stride;
};

// Leaf kernels: one thread, no allocation, no checks. GS_KERNEL is explained in kernels/kernel.h.
GS_KERNEL(softmax_rows, void(const SoftmaxRows& args));
GS_KERNEL(log_softmax_rows, void(const SoftmaxRows& args));
GS_KERNEL(softmax_cols, void(const SoftmaxCols& args));
GS_KERNEL(log_softmax_cols, void(const SoftmaxCols& args));
GS_KERNEL(softmax_rows_grad, void(const SoftmaxRowsGrad& args));
GS_KERNEL(log_softmax_rows_grad, void(const SoftmaxRowsGrad& args));
GS_KERNEL(softmax_cols_grad, void(const SoftmaxColsGrad& args));
GS_KERNEL(log_softmax_cols_grad, void(const SoftmaxColsGrad& args));

#if !defined(GS_ISA)
// Drivers: what ops and the raw kernel API call. They choose the layout and split the work over
// threads. The bits of every softmax depend on its own elements only: not on the number of
// threads, nor on what else is in the batch.

// A view [outer, n, inner] whose innermost dimension is contiguous. Where inner == 1 the axis
// must be contiguous (axis_stride == 1).
struct SoftmaxView {
  void* data;
  std::int64_t outer_stride, axis_stride;
};

struct SoftmaxProblem {
  DType dtype;
  bool log;
  std::int64_t outer, n, inner;
};

// y = (log_)softmax(x). In place is allowed.
GS_API void softmax_forward(const SoftmaxProblem& problem, SoftmaxView y, SoftmaxView x);
// dx from the forward's output y and its gradient g. dx may be g or y.
GS_API void softmax_backward(const SoftmaxProblem& problem, SoftmaxView dx, SoftmaxView y,
                             SoftmaxView g);
#endif

}  // namespace gradsmith::kernels
