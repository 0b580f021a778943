// The vector vocabulary that every *.simd.cpp is written in. One of scalar.h, avx2.h, avx512.h and
// neon.h supplies it for the target being compiled (GS_ISA); kernels name no intrinsics.
//
//   Vec<float> = F32, Vec<double> = F64      V::N lanes, V::T element, V::set(x), V::zero()
//   V::M    a mask of V's lanes              & | ^ !  any all bits  M::first(n)
//   V::I    V's lanes as unsigned integers   + - & | ^  shl<k> shr<k>  as_int as_float
//
//   load store               unaligned; load_n(p, n, fill) and store_n(p, v, n) touch only
//                            the first n elements, 0 <= n <= N
//   load_where(p, m)         touches only the elements whose lane is set, the others are 0
//   stream_line(y, x)        copies 64 bytes past the caches, y aligned to 64; stream_fence() after
//                            the last, before anybody else may look
//   + - * /  unary -
//   fma(a,b,c) fnma(a,b,c)   a*b+c and c-a*b; rounded once where kFusedFma
//   fma_element(p, b, c)     *p*b+c, the element read by the instruction itself where
//                            kReadsElement: one micro-operation less than set and fma
//   min max                  a < b ? a : b and a > b ? a : b: b where either is NaN
//   min_nan max_nan          NaN where either is NaN
//   abs sqrt copysign        correctly rounded square root
//   round floor ceil trunc   round: nearest, ties to even
//   lt le gt ge eq ne        NaN compares false, but true for ne; is_nan
//   select(m, a, b)          a where m, else b
//   hsum hmax                fold the upper half onto the lower one until one lane is left
//   pow2(n) scale2(v, n)     2^n, v*2^n for integral-valued n
//   exponent mantissa        of positive normal numbers: v = mantissa * 2^exponent, in [1, 2);
//                            where kQuickScale, scale2 and these are one instruction each, for
//                            denormal numbers too
//   widen_lo widen_hi narrow F32 <-> two F64
//   dot_pairs(a, b, sum)     avx512_bf16: two products of bfloat16 a lane, gemm/bf16.simd.cpp
//   load_bf16 store_bf16, load_f16 store_f16 (+ _n)   rounding to nearest even
//
// A constant converts to a vector by itself: `fma(x, 2.0f, y)`, `max(x, 0.0f)`.
#pragma once
#include <cstddef>
#include <cstdint>

#if !defined(GS_ISA)
#error "kernels/simd/vec.h is for *.simd.cpp, which are compiled once per GS_ISA"
#endif

#define GS_INLINE inline __attribute__((always_inline))
#define GS_LAMBDA_INLINE __attribute__((always_inline))  // after a lambda's parameters

namespace gradsmith::kernels::GS_ISA {
namespace {

template <class T>
struct Vec;  // lanes of T
template <class T>
struct Mask;  // one truth value per lane of Vec<T>
template <class T>
struct Int;  // lanes of Vec<T> seen as unsigned integers of the same width
using F32 = Vec<float>;
using F64 = Vec<double>;

// Format of T as bits.
template <class T>
struct FloatBits;
template <>
struct FloatBits<float> {
  using U = std::uint32_t;
  static constexpr int kMantissa = 23, kBias = 127;
  static constexpr float kInteger = 8388608.0f;  // 2^23: from here on every float is an integer
};
template <>
struct FloatBits<double> {
  using U = std::uint64_t;
  static constexpr int kMantissa = 52, kBias = 1023;
  static constexpr double kInteger = 4503599627370496.0;  // 2^52
};

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA

#if defined(GS_ISA_IS_avx512)
#include "kernels/simd/avx512.h"
#elif defined(GS_ISA_IS_avx2)
#include "kernels/simd/avx2.h"
#elif defined(GS_ISA_IS_neon)
#include "kernels/simd/neon.h"
#else
#include "kernels/simd/scalar.h"
#endif

namespace gradsmith::kernels::GS_ISA {
namespace {

template <class T>
GS_INLINE Mask<T> is_nan(Vec<T> v) {
  return ne(v, v);
}

template <class T>
GS_INLINE Vec<T> min_nan(Vec<T> a, Vec<T> b) {
  return select(is_nan(a), a, min(a, b));
}
template <class T>
GS_INLINE Vec<T> max_nan(Vec<T> a, Vec<T> b) {
  return select(is_nan(a), a, max(a, b));
}

template <class T>
GS_INLINE Vec<T> copysign(Vec<T> magnitude, Vec<T> sign) {
  using U = typename FloatBits<T>::U;
  constexpr U kSign = U(1) << (8 * sizeof(T) - 1);
  return as_float((as_int(magnitude) & Int<T>::set(~kSign)) | (as_int(sign) & Int<T>::set(kSign)));
}

// 2^n for integral-valued n with a normal result: -126..127 in float, -1022..1023 in double.
// Adding 1.5 * 2^mantissa leaves n as an integer in the low bits.
template <class T>
GS_INLINE Vec<T> pow2(Vec<T> n) {
  using F = FloatBits<T>;
  return as_float(shl<F::kMantissa>(as_int(n + T(1.5 * F::kInteger + F::kBias))));
}

// v * 2^n for integral-valued n, rounded once, with gradual underflow and overflow to infinity.
// In two factors of half the exponent, so that each is normal: |n| <= 252 (2044 in double).
template <class T>
GS_INLINE Vec<T> scale2(Vec<T> v, Vec<T> n) {
  const Vec<T> half = floor(n * T(0.5));
  return v * pow2(half) * pow2(n - half);
}

template <class T>
GS_INLINE Vec<T> exponent(Vec<T> v) {
  using F = FloatBits<T>;
  const Vec<T> integer = T(F::kInteger);
  return as_float(shr<F::kMantissa>(as_int(v)) | as_int(integer)) - T(F::kInteger + F::kBias);
}
template <class T>
GS_INLINE Vec<T> mantissa(Vec<T> v) {
  using F = FloatBits<T>;
  using U = typename F::U;
  constexpr U kFraction = (U(1) << F::kMantissa) - 1;
  const Vec<T> one = T(1);
  return as_float((as_int(v) & Int<T>::set(kFraction)) | as_int(one));
}

#if defined(GS_ISA_IS_avx512) && !defined(GS_EMULATED)
constexpr bool kReadsElement = true;
#else
constexpr bool kReadsElement = false;
template <class T>
GS_INLINE Vec<T> fma_element(const T* p, Vec<T> b, Vec<T> c) {
  return fma(Vec<T>::set(*p), b, c);
}
#endif

// 16-bit storage formats, the first n elements only.
GS_INLINE F32 load_bf16_n(const std::uint16_t* p, int n) {
  std::uint16_t lanes[F32::N] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load_bf16(lanes);
}
GS_INLINE void store_bf16_n(std::uint16_t* p, F32 v, int n) {
  std::uint16_t lanes[F32::N];
  store_bf16(lanes, v);
  for (int i = 0; i < n; ++i) p[i] = lanes[i];
}
GS_INLINE F32 load_f16_n(const std::uint16_t* p, int n) {
  std::uint16_t lanes[F32::N] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load_f16(lanes);
}
GS_INLINE void store_f16_n(std::uint16_t* p, F32 v, int n) {
  std::uint16_t lanes[F32::N];
  store_f16(lanes, v);
  for (int i = 0; i < n; ++i) p[i] = lanes[i];
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
