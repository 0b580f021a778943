// Cross entropy over rows of logits. Formulas and contract: loss.h.
//
// Forward reads a row once from memory (maximum, then exponentials, in blocks that stay in L1; the
// running sum is rescaled when the maximum grows) and writes three numbers. Backward reads it once
// and writes dx once. Both are bound by memory, or by exp for rows in cache.
//
// Maximum and log sum are kept apart: as one log-sum-exp they would lose the small one's digits.
#include "kernels/loss/loss.h"
#include "kernels/simd/math.h"
#include "kernels/simd/sweep.h"
#include "kernels/simd/transpose.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

constexpr Index kBlock = 2048;  // 8 KiB of float
constexpr Index kShort = 128;   // rows up to this are taken together, a lane each
constexpr Index kFold = 64;     // terms of a float sum

template <class T>
constexpr T kLowest = -T(__builtin_inf());

template <class T>
T exp_of(T x) {
  return hmax(exp(Vec<T>::set(x)));
}
template <class T>
T log_of(T x) {
  return hmax(log(Vec<T>::set(x)));
}

// Zero in the lanes that are not elements.
template <class T>
GS_INLINE Vec<T> neutral_past_end(Vec<T> v, Whole) {
  return v;
}
template <class T>
GS_INLINE Vec<T> neutral_past_end(Vec<T> v, Tail tail) {
  return select(Mask<T>::first(tail.lanes), v, Vec<T>::zero());
}

template <class T>
void max_and_sum(const T* x, Index n, T& max_out, double& sum_out) {
  using V = Vec<T>;
  T top = kLowest<T>;
  double sum = 0;
  for (Index begin = 0; begin < n; begin += kBlock) {
    const Index count = n - begin < kBlock ? n - begin : kBlock;
    const T* block = x + begin;
    const T block_max = hmax(fold(
        0, count, V::set(kLowest<T>),
        [&](auto i, auto part) { return get(block + i, part, kLowest<T>); },
        [](V a, V b) { return max(a, b); }));
    if (block_max > top) {
      if (begin > 0) sum *= double(exp_of(top - block_max));
      top = block_max;
    }
    // Nothing but -inf so far: any finite stand-in makes these terms 0 instead of NaN.
    const V shift = V::set(top == kLowest<T> ? T(0) : top);
    sum += sum_of<V>(
        count, [&](auto i, auto part) { return exp(get(block + i, part, kLowest<T>) - shift); });
  }
  max_out = top;
  sum_out = sum;
}

// Maximum and log of the sum of N short rows at once, into stats as they are written.
template <class T>
void stats_of_short_rows(const T* x, Index stride, int rows, Index n, T (&stats)[2][Vec<T>::N]) {
  using V = Vec<T>;
  alignas(64) T columns[kShort * V::N];
  load_columns<V>(columns, x, stride, rows, n);
  V top = V::set(kLowest<T>), sum = V::zero();
  for (Index i = 0; i < n; ++i) top = max(top, load(columns + i * V::N));
  // Nothing but -inf: any finite stand-in makes the terms 0 instead of NaN.
  const V shift = select(lt(V::set(kLowest<T>), top), top, V::zero());
  for (Index first = 0; first < n; first += kFold) {
    V part = V::zero();
    for (Index i = first; i < n && i < first + kFold; ++i) {
      part = part + exp(load(columns + i * V::N) - shift);
    }
    sum = sum + part;
  }
  store(stats[0], top);
  store(stats[1], log(sum));
}

template <class T>
void rows(const CrossEntropyRows& a) {
  using V = Vec<T>;
  const T* weight = static_cast<const T*>(a.weight);
  alignas(64) T together[2][V::N];
  for (Index r = 0; r < a.rows; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.x_stride;
    const Index t = a.target[r];
    const bool ignored = t == a.ignore_index;
    T top, log_sum;
    if (a.n <= kShort) {
      const int lane = int(r % V::N);
      if (lane == 0) {
        const int rows = a.rows - r < V::N ? int(a.rows - r) : V::N;
        stats_of_short_rows(x, a.x_stride, rows, a.n, together);
      }
      top = together[0][lane];
      log_sum = together[1][lane];
    } else {
      double sum;
      max_and_sum(x, a.n, top, sum);
      log_sum = log_of(T(sum));
    }
    const double w = ignored ? 0 : weight ? double(weight[t]) : 1;
    double loss = 0;
    if (!ignored) {
      loss = -(1 - a.label_smoothing) * w * ((double(x[t]) - double(top)) - double(log_sum));
    }
    if (!ignored && a.label_smoothing > 0) {
      const V m = V::set(top), l = V::set(log_sum);
      loss -= a.label_smoothing / double(a.n) * sum_of<V>(a.n, [&](auto i, auto part) {
                const V logp = (get(x + i, part, top) - m) - l;
                return neutral_past_end(weight ? logp * get(weight + i, part) : logp, part);
              });
    }
    static_cast<T*>(a.loss)[r] = T(loss);
    static_cast<T*>(a.stats)[2 * r] = top;
    static_cast<T*>(a.stats)[2 * r + 1] = log_sum;
    if (a.target_weight) static_cast<T*>(a.target_weight)[r] = T(w);
  }
}

template <class T>
void rows_grad(const CrossEntropyRowsGrad& a) {
  using V = Vec<T>;
  const T* weight = static_cast<const T*>(a.weight);
  const double smooth = a.label_smoothing / double(a.n);
  double all_weights = double(a.n);
  if (weight)
    all_weights = sum_of<V>(a.n, [&](auto i, auto part) { return get(weight + i, part); });
  for (Index r = 0; r < a.rows; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.x_stride;
    T* dx = static_cast<T*>(a.dx) + r * a.dx_stride;
    const Index t = a.target[r];
    if (t == a.ignore_index) {
      sweep<V>(a.n, [&](auto i, auto part) { put(dx + i, V::zero(), part); });
      continue;
    }
    const double g = double(static_cast<const T*>(a.g)[r * a.g_stride]) * a.g_scale;
    const double on = (1 - a.label_smoothing) * (weight ? double(weight[t]) : 1);
    const T* stats = static_cast<const T*>(a.stats) + 2 * r;
    const V m = V::set(stats[0]), l = V::set(stats[1]);
    const V scale = V::set(T(g * (on + smooth * all_weights))), off = V::set(T(g * smooth));
    if (weight && smooth > 0) {
      sweep<V>(a.n, [&](auto i, auto part) {
        const V p = exp((get(x + i, part) - m) - l);
        put(dx + i, fnma(off, get(weight + i, part), p * scale), part);
      });
    } else {
      sweep<V>(a.n, [&](auto i, auto part) {
        put(dx + i, exp((get(x + i, part) - m) - l) * scale - off, part);
      });
    }
    dx[t] = T(double(dx[t]) - g * on);
  }
}

}  // namespace

void cross_entropy_rows_f32(const CrossEntropyRows& a) { rows<float>(a); }
void cross_entropy_rows_f64(const CrossEntropyRows& a) { rows<double>(a); }
void cross_entropy_rows_grad_f32(const CrossEntropyRowsGrad& a) { rows_grad<float>(a); }
void cross_entropy_rows_grad_f64(const CrossEntropyRowsGrad& a) { rows_grad<double>(a); }

}  // namespace gradsmith::kernels::GS_ISA
