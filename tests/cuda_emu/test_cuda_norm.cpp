// Normalisation on CUDA, run by the emulator, against the CPU's reference.
#include "cuda_testing.h"
#include "kernels/norm/norm.h"

namespace gradsmith::kernels::reference {
void group_norm_rows_f64(const NormRows& args);
void rms_norm_rows_f64(const NormRows& args);
void group_norm_rows_grad_f64(const NormRowsGrad& args);
void rms_norm_rows_grad_f64(const NormRowsGrad& args);
}  // namespace gradsmith::kernels::reference

namespace {

namespace ref = gradsmith::kernels::reference;
using std::int64_t;

struct Numbers {
  DType dtype;
  Buffer memory;
  std::vector<double> values;
  Numbers(DType d, int64_t n, double low, double high)
      : dtype(d), memory(std::size_t(n) * itemsize(d)), values(std::size_t(n)) {
    for (int64_t i = 0; i < n; ++i) {
      set(memory.p, d, i, uniform(low, high));
      values[std::size_t(i)] = get(memory.p, d, i);
    }
  }
};

// `size`: what the terms of a sum amount to, beside which its roundings are small.
void compare(const std::string& what, const void* got, DType dtype, const std::vector<double>& want,
             double size = 1) {
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double y = get(got, dtype, int64_t(i));
    if (std::abs(y - want[i]) <= 8 * tolerance(dtype) * (size + std::abs(want[i]))) continue;
    return gs_test::report(__FILE__, __LINE__,
                           what + " element " + std::to_string(i) + ": " + std::to_string(y) +
                               ", want " + std::to_string(want[i]));
  }
}

void check_rows(DType dtype, bool rms, int64_t batch, int64_t groups, int64_t channels,
                int64_t inner, bool affine, double mean = 0.5) {
  const int64_t rows = batch * groups, n = channels * inner, parameters = groups * channels;
  Numbers x(dtype, rows * n, mean - 2, mean + 2), g(dtype, rows * n, -1, 1);
  Numbers gamma(dtype, parameters, 0.5, 2), beta(dtype, parameters, -1, 1);
  Buffer y(x.memory.bytes + 2 * std::size_t(rows) * itemsize(dtype)), dx(x.memory.bytes);
  const std::string what = (rms ? "rms " : "norm ") + std::to_string(rows) + " " +
                           std::to_string(n) + " inner " + std::to_string(inner);
  NormArgs args{};
  args.dtype = dtype;
  args.y = y.p;
  char* const mean_at = static_cast<char*>(y.p) + x.memory.bytes;
  args.rstd = mean_at + std::size_t(rows) * itemsize(dtype);
  args.mean = rms ? nullptr : mean_at;
  args.x = x.memory.p;
  args.gamma = affine ? gamma.memory.p : nullptr;
  args.beta = affine ? beta.memory.p : nullptr;
  args.rows = rows;
  args.n = n;
  args.groups = groups;
  args.inner = inner;
  args.eps = 1e-5;
  in_all_schedules(what, y, [&] { return api.norm(0, &args, nullptr); });
  std::vector<double> want(x.values.size()), means(std::size_t(rows), 0.0), rstds(means);
  const double *vg = affine ? gamma.values.data() : nullptr,
               *vb = affine ? beta.values.data() : nullptr;
  (rms ? ref::rms_norm_rows_f64
       : ref::group_norm_rows_f64)({want.data(), means.data(), rstds.data(), x.values.data(), vg,
                                    vb, rows, n, args.eps, groups, inner});
  // The reference's own mean has roundings of its size, which float64 shows.
  compare(what, y.p, dtype, want, dtype == DType::f64 ? 2 + std::abs(mean) : 2);
  compare(what + " rstd", args.rstd, dtype, rstds);
  if (!rms) compare(what + " mean", args.mean, dtype, means);

  args.g = g.memory.p;
  args.y = dx.p;
  in_all_schedules(what + " backward", dx, [&] { return api.norm(0, &args, nullptr); });
  Buffer sums(2 * std::size_t(parameters) * itemsize(dtype));
  NormSumsArgs s{};
  s.dtype = dtype;
  s.sum_g = sums.p;
  s.sum_gx = static_cast<char*>(sums.p) + sums.bytes / 2;
  s.x = x.memory.p;
  s.g = g.memory.p;
  s.mean = args.mean;
  s.rstd = args.rstd;
  s.batch = batch;
  s.channels = parameters;
  s.inner = inner;
  s.groups = groups;
  in_all_schedules(what + " sums", sums, [&] { return api.norm_sums(0, &s, nullptr); });
  std::vector<double> dgamma(std::size_t(parameters), 0.0), dbeta(dgamma);
  (rms ? ref::rms_norm_rows_grad_f64 : ref::group_norm_rows_grad_f64)(
      {want.data(), dgamma.data(), dbeta.data(), x.values.data(), g.values.data(), means.data(),
       rstds.data(), vg, rows, n, groups, inner});
  // Where the mean is large, x - mean has its roundings, and so have both.
  const double far = 1 + std::abs(mean);
  compare(what + " backward", dx.p, dtype, want, 4 * far);
  compare(what + " dgamma", s.sum_gx, dtype, dgamma, 4 * far * std::sqrt(double(batch * inner)));
  compare(what + " dbeta", s.sum_g, dtype, dbeta, std::sqrt(double(batch * inner)));
}

// Batch norm is group norm over another view: the reference is written out.
void check_batch(DType dtype, int64_t batch, int64_t channels, int64_t inner, bool training) {
  const int64_t numel = batch * channels * inner;
  const double count = double(batch * inner);
  Numbers x(dtype, numel, -2, 3), g(dtype, numel, -1, 1), gamma(dtype, channels, 0.5, 2);
  Numbers beta(dtype, channels, -1, 1), mean(dtype, channels, 0, 1), rstd(dtype, channels, 0.5, 1);
  Numbers sum_g(dtype, channels, -3, 3), sum_gx(dtype, channels, -3, 3);
  std::vector<double> forward, backward;
  for (int64_t i = 0; i < numel; ++i) {
    const auto c = std::size_t(i / inner % channels), at = std::size_t(i);
    const double xhat = (x.values[at] - mean.values[c]) * rstd.values[c];
    forward.push_back(xhat * gamma.values[c] + beta.values[c]);
    const double shift = training ? sum_g.values[c] / count + xhat * sum_gx.values[c] / count : 0.0;
    backward.push_back(rstd.values[c] * gamma.values[c] * (g.values[at] - shift));
  }
  Buffer y(x.memory.bytes);
  BatchNormArgs args{};
  args.dtype = dtype;
  args.y = y.p;
  args.x = x.memory.p;
  args.mean = mean.memory.p;
  args.rstd = rstd.memory.p;
  args.gamma = gamma.memory.p;
  args.beta = beta.memory.p;
  args.batch = batch;
  args.channels = channels;
  args.inner = inner;
  in_all_schedules("batch_norm", y, [&] { return api.batch_norm(0, &args, nullptr); });
  compare("batch_norm", y.p, dtype, forward, 4);
  args.g = g.memory.p;
  if (training) {
    args.sum_g = sum_g.memory.p;
    args.sum_gx = sum_gx.memory.p;
  }
  in_all_schedules("batch_norm backward", y, [&] { return api.batch_norm(0, &args, nullptr); });
  compare("batch_norm backward", y.p, dtype, backward, 4);
}

}  // namespace

int main() {
  for (DType dtype : {DType::f32, DType::f64}) {
    for (int64_t n : {1, 2, 33, 257, 1031})
      for (bool rms : {false, true}) {
        check_rows(dtype, rms, 7, 1, n, 1, true);
        check_rows(dtype, rms, n > 500 ? 2 : 40, 1, n, 1, false);
      }
    check_rows(dtype, false, 20011, 1, 1, 1, true);  // the sums are cut into chunks
    check_rows(dtype, false, 3, 2, 3, 5, true);
    check_rows(dtype, false, 2, 3, 1, 49, true);
    check_rows(dtype, false, 2, 2, 2, 4099, true);
    check_rows(dtype, false, 3, 1, 100, 1, true, 1000);
    check_rows(dtype, false, 0, 1, 4, 1, true);
    for (bool training : {false, true}) {
      check_batch(dtype, 3, 5, 7, training);
      check_batch(dtype, 300, 33, 1, training);
      check_batch(dtype, 0, 3, 2, training);
    }
  }
  return gs_test::result();
}
