// Elementary functions on Vec<float> and Vec<double>, written once for all targets.
//
// exp expm1 log log1p log2 log10 pow sin cos tanh sigmoid softplus erf erfc gelu silu ... follow
// the C library's rules for infinities, NaN, denormals and signed zeros. tests/cpp/math_check.cpp
// bounds the largest error of each, and README.md beside this file lists what was measured.
#pragma once
#include "kernels/simd/math_coefficients.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// ln 2 in two parts; the first has so few bits that n * kLn2High is exact.
template <class T>
struct Constants;
template <>
struct Constants<float> {
  static constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  static constexpr float kExpMax = 89.0f, kExpMin = -104.0f;  // beyond: infinity, zero
  static constexpr float kExpm1Min = -18.0f;                  // below: -1
  static constexpr float kMinNormal = 1.17549435e-38f, kTiny = 1e-8f;
};
template <>
struct Constants<double> {
  static constexpr double kLn2High = 6.93147180369123816490e-01;
  static constexpr double kLn2Low = 1.90821492927058770002e-10;
  static constexpr double kExpMax = 710.0, kExpMin = -746.0;
  static constexpr double kExpm1Min = -38.0;
  static constexpr double kMinNormal = 2.2250738585072014e-308, kTiny = 1e-17;
};
template <class T>
inline constexpr T kInfinity = T(__builtin_inff());

// c[0] + c[1] x + c[2] x^2 + ...
template <class T, int n>
GS_INLINE Vec<T> horner(Vec<T> x, const T (&c)[n]) {
  Vec<T> sum = c[n - 1];
#pragma GCC unroll 16
  for (int i = n - 2; i >= 0; --i) sum = fma(sum, x, Vec<T>(c[i]));
  return sum;
}

// a * b = high + low, exactly (but for underflow).
template <class V>
struct Pair {
  V high, low;
};
GS_INLINE Pair<F32> exact_product(F32 a, F32 b) {
  const F32 high = a * b;
  if constexpr (kFusedFma) return {high, fma(a, b, -high)};
  const F64 lo = widen_lo(a) * widen_lo(b) - widen_lo(high);
  const F64 hi = widen_hi(a) * widen_hi(b) - widen_hi(high);
  return {high, narrow(lo, hi)};
}
GS_INLINE Pair<F64> exact_product(F64 a, F64 b) {
  const F64 high = a * b;
  if constexpr (kFusedFma) return {high, fma(a, b, -high)};
  const Int<double> top = Int<double>::set(~std::uint64_t(0) << 27);  // 26 bits: products are exact
  const F64 a1 = as_float(as_int(a) & top), a2 = a - a1;
  const F64 b1 = as_float(as_int(b) & top), b2 = b - b1;
  return {high, a2 * b2 - (((high - a1 * b1) - a2 * b1) - a1 * b2)};
}
template <class T>
GS_INLINE Pair<Vec<T>> exact_sum(Vec<T> a, Vec<T> b) {
  const Vec<T> sum = a + b, b_part = sum - a;
  return {sum, (a - (sum - b_part)) + (b - b_part)};
}

// c - a * b, rounded once, where a * b is close to c.
template <class T>
GS_INLINE Vec<T> residual(Vec<T> a, Vec<T> b, Vec<T> c) {
  if constexpr (kFusedFma) return fnma(a, b, c);
  const Pair<Vec<T>> product = exact_product(a, b);
  return (c - product.high) - product.low;
}

// x = n ln2 + r with |r| <= ln2/2, and e^r - 1.
template <class T>
struct ExpParts {
  Vec<T> n, expm1_r;
};
template <class T>
GS_INLINE ExpParts<T> exp_parts(Vec<T> x, Vec<T> x_low) {
  using C = Constants<T>;
  const Vec<T> shift = T(1.5 * FloatBits<T>::kInteger);
  const Vec<T> n = fma(x, Vec<T>(T(1.4426950408889634)), shift) - shift;
  const Vec<T> r = fnma(n, Vec<T>(C::kLn2High), x) + fnma(n, Vec<T>(C::kLn2Low), x_low);
  return {n, fma(r * r, horner(r, MathCoefficients<T>::exp), r)};
}
template <class T>
GS_INLINE ExpParts<T> exp_parts(Vec<T> x) {
  using C = Constants<T>;
  const Vec<T> shift = T(1.5 * FloatBits<T>::kInteger);
  const Vec<T> n = fma(x, Vec<T>(T(1.4426950408889634)), shift) - shift;
  const Vec<T> r = fnma(n, Vec<T>(C::kLn2Low), fnma(n, Vec<T>(C::kLn2High), x));
  return {n, fma(r * r, horner(r, MathCoefficients<T>::exp), r)};
}

// Second operands of min and max survive a NaN, so NaN passes through these clamps.
template <class T>
GS_INLINE Vec<T> clamp_nan(Vec<T> x, T low, T high) {
  return min(Vec<T>(high), max(Vec<T>(low), x));
}

template <class T>
GS_INLINE Vec<T> exp(Vec<T> x) {
  using C = Constants<T>;
  const auto [n, p] = exp_parts(clamp_nan(x, C::kExpMin, C::kExpMax));
  return scale2(p + T(1), n);
}

template <class T>
GS_INLINE Vec<T> exp2(Vec<T> x) {
  const Vec<T> clamped =
      sizeof(T) == 4 ? clamp_nan(x, T(-151), T(129)) : clamp_nan(x, T(-1076), T(1025));
  const Vec<T> n = round(clamped), r = (clamped - n) * T(0.6931471805599453);
  return scale2(fma(r * r, horner(r, MathCoefficients<T>::exp), r) + T(1), n);
}

// factor * e^x where e^x alone may be too small to be accurate. |x| < 174 (1400 in double).
template <class T>
GS_INLINE Vec<T> times_exp(Vec<T> factor, ExpParts<T> x) {
  return scale2(fma(factor, x.expm1_r, factor), x.n);
}
template <class T>
GS_INLINE Vec<T> times_exp(Pair<Vec<T>> factor, ExpParts<T> x) {
  // The low part counts for as much as a few last places of the high one: it needs its e^x too.
  const Vec<T> low = fma(factor.low, x.expm1_r, factor.low);
  Vec<T> rest;
  if constexpr (kFusedFma) {
    rest = fma(factor.high, x.expm1_r, low);
  } else {
    const Pair<Vec<T>> product = exact_product(factor.high, x.expm1_r);
    rest = product.high + (product.low + low);
  }
  return scale2(rest + factor.high, x.n);
}

// e^x for x <= 0 in parts, for results that are added to something near 1: below 1e-37 it may be
// off.
template <class T>
GS_INLINE Vec<T> small_exp(ExpParts<T> x) {
  if constexpr (kQuickScale) return scale2(x.expm1_r + T(1), x.n);
  const Vec<T> scale = pow2(max(Vec<T>(sizeof(T) == 4 ? T(-126) : T(-1022)), x.n));
  return fma(scale, x.expm1_r, scale);
}

template <class T>
GS_INLINE Vec<T> expm1(Vec<T> x) {
  using C = Constants<T>;
  const auto [n, p] = exp_parts(clamp_nan(x, C::kExpm1Min, C::kExpMax));
  const Vec<T> half_scale = pow2(n - T(1));  // half, because 2^n itself may be infinite
  const Vec<T> y = fma(half_scale, p, half_scale - T(0.5));
  return select(lt(abs(x), Vec<T>(C::kTiny)), x, y + y);
}

// x = m * 2^n with sqrt(1/2) <= m < sqrt(2), as log(1 + f) needs it.
template <class T>
struct LogParts {
  Vec<T> n, f;
};
template <class T>
GS_INLINE LogParts<T> log_parts(Vec<T> x) {
  using C = Constants<T>;
  Vec<T> m, n;
  if constexpr (kQuickScale) {  // denormal numbers have an exponent and a mantissa there
    m = mantissa(x);
    n = exponent(x);
  } else {
    constexpr T kRaise = sizeof(T) == 4 ? T(33554432.0) : T(18014398509481984.0);  // 2^25, 2^54
    const auto denormal = lt(x, Vec<T>(C::kMinNormal));
    const Vec<T> normal = select(denormal, x * kRaise, x);
    const Vec<T> raised = sizeof(T) == 4 ? T(25) : T(54);
    m = mantissa(normal);
    n = exponent(normal) - select(denormal, raised, Vec<T>(T(0)));
  }
  const auto upper = gt(m, Vec<T>(T(1.4142135623730951)));
  return {select(upper, n + T(1), n), select(upper, m * T(0.5), m) - T(1)};
}

// log(1 + f) = f - f^2/2 + low. With s = f / (2 + f), log(1 + f) = 2 atanh s.
template <class T>
GS_INLINE Vec<T> log1p_low(Vec<T> f, Vec<T> half_square) {
  const Vec<T> s = f / (f + T(2)), z = s * s;
  return s * fma(z, horner(z, MathCoefficients<T>::log), half_square);
}
template <class T>
GS_INLINE Vec<T> log_from(LogParts<T> parts) {
  using C = Constants<T>;
  const Vec<T> half_square = parts.f * parts.f * T(0.5);
  const Vec<T> low = fma(parts.n, Vec<T>(C::kLn2Low), log1p_low(parts.f, half_square));
  return fma(parts.n, Vec<T>(C::kLn2High), parts.f - (half_square - low));
}
// What a logarithm of x is where x is not positive and finite.
template <class T>
GS_INLINE Vec<T> log_special(Vec<T> x, Vec<T> result) {
  const Vec<T> infinity = kInfinity<T>;
  result = select(lt(x, infinity), result, x);  // +inf, NaN
  result = select(eq(x, T(0)), -infinity, result);
  return select(lt(x, T(0)), Vec<T>(T(__builtin_nanf(""))), result);
}

template <class T>
GS_INLINE Vec<T> log(Vec<T> x) {
  return log_special(x, log_from(log_parts(x)));
}

template <class T>
GS_INLINE Vec<T> log1p(Vec<T> x) {
  // f is corrected by what the rounding of 1 + x lost, so that it is x itself while n = 0.
  const Pair<Vec<T>> u = exact_sum(Vec<T>(T(1)), x);
  LogParts<T> parts = log_parts(u.high);
  const Vec<T> limit = sizeof(T) == 4 ? T(126) : T(1022);
  parts.f = fma(u.low, pow2(-min(parts.n, limit)), parts.f);
  const Vec<T> y = log_special(u.high, log_from(parts));
  return select(lt(abs(x), Vec<T>(Constants<T>::kTiny)), x, y);
}

// log2 and log10: the low part carries what rounding f - f^2/2 and the constant's end lose.
template <class T>
GS_INLINE Vec<T> log_base(Vec<T> x, T unit_high, T unit_low, T scale_high, T scale_low) {
  const LogParts<T> parts = log_parts(x);
  const Vec<T> half_square = parts.f * parts.f * T(0.5);
  const Vec<T> rest = log1p_low(parts.f, half_square);
  // Few enough bits in `high` for an exact product with scale_high.
  using U = typename FloatBits<T>::U;
  const auto top = Int<T>::set(~U(0) << (sizeof(T) == 4 ? 12 : 32));
  const Vec<T> high = as_float(as_int(parts.f - half_square) & top);
  const Vec<T> low = ((parts.f - high) - half_square) + rest;
  const Vec<T> small =
      fma(parts.n, Vec<T>(unit_low), fma(low, Vec<T>(scale_high), (high + low) * scale_low));
  const Pair<Vec<T>> sum = exact_sum(parts.n * unit_high, high * scale_high);
  return log_special(x, sum.high + (sum.low + small));
}
GS_INLINE F32 log2(F32 x) { return log_base<float>(x, 1.0f, 0.0f, 0x1.714p+0f, 0x1.47652cp-12f); }
GS_INLINE F64 log2(F64 x) {
  return log_base<double>(x, 1.0, 0.0, 0x1.71547p+0, 0x1.94ae0bf85ddf4p-22);
}
GS_INLINE F32 log10(F32 x) {
  return log_base<float>(x, 0x1.344p-2f, 0x1.3509f8p-18f, 0x1.bc8p-2f, 0x1.bd8a94p-13f);
}
GS_INLINE F64 log10(F64 x) {
  return log_base<double>(x, 0x1.34413p-2, 0x1.427de7fbcc47cp-24, 0x1.bcb7bp-2,
                          0x1.526e50e32a6abp-26);
}

template <class T>
GS_INLINE Vec<T> rsqrt(Vec<T> x) {
  return T(1) / sqrt(x);
}

template <class T>
GS_INLINE Vec<T> tanh(Vec<T> x) {
  constexpr T kOne = sizeof(T) == 4 ? T(10) : T(20);  // tanh rounds to 1 from here on
  const Vec<T> magnitude = min(Vec<T>(kOne), abs(x));
  const auto [n, p] = exp_parts(magnitude + magnitude);
  const Vec<T> scale = pow2(n), e = fma(scale, p, scale - T(1));  // exp(2 magnitude) - 1
  Vec<T> y = e / (e + T(2));
  if constexpr (sizeof(T) == 4) {  // for small x three roundings are too many
    const Vec<T> square = magnitude * magnitude;
    const Vec<T> low = horner(square, MathCoefficients<T>::tanh);
    y = select(lt(magnitude, Vec<T>(T(0.55))), fma(magnitude * square, low, magnitude), y);
  }
  return copysign(y, x);
}

// -|x|, but no less than `least`.
template <class T>
GS_INLINE Vec<T> minus_abs(Vec<T> x, T least) {
  const auto sign = as_int(Vec<T>(T(-0.0)));
  return max(Vec<T>(least), as_float(as_int(x) | sign));
}

// factor * sigmoid(u), given exp(-|u|) in parts. With e = exp(-|u|) that is factor / (1 + e) for
// u >= 0 and factor * e / (1 + e) below, so that no exponential overflows, and e joins last, so
// that it loses no digits to underflow. The quotient has a low part: what the sum, the reciprocal
// and the product rounded off. A factor of -0 gives 0.
template <class T>
GS_INLINE Vec<T> times_sigmoid(Vec<T> factor, Mask<T> negative, ExpParts<T> minus_u) {
  const Vec<T> e = small_exp(minus_u), sum = e + T(1), sum_low = e - (sum - T(1));
  const Vec<T> inverse = T(1) / sum, quotient = factor * inverse;
  const Vec<T> rest = fnma(quotient, sum_low, residual(quotient, sum, factor));
  const Vec<T> zero = T(0);
  return times_exp<T>({quotient, rest * inverse},
                      {select(negative, minus_u.n, zero), select(negative, minus_u.expm1_r, zero)});
}

template <class T>
GS_INLINE Vec<T> sigmoid(Vec<T> x) {
  const auto parts = exp_parts(minus_abs(x, Constants<T>::kExpMin));
  return times_sigmoid(Vec<T>(T(1)), lt(x, T(0)), parts);
}

template <class T>
GS_INLINE Vec<T> silu(Vec<T> x) {
  constexpr T kLow = sizeof(T) == 4 ? T(-120) : T(-800);  // zero there, also for -infinity
  constexpr T kHigh = 100;                                // x from here on
  const Vec<T> y =
      times_sigmoid(clamp_nan(x, kLow, kHigh), lt(x, T(0)), exp_parts(minus_abs(x, kLow)));
  return select(gt(x, Vec<T>(kHigh)), x, copysign(y, x));
}
// d silu / dx = s (1 + x (1 - s))
template <class T>
GS_INLINE Vec<T> silu_slope(Vec<T> x) {
  const Vec<T> e = exp(-abs(x));
  const Vec<T> near = T(1) / (e + T(1)), far = e * near;
  const auto negative = lt(x, T(0));
  const Vec<T> s = select(negative, far, near), not_s = select(negative, near, far);
  const Vec<T> finite = clamp_nan(x, T(-1000), T(1000));
  return s * fma(finite, not_s, Vec<T>(T(1)));
}

// log(1 + e^x), without overflow: log1p of e = exp(-|x|), which is neither negative nor above 1.
template <class T>
GS_INLINE Vec<T> softplus(Vec<T> x) {
  const Vec<T> e = exp(minus_abs(x, Constants<T>::kExpMin));
  const Vec<T> u = e + T(1), u_low = e - (u - T(1));
  const auto upper = gt(u, Vec<T>(T(1.4142135623730951)));
  const Vec<T> f = select(upper, u * T(0.5), u) - T(1);
  const Vec<T> n = select(upper, Vec<T>(T(1)), Vec<T>(T(0)));
  const Vec<T> log_u = log_from<T>({n, f + select(upper, u_low * T(0.5), u_low)});
  return max(Vec<T>(T(0)), x) + select(lt(e, Vec<T>(Constants<T>::kTiny)), e, log_u);
}
template <class T>
GS_INLINE Vec<T> softplus(Vec<T> x, T beta, T threshold) {
  const Vec<T> scaled = x * beta;
  return select(gt(scaled, Vec<T>(threshold)), x, softplus(scaled) / Vec<T>(beta));
}

// x tanh(softplus x) = x w / (w + 2) with w = e^x (e^x + 2).
template <class T>
GS_INLINE Vec<T> mish(Vec<T> x) {
  const Vec<T> e = exp(min(Vec<T>(T(40)), x)), w = e * (e + T(2));
  const Vec<T> low = sizeof(T) == 4 ? T(-120) : T(-800);  // zero there, also for -infinity
  return select(gt(x, T(40)), x, max(low, x) * (w / (w + T(2))));
}
// t + x s (1 - t^2) with t = tanh(softplus x), s = sigmoid x
template <class T>
GS_INLINE Vec<T> mish_slope(Vec<T> x) {
  const Vec<T> z = clamp_nan(x, T(-1000), T(40));
  const Vec<T> e = exp(z), w = e * (e + T(2)), t = w / (w + T(2));
  return fma(z * sigmoid(z), fnma(t, t, Vec<T>(T(1))), t);
}

template <class T>
GS_INLINE Vec<T> elu(Vec<T> x, T alpha) {
  return select(gt(x, T(0)), x, expm1(x) * alpha);
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA

#include "kernels/simd/math_normal.h"
#include "kernels/simd/math_trig.h"
#if defined(GS_ISA_IS_avx512) && !defined(GS_EMULATED)
#include "kernels/simd/math_avx512.h"
#endif
