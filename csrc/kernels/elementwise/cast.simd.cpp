// Casts between all dtypes.
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/run.h"
#include "kernels/simd/half_bits.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

template <class A, class B>
inline constexpr bool kSame = false;
template <class A>
inline constexpr bool kSame<A, A> = true;
template <class T>
inline constexpr bool kFloat = kSame<T, float> || kSame<T, double>;

template <class Y, class X>
GS_INLINE Y cast_one(X x) {
  if constexpr (kSame<Y, X>) {
    return x;
  } else if constexpr (kSame<X, BFloat16>) {
    return cast_one<Y>(bf16_to_float(x.bits));
  } else if constexpr (kSame<X, Float16>) {
    return cast_one<Y>(f16_to_float(x.bits));
  } else if constexpr (kSame<Y, BFloat16>) {
    return __builtin_bit_cast(BFloat16, float_to_bf16(float(x)));
  } else if constexpr (kSame<Y, Float16>) {
    return __builtin_bit_cast(Float16, float_to_f16(float(x)));
  } else if constexpr (kSame<Y, std::uint8_t> && kFloat<X>) {
    return std::uint8_t(std::int64_t(x));  // negative numbers wrap around as integers do
  } else if constexpr (kSame<Y, bool>) {
    return x != X(0);
  } else {
    return Y(x);
  }
}

template <class Half>
GS_INLINE F32 load_half(const Half* p) {
  const auto* bits = reinterpret_cast<const std::uint16_t*>(p);
  return kSame<Half, BFloat16> ? load_bf16(bits) : load_f16(bits);
}
template <class Half>
GS_INLINE void store_half(Half* p, F32 v) {
  auto* bits = reinterpret_cast<std::uint16_t*>(p);
  if constexpr (kSame<Half, BFloat16>) {
    store_bf16(bits, v);
  } else {
    store_f16(bits, v);
  }
}
template <class T>
inline constexpr bool kHalf = kSame<T, BFloat16> || kSame<T, Float16>;

template <class Y, class X>
__attribute__((noinline)) void cast_run(std::int64_t n, Y* y, const X* x) {
  std::int64_t i = 0;
  if constexpr (kHalf<X> && kSame<Y, float>) {
    for (; i + F32::N <= n; i += F32::N) store(y + i, load_half(x + i));
  } else if constexpr (kSame<X, float> && kHalf<Y>) {
    for (; i + F32::N <= n; i += F32::N) store_half(y + i, load(x + i));
  }
  for (; i < n; ++i) y[i] = cast_one<Y>(x[i]);
}

template <class Y, class X>
void cast(const UnaryRun& run) {
  run_unary<Y, X>(run, [](std::int64_t n, Y* y, const X* x) { cast_run(n, y, x); });
}

}  // namespace

#define GS_ROW(op, dtype) \
  void op##_##dtype(const UnaryRun& run) { cast<op##_type, CppType<DType::dtype>>(run); }
using cast_to_f32_type = float;
using cast_to_f64_type = double;
using cast_to_bf16_type = BFloat16;
using cast_to_f16_type = Float16;
using cast_to_i64_type = std::int64_t;
using cast_to_i32_type = std::int32_t;
using cast_to_u8_type = std::uint8_t;
using cast_to_b8_type = bool;
#include "kernels/elementwise/cast.inc"
#undef GS_ROW

}  // namespace gradsmith::kernels::GS_ISA
