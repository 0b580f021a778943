// The oracle of the norm family: the formulas of norm.h in plain loops and double.
#include <cmath>

#include "kernels/norm/norm.h"

namespace gradsmith::kernels::reference {
namespace {

template <class T>
double at(const void* p, std::int64_t i, double otherwise = 0) {
  return p ? double(static_cast<const T*>(p)[i]) : otherwise;
}

template <class T, bool Rms>
void rows(const NormRows& a) {
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const std::int64_t parameter = (a.first_row + r) % a.groups * a.n;
    const T* x = static_cast<const T*>(a.x) + r * a.n;
    double mean = 0, var = 0;
    for (std::int64_t i = 0; i < a.n && !Rms; ++i) mean += double(x[i]) / double(a.n);
    for (std::int64_t i = 0; i < a.n; ++i) var += (double(x[i]) - mean) * (double(x[i]) - mean);
    const double rstd = 1 / std::sqrt(var / double(a.n) + a.eps);
    if (!Rms) static_cast<T*>(a.mean)[r] = T(mean);
    static_cast<T*>(a.rstd)[r] = T(rstd);
    for (std::int64_t i = 0; i < a.n; ++i) {
      const std::int64_t p = (parameter + i) / a.inner;
      static_cast<T*>(a.y)[r * a.n + i] =
          T((double(x[i]) - mean) * rstd * at<T>(a.gamma, p, 1) + at<T>(a.beta, p, 0));
    }
  }
}

template <class T, bool Rms>
void rows_grad(const NormRowsGrad& a) {
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const std::int64_t parameter = (a.first_row + r) % a.groups * a.n;
    const double mean = Rms ? 0 : at<T>(a.mean, r), rstd = at<T>(a.rstd, r);
    const auto xhat = [&](std::int64_t i) { return (at<T>(a.x, r * a.n + i) - mean) * rstd; };
    const auto h = [&](std::int64_t i) {
      return at<T>(a.g, r * a.n + i) * at<T>(a.gamma, (parameter + i) / a.inner, 1);
    };
    double avg_h = 0, avg_hx = 0;
    for (std::int64_t i = 0; i < a.n; ++i) {
      if (!Rms) avg_h += h(i) / double(a.n);
      avg_hx += h(i) * xhat(i) / double(a.n);
      if (a.dgamma) a.dgamma[(parameter + i) / a.inner] += at<T>(a.g, r * a.n + i) * xhat(i);
      if (a.dbeta) a.dbeta[(parameter + i) / a.inner] += at<T>(a.g, r * a.n + i);
    }
    for (std::int64_t i = 0; i < a.n && a.dx; ++i) {
      static_cast<T*>(a.dx)[r * a.n + i] = T(rstd * (h(i) - avg_h - xhat(i) * avg_hx));
    }
  }
}

// Runs are [runs, inner] with one channel per run; columns are runs of length 1.
template <class T, bool Grad>
void apply(const BatchNormApply& a, bool cols) {
  const std::int64_t inner = cols ? 1 : a.inner, runs = cols ? a.runs * a.channels : a.runs;
  for (std::int64_t i = 0; i < runs * inner; ++i) {
    const std::int64_t c = (a.first_run + i / inner) % a.channels;
    const double x = at<T>(a.x, i) - at<T>(a.mean, c);
    const double scale = at<T>(a.scale, c), shift = at<T>(a.shift, c);
    static_cast<T*>(a.y)[i] =
        T(Grad ? scale * (at<T>(a.g, i) - shift - x * at<T>(a.slope, c)) : x * scale + shift);
  }
}

template <class T>
void sums(const BatchNormSums& a, bool cols) {
  const std::int64_t inner = cols ? 1 : a.inner, runs = cols ? a.runs * a.channels : a.runs;
  for (std::int64_t s = 0; s < (cols ? a.channels : runs); ++s) a.sum_g[s] = a.sum_gx[s] = 0;
  for (std::int64_t i = 0; i < runs * inner; ++i) {
    const std::int64_t c = (a.first_run + i / inner) % a.channels, s = cols ? c : i / inner;
    a.sum_g[s] += at<T>(a.g, i);
    a.sum_gx[s] += at<T>(a.g, i) * (at<T>(a.x, i) - at<T>(a.mean, c));
  }
}

}  // namespace

#define GS_DEFINE(T, dtype)                                                                \
  void layer_norm_rows_##dtype(const NormRows& a) { rows<T, false>(a); }                   \
  void rms_norm_rows_##dtype(const NormRows& a) { rows<T, true>(a); }                      \
  void group_norm_rows_##dtype(const NormRows& a) { rows<T, false>(a); }                   \
  void layer_norm_rows_grad_##dtype(const NormRowsGrad& a) { rows_grad<T, false>(a); }     \
  void rms_norm_rows_grad_##dtype(const NormRowsGrad& a) { rows_grad<T, true>(a); }        \
  void group_norm_rows_grad_##dtype(const NormRowsGrad& a) { rows_grad<T, false>(a); }     \
  void batch_norm_runs_##dtype(const BatchNormApply& a) { apply<T, false>(a, false); }     \
  void batch_norm_runs_grad_##dtype(const BatchNormApply& a) { apply<T, true>(a, false); } \
  void batch_norm_cols_##dtype(const BatchNormApply& a) { apply<T, false>(a, true); }      \
  void batch_norm_cols_grad_##dtype(const BatchNormApply& a) { apply<T, true>(a, true); }  \
  void batch_norm_runs_sums_##dtype(const BatchNormSums& a) { sums<T>(a, false); }         \
  void batch_norm_cols_sums_##dtype(const BatchNormSums& a) { sums<T>(a, true); }
GS_DEFINE(float, f32)
GS_DEFINE(double, f64)
#undef GS_DEFINE

}  // namespace gradsmith::kernels::reference
