// Layer, RMS, group and batch normalisation, forward and backward.
//
// Contract    see cuda_abi_rows.h and norm.h. Statistics and sums in double, results computed in
//             the element type.
// Algorithm   norm_rows: a team of threads (cuda/reduce.cuh) a row: mean, variance about it,
// result,
//             each a pass over the row, of which the later ones find it in cache. norm_apply and
//             norm_rows' backward likewise. norm_sums: what gradients of parameters, and the
//             backward of batch norm, add up over the batch, per channel of [batch, channels,
//             inner]; cut into chunks by the shape alone, which join_kernel joins in order.
// Bound       Forward: x read once, y written once. Backward: x and g read twice (for dx and for
//             the sums), dx written once.
#include <math.h>

#include "kernels/reduce/reduce.cuh"

namespace gradsmith::cuda {
namespace {

template <class T>
struct NormParams {
  NormArgs a;
  Team team;

  __device__ T at(const void* p, std::int64_t i, T otherwise) const {
    return p ? static_cast<const T*>(p)[i] : otherwise;
  }
  // Of the element i of row r.
  __device__ std::int64_t parameter(std::int64_t r, std::int64_t i) const {
    const std::int64_t first = a.groups == 1 ? 0 : r % a.groups * a.n;
    return a.inner == 1 ? first + i : (first + i) / a.inner;
  }
};

template <class T>
__global__ void __launch_bounds__(kTeamThreads, 4) norm_kernel(NormParams<T> p) {
  GS_SHARED(TeamShared, shared);
  const std::int64_t r = p.team.row(), n = r < p.a.rows ? p.a.n : 0;
  const std::int64_t base = r < p.a.rows ? r * p.a.n : 0;
  const T* const x = static_cast<const T*>(p.a.x) + base;
  T* const y = static_cast<T*>(p.a.y) + base;
  double mean = 0;
  if (p.a.mean) {
    p.team.each(n, [&](std::int64_t i) { mean += double(x[i]); });
    mean = p.team.sum(shared, mean) / double(p.a.n);
  }
  double power = 0;
  p.team.each(n, [&](std::int64_t i) { power += (double(x[i]) - mean) * (double(x[i]) - mean); });
  const double rstd = 1 / ::sqrt(p.team.sum(shared, power) / double(p.a.n) + p.a.eps);
  p.team.each(n, [&](std::int64_t i) {
    const std::int64_t c = p.parameter(r, i);
    const T xhat = T((double(x[i]) - mean) * rstd);
    y[i] = xhat * p.at(p.a.gamma, c, T(1)) + p.at(p.a.beta, c, T(0));
  });
  if (r >= p.a.rows || p.team.rank() != 0) return;
  if (p.a.mean) static_cast<T*>(p.a.mean)[r] = T(mean);
  static_cast<T*>(p.a.rstd)[r] = T(rstd);
}

template <class T>
__global__ void __launch_bounds__(kTeamThreads, 4) norm_grad_kernel(NormParams<T> p) {
  GS_SHARED(TeamShared, shared);
  const bool active = p.team.row() < p.a.rows;
  const std::int64_t r = active ? p.team.row() : 0, n = active ? p.a.n : 0, base = r * p.a.n;
  const T* const x = static_cast<const T*>(p.a.x) + base;
  const T* const g = static_cast<const T*>(p.a.g) + base;
  T* const dx = static_cast<T*>(p.a.y) + base;
  const T mean = p.at(p.a.mean, r, T(0)), rstd = static_cast<const T*>(p.a.rstd)[r];
  const auto slope = [&](std::int64_t i) {
    return g[i] * p.at(p.a.gamma, p.parameter(r, i), T(1));
  };
  double sum_h = 0, sum_hx = 0;
  p.team.each(n, [&](std::int64_t i) {
    const double h = double(slope(i));
    sum_h += h;
    sum_hx += h * double((x[i] - mean) * rstd);
  });
  const T avg_h = p.a.mean ? T(p.team.sum(shared, sum_h) / double(p.a.n)) : T(0);
  const T avg_hx = T(p.team.sum(shared, sum_hx) / double(p.a.n));
  p.team.each(n, [&](std::int64_t i) {
    dx[i] = rstd * (slope(i) - avg_h - (x[i] - mean) * rstd * avg_hx);
  });
}

// ---- sums over the batch ----

template <class T>
struct SumsFold {
  struct Acc {
    double g, gx;
  };
  NormSumsArgs a;

  __device__ Acc start() const { return {0, 0}; }
  __device__ Acc join(const Acc& s, const Acc& t) const { return {s.g + t.g, s.gx + t.gx}; }
  __device__ void finish(const Acc& acc, std::int64_t c) const {
    if (a.sum_g) static_cast<T*>(a.sum_g)[c] = T(acc.g);
    if (a.sum_gx) static_cast<T*>(a.sum_gx)[c] = T(acc.gx);
  }
};

template <class T>
__global__ void __launch_bounds__(kTeamThreads, 4)
    sums_kernel(FoldWalk w, SumsFold<T> fold, typename SumsFold<T>::Acc* partial) {
  GS_SHARED(TeamShared, shared);
  const NormSumsArgs& a = fold.a;
  const std::int64_t c = w.team.row();
  const bool active = c < w.outputs;
  const std::int64_t begin = blockIdx.y * w.chunk;
  const std::int64_t rest = w.elements - begin;
  const std::int64_t n = active ? (rest < w.chunk ? rest : w.chunk) : 0;
  auto acc = fold.start();
  w.team.each(n, [&](std::int64_t i) {
    const std::int64_t e = begin + i, b = a.inner == 1 ? e : e / a.inner;
    const std::int64_t at = (b * a.channels + c) * a.inner + (e - b * a.inner);
    // Statistics are those of the channel, or of the row that this is part of.
    const std::int64_t s = a.groups == 0 ? c : b * a.groups + c / (a.channels / a.groups);
    const double g = double(static_cast<const T*>(a.g)[at]);
    double x = double(static_cast<const T*>(a.x)[at]);
    if (a.mean) x -= double(static_cast<const T*>(a.mean)[s]);
    acc.g += g;
    acc.gx += g * (x * double(static_cast<const T*>(a.rstd)[s]));
  });
  acc = w.team.fold(shared, acc, [&](const auto& s, const auto& t) { return fold.join(s, t); });
  if (!active || w.team.rank() != 0) return;
  if (partial)
    partial[c * w.chunks + blockIdx.y] = acc;
  else
    fold.finish(acc, c);
}

template <class T>
int sums_as(const NormSumsArgs& a, void* stream) {
  FoldWalk w{};
  w.kept.count = 1;
  w.kept.out_stride[0] = 1;
  w.outputs = a.channels;
  w.elements = a.batch * a.inner;
  cut(w, a.inner == 1, a.channels);
  const SumsFold<T> fold{a};
  using Acc = typename SumsFold<T>::Acc;
  Scratch scratch(stream);
  if (w.chunks > 1)
    if (const int s = scratch.allocate(std::size_t(w.outputs * w.chunks) * sizeof(Acc))) return s;
  auto* partial = static_cast<Acc*>(scratch.data());
  const int status = launch_teams("norm_sums", sums_kernel<T>, w.team, w.outputs, w.chunks, stream,
                                  w, fold, partial);
  if (status || w.chunks == 1) return status;
  return launch_join("norm_sums", w, fold, partial, stream);
}

// ---- batch norm ----

template <class T>
__global__ void __launch_bounds__(kThreads) batch_norm_kernel(BatchNormArgs a, std::int64_t numel) {
  const std::int64_t first = std::int64_t(blockIdx.x) * kThreads * 4 + threadIdx.x;
  const auto at = [](const void* p, std::int64_t i) { return static_cast<const T*>(p)[i]; };
  GS_UNROLL
  for (int u = 0; u < 4; ++u) {
    const std::int64_t i = first + u * kThreads;
    if (i >= numel) return;
    const std::int64_t c = i / a.inner % a.channels;
    const T mean = at(a.mean, c), scale = at(a.rstd, c) * (a.gamma ? at(a.gamma, c) : T(1));
    T y;
    if (!a.g) {
      y = (at(a.x, i) - mean) * scale + (a.beta ? at(a.beta, c) : T(0));
    } else {
      T h = at(a.g, i);
      if (a.sum_g) {
        const T count = T(a.batch * a.inner);
        h = h - at(a.sum_g, c) / count -
            (at(a.x, i) - mean) * at(a.rstd, c) * (at(a.sum_gx, c) / count);
      }
      y = scale * h;
    }
    static_cast<T*>(a.y)[i] = y;
  }
}

template <class T>
int norm_as(const NormArgs& a, void* stream) {
  const NormParams<T> p{a, make_team(a.n, false)};
  return launch_teams("norm", a.g ? norm_grad_kernel<T> : norm_kernel<T>, p.team, a.rows, 1, stream,
                      p);
}

template <class T>
int batch_norm_as(const BatchNormArgs& a, void* stream) {
  const std::int64_t numel = a.batch * a.channels * a.inner;
  if (numel == 0) return kOk;
  const std::int64_t blocks = blocks_for(numel, 4);
  if (blocks > kMaxGridX) return fail(kFailed, "batch_norm: too many elements");
  return launch("batch_norm", batch_norm_kernel<T>, dim3(unsigned(blocks)), dim3(kThreads), 0,
                stream, a, numel);
}

}  // namespace

int norm(const NormArgs& args, void* stream) {
  if (args.n == 0) return kOk;
  return args.dtype == DType::f32 ? norm_as<float>(args, stream) : norm_as<double>(args, stream);
}
int norm_sums(const NormSumsArgs& args, void* stream) {
  return args.dtype == DType::f32 ? sums_as<float>(args, stream) : sums_as<double>(args, stream);
}
int batch_norm(const BatchNormArgs& args, void* stream) {
  return args.dtype == DType::f32 ? batch_norm_as<float>(args, stream)
                                  : batch_norm_as<double>(args, stream);
}

}  // namespace gradsmith::cuda
