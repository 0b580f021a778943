// The oracle of the loss family: the formulas of loss.h in plain loops and double.
#include <cmath>
#include <limits>

#include "kernels/loss/loss.h"

namespace gradsmith::kernels::reference {
namespace {

template <class T>
double weight_of(const void* weight, std::int64_t j) {
  return weight ? double(static_cast<const T*>(weight)[j]) : 1;
}

template <class T>
void rows(const CrossEntropyRows& a) {
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.x_stride;
    double max = -std::numeric_limits<double>::infinity(), sum = 0, smooth = 0;
    for (std::int64_t j = 0; j < a.n; ++j) max = double(x[j]) > max ? double(x[j]) : max;
    for (std::int64_t j = 0; j < a.n; ++j) sum += std::exp(double(x[j]) - max);
    const double log_sum = std::log(sum);
    const auto logp = [&](std::int64_t j) { return (double(x[j]) - max) - log_sum; };
    const std::int64_t t = a.target[r];
    const bool ignored = t == a.ignore_index;
    const double w = ignored ? 0 : weight_of<T>(a.weight, t);
    for (std::int64_t j = 0; j < a.n && a.label_smoothing > 0; ++j) {
      smooth += weight_of<T>(a.weight, j) * logp(j);
    }
    static_cast<T*>(a.loss)[r] = T(ignored ? 0
                                           : -(1 - a.label_smoothing) * w * logp(t) -
                                                 a.label_smoothing / double(a.n) * smooth);
    static_cast<T*>(a.stats)[2 * r] = T(max);
    static_cast<T*>(a.stats)[2 * r + 1] = T(log_sum);
    if (a.target_weight) static_cast<T*>(a.target_weight)[r] = T(w);
  }
}

template <class T>
void rows_grad(const CrossEntropyRowsGrad& a) {
  const double smooth = a.label_smoothing / double(a.n);
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.x_stride;
    T* dx = static_cast<T*>(a.dx) + r * a.dx_stride;
    const std::int64_t t = a.target[r];
    const bool ignored = t == a.ignore_index;
    const double g = ignored ? 0 : double(static_cast<const T*>(a.g)[r * a.g_stride]) * a.g_scale;
    const double max = double(static_cast<const T*>(a.stats)[2 * r]);
    const double log_sum = double(static_cast<const T*>(a.stats)[2 * r + 1]);
    const auto q = [&](std::int64_t j) {
      return (j == t ? (1 - a.label_smoothing) * weight_of<T>(a.weight, j) : 0) +
             smooth * weight_of<T>(a.weight, j);
    };
    double total = 0;
    for (std::int64_t j = 0; j < a.n; ++j) total += q(j);
    for (std::int64_t j = 0; j < a.n; ++j) {
      const double p = std::exp((double(x[j]) - max) - log_sum);
      dx[j] = T(ignored ? 0 : g * (p * total - q(j)));
    }
  }
}

}  // namespace

void cross_entropy_rows_f32(const CrossEntropyRows& a) { rows<float>(a); }
void cross_entropy_rows_f64(const CrossEntropyRows& a) { rows<double>(a); }
void cross_entropy_rows_grad_f32(const CrossEntropyRowsGrad& a) { rows_grad<float>(a); }
void cross_entropy_rows_grad_f64(const CrossEntropyRowsGrad& a) { rows_grad<double>(a); }

}  // namespace gradsmith::kernels::reference
