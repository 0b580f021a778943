// Cross entropy of logits against class numbers, fused with log-softmax.
//
//   logp_j = (x_j - max x) - log sum_k exp(x_k - max x)
//   loss   = -(1 - s) w_t logp_t - (s / n) sum_j w_j logp_j        t: target, s: label smoothing
//   dx_j   = g (softmax(x)_j sum_k q_k - q_j)      q_j = (1 - s) w_t [j == t] + (s / n) w_j
//
// w are class weights, 1 if absent. Rows whose target is ignore_index have loss 0 and gradient 0.
// Every other target must be in [0, n): check_targets finds the first that is not.
#pragma once
#include <cstdint>

#include "kernels/kernel.h"

namespace gradsmith::kernels {

// Rows of n contiguous logits, x_stride elements apart; everything else is dense.
struct CrossEntropyRows {
  void* loss;           // [rows]
  void* stats;          // [rows, 2]: max x and log sum exp(x - max x), for the backward
  void* target_weight;  // [rows]: w_t, or 0 where ignored: their sum divides the mean; may be null
  const void* x;
  const std::int64_t* target;
  const void* weight;  // [n] or null
  std::int64_t rows, n, x_stride;
  std::int64_t ignore_index;
  double label_smoothing;
};
GS_KERNEL(cross_entropy_rows, void(const CrossEntropyRows& args));

struct CrossEntropyRowsGrad {
  void* dx;  // may be x
  const void* x;
  const void* stats;
  const std::int64_t* target;
  const void* weight;
  const void* g;          // gradient of row r's loss is g[r * g_stride] * g_scale
  std::int64_t g_stride;  // 0: one for all
  double g_scale;         // 1 / divisor of a mean
  std::int64_t rows, n, dx_stride, x_stride;
  std::int64_t ignore_index;
  double label_smoothing;
};
GS_KERNEL(cross_entropy_rows_grad, void(const CrossEntropyRowsGrad& args));

#if !defined(GS_ISA)
GS_API void cross_entropy_forward(DType dtype, const CrossEntropyRows& args);
GS_API void cross_entropy_backward(DType dtype, const CrossEntropyRowsGrad& args);

// Position of the first target that is neither ignore_index nor in [0, classes); -1 if all are.
GS_API std::int64_t check_targets(const std::int64_t* target, std::int64_t count,
                                  std::int64_t classes, std::int64_t ignore_index);

// Negative log likelihood: loss_r = -w_t logp[r][t], target_weight as above.
// logp: [outer, classes, inner] dense; target, loss, target_weight: [outer, inner].
struct NllProblem {
  DType dtype;
  std::int64_t outer, classes, inner;
  std::int64_t ignore_index;
};
GS_API void nll_forward(const NllProblem& problem, void* loss, void* target_weight,
                        const void* logp, const std::int64_t* target, const void* weight);
// dlogp is written whole: 0 but for -w_t g_scale g at the targets. g_stride is 1 or 0.
GS_API void nll_backward(const NllProblem& problem, void* dlogp, const std::int64_t* target,
                         const void* weight, const void* g, std::int64_t g_stride, double g_scale);
#endif

}  // namespace gradsmith::kernels
