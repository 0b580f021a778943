// The oracle of the softmax family: the formulas of softmax.h in plain loops and double. It shares
// no code with softmax.simd.cpp, so that a mistake there cannot hide here.
#include <cmath>
#include <limits>

#include "kernels/softmax/softmax.h"

namespace gradsmith::kernels::reference {
namespace {

// One softmax: element i of x lives at x[i * x_step]; likewise for y.
template <class T, bool Log>
void softmax_one(T* y, const T* x, std::int64_t n, std::int64_t y_step, std::int64_t x_step) {
  double max = -std::numeric_limits<double>::infinity();
  for (std::int64_t i = 0; i < n; ++i) {
    if (double(x[i * x_step]) > max) max = double(x[i * x_step]);
  }
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(double(x[i * x_step]) - max);
  for (std::int64_t i = 0; i < n; ++i) {
    const double shifted = double(x[i * x_step]) - max;
    y[i * y_step] = T(Log ? shifted - std::log(sum) : std::exp(shifted) / sum);
  }
}

template <class T, bool Log>
void grad_one(T* dx, const T* y, const T* g, std::int64_t n, std::int64_t dx_step,
              std::int64_t y_step, std::int64_t g_step) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    sum += Log ? double(g[i * g_step]) : double(g[i * g_step]) * double(y[i * y_step]);
  }
  for (std::int64_t i = 0; i < n; ++i) {
    const double yi = double(y[i * y_step]), gi = double(g[i * g_step]);
    dx[i * dx_step] = T(Log ? gi - std::exp(yi) * sum : yi * (gi - sum));
  }
}

template <class T, bool Log>
void rows(const SoftmaxRows& a) {
  for (std::int64_t r = 0; r < a.rows; ++r) {
    softmax_one<T, Log>(static_cast<T*>(a.y) + r * a.y_stride,
                        static_cast<const T*>(a.x) + r * a.x_stride, a.n, 1, 1);
  }
}

template <class T, bool Log>
void cols(const SoftmaxCols& a) {
  for (std::int64_t c = 0; c < a.cols; ++c) {
    softmax_one<T, Log>(static_cast<T*>(a.y) + c, static_cast<const T*>(a.x) + c, a.n, a.y_stride,
                        a.x_stride);
  }
}

template <class T, bool Log>
void rows_grad(const SoftmaxRowsGrad& a) {
  for (std::int64_t r = 0; r < a.rows; ++r) {
    grad_one<T, Log>(static_cast<T*>(a.dx) + r * a.dx_stride,
                     static_cast<const T*>(a.y) + r * a.y_stride,
                     static_cast<const T*>(a.g) + r * a.g_stride, a.n, 1, 1, 1);
  }
}

template <class T, bool Log>
void cols_grad(const SoftmaxColsGrad& a) {
  for (std::int64_t c = 0; c < a.cols; ++c) {
    grad_one<T, Log>(static_cast<T*>(a.dx) + c, static_cast<const T*>(a.y) + c,
                     static_cast<const T*>(a.g) + c, a.n, a.dx_stride, a.y_stride, a.g_stride);
  }
}

}  // namespace

#define GS_DEFINE(T, dtype)                                                               \
  void softmax_rows_##dtype(const SoftmaxRows& a) { rows<T, false>(a); }                  \
  void log_softmax_rows_##dtype(const SoftmaxRows& a) { rows<T, true>(a); }               \
  void softmax_cols_##dtype(const SoftmaxCols& a) { cols<T, false>(a); }                  \
  void log_softmax_cols_##dtype(const SoftmaxCols& a) { cols<T, true>(a); }               \
  void softmax_rows_grad_##dtype(const SoftmaxRowsGrad& a) { rows_grad<T, false>(a); }    \
  void log_softmax_rows_grad_##dtype(const SoftmaxRowsGrad& a) { rows_grad<T, true>(a); } \
  void softmax_cols_grad_##dtype(const SoftmaxColsGrad& a) { cols_grad<T, false>(a); }    \
  void log_softmax_cols_grad_##dtype(const SoftmaxColsGrad& a) { cols_grad<T, true>(a); }
GS_DEFINE(float, f32)
GS_DEFINE(double, f64)
#undef GS_DEFINE

}  // namespace gradsmith::kernels::reference
