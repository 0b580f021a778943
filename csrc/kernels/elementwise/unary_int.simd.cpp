// Operations of one input on integers and bool, and the questions with a bool for an answer. Plain
// loops: the compiler vectorises them. Integers wrap around.
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/run.h"
#include "kernels/elementwise/unsigned.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

#define GS_OP(name, ...)                                                   \
  template <class T>                                                       \
  GS_INLINE T name##_of(T x, [[maybe_unused]] T p, [[maybe_unused]] T q) { \
    using U [[maybe_unused]] = typename Unsigned<T>::type;                 \
    return T(__VA_ARGS__);                                                 \
  }
GS_OP(neg, U(0) - U(x))
GS_OP(abs, x < 0 ? U(0) - U(x) : U(x))
GS_OP(sign, (x > 0) - (x < 0))
GS_OP(square, U(x) * U(x))
GS_OP(relu, x > 0 ? x : 0)
GS_OP(clamp, x<p ? p : x> q ? q : x)
GS_OP(bitwise_not, ~x)
#undef GS_OP
// bool is stored as a byte of 0 or 1.
GS_INLINE bool bitwise_not_of(bool x, bool, bool) { return !x; }

// A parameter out of range is the nearest value of the type.
template <class T>
GS_INLINE T saturate(double x) {
  constexpr int kBits = 8 * sizeof(T) - (T(-1) < T(0));
  constexpr T kMax = T(~std::uint64_t(0) >> (64 - kBits)),
              kMin = T(-1) < T(0) ? T(-kMax - 1) : T(0);
  return x >= double(kMax) ? kMax : x <= double(kMin) ? kMin : T(x);
}

#define GS_OP(name, ...)          \
  template <class T>              \
  GS_INLINE bool name##_of(T x) { \
    return __VA_ARGS__;           \
  }
GS_OP(isnan, x != x)
GS_OP(isinf, __builtin_fabs(double(x)) == __builtin_inf())
GS_OP(isfinite, __builtin_fabs(double(x)) < __builtin_inf())
GS_OP(logical_not, x == T(0))
#undef GS_OP

}  // namespace

#define GS_ROW(op, dtype)                                                                      \
  void op##_##dtype(const UnaryRun& run) {                                                     \
    using T = CppType<DType::dtype>;                                                           \
    const T p = saturate<T>(run.params.p), q = saturate<T>(run.params.q);                      \
    const auto f = [p, q](T x) { return op##_of(x, p, q); };                                   \
    run_unary<T, T>(run, [f](std::int64_t n, T* y, const T* x) { map_elements(n, y, x, f); }); \
  }
#include "kernels/elementwise/unary_int.inc"
#undef GS_ROW

#define GS_ROW(op, dtype)                                                                       \
  void op##_##dtype(const UnaryRun& run) {                                                      \
    using T = CppType<DType::dtype>;                                                            \
    const auto f = [](T x) { return op##_of(x); };                                              \
    run_unary<bool, T>(run,                                                                     \
                       [f](std::int64_t n, bool* y, const T* x) { map_elements(n, y, x, f); }); \
  }
#include "kernels/elementwise/predicate.inc"
#undef GS_ROW

}  // namespace gradsmith::kernels::GS_ISA
