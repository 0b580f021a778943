#include "ops/dispatch_rows.h"

#include <algorithm>

#include "ops/dispatch_index.h"
#include "runtime/cuda.h"

namespace gradsmith::ops::dispatch {

namespace {

static_assert(int(cuda::ReduceOp::std_dev) == int(kernels::ReduceOp::std_dev) &&
              int(cuda::ReduceOp::norm2) == int(kernels::ReduceOp::norm2));

int device_of(const Tensor& x) { return x.device().index; }
void* data_or_null(const Tensor& x) { return x.defined() ? x.data() : nullptr; }

cuda::ReduceArgs reduction(cuda::ReduceOp op, const Tensor& x, unsigned dims) {
  cuda::ReduceArgs args{};
  args.op = op;
  args.ndim = x.dim();
  args.dims = dims;
  std::copy(x.shape().begin(), x.shape().end(), args.shape);
  args.x = {x.data(), x.dtype(), {}};
  std::copy(x.strides().begin(), x.strides().end(), args.x.strides);
  return args;
}

}  // namespace

void reduce(kernels::ReduceOp op, const Tensor& out, const Tensor& x, unsigned dims,
            double correction) {
  if (on_cpu(x)) return kernels::reduce(op, out.data(), x.view(), dims, correction);
  auto args = reduction(cuda::ReduceOp(op), x, dims);
  args.out = out.data();
  args.correction = correction;
  cuda::reduce(device_of(x), args);
}

void arg_reduce(bool largest, const Tensor& values, const Tensor& indices, const Tensor& x,
                unsigned dims) {
  if (on_cpu(x))
    return kernels::arg_reduce(largest, data_or_null(values), indices.data_as<std::int64_t>(),
                               x.view(), dims);
  auto args = reduction(largest ? cuda::ReduceOp::argmax : cuda::ReduceOp::argmin, x, dims);
  args.out = data_or_null(values);
  args.indices = indices.data_as<std::int64_t>();
  cuda::reduce(device_of(x), args);
}

void cumsum(const Tensor& y, const Tensor& x, std::int64_t outer, std::int64_t n,
            std::int64_t inner) {
  if (on_cpu(x)) return kernels::cumsum(x.dtype(), y.data(), x.data(), outer, n, inner);
  cuda::cumsum(device_of(x), {x.dtype(), y.data(), x.data(), outer, n, inner});
}

// ---- softmax ----

namespace {
kernels::SoftmaxView dense_view(const Tensor& x, const kernels::SoftmaxProblem& p) {
  return {x.data(), p.n * p.inner, p.inner};
}
}  // namespace

void softmax_forward(const kernels::SoftmaxProblem& p, const Tensor& y, const Tensor& x) {
  if (on_cpu(x)) return kernels::softmax_forward(p, dense_view(y, p), dense_view(x, p));
  cuda::softmax(device_of(x), {p.dtype, p.log, y.data(), x.data(), nullptr, p.outer, p.n, p.inner});
}

void softmax_backward(const kernels::SoftmaxProblem& p, const Tensor& dx, const Tensor& y,
                      const Tensor& g) {
  if (on_cpu(g))
    return kernels::softmax_backward(p, dense_view(dx, p), dense_view(y, p), dense_view(g, p));
  cuda::softmax(device_of(g),
                {p.dtype, p.log, dx.data(), y.data(), g.data(), p.outer, p.n, p.inner});
}

// ---- losses ----

void cross_entropy_forward(const Tensor& x, const kernels::CrossEntropyRows& a) {
  if (on_cpu(x)) return kernels::cross_entropy_forward(x.dtype(), a);
  cuda::cross_entropy(device_of(x), {.dtype = x.dtype(),
                                     .loss = a.loss,
                                     .stats = a.stats,
                                     .target_weight = a.target_weight,
                                     .dx = nullptr,
                                     .x = a.x,
                                     .target = a.target,
                                     .weight = a.weight,
                                     .g = nullptr,
                                     .g_stride = 0,
                                     .rows = a.rows,
                                     .n = a.n,
                                     .ignore_index = a.ignore_index,
                                     .label_smoothing = a.label_smoothing});
}

void cross_entropy_backward(const Tensor& x, const kernels::CrossEntropyRowsGrad& a) {
  if (on_cpu(x)) return kernels::cross_entropy_backward(x.dtype(), a);
  cuda::cross_entropy(device_of(x), {.dtype = x.dtype(),
                                     .loss = nullptr,
                                     .stats = const_cast<void*>(a.stats),
                                     .target_weight = nullptr,
                                     .dx = a.dx,
                                     .x = a.x,
                                     .target = a.target,
                                     .weight = a.weight,
                                     .g = a.g,
                                     .g_stride = a.g_stride,
                                     .rows = a.rows,
                                     .n = a.n,
                                     .ignore_index = a.ignore_index,
                                     .label_smoothing = a.label_smoothing});
}

std::int64_t check_targets(const Tensor& target, std::int64_t classes, std::int64_t ignore_index) {
  if (!on_cpu(target) && classes > 0) {
    const NoGradGuard guard;
    const Tensor counted = ne(target, Operand(ignore_index));
    return bad_index(ops::where(counted, target, Operand(std::int64_t(0))), 0, classes);
  }
  const Tensor here = to_device(target, {});
  return kernels::check_targets(here.data_as<std::int64_t>(), here.numel(), classes, ignore_index);
}

// ---- normalisation ----

void norm_forward(const kernels::NormProblem& p, const Tensor& y, const Tensor& mean,
                  const Tensor& rstd, const Tensor& x, const Tensor& gamma, const Tensor& beta) {
  if (on_cpu(x))
    return kernels::norm_forward(p, y.data(), mean.data(), rstd.data(), x.data(),
                                 data_or_null(gamma), data_or_null(beta));
  cuda::norm(device_of(x), {.dtype = p.dtype,
                            .y = y.data(),
                            .mean = p.kind == kernels::NormKind::rms ? nullptr : mean.data(),
                            .rstd = rstd.data(),
                            .x = x.data(),
                            .gamma = data_or_null(gamma),
                            .beta = data_or_null(beta),
                            .g = nullptr,
                            .rows = p.rows,
                            .n = p.n,
                            .groups = p.groups,
                            .inner = p.inner,
                            .eps = p.eps});
}

void norm_backward(const kernels::NormProblem& p, const NormGradients& out, const Tensor& x,
                   const Tensor& g, const Tensor& mean, const Tensor& rstd, const Tensor& gamma) {
  if (on_cpu(x))
    return kernels::norm_backward(
        p, {data_or_null(out.dx), data_or_null(out.dgamma), data_or_null(out.dbeta)}, x.data(),
        g.data(), mean.data(), rstd.data(), data_or_null(gamma));
  void* const average = p.kind == kernels::NormKind::rms ? nullptr : mean.data();
  if (out.dx.defined())
    cuda::norm(device_of(x), {.dtype = p.dtype,
                              .y = out.dx.data(),
                              .mean = average,
                              .rstd = rstd.data(),
                              .x = x.data(),
                              .gamma = data_or_null(gamma),
                              .beta = nullptr,
                              .g = g.data(),
                              .rows = p.rows,
                              .n = p.n,
                              .groups = p.groups,
                              .inner = p.inner,
                              .eps = p.eps});
  if (!out.dgamma.defined() && !out.dbeta.defined()) return;
  cuda::norm_sums(device_of(x),
                  {.dtype = p.dtype,
                   .sum_g = data_or_null(out.dbeta),
                   .sum_gx = data_or_null(out.dgamma),
                   .x = x.data(),
                   .g = g.data(),
                   .mean = average,
                   .rstd = rstd.data(),
                   .batch = p.rows / p.groups,
                   .channels = (out.dgamma.defined() ? out.dgamma : out.dbeta).numel(),
                   .inner = p.inner,
                   .groups = p.groups});
}

namespace {
Tensor reciprocal_deviation(const Tensor& var, double eps) {
  const NoGradGuard guard;
  return rsqrt(add(var.detach(), Operand(eps)));
}
}  // namespace

void batch_norm_forward(const kernels::BatchNormShape& s, const Tensor& y, const Tensor& x,
                        const Tensor& mean, const Tensor& var, const Tensor& gamma,
                        const Tensor& beta, double eps) {
  if (on_cpu(x))
    return kernels::batch_norm_forward(s, y.data(), x.data(), mean.data(), var.data(),
                                       data_or_null(gamma), data_or_null(beta), eps);
  const Tensor rstd = reciprocal_deviation(var, eps);
  cuda::batch_norm(device_of(x), {.dtype = s.dtype,
                                  .y = y.data(),
                                  .x = x.data(),
                                  .g = nullptr,
                                  .mean = mean.data(),
                                  .rstd = rstd.data(),
                                  .gamma = data_or_null(gamma),
                                  .beta = data_or_null(beta),
                                  .sum_g = nullptr,
                                  .sum_gx = nullptr,
                                  .batch = s.batch,
                                  .channels = s.channels,
                                  .inner = s.inner});
}

void batch_norm_train(const kernels::BatchNormShape& s, const Tensor& y, const Tensor& mean,
                      const Tensor& var, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                      double eps) {
  if (on_cpu(x))
    return kernels::batch_norm_train(s, y.data(), mean.data(), var.data(), x.data(),
                                     data_or_null(gamma), data_or_null(beta), eps);
  auto args = reduction(cuda::ReduceOp::var, reshape(x, {s.batch, s.channels, s.inner}), 0b101);
  args.out = var.data();
  args.mean = mean.data();
  cuda::reduce(device_of(x), args);
  batch_norm_forward(s, y, x, mean, var, gamma, beta, eps);
}

void batch_norm_backward(const kernels::BatchNormShape& s, const NormGradients& out,
                         const Tensor& x, const Tensor& g, const Tensor& mean, const Tensor& var,
                         const Tensor& gamma, double eps, bool training) {
  if (on_cpu(x))
    return kernels::batch_norm_backward(
        s, {data_or_null(out.dx), data_or_null(out.dgamma), data_or_null(out.dbeta)}, x.data(),
        g.data(), mean.data(), var.data(), data_or_null(gamma), eps, training);
  const Tensor rstd = reciprocal_deviation(var, eps);
  Tensor sum_g = out.dbeta, sum_gx = out.dgamma;
  if (training) {
    if (!sum_g.defined()) sum_g = empty_like(mean);
    if (!sum_gx.defined()) sum_gx = empty_like(mean);
  }
  if (sum_g.defined() || sum_gx.defined())
    cuda::norm_sums(device_of(x), {.dtype = s.dtype,
                                   .sum_g = data_or_null(sum_g),
                                   .sum_gx = data_or_null(sum_gx),
                                   .x = x.data(),
                                   .g = g.data(),
                                   .mean = mean.data(),
                                   .rstd = rstd.data(),
                                   .batch = s.batch,
                                   .channels = s.channels,
                                   .inner = s.inner,
                                   .groups = 0});
  if (!out.dx.defined()) return;
  cuda::batch_norm(device_of(x), {.dtype = s.dtype,
                                  .y = out.dx.data(),
                                  .x = x.data(),
                                  .g = g.data(),
                                  .mean = mean.data(),
                                  .rstd = rstd.data(),
                                  .gamma = data_or_null(gamma),
                                  .beta = nullptr,
                                  .sum_g = training ? sum_g.data() : nullptr,
                                  .sum_gx = training ? sum_gx.data() : nullptr,
                                  .batch = s.batch,
                                  .channels = s.channels,
                                  .inner = s.inner});
}

}  // namespace gradsmith::ops::dispatch
