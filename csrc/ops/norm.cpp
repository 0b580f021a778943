// Normalisation: layer (Ba et al. 2016), RMS (Zhang and Sennrich 2019), group (Wu and He 2018) and
// batch (Ioffe and Szegedy 2015). Forward and backward are fused kernels; gradients of gradients
// come from the same formulas written with simple ops.
#include <cmath>

#include "ops/dispatch_rows.h"

namespace gradsmith::ops {

namespace {

void check_input(const char* op, const Tensor& input, double eps) {
  check_float(op, "input", input);
  GS_CHECK(std::isfinite(eps) && eps >= 0,
           "{}: argument 'eps' must be finite and not negative, got {}", op, eps);
}

Tensor dense_or_none(const Tensor& t) { return t.defined() ? contiguous(t.detach()) : Tensor(); }

// xhat from x, over `dims`.
Tensor normalised(const Tensor& x, const Dims& dims, double eps, bool centred) {
  const Tensor shifted = centred ? sub(x, mean(x, dims, true)) : x;
  const Tensor power = mean(square(shifted), dims, true);
  return mul(shifted, rsqrt(add(power, Operand(eps))));
}
// y = xhat gamma + beta, with gamma and beta in a shape that broadcasts.
Tensor affine(Tensor xhat, const Tensor& gamma, const Tensor& beta, const Dims& shape) {
  if (gamma.defined()) xhat = mul(xhat, reshape(gamma, shape));
  if (beta.defined()) xhat = add(xhat, reshape(beta, shape));
  return xhat;
}
// (1, C, 1, ...) for an input (N, C, ...)
Dims channel_shape(const Tensor& x) {
  Dims shape = Dims::filled(x.dim(), 1);
  shape[1] = x.size(1);
  return shape;
}

dispatch::NormGradients buffers(const Grads& g, const Tensor& x, const Dims& parameter_shape) {
  const auto wanted = [&](int i, const Dims& shape) {
    return g.needs(i) ? empty(shape, x.dtype(), x.device()) : Tensor();
  };
  return {wanted(0, x.shape()), wanted(1, parameter_shape), wanted(2, parameter_shape)};
}

// ---- layer, RMS and group: statistics of rows ----

struct RowNorm {
  const char* op;
  kernels::NormProblem problem;
  Dims parameter_shape;
};

Tensor composite(const RowNorm& norm, const Tensor& x, const Tensor& gamma, const Tensor& beta) {
  const kernels::NormProblem& p = norm.problem;
  const Tensor xhat =
      reshape(normalised(reshape(x, {p.rows, p.n}), {1}, p.eps, p.kind != kernels::NormKind::rms),
              x.shape());
  return affine(xhat, gamma, beta,
                p.kind == kernels::NormKind::group ? channel_shape(x) : norm.parameter_shape);
}

Tensor run_rows(const RowNorm& norm, const Tensor& input, const Tensor& gamma, const Tensor& beta) {
  const kernels::NormProblem& p = norm.problem;
  const Tensor x = contiguous(input.detach());
  const Tensor scale = dense_or_none(gamma), shift = dense_or_none(beta);
  Tensor y = empty_like(x), average = empty({p.rows}, x.dtype(), x.device()),
         rstd = empty_like(average);
  dispatch::norm_forward(p, y, average, rstd, x, scale, shift);
  if (!tracked(input, gamma, beta)) return y;
  return record(norm.op, y, {input, gamma, beta},
                [norm, x = save(input), gamma = save(gamma), beta = save(beta),
                 average = save(average), rstd = save(rstd)](const Grads& g) {
                  const Tensor &v = x.unpack(g), &w = gamma.unpack(g);
                  if (grad_enabled())
                    return through_composite(
                        g, {v, w, beta.unpack(g)}, [&norm](const std::vector<Tensor>& in) {
                          return std::vector{composite(norm, in[0], in[1], in[2])};
                        });
                  const Tensor dense = contiguous(v.detach()), up = contiguous(g[0]);
                  const Tensor factor = dense_or_none(w);
                  const auto b = buffers(g, v, norm.parameter_shape);
                  dispatch::norm_backward(norm.problem, b, dense, up, average.unpack(g),
                                          rstd.unpack(g), factor);
                  return grads(b.dx, b.dgamma, b.dbeta);
                });
}

void check_parameter(const char* op, const char* name, const Tensor& t, const Dims& shape,
                     const Tensor& input) {
  if (!t.defined()) return;
  GS_CHECK(t.shape() == shape, "{}: argument '{}' must have shape {}, got {}", op, name, shape,
           t.shape());
  check_same_dtype(op, name, t, "input", input);
}

Tensor over_last(const char* op, kernels::NormKind kind, const Tensor& input, const Dims& shape,
                 const Tensor& weight, const Tensor& bias, double eps) {
  check_input(op, input, eps);
  GS_CHECK(shape.size() >= 1 && shape.size() <= input.dim(),
           "{}: normalized_shape {} does not fit an input of shape {}", op, shape, input.shape());
  for (int d = 0; d < shape.size(); ++d)
    GS_CHECK(input.shape()[input.dim() - shape.size() + d] == shape[d],
             "{}: normalized_shape {} is not the end of the input's shape {}", op, shape,
             input.shape());
  check_parameter(op, "weight", weight, shape, input);
  check_parameter(op, "bias", bias, shape, input);
  const std::int64_t n = shape.product();
  GS_CHECK(n > 0, "{}: normalized_shape {} has no elements", op, shape);
  return run_rows(
      {op,
       {.dtype = input.dtype(), .kind = kind, .rows = input.numel() / n, .n = n, .eps = eps},
       shape},
      input, weight, bias);
}

// ---- batch ----

struct BatchNorm {
  kernels::BatchNormShape shape;
  double eps;
  bool training;
};

Tensor composite(const BatchNorm& norm, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                 const Tensor& average, const Tensor& variance) {
  const Dims channels = channel_shape(x);
  if (!norm.training) {
    const Tensor rstd = rsqrt(add(reshape(variance, channels), Operand(norm.eps)));
    return affine(mul(sub(x, reshape(average, channels)), rstd), gamma, beta, channels);
  }
  Dims dims;
  for (int d = 0; d < x.dim(); ++d)
    if (d != 1) dims.push_back(d);
  return affine(normalised(x, dims, norm.eps, true), gamma, beta, channels);
}

// running = (1 - momentum) running + momentum batch, with the unbiased variance.
void update_running(const Tensor& running, const Tensor& batch, double momentum, double factor) {
  if (!running.defined()) return;
  NoGradGuard guard;
  copy_(running, add(mul(running, Operand(1 - momentum)), mul(batch, Operand(momentum * factor))));
}

}  // namespace

Tensor layer_norm(const Tensor& input, const Dims& normalized_shape, const Tensor& weight,
                  const Tensor& bias, double eps) {
  return over_last("layer_norm", kernels::NormKind::layer, input, normalized_shape, weight, bias,
                   eps);
}

Tensor rms_norm(const Tensor& input, const Dims& normalized_shape, const Tensor& weight,
                const std::optional<double>& eps) {
  check_defined("rms_norm", "input", input);
  const double least = input.dtype() == DType::f64 ? 2.220446049250313e-16 : 1.1920928955078125e-07;
  return over_last("rms_norm", kernels::NormKind::rms, input, normalized_shape, weight, {},
                   eps.value_or(least));
}

Tensor group_norm(const Tensor& input, std::int64_t num_groups, const Tensor& weight,
                  const Tensor& bias, double eps) {
  check_input("group_norm", input, eps);
  GS_CHECK(input.dim() >= 2, "group_norm: argument 'input' must have shape (N, C, ...), got {}",
           input.shape());
  const std::int64_t channels = input.size(1);
  GS_CHECK(num_groups >= 1 && channels % num_groups == 0,
           "group_norm: num_groups {} does not divide the {} channels", num_groups, channels);
  check_parameter("group_norm", "weight", weight, {channels}, input);
  check_parameter("group_norm", "bias", bias, {channels}, input);
  const std::int64_t rows = input.size(0) * num_groups;
  std::int64_t inner = 1;
  for (int d = 2; d < input.dim(); ++d) inner *= input.shape()[d];
  GS_CHECK(channels * inner > 0 || input.numel() == 0, "group_norm: a group of shape {} is empty",
           input.shape());
  return run_rows({"group_norm",
                   {.dtype = input.dtype(),
                    .kind = kernels::NormKind::group,
                    .rows = rows,
                    .n = channels / num_groups * inner,
                    .eps = eps,
                    .groups = num_groups,
                    .inner = inner},
                   {channels}},
                  input, weight, bias);
}

Tensor batch_norm(const Tensor& input, const Tensor& running_mean, const Tensor& running_var,
                  const Tensor& weight, const Tensor& bias, bool training, double momentum,
                  double eps) {
  constexpr const char* op = "batch_norm";
  check_input(op, input, eps);
  GS_CHECK(std::isfinite(momentum), "{}: argument 'momentum' must be finite, got {}", op, momentum);
  GS_CHECK(input.dim() >= 2, "{}: argument 'input' must have shape (N, C, ...), got {}", op,
           input.shape());
  const std::int64_t channels = input.size(1);
  check_vector(op, "running_mean", running_mean, channels, input);
  check_vector(op, "running_var", running_var, channels, input);
  check_vector(op, "weight", weight, channels, input);
  check_vector(op, "bias", bias, channels, input);
  GS_CHECK(training || (running_mean.defined() && running_var.defined()),
           "{}: running_mean and running_var must be given when training is False", op);
  const std::int64_t values = channels ? input.numel() / channels : 0;
  GS_CHECK(!training || values > 1,
           "{}: training needs more than one value per channel, got an input of shape {}", op,
           input.shape());
  std::int64_t inner = 1;
  for (int d = 2; d < input.dim(); ++d) inner *= input.shape()[d];
  const BatchNorm norm{{input.dtype(), input.size(0), channels, inner}, eps, training};
  const Tensor x = contiguous(input.detach());
  const Tensor scale = dense_or_none(weight), shift = dense_or_none(bias);
  Tensor y = empty_like(x), average, variance;
  if (training) {
    average = empty({channels}, x.dtype(), x.device());
    variance = empty_like(average);
    dispatch::batch_norm_train(norm.shape, y, average, variance, x, scale, shift, eps);
    update_running(running_mean, average, momentum, 1);
    update_running(running_var, variance, momentum, double(values) / double(values - 1));
  } else {  // copies: training steps in between may change the running statistics
    average = clone(running_mean.detach());
    variance = clone(running_var.detach());
    dispatch::batch_norm_forward(norm.shape, y, x, average, variance, scale, shift, eps);
  }
  if (!tracked(input, weight, bias)) return y;
  return record(op, y, {input, weight, bias},
                [norm, x = save(input), weight = save(weight), bias = save(bias),
                 average = save(average), variance = save(variance)](const Grads& g) {
                  const Tensor &v = x.unpack(g), &w = weight.unpack(g);
                  const Tensor &mu = average.unpack(g), &var = variance.unpack(g);
                  if (grad_enabled())
                    return through_composite(
                        g, {v, w, bias.unpack(g)}, [&](const std::vector<Tensor>& in) {
                          return std::vector{composite(norm, in[0], in[1], in[2], mu, var)};
                        });
                  const Tensor dense = contiguous(v.detach()), up = contiguous(g[0]);
                  const Tensor factor = dense_or_none(w);
                  const auto b = buffers(g, v, {norm.shape.channels});
                  dispatch::batch_norm_backward(norm.shape, b, dense, up, mu, var, factor, norm.eps,
                                                norm.training);
                  return grads(b.dx, b.dgamma, b.dbeta);
                });
}

}  // namespace gradsmith::ops
