// The oracle: every operation in double (integers in themselves) with the C library, element by
// element, as it is defined.
#include <cmath>

#include "kernels/elementwise/elementwise.h"

namespace gradsmith::kernels::reference {
namespace {

const double kPi = std::acos(-1.0);
constexpr double kSeluScale = 1.0507009873554805, kSeluAlpha = 1.6732632423543772;

double sigmoid_at(double x) { return 1 / (1 + std::exp(-x)); }
double softplus_at(double x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}
// Far out, an error in the exponent is a much larger one in the result: hence long double.
long double cdf_at(double x) { return std::erfc(-x / std::sqrt(2.0L)) / 2; }
long double gelu_tanh_cdf(double x) {
  const long double cube = (long double)x * x * x;
  const long double angle = std::sqrt(2 / std::acos(-1.0L)) * (x + 0.044715L * cube);
  return 1 / (1 + std::exp(-2 * angle));
}
double density_at(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * kPi); }
double limited(double x, double low, double high) {  // high wins where low is above it
  const double raised = x < low ? low : x;
  return raised > high ? high : raised;
}
// lim x -> -inf of x * (something that vanishes faster)
double times_vanishing(double x, long double factor) {
  return factor == 0 ? -0.0 : double(x * factor);
}
double elu_at(double x, double alpha) { return x > 0 ? x : alpha * std::expm1(x); }
double nan_or(double a, double b, double value) { return a != a ? a : b != b ? b : value; }
// floor(a / b) of a quotient that is not rounded up to a whole number first.
double floor_quotient(double a, double b) {
  const double r = std::fmod(a, b);
  const bool below = r != 0 && (r < 0) != (b < 0);
  return std::nearbyint((a - r) / b) - (below ? 1 : 0);
}
double remainder_at(double a, double b) {
  const double r = std::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

// y[i] = f(x[i])
template <class Y, class X, class F>
void each(const UnaryRun& run, F f) {
  for (std::int64_t i = 0; i < run.n; ++i)
    static_cast<Y*>(run.y)[i * run.y_step] = f(static_cast<const X*>(run.x)[i * run.x_step]);
}
template <class Y, class X, class F>
void each(const BinaryRun& run, F f) {
  for (std::int64_t i = 0; i < run.n; ++i)
    static_cast<Y*>(run.y)[i * run.y_step] = f(static_cast<const X*>(run.a)[i * run.a_step],
                                               static_cast<const X*>(run.b)[i * run.b_step]);
}

}  // namespace

// ---- one input, float and double ----
#define GS_OP(op, ...)                                                                    \
  static double op##_at(double x, [[maybe_unused]] double p, [[maybe_unused]] double q) { \
    return __VA_ARGS__;                                                                   \
  }
GS_OP(neg, -x)
GS_OP(abs, std::fabs(x))
GS_OP(sign, (x > 0) - (x < 0))
GS_OP(square, x* x)
GS_OP(relu, x < 0 ? 0 : x)
GS_OP(clamp, limited(x, p, q))
GS_OP(sqrt, std::sqrt(x))
GS_OP(rsqrt, 1 / std::sqrt(x))
GS_OP(reciprocal, 1 / x)
GS_OP(exp, std::exp(x))
GS_OP(exp2, std::exp2(x))
GS_OP(expm1, std::expm1(x))
GS_OP(log, std::log(x))
GS_OP(log1p, std::log1p(x))
GS_OP(log2, std::log2(x))
GS_OP(log10, std::log10(x))
GS_OP(sin, std::sin(x))
GS_OP(cos, std::cos(x))
GS_OP(tan, std::tan(x))
GS_OP(asin, std::asin(x))
GS_OP(acos, std::acos(x))
GS_OP(atan, std::atan(x))
GS_OP(sinh, std::sinh(x))
GS_OP(cosh, std::cosh(x))
GS_OP(tanh, std::tanh(x))
GS_OP(sigmoid, sigmoid_at(x))
GS_OP(erf, std::erf(x))
GS_OP(erfc, std::erfc(x))
GS_OP(floor, std::floor(x))
GS_OP(ceil, std::ceil(x))
GS_OP(round, std::nearbyint(x))
GS_OP(trunc, std::trunc(x))
GS_OP(leaky_relu, x > 0 ? x : p * x)
GS_OP(elu, elu_at(x, p))
GS_OP(selu, kSeluScale* elu_at(x, kSeluAlpha))
GS_OP(gelu, times_vanishing(x, cdf_at(x)))
GS_OP(gelu_tanh, times_vanishing(x, gelu_tanh_cdf(x)))
GS_OP(silu, times_vanishing(x, sigmoid_at(x)))
GS_OP(softplus, x* p > q ? x : softplus_at(x * p) / p)
GS_OP(log_sigmoid, -softplus_at(-x))
GS_OP(mish, times_vanishing(x, std::tanh(softplus_at(x))))
GS_OP(softsign, x / (1 + std::fabs(x)))
GS_OP(hardsigmoid, limited(x + 3, 0, 6) / 6)
GS_OP(hardswish, x* limited(x + 3, 0, 6) / 6)
#undef GS_OP
#define GS_ROW(op, dtype)                                                                 \
  void op##_##dtype(const UnaryRun& run) {                                                \
    using T = CppType<DType::dtype>;                                                      \
    each<T, T>(run, [&](double x) { return T(op##_at(x, run.params.p, run.params.q)); }); \
  }
#include "kernels/elementwise/unary_float.inc"
#undef GS_ROW

// ---- two inputs, float and double; in *_backward, a is the incoming gradient ----
#define GS_OP(op, ...)                                                 \
  static double op##_at(double a, double b, [[maybe_unused]] double p, \
                        [[maybe_unused]] double q) {                   \
    return __VA_ARGS__;                                                \
  }
GS_OP(add, a + b)
GS_OP(sub, a - b)
GS_OP(mul, a* b)
GS_OP(div, a / b)
GS_OP(maximum, nan_or(a, b, a > b ? a : b))
GS_OP(minimum, nan_or(a, b, a < b ? a : b))
GS_OP(floor_divide, b == 0 ? a / b : floor_quotient(a, b))
GS_OP(remainder, remainder_at(a, b))
GS_OP(fmod, std::fmod(a, b))
GS_OP(pow, std::pow(a, b))
GS_OP(atan2, std::atan2(a, b))
GS_OP(relu_backward_y, b > 0 ? a : 0)
GS_OP(sigmoid_backward_y, a * b * (1 - b))
GS_OP(tanh_backward_y, a * (1 - b * b))
GS_OP(leaky_relu_backward_x, b > 0 ? a : p * a)
GS_OP(elu_backward_x, b > 0 ? a : a * p * std::exp(b))
GS_OP(selu_backward_x, a * kSeluScale * (b > 0 ? 1 : kSeluAlpha * std::exp(b)))
GS_OP(gelu_backward_x, a*(cdf_at(b) + times_vanishing(b, density_at(b))))
GS_OP(gelu_tanh_backward_x, [=] {
  const auto s = double(gelu_tanh_cdf(b)), not_s = double(gelu_tanh_cdf(-b));
  const double slope = std::sqrt(2 / kPi) * (1 + 3 * 0.044715 * b * b);
  return a * (s + times_vanishing(b * 2 * slope, s * not_s));
}())
GS_OP(silu_backward_x, a*(sigmoid_at(b) + times_vanishing(b, sigmoid_at(b) * sigmoid_at(-b))))
GS_OP(softplus_backward_x, b* p > q ? a : a * sigmoid_at(b * p))
GS_OP(log_sigmoid_backward_x, a* sigmoid_at(-b))
GS_OP(mish_backward_x, [=] {
  const double t = std::tanh(softplus_at(b));
  return a * (t + times_vanishing(b, sigmoid_at(b) * (1 - t * t)));
}())
GS_OP(clamp_backward_x, b<p || b> q ? 0 : a)
GS_OP(hardsigmoid_backward_x, std::fabs(b) < 3 ? a / 6 : 0)
GS_OP(hardswish_backward_x, !(b < 3) ? a : b > -3 ? a * (b / 3 + 0.5) : 0)
#undef GS_OP
#define GS_ROW(op, dtype)                                                                         \
  void op##_##dtype(const BinaryRun& run) {                                                       \
    using T = CppType<DType::dtype>;                                                              \
    each<T, T>(run,                                                                               \
               [&](double a, double b) { return T(op##_at(a, b, run.params.p, run.params.q)); }); \
  }
#include "kernels/elementwise/binary_float.inc"
#undef GS_ROW

}  // namespace gradsmith::kernels::reference
