// Optimiser steps, once for both dtypes and every ISA. The loops are memory bound outside the
// cache; inside it the division and the square root of Adam are the limit, so the bias correction
// is a multiplication by the reciprocal.
#include "kernels/optim/optim.h"
#include "kernels/simd/sweep.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// The gradient as every optimiser starts with it.
template <class V>
inline V effective_grad(V grad, V param, bool maximize, bool decay, V weight) {
  if (maximize) grad = -grad;
  if (decay) grad = fma(weight, param, grad);
  return grad;
}

// a + weight * (b - a), from the nearer end so that weight 1 gives exactly b.
template <class V>
inline V lerp(V a, V b, V weight, V rest, bool from_b) {
  const V d = b - a;
  return from_b ? fnma(d, rest, b) : fma(weight, d, a);
}

// `size` with the sign of x, and 0 where x is 0.
template <class V>
inline V signed_size(V size, V x) {
  return select(eq(x, V::zero()), V::zero(), copysign(size, x));
}

template <class T>
void sgd(const SgdStep& a) {
  using V = Vec<T>;
  T* const param = static_cast<T*>(a.param);
  const T* const grad = static_cast<const T*>(a.grad);
  T* const buffer = static_cast<T*>(a.momentum_buffer);
  const V lr = V::set(T(a.lr)), momentum = V::set(T(a.momentum));
  const V fresh = V::set(T(1 - a.dampening)), weight = V::set(T(a.weight_decay));
  const bool decay = a.weight_decay != 0, with_momentum = a.momentum != 0;
  sweep<V>(a.count, [&](Index i, auto part) {
    const V p = get(param + i, part);
    V g = effective_grad(get(grad + i, part), p, a.maximize, decay, weight);
    if (with_momentum) {
      const V b = a.first_step ? g : fma(momentum, get(buffer + i, part), fresh * g);
      put(buffer + i, b, part);
      g = a.nesterov ? fma(momentum, b, g) : b;
    }
    put(param + i, fnma(lr, g, p), part);
  });
}

template <class T>
void adam(const AdamStep& a) {
  using V = Vec<T>;
  T* const param = static_cast<T*>(a.param);
  const T* const grad = static_cast<const T*>(a.grad);
  T* const first = static_cast<T*>(a.exp_avg);
  T* const second = static_cast<T*>(a.exp_avg_sq);
  T* const largest = static_cast<T*>(a.max_exp_avg_sq);
  const bool coupled_decay = a.weight_decay != 0 && !a.decoupled;
  const bool decoupled_decay = a.weight_decay != 0 && a.decoupled;
  const bool from_grad = 1 - a.beta1 >= 0.5;
  const V weight = V::set(T(a.weight_decay)), shrink = V::set(T(1 - a.lr * a.weight_decay));
  const V beta1 = V::set(T(a.beta1)), fresh1 = V::set(T(1 - a.beta1));
  const V beta2 = V::set(T(a.beta2)), fresh2 = V::set(T(1 - a.beta2));
  const V correction = V::set(T(1 / a.bias_correction2_sqrt));
  const V eps = V::set(T(a.eps)), step_size = V::set(T(a.step_size));
  const V grad_step_size = V::set(T(a.grad_step_size));
  const bool with_grad = a.grad_step_size != 0;
  sweep<V>(a.count, [&](Index i, auto part) {
    V p = get(param + i, part);
    const V g = effective_grad(get(grad + i, part), p, a.maximize, coupled_decay, weight);
    if (decoupled_decay) p = p * shrink;
    const V m = lerp(get(first + i, part), g, fresh1, beta1, from_grad);
    put(first + i, m, part);
    const V v = fma(fresh2 * g, g, beta2 * get(second + i, part));
    put(second + i, v, part);
    V s = v;
    if (largest) {
      const V old = get(largest + i, part);
      s = select(le(v, old), old, v);  // NaN in v wins
      put(largest + i, s, part);
    }
    if (a.plain) {
      put(param + i, fnma(step_size, m, p), part);
      return;
    }
    const V denominator = fma(sqrt(s), correction, eps);
    p = with_grad ? p - fma(grad_step_size, g, step_size * m) / denominator
                  : fnma(step_size, m / denominator, p);
    put(param + i, p, part);
  });
}

template <class T>
void rmsprop(const RmspropStep& a) {
  using V = Vec<T>;
  T* const param = static_cast<T*>(a.param);
  const T* const grad = static_cast<const T*>(a.grad);
  T* const square = static_cast<T*>(a.square_avg);
  T* const mean = static_cast<T*>(a.grad_avg);
  T* const buffer = static_cast<T*>(a.momentum_buffer);
  const bool decay = a.weight_decay != 0, from_grad = 1 - a.alpha >= 0.5;
  const V weight = V::set(T(a.weight_decay)), momentum = V::set(T(a.momentum));
  const V alpha = V::set(T(a.alpha)), fresh = V::set(T(1 - a.alpha));
  const V eps = V::set(T(a.eps)), lr = V::set(T(a.lr));
  sweep<V>(a.count, [&](Index i, auto part) {
    const V p = get(param + i, part);
    const V g = effective_grad(get(grad + i, part), p, a.maximize, decay, weight);
    V v = fma(fresh * g, g, alpha * get(square + i, part));
    put(square + i, v, part);
    if (mean) {
      const V m = lerp(get(mean + i, part), g, fresh, alpha, from_grad);
      put(mean + i, m, part);
      v = fnma(m, m, v);
    }
    V step = g / (sqrt(v) + eps);
    if (buffer) {
      step = fma(momentum, get(buffer + i, part), step);
      put(buffer + i, step, part);
    }
    put(param + i, fnma(lr, step, p), part);
  });
}

template <class T>
void adagrad(const AdagradStep& a) {
  using V = Vec<T>;
  T* const param = static_cast<T*>(a.param);
  const T* const grad = static_cast<const T*>(a.grad);
  T* const sum = static_cast<T*>(a.state_sum);
  const bool decay = a.weight_decay != 0;
  const V weight = V::set(T(a.weight_decay)), eps = V::set(T(a.eps)), lr = V::set(T(a.lr));
  sweep<V>(a.count, [&](Index i, auto part) {
    const V p = get(param + i, part);
    const V g = effective_grad(get(grad + i, part), p, a.maximize, decay, weight);
    const V s = fma(g, g, get(sum + i, part));
    put(sum + i, s, part);
    put(param + i, fnma(lr, g / (sqrt(s) + eps), p), part);
  });
}

template <class T>
void adamax(const AdamaxStep& a) {
  using V = Vec<T>;
  T* const param = static_cast<T*>(a.param);
  const T* const grad = static_cast<const T*>(a.grad);
  T* const first = static_cast<T*>(a.exp_avg);
  T* const largest = static_cast<T*>(a.exp_inf);
  const bool decay = a.weight_decay != 0, from_grad = 1 - a.beta1 >= 0.5;
  const V weight = V::set(T(a.weight_decay)), eps = V::set(T(a.eps));
  const V beta1 = V::set(T(a.beta1)), fresh = V::set(T(1 - a.beta1));
  const V beta2 = V::set(T(a.beta2)), step_size = V::set(T(a.step_size));
  sweep<V>(a.count, [&](Index i, auto part) {
    const V p = get(param + i, part);
    const V g = effective_grad(get(grad + i, part), p, a.maximize, decay, weight);
    const V m = lerp(get(first + i, part), g, fresh, beta1, from_grad);
    put(first + i, m, part);
    const V decayed = beta2 * get(largest + i, part), now = abs(g) + eps;
    const V u = max_nan(now, decayed);
    put(largest + i, u, part);
    put(param + i, fnma(step_size, m / u, p), part);
  });
}

template <class T>
void adadelta(const AdadeltaStep& a) {
  using V = Vec<T>;
  T* const param = static_cast<T*>(a.param);
  const T* const grad = static_cast<const T*>(a.grad);
  T* const square = static_cast<T*>(a.square_avg);
  T* const deltas = static_cast<T*>(a.acc_delta);
  const bool decay = a.weight_decay != 0;
  const V weight = V::set(T(a.weight_decay)), eps = V::set(T(a.eps)), lr = V::set(T(a.lr));
  const V rho = V::set(T(a.rho)), fresh = V::set(T(1 - a.rho));
  sweep<V>(a.count, [&](Index i, auto part) {
    const V p = get(param + i, part);
    const V g = effective_grad(get(grad + i, part), p, a.maximize, decay, weight);
    const V v = fma(fresh * g, g, rho * get(square + i, part));
    put(square + i, v, part);
    const V u = get(deltas + i, part);
    const V d = sqrt((u + eps) / (v + eps)) * g;
    put(deltas + i, fma(fresh * d, d, rho * u), part);
    put(param + i, fnma(lr, d, p), part);
  });
}

template <class T>
void asgd(const AsgdStep& a) {
  using V = Vec<T>;
  T* const param = static_cast<T*>(a.param);
  const T* const grad = static_cast<const T*>(a.grad);
  T* const average = static_cast<T*>(a.ax);
  const bool decay = a.weight_decay != 0, from_param = a.mu >= 0.5, follows = a.mu == 1;
  const V weight = V::set(T(a.weight_decay)), shrink = V::set(T(1 - a.lambd * a.eta));
  const V eta = V::set(T(a.eta)), mu = V::set(T(a.mu)), rest = V::set(T(1 - a.mu));
  sweep<V>(a.count, [&](Index i, auto part) {
    V p = get(param + i, part);
    const V g = effective_grad(get(grad + i, part), p, a.maximize, decay, weight);
    p = fnma(eta, g, p * shrink);
    put(param + i, p, part);
    put(average + i, follows ? p : lerp(get(average + i, part), p, mu, rest, from_param), part);
  });
}

template <class T>
void rprop(const RpropStep& a) {
  using V = Vec<T>;
  T* const param = static_cast<T*>(a.param);
  const T* const grad = static_cast<const T*>(a.grad);
  T* const previous = static_cast<T*>(a.prev);
  T* const sizes = static_cast<T*>(a.step_size);
  const V zero = V::zero(), one = V::set(T(1));
  const V down = V::set(T(a.eta_minus)), up = V::set(T(a.eta_plus));
  const V low = V::set(T(a.smallest)), high = V::set(T(a.largest));
  sweep<V>(a.count, [&](Index i, auto part) {
    V g = get(grad + i, part);
    if (a.maximize) g = -g;
    // Not the product with the gradient before, which underflows.
    const V agreement = select(eq(g, zero), zero, copysign(one, g) * get(previous + i, part));
    const auto turned = lt(agreement, zero);
    const V factor = select(turned, down, select(gt(agreement, zero), up, one));
    V size = get(sizes + i, part) * factor;
    size = select(lt(size, low), low, size);
    size = select(gt(size, high), high, size);
    put(sizes + i, size, part);
    g = select(turned, zero, g);
    put(previous + i, g, part);
    const V step = select(is_nan(g), zero, signed_size(size, g));
    put(param + i, get(param + i, part) - step, part);
  });
}

template <class T>
void lion(const LionStep& a) {
  using V = Vec<T>;
  T* const param = static_cast<T*>(a.param);
  const T* const grad = static_cast<const T*>(a.grad);
  T* const average = static_cast<T*>(a.exp_avg);
  const bool turns = 1 - a.beta1 >= 0.5, from_grad = 1 - a.beta2 >= 0.5;
  const V shrink = V::set(T(1 - a.lr * a.weight_decay)), lr = V::set(T(a.lr));
  const V beta1 = V::set(T(a.beta1)), fresh1 = V::set(T(1 - a.beta1));
  const V beta2 = V::set(T(a.beta2)), fresh2 = V::set(T(1 - a.beta2));
  sweep<V>(a.count, [&](Index i, auto part) {
    const V p = get(param + i, part), m = get(average + i, part);
    V g = get(grad + i, part);
    if (a.maximize) g = -g;
    const V direction = lerp(m, g, fresh1, beta1, turns);
    put(average + i, lerp(m, g, fresh2, beta2, from_grad), part);
    const V step = select(is_nan(direction), direction, signed_size(lr, direction));
    put(param + i, p * shrink - step, part);
  });
}

// Four accumulators hide the latency of the addition.
template <class T>
double squares(const FlatArray& a) {
  using V = Vec<T>;
  constexpr std::int64_t N = V::N;
  const T* const x = static_cast<const T*>(a.data);
  V s0 = V::zero(), s1 = V::zero(), s2 = V::zero(), s3 = V::zero();
  std::int64_t i = 0;
  for (; i + 4 * N <= a.count; i += 4 * N) {
    const V x0 = load(x + i), x1 = load(x + i + N);
    const V x2 = load(x + i + 2 * N), x3 = load(x + i + 3 * N);
    s0 = fma(x0, x0, s0);
    s1 = fma(x1, x1, s1);
    s2 = fma(x2, x2, s2);
    s3 = fma(x3, x3, s3);
  }
  for (; i < a.count; i += N) {
    const V v = load_n(x + i, a.count - i < N ? int(a.count - i) : int(N));
    s0 = fma(v, v, s0);
  }
  return double(hsum((s0 + s1) + (s2 + s3)));
}

template <class T>
double largest_magnitude(const FlatArray& a) {
  using V = Vec<T>;
  const T* const x = static_cast<const T*>(a.data);
  V top = V::zero(), nan = V::zero();  // NaN compares false: kept apart
  sweep<V>(a.count, [&](Index i, auto part) {
    const V v = abs(get(x + i, part));
    top = select(gt(v, top), v, top);
    nan = select(is_nan(v), v, nan);
  });
  const T bad = hsum(nan);
  return bad == bad ? double(hmax(top)) : double(bad);
}

template <class T>
void scale(const FlatArray& a, double factor) {
  using V = Vec<T>;
  T* const x = static_cast<T*>(a.data);
  const V f = V::set(T(factor));
  sweep<V>(a.count, [&](Index i, auto part) { put(x + i, get(x + i, part) * f, part); });
}

template <class T>
void limit(const FlatArray& a, double low, double high) {
  using V = Vec<T>;
  T* const x = static_cast<T*>(a.data);
  const V lo = V::set(T(low)), hi = V::set(T(high));
  sweep<V>(a.count, [&](Index i, auto part) {
    V v = get(x + i, part);
    v = select(lt(v, lo), lo, v);
    put(x + i, select(gt(v, hi), hi, v), part);
  });
}

}  // namespace

void sgd_step_f32(const SgdStep& a) { sgd<float>(a); }
void sgd_step_f64(const SgdStep& a) { sgd<double>(a); }
void adam_step_f32(const AdamStep& a) { adam<float>(a); }
void adam_step_f64(const AdamStep& a) { adam<double>(a); }
void rmsprop_step_f32(const RmspropStep& a) { rmsprop<float>(a); }
void rmsprop_step_f64(const RmspropStep& a) { rmsprop<double>(a); }
void adagrad_step_f32(const AdagradStep& a) { adagrad<float>(a); }
void adagrad_step_f64(const AdagradStep& a) { adagrad<double>(a); }
void adamax_step_f32(const AdamaxStep& a) { adamax<float>(a); }
void adamax_step_f64(const AdamaxStep& a) { adamax<double>(a); }
void adadelta_step_f32(const AdadeltaStep& a) { adadelta<float>(a); }
void adadelta_step_f64(const AdadeltaStep& a) { adadelta<double>(a); }
void asgd_step_f32(const AsgdStep& a) { asgd<float>(a); }
void asgd_step_f64(const AsgdStep& a) { asgd<double>(a); }
void rprop_step_f32(const RpropStep& a) { rprop<float>(a); }
void rprop_step_f64(const RpropStep& a) { rprop<double>(a); }
void lion_step_f32(const LionStep& a) { lion<float>(a); }
void lion_step_f64(const LionStep& a) { lion<double>(a); }
double sum_squares_f32(const FlatArray& a) { return squares<float>(a); }
double sum_squares_f64(const FlatArray& a) { return squares<double>(a); }
double max_abs_f32(const FlatArray& a) { return largest_magnitude<float>(a); }
double max_abs_f64(const FlatArray& a) { return largest_magnitude<double>(a); }
void scale_inplace_f32(const FlatArray& a, double factor) { scale<float>(a, factor); }
void scale_inplace_f64(const FlatArray& a, double factor) { scale<double>(a, factor); }
void clamp_inplace_f32(const FlatArray& a, double low, double high) { limit<float>(a, low, high); }
void clamp_inplace_f64(const FlatArray& a, double low, double high) { limit<double>(a, low, high); }

}  // namespace gradsmith::kernels::GS_ISA
