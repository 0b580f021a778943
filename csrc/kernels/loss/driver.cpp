// Splits losses over threads: rows are independent of each other.
#include <algorithm>
#include <cstring>

#include "kernels/loss/loss.h"
#include "runtime/parallel.h"

namespace gradsmith::kernels {
namespace {

using std::int64_t;

constexpr int64_t kGrain = 32 * 1024;  // elements worth a thread
int64_t rows_per_chunk(int64_t n) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, n)); }

void* offset(void* p, DType dtype, int64_t elements) {
  return p ? static_cast<char*>(p) + elements * int64_t(itemsize(dtype)) : nullptr;
}
const void* offset(const void* p, DType dtype, int64_t elements) {
  return static_cast<const char*>(p) + elements * int64_t(itemsize(dtype));
}

template <class T>
void nll_forward_as(const NllProblem& p, T* loss, T* target_weight, const T* logp,
                    const int64_t* target, const T* weight) {
  parallel_for(p.outer * p.inner, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t t = target[i];
      const bool ignored = t == p.ignore_index;
      const T w = ignored ? T(0) : weight ? weight[t] : T(1);
      const int64_t at = (i / p.inner * p.classes + t) * p.inner + i % p.inner;
      loss[i] = ignored ? T(0) : -w * logp[at];
      if (target_weight) target_weight[i] = w;
    }
  });
}

template <class T>
void nll_backward_as(const NllProblem& p, T* dlogp, const int64_t* target, const T* weight,
                     const T* g, int64_t g_stride, double g_scale) {
  const int64_t plane = p.classes * p.inner;
  parallel_for(p.outer, rows_per_chunk(plane), [&](int64_t begin, int64_t end) {
    std::fill(dlogp + begin * plane, dlogp + end * plane, T(0));
    for (int64_t i = begin * p.inner; i < end * p.inner; ++i) {
      const int64_t t = target[i];
      if (t == p.ignore_index) continue;
      const double w = weight ? double(weight[t]) : 1;
      dlogp[(i / p.inner * p.classes + t) * p.inner + i % p.inner] =
          T(-w * double(g[i * g_stride]) * g_scale);
    }
  });
}

}  // namespace

void cross_entropy_forward(DType dtype, const CrossEntropyRows& a) {
  if (a.rows == 0 || a.n == 0) return;
  const auto kernel = cross_entropy_rows.pick(dtype);
  parallel_for(a.rows, rows_per_chunk(a.n), [&](int64_t begin, int64_t end) {
    CrossEntropyRows part = a;
    part.loss = offset(a.loss, dtype, begin);
    part.stats = offset(a.stats, dtype, 2 * begin);
    part.target_weight = offset(a.target_weight, dtype, begin);
    part.x = offset(a.x, dtype, begin * a.x_stride);
    part.target = a.target + begin;
    part.rows = end - begin;
    kernel(part);
  });
}

void cross_entropy_backward(DType dtype, const CrossEntropyRowsGrad& a) {
  if (a.rows == 0 || a.n == 0) return;
  const auto kernel = cross_entropy_rows_grad.pick(dtype);
  parallel_for(a.rows, rows_per_chunk(a.n), [&](int64_t begin, int64_t end) {
    CrossEntropyRowsGrad part = a;
    part.dx = offset(a.dx, dtype, begin * a.dx_stride);
    part.x = offset(a.x, dtype, begin * a.x_stride);
    part.stats = offset(a.stats, dtype, 2 * begin);
    part.target = a.target + begin;
    part.g = offset(a.g, dtype, begin * a.g_stride);
    part.rows = end - begin;
    kernel(part);
  });
}

int64_t check_targets(const int64_t* target, int64_t count, int64_t classes, int64_t ignore_index) {
  const auto bad = [=](int64_t t) {
    return (std::uint64_t(t) >= std::uint64_t(classes)) & (t != ignore_index);
  };
  // A block at a time without branches, so that the scan vectorises; then the place.
  for (int64_t begin = 0; begin < count; begin += 1024) {
    const int64_t end = std::min(count, begin + 1024);
    int64_t any = 0;
    for (int64_t i = begin; i < end; ++i) any |= int64_t(bad(target[i]));
    for (int64_t i = begin; any && i < end; ++i) {
      if (bad(target[i])) return i;
    }
  }
  return -1;
}

void nll_forward(const NllProblem& p, void* loss, void* target_weight, const void* logp,
                 const int64_t* target, const void* weight) {
  const auto run = [&]<class T>() {
    nll_forward_as(p, static_cast<T*>(loss), static_cast<T*>(target_weight),
                   static_cast<const T*>(logp), target, static_cast<const T*>(weight));
  };
  p.dtype == DType::f32 ? run.template operator()<float>() : run.template operator()<double>();
}

void nll_backward(const NllProblem& p, void* dlogp, const int64_t* target, const void* weight,
                  const void* g, int64_t g_stride, double g_scale) {
  const auto run = [&]<class T>() {
    nll_backward_as(p, static_cast<T*>(dlogp), target, static_cast<const T*>(weight),
                    static_cast<const T*>(g), g_stride, g_scale);
  };
  p.dtype == DType::f32 ? run.template operator()<float>() : run.template operator()<double>();
}

}  // namespace gradsmith::kernels
