// Softmax on CUDA, run by the emulator, against the CPU's reference.
#include "cuda_testing.h"
#include "kernels/softmax/softmax.h"

namespace gradsmith::kernels::reference {
void softmax_cols_f64(const SoftmaxCols& args);
void log_softmax_cols_f64(const SoftmaxCols& args);
void softmax_cols_grad_f64(const SoftmaxColsGrad& args);
void log_softmax_cols_grad_f64(const SoftmaxColsGrad& args);
}  // namespace gradsmith::kernels::reference

namespace {

namespace ref = gradsmith::kernels::reference;
using std::int64_t;

std::vector<double> values_of(const Buffer& b, DType dtype) {
  std::vector<double> values(b.bytes / itemsize(dtype));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = get(b.p, dtype, int64_t(i));
  return values;
}

void compare(const std::string& what, const Buffer& got, DType dtype,
             const std::vector<double>& want, double room) {
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double y = get(got.p, dtype, int64_t(i)), w = want[i];
    const bool good = std::isnan(w) ? std::isnan(y)
                      : std::isinf(w)
                          ? y == w
                          : std::abs(y - w) <= room * tolerance(dtype) * (1 + std::abs(w));
    if (good) continue;
    return gs_test::report(__FILE__, __LINE__,
                           what + " element " + std::to_string(i) + ": " + std::to_string(y) +
                               ", want " + std::to_string(w));
  }
}

void check_softmax(DType dtype, bool log, int64_t outer, int64_t n, int64_t inner,
                   const std::vector<double>& special = {}) {
  const int64_t numel = outer * n * inner;
  const std::size_t bytes = std::size_t(numel) * itemsize(dtype);
  Buffer x(bytes), y(bytes), g(bytes), dx(bytes);
  for (int64_t i = 0; i < numel; ++i) {
    set(x.p, dtype, i, i < int64_t(special.size()) ? special[std::size_t(i)] : uniform(-9, 9));
    set(g.p, dtype, i, uniform(-1, 1));
  }
  const std::string what = std::string(log ? "log_softmax " : "softmax ") + std::to_string(outer) +
                           " " + std::to_string(n) + " " + std::to_string(inner);
  SoftmaxArgs args{dtype, log, y.p, x.p, nullptr, outer, n, inner};
  in_all_schedules(what, y, [&] { return api.softmax(0, &args, nullptr); });
  const auto vx = values_of(x, dtype), vg = values_of(g, dtype);
  std::vector<double> want(vx.size());
  for (int64_t o = 0; o < outer; ++o) {
    const int64_t at = o * n * inner;
    (log ? ref::log_softmax_cols_f64
         : ref::softmax_cols_f64)({want.data() + at, vx.data() + at, n, inner, inner, inner});
  }
  compare(what, y, dtype, want, 2);

  args = {dtype, log, dx.p, y.p, g.p, outer, n, inner};
  in_all_schedules(what + " backward", dx, [&] { return api.softmax(0, &args, nullptr); });
  const auto vy = values_of(y, dtype);
  for (int64_t o = 0; o < outer; ++o) {
    const int64_t at = o * n * inner;
    (log ? ref::log_softmax_cols_grad_f64 : ref::softmax_cols_grad_f64)(
        {want.data() + at, vy.data() + at, vg.data() + at, n, inner, inner, inner, inner});
  }
  compare(what + " backward", dx, dtype, want, log ? 8 : 2);
  args = {dtype, log, y.p, x.p, nullptr, outer, n, inner};
  std::memcpy(y.p, x.p, bytes);
  args.x = y.p;
  const auto before = vy;
  CHECK(api.softmax(0, &args, nullptr) == 0);
  for (std::size_t i = 0; i < before.size(); ++i) {
    const double again = get(y.p, dtype, int64_t(i));
    CHECK(again == before[i] || (std::isnan(again) && std::isnan(before[i])));
  }
}

}  // namespace

int main() {
  const double inf = std::numeric_limits<double>::infinity();
  for (DType dtype : {DType::f32, DType::f64})
    for (bool log : {false, true}) {
      for (int64_t n : {1, 2, 31, 33, 257, 1031, 5003})
        check_softmax(dtype, log, n > 1000 ? 2 : 9, n, 1);
      for (int64_t inner : {2, 31, 33}) {
        check_softmax(dtype, log, 2, 1, inner);
        check_softmax(dtype, log, 3, 19, inner);
        check_softmax(dtype, log, 1, 301, inner);
      }
      check_softmax(dtype, log, 0, 4, 2);
      check_softmax(dtype, log, 2, 0, 3);
      check_softmax(dtype, log, 5, 3, 1,
                    {NAN, 1, 2, inf, 1, 2, -inf, -inf, -inf, -inf, 1, 2, 900, -900, 0});
    }
  return gs_test::result();
}
