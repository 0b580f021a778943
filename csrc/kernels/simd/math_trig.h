// sin, cos, pow. Rare arguments (huge angles) and double-precision powers go to the C library, one
// lane at a time; the others keep what they have without such neighbours.
#pragma once
#include "kernels/simd/math.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

template <class T, class Fn>
GS_INLINE Vec<T> per_lane(Fn fn, Vec<T> x) {
  T lanes[Vec<T>::N];
  store(lanes, x);
  for (T& lane : lanes) lane = fn(lane);
  return load(lanes);
}
template <class T, class Fn>
GS_INLINE Vec<T> per_lane(Fn fn, Vec<T> x, Vec<T> y) {
  T left[Vec<T>::N], right[Vec<T>::N];
  store(left, x);
  store(right, y);
  for (int i = 0; i < Vec<T>::N; ++i) left[i] = fn(left[i], right[i]);
  return load(left);
}

// x = (4k + quadrant) pi/2 + r with |r| <= pi/4.
template <class V>
struct Angle {
  V quadrant, r;
};
// pi/2 in three parts of 33 bits, so that n times a part is exact for n < 2^20.
GS_INLINE Angle<F64> reduce_angle(F64 x) {
  const F64 n = round(x * 0.6366197723675814);
  F64 r = fnma(n, F64(1.57079632673412561417e+00), x);
  r = fnma(n, F64(6.07710050630396597660e-11), r);
  r = fnma(n, F64(2.02226624879595063154e-21), r);
  return {n - floor(n * 0.25) * 4.0, r};
}
GS_INLINE Angle<F32> reduce_angle(F32 x) {
  const Angle<F64> lo = reduce_angle(widen_lo(x)), hi = reduce_angle(widen_hi(x));
  return {narrow(lo.quadrant, hi.quadrant), narrow(lo.r, hi.r)};
}

template <class T>
GS_INLINE Vec<T> sin_from(Angle<Vec<T>> angle) {
  using C = MathCoefficients<T>;
  const Vec<T> r = angle.r, square = r * r;
  const Vec<T> sine = fma(r * square, horner(square, C::sin), r);
  const Vec<T> half = square * T(0.5), one_minus = T(1) - half;  // what 1 - half loses goes back
  const Vec<T> cosine =
      one_minus + fma(square * square, horner(square, C::cos), (T(1) - one_minus) - half);
  const auto odd = eq(angle.quadrant, T(1)) | eq(angle.quadrant, T(3));
  const Vec<T> y = select(odd, cosine, sine);
  return select(ge(angle.quadrant, T(2)), -y, y);
}
template <class T>
inline constexpr T kAngleLimit = T(1 << 20);

template <class T>
GS_INLINE Vec<T> sin(Vec<T> x) {
  const Vec<T> y = select(eq(x, T(0)), x, sin_from(reduce_angle(x)));
  const auto small = lt(abs(x), Vec<T>(kAngleLimit<T>));
  if (all(small)) [[likely]]
    return y;
  return select(small, y, per_lane<T>([](T v) { return T(__builtin_sin(double(v))); }, x));
}
template <class T>
GS_INLINE Vec<T> cos(Vec<T> x) {
  Angle<Vec<T>> angle = reduce_angle(x);
  angle.quadrant = angle.quadrant + T(1);
  angle.quadrant = select(eq(angle.quadrant, T(4)), T(0), angle.quadrant);
  const Vec<T> y = sin_from(angle);
  const auto small = lt(abs(x), Vec<T>(kAngleLimit<T>));
  if (all(small)) [[likely]]
    return y;
  return select(small, y, per_lane<T>([](T v) { return T(__builtin_cos(double(v))); }, x));
}

// x^y for x > 0 through double, where y log x loses nothing that a float could show.
GS_INLINE F64 positive_power(F64 x, F64 y) { return exp(log_from(log_parts(x)) * y); }
GS_INLINE F32 pow(F32 x, F32 y) {
  const F32 infinity = kInfinity<float>, one = 1.0f, zero = 0.0f;
  const F32 base = abs(x);
  F32 p = narrow(positive_power(widen_lo(base), widen_lo(y)),
                 positive_power(widen_hi(base), widen_hi(y)));
  // |x| of 0, 1 or infinity: the power depends on the sign of y only.
  const auto upward = gt(y, zero);
  p = select(eq(base, zero), select(upward, zero, infinity), p);
  p = select(eq(base, infinity), select(upward, infinity, zero), p);
  p = select(eq(base, one), one, p);
  const auto integral = eq(trunc(y), y), halves = eq(trunc(y * 0.5f), y * 0.5f);
  const auto negative = lt(x, zero) | eq(one / x, -infinity);
  p = select(negative & integral & !halves, -p, p);
  const auto undefined = lt(x, zero) & gt(x, -infinity) & !integral;
  p = select(undefined | is_nan(x) | is_nan(y), F32(__builtin_nanf("")), p);
  return select(eq(y, zero) | eq(x, one), one, p);
}
GS_INLINE F64 pow(F64 x, F64 y) {
  return per_lane<double>([](double a, double b) { return __builtin_pow(a, b); }, x, y);
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
