// Normalisation against its reference rows: odd sizes, far-away means, outliers, affine or not,
// poisoned outputs, thread counts.
#include <algorithm>

#include "kernel_testing.h"
#include "kernels/norm/norm.h"
#include "runtime/parallel.h"

using namespace gradsmith;
using namespace gradsmith::kernels;
using namespace gradsmith::testing;

namespace {

// |got - want| <= tolerance * (largest |want| in the array, or `scale` where terms cancel)
template <class T>
bool close(const Poisoned<T>& got, const Poisoned<T>& want, double tolerance, double scale = 0) {
  for (std::int64_t i = 0; i < want.size(); ++i) {
    if (want[i] == want[i]) scale = std::max(scale, std::abs(double(want[i])));
  }
  for (std::int64_t i = 0; i < got.size(); ++i) {
    const double g = double(got[i]), w = double(want[i]);
    const bool both_nan = g != g && w != w;  // not written by either
    if (!both_nan && g != w && !(std::abs(g - w) <= tolerance * scale)) {
      std::fprintf(stderr, "element %ld: %.9g, want %.9g\n", long(i), g, w);
      return false;
    }
  }
  return got.frame_intact();
}

template <class T>
struct Outputs {
  Poisoned<T> y, mean, rstd, dx, dgamma, dbeta;
  bool same(const Outputs& o) const {
    return same_bits(y, o.y) && same_bits(mean, o.mean) && same_bits(rstd, o.rstd) &&
           same_bits(dx, o.dx) && same_bits(dgamma, o.dgamma) && same_bits(dbeta, o.dbeta);
  }
};

// Data: 0 normal, 1 mean 1000, 2 outliers.
template <class T>
std::vector<T> make_data(std::int64_t n, int kind, std::uint32_t seed) {
  std::vector<T> x = random_values<T>(n, seed);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (kind == 1) x[i] += T(1000);
    if (kind == 2 && i % 131 == 7) x[i] = T(1e30);
  }
  return x;
}

template <class T, class Run>
void check(const char* target, const std::string& what, std::int64_t size, std::int64_t stats,
           std::int64_t parameters, double tolerance, bool variance, Run run) {
  // The oracle adds up one by one, in double.
  tolerance += double(size) * 0x1p-53;
  const auto make = [&] {
    Outputs<T> o{Poisoned<T>(size), Poisoned<T>(stats),      Poisoned<T>(stats),
                 Poisoned<T>(size), Poisoned<T>(parameters), Poisoned<T>(parameters)};
    run(o);
    return o;
  };
  set_num_threads(1);
  set_target("reference");
  const Outputs<T> want = make();
  set_target(target);
  const Outputs<T> got = make();
  report(close(got.y, want.y, tolerance), what + ": y");
  report(close(got.mean, want.mean, tolerance, 4), what + ": mean");
  report(close(got.rstd, want.rstd, tolerance), what + ": rstd");
  double rstd = 0;  // dx is a difference of terms of size g gamma rstd
  for (std::int64_t i = 0; i < stats; ++i) {
    const double v = double(want.rstd[i]);
    rstd = std::max(rstd, variance ? 1 / std::sqrt(v + 1e-5) : v);
  }
  report(close(got.dx, want.dx, 4 * tolerance, 16 * rstd), what + ": dx");
  report(close(got.dgamma, want.dgamma, 4 * tolerance), what + ": dgamma");
  report(close(got.dbeta, want.dbeta, 4 * tolerance), what + ": dbeta");
  for (int threads = 2; threads <= 3; ++threads) {
    set_num_threads(threads);
    report(make().same(got), what + ": bits differ with threads");
  }
}

template <class T>
void test_rows(const char* target, NormKind kind, bool affine, int data) {
  const std::int64_t shapes[][2] = {{3, 1},      {5, 2},     {2, 7},  {2, 8},   {3, 9},
                                    {2, 15},     {4, 17},    {2, 33}, {70, 97}, {3, 768},
                                    {200, 1024}, {2, 20011}, {0, 4}};
  for (const auto& s : shapes) {
    const std::int64_t rows = s[0], n = s[1], size = rows * n;
    const std::vector<T> x = make_data<T>(size, data, 1), g = random_values<T>(size, 2);
    const std::vector<T> gamma = random_values<T>(n, 3), beta = random_values<T>(n, 4);
    const NormProblem problem{dtype_of<T>, kind, rows, n, 1e-5};
    const std::string what = std::string(kind == NormKind::rms ? "rms" : "layer") + "_norm " +
                             name(dtype_of<T>) + " on " + target + " " + std::to_string(rows) +
                             "x" + std::to_string(n) + " data " + std::to_string(data);
    const double eps = std::numeric_limits<T>::epsilon();
    const double tolerance = eps * (data == 1 && kind != NormKind::rms ? 2000 : 20);
    check<T>(target, what, size, rows, n, tolerance, false, [&](Outputs<T>& o) {
      norm_forward(problem, o.y.data(), o.mean.data(), o.rstd.data(), x.data(),
                   affine ? gamma.data() : nullptr, affine ? beta.data() : nullptr);
      norm_backward(
          problem,
          {o.dx.data(), affine ? o.dgamma.data() : nullptr, affine ? o.dbeta.data() : nullptr},
          x.data(), g.data(), o.mean.data(), o.rstd.data(), affine ? gamma.data() : nullptr);
    });
  }
}

template <class T>
void test_group(const char* target, bool affine, int data) {
  // batch, groups, channels per group, inner
  const std::int64_t shapes[][4] = {{2, 1, 1, 9},  {3, 2, 3, 1},    {2, 4, 2, 49},
                                    {3, 5, 1, 17}, {40, 2, 8, 100}, {1, 3, 2, 4001}};
  for (const auto& s : shapes) {
    const std::int64_t n = s[2] * s[3], rows = s[0] * s[1], size = rows * n, c = s[1] * s[2];
    const std::vector<T> x = make_data<T>(size, data, 1), g = random_values<T>(size, 2);
    const std::vector<T> gamma = random_values<T>(c, 3), beta = random_values<T>(c, 4);
    const NormProblem problem{dtype_of<T>, NormKind::group, rows, n, 1e-5, s[1], s[3]};
    const double eps = std::numeric_limits<T>::epsilon();
    check<T>(
        target, std::string("group_norm on ") + target + " inner " + std::to_string(s[3]), size,
        rows, c, eps * (data == 1 ? 2000 : 20), false, [&](Outputs<T>& o) {
          norm_forward(problem, o.y.data(), o.mean.data(), o.rstd.data(), x.data(),
                       affine ? gamma.data() : nullptr, affine ? beta.data() : nullptr);
          norm_backward(
              problem,
              {o.dx.data(), affine ? o.dgamma.data() : nullptr, affine ? o.dbeta.data() : nullptr},
              x.data(), g.data(), o.mean.data(), o.rstd.data(), affine ? gamma.data() : nullptr);
        });
  }
}

template <class T>
void test_batch(const char* target, bool affine, bool training, int data) {
  const std::int64_t shapes[][3] = {{2, 3, 1},   {7, 17, 1},    {700, 33, 1}, {5, 1100, 1},
                                    {2, 3, 7},   {4, 5, 49},    {3, 2, 1025}, {1, 4, 9},
                                    {64, 3, 31}, {3, 1, 70001}, {3, 41, 2801}};
  for (const auto& s : shapes) {
    const std::int64_t size = s[0] * s[1] * s[2], c = s[1];
    const std::vector<T> x = make_data<T>(size, data, 1), g = random_values<T>(size, 2);
    const std::vector<T> gamma = random_values<T>(c, 3), beta = random_values<T>(c, 4);
    const BatchNormShape shape{dtype_of<T>, s[0], s[1], s[2]};
    const double eps = std::numeric_limits<T>::epsilon();
    const std::string what = std::string("batch_norm ") + name(dtype_of<T>) + " on " + target +
                             " " + std::to_string(s[0]) + "x" + std::to_string(s[1]) + "x" +
                             std::to_string(s[2]) + " data " + std::to_string(data);
    check<T>(target, what, size, c, c, eps * (data == 1 ? 4000 : 40), true, [&](Outputs<T>& o) {
      const T* weight = affine ? gamma.data() : nullptr;
      const T* bias = affine ? beta.data() : nullptr;
      if (training) {
        batch_norm_train(shape, o.y.data(), o.mean.data(), o.rstd.data(), x.data(), weight, bias,
                         1e-5);
      } else {
        batch_norm_stats(shape, o.mean.data(), o.rstd.data(), x.data());
        batch_norm_forward(shape, o.y.data(), x.data(), o.mean.data(), o.rstd.data(), weight, bias,
                           1e-5);
      }
      batch_norm_backward(shape, {o.dx.data(), o.dgamma.data(), o.dbeta.data()}, x.data(), g.data(),
                          o.mean.data(), o.rstd.data(), weight, 1e-5, training);
    });
  }
}

template <class T>
void run(const char* target) {
  for (bool affine : {false, true}) {
    for (int data = 0; data < 3; ++data) {
      test_rows<T>(target, NormKind::layer, affine, data);
      test_rows<T>(target, NormKind::rms, affine, data);
      test_group<T>(target, affine, data);
      test_batch<T>(target, affine, true, data);
      test_batch<T>(target, affine, false, data);
    }
  }
}

}  // namespace

int main() {
  for_each_target([](const char* target) {
    run<float>(target);
    run<double>(target);
  });
  return finish("norm");
}
