// The normal distribution's functions: erf, erfc, GELU. One approximation serves them all,
//
//     Phi(-z) = exp(-z^2/2) * mills(z)   for z >= 0,
//
// where mills is smooth and close to 1/z, so that a rational function has a small relative error
// everywhere. z^2 is kept in two parts: exp turns its absolute error into a relative one.
#pragma once
#include "kernels/simd/math.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

template <class T>
GS_INLINE Vec<T> mills(Vec<T> z) {
  using C = MathCoefficients<T>;
  return horner(z, C::mills_p) / horner(z, C::mills_q);
}

// exp(-x^2/2), which is zero beyond the limit.
template <class T>
GS_INLINE ExpParts<T> bell_parts(Vec<T> z) {
  const auto [high, low] = exact_product(z, z * T(-0.5));
  return exp_parts(high, low);
}
template <class T>
inline constexpr T kNormalLimit = sizeof(T) == 4 ? T(15) : T(39);

template <class T>
GS_INLINE Vec<T> erf(Vec<T> x) {
  const Vec<T> a = min(Vec<T>(sizeof(T) == 4 ? T(4) : T(6)), abs(x)), square = a * a;
  const Vec<T> small = fma(x, horner(square, MathCoefficients<T>::erf), x);
  const Vec<T> tail = exp_of_negative(-square) * mills(a * T(1.4142135623730951));
  return select(lt(a, T(1)), small, copysign(fnma(tail, Vec<T>(T(2)), Vec<T>(T(1))), x));
}
template <class T>
GS_INLINE Vec<T> erfc(Vec<T> x) {
  const Vec<T> a = min(Vec<T>(sizeof(T) == 4 ? T(10.5) : T(27.5)), abs(x));
  const auto [high, low] = exact_product(a, -a);
  const Vec<T> twice = mills(a * T(1.4142135623730951)) * T(2);
  const Vec<T> tail = times_exp(twice, exp_parts(high, low));
  return select(lt(x, T(0)), T(2) - tail, tail);
}

// x * Phi(x). For x >= 0 that is x - x * Phi(-x).
template <class T>
GS_INLINE Vec<T> gelu(Vec<T> x) {
  const Vec<T> z = min(Vec<T>(kNormalLimit<T>), abs(x));
  const Vec<T> tail = times_exp(z * mills(z), bell_parts(z));
  return select(lt(x, T(0)), -tail, x - tail);
}
// Phi(x) + x * exp(-x^2/2) / sqrt(2 pi)
template <class T>
GS_INLINE Vec<T> gelu_slope(Vec<T> x) {
  const Vec<T> z = min(Vec<T>(kNormalLimit<T>), abs(x));
  const Vec<T> m = mills(z), density = z * T(0.3989422804014327);
  const Vec<T> low = times_exp(m - density, bell_parts(z));  // at -z
  return select(lt(x, T(0)), low, T(1) - low);
}

// GELU's tanh form, 0.5 x (1 + tanh u) = x * sigmoid(2u) with 2u = x (a + b x^2), in two parts.
template <class T>
struct GeluTanh;
template <>
struct GeluTanh<float> {
  static constexpr float a = 0x1.988454p+0f, a_low = -0x1.857936p-25f;
  static constexpr float b = 0x1.2444f2p-4f, b_low = 0x1.49b16ap-29f;
  static constexpr float kLimit = 11.0f;  // exp(-|2u|) is zero from here on
};
template <>
struct GeluTanh<double> {
  static constexpr double a = 0x1.9884533d43651p+0, a_low = -0x1.cbc0d30ebfd15p-54;
  static constexpr double b = 0x1.2444f2a4d8b4bp-4, b_low = -0x1.6c843a29d1c70p-61;
  static constexpr double kLimit = 22.0;
};
// exp(-|2u|)
template <class T>
GS_INLINE ExpParts<T> gelu_tanh_exp(Vec<T> x) {
  using C = GeluTanh<T>;
  const Vec<T> z = min(Vec<T>(C::kLimit), abs(x));
  const Pair<Vec<T>> square = exact_product(z, z);
  const Pair<Vec<T>> cubic = exact_product(square.high, Vec<T>(C::b));
  const Vec<T> cubic_low =
      fma(square.low, Vec<T>(C::b), fma(square.high, Vec<T>(C::b_low), cubic.low));
  const Pair<Vec<T>> slope = exact_sum(Vec<T>(C::a), cubic.high);
  const Vec<T> slope_low = slope.low + (cubic_low + C::a_low);
  const Pair<Vec<T>> twice_u = exact_product(slope.high, -z);
  return exp_parts(twice_u.high, fnma(slope_low, z, twice_u.low));
}
template <class T>
GS_INLINE Vec<T> gelu_tanh(Vec<T> x) {
  const auto parts = gelu_tanh_exp(x);
  const Vec<T> scale = pow2(max(Vec<T>(sizeof(T) == 4 ? T(-126) : T(-1022)), parts.n));
  const Vec<T> denominator = fma(scale, parts.expm1_r, scale) + T(1);
  const auto negative = lt(x, T(0));
  const Vec<T> finite = max(Vec<T>(-GeluTanh<T>::kLimit), x);
  const Vec<T> factor = select(negative, finite, x) / denominator;
  return select(negative, times_exp(factor, parts), factor);
}
template <class T>
GS_INLINE Vec<T> gelu_tanh_slope(Vec<T> x) {
  using C = GeluTanh<T>;
  const Vec<T> e = times_exp(Vec<T>(T(1)), gelu_tanh_exp(x));
  const Vec<T> near = T(1) / (e + T(1)), far = e * near;
  const auto negative = lt(x, T(0));
  const Vec<T> s = select(negative, far, near), not_s = select(negative, near, far);
  const Vec<T> z = clamp_nan(x, -C::kLimit, C::kLimit);
  const Vec<T> slope = z * fma(z * z, Vec<T>(T(3) * C::b), Vec<T>(C::a));
  return s * fma(slope, not_s, Vec<T>(T(1)));
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
