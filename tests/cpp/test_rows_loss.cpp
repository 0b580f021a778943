// Cross entropy against its reference rows, with and without weights, smoothing, ignored rows;
// nll against the composition; target checks.
#include <algorithm>

#include "kernel_testing.h"
#include "kernels/loss/loss.h"
#include "runtime/parallel.h"

using namespace gradsmith;
using namespace gradsmith::kernels;
using namespace gradsmith::testing;

namespace {

template <class T>
bool close(const Poisoned<T>& got, const Poisoned<T>& want, double relative, double absolute) {
  for (std::int64_t i = 0; i < got.size(); ++i) {
    const double g = double(got[i]), w = double(want[i]);
    const bool both_nan = g != g && w != w;
    if (!both_nan && g != w && !(std::abs(g - w) <= relative * std::abs(w) + absolute)) {
      std::fprintf(stderr, "element %ld: %.9g, want %.9g\n", long(i), g, w);
      return false;
    }
  }
  return got.frame_intact();
}

// data: 0 normal, 1 outliers, 2 rows with -inf and NaN.
template <class T>
void test(const char* target_name, bool weighted, double smoothing, int data) {
  const std::int64_t shapes[][2] = {{3, 1},  {5, 2},    {7, 10},    {2, 7},    {2, 8},   {2, 9},
                                    {3, 17}, {2, 1000}, {2, 50257}, {300, 10}, {9, 4099}};
  for (const auto& s : shapes) {
    const std::int64_t rows = s[0], n = s[1], stride = n + 3;
    const double eps = std::numeric_limits<T>::epsilon();
    std::vector<T> x = random_values<T>(rows * stride, 1), weight = random_values<T>(n, 2);
    const std::vector<T> g = random_values<T>(rows, 3);
    std::vector<std::int64_t> target(std::size_t(rows), 0);
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] *= T(3);
      if (data == 1 && i % 37 == 5) x[i] = T(i % 74 == 5 ? 1e30 : -1e30);
      if (data == 2 && i % 5 == 1) x[i] = -std::numeric_limits<T>::infinity();
      if (data == 2 && i % 401 == 77) x[i] = std::numeric_limits<T>::quiet_NaN();
    }
    for (T& w : weight) w = std::abs(w);
    for (std::size_t r = 0; r < target.size(); ++r) {
      target[r] = r % 4 == 1 ? -100 : std::int64_t(r * 7919 + 3) % n;
    }
    const std::string what = std::string("cross_entropy ") + name(dtype_of<T>) + " on " +
                             target_name + " " + std::to_string(rows) + "x" + std::to_string(n) +
                             " weighted " + std::to_string(weighted) + " smoothing " +
                             std::to_string(smoothing) + " data " + std::to_string(data);
    struct Outputs {
      Poisoned<T> loss, stats, weight, dx;
    };
    const auto run = [&] {
      Outputs o{Poisoned<T>(rows), Poisoned<T>(2 * rows), Poisoned<T>(rows), Poisoned<T>(rows * n)};
      cross_entropy_forward(dtype_of<T>, {.loss = o.loss.data(),
                                          .stats = o.stats.data(),
                                          .target_weight = o.weight.data(),
                                          .x = x.data(),
                                          .target = target.data(),
                                          .weight = weighted ? weight.data() : nullptr,
                                          .rows = rows,
                                          .n = n,
                                          .x_stride = stride,
                                          .ignore_index = -100,
                                          .label_smoothing = smoothing});
      cross_entropy_backward(dtype_of<T>, {.dx = o.dx.data(),
                                           .x = x.data(),
                                           .stats = o.stats.data(),
                                           .target = target.data(),
                                           .weight = weighted ? weight.data() : nullptr,
                                           .g = g.data(),
                                           .g_stride = data == 0 ? 1 : 0,
                                           .g_scale = 0.5,
                                           .rows = rows,
                                           .n = n,
                                           .dx_stride = n,
                                           .x_stride = stride,
                                           .ignore_index = -100,
                                           .label_smoothing = smoothing});
      return o;
    };
    set_num_threads(1);
    set_target("reference");
    const Outputs want = run();
    set_target(target_name);
    const Outputs got = run();
    const double oracle = double(n) * 0x1p-53;  // it adds up one by one, in double
    report(close(got.loss, want.loss, 40 * eps + oracle, 100 * eps), what + ": loss");
    report(close(got.weight, want.weight, 0, 0), what + ": target_weight");
    report(close(got.dx, want.dx, 60 * eps + oracle, 30 * eps), what + ": dx");
    for (int threads = 2; threads <= 3; ++threads) {
      set_num_threads(threads);
      const Outputs again = run();
      report(same_bits(again.loss, got.loss) && same_bits(again.dx, got.dx),
             what + ": bits differ with threads");
    }
  }
}

template <class T>
void test_nll() {
  const std::int64_t outer = 3, classes = 5, inner = 7, count = outer * inner;
  const std::vector<T> logp = random_values<T>(count * classes, 1), g = random_values<T>(count, 2);
  const std::vector<T> weight = random_values<T>(classes, 3);
  std::vector<std::int64_t> target(std::size_t(count), 0);
  for (std::size_t i = 0; i < target.size(); ++i) target[i] = std::int64_t(i * 3) % classes;
  target[4] = -100;
  const NllProblem problem{dtype_of<T>, outer, classes, inner, -100};
  Poisoned<T> loss(count), w(count), d(count * classes);
  nll_forward(problem, loss.data(), w.data(), logp.data(), target.data(), weight.data());
  nll_backward(problem, d.data(), target.data(), weight.data(), g.data(), 1, 2.0);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t t = target[std::size_t(i)];
    for (std::int64_t c = 0; c < classes; ++c) {
      const std::int64_t at = (i / inner * classes + c) * inner + i % inner;
      const T wc = weight[std::size_t(c)];
      report(d[at] == (c == t ? T(-double(wc) * double(g[std::size_t(i)]) * 2) : T(0)), "nll dx");
      if (c == t) report(loss[i] == -wc * logp[std::size_t(at)] && w[i] == wc, "nll");
    }
    if (t < 0) report(loss[i] == T(0) && w[i] == T(0), "nll ignored");
  }
  report(d.frame_intact() && loss.frame_intact(), "nll wrote outside");
}

}  // namespace

int main() {
  for_each_target([](const char* target) {
    for (bool weighted : {false, true}) {
      for (double smoothing : {0.0, 0.1}) {
        for (int data = 0; data < 3; ++data) {
          test<float>(target, weighted, smoothing, data);
          test<double>(target, weighted, smoothing, data);
        }
      }
    }
  });
  test_nll<float>();
  test_nll<double>();
  std::vector<std::int64_t> t(5000, 3);
  t[77] = -100;
  report(check_targets(t.data(), 5000, 10, -100) == -1, "good targets");
  t[4321] = 10;
  report(check_targets(t.data(), 5000, 10, -100) == 4321, "too large");
  t[1024] = -1;
  report(check_targets(t.data(), 5000, 10, -100) == 1024, "negative");
  report(check_targets(t.data(), 0, 10, -100) == -1, "no targets");
  return finish("loss");
}
