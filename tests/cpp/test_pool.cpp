// Pooling against the reference rows: odd shapes, special values, poisoned outputs, thread counts,
// and the adjoint identity of every linear pair.
#include <cstring>

#include "kernel_testing.h"
#include "kernels/pool/pool.h"
#include "runtime/parallel.h"

using namespace gradsmith;
using namespace gradsmith::kernels;
using namespace gradsmith::testing;

namespace {

struct Case {
  std::int64_t planes, h, w, kh, kw, sh, sw, ph, pw, dh, dw;
  bool ceil_mode;
};

constexpr Case kCases[] = {
    {3, 8, 8, 2, 2, 2, 2, 0, 0, 1, 1, false},   {2, 9, 7, 2, 2, 2, 2, 0, 0, 1, 1, false},
    {2, 9, 7, 2, 2, 2, 2, 0, 0, 1, 1, true},    {4, 28, 28, 2, 2, 2, 2, 0, 0, 1, 1, false},
    {2, 56, 57, 3, 3, 2, 2, 1, 1, 1, 1, false}, {2, 56, 57, 3, 3, 2, 2, 1, 1, 1, 1, true},
    {2, 17, 40, 3, 3, 1, 1, 1, 1, 1, 1, false}, {1, 17, 70, 5, 5, 1, 1, 2, 2, 1, 1, false},
    {2, 13, 33, 3, 3, 3, 3, 0, 0, 1, 1, true},  {2, 20, 41, 3, 2, 2, 2, 1, 1, 2, 3, false},
    {2, 20, 41, 3, 2, 1, 1, 1, 1, 2, 3, true},  {3, 1, 50, 1, 4, 1, 2, 0, 2, 1, 1, false},
    {3, 50, 1, 4, 1, 2, 1, 2, 0, 1, 1, false},  {2, 6, 6, 6, 6, 6, 6, 0, 0, 1, 1, false},
    {5, 7, 7, 7, 7, 1, 1, 0, 0, 1, 1, false},   {1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, false},
    {2, 3, 3, 4, 4, 1, 1, 2, 2, 1, 1, false},   {0, 8, 8, 2, 2, 2, 2, 0, 0, 1, 1, false},
    {2, 5, 5, 2, 2, 4, 4, 1, 1, 1, 1, true},    {2, 31, 130, 3, 3, 2, 2, 0, 0, 1, 1, false},
    {2, 12, 64, 1, 1, 2, 2, 0, 0, 1, 1, false}, {1, 4, 34, 2, 2, 2, 2, 1, 1, 1, 1, false},
};

PoolShape shape_of(const Case& c) {
  return {.planes = c.planes,
          .h = c.h,
          .w = c.w,
          .out_h = pool_output_size(c.h, c.kh, c.sh, c.ph, c.dh, c.ceil_mode),
          .out_w = pool_output_size(c.w, c.kw, c.sw, c.pw, c.dw, c.ceil_mode),
          .kernel_h = c.kh,
          .kernel_w = c.kw,
          .stride_h = c.sh,
          .stride_w = c.sw,
          .pad_h = c.ph,
          .pad_w = c.pw,
          .dilation_h = c.dh,
          .dilation_w = c.dw};
}

std::string describe(const char* op, const char* target, const Case& c) {
  char text[200];
  std::snprintf(text, sizeof text,
                "%s on %s: %ldx%ldx%ld kernel %ldx%ld stride %ldx%ld pad %ldx%ld"
                " dilation %ldx%ld ceil %d",
                op, target, long(c.planes), long(c.h), long(c.w), long(c.kh), long(c.kw),
                long(c.sh), long(c.sw), long(c.ph), long(c.pw), long(c.dh), long(c.dw),
                int(c.ceil_mode));
  return text;
}

template <class Args>
auto* row(const Kernel<void(const Args&)>& op, DType dtype) {
  return op.fn[int(dtype)][int(Target::reference)];
}

template <class T>
bool close(const Poisoned<T>& got, const Poisoned<T>& want, double scale) {
  const double eps = std::numeric_limits<T>::epsilon();
  for (std::int64_t i = 0; i < got.size(); ++i)
    if (!(std::abs(double(got[i]) - double(want[i])) <= scale * eps)) return false;
  return got.frame_intact();
}

// Runs fn for 1, 2 and 3 threads: the first result is judged, the others must have its bits.
template <class T, class Run, class Judge>
void run_threads(std::int64_t size, const std::string& what, Run run, Judge judge) {
  set_num_threads(1);
  Poisoned<T> first(size);
  run(first.data());
  judge(first);
  for (int threads = 2; threads <= 3; ++threads) {
    set_num_threads(threads);
    Poisoned<T> again(size);
    run(again.data());
    report(same_bits(first, again) && again.frame_intact(), what + ": bits differ with threads");
  }
  set_num_threads(1);
}

template <class T>
double dot(const T* a, const T* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += double(a[i]) * double(b[i]);
  return sum;
}

template <class T>
std::vector<T> special_values(std::int64_t n, std::uint32_t seed) {
  std::vector<T> x = random_values<T>(n, seed);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (i % 3 == 0) x[i] = std::round(x[i]);  // ties
    if (i % 17 == 5) x[i] = -std::numeric_limits<T>::infinity();
    if (i % 29 == 7) x[i] = std::numeric_limits<T>::quiet_NaN();
  }
  return x;
}

template <class T>
void test_max(const Case& c, const char* target) {
  constexpr DType dtype = dtype_of<T>;
  const PoolShape s = shape_of(c);
  const std::int64_t in = s.planes * s.h * s.w, out = s.planes * s.out_h * s.out_w;
  for (int special = 0; special < 3; ++special) {
    std::vector<T> x = special ? special_values<T>(in, 11) : random_values<T>(in, 12);
    if (special == 2)
      for (T& v : x) v = -std::numeric_limits<T>::infinity();
    Poisoned<T> want(out);
    Poisoned<std::int64_t> want_index(out);
    row(max_pool, dtype)({.shape = s, .y = want.data(), .index = want_index.data(), .x = x.data()});
    const std::string what = describe("max_pool", target, c);
    run_threads<T>(
        out, what,
        [&](T* y) {
          Poisoned<std::int64_t> index(out);
          max_pool2d(dtype, {.shape = s, .y = y, .index = index.data(), .x = x.data()});
          report(same_bits(index, want_index) && index.frame_intact(), what + ": indices");
        },
        [&](const Poisoned<T>& y) {
          report(same_bits(y, want) && y.frame_intact(), what + ": values");
        });
    run_threads<T>(
        out, what,
        [&](T* y) { max_pool2d(dtype, {.shape = s, .y = y, .index = nullptr, .x = x.data()}); },
        [&](const Poisoned<T>& y) {
          report(same_bits(y, want) && y.frame_intact(), what + ": values without indices");
        });
    if (special) continue;
    const std::vector<T> dy = random_values<T>(out, 13);
    Poisoned<T> want_dx(in);
    const PoolScatter back{.planes = s.planes,
                           .in_size = s.h * s.w,
                           .out_size = s.out_h * s.out_w,
                           .dx = want_dx.data(),
                           .index = want_index.data(),
                           .dy = dy.data()};
    row(pool_scatter, dtype)(back);
    run_threads<T>(
        in, what,
        [&](T* dx) {
          PoolScatter args = back;
          args.dx = dx;
          max_pool2d_backward(dtype, args);
        },
        [&](const Poisoned<T>& dx) {
          report(same_bits(dx, want_dx) && dx.frame_intact(), what + ": backward");
        });
    Poisoned<T> gathered(out);
    max_pool2d_gather(dtype, {.planes = s.planes,
                              .in_size = s.h * s.w,
                              .out_size = s.out_h * s.out_w,
                              .y = gathered.data(),
                              .index = want_index.data(),
                              .x = x.data()});
    report(same_bits(gathered, want), what + ": gather");
  }
}

template <class T>
void test_avg(const Case& c, const char* target) {
  if (c.dh != 1 || c.dw != 1) return;
  constexpr DType dtype = dtype_of<T>;
  const PoolShape s = shape_of(c);
  const std::int64_t in = s.planes * s.h * s.w, out = s.planes * s.out_h * s.out_w;
  const std::vector<T> x = random_values<T>(in, 21), dy = random_values<T>(out, 22);
  const double taps = double(c.kh * c.kw), scale = 8 * taps;
  for (int mode = 0; mode < 3; ++mode) {
    const std::string what = describe("avg_pool", target, c) + " mode " + std::to_string(mode);
    const bool with_pad = mode != 1;
    const std::int64_t divisor = mode == 2 ? 5 : 0;
    Poisoned<T> want(out), want_dx(in);
    row(avg_pool, dtype)({.shape = s,
                          .y = want.data(),
                          .x = x.data(),
                          .count_include_pad = with_pad,
                          .divisor_override = divisor});
    row(avg_pool_backward, dtype)({.shape = s,
                                   .dx = want_dx.data(),
                                   .dy = dy.data(),
                                   .count_include_pad = with_pad,
                                   .divisor_override = divisor});
    Poisoned<T> kept_y(out), kept_dx(in);
    run_threads<T>(
        out, what,
        [&](T* y) {
          avg_pool2d(dtype, {.shape = s,
                             .y = y,
                             .x = x.data(),
                             .count_include_pad = with_pad,
                             .divisor_override = divisor});
        },
        [&](const Poisoned<T>& y) {
          report(close(y, want, scale), what);
          kept_y = y;
        });
    run_threads<T>(
        in, what,
        [&](T* dx) {
          avg_pool2d_backward(dtype, {.shape = s,
                                      .dx = dx,
                                      .dy = dy.data(),
                                      .count_include_pad = with_pad,
                                      .divisor_override = divisor});
        },
        [&](const Poisoned<T>& dx) {
          report(close(dx, want_dx, scale), what + ": backward");
          kept_dx = dx;
        });
    const double a = dot(kept_y.data(), dy.data(), out), b = dot(kept_dx.data(), x.data(), in);
    const double eps = std::numeric_limits<T>::epsilon();
    report(std::abs(a - b) <= 100 * eps * (1 + taps) * double(out + in + 1), what + ": adjoint");
  }
}

template <class T>
void test_adaptive(const char* target) {
  constexpr DType dtype = dtype_of<T>;
  constexpr std::int64_t cases[][5] = {{3, 8, 8, 1, 1},   {2, 7, 9, 3, 4},    {2, 8, 12, 4, 6},
                                       {2, 3, 3, 7, 5},   {1, 1, 37, 1, 5},   {0, 5, 5, 2, 2},
                                       {2, 14, 14, 7, 7}, {3, 13, 40, 1, 40}, {2, 5, 5, 0, 3}};
  for (const auto& c : cases) {
    const std::int64_t in = c[0] * c[1] * c[2], out = c[0] * c[3] * c[4];
    const std::vector<T> x = special_values<T>(in, 31), finite = random_values<T>(in, 32);
    const std::vector<T> dy = random_values<T>(out, 33);
    Poisoned<T> want(out), want_avg(out), want_dx(in);
    Poisoned<std::int64_t> want_index(out);
    AdaptivePool args{.planes = c[0],
                      .h = c[1],
                      .w = c[2],
                      .out_h = c[3],
                      .out_w = c[4],
                      .y = want.data(),
                      .index = want_index.data(),
                      .x = x.data()};
    row(adaptive_max_pool, dtype)(args);
    const std::string what = std::string("adaptive on ") + target + " in " + std::to_string(c[1]) +
                             "x" + std::to_string(c[2]) + " out " + std::to_string(c[3]) + "x" +
                             std::to_string(c[4]);
    run_threads<T>(
        out, what,
        [&](T* y) {
          Poisoned<std::int64_t> index(out);
          AdaptivePool run = args;
          run.y = y;
          run.index = index.data();
          adaptive_max_pool2d(dtype, run);
          report(same_bits(index, want_index), what + ": max indices");
        },
        [&](const Poisoned<T>& y) { report(same_bits(y, want), what + ": max"); });
    args.index = nullptr;
    args.x = finite.data();
    args.y = want_avg.data();
    row(adaptive_avg_pool, dtype)(args);
    const double scale = 8.0 * double(c[1] * c[2] + 1);
    run_threads<T>(
        out, what,
        [&](T* y) {
          AdaptivePool run = args;
          run.y = y;
          adaptive_avg_pool2d(dtype, run);
        },
        [&](const Poisoned<T>& y) { report(close(y, want_avg, scale), what + ": avg"); });
    AdaptivePoolBackward back{.planes = c[0],
                              .h = c[1],
                              .w = c[2],
                              .out_h = c[3],
                              .out_w = c[4],
                              .dx = want_dx.data(),
                              .dy = dy.data()};
    row(adaptive_avg_pool_backward, dtype)(back);
    run_threads<T>(
        in, what,
        [&](T* dx) {
          AdaptivePoolBackward run = back;
          run.dx = dx;
          adaptive_avg_pool2d_backward(dtype, run);
        },
        [&](const Poisoned<T>& dx) { report(close(dx, want_dx, scale), what + ": avg backward"); });
  }
}

}  // namespace

int main() {
  // Sizes as PyTorch gives them.
  report(pool_output_size(7, 2, 2, 0, 1, true) == 4, "ceil 7/2");
  report(pool_output_size(5, 2, 4, 1, 1, true) == 2, "ceil drops a window in the right padding");
  report(pool_output_size(3, 5, 1, 0, 1, false) == 0, "kernel too large");
  for_each_target([](const char* target) {
    for (const Case& c : kCases) {
      test_max<float>(c, target);
      test_max<double>(c, target);
      test_avg<float>(c, target);
      test_avg<double>(c, target);
    }
    test_adaptive<float>(target);
    test_adaptive<double>(target);
  });
  return finish("pool");
}
