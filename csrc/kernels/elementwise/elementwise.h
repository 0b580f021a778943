// Elementwise operations: y[i] = f(x[i]), f(a[i], b[i]), casts, strided copies.
//
// Contract of every leaf kernel: one run of n elements, each operand with its own step in elements
// (0: one value for all, negative: backwards). The output must not overlap an input unless it is
// exactly that input (in place). NaN propagates; maximum and minimum give NaN where either is.
//
// Idea: a step of 1 everywhere, or of 0 in one input, runs on vectors directly; any other step is
// packed through a buffer that stays in L1. The drivers bring operands of any shape down to such
// runs: they drop and merge dimensions, order them by the output's strides and share the elements
// among threads. bfloat16 and float16 are only cast and copied.
//
// The functions that are not arithmetic are in kernels/simd/math.h, with their errors.
//
// Measured (EPYC Zen 3, AVX2, one core, best of 7 in thread CPU time, GB/s read and written,
// float): 16M elements, where memcpy reaches 15.5: relu 18, add 20, exp 13.5, tanh 8.4, gelu 7.3,
// silu 9.6, casts to and from halves 16, 4096x4096 transposition 5.2. 32K elements: relu 85, add
// 62, exp 15, tanh 9.5. For stores past the caches see run.h.
#pragma once
#include <cstdint>

#include "gradsmith/view.h"
#include "kernels/kernel.h"

#if !defined(GS_ISA)
#include <string_view>
#endif

namespace gradsmith::kernels {

// What an operation takes besides its operands, e.g. {negative_slope}, {min, max}, {beta,
// threshold}.
struct Params {
  double p = 0, q = 0;
};

// `stream`: y is too large to be found in a cache later and no input, so write it past the caches.
// `ahead`: ask for what comes later, as the processor does not do that across pages.
struct UnaryRun {
  std::int64_t n;
  void* y;
  const void* x;
  std::int64_t y_step, x_step;
  Params params;
  bool stream = false, ahead = false;
};
struct BinaryRun {
  std::int64_t n;
  void* y;
  const void *a, *b;
  std::int64_t y_step, a_step, b_step;
  Params params;
  bool stream = false, ahead = false;
};
// y = condition ? a : b
struct WhereRun {
  std::int64_t n;
  void* y;
  const std::uint8_t* condition;
  const void *a, *b;
  std::int64_t y_step, condition_step, a_step, b_step;
};
// y[i * y_row + j] = x[i + j * x_column]: a matrix whose rows were columns.
struct TransposeTile {
  std::int64_t rows, columns;
  void* y;
  const void* x;
  std::int64_t y_row, x_column;
};

using unary_kernel = void(const UnaryRun& run);
using binary_kernel = void(const BinaryRun& run);

// The lists of names; which dtypes each has is in the .inc files.

// Output of the input's dtype.
// clang-format off
#define GS_UNARY_KERNELS(X)                                                                        \
  X(neg)                                                                                           \
  X(abs)                                                                                           \
  X(sign) X(square) X(relu) X(clamp) X(bitwise_not) X(sqrt) X(rsqrt) X(reciprocal) X(exp) X(exp2)  \
      X(expm1) X(log) X(log1p) X(log2) X(log10) X(sin) X(cos) X(tan) X(asin) X(acos) X(atan)       \
          X(sinh) X(cosh) X(tanh) X(sigmoid) X(erf) X(erfc) X(floor) X(ceil) X(round) X(trunc)     \
              X(leaky_relu) X(elu) X(selu) X(gelu) X(gelu_tanh) X(silu) X(softplus) X(log_sigmoid) \
                  X(mish) X(softsign) X(hardsigmoid) X(hardswish)
// clang-format on
// Output bool.
#define GS_PREDICATE_KERNELS(X) X(isnan) X(isinf) X(isfinite) X(logical_not)
// Output of the inputs' dtype. *_backward takes the incoming gradient and then what the name ends
// with: the input x or the output y of the forward operation.
// clang-format off
#define GS_BINARY_KERNELS(X)                                                                       \
  X(add)                                                                                           \
  X(sub)                                                                                           \
  X(mul) X(maximum) X(minimum) X(floor_divide) X(remainder) X(fmod) X(pow) X(div) X(atan2)         \
      X(bitwise_and) X(bitwise_or) X(bitwise_xor) X(relu_backward_y) X(sigmoid_backward_y)         \
          X(tanh_backward_y) X(leaky_relu_backward_x) X(elu_backward_x) X(selu_backward_x)         \
              X(gelu_backward_x) X(gelu_tanh_backward_x) X(silu_backward_x) X(softplus_backward_x) \
                  X(log_sigmoid_backward_x) X(mish_backward_x) X(clamp_backward_x)                 \
                      X(hardsigmoid_backward_x) X(hardswish_backward_x)
// clang-format on
// Output bool.
#define GS_COMPARE_KERNELS(X) X(eq) X(ne) X(lt) X(le) X(gt) X(ge)
// Cast of the row's dtype to the named one.
// clang-format off
#define GS_CAST_KERNELS(X) \
  X(cast_to_f32)           \
  X(cast_to_f64)           \
  X(cast_to_bf16) X(cast_to_f16) X(cast_to_i64) X(cast_to_i32) X(cast_to_u8) X(cast_to_b8)
// clang-format on

#define GS_DECLARE_UNARY(op) GS_KERNEL(op, unary_kernel);
#define GS_DECLARE_BINARY(op) GS_KERNEL(op, binary_kernel);
GS_UNARY_KERNELS(GS_DECLARE_UNARY)
GS_PREDICATE_KERNELS(GS_DECLARE_UNARY)
GS_CAST_KERNELS(GS_DECLARE_UNARY)
GS_BINARY_KERNELS(GS_DECLARE_BINARY)
GS_COMPARE_KERNELS(GS_DECLARE_BINARY)
#undef GS_DECLARE_UNARY
#undef GS_DECLARE_BINARY
#undef GS_UNARY_KERNELS
#undef GS_PREDICATE_KERNELS
#undef GS_BINARY_KERNELS
#undef GS_COMPARE_KERNELS
#undef GS_CAST_KERNELS

// Moving elements depends on their size only: the rows are f64, f32, bf16 and u8 for 8, 4, 2, 1
// bytes.
GS_KERNEL(copy_elements, unary_kernel);
GS_KERNEL(where_elements, void(const WhereRun& run));
GS_KERNEL(transpose_tile, void(const TransposeTile& tile));
// y[i] = start + i * step, with p = start and q = step, in double (in int64 for integers).
GS_KERNEL(ramp, unary_kernel);

#if !defined(GS_ISA)
// Drivers. Views of one shape; broadcast operands have stride 0. Kernels are picked by the dtype of
// the (first) input, which the others share; the result's dtype is what the kernel's list says.
GS_API void unary(const Kernel<unary_kernel>& op, const NdView& y, const NdView& x,
                  Params params = {});
GS_API void binary(const Kernel<binary_kernel>& op, const NdView& y, const NdView& a,
                   const NdView& b, Params params = {});
GS_API void where(const NdView& y, const NdView& condition, const NdView& a, const NdView& b);
// Copies between any strides and casts between any dtypes. Floats are cut towards zero when they
// become integers; a bool is x != 0.
GS_API void copy(const NdView& y, const NdView& x);
GS_API void fill(const NdView& y, const void* element);        // of y's dtype
GS_API void iota(const NdView& y, double start, double step);  // y has one dimension

// Kernels by their names in the lists above; null where there is none.
struct UnaryByName {
  const Kernel<unary_kernel>* kernel = nullptr;
  bool gives_bool = false;
};
struct BinaryByName {
  const Kernel<binary_kernel>* kernel = nullptr;
  bool gives_bool = false;
};
GS_API UnaryByName find_unary(std::string_view name);
GS_API BinaryByName find_binary(std::string_view name);
#endif

}  // namespace gradsmith::kernels
