// Cross entropy of logits against class numbers.
//
// Contract    see cuda_abi_rows.h and loss.h. Exponentials in the element type, sums in double.
// Algorithm   A team of threads (cuda/reduce.cuh) a row, as in softmax: maximum, sums, and in the
//             backward the result. A row's bits depend on that row alone.
// Bound       Logits are read once (and their gradient written once), as softmax.
#include <math.h>

#include <string>

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/reduce.cuh"

namespace gradsmith::cuda {
namespace {

template <class T>
struct LossParams {
  std::int64_t rows, n;
  Team team;
  T *loss, *stats, *target_weight, *dx;
  const T *x, *weight, *g;
  const std::int64_t* target;
  std::int64_t g_stride, ignore_index;
  double smoothing;
};

template <class T>
__global__ void __launch_bounds__(kTeamThreads, 3) cross_entropy_kernel(LossParams<T> p) {
  GS_SHARED(TeamShared, shared);
  const std::int64_t r = p.team.row(), n = r < p.rows ? p.n : 0;
  const T* const x = p.x + (r < p.rows ? r * p.n : 0);
  const auto weight = [&](std::int64_t j) { return p.weight ? double(p.weight[j]) : 1.0; };
  T top = T(-INFINITY);
  p.team.each(n, [&](std::int64_t j) { top = x[j] > top ? x[j] : top; });
  top = p.team.fold(shared, top, [](T a, T b) { return b > a ? b : a; });
  double sum = 0;
  p.team.each(n, [&](std::int64_t j) { sum += double(::exp(x[j] - top)); });
  sum = p.team.sum(shared, sum);
  const T log_sum = T(::log(sum));
  double uniform = 0;  // sum of w_j logp_j
  if (p.smoothing > 0) {
    p.team.each(n, [&](std::int64_t j) { uniform += weight(j) * double((x[j] - top) - log_sum); });
    uniform = p.team.sum(shared, uniform);
  }
  if (r >= p.rows || p.team.rank() != 0) return;
  const std::int64_t t = p.target[r];
  const bool ignored = t == p.ignore_index;
  const double w = ignored ? 0 : weight(t);
  double loss = 0;
  if (!ignored)
    loss = -(1 - p.smoothing) * w * double((x[t] - top) - log_sum) -
           p.smoothing / double(p.n) * uniform;
  p.loss[r] = T(loss);
  p.stats[2 * r] = top;
  p.stats[2 * r + 1] = log_sum;
  p.target_weight[r] = T(w);
}

template <class T>
__global__ void __launch_bounds__(kTeamThreads, 3) cross_entropy_grad_kernel(LossParams<T> p) {
  GS_SHARED(TeamShared, shared);
  const std::int64_t r = p.team.row(), n = r < p.rows ? p.n : 0;
  const std::int64_t base = r < p.rows ? r * p.n : 0;
  const double smooth = p.smoothing / double(p.n);
  double weights = p.weight ? 0 : double(p.n);  // sum of w_j
  if (p.weight && p.smoothing > 0) {
    p.team.each(n, [&](std::int64_t j) { weights += double(p.weight[j]); });
    weights = p.team.sum(shared, weights);
  }
  if (r >= p.rows) return;
  const std::int64_t t = p.target[r];
  if (t == p.ignore_index) return p.team.each(n, [&](std::int64_t j) { p.dx[base + j] = T(0); });
  const T top = p.stats[2 * r], log_sum = p.stats[2 * r + 1], g = p.g[r * p.g_stride];
  const T at_target = T((1 - p.smoothing) * (p.weight ? double(p.weight[t]) : 1.0));
  const T total = T(double(at_target) + smooth * weights);
  p.team.each(n, [&](std::int64_t j) {
    const T probability = ::exp((p.x[base + j] - top) - log_sum);
    const T q = (j == t ? at_target : T(0)) + T(smooth) * (p.weight ? p.weight[j] : T(1));
    p.dx[base + j] = g * (probability * total - q);
  });
}

template <class T>
int cross_entropy_as(const CrossEntropyArgs& a, void* stream) {
  const LossParams<T> p{a.rows,
                        a.n,
                        make_team(a.n, false),
                        static_cast<T*>(a.loss),
                        static_cast<T*>(a.stats),
                        static_cast<T*>(a.target_weight),
                        static_cast<T*>(a.dx),
                        static_cast<const T*>(a.x),
                        static_cast<const T*>(a.weight),
                        static_cast<const T*>(a.g),
                        a.target,
                        a.g_stride,
                        a.ignore_index,
                        a.label_smoothing};
  return launch_teams("cross_entropy",
                      a.dx ? cross_entropy_grad_kernel<T> : cross_entropy_kernel<T>, p.team, a.rows,
                      1, stream, p);
}

}  // namespace

int cross_entropy(const CrossEntropyArgs& args, void* stream) {
  return args.dtype == DType::f32 ? cross_entropy_as<float>(args, stream)
                                  : cross_entropy_as<double>(args, stream);
}

}  // namespace gradsmith::cuda
