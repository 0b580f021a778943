// Operations of two inputs on float and double, the backward operations among them.
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/run.h"
#include "kernels/simd/math.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// Python's rules: the remainder has the sign of b, and floor_divide is (a - remainder) / b.
template <class T>
GS_INLINE T remainder_of_one(T a, T b) {
  const T r = T(__builtin_fmod(double(a), double(b)));
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
template <class T>
GS_INLINE T floor_divide_of_one(T a, T b) {
  if (b == 0) return a / b;
  const T r = T(__builtin_fmod(double(a), double(b)));
  const bool below = r != 0 && (r < 0) != (b < 0);  // a - r is finite for an infinite b
  const T quotient = (a - r) / b - T(below);
  return quotient == 0 ? T(__builtin_copysign(0.0, double(a / b)))
                       : T(__builtin_nearbyint(double(quotient)));
}

// The table: what each operation is, of vectors a and b (of T) and the parameters p and q.
#define GS_OP(name, ...)                                                        \
  template <class V, class T>                                                   \
  GS_INLINE V name##_of(V a, V b, [[maybe_unused]] T p, [[maybe_unused]] T q) { \
    return __VA_ARGS__;                                                         \
  }
#define GS_LANES(name, ...) GS_OP(name, per_lane<T>([](T x, T y) { return T(__VA_ARGS__); }, a, b))

GS_OP(add, a + b)
GS_OP(sub, a - b)
GS_OP(mul, a* b)
GS_OP(div, a / b)
GS_OP(maximum, max_nan(a, b))
GS_OP(minimum, min_nan(a, b))
GS_OP(pow, pow(a, b))
GS_LANES(fmod, __builtin_fmod(double(x), double(y)))
GS_LANES(atan2, __builtin_atan2(double(x), double(y)))
GS_LANES(remainder, remainder_of_one(x, y))
GS_LANES(floor_divide, floor_divide_of_one(x, y))

// a is the incoming gradient; b the forward operation's output y or input x.
GS_OP(relu_backward_y, select(gt(b, T(0)), a, V(T(0))))
GS_OP(sigmoid_backward_y, a*(b*(T(1) - b)))
GS_OP(tanh_backward_y, a* fnma(b, b, V(T(1))))
GS_OP(leaky_relu_backward_x, select(gt(b, T(0)), a, a* p))
GS_OP(elu_backward_x, select(gt(b, T(0)), a, a*(exp(b) * p)))
GS_OP(selu_backward_x, a* select(gt(b, T(0)), V(T(1.0507009873554805)),
                                 exp(b) * T(1.0507009873554805 * 1.6732632423543772)))
GS_OP(gelu_backward_x, a* gelu_slope(b))
GS_OP(gelu_tanh_backward_x, a* gelu_tanh_slope(b))
GS_OP(silu_backward_x, a* silu_slope(b))
GS_OP(softplus_backward_x, select(gt(b* p, V(q)), a, a* sigmoid(b* p)))
GS_OP(log_sigmoid_backward_x, a* sigmoid(-b))
GS_OP(mish_backward_x, a* mish_slope(b))
GS_OP(clamp_backward_x, select(lt(b, V(p)) | gt(b, V(q)), V(T(0)), a))
GS_OP(hardsigmoid_backward_x, select(lt(abs(b), T(3)), a / V(T(6)), V(T(0))))
GS_OP(hardswish_backward_x,
      select(lt(b, T(3)), select(gt(b, T(-3)), a*(b / V(T(3)) + T(0.5)), V(T(0))), a))
#undef GS_OP
#undef GS_LANES

}  // namespace

#define GS_ROW(op, dtype)                                                                        \
  void op##_##dtype(const BinaryRun& run) {                                                      \
    using T = CppType<DType::dtype>;                                                             \
    const T p = T(run.params.p), q = T(run.params.q);                                            \
    const auto f = [p, q](Vec<T> a, Vec<T> b) GS_LAMBDA_INLINE { return op##_of(a, b, p, q); };  \
    run_binary<T, T>(run,                                                                        \
                     [f]<bool kOneA, bool kOneB>(std::int64_t n, T* y, const T* a, const T* b) { \
                       map_vectors<kOneA, kOneB>(n, y, a, b, f);                                 \
                     });                                                                         \
  }
#include "kernels/elementwise/binary_float.inc"
#undef GS_ROW

}  // namespace gradsmith::kernels::GS_ISA
