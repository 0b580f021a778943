// Elementwise ops of one input. Each is a kernel and a rule; a rule is given the gradient and
// either the input or the output, whichever is cheaper to work from. Where a fused backward kernel
// exists it is used while nobody records the backward; the composition of ops beside it is its
// derivative's source, and the way on CUDA.
#include <cmath>
#include <limits>
#include <numbers>

#include "ops/activation.h"
#include "ops/elementwise.h"

namespace gradsmith::ops {

namespace {

using Rule = Tensor (*)(const Tensor& g, const Tensor& saved);

// Half types are computed in float32; integers where the kernel has no row for them too.
DType compute_type(const UnaryKernel& kernel, DType t) {
  if (is_half(t)) return DType::f32;
  return kernel.has(t) ? t : DType::f32;
}

template <bool FromOutput>
Tensor unary(const char* op, const UnaryKernel& kernel, const Tensor& x, Rule rule) {
  check_defined(op, "input", x);
  const DType compute = compute_type(kernel, x.dtype());
  if (compute != x.dtype()) {
    const Tensor y = unary<FromOutput>(op, kernel, to_dtype(x, compute), rule);
    return is_half(x.dtype()) ? to_dtype(y, x.dtype()) : y;
  }
  Tensor y = run_unary(op, kernel, x);
  if (!tracked(x)) return y;
  if constexpr (FromOutput) {
    return record(op, y, {x}, [rule, y = save_output(y)](const Grads& g) {
      return grads(rule(g[0], y.unpack(g)));
    });
  } else {
    return record(op, y, {x},
                  [rule, x = save(x)](const Grads& g) { return grads(rule(g[0], x.unpack(g))); });
  }
}

Tensor times(const Tensor& a, double b) { return mul(a, Operand(b)); }
Tensor plus(const Tensor& a, double b) { return add(a, Operand(b)); }
Tensor one_minus(const Tensor& a) { return sub(Operand(1.0), a); }
// 1 where the condition holds, as a factor for g.
Tensor factor(const Tensor& condition, const Tensor& g) { return to_dtype(condition, g.dtype()); }
// Whether a fused backward kernel can take the place of recorded ops.
bool fused() { return !grad_enabled(); }

}  // namespace

Tensor tanh_slope(const Tensor& g, const Tensor& y) {
  if (fused()) return run_binary("tanh", kernels::tanh_backward_y, g, y);
  return mul(g, one_minus(square(y)));
}
Tensor sigmoid_slope(const Tensor& g, const Tensor& y) {
  if (fused()) return run_binary("sigmoid", kernels::sigmoid_backward_y, g, y);
  return mul(g, mul(y, one_minus(y)));
}
Tensor relu_slope(const Tensor& g, const Tensor& y) {
  if (fused()) return run_binary("relu", kernels::relu_backward_y, g, y);
  return mul(g, factor(gt(y.detach(), Operand(0.0)), g));
}

// GS_FROM_X(op, rule in g and x), GS_FROM_Y(op, rule in g and y).
#define GS_FROM_X(op, ...)                                                                \
  Tensor op(const Tensor& input) {                                                        \
    return unary<false>(                                                                  \
        #op, kernels::op, input,                                                          \
        [](const Tensor& g, [[maybe_unused]] const Tensor& x) -> Tensor { __VA_ARGS__ }); \
  }
#define GS_FROM_Y(op, ...)                                                                \
  Tensor op(const Tensor& input) {                                                        \
    return unary<true>(                                                                   \
        #op, kernels::op, input,                                                          \
        [](const Tensor& g, [[maybe_unused]] const Tensor& y) -> Tensor { __VA_ARGS__ }); \
  }

Tensor neg(const Tensor& input) {
  check_defined("neg", "input", input);
  GS_CHECK_TYPE(input.dtype() != DType::b8,
                "neg: is not defined for bool; use ~x for its opposite");
  return unary<false>("neg", kernels::neg, input,
                      [](const Tensor& g, const Tensor&) -> Tensor { return neg(g); });
}
GS_FROM_X(abs, return mul(g, sign(x.detach()));)
GS_FROM_X(sign, return zeros_like(g);)
// Integers are round already.
#define GS_ROUND(op)                                                                             \
  Tensor op(const Tensor& input) {                                                               \
    if (input.defined() && !is_floating(input.dtype())) return clone(input);                     \
    return unary<false>(#op, kernels::op, input,                                                 \
                        [](const Tensor& g, const Tensor&) -> Tensor { return zeros_like(g); }); \
  }
GS_ROUND(floor)
GS_ROUND(ceil)
GS_ROUND(round)
GS_ROUND(trunc)
#undef GS_ROUND
GS_FROM_Y(sqrt, return div(g, times(y, 2));)
GS_FROM_Y(rsqrt, return times(mul(g, mul(y, square(y))), -0.5);)
GS_FROM_Y(reciprocal, return neg(mul(g, square(y)));)
GS_FROM_X(square, return times(mul(g, x), 2);)
GS_FROM_Y(exp, return mul(g, y);)
GS_FROM_Y(exp2, return times(mul(g, y), std::numbers::ln2);)
GS_FROM_Y(expm1, return mul(g, plus(y, 1));)
GS_FROM_X(log, return div(g, x);)
GS_FROM_X(log1p, return div(g, plus(x, 1));)
GS_FROM_X(log2, return div(g, times(x, std::numbers::ln2));)
GS_FROM_X(log10, return div(g, times(x, std::numbers::ln10));)
GS_FROM_X(sin, return mul(g, cos(x));)
GS_FROM_X(cos, return neg(mul(g, sin(x)));)
GS_FROM_Y(tan, return mul(g, plus(square(y), 1));)
GS_FROM_X(asin, return mul(g, rsqrt(one_minus(square(x))));)
GS_FROM_X(acos, return neg(mul(g, rsqrt(one_minus(square(x)))));)
GS_FROM_X(atan, return div(g, plus(square(x), 1));)
GS_FROM_X(sinh, return mul(g, cosh(x));)
GS_FROM_X(cosh, return mul(g, sinh(x));)
GS_FROM_X(erf, return mul(g, times(exp(neg(square(x))), 2 * std::numbers::inv_sqrtpi));)
GS_FROM_X(erfc, return mul(g, times(exp(neg(square(x))), -2 * std::numbers::inv_sqrtpi));)
GS_FROM_Y(tanh, return tanh_slope(g, y);)
GS_FROM_Y(sigmoid, return sigmoid_slope(g, y);)
GS_FROM_Y(relu, return relu_slope(g, y);)
GS_FROM_X(silu, if (fused()) return run_binary("silu", kernels::silu_backward_x, g, x);
          const Tensor s = sigmoid(x); return mul(g, mul(s, plus(mul(x, one_minus(s)), 1)));)
GS_FROM_X(hardsigmoid,
          if (fused()) return run_binary("hardsigmoid", kernels::hardsigmoid_backward_x, g, x);
          return times(mul(g, factor(lt(abs(x.detach()), Operand(3.0)), g)), 1.0 / 6);)
// Slope 0 up to -3, 1 from 3, NaN's too, and (2x + 3) / 6 between.
GS_FROM_X(hardswish,
          if (fused()) return run_binary("hardswish", kernels::hardswish_backward_x, g, x);
          const Tensor inside = times(plus(times(x, 2), 3), 1.0 / 6);
          const Tensor outer = factor(logical_not(lt(x.detach(), Operand(0.0))), g);
          return mul(g, where(lt(abs(x.detach()), Operand(3.0)), inside, outer));)
GS_FROM_X(log_sigmoid,
          if (fused()) return run_binary("log_sigmoid", kernels::log_sigmoid_backward_x, g, x);
          return mul(g, sigmoid(neg(x)));)
// x tanh(sp), sp = softplus(x):  tanh(sp) + x (1 - tanh(sp)^2) sigmoid(x)
GS_FROM_X(mish, if (fused()) return run_binary("mish", kernels::mish_backward_x, g, x);
          const Tensor th = tanh(softplus(x));
          return mul(g, add(th, mul(mul(x, one_minus(square(th))), sigmoid(x))));)
GS_FROM_X(softsign, return div(g, square(plus(abs(x), 1)));)
#undef GS_FROM_X
#undef GS_FROM_Y

Tensor relu6(const Tensor& x) { return hardtanh(x, 0, 6); }

Tensor selu(const Tensor& x) {  // Klambauer et al. 2017
  constexpr double alpha = 1.6732632423543772848170429916717,
                   scale = 1.0507009873554804934193349852946;
  return times(elu(x, alpha), scale);
}

// ---- with parameters ----

namespace {

// Half and integer inputs go through float32; fn is the op itself on float32 or float64.
template <class F>
Tensor in_float(const char* op, const Tensor& x, F&& fn) {
  check_defined(op, "input", x);
  if (x.dtype() == DType::f32 || x.dtype() == DType::f64) return fn(x);
  const Tensor y = fn(to_dtype(x, DType::f32));
  return is_half(x.dtype()) ? to_dtype(y, x.dtype()) : y;
}

}  // namespace

Tensor leaky_relu(const Tensor& input, double slope) {
  return in_float("leaky_relu", input, [slope](const Tensor& x) {
    Tensor y = run_unary("leaky_relu", kernels::leaky_relu, x, {slope, 0});
    if (!tracked(x)) return y;
    return record("leaky_relu", y, {x}, [slope, x = save(x)](const Grads& g) {
      const Tensor& v = x.unpack(g);
      if (fused())
        return grads(run_binary("leaky_relu", kernels::leaky_relu_backward_x, g[0], v, {slope, 0}));
      return grads(where(gt(v.detach(), Operand(0.0)), g[0], times(g[0], slope)));
    });
  });
}

Tensor elu(const Tensor& input, double alpha) {
  return in_float("elu", input, [alpha](const Tensor& x) {
    Tensor y = run_unary("elu", kernels::elu, x, {alpha, 0});
    if (!tracked(x)) return y;
    return record("elu", y, {x}, [alpha, x = save(x)](const Grads& g) {
      const Tensor& v = x.unpack(g);
      if (fused()) return grads(run_binary("elu", kernels::elu_backward_x, g[0], v, {alpha, 0}));
      const Tensor below = times(mul(g[0], exp(clamp(v, std::nullopt, Operand(0.0)))), alpha);
      return grads(where(gt(v.detach(), Operand(0.0)), g[0], below));
    });
  });
}

Tensor gelu(const Tensor& input, const std::string& approximate) {
  const bool tanh_form = approximate == "tanh";
  GS_CHECK(tanh_form || approximate == "none",
           "gelu: argument 'approximate' must be 'none' or 'tanh', got '{}'", approximate);
  return in_float("gelu", input, [tanh_form](const Tensor& x) {
    Tensor y = run_unary("gelu", tanh_form ? kernels::gelu_tanh : kernels::gelu, x);
    if (!tracked(x)) return y;
    return record("gelu", y, {x}, [tanh_form, x = save(x)](const Grads& g) {
      const Tensor& v = x.unpack(g);
      if (fused())
        return grads(run_binary(
            "gelu", tanh_form ? kernels::gelu_tanh_backward_x : kernels::gelu_backward_x, g[0], v));
      if (!tanh_form) {  // Phi(x) + x phi(x)
        const Tensor cdf = times(plus(erf(times(v, std::numbers::sqrt2 / 2)), 1), 0.5);
        const Tensor pdf =
            times(exp(times(square(v), -0.5)), std::numbers::inv_sqrtpi * std::numbers::sqrt2 / 2);
        return grads(mul(g[0], add(cdf, mul(v, pdf))));
      }
      const double c = std::sqrt(2 / std::numbers::pi);
      const Tensor th = tanh(times(add(v, times(mul(v, square(v)), 0.044715)), c));
      const Tensor inner = times(plus(times(square(v), 3 * 0.044715), 1), c);
      const Tensor slope =
          add(times(plus(th, 1), 0.5), times(mul(mul(v, one_minus(square(th))), inner), 0.5));
      return grads(mul(g[0], slope));
    });
  });
}

Tensor softplus(const Tensor& input, double beta, double threshold) {
  GS_CHECK(std::isfinite(beta) && beta > 0, "softplus: argument 'beta' must be positive, got {}",
           beta);
  GS_CHECK(!std::isnan(threshold), "softplus: argument 'threshold' must be a number, got nan");
  return in_float("softplus", input, [=](const Tensor& x) {
    Tensor y = run_unary("softplus", kernels::softplus, x, {beta, threshold});
    if (!tracked(x)) return y;
    return record("softplus", y, {x}, [=, x = save(x)](const Grads& g) {
      const Tensor& v = x.unpack(g);
      if (fused())
        return grads(
            run_binary("softplus", kernels::softplus_backward_x, g[0], v, {beta, threshold}));
      const Tensor scaled = times(v, beta);
      return grads(
          where(gt(scaled.detach(), Operand(threshold)), g[0], mul(g[0], sigmoid(scaled))));
    });
  });
}

// ---- clipping ----

namespace {

using Bound = std::optional<Operand>;

bool is_number(const Bound& b) { return !b || b->impl()->wrapped_number; }
double number_or(const Bound& b, double absent) {
  return !b                         ? absent
         : b->dtype() == DType::f64 ? *b->data_as<double>()
         : b->dtype() == DType::i64 ? double(*b->data_as<std::int64_t>())
                                    : double(*b->data_as<bool>());
}

// Of floats, between numbers; an absent one is infinite.
Tensor clamp_between(const Tensor& x, double low, double high) {
  if (is_half(x.dtype()))
    return to_dtype(clamp_between(to_dtype(x, DType::f32), low, high), x.dtype());
  Tensor y = run_unary("clamp", kernels::clamp, x, {low, high});
  if (!tracked(x)) return y;
  return record("clamp", y, {x}, [low, high, x = save(x)](const Grads& g) {
    const Tensor v = x.unpack(g).detach();
    if (fused()) return grads(run_binary("clamp", kernels::clamp_backward_x, g[0], v, {low, high}));
    const Tensor inside = logical_and(ge(v, Operand(low)), le(v, Operand(high)));
    return grads(mul(g[0], factor(inside, g[0])));
  });
}

// Where an integer type ends a bound binds nothing; beyond, on the other side, no element has a
// place.
Bound binding(const char* argument, const Bound& b, DType dtype, bool below) {
  if (!b || holds(dtype, *b)) return b;
  const std::int64_t v = *b->data_as<std::int64_t>();
  GS_CHECK((v < 0) == below, "clamp: argument '{}' is {}, which {} cannot hold", argument, v,
           dtype);
  return {};
}

// The bound where x is beyond it, which a NaN bound always is.
Tensor limited(const Tensor& x, const Operand& bound, bool below) {
  const Tensor limit = to_dtype(bound.detach(), x.dtype()), v = x.detach();
  const Tensor beyond = logical_or(below ? lt(v, limit) : gt(v, limit), ne(limit, limit));
  return where(beyond, to_dtype(bound, x.dtype()), x);
}

}  // namespace

Tensor clamp(const Tensor& x, const Bound& min, const Bound& max) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  check_defined("clamp", "input", x);
  GS_CHECK(min || max, "clamp: at least one of min and max must be given");
  DType dtype = x.dtype();
  for (const Bound* b : {&min, &max})
    if (*b) dtype = result_type(to_dtype(x.detach(), dtype), **b);
  const Tensor v = to_dtype(x, dtype);
  if (is_number(min) && is_number(max)) {
    const double low = number_or(min, -inf), high = number_or(max, inf);
    GS_CHECK(!std::isnan(low) && !std::isnan(high), "clamp: bounds must not be nan");
    if (is_floating(dtype)) return clamp_between(v, low, high);
  }
  const Bound least = binding("min", min, dtype, true), most = binding("max", max, dtype, false);
  if (!least && !most) return clone(v);
  if (!least) return limited(v, *most, false);
  if (!most) return limited(v, *least, true);
  // Between equal bounds nothing can move.
  const bool two = tracked(*least, *most);
  const Operand low = two ? Operand(where(eq(*least, *most), most->detach(), *least)) : *least;
  return limited(limited(v, low, true), *most, false);
}

Tensor clamp_(const Tensor& x, const Bound& min, const Bound& max) {
  check_writable("clamp_", x);
  NoGradGuard guard;
  const Tensor y = clamp(x, min, max);
  GS_CHECK_TYPE(y.dtype() == x.dtype(),
                "clamp_: the result is {}, which a tensor of {} cannot hold", y.dtype(), x.dtype());
  return copy_(x, y);
}

Tensor hardtanh(const Tensor& x, double min_val, double max_val) {
  GS_CHECK(min_val <= max_val, "hardtanh: min_val {} must not be above max_val {}", min_val,
           max_val);
  // Like clamp, but flat at the bounds themselves, as relu is at 0.
  return in_float("hardtanh", x, [=](const Tensor& v) {
    Tensor y = clamp_between(v.detach(), min_val, max_val);
    if (!tracked(v)) return y;
    return record("hardtanh", y, {v}, [=, v = save(v)](const Grads& g) {
      const Tensor at = v.unpack(g).detach();
      const Tensor inside = logical_and(gt(at, Operand(min_val)), lt(at, Operand(max_val)));
      return grads(mul(g[0], factor(inside, g[0])));
    });
  });
}

// ---- predicates ----

namespace {
Tensor predicate(const char* op, const UnaryKernel& kernel, const Tensor& x, bool of_integers) {
  check_defined(op, "input", x);
  if (!is_floating(x.dtype())) return full(x.shape(), of_integers, DType::b8, x.device());
  return run_predicate(op, kernel, is_half(x.dtype()) ? to_dtype(x.detach(), DType::f32) : x);
}
}  // namespace

Tensor isnan(const Tensor& x) { return predicate("isnan", kernels::isnan, x, false); }
Tensor isinf(const Tensor& x) { return predicate("isinf", kernels::isinf, x, false); }
Tensor isfinite(const Tensor& x) { return predicate("isfinite", kernels::isfinite, x, true); }
Tensor logical_not(const Tensor& x) {
  check_defined("logical_not", "input", x);
  return run_predicate("logical_not", kernels::logical_not,
                       is_half(x.dtype()) ? to_dtype(x.detach(), DType::f32) : x);
}
Tensor bitwise_not(const Tensor& x) {
  check_defined("bitwise_not", "input", x);
  GS_CHECK_TYPE(!is_floating(x.dtype()), "bitwise_not: must be bool or integer, got {}", x.dtype());
  return run_unary("bitwise_not", kernels::bitwise_not, x);
}

}  // namespace gradsmith::ops
