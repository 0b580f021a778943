// Optimiser steps as their formulas read, in double.
#include <cmath>

#include "kernels/optim/optim.h"

namespace gradsmith::kernels::reference {
namespace {

template <class T>
double gradient(const void* grad, std::int64_t i, bool maximize) {
  const double g = static_cast<const T*>(grad)[i];
  return maximize ? -g : g;
}

double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }

template <class T>
void sgd(const SgdStep& a) {
  T* p = static_cast<T*>(a.param);
  T* b = static_cast<T*>(a.momentum_buffer);
  for (std::int64_t i = 0; i < a.count; ++i) {
    double g = gradient<T>(a.grad, i, a.maximize);
    if (a.weight_decay != 0) g += a.weight_decay * p[i];
    if (a.momentum != 0) {
      const double m = a.first_step ? g : a.momentum * b[i] + (1 - a.dampening) * g;
      b[i] = T(m);
      g = a.nesterov ? g + a.momentum * m : m;
    }
    p[i] = T(p[i] - a.lr * g);
  }
}

template <class T>
void adam(const AdamStep& a) {
  T* p = static_cast<T*>(a.param);
  T* m = static_cast<T*>(a.exp_avg);
  T* v = static_cast<T*>(a.exp_avg_sq);
  T* largest = static_cast<T*>(a.max_exp_avg_sq);
  for (std::int64_t i = 0; i < a.count; ++i) {
    double g = gradient<T>(a.grad, i, a.maximize);
    double param = p[i];
    if (a.decoupled) {
      param *= 1 - a.lr * a.weight_decay;
    } else if (a.weight_decay != 0) {
      g += a.weight_decay * param;
    }
    const double first = a.beta1 * m[i] + (1 - a.beta1) * g;
    double second = a.beta2 * v[i] + (1 - a.beta2) * g * g;
    m[i] = T(first);
    v[i] = T(second);
    if (largest) {
      if (second <= largest[i]) second = largest[i];
      largest[i] = T(second);
    }
    const double step = a.step_size * first + a.grad_step_size * g;
    p[i] =
        T(param - (a.plain ? step : step / (std::sqrt(second) / a.bias_correction2_sqrt + a.eps)));
  }
}

template <class T>
void rmsprop(const RmspropStep& a) {
  T* p = static_cast<T*>(a.param);
  T* v = static_cast<T*>(a.square_avg);
  T* mean = static_cast<T*>(a.grad_avg);
  T* b = static_cast<T*>(a.momentum_buffer);
  for (std::int64_t i = 0; i < a.count; ++i) {
    double g = gradient<T>(a.grad, i, a.maximize);
    if (a.weight_decay != 0) g += a.weight_decay * p[i];
    double square = a.alpha * v[i] + (1 - a.alpha) * g * g;
    v[i] = T(square);
    if (mean) {
      const double average = a.alpha * mean[i] + (1 - a.alpha) * g;
      mean[i] = T(average);
      square -= average * average;
    }
    double step = g / (std::sqrt(square) + a.eps);
    if (b) {
      step += a.momentum * b[i];
      b[i] = T(step);
    }
    p[i] = T(p[i] - a.lr * step);
  }
}

template <class T>
void adagrad(const AdagradStep& a) {
  T* p = static_cast<T*>(a.param);
  T* sum = static_cast<T*>(a.state_sum);
  for (std::int64_t i = 0; i < a.count; ++i) {
    double g = gradient<T>(a.grad, i, a.maximize);
    if (a.weight_decay != 0) g += a.weight_decay * p[i];
    const double s = sum[i] + g * g;
    sum[i] = T(s);
    p[i] = T(p[i] - a.lr * g / (std::sqrt(s) + a.eps));
  }
}

template <class T>
void adamax(const AdamaxStep& a) {
  T* p = static_cast<T*>(a.param);
  T* m = static_cast<T*>(a.exp_avg);
  T* u = static_cast<T*>(a.exp_inf);
  for (std::int64_t i = 0; i < a.count; ++i) {
    const double g = gradient<T>(a.grad, i, a.maximize) + a.weight_decay * p[i];
    const double first = a.beta1 * m[i] + (1 - a.beta1) * g;
    const double decayed = a.beta2 * u[i], now = std::fabs(g) + a.eps;
    const double largest = now <= decayed || std::isnan(decayed) ? decayed : now;
    m[i] = T(first);
    u[i] = T(largest);
    p[i] = T(p[i] - a.step_size * first / largest);
  }
}

template <class T>
void adadelta(const AdadeltaStep& a) {
  T* p = static_cast<T*>(a.param);
  T* v = static_cast<T*>(a.square_avg);
  T* u = static_cast<T*>(a.acc_delta);
  for (std::int64_t i = 0; i < a.count; ++i) {
    const double g = gradient<T>(a.grad, i, a.maximize) + a.weight_decay * p[i];
    const double square = a.rho * v[i] + (1 - a.rho) * g * g;
    const double delta = std::sqrt((u[i] + a.eps) / (square + a.eps)) * g;
    v[i] = T(square);
    u[i] = T(a.rho * u[i] + (1 - a.rho) * delta * delta);
    p[i] = T(p[i] - a.lr * delta);
  }
}

template <class T>
void asgd(const AsgdStep& a) {
  T* p = static_cast<T*>(a.param);
  T* average = static_cast<T*>(a.ax);
  for (std::int64_t i = 0; i < a.count; ++i) {
    const double g = gradient<T>(a.grad, i, a.maximize) + a.weight_decay * p[i];
    const double now = (1 - a.lambd * a.eta) * p[i] - a.eta * g;
    p[i] = T(now);
    average[i] = T(a.mu == 1 ? now : (1 - a.mu) * average[i] + a.mu * now);
  }
}

template <class T>
void rprop(const RpropStep& a) {
  T* p = static_cast<T*>(a.param);
  T* prev = static_cast<T*>(a.prev);
  T* size = static_cast<T*>(a.step_size);
  for (std::int64_t i = 0; i < a.count; ++i) {
    double g = gradient<T>(a.grad, i, a.maximize);
    const double agreement = sign(g) * sign(prev[i]);
    double s = size[i] * (agreement > 0 ? a.eta_plus : agreement < 0 ? a.eta_minus : 1);
    s = s < a.smallest ? a.smallest : s > a.largest ? a.largest : s;
    if (agreement < 0) g = 0;
    prev[i] = T(g);
    size[i] = T(s);
    p[i] = T(p[i] - (std::isnan(g) ? 0 : sign(g) * s));
  }
}

template <class T>
void lion(const LionStep& a) {
  T* p = static_cast<T*>(a.param);
  T* m = static_cast<T*>(a.exp_avg);
  for (std::int64_t i = 0; i < a.count; ++i) {
    const double g = gradient<T>(a.grad, i, a.maximize);
    const double direction = a.beta1 * m[i] + (1 - a.beta1) * g;
    p[i] = T((1 - a.lr * a.weight_decay) * p[i] - a.lr * sign(direction));
    m[i] = T(a.beta2 * m[i] + (1 - a.beta2) * g);
  }
}

template <class T>
double squares(const FlatArray& a) {
  const T* x = static_cast<const T*>(a.data);
  double sum = 0;
  for (std::int64_t i = 0; i < a.count; ++i) sum += double(x[i]) * double(x[i]);
  return sum;
}

template <class T>
double largest_magnitude(const FlatArray& a) {
  const T* x = static_cast<const T*>(a.data);
  double top = 0;
  for (std::int64_t i = 0; i < a.count; ++i) {
    if (std::isnan(x[i])) return double(x[i]);
    if (std::fabs(double(x[i])) > top) top = std::fabs(double(x[i]));
  }
  return top;
}

template <class T>
void scale(const FlatArray& a, double factor) {
  T* x = static_cast<T*>(a.data);
  for (std::int64_t i = 0; i < a.count; ++i) x[i] *= T(factor);
}

template <class T>
void limit(const FlatArray& a, double low, double high) {
  T* x = static_cast<T*>(a.data);
  for (std::int64_t i = 0; i < a.count; ++i) {
    if (x[i] < T(low)) x[i] = T(low);
    if (x[i] > T(high)) x[i] = T(high);
  }
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

}  // namespace gradsmith::kernels::reference
