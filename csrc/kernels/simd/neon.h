// AArch64 Advanced SIMD: 4 floats, 2 doubles.
#pragma once
#include <arm_neon.h>

#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

inline constexpr bool kFusedFma = true, kQuickScale = false;

template <>
struct Mask<float> {
  uint32x4_t v;
  GS_INLINE static Mask first(int n) {
    const uint32x4_t lane = {0, 1, 2, 3};
    return {vcltq_u32(lane, vdupq_n_u32(std::uint32_t(n)))};
  }
  friend GS_INLINE Mask operator&(Mask a, Mask b) { return {vandq_u32(a.v, b.v)}; }
  friend GS_INLINE Mask operator|(Mask a, Mask b) { return {vorrq_u32(a.v, b.v)}; }
  friend GS_INLINE Mask operator^(Mask a, Mask b) { return {veorq_u32(a.v, b.v)}; }
  friend GS_INLINE Mask operator!(Mask a) { return {vmvnq_u32(a.v)}; }
  friend GS_INLINE unsigned bits(Mask m) {
    const uint32x4_t weight = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(m.v, weight));
  }
  friend GS_INLINE bool any(Mask m) { return vmaxvq_u32(m.v) != 0; }
  friend GS_INLINE bool all(Mask m) { return vminvq_u32(m.v) != 0; }
};
template <>
struct Mask<double> {
  uint64x2_t v;
  GS_INLINE static Mask first(int n) {
    const uint64x2_t lane = {0, 1};
    return {vcltq_u64(lane, vdupq_n_u64(std::uint64_t(n)))};
  }
  friend GS_INLINE Mask operator&(Mask a, Mask b) { return {vandq_u64(a.v, b.v)}; }
  friend GS_INLINE Mask operator|(Mask a, Mask b) { return {vorrq_u64(a.v, b.v)}; }
  friend GS_INLINE Mask operator^(Mask a, Mask b) { return {veorq_u64(a.v, b.v)}; }
  friend GS_INLINE Mask operator!(Mask a) {
    return {veorq_u64(a.v, vdupq_n_u64(~std::uint64_t(0)))};
  }
  friend GS_INLINE unsigned bits(Mask m) {
    return unsigned(vgetq_lane_u64(m.v, 0) & 1u) | unsigned(vgetq_lane_u64(m.v, 1) & 2u);
  }
  friend GS_INLINE bool any(Mask m) { return bits(m) != 0; }
  friend GS_INLINE bool all(Mask m) { return bits(m) == 3u; }
};

template <>
struct Vec<float> {
  using T = float;
  using M = Mask<float>;
  using I = Int<float>;
  static constexpr int N = 4;
  float32x4_t v;

  Vec() = default;
  GS_INLINE Vec(float32x4_t x) : v(x) {}
  GS_INLINE Vec(float x) : v(vdupq_n_f32(x)) {}
  GS_INLINE static Vec set(float x) { return Vec(x); }
  GS_INLINE static Vec zero() { return vdupq_n_f32(0); }

  friend GS_INLINE Vec operator+(Vec a, Vec b) { return vaddq_f32(a.v, b.v); }
  friend GS_INLINE Vec operator-(Vec a, Vec b) { return vsubq_f32(a.v, b.v); }
  friend GS_INLINE Vec operator*(Vec a, Vec b) { return vmulq_f32(a.v, b.v); }
  friend GS_INLINE Vec operator/(Vec a, Vec b) { return vdivq_f32(a.v, b.v); }
  friend GS_INLINE Vec operator-(Vec a) { return vnegq_f32(a.v); }
  friend GS_INLINE Vec fma(Vec a, Vec b, Vec c) { return vfmaq_f32(c.v, a.v, b.v); }
  friend GS_INLINE Vec fnma(Vec a, Vec b, Vec c) { return vfmsq_f32(c.v, a.v, b.v); }
  // Compare and select, because vminq and vmaxq treat NaN and -0 differently from x86.
  friend GS_INLINE Vec min(Vec a, Vec b) { return vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v); }
  friend GS_INLINE Vec max(Vec a, Vec b) { return vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v); }
  friend GS_INLINE M lt(Vec a, Vec b) { return {vcltq_f32(a.v, b.v)}; }
  friend GS_INLINE M le(Vec a, Vec b) { return {vcleq_f32(a.v, b.v)}; }
  friend GS_INLINE M gt(Vec a, Vec b) { return {vcgtq_f32(a.v, b.v)}; }
  friend GS_INLINE M ge(Vec a, Vec b) { return {vcgeq_f32(a.v, b.v)}; }
  friend GS_INLINE M eq(Vec a, Vec b) { return {vceqq_f32(a.v, b.v)}; }
  friend GS_INLINE M ne(Vec a, Vec b) { return {vmvnq_u32(vceqq_f32(a.v, b.v))}; }
};

template <>
struct Vec<double> {
  using T = double;
  using M = Mask<double>;
  using I = Int<double>;
  static constexpr int N = 2;
  float64x2_t v;

  Vec() = default;
  GS_INLINE Vec(float64x2_t x) : v(x) {}
  GS_INLINE Vec(double x) : v(vdupq_n_f64(x)) {}
  GS_INLINE static Vec set(double x) { return Vec(x); }
  GS_INLINE static Vec zero() { return vdupq_n_f64(0); }

  friend GS_INLINE Vec operator+(Vec a, Vec b) { return vaddq_f64(a.v, b.v); }
  friend GS_INLINE Vec operator-(Vec a, Vec b) { return vsubq_f64(a.v, b.v); }
  friend GS_INLINE Vec operator*(Vec a, Vec b) { return vmulq_f64(a.v, b.v); }
  friend GS_INLINE Vec operator/(Vec a, Vec b) { return vdivq_f64(a.v, b.v); }
  friend GS_INLINE Vec operator-(Vec a) { return vnegq_f64(a.v); }
  friend GS_INLINE Vec fma(Vec a, Vec b, Vec c) { return vfmaq_f64(c.v, a.v, b.v); }
  friend GS_INLINE Vec fnma(Vec a, Vec b, Vec c) { return vfmsq_f64(c.v, a.v, b.v); }
  friend GS_INLINE Vec min(Vec a, Vec b) { return vbslq_f64(vcltq_f64(a.v, b.v), a.v, b.v); }
  friend GS_INLINE Vec max(Vec a, Vec b) { return vbslq_f64(vcgtq_f64(a.v, b.v), a.v, b.v); }
  friend GS_INLINE M lt(Vec a, Vec b) { return {vcltq_f64(a.v, b.v)}; }
  friend GS_INLINE M le(Vec a, Vec b) { return {vcleq_f64(a.v, b.v)}; }
  friend GS_INLINE M gt(Vec a, Vec b) { return {vcgtq_f64(a.v, b.v)}; }
  friend GS_INLINE M ge(Vec a, Vec b) { return {vcgeq_f64(a.v, b.v)}; }
  friend GS_INLINE M eq(Vec a, Vec b) { return {vceqq_f64(a.v, b.v)}; }
  friend GS_INLINE M ne(Vec a, Vec b) { return !M{vceqq_f64(a.v, b.v)}; }
};

template <>
struct Int<float> {
  uint32x4_t v;
  GS_INLINE static Int set(std::uint32_t x) { return {vdupq_n_u32(x)}; }
  friend GS_INLINE Int operator+(Int a, Int b) { return {vaddq_u32(a.v, b.v)}; }
  friend GS_INLINE Int operator-(Int a, Int b) { return {vsubq_u32(a.v, b.v)}; }
  friend GS_INLINE Int operator&(Int a, Int b) { return {vandq_u32(a.v, b.v)}; }
  friend GS_INLINE Int operator|(Int a, Int b) { return {vorrq_u32(a.v, b.v)}; }
  friend GS_INLINE Int operator^(Int a, Int b) { return {veorq_u32(a.v, b.v)}; }
  friend GS_INLINE F32 as_float(Int a) { return vreinterpretq_f32_u32(a.v); }
};
template <>
struct Int<double> {
  uint64x2_t v;
  GS_INLINE static Int set(std::uint64_t x) { return {vdupq_n_u64(x)}; }
  friend GS_INLINE Int operator+(Int a, Int b) { return {vaddq_u64(a.v, b.v)}; }
  friend GS_INLINE Int operator-(Int a, Int b) { return {vsubq_u64(a.v, b.v)}; }
  friend GS_INLINE Int operator&(Int a, Int b) { return {vandq_u64(a.v, b.v)}; }
  friend GS_INLINE Int operator|(Int a, Int b) { return {vorrq_u64(a.v, b.v)}; }
  friend GS_INLINE Int operator^(Int a, Int b) { return {veorq_u64(a.v, b.v)}; }
  friend GS_INLINE F64 as_float(Int a) { return vreinterpretq_f64_u64(a.v); }
};
GS_INLINE Int<float> as_int(F32 a) { return {vreinterpretq_u32_f32(a.v)}; }
GS_INLINE Int<double> as_int(F64 a) { return {vreinterpretq_u64_f64(a.v)}; }
template <int k>
GS_INLINE Int<float> shl(Int<float> a) {
  return {vshlq_n_u32(a.v, k)};
}
template <int k>
GS_INLINE Int<double> shl(Int<double> a) {
  return {vshlq_n_u64(a.v, k)};
}
template <int k>
GS_INLINE Int<float> shr(Int<float> a) {
  return {vshrq_n_u32(a.v, k)};
}
template <int k>
GS_INLINE Int<double> shr(Int<double> a) {
  return {vshrq_n_u64(a.v, k)};
}

GS_INLINE F32 select(Mask<float> m, F32 a, F32 b) { return vbslq_f32(m.v, a.v, b.v); }
GS_INLINE F64 select(Mask<double> m, F64 a, F64 b) { return vbslq_f64(m.v, a.v, b.v); }

GS_INLINE F32 load(const float* p) { return vld1q_f32(p); }
GS_INLINE F64 load(const double* p) { return vld1q_f64(p); }
GS_INLINE F32 load_n(const float* p, int n, float fill = 0) {
  float32x4_t v = vdupq_n_f32(fill);
  if (n >= 4) return load(p);
  if (n >= 1) v = vld1q_lane_f32(p, v, 0);
  if (n >= 2) v = vld1q_lane_f32(p + 1, v, 1);
  if (n >= 3) v = vld1q_lane_f32(p + 2, v, 2);
  return v;
}
GS_INLINE F64 load_n(const double* p, int n, double fill = 0) {
  if (n >= 2) return load(p);
  const float64x2_t v = vdupq_n_f64(fill);
  return n >= 1 ? vld1q_lane_f64(p, v, 0) : v;
}
GS_INLINE F32 load_where(const float* p, Mask<float> m) {
  float32x4_t v = vdupq_n_f32(0);
  if (vgetq_lane_u32(m.v, 0)) v = vld1q_lane_f32(p, v, 0);
  if (vgetq_lane_u32(m.v, 1)) v = vld1q_lane_f32(p + 1, v, 1);
  if (vgetq_lane_u32(m.v, 2)) v = vld1q_lane_f32(p + 2, v, 2);
  if (vgetq_lane_u32(m.v, 3)) v = vld1q_lane_f32(p + 3, v, 3);
  return v;
}
GS_INLINE F64 load_where(const double* p, Mask<double> m) {
  float64x2_t v = vdupq_n_f64(0);
  if (vgetq_lane_u64(m.v, 0)) v = vld1q_lane_f64(p, v, 0);
  if (vgetq_lane_u64(m.v, 1)) v = vld1q_lane_f64(p + 1, v, 1);
  return v;
}
GS_INLINE void store(float* p, F32 v) { vst1q_f32(p, v.v); }
GS_INLINE void store(double* p, F64 v) { vst1q_f64(p, v.v); }
GS_INLINE void store_n(float* p, F32 v, int n) {
  if (n >= 4) return store(p, v);
  if (n >= 1) vst1q_lane_f32(p, v.v, 0);
  if (n >= 2) vst1q_lane_f32(p + 1, v.v, 1);
  if (n >= 3) vst1q_lane_f32(p + 2, v.v, 2);
}
GS_INLINE void store_n(double* p, F64 v, int n) {
  if (n >= 2) return store(p, v);
  if (n >= 1) vst1q_lane_f64(p, v.v, 0);
}

GS_INLINE void stream_line(void* y, const void* x) { __builtin_memcpy(y, x, 64); }
GS_INLINE void stream_fence() {}

GS_INLINE F32 abs(F32 a) { return vabsq_f32(a.v); }
GS_INLINE F64 abs(F64 a) { return vabsq_f64(a.v); }
GS_INLINE F32 sqrt(F32 a) { return vsqrtq_f32(a.v); }
GS_INLINE F64 sqrt(F64 a) { return vsqrtq_f64(a.v); }
GS_INLINE F32 round(F32 a) { return vrndnq_f32(a.v); }
GS_INLINE F64 round(F64 a) { return vrndnq_f64(a.v); }
GS_INLINE F32 floor(F32 a) { return vrndmq_f32(a.v); }
GS_INLINE F64 floor(F64 a) { return vrndmq_f64(a.v); }
GS_INLINE F32 ceil(F32 a) { return vrndpq_f32(a.v); }
GS_INLINE F64 ceil(F64 a) { return vrndpq_f64(a.v); }
GS_INLINE F32 trunc(F32 a) { return vrndq_f32(a.v); }
GS_INLINE F64 trunc(F64 a) { return vrndq_f64(a.v); }

GS_INLINE float hsum(F32 a) {
  const float32x2_t two = vadd_f32(vget_low_f32(a.v), vget_high_f32(a.v));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
GS_INLINE double hsum(F64 a) { return vgetq_lane_f64(a.v, 0) + vgetq_lane_f64(a.v, 1); }
GS_INLINE float hmax(F32 a) { return vmaxvq_f32(a.v); }
GS_INLINE double hmax(F64 a) { return vmaxvq_f64(a.v); }

GS_INLINE F64 widen_lo(F32 a) { return vcvt_f64_f32(vget_low_f32(a.v)); }
GS_INLINE F64 widen_hi(F32 a) { return vcvt_high_f64_f32(a.v); }
GS_INLINE F32 narrow(F64 lo, F64 hi) { return vcvt_high_f32_f64(vcvt_f32_f64(lo.v), hi.v); }

GS_INLINE F32 load_bf16(const std::uint16_t* p) {
  return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
GS_INLINE void store_bf16(std::uint16_t* p, F32 v) {
  const uint32x4_t u = as_int(v).v;
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(vaddq_u32(u, vdupq_n_u32(0x7fff)), odd);
  const uint32x4_t quiet = vorrq_u32(u, vdupq_n_u32(0x400000));
  vst1_u16(p, vshrn_n_u32(vbslq_u32(ne(v, v).v, quiet, rounded), 16));
}
GS_INLINE F32 load_f16(const std::uint16_t* p) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
GS_INLINE void store_f16(std::uint16_t* p, F32 v) {
  vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v.v)));
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
