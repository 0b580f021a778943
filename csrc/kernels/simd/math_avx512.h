// The float functions that matter most, once more for AVX-512: tables of 16 entries in registers.
//
// vpermps picks an entry per lane by the last four bits of an index, one instruction for any
// function cut into 16 pieces (math_tables.h); other targets need several. Every function keeps the
// rules of math.h, whose versions the other targets and double use, and the bounds of
// math_check.cpp, but not their bits.
#pragma once
#include "kernels/simd/math.h"
#include "kernels/simd/math_tables.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

GS_INLINE F32 pick(const float (&table)[16], F32 index) {
  return _mm512_permutexvar_ps(as_int(index).v, _mm512_load_ps(table));
}
// Adding it leaves the integer next to x in the last bits.
inline constexpr float kToInteger = 1.5f * FloatBits<float>::kInteger;

// The polynomial c[0] + d (c[1] + d (c[2] + ...)), d = x - at, as first + d * rest; the point and
// the coefficients are picked by the index.
struct Piece {
  F32 first, rest, d;
};
template <int n>
GS_INLINE Piece piece_at(F32 x, F32 index, const float (&at)[16], const float (&c)[n][16]) {
  const F32 d = x - pick(at, index);
  F32 sum = pick(c[n - 1], index);
#pragma GCC unroll 16
  for (int k = n - 2; k > 0; --k) sum = fma(sum, d, pick(c[k], index));
  return {pick(c[0], index), sum, d};
}
GS_INLINE F32 or_sign(F32 magnitude, F32 sign) {
  return as_float(as_int(magnitude) | (as_int(sign) & as_int(F32(-0.0f))));
}

// e^x = (high + low) 2^n, the sum in [0.97, 2.05]: n counts sixteenths, of which the table takes
// the last four bits and vscalefps the whole part.
struct TableExp {
  F32 high, low, n;
};
GS_INLINE F32 whole(TableExp e) { return scale2(e.high + e.low, e.n); }
GS_INLINE TableExp table_exp(F32 n, F32 index, F32 r) {
  const F32 p = fma(r * r, horner(r, tables::exp_rest), r);
  const F32 high = pick(tables::exp_high, index);
  return {high, fma(high, p, pick(tables::exp_low, index)), n};
}
inline constexpr float kToSixteenth = kToInteger / 16, kLog2E = 1.44269504f;
// -1e5 < x < 1e5, or any x if `any`.
template <bool any = false>
GS_INLINE TableExp table_exp(F32 x) {
  using C = Constants<float>;
  const F32 index = fma(x, F32(kLog2E), F32(kToSixteenth)), n = index - kToSixteenth;
  F32 r = fnma(n, F32(C::kLn2Low), fnma(n, F32(C::kLn2High), x));
  // Keeps r finite and the value positive where n is infinite anyway, or NaN.
  if constexpr (any) r = _mm512_range_ps(r.v, F32(0.03f).v, 2);  // the lesser magnitude
  return table_exp(n, index, r);
}
GS_INLINE TableExp table_exp(Pair<F32> x) {
  using C = Constants<float>;
  const F32 index = fma(x.high, F32(kLog2E), F32(kToSixteenth)), n = index - kToSixteenth;
  const F32 r = fnma(n, F32(C::kLn2High), x.high) + fnma(n, F32(C::kLn2Low), x.low);
  return table_exp(n, index, r);
}

GS_INLINE F32 exp(F32 x) { return whole(table_exp<true>(x)); }

// x = m 2^n with m in [3/4, 3/2), so that n = 0 around 1, where the logarithm is small. Zero,
// infinity, negative numbers and NaN come out right by the rules of the two instructions.
GS_INLINE F32 log(F32 x) {
  const F32 m = _mm512_getmant_ps(x.v, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
  const F32 n = exponent(x) - exponent(m), index = as_float(shr<19>(as_int(m)));
  const F32 r = fma(m, pick(tables::log_inverse, index), F32(-1.0f));
  const F32 whole = fma(n, F32(0.693147181f), pick(tables::log_of, index));
  return whole + fma(r * r, horner(r, tables::log_rest), r);
}

GS_INLINE F32 tanh(F32 x) {
  const F32 a = min(F32(9.02f), abs(x)), index = fma(a, F32(1 / 0.584f), F32(kToInteger));
  const auto [first, rest, d] = piece_at(a, index, tables::tanh_at, tables::tanh);
  return or_sign(fma(rest, d, first) + d, x);
}
GS_INLINE F32 erf(F32 x) {
  const F32 a = min(F32(4.0f), abs(x)), index = fma(a, F32(1 / 0.26f), F32(kToInteger));
  const auto [first, rest, d] = piece_at(a, index, tables::erf_at, tables::erf);
  return or_sign(fma(rest, d, first) + d, x);
}

// factor * sigmoid(u) from e^-|u|, as in math.h: a quotient of numbers with low parts, scaled last.
GS_INLINE F32 times_sigmoid(F32 factor, F32 u, TableExp minus_u) {
  const F32 e = whole(minus_u), sum = e + 1.0f, sum_low = e - (sum - 1.0f);
  const __mmask16 negative = _mm512_movepi32_mask(as_int(u).v);
  const F32 top =
      _mm512_mask_fmadd_ps(factor.v, negative, minus_u.high.v, (factor * minus_u.low).v);
  const F32 inverse = _mm512_rcp14_ps(sum.v), near = top * inverse;
  F32 over = fma(near, sum_low, F32(_mm512_fmsub_ps(near.v, sum.v, top.v)));
  over = _mm512_range_ps(over.v, F32(1e38f).v, 2);  // the lesser magnitude: infinity's is NaN
  const F32 y = fnma(over, inverse, near);
  return _mm512_mask_scalef_ps(y.v, negative, y.v, minus_u.n.v);
}
GS_INLINE F32 sigmoid(F32 x) {
  return times_sigmoid(1.0f, x, table_exp(minus_abs(x, Constants<float>::kExpMin)));
}
GS_INLINE F32 silu(F32 x) {
  constexpr float kLow = -120;  // zero there, also for -infinity
  return times_sigmoid(max(F32(kLow), x), x, table_exp(minus_abs(x, kLow)));
}

// log(1 + e) with e = exp(-|x|), which needs no 1 + e: see fit_tables.py.
GS_INLINE F32 softplus(F32 x) {
  const F32 e = whole(table_exp(minus_abs(x, Constants<float>::kExpMin))),
            index = fma(e, F32(15.0f), F32(kToInteger));
  const F32 r = fma(e, pick(tables::log1p_inverse, index), pick(tables::log1p_shift, index));
  const F32 rest = fma(r * r, horner(r, tables::log_rest), r);
  return max(F32(0.0f), x) + (pick(tables::log1p_of, index) + rest);
}

// x Phi(x) = max(x, 0) - z Phi(-z), z = |x|. The second term is exp(-z^2/2) times a smooth function
// with pieces as wide as z + 1 is large. From 14.6 on it is zero.
GS_INLINE F32 gelu(F32 x) {
  const F32 z = min(F32(14.6f), abs(x));
  const TableExp bell = table_exp(exact_product(z, z * -0.5f));
  const F32 index = as_float(shr<21>(as_int(z + 1.0f)));
  const auto [first, rest, d] = piece_at(z, index, tables::tail_at, tables::tail);
  const F32 tail = fma(rest, d, first), tail_low = fma(rest, d, first - tail);
  const F32 y = fma(tail, bell.high, fma(tail, bell.low, tail_low));
  return max(F32(-0.0f), x) - scale2(y, bell.n);
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
