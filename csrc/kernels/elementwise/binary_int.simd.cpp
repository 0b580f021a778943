// Operations of two inputs on integers and bool, and comparisons of all types. Plain loops: the
// compiler vectorises them. Integers wrap around; division by zero gives zero, as NumPy's does.
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/run.h"
#include "kernels/elementwise/unsigned.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

template <class T>
GS_INLINE T fmod_one(T a, T b) {
  const bool minus_one = T(-1) < T(0) && b == T(-1);  // the least integer has no counterpart
  return b == 0 || minus_one ? T(0) : T(a % b);
}
template <class T>
GS_INLINE T remainder_one(T a, T b) {
  const T r = fmod_one(a, b);
  return r != 0 && (r < 0) != (b < 0) ? T(r + b) : r;
}
template <class T>
GS_INLINE T floor_divide_one(T a, T b) {
  using U = typename Unsigned<T>::type;
  if (b == 0) return 0;
  if (T(-1) < T(0) && b == T(-1)) return T(U(0) - U(a));
  return T(a / b - (remainder_one(a, b) != fmod_one(a, b)));
}
template <class T>
GS_INLINE T pow_one(T base, T exponent) {
  using U = typename Unsigned<T>::type;
  if (exponent < 0) return base == 1 ? T(1) : base == T(-1) ? T(exponent % 2 ? -1 : 1) : T(0);
  U result = 1, square = U(base);
  for (; exponent; exponent = T(exponent / 2), square *= square) {
    if (exponent % 2) result *= square;
  }
  return T(result);
}

#define GS_OP(name, ...)                                   \
  template <class T>                                       \
  GS_INLINE T name##_of(T a, T b) {                        \
    using U [[maybe_unused]] = typename Unsigned<T>::type; \
    return T(__VA_ARGS__);                                 \
  }
GS_OP(add, U(a) + U(b))
GS_OP(sub, U(a) - U(b))
GS_OP(mul, U(a) * U(b))
GS_OP(maximum, a > b ? a : b)
GS_OP(minimum, a < b ? a : b)
GS_OP(floor_divide, floor_divide_one(a, b))
GS_OP(remainder, remainder_one(a, b))
GS_OP(fmod, fmod_one(a, b))
GS_OP(pow, pow_one(a, b))
GS_OP(bitwise_and, a& b)
GS_OP(bitwise_or, a | b)
GS_OP(bitwise_xor, a ^ b)
#undef GS_OP

#define GS_OP(name, operation)         \
  template <class T>                   \
  GS_INLINE bool name##_of(T a, T b) { \
    return a operation b;              \
  }
GS_OP(eq, ==)
GS_OP(ne, !=)
GS_OP(lt, <)
GS_OP(le, <=)
GS_OP(gt, >)
GS_OP(ge, >=)
#undef GS_OP

}  // namespace

#define GS_ROW_OF(op, dtype, Y)                                                                  \
  void op##_##dtype(const BinaryRun& run) {                                                      \
    using T = CppType<DType::dtype>;                                                             \
    const auto f = [](T a, T b) { return op##_of<T>(a, b); };                                    \
    run_binary<Y, T>(run,                                                                        \
                     [f]<bool kOneA, bool kOneB>(std::int64_t n, Y* y, const T* a, const T* b) { \
                       map_elements<kOneA, kOneB>(n, y, a, b, f);                                \
                     });                                                                         \
  }
#define GS_ROW(op, dtype) GS_ROW_OF(op, dtype, CppType<DType::dtype>)
#include "kernels/elementwise/binary_int.inc"
#undef GS_ROW
#define GS_ROW(op, dtype) GS_ROW_OF(op, dtype, bool)
#include "kernels/elementwise/compare.inc"
#undef GS_ROW
#undef GS_ROW_OF

}  // namespace gradsmith::kernels::GS_ISA
