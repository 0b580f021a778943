// Fused optimiser steps and gradient clipping on contiguous arrays.
//
// Formulas: those of torch.optim 2.13, in its order of operations (eps outside the square root,
// bias correction of Adam on both moments, first momentum buffer equal to the gradient).
//
// Contract: all arrays of one step have `count` elements of the row's dtype, contiguous, any
// alignment, and do not overlap. Parameters and state are updated in place, gradients are only
// read. Hyperparameters are doubles and are rounded once to the dtype. Every element is computed
// alone, so results do not depend on threads or on how a tensor is cut.
//
// Idea: one pass. A composed Adam step reads or writes about 20 arrays, the fused one 7, and a
// step is memory bound as soon as the model leaves the cache. A whole list of tensors is one
// parallel region: many parameters are biases of a few hundred bytes, which are not worth one each.
// Measured: Adam on 2^20 float32 values moves 45 GB/s, 1.8 times torch 2.13's fused step; the norm
// runs 2.1 times as fast; one thread of a loaded AMD Zen 3 (AVX2), 2026-11-23.
#pragma once
#include <cstdint>
#include <tuple>

#include "kernels/kernel.h"

namespace gradsmith::kernels {

// g = grad (negated when maximize) + weight_decay * p
// b = first_step ? g : momentum * b + (1 - dampening) * g      (when momentum is not 0)
// p -= lr * (nesterov ? g + momentum * b : b)
struct SgdStep {
  void* param;
  const void* grad;
  void* momentum_buffer;  // null when momentum is 0
  std::int64_t count;
  double lr, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false, maximize = false, first_step = false;
};

// m = lerp(m, g, 1 - beta1)
//
// v = beta2 * v + (1 - beta2) * g * g
//
// s = amsgrad ? max of v so far : v
//
// p -= step_size * m / (sqrt(s) / bias_correction2_sqrt + eps)
//
// where step_size = lr / (1 - beta1^t) and bias_correction2_sqrt = sqrt(1 - beta2^t) come from the
// caller. weight_decay is added to the gradient (Adam), or p *= 1 - lr * weight_decay comes first
// when `decoupled` (AdamW).
//
// NAdam has step_size * m + grad_step_size * g for step_size * m. RAdam's first steps are `plain`:
// p -= step_size * m.
struct AdamStep {
  void* param;
  const void* grad;
  void* exp_avg;
  void* exp_avg_sq;
  void* max_exp_avg_sq;  // null without amsgrad
  std::int64_t count;
  double lr, step_size, bias_correction2_sqrt;
  double beta1, beta2, eps, weight_decay = 0, grad_step_size = 0;
  bool decoupled = false, maximize = false, plain = false;
};

// m = lerp(m, g, 1 - beta1);  u = max(beta2 * u, |g| + eps);  p -= step_size * m / u
struct AdamaxStep {
  void* param;
  const void* grad;
  void* exp_avg;
  void* exp_inf;
  std::int64_t count;
  double step_size, beta1, beta2, eps, weight_decay = 0;
  bool maximize = false;
};

// v = rho * v + (1 - rho) * g * g;  d = sqrt((u + eps) / (v + eps)) * g
// u = rho * u + (1 - rho) * d * d;  p -= lr * d
struct AdadeltaStep {
  void* param;
  const void* grad;
  void* square_avg;
  void* acc_delta;
  std::int64_t count;
  double lr, rho, eps, weight_decay = 0;
  bool maximize = false;
};

// p = (1 - lambd * eta) * p - eta * g;  a = lerp(a, p, mu), which is p where mu is 1
struct AsgdStep {
  void* param;
  const void* grad;
  void* ax;
  std::int64_t count;
  double eta, lambd, mu, weight_decay = 0;
  bool maximize = false;
};

// Where the sign of g is that of the gradient before, s *= eta_plus; where it turned,
// s *= eta_minus and g = 0. Then s is limited to [smallest, largest], and p -= sign(g) * s. NaN has
// no sign: it moves nothing.
struct RpropStep {
  void* param;
  const void* grad;
  void* prev;
  void* step_size;
  std::int64_t count;
  double eta_minus, eta_plus, smallest, largest;
  bool maximize = false;
};

// p = (1 - lr * weight_decay) * p - lr * sign(lerp(m, g, 1 - beta1));  m = lerp(m, g, 1 - beta2)
// The sign of NaN is NaN: p shows it.
struct LionStep {
  void* param;
  const void* grad;
  void* exp_avg;
  std::int64_t count;
  double lr, beta1, beta2, weight_decay = 0;
  bool maximize = false;
};

// v = alpha * v + (1 - alpha) * g * g;  a = lerp(a, g, 1 - alpha) when centered
// d = sqrt(centered ? v - a * a : v) + eps
// b = momentum * b + g / d;  p -= lr * b      or, without momentum, p -= lr * g / d
struct RmspropStep {
  void* param;
  const void* grad;
  void* square_avg;
  void* grad_avg;         // null unless centered
  void* momentum_buffer;  // null when momentum is 0
  std::int64_t count;
  double lr, alpha, eps, weight_decay = 0, momentum = 0;
  bool maximize = false;
};

// s += g * g;  p -= lr * g / (sqrt(s) + eps)      with the decayed lr from the caller
struct AdagradStep {
  void* param;
  const void* grad;
  void* state_sum;
  std::int64_t count;
  double lr, eps, weight_decay = 0;
  bool maximize = false;
};

// One contiguous array to be reduced or changed in place.
struct FlatArray {
  void* data;
  std::int64_t count;
};

GS_KERNEL(sgd_step, void(const SgdStep& args));
GS_KERNEL(adam_step, void(const AdamStep& args));
GS_KERNEL(rmsprop_step, void(const RmspropStep& args));
GS_KERNEL(adagrad_step, void(const AdagradStep& args));
GS_KERNEL(adamax_step, void(const AdamaxStep& args));
GS_KERNEL(adadelta_step, void(const AdadeltaStep& args));
GS_KERNEL(asgd_step, void(const AsgdStep& args));
GS_KERNEL(rprop_step, void(const RpropStep& args));
GS_KERNEL(lion_step, void(const LionStep& args));
// Sum of squares and largest magnitude (NaN if there is one) of a short piece: at most
// 4096 elements, so that float32 accumulators lose nothing worth mentioning.
GS_KERNEL(sum_squares, double(const FlatArray& args));
GS_KERNEL(max_abs, double(const FlatArray& args));
GS_KERNEL(scale_inplace, void(const FlatArray& args, double factor));
GS_KERNEL(clamp_inplace, void(const FlatArray& args, double low, double high));  // NaN stays

#if !defined(GS_ISA)
// The arrays of a step, which may not be there: the parameter, the gradient, the state.
inline auto arrays_of(SgdStep& s) { return std::tie(s.param, s.grad, s.momentum_buffer); }
inline auto arrays_of(AdamStep& s) {
  return std::tie(s.param, s.grad, s.exp_avg, s.exp_avg_sq, s.max_exp_avg_sq);
}
inline auto arrays_of(RmspropStep& s) {
  return std::tie(s.param, s.grad, s.square_avg, s.grad_avg, s.momentum_buffer);
}
inline auto arrays_of(AdagradStep& s) { return std::tie(s.param, s.grad, s.state_sum); }
inline auto arrays_of(AdamaxStep& s) { return std::tie(s.param, s.grad, s.exp_avg, s.exp_inf); }
inline auto arrays_of(AdadeltaStep& s) {
  return std::tie(s.param, s.grad, s.square_avg, s.acc_delta);
}
inline auto arrays_of(AsgdStep& s) { return std::tie(s.param, s.grad, s.ax); }
inline auto arrays_of(RpropStep& s) { return std::tie(s.param, s.grad, s.prev, s.step_size); }
inline auto arrays_of(LionStep& s) { return std::tie(s.param, s.grad, s.exp_avg); }
inline auto arrays_of(FlatArray& a) { return std::tie(a.data); }

// Every step struct.
#define GS_OPTIMIZER_STEPS(X) \
  X(SgdStep)                  \
  X(AdamStep)                 \
  X(RmspropStep)              \
  X(AdagradStep)              \
  X(AdamaxStep)               \
  X(AdadeltaStep)             \
  X(AsgdStep)                 \
  X(RpropStep)                \
  X(LionStep)

// All `tensors` entries in one parallel region. Defined for every step struct.
template <class Step>
GS_API void optimizer_step(DType dtype, const Step* tensors, std::int64_t tensor_count);

// Euclidean norm over all arrays: pieces of fixed size, added in double in their order.
GS_API double global_norm(DType dtype, const FlatArray* arrays, std::int64_t array_count);
// Largest magnitude over all arrays; NaN if one is NaN.
GS_API double global_max_abs(DType dtype, const FlatArray* arrays, std::int64_t array_count);
// Multiplies all arrays by factor / limits them to [low, high], in place.
GS_API void scale_arrays(DType dtype, const FlatArray* arrays, std::int64_t array_count,
                         double factor);
GS_API void clamp_arrays(DType dtype, const FlatArray* arrays, std::int64_t array_count, double low,
                         double high);
// clip_grad_norm_: scales by min(1, max_norm / (norm + 1e-6)) and returns the norm before.
GS_API double clip_norm(DType dtype, const FlatArray* arrays, std::int64_t array_count,
                        double max_norm);
#endif

}  // namespace gradsmith::kernels
