// Mean and sum of squared deviations. Contract: reduce.h.
//
// Two passes over data that is still in cache: the mean first, then the deviations from it. The sum
// of the deviations themselves, zero but for rounding, corrects both results:
//
//     mean = m + s1 / n        m2 = s2 - s1^2 / n        s_k = sum (x - m)^k
//
// Rows: the driver hands over pieces that fit in L2. Columns: kLines lines at a time, joined by
// the rule for merging two sets of moments (T. Chan, G. Golub, R. LeVeque, "Updating formulae and
// a pairwise algorithm for computing sample variances", 1979).
//
// Float sums follow the bound of reduce.h. Where float overflows (|x - m| above 1e19), the row is
// redone in double.
#include "kernels/reduce/reduce.h"
#include "kernels/simd/sweep.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

constexpr Index kLines = 128;
constexpr Index kTile = 256;

GS_INLINE bool finite(double x) { return x - x == 0; }

template <class T>
Moments moments_double(const T* x, Index n, Index stride) {
  double sum = 0, s1 = 0, s2 = 0;
  for (Index i = 0; i < n; ++i) sum += double(x[i * stride]);
  const double m = sum / double(n);
  for (Index i = 0; i < n; ++i) {
    const double d = double(x[i * stride]) - m;
    s1 += d;
    s2 += d * d;
  }
  return {double(n), m + s1 / double(n), s2 - s1 * s1 / double(n)};
}

template <class T>
void rows(const ReduceRows& a) {
  using V = Vec<T>;
  for (Index r = 0; r < a.rows; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.x_stride;
    const double n = double(a.n);
    const T m = T(sum_of<V>(a.n, [&](auto i, auto part) { return get(x + i, part); }) / n);
    const V mean = V::set(m);
    const double s1 = sum_of<V>(a.n, [&](auto i, auto part) { return get(x + i, part, m) - mean; });
    const double s2 = sum_of<V>(a.n, [&](auto i, auto part) {
      const V d = get(x + i, part, m) - mean;
      return d * d;
    });
    Moments& out = static_cast<Moments*>(a.acc)[r];
    out = {n, double(m) + s1 / n, s2 - s1 * s1 / n};
    if (!finite(out.m2)) out = moments_double(x, a.n, 1);
  }
}

GS_INLINE Moments merge(Moments a, Moments b) {
  const double count = a.count + b.count, delta = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + delta * share, a.m2 + b.m2 + delta * delta * a.count * share};
}

template <class T>
void cols_tile(const ReduceCols& a, Index first, Index cols) {
  using V = Vec<T>;
  Moments* acc = static_cast<Moments*>(a.acc) + first;
  alignas(64) T mean[kTile], s1[kTile], s2[kTile];
  for (Index begin = 0; begin < a.rows; begin += kLines) {
    const Index lines = a.rows - begin < kLines ? a.rows - begin : kLines;
    const T* x = static_cast<const T*>(a.x) + begin * a.x_stride + first;
    const V scale = V::set(T(1) / T(lines));
    for (Index c = 0; c < cols; c += V::N) {
      store(mean + c, V::zero());
      store(s1 + c, V::zero());
      store(s2 + c, V::zero());
    }
    for (Index i = 0; i < lines; ++i) {
      const T* line = x + i * a.x_stride;
      sweep<V>(cols,
               [&](auto c, auto part) { store(mean + c, load(mean + c) + get(line + c, part)); });
    }
    for (Index c = 0; c < cols; c += V::N) store(mean + c, load(mean + c) * scale);
    for (Index i = 0; i < lines; ++i) {
      const T* line = x + i * a.x_stride;
      sweep<V>(cols, [&](auto c, auto part) {
        const V d = get(line + c, part) - load(mean + c);
        store(s1 + c, load(s1 + c) + d);
        store(s2 + c, fma(d, d, load(s2 + c)));
      });
    }
    for (Index c = 0; c < cols; ++c) {
      const double n = double(lines), d = double(s1[c]);
      Moments here{n, double(mean[c]) + d / n, double(s2[c]) - d * d / n};
      if (!finite(here.m2)) here = moments_double(x + c, lines, a.x_stride);
      acc[c] = a.fresh && begin == 0 ? here : merge(acc[c], here);
    }
  }
}

template <class T>
void cols(const ReduceCols& a) {
  for (Index first = 0; first < a.cols; first += kTile) {
    cols_tile<T>(a, first, a.cols - first < kTile ? a.cols - first : kTile);
  }
}

}  // namespace

void moments_rows_f32(const ReduceRows& a) { rows<float>(a); }
void moments_rows_f64(const ReduceRows& a) { rows<double>(a); }
void moments_cols_f32(const ReduceCols& a) { cols<float>(a); }
void moments_cols_f64(const ReduceCols& a) { cols<double>(a); }

}  // namespace gradsmith::kernels::GS_ISA
