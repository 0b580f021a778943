// Portable target: 16-byte vectors of the compiler's own vector extension, no ISA flags.
#pragma once
#include "kernels/simd/half_bits.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

inline constexpr bool kFusedFma = false, kQuickScale = false;

template <class T>
struct Lanes;
template <>
struct Lanes<float> {
  typedef float Float __attribute__((vector_size(16)));
  typedef std::uint32_t Uint __attribute__((vector_size(16)));
};
template <>
struct Lanes<double> {
  typedef double Float __attribute__((vector_size(16)));
  typedef std::uint64_t Uint __attribute__((vector_size(16)));
};

template <class T_>
struct Vec {
  using T = T_;
  using M = Mask<T>;
  using I = Int<T>;
  static constexpr int N = 16 / sizeof(T);
  typename Lanes<T>::Float v;

  Vec() = default;
  GS_INLINE Vec(typename Lanes<T>::Float x) : v(x) {}
  GS_INLINE Vec(T x) : v(x - typename Lanes<T>::Float{}) {}
  GS_INLINE static Vec set(T x) { return Vec(x); }
  GS_INLINE static Vec zero() { return Vec(typename Lanes<T>::Float{}); }

  friend GS_INLINE Vec operator+(Vec a, Vec b) { return a.v + b.v; }
  friend GS_INLINE Vec operator-(Vec a, Vec b) { return a.v - b.v; }
  friend GS_INLINE Vec operator*(Vec a, Vec b) { return a.v * b.v; }
  friend GS_INLINE Vec operator/(Vec a, Vec b) { return a.v / b.v; }
  friend GS_INLINE Vec operator-(Vec a) { return -a.v; }
  friend GS_INLINE Vec fma(Vec a, Vec b, Vec c) { return a.v * b.v + c.v; }
  friend GS_INLINE Vec fnma(Vec a, Vec b, Vec c) { return c.v - a.v * b.v; }
  friend GS_INLINE Vec min(Vec a, Vec b) { return a.v < b.v ? a.v : b.v; }
  friend GS_INLINE Vec max(Vec a, Vec b) { return a.v > b.v ? a.v : b.v; }
  friend GS_INLINE M lt(Vec a, Vec b) { return M{a.v < b.v}; }
  friend GS_INLINE M le(Vec a, Vec b) { return M{a.v <= b.v}; }
  friend GS_INLINE M gt(Vec a, Vec b) { return M{a.v > b.v}; }
  friend GS_INLINE M ge(Vec a, Vec b) { return M{a.v >= b.v}; }
  friend GS_INLINE M eq(Vec a, Vec b) { return M{a.v == b.v}; }
  friend GS_INLINE M ne(Vec a, Vec b) { return M{a.v != b.v}; }
};

template <class T>
struct Mask {
  typename Lanes<T>::Uint v;
  Mask() = default;
  template <class Lane>
  GS_INLINE explicit Mask(Lane m) : v((typename Lanes<T>::Uint)m) {}
  GS_INLINE static Mask first(int n) {
    typename Lanes<T>::Uint m{};
    for (int i = 0; i < Vec<T>::N; ++i) m[i] = i < n ? ~typename FloatBits<T>::U(0) : 0;
    return Mask(m);
  }
  friend GS_INLINE Mask operator&(Mask a, Mask b) { return Mask(a.v & b.v); }
  friend GS_INLINE Mask operator|(Mask a, Mask b) { return Mask(a.v | b.v); }
  friend GS_INLINE Mask operator^(Mask a, Mask b) { return Mask(a.v ^ b.v); }
  friend GS_INLINE Mask operator!(Mask a) { return Mask(~a.v); }
  friend GS_INLINE unsigned bits(Mask m) {
    unsigned all = 0;
    for (int i = 0; i < Vec<T>::N; ++i) all |= unsigned(m.v[i] & 1u) << i;
    return all;
  }
  friend GS_INLINE bool any(Mask m) { return bits(m) != 0; }
  friend GS_INLINE bool all(Mask m) { return bits(m) == (1u << Vec<T>::N) - 1u; }
  friend GS_INLINE Vec<T> select(Mask m, Vec<T> a, Vec<T> b) {
    return as_float(Int<T>{(as_int(a).v & m.v) | (as_int(b).v & ~m.v)});
  }
};

template <class T>
struct Int {
  typename Lanes<T>::Uint v;
  GS_INLINE static Int set(typename FloatBits<T>::U x) {
    return Int{x | typename Lanes<T>::Uint{}};
  }
  friend GS_INLINE Int operator+(Int a, Int b) { return Int{a.v + b.v}; }
  friend GS_INLINE Int operator-(Int a, Int b) { return Int{a.v - b.v}; }
  friend GS_INLINE Int operator&(Int a, Int b) { return Int{a.v & b.v}; }
  friend GS_INLINE Int operator|(Int a, Int b) { return Int{a.v | b.v}; }
  friend GS_INLINE Int operator^(Int a, Int b) { return Int{a.v ^ b.v}; }
  friend GS_INLINE Vec<T> as_float(Int a) { return (typename Lanes<T>::Float)a.v; }
};
template <class T>
GS_INLINE Int<T> as_int(Vec<T> a) {
  return Int<T>{(typename Lanes<T>::Uint)a.v};
}
template <int k, class T>
GS_INLINE Int<T> shl(Int<T> a) {
  return Int<T>{a.v << k};
}
template <int k, class T>
GS_INLINE Int<T> shr(Int<T> a) {
  return Int<T>{a.v >> k};
}

template <class T>
GS_INLINE Vec<T> load_any(const T* p) {
  typename Lanes<T>::Float v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
GS_INLINE Vec<T> load_any_n(const T* p, int n, T fill) {
  Vec<T> v = fill;
  for (int i = 0; i < Vec<T>::N; ++i) {
    if (i < n) v.v[i] = p[i];
  }
  return v;
}
GS_INLINE F32 load(const float* p) { return load_any(p); }
GS_INLINE F64 load(const double* p) { return load_any(p); }
GS_INLINE F32 load_n(const float* p, int n, float fill = 0) { return load_any_n(p, n, fill); }
GS_INLINE F64 load_n(const double* p, int n, double fill = 0) { return load_any_n(p, n, fill); }
template <class T>
GS_INLINE Vec<T> load_where(const T* p, Mask<T> m) {
  Vec<T> v = T(0);
  for (int i = 0; i < Vec<T>::N; ++i) {
    if (m.v[i]) v.v[i] = p[i];
  }
  return v;
}
template <class T>
GS_INLINE void store(T* p, Vec<T> v) {
  __builtin_memcpy(p, &v.v, sizeof v.v);
}
template <class T>
GS_INLINE void store_n(T* p, Vec<T> v, int n) {
  for (int i = 0; i < Vec<T>::N; ++i) {
    if (i < n) p[i] = v.v[i];
  }
}

GS_INLINE void stream_line(void* y, const void* x) { __builtin_memcpy(y, x, 64); }
GS_INLINE void stream_fence() {}

template <class T>
GS_INLINE Vec<T> abs(Vec<T> a) {
  using U = typename FloatBits<T>::U;
  return as_float(as_int(a) & Int<T>::set(~U(0) >> 1));
}
GS_INLINE F32 sqrt(F32 a) {
  for (int i = 0; i < F32::N; ++i) a.v[i] = __builtin_sqrtf(a.v[i]);
  return a;
}
GS_INLINE F64 sqrt(F64 a) {
  for (int i = 0; i < F64::N; ++i) a.v[i] = __builtin_sqrt(a.v[i]);
  return a;
}
template <class T>
GS_INLINE Vec<T> copysign(Vec<T> magnitude, Vec<T> sign);

// Adding 2^mantissa to the magnitude rounds it to an integer; larger numbers are integers already.
template <class T>
GS_INLINE Vec<T> round(Vec<T> a) {
  const Vec<T> magnitude = abs(a), shift = FloatBits<T>::kInteger;
  const Vec<T> rounded = select(lt(magnitude, shift), (magnitude + shift) - shift, magnitude);
  return copysign(rounded, a);
}
template <class T>
GS_INLINE Vec<T> trunc(Vec<T> a) {
  const Vec<T> magnitude = abs(a), near = abs(round(a));
  return copysign(near - select(gt(near, magnitude), Vec<T>(T(1)), Vec<T>(T(0))), a);
}
template <class T>
GS_INLINE Vec<T> floor(Vec<T> a) {
  const Vec<T> near = round(a);
  return copysign(near - select(gt(near, a), Vec<T>(T(1)), Vec<T>(T(0))), a);
}
template <class T>
GS_INLINE Vec<T> ceil(Vec<T> a) {
  return -floor(-a);
}

GS_INLINE float hsum(F32 a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
GS_INLINE double hsum(F64 a) { return a.v[0] + a.v[1]; }
template <class T>
GS_INLINE T hmax(Vec<T> a) {
  T best = a.v[0];
  for (int i = 1; i < Vec<T>::N; ++i) best = a.v[i] > best ? a.v[i] : best;
  return best;
}

GS_INLINE F64 widen_lo(F32 a) { return Lanes<double>::Float{double(a.v[0]), double(a.v[1])}; }
GS_INLINE F64 widen_hi(F32 a) { return Lanes<double>::Float{double(a.v[2]), double(a.v[3])}; }
GS_INLINE F32 narrow(F64 lo, F64 hi) {
  return Lanes<float>::Float{float(lo.v[0]), float(lo.v[1]), float(hi.v[0]), float(hi.v[1])};
}

GS_INLINE F32 load_bf16(const std::uint16_t* p) {
  float x[F32::N];
  for (int i = 0; i < F32::N; ++i) x[i] = bf16_to_float(p[i]);
  return load(x);
}
GS_INLINE void store_bf16(std::uint16_t* p, F32 v) {
  for (int i = 0; i < F32::N; ++i) p[i] = float_to_bf16(v.v[i]);
}
GS_INLINE F32 load_f16(const std::uint16_t* p) {
  float x[F32::N];
  for (int i = 0; i < F32::N; ++i) x[i] = f16_to_float(p[i]);
  return load(x);
}
GS_INLINE void store_f16(std::uint16_t* p, F32 v) {
  for (int i = 0; i < F32::N; ++i) p[i] = float_to_f16(v.v[i]);
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
