// AVX-512 F, BW, DQ, VL: 16 floats, 8 doubles. With GS_EMULATED through SIMDe.
#pragma once
#if defined(GS_EMULATED)
#include <cstdint>

#include "kernels/simd/avx512_emulated.h"
#else
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12's own "undefined" vectors
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#include "kernels/simd/half_bits.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

#if defined(GS_EMULATED)
inline constexpr bool kFusedFma = false, kQuickScale = false;
#else
inline constexpr bool kFusedFma = true, kQuickScale = true;
#endif

template <>
struct Mask<float> {
  __mmask16 v;
  GS_INLINE static Mask first(int n) { return {__mmask16((1u << n) - 1u)}; }
  friend GS_INLINE Mask operator&(Mask a, Mask b) { return {__mmask16(a.v & b.v)}; }
  friend GS_INLINE Mask operator|(Mask a, Mask b) { return {__mmask16(a.v | b.v)}; }
  friend GS_INLINE Mask operator^(Mask a, Mask b) { return {__mmask16(a.v ^ b.v)}; }
  friend GS_INLINE Mask operator!(Mask a) { return {__mmask16(~a.v)}; }
  friend GS_INLINE unsigned bits(Mask m) { return m.v; }
  friend GS_INLINE bool any(Mask m) { return m.v != 0; }
  friend GS_INLINE bool all(Mask m) { return m.v == 0xffffu; }
};
template <>
struct Mask<double> {
  __mmask8 v;
  GS_INLINE static Mask first(int n) { return {__mmask8((1u << n) - 1u)}; }
  friend GS_INLINE Mask operator&(Mask a, Mask b) { return {__mmask8(a.v & b.v)}; }
  friend GS_INLINE Mask operator|(Mask a, Mask b) { return {__mmask8(a.v | b.v)}; }
  friend GS_INLINE Mask operator^(Mask a, Mask b) { return {__mmask8(a.v ^ b.v)}; }
  friend GS_INLINE Mask operator!(Mask a) { return {__mmask8(~a.v)}; }
  friend GS_INLINE unsigned bits(Mask m) { return m.v; }
  friend GS_INLINE bool any(Mask m) { return m.v != 0; }
  friend GS_INLINE bool all(Mask m) { return m.v == 0xffu; }
};

template <>
struct Vec<float> {
  using T = float;
  using M = Mask<float>;
  using I = Int<float>;
  static constexpr int N = 16;
  __m512 v;

  Vec() = default;
  GS_INLINE Vec(__m512 x) : v(x) {}
  GS_INLINE Vec(float x) : v(_mm512_set1_ps(x)) {}
  GS_INLINE static Vec set(float x) { return Vec(x); }
  GS_INLINE static Vec zero() { return _mm512_setzero_ps(); }

  friend GS_INLINE Vec operator+(Vec a, Vec b) { return _mm512_add_ps(a.v, b.v); }
  friend GS_INLINE Vec operator-(Vec a, Vec b) { return _mm512_sub_ps(a.v, b.v); }
  friend GS_INLINE Vec operator*(Vec a, Vec b) { return _mm512_mul_ps(a.v, b.v); }
  friend GS_INLINE Vec operator/(Vec a, Vec b) { return _mm512_div_ps(a.v, b.v); }
  friend GS_INLINE Vec operator-(Vec a) { return _mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f)); }
  friend GS_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a.v, b.v, c.v); }
  friend GS_INLINE Vec fnma(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a.v, b.v, c.v); }
  friend GS_INLINE M lt(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
  friend GS_INLINE M le(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
  friend GS_INLINE M gt(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
  friend GS_INLINE M ge(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
  friend GS_INLINE M eq(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
  friend GS_INLINE M ne(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_NEQ_UQ)}; }
};

template <>
struct Vec<double> {
  using T = double;
  using M = Mask<double>;
  using I = Int<double>;
  static constexpr int N = 8;
  __m512d v;

  Vec() = default;
  GS_INLINE Vec(__m512d x) : v(x) {}
  GS_INLINE Vec(double x) : v(_mm512_set1_pd(x)) {}
  GS_INLINE static Vec set(double x) { return Vec(x); }
  GS_INLINE static Vec zero() { return _mm512_setzero_pd(); }

  friend GS_INLINE Vec operator+(Vec a, Vec b) { return _mm512_add_pd(a.v, b.v); }
  friend GS_INLINE Vec operator-(Vec a, Vec b) { return _mm512_sub_pd(a.v, b.v); }
  friend GS_INLINE Vec operator*(Vec a, Vec b) { return _mm512_mul_pd(a.v, b.v); }
  friend GS_INLINE Vec operator/(Vec a, Vec b) { return _mm512_div_pd(a.v, b.v); }
  friend GS_INLINE Vec operator-(Vec a) { return _mm512_xor_pd(a.v, _mm512_set1_pd(-0.0)); }
  friend GS_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_pd(a.v, b.v, c.v); }
  friend GS_INLINE Vec fnma(Vec a, Vec b, Vec c) { return _mm512_fnmadd_pd(a.v, b.v, c.v); }
  friend GS_INLINE M lt(Vec a, Vec b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ)}; }
  friend GS_INLINE M le(Vec a, Vec b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LE_OQ)}; }
  friend GS_INLINE M gt(Vec a, Vec b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_GT_OQ)}; }
  friend GS_INLINE M ge(Vec a, Vec b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_GE_OQ)}; }
  friend GS_INLINE M eq(Vec a, Vec b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_EQ_OQ)}; }
  friend GS_INLINE M ne(Vec a, Vec b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_NEQ_UQ)}; }
};

template <>
struct Int<float> {
  __m512i v;
  GS_INLINE static Int set(std::uint32_t x) { return {_mm512_set1_epi32(int(x))}; }
  friend GS_INLINE Int operator+(Int a, Int b) { return {_mm512_add_epi32(a.v, b.v)}; }
  friend GS_INLINE Int operator-(Int a, Int b) { return {_mm512_sub_epi32(a.v, b.v)}; }
  friend GS_INLINE Int operator&(Int a, Int b) { return {_mm512_and_si512(a.v, b.v)}; }
  friend GS_INLINE Int operator|(Int a, Int b) { return {_mm512_or_si512(a.v, b.v)}; }
  friend GS_INLINE Int operator^(Int a, Int b) { return {_mm512_xor_si512(a.v, b.v)}; }
  friend GS_INLINE F32 as_float(Int a) { return _mm512_castsi512_ps(a.v); }
};
template <>
struct Int<double> {
  __m512i v;
  GS_INLINE static Int set(std::uint64_t x) { return {_mm512_set1_epi64((long long)x)}; }
  friend GS_INLINE Int operator+(Int a, Int b) { return {_mm512_add_epi64(a.v, b.v)}; }
  friend GS_INLINE Int operator-(Int a, Int b) { return {_mm512_sub_epi64(a.v, b.v)}; }
  friend GS_INLINE Int operator&(Int a, Int b) { return {_mm512_and_si512(a.v, b.v)}; }
  friend GS_INLINE Int operator|(Int a, Int b) { return {_mm512_or_si512(a.v, b.v)}; }
  friend GS_INLINE Int operator^(Int a, Int b) { return {_mm512_xor_si512(a.v, b.v)}; }
  friend GS_INLINE F64 as_float(Int a) { return _mm512_castsi512_pd(a.v); }
};
GS_INLINE Int<float> as_int(F32 a) { return {_mm512_castps_si512(a.v)}; }
GS_INLINE Int<double> as_int(F64 a) { return {_mm512_castpd_si512(a.v)}; }
template <int k>
GS_INLINE Int<float> shl(Int<float> a) {
  return {_mm512_slli_epi32(a.v, k)};
}
template <int k>
GS_INLINE Int<double> shl(Int<double> a) {
  return {_mm512_slli_epi64(a.v, k)};
}
template <int k>
GS_INLINE Int<float> shr(Int<float> a) {
  return {_mm512_srli_epi32(a.v, k)};
}
template <int k>
GS_INLINE Int<double> shr(Int<double> a) {
  return {_mm512_srli_epi64(a.v, k)};
}

GS_INLINE F32 select(Mask<float> m, F32 a, F32 b) { return _mm512_mask_blend_ps(m.v, b.v, a.v); }
GS_INLINE F64 select(Mask<double> m, F64 a, F64 b) { return _mm512_mask_blend_pd(m.v, b.v, a.v); }
#if defined(GS_EMULATED)  // SIMDe's min and max need not return b for NaN
GS_INLINE F32 min(F32 a, F32 b) { return select(lt(a, b), a, b); }
GS_INLINE F64 min(F64 a, F64 b) { return select(lt(a, b), a, b); }
GS_INLINE F32 max(F32 a, F32 b) { return select(gt(a, b), a, b); }
GS_INLINE F64 max(F64 a, F64 b) { return select(gt(a, b), a, b); }
#else
GS_INLINE F32 min(F32 a, F32 b) { return _mm512_min_ps(a.v, b.v); }
GS_INLINE F64 min(F64 a, F64 b) { return _mm512_min_pd(a.v, b.v); }
GS_INLINE F32 max(F32 a, F32 b) { return _mm512_max_ps(a.v, b.v); }
GS_INLINE F64 max(F64 a, F64 b) { return _mm512_max_pd(a.v, b.v); }
#endif

GS_INLINE F32 load(const float* p) { return _mm512_loadu_ps(p); }
GS_INLINE F64 load(const double* p) { return _mm512_loadu_pd(p); }
GS_INLINE F32 load_n(const float* p, int n, float fill = 0) {
  return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), Mask<float>::first(n).v, p);
}
GS_INLINE F64 load_n(const double* p, int n, double fill = 0) {
  return _mm512_mask_loadu_pd(_mm512_set1_pd(fill), Mask<double>::first(n).v, p);
}
GS_INLINE F32 load_where(const float* p, Mask<float> m) { return _mm512_maskz_loadu_ps(m.v, p); }
GS_INLINE F64 load_where(const double* p, Mask<double> m) { return _mm512_maskz_loadu_pd(m.v, p); }
GS_INLINE void store(float* p, F32 v) { _mm512_storeu_ps(p, v.v); }
GS_INLINE void store(double* p, F64 v) { _mm512_storeu_pd(p, v.v); }
GS_INLINE void store_n(float* p, F32 v, int n) {
  _mm512_mask_storeu_ps(p, Mask<float>::first(n).v, v.v);
}
GS_INLINE void store_n(double* p, F64 v, int n) {
  _mm512_mask_storeu_pd(p, Mask<double>::first(n).v, v.v);
}

#if defined(GS_EMULATED)
GS_INLINE void stream_line(void* y, const void* x) { __builtin_memcpy(y, x, 64); }
GS_INLINE void stream_fence() {}
#else
GS_INLINE void stream_line(void* y, const void* x) {
  _mm512_stream_si512((__m512i*)y, _mm512_loadu_si512(x));
}
GS_INLINE void stream_fence() { _mm_sfence(); }
#endif

GS_INLINE F32 abs(F32 a) { return as_float(as_int(a) & Int<float>::set(~std::uint32_t(0) >> 1)); }
GS_INLINE F64 abs(F64 a) { return as_float(as_int(a) & Int<double>::set(~std::uint64_t(0) >> 1)); }
#if defined(GS_EMULATED)
GS_INLINE F32 sqrt(F32 a) { return _mm512_sqrt_ps(a.v); }
#else
// Correctly rounded (every float compared), in half the time of vsqrtps: 14 bits of 1 / sqrt(a), a
// step of Newton's for the root and for h = 1 / (2 root), and what a - root^2, which is exact from
// 2^-76 on, still asks for. Vectors with zeros or other numbers out of that range take vsqrtps.
GS_INLINE F32 sqrt(F32 a) {
  constexpr std::uint32_t kLeast = 51u << 23, kInfinite = 255u << 23;
  const __m512i above = _mm512_sub_epi32(_mm512_castps_si512(a.v), _mm512_set1_epi32(kLeast));
  if (_mm512_cmpge_epu32_mask(above, _mm512_set1_epi32(kInfinite - kLeast)) != 0) [[unlikely]]
    return _mm512_sqrt_ps(a.v);
  const F32 y = _mm512_rsqrt14_ps(a.v);
  const F32 g = a * y, h = y * 0.5f, r = fnma(g, h, F32(0.5f));
  const F32 root = fma(g, r, g);
  return fma(fnma(root, root, a), fma(h, r, h), root);
}
#endif
GS_INLINE F64 sqrt(F64 a) { return _mm512_sqrt_pd(a.v); }
inline constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
inline constexpr int kTowardZero = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
inline constexpr int kDown = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
inline constexpr int kUp = _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC;
GS_INLINE F32 round(F32 a) { return _mm512_roundscale_ps(a.v, kNearest); }
GS_INLINE F64 round(F64 a) { return _mm512_roundscale_pd(a.v, kNearest); }
GS_INLINE F32 floor(F32 a) { return _mm512_roundscale_ps(a.v, kDown); }
GS_INLINE F64 floor(F64 a) { return _mm512_roundscale_pd(a.v, kDown); }
GS_INLINE F32 ceil(F32 a) { return _mm512_roundscale_ps(a.v, kUp); }
GS_INLINE F64 ceil(F64 a) { return _mm512_roundscale_pd(a.v, kUp); }
GS_INLINE F32 trunc(F32 a) { return _mm512_roundscale_ps(a.v, kTowardZero); }
GS_INLINE F64 trunc(F64 a) { return _mm512_roundscale_pd(a.v, kTowardZero); }

#if !defined(GS_EMULATED)
GS_INLINE F32 scale2(F32 v, F32 n) { return _mm512_scalef_ps(v.v, n.v); }
GS_INLINE F64 scale2(F64 v, F64 n) { return _mm512_scalef_pd(v.v, n.v); }
GS_INLINE F32 exponent(F32 v) { return _mm512_getexp_ps(v.v); }
GS_INLINE F64 exponent(F64 v) { return _mm512_getexp_pd(v.v); }
GS_INLINE F32 mantissa(F32 v) {
  return _mm512_getmant_ps(v.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
}
GS_INLINE F64 mantissa(F64 v) {
  return _mm512_getmant_pd(v.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
}
#endif

GS_INLINE __m256 low_half(F32 a) { return _mm512_castps512_ps256(a.v); }
GS_INLINE __m256 high_half(F32 a) {
  return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a.v), 1));
}
GS_INLINE float hsum(F32 a) {
  const __m256 eight = _mm256_add_ps(low_half(a), high_half(a));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
GS_INLINE double hsum(F64 a) {
  const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(a.v), _mm512_extractf64x4_pd(a.v, 1));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}
GS_INLINE float hmax(F32 a) {
  const __m256 eight = _mm256_max_ps(low_half(a), high_half(a));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
GS_INLINE double hmax(F64 a) {
  const __m256d four = _mm256_max_pd(_mm512_castpd512_pd256(a.v), _mm512_extractf64x4_pd(a.v, 1));
  const __m128d two = _mm_max_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_max_sd(two, _mm_unpackhi_pd(two, two)));
}

GS_INLINE F64 widen_lo(F32 a) { return _mm512_cvtps_pd(low_half(a)); }
GS_INLINE F64 widen_hi(F32 a) { return _mm512_cvtps_pd(high_half(a)); }
GS_INLINE F32 narrow(F64 lo, F64 hi) {
  const __m512d low = _mm512_castps_pd(_mm512_castps256_ps512(_mm512_cvtpd_ps(lo.v)));
  return _mm512_castpd_ps(_mm512_insertf64x4(low, _mm256_castps_pd(_mm512_cvtpd_ps(hi.v)), 1));
}

#if defined(GS_ISA_IS_avx512_bf16)
#if defined(GS_EMULATED)
GS_INLINE F32 dot_pairs(F32 a, F32 b, F32 sum) {  // rounded once: double holds the products
  const Int<float> high = Int<float>::set(0xffff0000u);
  const F32 factors[4] = {as_float(as_int(a) & high), as_float(as_int(b) & high),
                          as_float(shl<16>(as_int(a))), as_float(shl<16>(as_int(b)))};
  float f[4][F32::N], sums[F32::N];
  for (int i = 0; i < 4; ++i) store(f[i], factors[i]);
  store(sums, sum);
  for (int i = 0; i < F32::N; ++i) {
    sums[i] = float(double(f[0][i]) * double(f[1][i]) + double(sums[i]));
    sums[i] = float(double(f[2][i]) * double(f[3][i]) + double(sums[i]));
  }
  return load(sums);
}
#else
GS_INLINE F32 dot_pairs(F32 a, F32 b, F32 sum) {
  return _mm512_dpbf16_ps(sum.v, (__m512bh)a.v, (__m512bh)b.v);
}
#endif
#endif
GS_INLINE F32 load_bf16(const std::uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
GS_INLINE void store_bf16(std::uint16_t* p, F32 v) {
  const Int<float> u = as_int(v);
  const Int<float> odd = shr<16>(u) & Int<float>::set(1);
  const F32 rounded = as_float(shr<16>(u + Int<float>::set(0x7fff) + odd));
  const F32 quiet = as_float(shr<16>(u) | Int<float>::set(0x40));
  const __m512i wide = as_int(select(ne(v, v), quiet, rounded)).v;
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(wide));
}
#if !defined(GS_EMULATED)
// GCC broadcasts an element that is used twice into a register, hence the assembly.
GS_INLINE F32 fma_element(const float* p, F32 b, F32 c) {
  asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c.v) : "v"(b.v), "m"(*p));
  return c;
}
GS_INLINE F64 fma_element(const double* p, F64 b, F64 c) {
  asm("vfmadd231pd %2%{1to8%}, %1, %0" : "+v"(c.v) : "v"(b.v), "m"(*p));
  return c;
}
#endif
#if defined(GS_EMULATED)
GS_INLINE F32 load_f16(const std::uint16_t* p) {
  float x[F32::N];
  for (int i = 0; i < F32::N; ++i) x[i] = f16_to_float(p[i]);
  return load(x);
}
GS_INLINE void store_f16(std::uint16_t* p, F32 v) {
  float x[F32::N];
  store(x, v);
  for (int i = 0; i < F32::N; ++i) p[i] = float_to_f16(x[i]);
}
#else
GS_INLINE F32 load_f16(const std::uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
}
GS_INLINE void store_f16(std::uint16_t* p, F32 v) {
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph(v.v, kNearest));
}
#endif

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
