// Operations of one input on float and double.
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/run.h"
#include "kernels/simd/math.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// The table: what each operation is, of a vector x (of T) and the parameters p and q.
#define GS_OP(name, ...)                                                   \
  template <class V, class T>                                              \
  GS_INLINE V name##_of(V x, [[maybe_unused]] T p, [[maybe_unused]] T q) { \
    return __VA_ARGS__;                                                    \
  }
#define GS_LIBRARY(name) \
  GS_OP(name, per_lane<T>([](T v) { return T(__builtin_##name(double(v))); }, x))

GS_OP(neg, -x)
GS_OP(abs, abs(x))
GS_OP(sign, select(gt(x, T(0)), V(T(1)), select(lt(x, T(0)), V(T(-1)), V(T(0)))))
GS_OP(square, x* x)
GS_OP(sqrt, sqrt(x))
GS_OP(rsqrt, rsqrt(x))
GS_OP(reciprocal, T(1) / x)
GS_OP(exp, exp(x))
GS_OP(exp2, exp2(x))
GS_OP(expm1, expm1(x))
GS_OP(log, log(x))
GS_OP(log1p, log1p(x))
GS_OP(log2, log2(x))
GS_OP(log10, log10(x))
GS_OP(sin, sin(x))
GS_OP(cos, cos(x))
GS_LIBRARY(tan)
GS_LIBRARY(asin)
GS_LIBRARY(acos)
GS_LIBRARY(atan)
GS_LIBRARY(sinh)
GS_LIBRARY(cosh)
GS_OP(tanh, tanh(x))
GS_OP(sigmoid, sigmoid(x))
GS_OP(erf, erf(x))
GS_OP(erfc, erfc(x))
GS_OP(floor, floor(x))
GS_OP(ceil, ceil(x))
GS_OP(round, round(x))
GS_OP(trunc, trunc(x))
GS_OP(relu, max(V(T(0)), x))
GS_OP(clamp, clamp_nan(x, p, q))
GS_OP(leaky_relu, select(gt(x, T(0)), x, x* p))
GS_OP(elu, elu(x, p))
GS_OP(selu, elu(x, T(1.6732632423543772)) * T(1.0507009873554805))
GS_OP(gelu, gelu(x))
GS_OP(gelu_tanh, gelu_tanh(x))
GS_OP(silu, silu(x))
GS_OP(softplus, softplus(x, p, q))
GS_OP(log_sigmoid, -softplus(-x))
GS_OP(mish, mish(x))
GS_OP(softsign, x / (abs(x) + T(1)))
GS_OP(hardsigmoid, clamp_nan(x + T(3), T(0), T(6)) / V(T(6)))
GS_OP(hardswish, x* clamp_nan(x + T(3), T(0), T(6)) / V(T(6)))
#undef GS_OP
#undef GS_LIBRARY

}  // namespace

#define GS_ROW(op, dtype)                                                                     \
  void op##_##dtype(const UnaryRun& run) {                                                    \
    using T = CppType<DType::dtype>;                                                          \
    const T p = T(run.params.p), q = T(run.params.q);                                         \
    const auto f = [p, q](Vec<T> x) GS_LAMBDA_INLINE { return op##_of(x, p, q); };            \
    run_unary<T, T>(run, [f](std::int64_t n, T* y, const T* x) { map_vectors(n, y, x, f); }); \
  }
#include "kernels/elementwise/unary_float.inc"
#undef GS_ROW

}  // namespace gradsmith::kernels::GS_ISA
