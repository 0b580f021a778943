// Cross entropy on CUDA, run by the emulator, against the CPU's reference.
#include "cuda_testing.h"
#include "kernels/loss/loss.h"

namespace gradsmith::kernels::reference {
void cross_entropy_rows_f64(const CrossEntropyRows& args);
void cross_entropy_rows_grad_f64(const CrossEntropyRowsGrad& args);
}  // namespace gradsmith::kernels::reference

namespace {

namespace ref = gradsmith::kernels::reference;
using std::int64_t;

void check_loss(DType dtype, int64_t rows, int64_t n, double smoothing, bool weighted,
                bool one_gradient) {
  const std::size_t item = itemsize(dtype), count = std::size_t(rows);
  Buffer x(count * std::size_t(n) * item), out(count * 4 * item), dx(x.bytes), target(count * 8);
  Buffer weight(std::size_t(n) * item), g(count * item);
  std::vector<double> vx, vw, vg;
  const auto fill = [&](Buffer& b, std::vector<double>& values, double low, double high) {
    for (std::size_t i = 0; i < b.bytes / item; ++i) {
      set(b.p, dtype, int64_t(i), uniform(low, high));
      values.push_back(get(b.p, dtype, int64_t(i)));
    }
  };
  fill(x, vx, -5, 5);
  fill(weight, vw, 0, 2);
  fill(g, vg, -1, 1);
  auto* targets = static_cast<int64_t*>(target.p);
  for (int64_t r = 0; r < rows; ++r) targets[r] = r % 5 == 3 ? -100 : r * 7 % n;

  CrossEntropyArgs args{};
  args.dtype = dtype;
  args.loss = out.p;
  args.target_weight = static_cast<char*>(out.p) + count * item;
  args.stats = static_cast<char*>(out.p) + 2 * count * item;
  args.x = x.p;
  args.target = targets;
  args.weight = weighted ? weight.p : nullptr;
  args.rows = rows;
  args.n = n;
  args.ignore_index = -100;
  args.label_smoothing = smoothing;
  in_all_schedules("cross_entropy", out, [&] { return api.cross_entropy(0, &args, nullptr); });
  std::vector<double> loss(count), stats(2 * count), counted(count), want(vx.size());
  const double* weights = weighted ? vw.data() : nullptr;
  ref::cross_entropy_rows_f64({loss.data(), stats.data(), counted.data(), vx.data(), targets,
                               weights, rows, n, n, -100, smoothing});
  const auto near = [&](const void* p, int64_t i, double value) {
    const double got = get(p, dtype, i);
    if (std::abs(got - value) > 8 * tolerance(dtype) * (1 + std::abs(value)))
      gs_test::report(__FILE__, __LINE__,
                      "cross_entropy of " + std::to_string(n) + " at " + std::to_string(i) + ": " +
                          std::to_string(got) + ", want " + std::to_string(value));
  };
  for (int64_t r = 0; r < rows; ++r) {
    near(args.loss, r, loss[std::size_t(r)]);
    near(args.target_weight, r, counted[std::size_t(r)]);
    near(args.stats, 2 * r, stats[std::size_t(2 * r)]);
    near(args.stats, 2 * r + 1, stats[std::size_t(2 * r + 1)]);
  }
  args.dx = dx.p;
  args.g = g.p;
  args.g_stride = one_gradient ? 0 : 1;
  in_all_schedules("cross_entropy backward", dx,
                   [&] { return api.cross_entropy(0, &args, nullptr); });
  ref::cross_entropy_rows_grad_f64({want.data(), vx.data(), stats.data(), targets, weights,
                                    vg.data(), args.g_stride, 1, rows, n, n, n, -100, smoothing});
  for (std::size_t i = 0; i < want.size(); ++i) near(dx.p, int64_t(i), want[i]);
}

}  // namespace

int main() {
  for (DType dtype : {DType::f32, DType::f64})
    for (int64_t n : {1, 2, 10, 33, 1000, 4099})
      for (double smoothing : {0.0, 0.1, 1.0})
        for (bool weighted : {false, true})
          check_loss(dtype, n > 500 ? 5 : 17, n, smoothing, weighted, n % 2 == 0);
  check_loss(DType::f32, 0, 3, 0, false, false);
  check_loss(DType::f32, 600, 3, 0, false, false);
  return gs_test::result();
}
