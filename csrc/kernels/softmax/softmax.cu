// Softmax and log-softmax along the middle one of [outer, n, inner], forward and backward.
//
// Contract    see cuda_abi_rows.h and softmax.h, special values too. Exponentials in the element
//             type, sums in double; in place is right.
// Algorithm   A team of threads (cuda/reduce.cuh) a softmax: its maximum, its sum, then the result,
//             each a pass over it. A softmax's bits depend on its elements and on whether inner
//             is 1.
// Bound       x read once, y written once: the second and third pass find rows of up to some 10 KB
// in
//             the L1 cache, longer ones in L2. Not measured.
#include <math.h>

#include <string>

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/reduce.cuh"

namespace gradsmith::cuda {
namespace {

struct Rows {
  std::int64_t rows, n, inner;
  Team team;
  // Of the first element of row r; its others follow `inner` apart.
  __device__ std::int64_t base(std::int64_t r) const { return r / inner * n * inner + r % inner; }
};

template <class T, bool kLog>
__global__ void __launch_bounds__(kTeamThreads, 4) softmax_kernel(Rows p, T* y, const T* x) {
  GS_SHARED(TeamShared, shared);
  const std::int64_t r = p.team.row(), n = r < p.rows ? p.n : 0;
  const std::int64_t base = r < p.rows ? p.base(r) : 0;
  x += base;
  y += base;
  T top = T(-INFINITY);
  p.team.each(n, [&](std::int64_t i) {
    const T v = x[i * p.inner];
    top = v > top ? v : top;
  });
  top = p.team.fold(shared, top, [](T a, T b) { return b > a ? b : a; });
  double sum = 0;
  p.team.each(n, [&](std::int64_t i) { sum += double(::exp(x[i * p.inner] - top)); });
  sum = p.team.sum(shared, sum);
  if constexpr (kLog) {
    const T log_sum = T(::log(sum));
    p.team.each(n, [&](std::int64_t i) { y[i * p.inner] = (x[i * p.inner] - top) - log_sum; });
  } else {
    const T scale = T(1 / sum);
    p.team.each(n, [&](std::int64_t i) { y[i * p.inner] = ::exp(x[i * p.inner] - top) * scale; });
  }
}

template <class T, bool kLog>
__global__ void __launch_bounds__(kTeamThreads, 4)
    softmax_grad_kernel(Rows p, T* dx, const T* y, const T* g) {
  GS_SHARED(TeamShared, shared);
  const std::int64_t r = p.team.row(), n = r < p.rows ? p.n : 0;
  const std::int64_t base = r < p.rows ? p.base(r) : 0;
  dx += base;
  y += base;
  g += base;
  double sum = 0;
  p.team.each(n, [&](std::int64_t i) {
    const double v = double(g[i * p.inner]);
    sum += kLog ? v : v * double(y[i * p.inner]);
  });
  const T total = T(p.team.sum(shared, sum));
  p.team.each(n, [&](std::int64_t i) {
    const T v = g[i * p.inner], out = y[i * p.inner];
    dx[i * p.inner] = kLog ? v - ::exp(out) * total : out * (v - total);
  });
}

template <class T>
int softmax_as(const SoftmaxArgs& a, void* stream) {
  const Rows p{a.outer * a.inner, a.n, a.inner, make_team(a.n, a.inner > 1, a.inner)};
  auto* y = static_cast<T*>(a.y);
  const auto *x = static_cast<const T*>(a.x), *g = static_cast<const T*>(a.g);
  if (g)
    return launch_teams("softmax",
                        a.log ? softmax_grad_kernel<T, true> : softmax_grad_kernel<T, false>,
                        p.team, p.rows, 1, stream, p, y, x, g);
  return launch_teams("softmax", a.log ? softmax_kernel<T, true> : softmax_kernel<T, false>, p.team,
                      p.rows, 1, stream, p, y, x);
}

}  // namespace

int softmax(const SoftmaxArgs& args, void* stream) {
  if (args.n == 0) return kOk;
  return args.dtype == DType::f32 ? softmax_as<float>(args, stream)
                                  : softmax_as<double>(args, stream);
}

}  // namespace gradsmith::cuda
