// Softmax against its reference rows: both layouts, forward and backward, in place, odd sizes,
// outliers and special values, poisoned outputs, thread counts.
#include <algorithm>
#include <cstring>

#include "kernel_testing.h"
#include "kernels/softmax/softmax.h"
#include "runtime/parallel.h"

using namespace gradsmith;
using namespace gradsmith::kernels;
using namespace gradsmith::testing;

namespace {

struct Shape {
  std::int64_t outer, n, inner;
};
constexpr Shape kShapes[] = {
    {3, 1, 1},    {5, 2, 1},    {4, 3, 1},    {3, 7, 1},     {3, 8, 1},     {3, 9, 1},
    {7, 10, 1},   {2, 15, 1},   {2, 16, 1},   {2, 17, 1},    {2, 31, 1},    {2, 33, 1},
    {2, 97, 1},   {2, 1000, 1}, {1, 2053, 1}, {2, 40000, 1}, {1, 70001, 1}, {0, 5, 1},
    {2, 5, 2},    {2, 1, 7},    {3, 10, 7},   {2, 21, 64},   {2, 19, 65},   {1, 200, 100},
    {1, 5, 1025}, {2, 3, 2051}, {1, 700, 9},  {300, 10, 1},
};

// 0 normal, 1 outliers, 2 special values.
template <class T>
std::vector<T> make_data(std::int64_t n, int kind) {
  std::vector<T> x = random_values<T>(n, 3);
  const T inf = std::numeric_limits<T>::infinity();
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] *= T(3);
    if (kind == 1 && i % 41 == 3) x[i] = T(1e30);
    if (kind == 1 && i % 41 == 17) x[i] = T(-1e30);
    if (kind == 2 && i % 7 != 0) x[i] = -inf;
    if (kind == 2 && i % 67 == 13) x[i] = std::numeric_limits<T>::quiet_NaN();
    if (kind == 2 && i % 191 == 101) x[i] = inf;
  }
  if (kind == 2) {
    for (std::size_t i = 0; i < std::min<std::size_t>(x.size(), 20); ++i) x[i] = -inf;
  }
  return x;
}

template <class T>
bool close(const Poisoned<T>& got, const Poisoned<T>& want, double relative, double absolute) {
  for (std::int64_t i = 0; i < got.size(); ++i) {
    const double g = double(got[i]), w = double(want[i]);
    if (w != w ? g == g : g != w && !(std::abs(g - w) <= relative * std::abs(w) + absolute)) {
      std::fprintf(stderr, "element %ld: %.9g, want %.9g\n", long(i), g, w);
      return false;
    }
  }
  return got.frame_intact();
}

template <class T>
void test(const Shape& s, const char* target, bool log, int kind) {
  constexpr DType dtype = dtype_of<T>;
  const double eps = std::numeric_limits<T>::epsilon();
  const std::int64_t size = s.outer * s.n * s.inner;
  const SoftmaxProblem problem{dtype, log, s.outer, s.n, s.inner};
  const auto view = [&](const T* p) {
    return SoftmaxView{const_cast<T*>(p), s.n * s.inner, s.inner};
  };
  const std::vector<T> x = make_data<T>(size, kind), g = random_values<T>(size, 5);
  const std::string what = std::string(log ? "log_" : "") + "softmax " + name(dtype) + " on " +
                           target + " " + std::to_string(s.outer) + "x" + std::to_string(s.n) +
                           "x" + std::to_string(s.inner) + " data " + std::to_string(kind);
  Poisoned<T> want(size), want_dx(size), y(size), dx(size);
  set_num_threads(1);
  set_target("reference");
  softmax_forward(problem, view(want.data()), view(x.data()));
  softmax_backward(problem, view(want_dx.data()), view(want.data()), view(g.data()));
  set_target(target);

  softmax_forward(problem, view(y.data()), view(x.data()));
  // Rounding x - max moves its exponential by as much: 40 covers the spread of these data. A
  // log-probability near 0 is a difference of numbers as large as the row's spread.
  report(close(y, want, (log ? 8 : 40) * eps, log ? 64 * eps : 1e-37), what);
  softmax_backward(problem, view(dx.data()), view(want.data()), view(g.data()));
  report(close(dx, want_dx, 8 * eps, 60 * eps * (log ? std::sqrt(double(s.n)) : 1)),
         what + ": backward");

  Poisoned<T> in_place(size);
  std::copy(x.begin(), x.end(), in_place.data());
  softmax_forward(problem, view(in_place.data()), view(in_place.data()));
  report(same_bits(in_place, y), what + ": in place");
  std::copy(g.begin(), g.end(), in_place.data());
  softmax_backward(problem, view(in_place.data()), view(want.data()), view(in_place.data()));
  report(same_bits(in_place, dx), what + ": backward in place");

  for (int threads = 2; threads <= 3; ++threads) {
    set_num_threads(threads);
    Poisoned<T> again(size), again_dx(size);
    softmax_forward(problem, view(again.data()), view(x.data()));
    softmax_backward(problem, view(again_dx.data()), view(want.data()), view(g.data()));
    report(same_bits(again, y) && same_bits(again_dx, dx), what + ": bits differ with threads");
  }
}

// Rows with gaps between them, and one gradient row for all of them.
template <class T>
void test_strides(const char* target) {
  const std::int64_t rows = 5, n = 37, stride = 41;
  const std::vector<T> x = random_values<T>(rows * stride, 8);
  Poisoned<T> y(rows * stride), dense_y(n), dx(rows * n), dense_dx(n);
  const SoftmaxProblem all{dtype_of<T>, false, rows, n, 1}, one{dtype_of<T>, false, 1, n, 1};
  softmax_forward(all, {y.data(), stride, 1}, {const_cast<T*>(x.data()), stride, 1});
  softmax_backward(all, {dx.data(), n, 1}, {y.data(), stride, 1}, {const_cast<T*>(x.data()), 0, 1});
  for (std::int64_t r = 0; r < rows; ++r) {
    softmax_forward(one, {dense_y.data(), n, 1}, {const_cast<T*>(x.data()) + r * stride, n, 1});
    softmax_backward(one, {dense_dx.data(), n, 1}, {dense_y.data(), n, 1},
                     {const_cast<T*>(x.data()), n, 1});
    for (std::int64_t i = 0; i < stride; ++i) {
      const T got = y[r * stride + i];
      report(i < n ? got == dense_y[i] : got != got, std::string("row stride on ") + target);
      if (i < n) report(dx[r * n + i] == dense_dx[i], std::string("broadcast g on ") + target);
    }
  }
}

}  // namespace

int main() {
  for_each_target([](const char* target) {
    for (const Shape& shape : kShapes) {
      for (int kind = 0; kind < 3; ++kind) {
        for (bool log : {false, true}) {
          test<float>(shape, target, log, kind);
          test<double>(shape, target, log, kind);
        }
      }
    }
    test_strides<float>(target);
    test_strides<double>(target);
  });
  return finish("softmax");
}
