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

// In double the ratio of two polynomials in z. In float (z + 2) mills(z), which lies between 0.45
// and 1, as a polynomial in t = b - a / (z + 2), from -1 to 1: the first term is the largest, so
// that the rounding errors of the others hardly count.
inline constexpr float kMillsShift = 2;  // of few bits: see times_mills
// As horner, but as a tree: a third of the latency, a little less accurate.
template <class T, int n>
GS_INLINE Vec<T> estrin(Vec<T> x, const T (&c)[n]) {
  Vec<T> part[(n + 1) / 2], power = x * x;
#pragma GCC unroll 16
  for (int i = 0; i < (n + 1) / 2; ++i) {
    part[i] = 2 * i + 1 < n ? fma(x, Vec<T>(c[2 * i + 1 < n ? 2 * i + 1 : 0]), Vec<T>(c[2 * i]))
                            : Vec<T>(c[2 * i]);
  }
#pragma GCC unroll 8
  for (int count = (n + 1) / 2; count > 1; count = (count + 1) / 2) {
#pragma GCC unroll 8
    for (int i = 0; i < count / 2; ++i) part[i] = fma(part[2 * i + 1], power, part[2 * i]);
    if (count % 2) part[count / 2] = part[count - 1];
    power = power * power;
  }
  return part[0];
}
GS_INLINE Pair<F32> mills_over(F32 inverse) {
  using C = MathCoefficients<float>;
  const F32 t = residual(inverse, F32(C::mills_scale), F32(C::mills_offset));
  const F32 first = C::mills_first, rest = fma(t, estrin(t, C::mills_rest), F32(C::mills_second));
  if constexpr (kFusedFma) {
    const F32 high = fma(t, rest, first);
    return {high, fma(t, rest, first - high)};
  }
  const Pair<F32> product = exact_product(t, rest);
  const F32 high = product.high + first;
  return {high, product.high - (high - first) + product.low};
}
GS_INLINE F32 mills(F32 z) {
  const F32 inverse = 1.0f / (z + kMillsShift);
  return mills_over(inverse).high * inverse;
}
GS_INLINE F64 mills(F64 z) {
  using C = MathCoefficients<double>;
  return horner(z, C::mills_p) / horner(z, C::mills_q);
}
// factor * mills(z + z_low), in float with a low part for what the sum, the reciprocal and the
// products rounded off.
GS_INLINE Pair<F32> times_mills(F32 factor, F32 z, F32 z_low) {
  const F32 sum = z + kMillsShift, sum_low = ((kMillsShift - sum) + z) + z_low;
  const F32 inverse = 1.0f / sum;
  const F32 off = fnma(inverse, sum_low, residual(inverse, sum, F32(1.0f)));
  // The polynomial was taken at the rounded reciprocal, too: near 1.8 / sum of it, relatively.
  const F32 error = fma(off, inverse * 1.8f, off);
  const Pair<F32> over = mills_over(inverse), top = exact_product(factor, over.high);
  const Pair<F32> high = exact_product(top.high, inverse);
  const F32 top_low = fma(factor, over.low, top.low);
  return {high.high, fma(high.high, error, fma(top_low, inverse, high.low))};
}
GS_INLINE Pair<F64> times_mills(F64 factor, F64 z, F64) { return {factor * mills(z), F64(0.0)}; }

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
  const Vec<T> tail = small_exp(exp_parts(-square)) * mills(a * T(1.4142135623730951));
  return select(lt(a, T(1)), small, copysign(fnma(tail, Vec<T>(T(2)), Vec<T>(T(1))), x));
}
template <class T>
GS_INLINE Vec<T> erfc(Vec<T> x) {
  constexpr T kRoot2 = T(1.4142135623730951), kRoot2Low = sizeof(T) == 4 ? T(2.4203235e-8) : T(0);
  const Vec<T> a = min(Vec<T>(sizeof(T) == 4 ? T(10.5) : T(27.5)), abs(x));
  const auto [high, low] = exact_product(a, -a);
  const auto z = exact_product(a, Vec<T>(kRoot2));
  const auto factor = times_mills(Vec<T>(T(2)), z.high, fma(a, Vec<T>(kRoot2Low), z.low));
  const Vec<T> tail = times_exp(factor, exp_parts(high, low));
  return select(lt(x, T(0)), T(2) - tail, tail);
}

// x * Phi(x). For x >= 0 that is x - x * Phi(-x).
template <class T>
GS_INLINE Vec<T> gelu(Vec<T> x) {
  const Vec<T> z = min(Vec<T>(kNormalLimit<T>), abs(x));
  const Vec<T> tail = times_exp(times_mills(z, z, Vec<T>(T(0))), bell_parts(z));
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
  constexpr T kLimit = GeluTanh<T>::kLimit;
  const Vec<T> y = times_sigmoid(clamp_nan(x, -kLimit, kLimit), lt(x, T(0)), gelu_tanh_exp(x));
  return select(gt(x, Vec<T>(kLimit)), x, copysign(y, x));
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
