// Batch norm: one pass that applies channel numbers, one that sums. Contract: norm.h.
//
// x - mean is formed first, not folded into the shift: with a mean far from 0 the difference is
// exact or nearly so, while x scale - mean scale would cancel.
//
// Both passes move every byte once and do a handful of operations on it: memory is the limit.
#include "kernels/norm/norm.h"
#include "kernels/simd/sweep.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

constexpr Index kFold = 32;
constexpr Index kTile = 1024;

template <class T, bool Grad>
void runs(const BatchNormApply& a) {
  using V = Vec<T>;
  for (Index r = 0; r < a.runs; ++r) {
    const Index c = (a.first_run + r) % a.channels, at = r * a.inner;
    const T* x = static_cast<const T*>(a.x) + at;
    T* y = static_cast<T*>(a.y) + at;
    const V mean = V::set(static_cast<const T*>(a.mean)[c]);
    const V scale = V::set(static_cast<const T*>(a.scale)[c]);
    const V shift = V::set(static_cast<const T*>(a.shift)[c]);
    if constexpr (Grad) {
      const T* g = static_cast<const T*>(a.g) + at;
      const V slope = V::set(static_cast<const T*>(a.slope)[c]);
      sweep<V>(a.inner, [&](auto i, auto part) {
        const V rest = fma(get(x + i, part) - mean, slope, shift);
        put(y + i, scale * (get(g + i, part) - rest), part);
      });
    } else {
      sweep<V>(a.inner, [&](auto i, auto part) {
        put(y + i, fma(get(x + i, part) - mean, scale, shift), part);
      });
    }
  }
}

template <class T, bool Grad>
void cols(const BatchNormApply& a) {
  using V = Vec<T>;
  const T* mean = static_cast<const T*>(a.mean);
  const T* scale = static_cast<const T*>(a.scale);
  const T* shift = static_cast<const T*>(a.shift);
  const T* slope = static_cast<const T*>(a.slope);
  for (Index r = 0; r < a.runs; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.channels;
    T* y = static_cast<T*>(a.y) + r * a.channels;
    if constexpr (Grad) {
      const T* g = static_cast<const T*>(a.g) + r * a.channels;
      sweep<V>(a.channels, [&](auto c, auto part) {
        const V d = get(x + c, part) - get(mean + c, part);
        const V rest = fma(d, get(slope + c, part), get(shift + c, part));
        put(y + c, get(scale + c, part) * (get(g + c, part) - rest), part);
      });
    } else {
      sweep<V>(a.channels, [&](auto c, auto part) {
        const V d = get(x + c, part) - get(mean + c, part);
        put(y + c, fma(d, get(scale + c, part), get(shift + c, part)), part);
      });
    }
  }
}

template <class T>
void runs_sums(const BatchNormSums& a) {
  using V = Vec<T>;
  for (Index r = 0; r < a.runs; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.inner;
    const T* g = static_cast<const T*>(a.g) + r * a.inner;
    const V mean = V::set(static_cast<const T*>(a.mean)[(a.first_run + r) % a.channels]);
    a.sum_g[r] = a.sum_gx[r] = 0;
    // Pieces, so that g is still in L1 for the second sum.
    for (Index begin = 0; begin < a.inner; begin += kTile) {
      const Index n = a.inner - begin < kTile ? a.inner - begin : kTile;
      const T* xs = x + begin;
      const T* gs = g + begin;
      a.sum_g[r] += sum_of<V>(n, [&](auto i, auto part) { return get(gs + i, part); });
      a.sum_gx[r] += sum_of<V>(
          n, [&](auto i, auto part) { return get(gs + i, part) * (get(xs + i, part) - mean); });
    }
  }
}

template <class T>
void cols_sums(const BatchNormSums& a) {
  using V = Vec<T>;
  alignas(64) T sum_g[kTile], sum_gx[kTile];
  for (Index first = 0; first < a.channels; first += kTile) {
    const Index n = a.channels - first < kTile ? a.channels - first : kTile;
    const T* mean = static_cast<const T*>(a.mean) + first;
    for (Index c = 0; c < n; ++c) a.sum_g[first + c] = a.sum_gx[first + c] = 0;
    for (Index begin = 0; begin < a.runs; begin += kFold) {
      const Index end = a.runs - begin < kFold ? a.runs : begin + kFold;
      for (Index c = 0; c < n; c += V::N) {
        store(sum_g + c, V::zero());
        store(sum_gx + c, V::zero());
      }
      for (Index r = begin; r < end; ++r) {
        const T* x = static_cast<const T*>(a.x) + r * a.channels + first;
        const T* g = static_cast<const T*>(a.g) + r * a.channels + first;
        sweep<V>(n, [&](auto c, auto part) {
          const V gi = get(g + c, part), d = get(x + c, part) - get(mean + c, part);
          store(sum_g + c, load(sum_g + c) + gi);
          store(sum_gx + c, fma(gi, d, load(sum_gx + c)));
        });
      }
      for (Index c = 0; c < n; ++c) {
        a.sum_g[first + c] += double(sum_g[c]);
        a.sum_gx[first + c] += double(sum_gx[c]);
      }
    }
  }
}

}  // namespace

#define GS_DEFINE(T, dtype)                                                        \
  void batch_norm_runs_##dtype(const BatchNormApply& a) { runs<T, false>(a); }     \
  void batch_norm_runs_grad_##dtype(const BatchNormApply& a) { runs<T, true>(a); } \
  void batch_norm_cols_##dtype(const BatchNormApply& a) { cols<T, false>(a); }     \
  void batch_norm_cols_grad_##dtype(const BatchNormApply& a) { cols<T, true>(a); } \
  void batch_norm_runs_sums_##dtype(const BatchNormSums& a) { runs_sums<T>(a); }   \
  void batch_norm_cols_sums_##dtype(const BatchNormSums& a) { cols_sums<T>(a); }
GS_DEFINE(float, f32)
GS_DEFINE(double, f64)
#undef GS_DEFINE

}  // namespace gradsmith::kernels::GS_ISA
