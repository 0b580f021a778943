// Least squares by gradient descent, from C++ alone: tensors, a matrix product, the tape.
#include <cmath>
#include <cstdio>
#include <numeric>
#include <vector>

#include "gradsmith/gradsmith.h"

namespace {

int failures = 0;

void check(bool good, const char* what) {
  if (good) return;
  ++failures;
  std::fprintf(stderr, "failed: %s\n", what);
}

void tensors() {
  std::vector<float> values(6);
  std::iota(values.begin(), values.end(), 0.0f);
  const gs::Tensor x =
      gs::from_blob(values.data(), {2, 3}, {3, 1}, gs::DType::f32, {}, [](void*) {}, nullptr);
  const gs::Tensor y = gs::ops::matmul(x, gs::ops::transpose(x, 0, 1));  // [[5, 14], [14, 50]]
  const float* p = y.data_as<float>();
  check(y.shape() == gs::Dims{2, 2}, "shape of the product");
  check(p[0] == 5 && p[1] == 14 && p[2] == 14 && p[3] == 50, "values of the product");
  check(gs::ops::select(x, 0, 1).data() == values.data() + 3, "select is a view");
}

void training() {
  const std::int64_t rows = 64, columns = 4;
  const gs::Tensor x = gs::ops::randn({rows, columns}, gs::DType::f64);
  const gs::Tensor wanted = gs::ops::randn({columns, 1}, gs::DType::f64);
  const gs::Tensor y = gs::ops::matmul(x, wanted);
  gs::Tensor w = gs::ops::zeros({columns, 1}, gs::DType::f64);
  w.set_requires_grad(true);
  for (int step = 0; step < 400; ++step) {
    const gs::Tensor loss = gs::ops::mean(gs::ops::square(gs::ops::sub(gs::ops::matmul(x, w), y)));
    const gs::Tensor g = gs::grad({loss}, {w}, {}).at(0);
    const gs::NoGradGuard off_the_tape;
    w = gs::ops::sub(w, gs::ops::mul(g, 0.1));
    w.set_requires_grad(true);
  }
  const double* found = w.data_as<double>();
  const double* expected = wanted.data_as<double>();
  for (int i = 0; i < columns; ++i)
    check(std::abs(found[i] - expected[i]) < 1e-6, "gradient descent finds the weights");
}

void second_order() {
  gs::Tensor x = gs::ops::full({1}, 3.0, gs::DType::f64);
  x.set_requires_grad(true);
  const gs::Tensor y = gs::ops::mul(gs::ops::mul(x, x), x);
  const gs::Tensor first = gs::grad({y}, {x}, {}, {.create_graph = true}).at(0);
  const gs::Tensor second = gs::grad({first}, {x}, {}).at(0);
  check(std::abs(*first.data_as<double>() - 27) < 1e-12, "first derivative of x^3");
  check(std::abs(*second.data_as<double>() - 18) < 1e-12, "second derivative of x^3");
}

void errors() {
  try {
    gs::ops::matmul(gs::ops::ones({2, 3}), gs::ops::ones({2, 3}));
    check(false, "a product of wrong shapes throws");
  } catch (const gs::Error& error) {
    check(error.kind() == gs::ErrorKind::value, "wrong shapes are an error of value");
    std::printf("as it should: %s\n", error.what());
  }
}

}  // namespace

int main() {
  gs::set_num_threads(2);
  check(gs::get_num_threads() == 2, "the number of threads");
  tensors();
  training();
  second_order();
  errors();
  if (failures == 0) std::printf("gradsmith %s: ok\n", GRADSMITH_VERSION);
  return failures == 0 ? 0 : 1;
}
