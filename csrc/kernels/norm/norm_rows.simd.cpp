// Layer, RMS and group norm over rows. Formulas and contract: norm.h.
//
// Forward: three passes over a row in L1 or L2 (mean, deviations, output) cost one trip to memory.
// Backward: two passes, the sums of h and h (x - mean), then dx; dgamma and dbeta of layer and rms
// norm are gathered in the second one, in T for kFold rows at a time and then added up in double.
// Group norm needs the sums channel by channel, which give dgamma and dbeta for nothing.
//
// Sums over a row follow sum_of's bound. Rows whose squares overflow T are redone in double.
#include "kernels/norm/norm.h"
#include "kernels/simd/sweep.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

constexpr Index kFold = 32;

GS_INLINE bool finite(double x) { return x - x == 0; }
GS_INLINE double square_root(double x) { return hmax(sqrt(F64::set(x))); }

struct Stats {
  double mean, var;
};

template <class V, class T, bool Rms>
GS_INLINE Stats row_stats(const T* x, Index n) {
  const double scale = 1 / double(n);
  T m = 0;
  if (!Rms) m = T(scale * sum_of<V>(n, [&](auto i, auto part) { return get(x + i, part); }));
  const V mean = V::set(m);
  const double s1 =
      Rms ? 0 : scale * sum_of<V>(n, [&](auto i, auto part) { return get(x + i, part, m) - mean; });
  const double s2 = scale * sum_of<V>(n, [&](auto i, auto part) {
                      const V d = get(x + i, part, m) - mean;
                      return d * d;
                    });
  const double var = s2 - s1 * s1;
  if (finite(var)) return {double(m) + s1, var > 0 ? var : 0};
  Stats wide{0, 0};
  for (Index i = 0; i < n && !Rms; ++i) wide.mean += scale * double(x[i]);
  for (Index i = 0; i < n; ++i) {
    wide.var += scale * (double(x[i]) - wide.mean) * (double(x[i]) - wide.mean);
  }
  return wide;
}

template <class T, bool Rms>
void rows(const NormRows& a) {
  using V = Vec<T>;
  const T* gamma = static_cast<const T*>(a.gamma);
  const T* beta = static_cast<const T*>(a.beta);
  for (Index r = 0; r < a.rows; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.n;
    T* y = static_cast<T*>(a.y) + r * a.n;
    const Stats stats = row_stats<V, T, Rms>(x, a.n);
    const T m = T(stats.mean), s = T(1 / square_root(stats.var + a.eps));
    if (!Rms) static_cast<T*>(a.mean)[r] = m;
    static_cast<T*>(a.rstd)[r] = s;
    const V mean = V::set(m), rstd = V::set(s);
    const auto xhat = [&](auto i, auto part) {
      return (Rms ? get(x + i, part) : get(x + i, part) - mean) * rstd;
    };
    if (gamma && beta) {
      sweep<V>(a.n, [&](auto i, auto part) {
        put(y + i, fma(xhat(i, part), get(gamma + i, part), get(beta + i, part)), part);
      });
    } else if (gamma) {
      sweep<V>(a.n,
               [&](auto i, auto part) { put(y + i, xhat(i, part) * get(gamma + i, part), part); });
    } else {
      sweep<V>(a.n, [&](auto i, auto part) {
        const V v = xhat(i, part);
        put(y + i, beta ? v + get(beta + i, part) : v, part);
      });
    }
  }
}

template <class T>
void group_rows(const NormRows& a) {
  using V = Vec<T>;
  const Index channels = a.n / a.inner;  // of a group
  for (Index r = 0; r < a.rows; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.n;
    T* y = static_cast<T*>(a.y) + r * a.n;
    const Index first = (a.first_row + r) % a.groups * channels;
    const Stats stats = row_stats<V, T, false>(x, a.n);
    const T m = T(stats.mean), s = T(1 / square_root(stats.var + a.eps));
    static_cast<T*>(a.mean)[r] = m;
    static_cast<T*>(a.rstd)[r] = s;
    const V mean = V::set(m);
    for (Index c = 0; c < channels; ++c, x += a.inner, y += a.inner) {
      const V scale = V::set(a.gamma ? s * static_cast<const T*>(a.gamma)[first + c] : s);
      const V shift = V::set(a.beta ? static_cast<const T*>(a.beta)[first + c] : T(0));
      sweep<V>(a.inner, [&](auto i, auto part) {
        put(y + i, fma(get(x + i, part) - mean, scale, shift), part);
      });
    }
  }
}

// sums += part; part = 0
template <class T>
void fold_into(double* sums, T* part, Index n) {
  for (Index i = 0; i < n; ++i) {
    if (sums) sums[i] += double(part[i]);
    part[i] = 0;
  }
}

template <class T, bool Rms>
void rows_grad(const NormRowsGrad& a) {
  using V = Vec<T>;
  const T* gamma = static_cast<const T*>(a.gamma);
  T* part_gamma = static_cast<T*>(a.scratch);
  T* part_beta = part_gamma + a.n;
  const bool affine = a.dgamma || a.dbeta;
  if (affine) fold_into<T>(nullptr, part_gamma, 2 * a.n);
  for (Index r = 0; r < a.rows; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.n;
    const T* g = static_cast<const T*>(a.g) + r * a.n;
    T* dx = a.dx ? static_cast<T*>(a.dx) + r * a.n : nullptr;
    const T s = static_cast<const T*>(a.rstd)[r];
    const V mean = V::set(Rms ? T(0) : static_cast<const T*>(a.mean)[r]), rstd = V::set(s);
    const auto xhat = [&](auto i, auto part) {
      return (Rms ? get(x + i, part) : get(x + i, part) - mean) * rstd;
    };
    const auto h = [&](auto i, auto part) {
      return gamma ? get(g + i, part) * get(gamma + i, part) : get(g + i, part);
    };
    V avg_h = V::zero(), avg_hx = V::zero();
    if (dx) {
      if (!Rms) avg_h = V::set(T(sum_of<V>(a.n, h) / double(a.n)));
      avg_hx =
          V::set(T(sum_of<V>(a.n, [&](auto i, auto part) { return h(i, part) * xhat(i, part); }) /
                   double(a.n)));
    }
    if (affine) {
      sweep<V>(a.n, [&](auto i, auto part) {
        const V xh = xhat(i, part), gi = get(g + i, part);
        put(part_gamma + i, fma(gi, xh, get(part_gamma + i, part)), part);
        put(part_beta + i, gi + get(part_beta + i, part), part);
        if (dx) put(dx + i, rstd * (h(i, part) - fma(xh, avg_hx, avg_h)), part);
      });
    } else if (dx) {
      sweep<V>(a.n, [&](auto i, auto part) {
        put(dx + i, rstd * (h(i, part) - fma(xhat(i, part), avg_hx, avg_h)), part);
      });
    }
    if (affine && (r % kFold == kFold - 1 || r + 1 == a.rows)) {
      fold_into(a.dgamma, part_gamma, a.n);
      fold_into(a.dbeta, part_beta, a.n);
    }
  }
}

template <class T>
void group_rows_grad(const NormRowsGrad& a) {
  using V = Vec<T>;
  const Index channels = a.n / a.inner;
  const T* gamma = static_cast<const T*>(a.gamma);
  for (Index r = 0; r < a.rows; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.n;
    const T* g = static_cast<const T*>(a.g) + r * a.n;
    const Index first = (a.first_row + r) % a.groups * channels;
    const V mean = V::set(static_cast<const T*>(a.mean)[r]);
    const double rstd = double(static_cast<const T*>(a.rstd)[r]);
    double sum_h = 0, sum_hx = 0;
    for (Index c = 0; c < channels; ++c) {
      const T* xc = x + c * a.inner;
      const T* gc = g + c * a.inner;
      const double sum_g = sum_of<V>(a.inner, [&](auto i, auto part) { return get(gc + i, part); });
      const double sum_gx = rstd * sum_of<V>(a.inner, [&](auto i, auto part) {
                              return get(gc + i, part) * (get(xc + i, part) - mean);
                            });
      if (a.dgamma) a.dgamma[first + c] += sum_gx;
      if (a.dbeta) a.dbeta[first + c] += sum_g;
      const double weight = gamma ? double(gamma[first + c]) : 1;
      sum_h += weight * sum_g;
      sum_hx += weight * sum_gx;
    }
    if (!a.dx) continue;
    T* dx = static_cast<T*>(a.dx) + r * a.n;
    const V avg_h = V::set(T(sum_h / double(a.n))), avg_hx = V::set(T(sum_hx / double(a.n)));
    const V scale = V::set(T(rstd));  // never squared: that underflows for values like 1e20
    for (Index c = 0; c < channels; ++c, x += a.inner, g += a.inner, dx += a.inner) {
      const V weight = V::set(gamma ? gamma[first + c] : T(1));
      sweep<V>(a.inner, [&](auto i, auto part) {
        const V rest = fma((get(x + i, part) - mean) * scale, avg_hx, avg_h);
        put(dx + i, fma(get(g + i, part), weight, -rest) * scale, part);
      });
    }
  }
}

}  // namespace

#define GS_DEFINE(T, dtype)                                                            \
  void layer_norm_rows_##dtype(const NormRows& a) { rows<T, false>(a); }               \
  void rms_norm_rows_##dtype(const NormRows& a) { rows<T, true>(a); }                  \
  void group_norm_rows_##dtype(const NormRows& a) { group_rows<T>(a); }                \
  void layer_norm_rows_grad_##dtype(const NormRowsGrad& a) { rows_grad<T, false>(a); } \
  void rms_norm_rows_grad_##dtype(const NormRowsGrad& a) { rows_grad<T, true>(a); }    \
  void group_norm_rows_grad_##dtype(const NormRowsGrad& a) { group_rows_grad<T>(a); }
GS_DEFINE(float, f32)
GS_DEFINE(double, f64)
#undef GS_DEFINE

}  // namespace gradsmith::kernels::GS_ISA
