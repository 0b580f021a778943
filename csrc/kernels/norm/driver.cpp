// Splits normalisation over threads. Rows and channels are independent of each other, so only the
// sums over the batch (dgamma, dbeta) need care: they are taken over strips of rows that depend on
// the shape alone, in double, and the strips are added in order.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "base/cpu.h"
#include "base/math.h"
#include "kernels/norm/norm.h"
#include "kernels/reduce/reduce.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace gradsmith::kernels {
namespace {

using std::int64_t;

constexpr int64_t kGrain = 32 * 1024;  // elements worth a thread
constexpr int64_t kMaxStrips = 32;

int64_t grain_of(int64_t elements_each) { return std::max<int64_t>(1, kGrain / elements_each); }

// Rows per strip: work enough for a thread, and not more strips than needed.
int64_t strip_rows(int64_t rows, int64_t n) {
  return std::max(grain_of(n), ceil_div(rows, kMaxStrips));
}

template <class T>
T* offset(T* p, DType dtype, int64_t elements) {
  using Byte = std::conditional_t<std::is_const_v<T>, const char, char>;
  return p ? static_cast<Byte*>(p) + elements * int64_t(itemsize(dtype)) : nullptr;
}

double read(const void* p, DType dtype, int64_t i, double otherwise) {
  if (!p) return otherwise;
  return dtype == DType::f32 ? double(static_cast<const float*>(p)[i])
                             : static_cast<const double*>(p)[i];
}
void write(void* p, DType dtype, int64_t i, double value) {
  if (!p) return;
  if (dtype == DType::f32)
    static_cast<float*>(p)[i] = float(value);
  else
    static_cast<double*>(p)[i] = value;
}

auto forward_kernel(const NormProblem& p) {
  if (p.kind == NormKind::layer) return layer_norm_rows.pick(p.dtype);
  return (p.kind == NormKind::rms ? rms_norm_rows : group_norm_rows).pick(p.dtype);
}
auto backward_kernel(const NormProblem& p) {
  if (p.kind == NormKind::layer) return layer_norm_rows_grad.pick(p.dtype);
  return (p.kind == NormKind::rms ? rms_norm_rows_grad : group_norm_rows_grad).pick(p.dtype);
}

// Per-channel numbers of batch norm, in memory of the element type.
struct ChannelNumbers {
  void* scale;
  void* shift;
  void* slope;
};
ChannelNumbers channel_numbers(Workspace& ws, const BatchNormShape& s) {
  const int64_t bytes = s.channels * int64_t(itemsize(s.dtype));
  return {ws.get<char>(bytes), ws.get<char>(bytes), ws.get<char>(bytes)};
}

// sum g and sum g (x - mean) of every channel, into sums[0..channels) and sums[channels..).
void channel_sums(const BatchNormShape& s, double* sums, const void* x, const void* g,
                  const void* mean) {
  const bool cols = s.inner == 1;
  const int64_t rows = cols ? s.batch : s.batch * s.channels;  // lines, or runs
  const int64_t line = cols ? s.channels : s.inner;
  const int64_t chunk = cols ? strip_rows(rows, line) : 1;
  const int64_t parts = cols ? ceil_div(rows, chunk) : s.batch;
  const auto kernel = (cols ? batch_norm_cols_sums : batch_norm_runs_sums).pick(s.dtype);
  Workspace ws;
  double* part_g = ws.get<double>(parts * s.channels);
  double* part_gx = ws.get<double>(parts * s.channels);
  parallel_for(ceil_div(rows, chunk), grain_of(chunk * line), [&](int64_t begin, int64_t end) {
    const auto run = [&](int64_t part, int64_t first, int64_t count) {
      kernel({.sum_g = part_g + part,
              .sum_gx = part_gx + part,
              .x = offset(x, s.dtype, first * line),
              .g = offset(g, s.dtype, first * line),
              .mean = mean,
              .runs = count,
              .inner = s.inner,
              .channels = s.channels,
              .first_run = cols ? 0 : first});
    };
    if (!cols) return run(begin, begin, end - begin);
    for (int64_t c = begin; c < end; ++c) {
      run(c * s.channels, c * chunk, std::min(chunk, rows - c * chunk));
    }
  });
  for (int64_t c = 0; c < s.channels; ++c) {
    sums[c] = sums[s.channels + c] = 0;
    for (int64_t part = 0; part < parts; ++part) {
      sums[c] += part_g[part * s.channels + c];
      sums[s.channels + c] += part_gx[part * s.channels + c];
    }
  }
}

// How many channels at a time of an (N, C, ...) array are summed and then normalised, so that the
// second pass finds them in the second-level cache; 0 where all are there anyway, or not even one.
// Same bits as all at once. Emerald Rapids, one thread, 2026-11-26, before -> after, us forward and
// backward: 16 x 64 x 56 x 56 1650 -> 1355, 2285 -> 1693; 128 x 16 x 32 x 32 1030 -> 896, 1400 ->
// 1296; 16 x 256 x 14 x 14 524 -> 472, 575 -> 419; 128 x 64 x 8 x 8, runs of 4 lines, 447 -> 432,
// 371 -> 382.
int64_t cached_channels(const BatchNormShape& s, int64_t arrays) {
  const CpuInfo& cpu = cpu_info();
  const int64_t cache = (cpu.l2_bytes > 0 ? cpu.l2_bytes / cpu.l2_shared_by : 512 << 10) / 2;
  const int64_t channel = arrays * s.batch * s.inner * int64_t(itemsize(s.dtype));
  if (s.inner == 1 || channel > cache || channel * s.channels <= cache) return 0;
  return cache / channel;
}

// Calls f(first channel, channels) for blocks of so many.
template <class F>
void each_block(const BatchNormShape& s, int64_t channels, const F& f) {
  parallel_for(ceil_div(s.channels, channels), grain_of(channels * s.batch * s.inner),
               [&](int64_t begin, int64_t end) {
                 for (int64_t b = begin; b < end; ++b) {
                   const int64_t first = b * channels;
                   f(first, std::min(channels, s.channels - first));
                 }
               });
}

void apply(const BatchNormShape& s, const BatchNormApply& args, bool grad) {
  const bool cols = s.inner == 1;
  const int64_t line = cols ? s.channels : s.inner;
  const auto kernel = cols ? (grad ? batch_norm_cols_grad : batch_norm_cols).pick(s.dtype)
                           : (grad ? batch_norm_runs_grad : batch_norm_runs).pick(s.dtype);
  parallel_for(cols ? s.batch : s.batch * s.channels, grain_of(line),
               [&](int64_t begin, int64_t end) {
                 BatchNormApply piece = args;
                 piece.y = offset(args.y, s.dtype, begin * line);
                 piece.x = offset(args.x, s.dtype, begin * line);
                 piece.g = offset(args.g, s.dtype, begin * line);
                 piece.runs = end - begin;
                 piece.inner = s.inner;
                 piece.channels = s.channels;
                 piece.first_run = cols ? 0 : begin;
                 kernel(piece);
               });
}

// The same for some channels, whose runs are apart.
void apply_block(const BatchNormShape& s, const BatchNormApply& args, bool grad, int64_t first,
                 int64_t channels) {
  const auto kernel = (grad ? batch_norm_runs_grad : batch_norm_runs).pick(s.dtype);
  BatchNormApply piece = args;
  piece.runs = channels;
  piece.inner = s.inner;
  piece.channels = s.channels;
  piece.first_run = first;
  for (int64_t n = 0; n < s.batch; ++n) {
    const int64_t at = (n * s.channels + first) * s.inner;
    piece.y = offset(args.y, s.dtype, at);
    piece.x = offset(args.x, s.dtype, at);
    piece.g = offset(args.g, s.dtype, at);
    kernel(piece);
  }
}

// channel_sums for some channels; the images' sums are added in the same order.
void block_sums(const BatchNormShape& s, double* sums, const void* x, const void* g,
                const void* mean, int64_t first, int64_t channels) {
  const auto kernel = batch_norm_runs_sums.pick(s.dtype);
  Workspace ws;
  double* const sum_g = ws.get<double>(channels);
  double* const sum_gx = ws.get<double>(channels);
  for (int64_t c = first; c < first + channels; ++c) sums[c] = sums[s.channels + c] = 0;
  for (int64_t n = 0; n < s.batch; ++n) {
    const int64_t at = (n * s.channels + first) * s.inner;
    kernel({.sum_g = sum_g,
            .sum_gx = sum_gx,
            .x = offset(x, s.dtype, at),
            .g = offset(g, s.dtype, at),
            .mean = mean,
            .runs = channels,
            .inner = s.inner,
            .channels = s.channels,
            .first_run = first});
    for (int64_t c = 0; c < channels; ++c) {
      sums[first + c] += sum_g[c];
      sums[s.channels + first + c] += sum_gx[c];
    }
  }
}

}  // namespace

void norm_forward(const NormProblem& p, void* y, void* mean, void* rstd, const void* x,
                  const void* gamma, const void* beta) {
  if (p.rows * p.n == 0) return;
  const auto kernel = forward_kernel(p);
  parallel_for(p.rows, grain_of(p.n), [&](int64_t begin, int64_t end) {
    kernel({.y = offset(y, p.dtype, begin * p.n),
            .mean = offset(mean, p.dtype, begin),
            .rstd = offset(rstd, p.dtype, begin),
            .x = offset(x, p.dtype, begin * p.n),
            .gamma = gamma,
            .beta = beta,
            .rows = end - begin,
            .n = p.n,
            .eps = p.eps,
            .groups = p.groups,
            .inner = p.inner,
            .first_row = begin});
  });
}

void norm_backward(const NormProblem& p, const NormGradients& out, const void* x, const void* g,
                   const void* mean, const void* rstd, const void* gamma) {
  const int64_t parameters = p.kind == NormKind::group ? p.groups * p.n / p.inner : p.n;
  if (p.rows * p.n == 0) {
    for (int64_t i = 0; i < parameters; ++i) {
      write(out.dgamma, p.dtype, i, 0);
      write(out.dbeta, p.dtype, i, 0);
    }
    return;
  }
  const auto kernel = backward_kernel(p);
  const bool affine = out.dgamma || out.dbeta;
  const int64_t chunk = affine ? strip_rows(p.rows, p.n) : grain_of(p.n);
  const int64_t strips = ceil_div(p.rows, chunk);
  Workspace ws;
  double* sums = affine ? ws.get<double>(strips * 2 * parameters) : nullptr;
  parallel_for(strips, 1, [&](int64_t begin, int64_t end) {
    Workspace scratch;
    void* line = affine ? scratch.get<double>(2 * p.n) : nullptr;
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t first = strip * chunk;
      double* strip_sums = affine ? sums + strip * 2 * parameters : nullptr;
      if (affine) std::fill_n(strip_sums, 2 * parameters, 0.0);
      kernel({.dx = offset(out.dx, p.dtype, first * p.n),
              .dgamma = out.dgamma ? strip_sums : nullptr,
              .dbeta = out.dbeta ? strip_sums + parameters : nullptr,
              .x = offset(x, p.dtype, first * p.n),
              .g = offset(g, p.dtype, first * p.n),
              .mean = offset(mean, p.dtype, first),
              .rstd = offset(rstd, p.dtype, first),
              .gamma = gamma,
              .rows = std::min(chunk, p.rows - first),
              .n = p.n,
              .groups = p.groups,
              .inner = p.inner,
              .first_row = first,
              .scratch = line});
    }
  });
  if (!affine) return;
  for (int64_t strip = 1; strip < strips; ++strip) {
    for (int64_t i = 0; i < 2 * parameters; ++i) sums[i] += sums[strip * 2 * parameters + i];
  }
  for (int64_t i = 0; i < parameters; ++i) {
    write(out.dgamma, p.dtype, i, sums[i]);
    write(out.dbeta, p.dtype, i, sums[parameters + i]);
  }
}

namespace {

void channel_stats(const BatchNormShape& s, void* mean, void* var, const void* x, int64_t first,
                   int64_t channels) {
  const int64_t shape[] = {s.batch, channels, s.inner};
  const int64_t strides[] = {s.channels * s.inner, s.inner, 1};
  void* const from = const_cast<void*>(offset(x, s.dtype, first * s.inner));
  var_mean(offset(var, s.dtype, first), offset(mean, s.dtype, first),
           NdView{from, s.dtype, 3, shape, strides}, 0b101, 0);
}

struct ForwardNumbers {
  const BatchNormShape& s;
  const void *var, *gamma, *beta;
  double eps;
  ChannelNumbers out;

  void set(int64_t first, int64_t channels) const {
    for (int64_t c = first; c < first + channels; ++c) {
      const double rstd = 1 / std::sqrt(read(var, s.dtype, c, 0) + eps);
      write(out.scale, s.dtype, c, rstd * read(gamma, s.dtype, c, 1));
      write(out.shift, s.dtype, c, read(beta, s.dtype, c, 0));
    }
  }
};

struct BackwardNumbers {
  const BatchNormShape& s;
  const double* sums;
  const NormGradients& gradients;
  const void *var, *gamma;
  double eps;
  bool training;
  ChannelNumbers out;

  void set(int64_t first, int64_t channels) const {
    const double count = double(s.batch * s.inner);
    for (int64_t c = first; c < first + channels; ++c) {
      const double rstd = 1 / std::sqrt(read(var, s.dtype, c, 0) + eps);
      write(gradients.dgamma, s.dtype, c, sums[s.channels + c] * rstd);
      write(gradients.dbeta, s.dtype, c, sums[c]);
      write(out.scale, s.dtype, c, rstd * read(gamma, s.dtype, c, 1));
      write(out.shift, s.dtype, c, training ? sums[c] / count : 0);
      write(out.slope, s.dtype, c, training ? sums[s.channels + c] / count * rstd * rstd : 0);
    }
  }
};

BatchNormApply apply_args(void* y, const void* x, const void* g, const void* mean,
                          const ChannelNumbers& numbers) {
  BatchNormApply args{};
  args.y = y;
  args.x = x;
  args.g = g;
  args.mean = mean;
  args.scale = numbers.scale;
  args.shift = numbers.shift;
  args.slope = numbers.slope;
  return args;
}

}  // namespace

void batch_norm_stats(const BatchNormShape& s, void* mean, void* var, const void* x) {
  channel_stats(s, mean, var, x, 0, s.channels);
}

void batch_norm_forward(const BatchNormShape& s, void* y, const void* x, const void* mean,
                        const void* var, const void* gamma, const void* beta, double eps) {
  if (s.batch * s.channels * s.inner == 0) return;
  Workspace ws;
  const ForwardNumbers numbers{s, var, gamma, beta, eps, channel_numbers(ws, s)};
  numbers.set(0, s.channels);
  apply(s, apply_args(y, x, nullptr, mean, numbers.out), false);
}

void batch_norm_train(const BatchNormShape& s, void* y, void* mean, void* var, const void* x,
                      const void* gamma, const void* beta, double eps) {
  const int64_t channels = cached_channels(s, 1);
  if (channels == 0) {
    batch_norm_stats(s, mean, var, x);
    return batch_norm_forward(s, y, x, mean, var, gamma, beta, eps);
  }
  Workspace ws;
  const ForwardNumbers numbers{s, var, gamma, beta, eps, channel_numbers(ws, s)};
  const BatchNormApply args = apply_args(y, x, nullptr, mean, numbers.out);
  each_block(s, channels, [&](int64_t first, int64_t count) {
    channel_stats(s, mean, var, x, first, count);
    numbers.set(first, count);
    apply_block(s, args, false, first, count);
  });
}

void batch_norm_backward(const BatchNormShape& s, const NormGradients& out, const void* x,
                         const void* g, const void* mean, const void* var, const void* gamma,
                         double eps, bool training) {
  Workspace ws;
  double* sums = ws.get<double>(2 * s.channels);
  const BackwardNumbers numbers{s, sums, out, var, gamma, eps, training, channel_numbers(ws, s)};
  const BatchNormApply args = apply_args(out.dx, x, g, mean, numbers.out);
  const bool wants_sums = training || out.dgamma || out.dbeta;
  const int64_t channels = wants_sums && out.dx ? cached_channels(s, 2) : 0;
  if (channels != 0) {
    return each_block(s, channels, [&](int64_t first, int64_t count) {
      block_sums(s, sums, x, g, mean, first, count);
      numbers.set(first, count);
      apply_block(s, args, true, first, count);
    });
  }
  const bool empty = s.batch * s.inner == 0;
  if (empty) {
    std::fill_n(sums, 2 * s.channels, 0.0);
  } else if (wants_sums) {
    channel_sums(s, sums, x, g, mean);
  }
  numbers.set(0, s.channels);
  if (out.dx && !empty && s.channels != 0) apply(s, args, true);
}

}  // namespace gradsmith::kernels
