// The oracle for what has one right answer: integers, comparisons, casts, moves.
#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/elementwise/elementwise.h"

namespace gradsmith::kernels::reference {
namespace {

template <class Y, class X, class F>
void each(const UnaryRun& run, F f) {
  for (std::int64_t i = 0; i < run.n; ++i)
    static_cast<Y*>(run.y)[i * run.y_step] = Y(f(static_cast<const X*>(run.x)[i * run.x_step]));
}
template <class Y, class X, class F>
void each(const BinaryRun& run, F f) {
  for (std::int64_t i = 0; i < run.n; ++i)
    static_cast<Y*>(run.y)[i * run.y_step] = Y(f(static_cast<const X*>(run.a)[i * run.a_step],
                                                 static_cast<const X*>(run.b)[i * run.b_step]));
}

// Wide enough for every sum and product of two int64; the result is cut to the type.
__extension__ typedef __int128 Wide;

Wide floor_quotient(Wide a, Wide b) {
  if (b == 0) return 0;
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
Wide power(Wide base, Wide exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
  if (exponent == 0) return 1;
  const Wide half = power(base, exponent / 2);  // modulo 2^64, as every narrower type is
  return Wide(std::uint64_t(half) * std::uint64_t(half) * (exponent % 2 ? std::uint64_t(base) : 1));
}

}  // namespace

#define GS_OP(op, ...)                                                            \
  static Wide op##_at(Wide x, [[maybe_unused]] Wide p, [[maybe_unused]] Wide q) { \
    return __VA_ARGS__;                                                           \
  }
GS_OP(neg, -x)
GS_OP(abs, x < 0 ? -x : x)
GS_OP(sign, (x > 0) - (x < 0))
GS_OP(square, x* x)
GS_OP(relu, x < 0 ? 0 : x)
GS_OP(clamp, x<p ? p : x> q ? q : x)
GS_OP(bitwise_not, ~x)
#undef GS_OP
#define GS_ROW(op, dtype)                                                                   \
  void op##_##dtype(const UnaryRun& run) {                                                  \
    using T = CppType<DType::dtype>;                                                        \
    each<T, T>(run, [&](T x) {                                                              \
      const bool boolean = std::is_same_v<T, bool>;                                         \
      return boolean ? T(!x) : T(op##_at(Wide(x), Wide(run.params.p), Wide(run.params.q))); \
    });                                                                                     \
  }
#include "kernels/elementwise/unary_int.inc"
#undef GS_ROW

#define GS_OP(op, ...) \
  static Wide op##_at(Wide a, Wide b) { return __VA_ARGS__; }
GS_OP(add, a + b)
GS_OP(sub, a - b)
GS_OP(mul, a* b)
GS_OP(maximum, a > b ? a : b)
GS_OP(minimum, a < b ? a : b)
GS_OP(floor_divide, floor_quotient(a, b))
GS_OP(remainder, b == 0 ? 0 : a - b * floor_quotient(a, b))
GS_OP(fmod, b == 0 ? 0 : a % b)
GS_OP(pow, power(a, b))
GS_OP(bitwise_and, a& b)
GS_OP(bitwise_or, a | b)
GS_OP(bitwise_xor, a ^ b)
#undef GS_OP
#define GS_ROW(op, dtype)                                                   \
  void op##_##dtype(const BinaryRun& run) {                                 \
    using T = CppType<DType::dtype>;                                        \
    each<T, T>(run, [](T a, T b) { return T(op##_at(Wide(a), Wide(b))); }); \
  }
#include "kernels/elementwise/binary_int.inc"
#undef GS_ROW

#define GS_OP(op, ...)       \
  template <class T>         \
  static bool op##_at(T x) { \
    return __VA_ARGS__;      \
  }
GS_OP(isnan, std::isnan(x))
GS_OP(isinf, std::isinf(x))
GS_OP(isfinite, std::isfinite(x))
GS_OP(logical_not, !x)
#undef GS_OP
#define GS_ROW(op, dtype)                               \
  void op##_##dtype(const UnaryRun& run) {              \
    using T = CppType<DType::dtype>;                    \
    each<bool, T>(run, [](T x) { return op##_at(x); }); \
  }
#include "kernels/elementwise/predicate.inc"
#undef GS_ROW

#define GS_OP(op, operation)      \
  template <class T>              \
  static bool op##_at(T a, T b) { \
    return a operation b;         \
  }
GS_OP(eq, ==)
GS_OP(ne, !=)
GS_OP(lt, <)
GS_OP(le, <=)
GS_OP(gt, >)
GS_OP(ge, >=)
#undef GS_OP
#define GS_ROW(op, dtype)                                       \
  void op##_##dtype(const BinaryRun& run) {                     \
    using T = CppType<DType::dtype>;                            \
    each<bool, T>(run, [](T a, T b) { return op##_at(a, b); }); \
  }
#include "kernels/elementwise/compare.inc"
#undef GS_ROW

namespace {

template <class T>
auto value_of(T x) {
  if constexpr (std::is_same_v<T, BFloat16> || std::is_same_v<T, Float16>) {
    return float(x);
  } else {
    return x;
  }
}
template <class Y, class X>
void cast(const UnaryRun& run) {
  each<Y, X>(run, [](X x) {
    const auto value = value_of(x);
    if constexpr (std::is_same_v<Y, X>) {
      return x;
    } else if constexpr (std::is_same_v<Y, BFloat16> || std::is_same_v<Y, Float16>) {
      return Y(float(value));
    } else if constexpr (std::is_same_v<Y, bool>) {
      return value != decltype(value)(0);
    } else if constexpr (std::is_same_v<Y, std::uint8_t> &&
                         std::is_floating_point_v<decltype(value)>) {
      return std::uint8_t(std::int64_t(value));
    } else {
      return Y(value);
    }
  });
}
using cast_to_f32_type = float;
using cast_to_f64_type = double;
using cast_to_bf16_type = BFloat16;
using cast_to_f16_type = Float16;
using cast_to_i64_type = std::int64_t;
using cast_to_i32_type = std::int32_t;
using cast_to_u8_type = std::uint8_t;
using cast_to_b8_type = bool;

void move(std::int64_t bytes, void* y, std::int64_t to, const void* x, std::int64_t from) {
  std::memmove(static_cast<char*>(y) + to * bytes, static_cast<const char*>(x) + from * bytes,
               std::size_t(bytes));
}
template <class T>
void copy_elements_of(const UnaryRun& run) {
  for (std::int64_t i = 0; i < run.n; ++i)
    move(sizeof(T), run.y, i * run.y_step, run.x, i * run.x_step);
}
template <class T>
void where_elements_of(const WhereRun& run) {
  for (std::int64_t i = 0; i < run.n; ++i) {
    const bool chosen = run.condition[i * run.condition_step];
    move(sizeof(T), run.y, i * run.y_step, chosen ? run.a : run.b,
         i * (chosen ? run.a_step : run.b_step));
  }
}
template <class T>
void transpose_tile_of(const TransposeTile& tile) {
  for (std::int64_t i = 0; i < tile.rows; ++i)
    for (std::int64_t j = 0; j < tile.columns; ++j)
      move(sizeof(T), tile.y, i * tile.y_row + j, tile.x, i + j * tile.x_column);
}
template <class T>
void ramp_of(const UnaryRun& run) {
  for (std::int64_t i = 0; i < run.n; ++i) {
    T& y = static_cast<T*>(run.y)[i * run.y_step];
    if constexpr (std::is_floating_point_v<T>) {
      y = T(run.params.p + double(i) * run.params.q);
    } else {
      y = T(std::int64_t(run.params.p) + i * std::int64_t(run.params.q));
    }
  }
}
template <class Fn>
struct Argument;
template <class A>
struct Argument<void(const A&)> {
  using type = A;
};

}  // namespace

#define GS_ROW(op, dtype) \
  void op##_##dtype(const UnaryRun& run) { cast<op##_type, CppType<DType::dtype>>(run); }
#include "kernels/elementwise/cast.inc"
#undef GS_ROW

#define GS_ROW(op, dtype) \
  void op##_##dtype(const Argument<op##_fn>::type& run) { op##_of<CppType<DType::dtype>>(run); }
#include "kernels/elementwise/move.inc"
#undef GS_ROW

}  // namespace gradsmith::kernels::reference
