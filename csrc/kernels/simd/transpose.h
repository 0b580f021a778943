// In-register transposition of N vectors of N lanes: afterwards lane j of r[i] is what lane i of
// r[j] was. First within 16-byte lanes (unpack), then whole 16-byte lanes between registers.
#pragma once
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

#if defined(GS_ISA_IS_avx2)

GS_INLINE void transpose(F32 (&r)[8]) {
  __m256 t[8];
  for (int i = 0; i < 8; i += 4) {
    const __m256 ab_lo = _mm256_unpacklo_ps(r[i].v, r[i + 1].v);
    const __m256 ab_hi = _mm256_unpackhi_ps(r[i].v, r[i + 1].v);
    const __m256 cd_lo = _mm256_unpacklo_ps(r[i + 2].v, r[i + 3].v);
    const __m256 cd_hi = _mm256_unpackhi_ps(r[i + 2].v, r[i + 3].v);
    t[i] = _mm256_shuffle_ps(ab_lo, cd_lo, 0x44);
    t[i + 1] = _mm256_shuffle_ps(ab_lo, cd_lo, 0xee);
    t[i + 2] = _mm256_shuffle_ps(ab_hi, cd_hi, 0x44);
    t[i + 3] = _mm256_shuffle_ps(ab_hi, cd_hi, 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    r[i].v = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
    r[i + 4].v = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
  }
}

GS_INLINE void transpose(F64 (&r)[4]) {
  const __m256d ab_lo = _mm256_unpacklo_pd(r[0].v, r[1].v);
  const __m256d ab_hi = _mm256_unpackhi_pd(r[0].v, r[1].v);
  const __m256d cd_lo = _mm256_unpacklo_pd(r[2].v, r[3].v);
  const __m256d cd_hi = _mm256_unpackhi_pd(r[2].v, r[3].v);
  r[0].v = _mm256_permute2f128_pd(ab_lo, cd_lo, 0x20);
  r[1].v = _mm256_permute2f128_pd(ab_hi, cd_hi, 0x20);
  r[2].v = _mm256_permute2f128_pd(ab_lo, cd_lo, 0x31);
  r[3].v = _mm256_permute2f128_pd(ab_hi, cd_hi, 0x31);
}

// Elements at to at + 3 of 8 rows, transposed.
GS_INLINE void load_four_columns(F32 (&r)[4], const float* const (&row)[8], std::int64_t at) {
  __m256 pair[4];
  for (int i = 0; i < 4; ++i)
    pair[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(row[i] + at)),
                                   _mm_loadu_ps(row[4 + i] + at), 1);
  const __m256 ab_lo = _mm256_unpacklo_ps(pair[0], pair[1]);
  const __m256 ab_hi = _mm256_unpackhi_ps(pair[0], pair[1]);
  const __m256 cd_lo = _mm256_unpacklo_ps(pair[2], pair[3]);
  const __m256 cd_hi = _mm256_unpackhi_ps(pair[2], pair[3]);
  r[0].v = _mm256_shuffle_ps(ab_lo, cd_lo, 0x44);
  r[1].v = _mm256_shuffle_ps(ab_lo, cd_lo, 0xee);
  r[2].v = _mm256_shuffle_ps(ab_hi, cd_hi, 0x44);
  r[3].v = _mm256_shuffle_ps(ab_hi, cd_hi, 0xee);
}

#elif defined(GS_ISA_IS_avx512)

// 16-byte lanes of a, then of b, as `Pick` says. Through the integer form, which SIMDe has too.
template <int Pick>
GS_INLINE __m512 pick_lanes(__m512 a, __m512 b) {
  return _mm512_castsi512_ps(
      _mm512_shuffle_i32x4(_mm512_castps_si512(a), _mm512_castps_si512(b), Pick));
}
template <int Pick>
GS_INLINE __m512d pick_lanes(__m512d a, __m512d b) {
  return _mm512_castsi512_pd(
      _mm512_shuffle_i32x4(_mm512_castpd_si512(a), _mm512_castpd_si512(b), Pick));
}

// t[4 * g + j]: in 16-byte lane l, column 4 * l + j of rows 4 * g to 4 * g + 3.
GS_INLINE void transpose(F32 (&r)[16]) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 4) {
    const __m512 ab_lo = _mm512_unpacklo_ps(r[i].v, r[i + 1].v);
    const __m512 ab_hi = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
    const __m512 cd_lo = _mm512_unpacklo_ps(r[i + 2].v, r[i + 3].v);
    const __m512 cd_hi = _mm512_unpackhi_ps(r[i + 2].v, r[i + 3].v);
    t[i] = _mm512_shuffle_ps(ab_lo, cd_lo, 0x44);
    t[i + 1] = _mm512_shuffle_ps(ab_lo, cd_lo, 0xee);
    t[i + 2] = _mm512_shuffle_ps(ab_hi, cd_hi, 0x44);
    t[i + 3] = _mm512_shuffle_ps(ab_hi, cd_hi, 0xee);
  }
  for (int j = 0; j < 4; ++j) {
    const __m512 even_lo = pick_lanes<0x88>(t[j], t[4 + j]);
    const __m512 odd_lo = pick_lanes<0xdd>(t[j], t[4 + j]);
    const __m512 even_hi = pick_lanes<0x88>(t[8 + j], t[12 + j]);
    const __m512 odd_hi = pick_lanes<0xdd>(t[8 + j], t[12 + j]);
    r[j].v = pick_lanes<0x88>(even_lo, even_hi);
    r[4 + j].v = pick_lanes<0x88>(odd_lo, odd_hi);
    r[8 + j].v = pick_lanes<0xdd>(even_lo, even_hi);
    r[12 + j].v = pick_lanes<0xdd>(odd_lo, odd_hi);
  }
}

GS_INLINE void transpose(F64 (&r)[8]) {
  __m512d t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm512_unpacklo_pd(r[i].v, r[i + 1].v);
    t[i + 1] = _mm512_unpackhi_pd(r[i].v, r[i + 1].v);
  }
  for (int j = 0; j < 2; ++j) {
    const __m512d even_lo = pick_lanes<0x88>(t[j], t[2 + j]);
    const __m512d odd_lo = pick_lanes<0xdd>(t[j], t[2 + j]);
    const __m512d even_hi = pick_lanes<0x88>(t[4 + j], t[6 + j]);
    const __m512d odd_hi = pick_lanes<0xdd>(t[4 + j], t[6 + j]);
    r[j].v = pick_lanes<0x88>(even_lo, even_hi);
    r[2 + j].v = pick_lanes<0x88>(odd_lo, odd_hi);
    r[4 + j].v = pick_lanes<0xdd>(even_lo, even_hi);
    r[6 + j].v = pick_lanes<0xdd>(odd_lo, odd_hi);
  }
}

#if !defined(GS_EMULATED)
// Four rows four apart, 16 bytes of each, side by side.
GS_INLINE __m512 gather_lanes(const float* const* row, std::int64_t at) {
  __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(row[0] + at));
  v = _mm512_mask_broadcast_f32x4(v, 0x00f0, _mm_loadu_ps(row[4] + at));
  v = _mm512_mask_broadcast_f32x4(v, 0x0f00, _mm_loadu_ps(row[8] + at));
  return _mm512_mask_broadcast_f32x4(v, 0xf000, _mm_loadu_ps(row[12] + at));
}

// Elements at to at + 3 of 16 rows, transposed. The 16-byte lanes get their places while they are
// loaded, by blends that two ports can do; 8 permutations are left, for which there is one.
GS_INLINE void load_four_columns(F32 (&r)[4], const float* const (&row)[16], std::int64_t at) {
  const __m512 a = gather_lanes(row, at), b = gather_lanes(row + 1, at);
  const __m512 c = gather_lanes(row + 2, at), d = gather_lanes(row + 3, at);
  const __m512 ab_lo = _mm512_unpacklo_ps(a, b), ab_hi = _mm512_unpackhi_ps(a, b);
  const __m512 cd_lo = _mm512_unpacklo_ps(c, d), cd_hi = _mm512_unpackhi_ps(c, d);
  r[0].v = _mm512_shuffle_ps(ab_lo, cd_lo, 0x44);
  r[1].v = _mm512_shuffle_ps(ab_lo, cd_lo, 0xee);
  r[2].v = _mm512_shuffle_ps(ab_hi, cd_hi, 0x44);
  r[3].v = _mm512_shuffle_ps(ab_hi, cd_hi, 0xee);
}

// Elements at, at + 1, ... of 16 rows, transposed.
GS_INLINE void load_transposed(F32 (&r)[16], const float* const (&row)[16], std::int64_t at) {
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    F32 four[4];
    load_four_columns(four, row, at + i);
    for (int j = 0; j < 4; ++j) r[i + j] = four[j];
  }
}
#endif

#else  // 16-byte vectors: the compiler finds the unpacks

GS_INLINE void transpose(F32 (&r)[4]) {
  float t[16];
  for (int i = 0; i < 4; ++i) store(t + 4 * i, r[i]);
  for (int i = 0; i < 4; ++i) {
    const float column[4] = {t[i], t[4 + i], t[8 + i], t[12 + i]};
    r[i] = load(column);
  }
}

GS_INLINE void transpose(F64 (&r)[2]) {
  double t[4];
  for (int i = 0; i < 2; ++i) store(t + 2 * i, r[i]);
  for (int i = 0; i < 2; ++i) {
    const double column[2] = {t[i], t[2 + i]};
    r[i] = load(column);
  }
}

#endif

// Elements at, at + 1, ... of N rows, transposed.
template <class V>
GS_INLINE void load_transposed(V (&r)[V::N], const typename V::T* const (&row)[V::N],
                               std::int64_t at) {
#pragma GCC unroll 16
  for (int i = 0; i < V::N; ++i) r[i] = load(row[i] + at);
  transpose(r);
}

// Whether load_four_columns exists: four columns at a quarter of the cost of N.
#if defined(GS_ISA_IS_avx2) || (defined(GS_ISA_IS_avx512) && !defined(GS_EMULATED))
template <class V>
inline constexpr bool kFourColumns = sizeof(typename V::T) == 4;
#else
template <class V>
inline constexpr bool kFourColumns = false;
#endif

// Rows as columns: element i of row l at to[i * N + l], for `rows` (1 to N) rows of n elements.
// Lanes past the last row repeat it.
template <class V>
void load_columns(typename V::T* to, const typename V::T* from, std::int64_t stride, int rows,
                  std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += V::N, to += V::N * V::N) {
    const int count = n - i < V::N ? int(n - i) : V::N;
    const typename V::T* row = from + i;
    V square[V::N];
    if (rows == V::N && count == V::N) {
#pragma GCC unroll 16
      for (int l = 0; l < V::N; ++l, row += stride) square[l] = load(row);
      transpose(square);
#pragma GCC unroll 16
      for (int k = 0; k < V::N; ++k) store(to + k * V::N, square[k]);
      continue;
    }
    for (int l = 0; l < V::N; ++l, row += l < rows ? stride : 0) square[l] = load_n(row, count);
    transpose(square);
    for (int k = 0; k < count; ++k) store(to + k * V::N, square[k]);
  }
}

// And back.
template <class V>
void store_columns(typename V::T* to, std::int64_t stride, const typename V::T* from, int rows,
                   std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += V::N, from += V::N * V::N) {
    const int count = n - i < V::N ? int(n - i) : V::N;
    typename V::T* row = to + i;
    V square[V::N];
    if (rows == V::N && count == V::N) {
#pragma GCC unroll 16
      for (int k = 0; k < V::N; ++k) square[k] = load(from + k * V::N);
      transpose(square);
#pragma GCC unroll 16
      for (int l = 0; l < V::N; ++l, row += stride) store(row, square[l]);
      continue;
    }
    for (int k = 0; k < V::N; ++k) square[k] = k < count ? load(from + k * V::N) : V::zero();
    transpose(square);
    for (int l = 0; l < rows; ++l, row += stride) store_n(row, square[l], count);
  }
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
