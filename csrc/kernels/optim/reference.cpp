// Optimiser steps as their formulas read, in double.
#include <cmath>

#include "kernels/optim/optim.h"

namespace gradsmith::kernels::reference {
namespace {

template <class T>
void sgd(const SgdStep& a) {
  T* p = static_cast<T*>(a.param);
  const T* grad = static_cast<const T*>(a.grad);
  T* b = static_cast<T*>(a.momentum_buffer);
  for (std::int64_t i = 0; i < a.count; ++i) {
    double g = a.maximize ? -double(grad[i]) : double(grad[i]);
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
  const T* grad = static_cast<const T*>(a.grad);
  T* m = static_cast<T*>(a.exp_avg);
  T* v = static_cast<T*>(a.exp_avg_sq);
  T* largest = static_cast<T*>(a.max_exp_avg_sq);
  for (std::int64_t i = 0; i < a.count; ++i) {
    double g = a.maximize ? -double(grad[i]) : double(grad[i]);
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
    p[i] = T(param - a.step_size * first / (std::sqrt(second) / a.bias_correction2_sqrt + a.eps));
  }
}

template <class T>
void rmsprop(const RmspropStep& a) {
  T* p = static_cast<T*>(a.param);
  const T* grad = static_cast<const T*>(a.grad);
  T* v = static_cast<T*>(a.square_avg);
  T* mean = static_cast<T*>(a.grad_avg);
  T* b = static_cast<T*>(a.momentum_buffer);
  for (std::int64_t i = 0; i < a.count; ++i) {
    double g = a.maximize ? -double(grad[i]) : double(grad[i]);
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
  const T* grad = static_cast<const T*>(a.grad);
  T* sum = static_cast<T*>(a.state_sum);
  for (std::int64_t i = 0; i < a.count; ++i) {
    double g = a.maximize ? -double(grad[i]) : double(grad[i]);
    if (a.weight_decay != 0) g += a.weight_decay * p[i];
    const double s = sum[i] + g * g;
    sum[i] = T(s);
    p[i] = T(p[i] - a.lr * g / (std::sqrt(s) + a.eps));
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
double sum_squares_f32(const FlatArray& a) { return squares<float>(a); }
double sum_squares_f64(const FlatArray& a) { return squares<double>(a); }
double max_abs_f32(const FlatArray& a) { return largest_magnitude<float>(a); }
double max_abs_f64(const FlatArray& a) { return largest_magnitude<double>(a); }
void scale_inplace_f32(const FlatArray& a, double factor) { scale<float>(a, factor); }
void scale_inplace_f64(const FlatArray& a, double factor) { scale<double>(a, factor); }
void clamp_inplace_f32(const FlatArray& a, double low, double high) { limit<float>(a, low, high); }
void clamp_inplace_f64(const FlatArray& a, double low, double high) { limit<double>(a, low, high); }

}  // namespace gradsmith::kernels::reference
