// Layer, RMS, group and batch normalisation, forward and backward.
//
//   xhat = (x - mean) rstd      rstd = 1 / sqrt(var + eps)      y = xhat gamma + beta
//   dx   = rstd (h - avg(h) - xhat avg(h xhat))                 h = g gamma
//   dgamma = sum g xhat         dbeta = sum g
//
// var is the biased variance. RMS norm leaves the mean out: xhat = x rstd, rstd = 1 / sqrt(avg(x^2)
// + eps), and avg(h) and beta with it. What differs is over which elements mean and var are taken:
//
//   layer, rms  over each row; gamma and beta have one value per column
//   group       over each row of a [batch * groups, channels_per_group * inner] view; gamma and
//               beta have one value per channel. Instance norm is one channel per group
//   batch       over each channel of [batch, channels, inner]
//
// Statistics: two passes over data in cache, or merged from such, so that var is accurate however
// large the mean is; sums follow the bound of sum_of in kernels/simd/sweep.h. Statistics in and out
// have the element type. gamma and beta may be null, for 1 and 0.
#pragma once
#include <cstdint>

#include "kernels/kernel.h"

namespace gradsmith::kernels {

// Rows of n contiguous elements, one behind the other. The parameter of element i is number
// ((row % groups) * n + i) / inner: layer and rms norm have groups = inner = 1.
struct NormRows {
  void* y;
  void* mean;  // [rows]; not used by rms
  void* rstd;  // [rows]
  const void* x;
  const void* gamma;
  const void* beta;
  std::int64_t rows, n;
  double eps;
  std::int64_t groups = 1, inner = 1;
  std::int64_t first_row = 0;  // number of the first row, for row % groups
};

// dx may be null if not wanted; so may dgamma and dbeta. These two, of type double, are added to.
struct NormRowsGrad {
  void* dx;
  double* dgamma;
  double* dbeta;
  const void* x;
  const void* g;
  const void* mean;
  const void* rstd;
  const void* gamma;
  std::int64_t rows, n;
  std::int64_t groups = 1, inner = 1;
  std::int64_t first_row = 0;
  void* scratch = nullptr;  // layer and rms: 2 n elements
};

GS_KERNEL(layer_norm_rows, void(const NormRows& args));
GS_KERNEL(rms_norm_rows, void(const NormRows& args));
GS_KERNEL(group_norm_rows, void(const NormRows& args));
GS_KERNEL(layer_norm_rows_grad, void(const NormRowsGrad& args));
GS_KERNEL(rms_norm_rows_grad, void(const NormRowsGrad& args));
GS_KERNEL(group_norm_rows_grad, void(const NormRowsGrad& args));

// Batch norm, in two layouts. "runs": `runs` runs of `inner` contiguous elements, one behind the
// other; run r belongs to channel (first_run + r) % channels. "cols": `runs` lines of `channels`
// elements, one behind the other; inner is 1.
//
//   forward    y = (x - mean) scale + shift               scale = gamma rstd, shift = beta
//   backward   y = dx = scale (g - shift - (x - mean) slope)
//                                                shift = avg(g), slope = avg(g xhat) rstd
struct BatchNormApply {
  void* y;
  const void* x;
  const void* g;     // backward only
  const void* mean;  // [channels], as the rest
  const void* scale;
  const void* shift;
  const void* slope;  // backward only
  std::int64_t runs, inner, channels;
  std::int64_t first_run = 0;
};
GS_KERNEL(batch_norm_runs, void(const BatchNormApply& args));
GS_KERNEL(batch_norm_runs_grad, void(const BatchNormApply& args));
GS_KERNEL(batch_norm_cols, void(const BatchNormApply& args));
GS_KERNEL(batch_norm_cols_grad, void(const BatchNormApply& args));

// sum g and sum g (x - mean): of every run (sums are [runs]), or of every column ([channels]).
struct BatchNormSums {
  double* sum_g;
  double* sum_gx;
  const void* x;
  const void* g;
  const void* mean;
  std::int64_t runs, inner, channels;
  std::int64_t first_run = 0;
};
GS_KERNEL(batch_norm_runs_sums, void(const BatchNormSums& args));
GS_KERNEL(batch_norm_cols_sums, void(const BatchNormSums& args));

#if !defined(GS_ISA)
enum class NormKind : std::uint8_t { layer, rms, group };

struct NormProblem {
  DType dtype;
  NormKind kind;
  std::int64_t rows, n;  // group: batch * groups, channels_per_group * inner
  double eps = 1e-5;
  std::int64_t groups = 1, inner = 1;
};
// y may be x. mean is not written by rms norm.
GS_API void norm_forward(const NormProblem& problem, void* y, void* mean, void* rstd, const void* x,
                         const void* gamma, const void* beta);
// dx, dgamma, dbeta: null where not wanted. dx may be g or x.
struct NormGradients {
  void* dx;
  void* dgamma;
  void* dbeta;
};
GS_API void norm_backward(const NormProblem& problem, const NormGradients& out, const void* x,
                          const void* g, const void* mean, const void* rstd, const void* gamma);

struct BatchNormShape {
  DType dtype;
  std::int64_t batch, channels, inner;
};
// Mean and biased variance of each channel; the op turns them into rstd and running statistics.
GS_API void batch_norm_stats(const BatchNormShape& shape, void* mean, void* var, const void* x);
// y = (x - mean) rstd gamma + beta, rstd = 1 / sqrt(var + eps); for training and inference alike.
GS_API void batch_norm_forward(const BatchNormShape& shape, void* y, const void* x,
                               const void* mean, const void* var, const void* gamma,
                               const void* beta, double eps);
// The first two in one, which reads x once from memory where a channel fits the cache.
GS_API void batch_norm_train(const BatchNormShape& shape, void* y, void* mean, void* var,
                             const void* x, const void* gamma, const void* beta, double eps);
// `training`: mean and var came from this x. Otherwise they are constants and dx = g gamma rstd.
GS_API void batch_norm_backward(const BatchNormShape& shape, const NormGradients& out,
                                const void* x, const void* g, const void* mean, const void* var,
                                const void* gamma, double eps, bool training);
#endif

}  // namespace gradsmith::kernels
