// The formulas of pool.h, one output at a time, sums in double.
#include <cmath>
#include <limits>

#include "kernels/pool/pool.h"

namespace gradsmith::kernels::reference {
namespace {

struct Window {
  std::int64_t begin, end, step;
};

Window adaptive_window(std::int64_t o, std::int64_t in, std::int64_t out) {
  return {o * in / out, ((o + 1) * in + out - 1) / out, 1};
}

template <class T>
void max_of_window(const T* x, std::int64_t h, std::int64_t w, Window rows, Window cols, T* y,
                   std::int64_t* index) {
  T best = -std::numeric_limits<T>::infinity();
  std::int64_t where = -1;
  for (std::int64_t ih = rows.begin; ih < rows.end; ih += rows.step) {
    for (std::int64_t iw = cols.begin; iw < cols.end; iw += cols.step) {
      if (ih < 0 || ih >= h || iw < 0 || iw >= w) continue;
      const T v = x[ih * w + iw];
      if (where < 0 || v > best || std::isnan(v)) {
        best = v;
        where = ih * w + iw;
      }
    }
  }
  *y = best;
  if (index) *index = where;
}

template <class T>
void max_pool(const MaxPool& a) {
  const PoolShape& s = a.shape;
  for (std::int64_t p = 0; p < s.planes; ++p)
    for (std::int64_t oh = 0; oh < s.out_h; ++oh)
      for (std::int64_t ow = 0; ow < s.out_w; ++ow) {
        const std::int64_t h0 = oh * s.stride_h - s.pad_h, w0 = ow * s.stride_w - s.pad_w;
        const std::int64_t o = (p * s.out_h + oh) * s.out_w + ow;
        max_of_window(static_cast<const T*>(a.x) + p * s.h * s.w, s.h, s.w,
                      {h0, h0 + s.kernel_h * s.dilation_h, s.dilation_h},
                      {w0, w0 + s.kernel_w * s.dilation_w, s.dilation_w}, static_cast<T*>(a.y) + o,
                      a.index ? a.index + o : nullptr);
      }
}

template <class T>
void adaptive_max_pool(const AdaptivePool& a) {
  for (std::int64_t p = 0; p < a.planes; ++p)
    for (std::int64_t oh = 0; oh < a.out_h; ++oh)
      for (std::int64_t ow = 0; ow < a.out_w; ++ow) {
        const std::int64_t o = (p * a.out_h + oh) * a.out_w + ow;
        max_of_window(static_cast<const T*>(a.x) + p * a.h * a.w, a.h, a.w,
                      adaptive_window(oh, a.h, a.out_h), adaptive_window(ow, a.w, a.out_w),
                      static_cast<T*>(a.y) + o, a.index ? a.index + o : nullptr);
      }
}

// Calls visit(output, input, 1 / divisor) for every pair that the average joins, and
// visit(output, -1, 0) once before the pairs of an output.
template <class Args, class Visit>
void for_each_average_pair(const Args& a, Visit&& visit) {
  const PoolShape& s = a.shape;
  for (std::int64_t p = 0; p < s.planes; ++p)
    for (std::int64_t oh = 0; oh < s.out_h; ++oh)
      for (std::int64_t ow = 0; ow < s.out_w; ++ow) {
        const std::int64_t h0 = oh * s.stride_h - s.pad_h, w0 = ow * s.stride_w - s.pad_w;
        std::int64_t inside = 0, padded = 0;
        for (std::int64_t ih = h0; ih < h0 + s.kernel_h; ++ih)
          for (std::int64_t iw = w0; iw < w0 + s.kernel_w; ++iw) {
            inside += ih >= 0 && ih < s.h && iw >= 0 && iw < s.w;
            padded += ih < s.h + s.pad_h && iw < s.w + s.pad_w;
          }
        const double divisor = a.divisor_override ? double(a.divisor_override)
                                                  : double(a.count_include_pad ? padded : inside);
        const std::int64_t o = (p * s.out_h + oh) * s.out_w + ow;
        visit(o, std::int64_t(-1), 0.0);
        for (std::int64_t ih = h0; ih < h0 + s.kernel_h; ++ih)
          for (std::int64_t iw = w0; iw < w0 + s.kernel_w; ++iw)
            if (ih >= 0 && ih < s.h && iw >= 0 && iw < s.w)
              visit(o, (p * s.h + ih) * s.w + iw, 1.0 / divisor);
      }
}

template <class Args, class Visit>
void for_each_adaptive_pair(const Args& a, Visit&& visit) {
  for (std::int64_t p = 0; p < a.planes; ++p)
    for (std::int64_t oh = 0; oh < a.out_h; ++oh)
      for (std::int64_t ow = 0; ow < a.out_w; ++ow) {
        const Window rows = adaptive_window(oh, a.h, a.out_h);
        const Window cols = adaptive_window(ow, a.w, a.out_w);
        const double count = double((rows.end - rows.begin) * (cols.end - cols.begin));
        const std::int64_t o = (p * a.out_h + oh) * a.out_w + ow;
        visit(o, std::int64_t(-1), 0.0);
        for (std::int64_t ih = rows.begin; ih < rows.end; ++ih)
          for (std::int64_t iw = cols.begin; iw < cols.end; ++iw)
            visit(o, (p * a.h + ih) * a.w + iw, 1.0 / count);
      }
}

// y[o] = sum of scale * x over the pairs of o.
template <class T>
struct Average {
  T* y;
  const T* x;
  double sum = 0;
  void operator()(std::int64_t o, std::int64_t i, double scale) {
    sum = i < 0 ? 0.0 : sum + double(x[i]) * scale;
    y[o] = T(sum);
  }
};
// dx[i] += scale * dy[o].
template <class T>
struct Spread {
  T* dx;
  const T* dy;
  void operator()(std::int64_t o, std::int64_t i, double scale) {
    if (i >= 0) dx[i] = T(double(dx[i]) + double(dy[o]) * scale);
  }
};

template <class T>
void avg_pool(const AvgPool& a) {
  for_each_average_pair(a, Average<T>{static_cast<T*>(a.y), static_cast<const T*>(a.x)});
}
template <class T>
void avg_pool_backward(const AvgPoolBackward& a) {
  T* dx = static_cast<T*>(a.dx);
  for (std::int64_t i = 0; i < a.shape.planes * a.shape.h * a.shape.w; ++i) dx[i] = 0;
  for_each_average_pair(a, Spread<T>{dx, static_cast<const T*>(a.dy)});
}
template <class T>
void adaptive_avg_pool(const AdaptivePool& a) {
  for_each_adaptive_pair(a, Average<T>{static_cast<T*>(a.y), static_cast<const T*>(a.x)});
}
template <class T>
void adaptive_avg_pool_backward(const AdaptivePoolBackward& a) {
  T* dx = static_cast<T*>(a.dx);
  for (std::int64_t i = 0; i < a.planes * a.h * a.w; ++i) dx[i] = 0;
  for_each_adaptive_pair(a, Spread<T>{dx, static_cast<const T*>(a.dy)});
}

template <class T>
void pool_scatter(const PoolScatter& a) {
  T* dx = static_cast<T*>(a.dx);
  for (std::int64_t i = 0; i < a.planes * a.in_size; ++i) dx[i] = 0;
  for (std::int64_t p = 0; p < a.planes; ++p)
    for (std::int64_t o = p * a.out_size; o < (p + 1) * a.out_size; ++o)
      dx[p * a.in_size + a.index[o]] += static_cast<const T*>(a.dy)[o];
}
template <class T>
void pool_gather(const PoolGather& a) {
  for (std::int64_t p = 0; p < a.planes; ++p)
    for (std::int64_t o = p * a.out_size; o < (p + 1) * a.out_size; ++o)
      static_cast<T*>(a.y)[o] = static_cast<const T*>(a.x)[p * a.in_size + a.index[o]];
}

}  // namespace

#define GS_ROWS(op, Args)                              \
  void op##_f32(const Args& args) { op<float>(args); } \
  void op##_f64(const Args& args) { op<double>(args); }
GS_ROWS(max_pool, MaxPool)
GS_ROWS(avg_pool, AvgPool)
GS_ROWS(avg_pool_backward, AvgPoolBackward)
GS_ROWS(adaptive_max_pool, AdaptivePool)
GS_ROWS(adaptive_avg_pool, AdaptivePool)
GS_ROWS(adaptive_avg_pool_backward, AdaptivePoolBackward)
GS_ROWS(pool_scatter, PoolScatter)
GS_ROWS(pool_gather, PoolGather)
#undef GS_ROWS

}  // namespace gradsmith::kernels::reference
