// Reductions over any dimensions.
#include <cmath>

#include "ops/dispatch_rows.h"

namespace gradsmith::ops {

using kernels::ReduceOp;

namespace {

// Bit d is set where dim d is reduced; no dims, or an empty list, means all of them.
unsigned reduced_dims(const char* op, const Tensor& x, const std::optional<Dims>& dim) {
  check_defined(op, "input", x);
  if (!dim || dim->empty()) return (1u << x.dim()) - 1u;
  unsigned mask = 0;
  for (auto d : *dim) {
    const unsigned bit = 1u << check_dim(op, d, x.dim());
    GS_CHECK(!(mask & bit), "{}: dim {} appears twice in {}", op, d, *dim);
    mask |= bit;
  }
  return x.dim() == 0 ? 0u : mask;
}

Dims kept_shape(const Dims& shape, unsigned mask, bool keepdim) {
  Dims out;
  for (int d = 0; d < shape.size(); ++d) {
    if (!(mask >> d & 1u)) {
      out.push_back(shape[d]);
    } else if (keepdim) {
      out.push_back(1);
    }
  }
  return out;
}
std::int64_t reduced_count(const Dims& shape, unsigned mask) {
  std::int64_t n = 1;
  for (int d = 0; d < shape.size(); ++d)
    if (mask >> d & 1u) n *= shape[d];
  return n;
}

void check_not_empty(const char* op, const Tensor& x, unsigned mask) {
  GS_CHECK(reduced_count(x.shape(), mask) > 0 || kept_shape(x.shape(), mask, false).product() == 0,
           "{}: an empty dimension of shape {} has no extreme", op, x.shape());
}

// Half types are reduced in float32 and rounded once at the end.
Tensor run(ReduceOp op, const Tensor& x, unsigned mask, bool keepdim, double correction = 1) {
  if (is_half(x.dtype()))
    return to_dtype(run(op, to_dtype(x.detach(), DType::f32), mask, keepdim, correction),
                    x.dtype());
  Tensor y =
      empty(kept_shape(x.shape(), mask, keepdim), kernels::reduce_dtype(op, x.dtype()), x.device());
  dispatch::reduce(op, y, x, mask, correction);
  return y;
}

// Of a reduced tensor: back to the rank and then the shape of the input.
Tensor spread(const Tensor& y, const Dims& shape, unsigned mask) {
  return broadcast_to(reshape(y, kept_shape(shape, mask, true)), shape);
}

void check_floating(const char* op, const Tensor& x) {
  GS_CHECK_TYPE(is_floating(x.dtype()), "{}: must be floating point, got {}", op, x.dtype());
}

// Of x cast to `dtype`; so is the result, though sums of narrow integers are int64 otherwise.
template <class F>
Tensor in_dtype(const Tensor& x, DType dtype, F&& reduce) {
  return to_dtype(reduce(to_dtype(x, dtype)), dtype);
}

}  // namespace

Tensor sum(const Tensor& x, const std::optional<Dims>& dim, bool keepdim,
           const std::optional<DType>& dtype) {
  const unsigned mask = reduced_dims("sum", x, dim);
  if (dtype) return in_dtype(x, *dtype, [&](const Tensor& v) { return sum(v, dim, keepdim); });
  Tensor y = run(ReduceOp::sum, x, mask, keepdim);
  if (!tracked(x)) return y;
  return record("sum", y, {x}, [mask, shape = x.shape()](const Grads& g) {
    return grads(spread(g[0], shape, mask));
  });
}

Tensor sum_to_size(const Tensor& x, const Dims& shape) {
  check_defined("sum_to_size", "input", x);
  if (x.shape() == shape) return x;
  const int skip = x.dim() - shape.size();
  GS_CHECK(skip >= 0, "sum_to_size: shape {} has more dims than {}", shape, x.shape());
  Dims dims;
  for (int d = 0; d < x.dim(); ++d) {
    const bool gone = d < skip || (shape[d - skip] == 1 && x.shape()[d] != 1);
    GS_CHECK(gone || shape[d - skip] == x.shape()[d], "sum_to_size: {} is not broadcast from {}",
             x.shape(), shape);
    if (gone) dims.push_back(d);
  }
  return dims.empty() ? reshape(x, shape) : reshape(sum(x, dims), shape);
}

Tensor mean(const Tensor& x, const std::optional<Dims>& dim, bool keepdim,
            const std::optional<DType>& dtype) {
  const unsigned mask = reduced_dims("mean", x, dim);
  if (dtype) return in_dtype(x, *dtype, [&](const Tensor& v) { return mean(v, dim, keepdim); });
  check_floating("mean", x);
  Tensor y = run(ReduceOp::mean, x, mask, keepdim);
  if (!tracked(x)) return y;
  return record("mean", y, {x}, [mask, shape = x.shape()](const Grads& g) {
    const double n = double(reduced_count(shape, mask));
    return grads(spread(div(g[0], Operand(n)), shape, mask));
  });
}

Tensor var(const Tensor& x, const std::optional<Dims>& dim, double correction, bool keepdim) {
  const unsigned mask = reduced_dims("var", x, dim);
  check_floating("var", x);
  Tensor y = run(ReduceOp::var, x, mask, keepdim, correction);
  if (!tracked(x)) return y;
  return record("var", y, {x}, [mask, correction, dim, x = save(x)](const Grads& g) {
    const Tensor& v = x.unpack(g);
    const double scale = 2 / (double(reduced_count(v.shape(), mask)) - correction);
    const Tensor centred = sub(v, mean(v, dim, true));
    return grads(mul(mul(spread(g[0], v.shape(), mask), centred), Operand(scale)));
  });
}

namespace {
// g / size, and 0 where the size is 0; so are the gradients of this.
Tensor slope_over(const Tensor& g, const Tensor& size) {
  const Tensor at_zero = eq(size.detach(), Operand(0.0));
  return masked_fill(div(g, masked_fill(size, at_zero, Operand(1.0))), at_zero, Operand(0.0));
}
}  // namespace

Tensor std(const Tensor& x, const std::optional<Dims>& dim, double correction, bool keepdim) {
  const unsigned mask = reduced_dims("std", x, dim);
  check_floating("std", x);
  Tensor y = run(ReduceOp::std_dev, x, mask, keepdim, correction);
  if (!tracked(x)) return y;
  return record("std", y, {x},
                [mask, correction, dim, x = save(x), y = save_output(y)](const Grads& g) {
                  const Tensor& v = x.unpack(g);
                  const double n = double(reduced_count(v.shape(), mask)) - correction;
                  const Tensor slope = div(slope_over(g[0], y.unpack(g)), Operand(n));
                  return grads(mul(spread(slope, v.shape(), mask), sub(v, mean(v, dim, true))));
                });
}

namespace {

// The product of all others, for every element of dim `at`, without dividing (there is a zero).
Tensor product_of_others(const Tensor& x, int at) {
  if (x.dim() == 0) return ones_like(x);
  const std::vector<Tensor> parts = unbind(x, at);
  std::vector<Tensor> others(parts.size());
  Tensor before = ones_like(parts[0]);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    others[i] = before;
    before = mul(before, parts[i]);
  }
  Tensor after = ones_like(parts[0]);
  for (std::size_t i = parts.size(); i-- > 0;) {
    others[i] = mul(others[i], after);
    after = mul(after, parts[i]);
  }
  return stack(others, at);
}

}  // namespace

Tensor prod(const Tensor& x, const std::optional<std::int64_t>& dim, bool keepdim,
            const std::optional<DType>& dtype) {
  check_defined("prod", "input", x);
  if (dtype) return in_dtype(x, *dtype, [&](const Tensor& v) { return prod(v, dim, keepdim); });
  if (!dim && x.dim() != 1) return prod(reshape(x, {-1}), 0, false);
  const unsigned mask =
      reduced_dims("prod", x, dim ? std::optional<Dims>(Dims{*dim}) : std::nullopt);
  Tensor y = run(ReduceOp::prod, x, mask, keepdim);
  if (!tracked(x)) return y;
  const int at = check_dim("prod", dim.value_or(0), x.dim());
  return record("prod", y, {x}, [mask, at, x = save(x), y = save_output(y)](const Grads& g) {
    const Tensor& v = x.unpack(g);
    const Tensor gradient = spread(g[0], v.shape(), mask);
    if (v.numel() == 0) return grads(gradient);
    const Tensor zero = eq(v.detach(), Operand(0.0));
    // Gradients of this gradient must not divide by the product either.
    if (grad_enabled() || is_set(any(zero))) return grads(mul(gradient, product_of_others(v, at)));
    return grads(mul(gradient, div(spread(y.unpack(g), v.shape(), mask), v)));
  });
}

namespace {

// Equal extremes share the gradient.
Tensor extreme(const char* name, ReduceOp op, const Tensor& x, const std::optional<Dims>& dim,
               bool keepdim) {
  const unsigned mask = reduced_dims(name, x, dim);
  check_not_empty(name, x, mask);
  Tensor y = run(op, x, mask, keepdim);
  if (!tracked(x)) return y;
  return record(name, y, {x}, [mask, x = save(x), y = save_output(y)](const Grads& g) {
    const Tensor& v = x.unpack(g);
    const Tensor top = spread(y.unpack(g).detach(), v.shape(), mask);
    const Tensor hit = to_dtype(eq(v.detach(), top), v.dtype());
    const Tensor ties = run(ReduceOp::sum, hit, mask, false);
    return grads(mul(hit, spread(div(reshape(g[0], ties.shape()), ties), v.shape(), mask)));
  });
}

std::tuple<Tensor, Tensor> extreme_along(const char* op, bool largest, const Tensor& x,
                                         std::int64_t dim, bool keepdim) {
  const unsigned mask = reduced_dims(op, x, Dims{dim});
  check_not_empty(op, x, mask);
  const int at = check_dim(op, dim, x.dim());
  const Dims shape = kept_shape(x.shape(), mask, keepdim);
  const Tensor source = is_half(x.dtype()) ? to_dtype(x.detach(), DType::f32) : x;
  Tensor values = empty(shape, source.dtype(), x.device()),
         indices = empty(shape, DType::i64, x.device());
  if (values.numel() > 0) dispatch::arg_reduce(largest, values, indices, source, mask);
  values = to_dtype(values, x.dtype());
  if (tracked(x))
    record_all(op, {values}, Inputs{x},
               [=, from = x.shape(), indices = save(indices)](const Grads& g) {
                 const Dims kept = kept_shape(from, mask, true);
                 const Tensor base = zeros(from, g[0].dtype(), g[0].device());
                 if (from.size() == 0) return grads(g[0]);
                 return grads(
                     scatter_add(base, at, reshape(indices.unpack(g), kept), reshape(g[0], kept)));
               });
  return {values, indices};
}

Tensor arg_extreme(const char* op, bool largest, const Tensor& x,
                   const std::optional<std::int64_t>& dim, bool keepdim) {
  const unsigned mask = reduced_dims(op, x, dim ? std::optional<Dims>(Dims{*dim}) : std::nullopt);
  check_not_empty(op, x, mask);
  GS_CHECK(x.numel() > 0 || dim, "{}: an empty tensor has no extreme", op);
  const Tensor source = is_half(x.dtype()) ? to_dtype(x.detach(), DType::f32) : x;
  Tensor indices = empty(kept_shape(x.shape(), mask, keepdim), DType::i64, x.device());
  if (indices.numel() > 0) dispatch::arg_reduce(largest, {}, indices, source, mask);
  return indices;
}

}  // namespace

Tensor amax(const Tensor& x, const std::optional<Dims>& dim, bool keepdim) {
  return extreme("amax", ReduceOp::max, x, dim, keepdim);
}
Tensor amin(const Tensor& x, const std::optional<Dims>& dim, bool keepdim) {
  return extreme("amin", ReduceOp::min, x, dim, keepdim);
}
std::tuple<Tensor, Tensor> max_dim(const Tensor& x, std::int64_t dim, bool keepdim) {
  return extreme_along("max", true, x, dim, keepdim);
}
std::tuple<Tensor, Tensor> min_dim(const Tensor& x, std::int64_t dim, bool keepdim) {
  return extreme_along("min", false, x, dim, keepdim);
}
Tensor argmax(const Tensor& x, const std::optional<std::int64_t>& dim, bool keepdim) {
  return arg_extreme("argmax", true, x, dim, keepdim);
}
Tensor argmin(const Tensor& x, const std::optional<std::int64_t>& dim, bool keepdim) {
  return arg_extreme("argmin", false, x, dim, keepdim);
}

namespace {
// PyTorch's any and all over no dims, unlike its sums over all of them.
Tensor each_truth(const Tensor& x) { return ne(x.detach(), Operand(false)); }
}  // namespace

Tensor any(const Tensor& x, const std::optional<Dims>& dim, bool keepdim) {
  const unsigned mask = reduced_dims("any", x, dim);
  if (dim && dim->empty()) return each_truth(x);
  return is_half(x.dtype()) ? any(to_dtype(x.detach(), DType::f32), dim, keepdim)
                            : run(ReduceOp::any, x, mask, keepdim);
}
Tensor all(const Tensor& x, const std::optional<Dims>& dim, bool keepdim) {
  const unsigned mask = reduced_dims("all", x, dim);
  if (dim && dim->empty()) return each_truth(x);
  return is_half(x.dtype()) ? all(to_dtype(x.detach(), DType::f32), dim, keepdim)
                            : run(ReduceOp::all, x, mask, keepdim);
}

namespace {

// (sum |x|^p)^(1/p), with the slope sign(x) (|x| / norm)^(p-1), which is taken as 0 where x
// or the norm is 0.
Tensor power_norm(const Tensor& x, double p, const std::optional<Dims>& dim, unsigned mask,
                  bool keepdim) {
  if (is_half(x.dtype()))
    return to_dtype(power_norm(to_dtype(x, DType::f32), p, dim, mask, keepdim), x.dtype());
  const Operand zero(0.0), one(1.0);
  const Tensor y = pow(sum(pow(abs(x.detach()), Operand(p)), dim, keepdim), Operand(1 / p));
  if (!tracked(x)) return y;
  return record("norm", y, {x}, [=, x = save(x), y = save_output(y)](const Grads& g) {
    const Tensor& v = x.unpack(g);
    const Tensor n = y.unpack(g);
    const Tensor at_zero = eq(v.detach(), zero);
    const Tensor size = masked_fill(abs(v), at_zero, one);
    const Tensor whole = spread(masked_fill(n, eq(n.detach(), zero), one), v.shape(), mask);
    const Tensor slope = mul(sign(v.detach()), pow(div(size, whole), Operand(p - 1)));
    const Tensor upper = masked_fill(g[0], eq(n.detach(), zero), zero);
    return grads(mul(spread(upper, v.shape(), mask), slope));
  });
}

}  // namespace

Tensor norm(const Tensor& x, double p, const std::optional<Dims>& dim, bool keepdim) {
  const unsigned mask = reduced_dims("norm", x, dim);
  check_floating("norm", x);
  GS_CHECK(!std::isnan(p), "norm: argument 'p' must be a number, got nan");
  if (std::isinf(p)) return p > 0 ? amax(abs(x), dim, keepdim) : amin(abs(x), dim, keepdim);
  if (p == 0) {
    const Tensor count = sum(to_dtype(ne(x.detach(), Operand(0.0)), x.dtype()), dim, keepdim);
    if (!tracked(x)) return count;
    return record("norm", count, {x}, [from = x.shape()](const Grads& g) {  // in steps: flat
      return grads(zeros(from, g[0].dtype(), g[0].device()));
    });
  }
  if (p == 1) return sum(abs(x), dim, keepdim);
  if (p != 2) return power_norm(x, p, dim, mask, keepdim);
  Tensor y = run(ReduceOp::norm2, x, mask, keepdim);
  if (!tracked(x)) return y;
  return record("norm", y, {x}, [mask, x = save(x), y = save_output(y)](const Grads& g) {
    const Tensor& v = x.unpack(g);
    return grads(mul(v, spread(slope_over(g[0], y.unpack(g)), v.shape(), mask)));
  });
}

Tensor cumsum(const Tensor& x, std::int64_t dim, const std::optional<DType>& dtype) {
  check_defined("cumsum", "input", x);
  if (dtype) return in_dtype(x, *dtype, [&](const Tensor& v) { return cumsum(v, dim); });
  const int at = check_dim("cumsum", dim, x.dim());
  if (is_half(x.dtype())) return to_dtype(cumsum(to_dtype(x, DType::f32), dim), x.dtype());
  const Tensor source = contiguous(x.detach());
  Tensor y = empty(x.shape(), is_floating(x.dtype()) ? x.dtype() : DType::i64, x.device());
  std::int64_t outer = 1, inner = 1;
  for (int d = 0; d < x.dim(); ++d) (d < at ? outer : inner) *= d == at ? 1 : x.shape()[d];
  dispatch::cumsum(y, source, outer, x.dim() ? x.shape()[at] : 1, inner);
  if (!tracked(x)) return y;
  return record("cumsum", y, {x},
                [at](const Grads& g) { return grads(flip(cumsum(flip(g[0], {at}), at), {at})); });
}

Tensor logsumexp(const Tensor& x, const Dims& dim, bool keepdim) {
  const unsigned mask = reduced_dims("logsumexp", x, dim);
  if (!is_floating(x.dtype())) return logsumexp(to_dtype(x, DType::f32), dim, keepdim);
  if (reduced_count(x.shape(), mask) == 0) return log(sum(x, dim, keepdim));  // of no terms
  // The shift has no gradient; where it is infinite, none is needed.
  Tensor top = amax(x.detach(), dim, true);
  top = masked_fill(top, isinf(top), Operand(0.0));
  const Tensor total = log(sum(exp(sub(x, top)), dim, true));
  const Tensor y = add(total, top);
  return keepdim ? y : squeeze(y, dim);
}

}  // namespace gradsmith::ops
