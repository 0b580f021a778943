// AVX2 + FMA + F16C: 8 floats, 4 doubles.
#pragma once
#include <immintrin.h>

#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

inline constexpr bool kFusedFma = true, kQuickScale = false;

// A window of 8 over this, starting at 8 - n, is the mask of the first n lanes.
alignas(64) inline constexpr std::int32_t kFirst32[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
alignas(64) inline constexpr std::int64_t kFirst64[8] = {-1, -1, -1, -1};

template <>
struct Mask<float> {
  __m256 v;
  GS_INLINE static Mask first(int n) { return {_mm256_loadu_ps((const float*)(kFirst32 + 8 - n))}; }
  friend GS_INLINE Mask operator&(Mask a, Mask b) { return {_mm256_and_ps(a.v, b.v)}; }
  friend GS_INLINE Mask operator|(Mask a, Mask b) { return {_mm256_or_ps(a.v, b.v)}; }
  friend GS_INLINE Mask operator^(Mask a, Mask b) { return {_mm256_xor_ps(a.v, b.v)}; }
  friend GS_INLINE Mask operator!(Mask a) {
    return {_mm256_xor_ps(a.v, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))};
  }
  friend GS_INLINE unsigned bits(Mask m) { return unsigned(_mm256_movemask_ps(m.v)); }
  friend GS_INLINE bool any(Mask m) { return bits(m) != 0; }
  friend GS_INLINE bool all(Mask m) { return bits(m) == 0xffu; }
};
template <>
struct Mask<double> {
  __m256d v;
  GS_INLINE static Mask first(int n) {
    return {_mm256_loadu_pd((const double*)(kFirst64 + 4 - n))};
  }
  friend GS_INLINE Mask operator&(Mask a, Mask b) { return {_mm256_and_pd(a.v, b.v)}; }
  friend GS_INLINE Mask operator|(Mask a, Mask b) { return {_mm256_or_pd(a.v, b.v)}; }
  friend GS_INLINE Mask operator^(Mask a, Mask b) { return {_mm256_xor_pd(a.v, b.v)}; }
  friend GS_INLINE Mask operator!(Mask a) {
    return {_mm256_xor_pd(a.v, _mm256_castsi256_pd(_mm256_set1_epi32(-1)))};
  }
  friend GS_INLINE unsigned bits(Mask m) { return unsigned(_mm256_movemask_pd(m.v)); }
  friend GS_INLINE bool any(Mask m) { return bits(m) != 0; }
  friend GS_INLINE bool all(Mask m) { return bits(m) == 0xfu; }
};

template <>
struct Vec<float> {
  using T = float;
  using M = Mask<float>;
  using I = Int<float>;
  static constexpr int N = 8;
  __m256 v;

  Vec() = default;
  GS_INLINE Vec(__m256 x) : v(x) {}
  GS_INLINE Vec(float x) : v(_mm256_set1_ps(x)) {}
  GS_INLINE static Vec set(float x) { return Vec(x); }
  GS_INLINE static Vec zero() { return _mm256_setzero_ps(); }

  friend GS_INLINE Vec operator+(Vec a, Vec b) { return _mm256_add_ps(a.v, b.v); }
  friend GS_INLINE Vec operator-(Vec a, Vec b) { return _mm256_sub_ps(a.v, b.v); }
  friend GS_INLINE Vec operator*(Vec a, Vec b) { return _mm256_mul_ps(a.v, b.v); }
  friend GS_INLINE Vec operator/(Vec a, Vec b) { return _mm256_div_ps(a.v, b.v); }
  friend GS_INLINE Vec operator-(Vec a) { return _mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f)); }
  friend GS_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a.v, b.v, c.v); }
  friend GS_INLINE Vec fnma(Vec a, Vec b, Vec c) { return _mm256_fnmadd_ps(a.v, b.v, c.v); }
  friend GS_INLINE Vec min(Vec a, Vec b) { return _mm256_min_ps(a.v, b.v); }
  friend GS_INLINE Vec max(Vec a, Vec b) { return _mm256_max_ps(a.v, b.v); }
  friend GS_INLINE M lt(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
  friend GS_INLINE M le(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
  friend GS_INLINE M gt(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
  friend GS_INLINE M ge(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)}; }
  friend GS_INLINE M eq(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
  friend GS_INLINE M ne(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_NEQ_UQ)}; }
};

template <>
struct Vec<double> {
  using T = double;
  using M = Mask<double>;
  using I = Int<double>;
  static constexpr int N = 4;
  __m256d v;

  Vec() = default;
  GS_INLINE Vec(__m256d x) : v(x) {}
  GS_INLINE Vec(double x) : v(_mm256_set1_pd(x)) {}
  GS_INLINE static Vec set(double x) { return Vec(x); }
  GS_INLINE static Vec zero() { return _mm256_setzero_pd(); }

  friend GS_INLINE Vec operator+(Vec a, Vec b) { return _mm256_add_pd(a.v, b.v); }
  friend GS_INLINE Vec operator-(Vec a, Vec b) { return _mm256_sub_pd(a.v, b.v); }
  friend GS_INLINE Vec operator*(Vec a, Vec b) { return _mm256_mul_pd(a.v, b.v); }
  friend GS_INLINE Vec operator/(Vec a, Vec b) { return _mm256_div_pd(a.v, b.v); }
  friend GS_INLINE Vec operator-(Vec a) { return _mm256_xor_pd(a.v, _mm256_set1_pd(-0.0)); }
  friend GS_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_pd(a.v, b.v, c.v); }
  friend GS_INLINE Vec fnma(Vec a, Vec b, Vec c) { return _mm256_fnmadd_pd(a.v, b.v, c.v); }
  friend GS_INLINE Vec min(Vec a, Vec b) { return _mm256_min_pd(a.v, b.v); }
  friend GS_INLINE Vec max(Vec a, Vec b) { return _mm256_max_pd(a.v, b.v); }
  friend GS_INLINE M lt(Vec a, Vec b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ)}; }
  friend GS_INLINE M le(Vec a, Vec b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_LE_OQ)}; }
  friend GS_INLINE M gt(Vec a, Vec b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_GT_OQ)}; }
  friend GS_INLINE M ge(Vec a, Vec b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_GE_OQ)}; }
  friend GS_INLINE M eq(Vec a, Vec b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_EQ_OQ)}; }
  friend GS_INLINE M ne(Vec a, Vec b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_NEQ_UQ)}; }
};

template <>
struct Int<float> {
  __m256i v;
  GS_INLINE static Int set(std::uint32_t x) { return {_mm256_set1_epi32(int(x))}; }
  friend GS_INLINE Int operator+(Int a, Int b) { return {_mm256_add_epi32(a.v, b.v)}; }
  friend GS_INLINE Int operator-(Int a, Int b) { return {_mm256_sub_epi32(a.v, b.v)}; }
  friend GS_INLINE Int operator&(Int a, Int b) { return {_mm256_and_si256(a.v, b.v)}; }
  friend GS_INLINE Int operator|(Int a, Int b) { return {_mm256_or_si256(a.v, b.v)}; }
  friend GS_INLINE Int operator^(Int a, Int b) { return {_mm256_xor_si256(a.v, b.v)}; }
  friend GS_INLINE F32 as_float(Int a) { return _mm256_castsi256_ps(a.v); }
};
template <>
struct Int<double> {
  __m256i v;
  GS_INLINE static Int set(std::uint64_t x) { return {_mm256_set1_epi64x((long long)x)}; }
  friend GS_INLINE Int operator+(Int a, Int b) { return {_mm256_add_epi64(a.v, b.v)}; }
  friend GS_INLINE Int operator-(Int a, Int b) { return {_mm256_sub_epi64(a.v, b.v)}; }
  friend GS_INLINE Int operator&(Int a, Int b) { return {_mm256_and_si256(a.v, b.v)}; }
  friend GS_INLINE Int operator|(Int a, Int b) { return {_mm256_or_si256(a.v, b.v)}; }
  friend GS_INLINE Int operator^(Int a, Int b) { return {_mm256_xor_si256(a.v, b.v)}; }
  friend GS_INLINE F64 as_float(Int a) { return _mm256_castsi256_pd(a.v); }
};
GS_INLINE Int<float> as_int(F32 a) { return {_mm256_castps_si256(a.v)}; }
GS_INLINE Int<double> as_int(F64 a) { return {_mm256_castpd_si256(a.v)}; }
template <int k>
GS_INLINE Int<float> shl(Int<float> a) {
  return {_mm256_slli_epi32(a.v, k)};
}
template <int k>
GS_INLINE Int<double> shl(Int<double> a) {
  return {_mm256_slli_epi64(a.v, k)};
}
template <int k>
GS_INLINE Int<float> shr(Int<float> a) {
  return {_mm256_srli_epi32(a.v, k)};
}
template <int k>
GS_INLINE Int<double> shr(Int<double> a) {
  return {_mm256_srli_epi64(a.v, k)};
}

GS_INLINE F32 select(Mask<float> m, F32 a, F32 b) { return _mm256_blendv_ps(b.v, a.v, m.v); }
GS_INLINE F64 select(Mask<double> m, F64 a, F64 b) { return _mm256_blendv_pd(b.v, a.v, m.v); }

GS_INLINE F32 load(const float* p) { return _mm256_loadu_ps(p); }
GS_INLINE F64 load(const double* p) { return _mm256_loadu_pd(p); }
GS_INLINE F32 load_n(const float* p, int n, float fill = 0) {
  const Mask<float> m = Mask<float>::first(n);
  const F32 v = _mm256_maskload_ps(p, _mm256_castps_si256(m.v));
  return fill == 0 ? v : select(m, v, fill);
}
GS_INLINE F64 load_n(const double* p, int n, double fill = 0) {
  const Mask<double> m = Mask<double>::first(n);
  const F64 v = _mm256_maskload_pd(p, _mm256_castpd_si256(m.v));
  return fill == 0 ? v : select(m, v, fill);
}
GS_INLINE F32 load_where(const float* p, Mask<float> m) {
  return _mm256_maskload_ps(p, _mm256_castps_si256(m.v));
}
GS_INLINE F64 load_where(const double* p, Mask<double> m) {
  return _mm256_maskload_pd(p, _mm256_castpd_si256(m.v));
}
GS_INLINE void store(float* p, F32 v) { _mm256_storeu_ps(p, v.v); }
GS_INLINE void store(double* p, F64 v) { _mm256_storeu_pd(p, v.v); }
// In halves, quarters and eighths: a masked store is microcode on AMD, a dozen cycles or more.
GS_INLINE void store_n(float* p, F32 v, int n) {
  if (n >= 8) return store(p, v);
  __m128 part = _mm256_castps256_ps128(v.v);
  if (n & 4) {
    _mm_storeu_ps(p, part);
    part = _mm256_extractf128_ps(v.v, 1);
    p += 4;
  }
  if (n & 2) {
    _mm_storel_pi(reinterpret_cast<__m64*>(p), part);
    part = _mm_movehl_ps(part, part);
    p += 2;
  }
  if (n & 1) _mm_store_ss(p, part);
}
GS_INLINE void store_n(double* p, F64 v, int n) {
  if (n >= 4) return store(p, v);
  __m128d part = _mm256_castpd256_pd128(v.v);
  if (n & 2) {
    _mm_storeu_pd(p, part);
    part = _mm256_extractf128_pd(v.v, 1);
    p += 2;
  }
  if (n & 1) _mm_store_sd(p, part);
}

GS_INLINE void stream_line(void* y, const void* x) {
  const __m256i* from = (const __m256i*)x;
  const __m256i low = _mm256_loadu_si256(from), high = _mm256_loadu_si256(from + 1);
  _mm256_stream_si256((__m256i*)y, low);
  _mm256_stream_si256((__m256i*)y + 1, high);
}
GS_INLINE void stream_fence() { _mm_sfence(); }

GS_INLINE F32 abs(F32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v); }
GS_INLINE F64 abs(F64 a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a.v); }
GS_INLINE F32 sqrt(F32 a) { return _mm256_sqrt_ps(a.v); }
GS_INLINE F64 sqrt(F64 a) { return _mm256_sqrt_pd(a.v); }
inline constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
inline constexpr int kTowardZero = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
GS_INLINE F32 round(F32 a) { return _mm256_round_ps(a.v, kNearest); }
GS_INLINE F64 round(F64 a) { return _mm256_round_pd(a.v, kNearest); }
GS_INLINE F32 floor(F32 a) { return _mm256_floor_ps(a.v); }
GS_INLINE F64 floor(F64 a) { return _mm256_floor_pd(a.v); }
GS_INLINE F32 ceil(F32 a) { return _mm256_ceil_ps(a.v); }
GS_INLINE F64 ceil(F64 a) { return _mm256_ceil_pd(a.v); }
GS_INLINE F32 trunc(F32 a) { return _mm256_round_ps(a.v, kTowardZero); }
GS_INLINE F64 trunc(F64 a) { return _mm256_round_pd(a.v, kTowardZero); }

GS_INLINE float hsum(F32 a) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
GS_INLINE double hsum(F64 a) {
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}
GS_INLINE float hmax(F32 a) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
GS_INLINE double hmax(F64 a) {
  const __m128d two = _mm_max_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
  return _mm_cvtsd_f64(_mm_max_sd(two, _mm_unpackhi_pd(two, two)));
}

GS_INLINE F64 widen_lo(F32 a) { return _mm256_cvtps_pd(_mm256_castps256_ps128(a.v)); }
GS_INLINE F64 widen_hi(F32 a) { return _mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1)); }
GS_INLINE F32 narrow(F64 lo, F64 hi) {
  return _mm256_set_m128(_mm256_cvtpd_ps(hi.v), _mm256_cvtpd_ps(lo.v));
}

GS_INLINE F32 load_bf16(const std::uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
GS_INLINE void store_bf16(std::uint16_t* p, F32 v) {
  const Int<float> u = as_int(v);
  const Int<float> odd = shr<16>(u) & Int<float>::set(1);
  const F32 rounded = as_float(shr<16>(u + Int<float>::set(0x7fff) + odd));
  const F32 quiet = as_float(shr<16>(u) | Int<float>::set(0x40));
  const __m256i wide = as_int(select(ne(v, v), quiet, rounded)).v;
  _mm_storeu_si128((__m128i*)p, _mm_packus_epi32(_mm256_castsi256_si128(wide),
                                                 _mm256_extracti128_si256(wide, 1)));
}
GS_INLINE F32 load_f16(const std::uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
}
GS_INLINE void store_f16(std::uint16_t* p, F32 v) {
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(v.v, kNearest));
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
