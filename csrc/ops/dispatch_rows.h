// dispatch.h for reductions and what works on rows: the CPU's driver or CUDA's, by the device of
// the input.
#pragma once
#include "kernels/loss/loss.h"
#include "kernels/norm/norm.h"
#include "kernels/reduce/reduce.h"
#include "kernels/softmax/softmax.h"
#include "ops/dispatch.h"

namespace gradsmith::ops::dispatch {

// `out` is dense, on x's device; see the functions of the same name in kernels/.
void reduce(kernels::ReduceOp op, const Tensor& out, const Tensor& x, unsigned dims,
            double correction);
// `values` may be undefined.
void arg_reduce(bool largest, const Tensor& values, const Tensor& indices, const Tensor& x,
                unsigned dims);
void cumsum(const Tensor& y, const Tensor& x, std::int64_t outer, std::int64_t n,
            std::int64_t inner);

// All contiguous.
void softmax_forward(const kernels::SoftmaxProblem& problem, const Tensor& y, const Tensor& x);
void softmax_backward(const kernels::SoftmaxProblem& problem, const Tensor& dx, const Tensor& y,
                      const Tensor& g);

// The arguments' memory is on x's device, rows beside each other.
void cross_entropy_forward(const Tensor& x, const kernels::CrossEntropyRows& args);
void cross_entropy_backward(const Tensor& x, const kernels::CrossEntropyRowsGrad& args);
// As kernels::check_targets; waits for the device.
std::int64_t check_targets(const Tensor& target, std::int64_t classes, std::int64_t ignore_index);

// All contiguous; gamma and beta may be undefined, and so may gradients that are not wanted.
struct NormGradients {
  Tensor dx, dgamma, dbeta;
};
void norm_forward(const kernels::NormProblem& problem, const Tensor& y, const Tensor& mean,
                  const Tensor& rstd, const Tensor& x, const Tensor& gamma, const Tensor& beta);
void norm_backward(const kernels::NormProblem& problem, const NormGradients& out, const Tensor& x,
                   const Tensor& g, const Tensor& mean, const Tensor& rstd, const Tensor& gamma);
void batch_norm_forward(const kernels::BatchNormShape& shape, const Tensor& y, const Tensor& x,
                        const Tensor& mean, const Tensor& var, const Tensor& gamma,
                        const Tensor& beta, double eps);
// The same, with the batch's own mean and var, which it writes.
void batch_norm_train(const kernels::BatchNormShape& shape, const Tensor& y, const Tensor& mean,
                      const Tensor& var, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                      double eps);
void batch_norm_backward(const kernels::BatchNormShape& shape, const NormGradients& out,
                         const Tensor& x, const Tensor& g, const Tensor& mean, const Tensor& var,
                         const Tensor& gamma, double eps, bool training);

}  // namespace gradsmith::ops::dispatch
