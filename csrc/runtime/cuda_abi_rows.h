// Arguments of reductions, of what works on rows (softmax, losses, normalisation), of recurrent
// layers and of products in float64. Part of cuda_abi.h, which includes it and says what holds for
// all of them. float32 and float64, where nothing else is said; arrays are contiguous.
#pragma once

namespace gradsmith::cuda {

// ---- Reductions ---------------------------------------------------------------------------------

enum class ReduceOp : std::int32_t {  // kernels::ReduceOp and arg_reduce
  sum,
  mean,
  prod,
  max,
  min,
  any,
  all,
  count_nonzero,
  sumsq,
  norm1,
  norm2,
  var,
  std_dev,
  argmax,
  argmin
};

// As kernels::reduce, var_mean (op var, with mean) and arg_reduce (argmax, argmin). Of all dtypes
// but the 16-bit ones. Outputs are dense; null where not wanted, but one of them must be.
struct ReduceArgs {
  ReduceOp op;
  std::int32_t ndim;
  std::uint32_t dims;  // bit d: dimension d is reduced
  std::int64_t shape[kMaxDims];
  Operand x;
  void* out;
  void* mean;             // of var
  std::int64_t* indices;  // of argmax and argmin; out are the values
  double correction;
};

// y = cumulative sum of x along the middle one of [outer, n, inner]; y of integers is int64.
struct CumsumArgs {
  DType dtype;
  void* y;
  const void* x;
  std::int64_t outer, n, inner;
};

// ---- Softmax ------------------------------------------------------------------------------------

// Along the middle one of [outer, n, inner]: y = (log_)softmax(x), or where g is given y is the
// gradient, from x, the forward's output, and g, its gradient. y may be any of the others.
struct SoftmaxArgs {
  DType dtype;
  bool log;
  void* y;
  const void* x;
  const void* g;
  std::int64_t outer, n, inner;
};

// ---- Losses -------------------------------------------------------------------------------------

// As kernels::CrossEntropyRows and, where dx is given, CrossEntropyRowsGrad, with rows beside each
// other. Targets are in range, or ignore_index.
struct CrossEntropyArgs {
  DType dtype;
  void *loss, *stats, *target_weight;
  void* dx;
  const void* x;
  const std::int64_t* target;
  const void* weight;  // null: 1
  const void* g;
  std::int64_t g_stride;
  std::int64_t rows, n;
  std::int64_t ignore_index;
  double label_smoothing;
};

// ---- Normalisation ------------------------------------------------------------------------------

// As kernels::NormRows and, where g is given, NormRowsGrad with y for dx. No mean: rms norm. gamma
// and beta may be null.
struct NormArgs {
  DType dtype;
  void *y, *mean, *rstd;
  const void *x, *gamma, *beta, *g;
  std::int64_t rows, n, groups, inner;
  double eps;
};

// For each channel of [batch, channels, inner]: sum_g = sum g, sum_gx = sum g (x - mean) rstd; null
// where not wanted. mean (null: 0) and rstd are [batch, groups], or [channels] where groups is 0.
struct NormSumsArgs {
  DType dtype;
  void *sum_g, *sum_gx;
  const void *x, *g, *mean, *rstd;
  std::int64_t batch, channels, inner, groups;
};

// [batch, channels, inner]: y = (x - mean) rstd gamma + beta or, where g is given, y is the
// gradient of x. sum_g and sum_gx are those of NormSumsArgs, or null where mean and rstd are
// constants.
struct BatchNormArgs {
  DType dtype;
  void* y;
  const void *x, *g, *mean, *rstd, *gamma, *beta, *sum_g, *sum_gx;
  std::int64_t batch, channels, inner;
};

// ---- Recurrent layers ---------------------------------------------------------------------------

enum class RnnKind : std::int32_t { lstm, gru, rnn_tanh, rnn_relu };  // kernels::RnnKind

// One direction of one layer over a whole sequence; formulas, rows and gates as in
// kernels/rnn/rnn.h. The products that do not wait for a step before are the caller's.
//
// Forward. gates [rows, saved * hidden] hold W_ih x + b_ih (of GRU's four the first three), and
// then what backward needs. c holds c0, then cT. Out: y and, where not null, every step's c.
// Backward. d_in and d_hidden [rows, gates * hidden]: gradients of W_ih x + b_ih and of
// W_hh h + b_hh, one array but for GRU. dh and dc hold the last states' gradients, then the first
// ones'. dy may be null.
struct RnnArgs {
  RnnKind kind;
  DType dtype;
  bool backward, reverse;
  std::int64_t steps, batch, hidden;
  const std::int64_t* starts;  // row(t, b) = starts[t] + b, of steps + 1; null: t * batch + b
  const void *w_hh, *b_hh, *h0;
  void *gates, *y, *cells, *c;
  const void *c0, *dy;
  void *d_in, *d_hidden, *dh, *dc;
};

// ---- Products in float64 ------------------------------------------------------------------------

// As GemmArgs, of doubles.
struct Matrix64 {
  double* data;
  std::int64_t rs, cs, batch;
};
struct Gemm64Args {
  std::int64_t m, n, k, batch;
  Matrix64 a, b, c;
  Matrix64 bias, residual;
  double alpha, beta;
  Activation activation;
  double slope;
};

// Every entry is int name(int device, const Args* args, void* stream).
#define GS_CUDA_ROWS_FUNCTIONS(X)    \
  X(reduce, ReduceArgs)              \
  X(cumsum, CumsumArgs)              \
  X(softmax, SoftmaxArgs)            \
  X(cross_entropy, CrossEntropyArgs) \
  X(norm, NormArgs)                  \
  X(norm_sums, NormSumsArgs)         \
  X(batch_norm, BatchNormArgs)       \
  X(rnn, RnnArgs)                    \
  X(gemm64, Gemm64Args)

}  // namespace gradsmith::cuda
