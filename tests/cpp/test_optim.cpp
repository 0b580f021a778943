// Optimiser steps and clipping: every target against the reference, over several steps, all
// options, sizes around the vector length; lists of tensors give the same bits for any threads.
#include "kernel_testing.h"
#include "kernels/optim/optim.h"
#include "runtime/parallel.h"

namespace {

using namespace gradsmith;
using namespace gradsmith::kernels;
using namespace gradsmith::testing;

template <class T>
constexpr double kTolerance = sizeof(T) == 4 ? 2e-6 : 4e-15;

template <class Fn>
Fn* reference_of(const Kernel<Fn>& op, DType dtype) {
  return op.fn[int(dtype)][int(Target::reference)];
}

// param, grad and up to three states of one tensor.
template <class T>
struct State {
  std::int64_t n;
  Poisoned<T> param, grad, s[3];
  explicit State(std::int64_t count)
      : n(count), param(n), grad(n), s{Poisoned<T>(n), Poisoned<T>(n), Poisoned<T>(n)} {
    fill(param, 1);
    fill(grad, 2);
    for (auto& state : s) {
      for (std::int64_t i = 0; i < n; ++i) state.data()[i] = 0;
    }
  }
  static void fill(Poisoned<T>& p, unsigned seed) {
    const auto values = random_values<T>(p.size(), seed);
    for (std::int64_t i = 0; i < p.size(); ++i) p.data()[i] = values[std::size_t(i)];
  }
  Poisoned<T>& array(int i) { return i == 0 ? param : s[i - 1]; }
};

template <class T>
void compare(State<T>& got, State<T>& want, const std::string& what) {
  for (int a = 0; a < 4; ++a) {
    report(got.array(a).frame_intact(), what + ": wrote outside");
    for (std::int64_t i = 0; i < got.n; ++i) {
      const double g = got.array(a)[i], w = want.array(a)[i];
      report(std::fabs(g - w) <= kTolerance<T> * (1 + std::fabs(w)),
             what + " array " + std::to_string(a) + "[" + std::to_string(i) +
                 "]: " + std::to_string(g) + " for " + std::to_string(w));
    }
  }
}

// Three steps with fresh gradients; make(state, step) builds the arguments.
template <class T, class Fn, class Make>
void run_steps(const Kernel<Fn>& op, const std::string& what, const Make& make) {
  for (std::int64_t n : {0, 1, 3, 7, 8, 17, 33, 100}) {
    State<T> got(n), want(n);
    for (int step = 1; step <= 3; ++step) {
      State<T>::fill(got.grad, unsigned(10 + step));
      State<T>::fill(want.grad, unsigned(10 + step));
      op.pick(dtype_of<T>)(make(got, step));
      reference_of(op, dtype_of<T>)(make(want, step));
    }
    compare(got, want, what + " n=" + std::to_string(n));
  }
}

template <class T>
SgdStep sgd(State<T>& s, int step, int options) {
  return {.param = s.param.data(),
          .grad = s.grad.data(),
          .momentum_buffer = options & 1 ? s.s[0].data() : nullptr,
          .count = s.n,
          .lr = 0.1,
          .momentum = options & 1 ? 0.9 : 0,
          .dampening = options & 2 ? 0.25 : 0,
          .weight_decay = options & 4 ? 0.01 : 0,
          .nesterov = (options & 8) != 0,
          .maximize = (options & 16) != 0,
          .first_step = step == 1};
}

template <class T>
AdamStep adam(State<T>& s, int step, int options) {
  const double beta1 = options & 16 ? 0.3 : 0.9, beta2 = 0.999;
  return {.param = s.param.data(),
          .grad = s.grad.data(),
          .exp_avg = s.s[0].data(),
          .exp_avg_sq = s.s[1].data(),
          .max_exp_avg_sq = options & 1 ? s.s[2].data() : nullptr,
          .count = s.n,
          .lr = 0.01,
          .step_size = 0.01 / (1 - std::pow(beta1, step)),
          .bias_correction2_sqrt = std::sqrt(1 - std::pow(beta2, step)),
          .beta1 = beta1,
          .beta2 = beta2,
          .eps = 1e-8,
          .weight_decay = options & 2 ? 0.1 : 0,
          .grad_step_size = (options & 21) == 4 ? 0.02 : 0,
          .decoupled = (options & 4) != 0,
          .maximize = (options & 8) != 0,
          .plain = (options & 20) == 20};
}

template <class T>
RmspropStep rmsprop(State<T>& s, int, int options) {
  return {.param = s.param.data(),
          .grad = s.grad.data(),
          .square_avg = s.s[0].data(),
          .grad_avg = options & 1 ? s.s[1].data() : nullptr,
          .momentum_buffer = options & 2 ? s.s[2].data() : nullptr,
          .count = s.n,
          .lr = 0.01,
          .alpha = options & 8 ? 0.4 : 0.9,
          .eps = 1e-3,
          .weight_decay = options & 4 ? 0.1 : 0,
          .momentum = options & 2 ? 0.9 : 0,
          .maximize = (options & 4) != 0};
}

template <class T>
void check_more_steps(const std::string& what, int options) {
  const double decay = options & 1 ? 0.1 : 0, beta = options & 4 ? 0.3 : 0.9;
  const bool maximize = (options & 2) != 0;
  run_steps<T>(adamax_step, "adamax " + what, [=](State<T>& s, int step) {
    return AdamaxStep{.param = s.param.data(),
                      .grad = s.grad.data(),
                      .exp_avg = s.s[0].data(),
                      .exp_inf = s.s[1].data(),
                      .count = s.n,
                      .step_size = 0.01 / (1 - std::pow(beta, step)),
                      .beta1 = beta,
                      .beta2 = 0.99,
                      .eps = 1e-3,
                      .weight_decay = decay,
                      .maximize = maximize};
  });
  run_steps<T>(adadelta_step, "adadelta " + what, [=](State<T>& s, int) {
    return AdadeltaStep{.param = s.param.data(),
                        .grad = s.grad.data(),
                        .square_avg = s.s[0].data(),
                        .acc_delta = s.s[1].data(),
                        .count = s.n,
                        .lr = 1,
                        .rho = beta,
                        .eps = 1e-3,
                        .weight_decay = decay,
                        .maximize = maximize};
  });
  run_steps<T>(asgd_step, "asgd " + what, [=](State<T>& s, int step) {
    return AsgdStep{.param = s.param.data(),
                    .grad = s.grad.data(),
                    .ax = s.s[0].data(),
                    .count = s.n,
                    .eta = 0.1,
                    .lambd = 0.01,
                    .mu = options & 4 ? 1.0 / step : 0.1,
                    .weight_decay = decay,
                    .maximize = maximize};
  });
  run_steps<T>(rprop_step, "rprop " + what, [=](State<T>& s, int) {
    return RpropStep{.param = s.param.data(),
                     .grad = s.grad.data(),
                     .prev = s.s[0].data(),
                     .step_size = s.s[1].data(),
                     .count = s.n,
                     .eta_minus = 0.5,
                     .eta_plus = 1.25,
                     .smallest = 0.125,
                     .largest = options & 4 ? 0.25 : 50,
                     .maximize = maximize};
  });
  run_steps<T>(lion_step, "lion " + what, [=](State<T>& s, int) {
    return LionStep{.param = s.param.data(),
                    .grad = s.grad.data(),
                    .exp_avg = s.s[0].data(),
                    .count = s.n,
                    .lr = 0.01,
                    .beta1 = beta,
                    .beta2 = 0.8,
                    .weight_decay = decay,
                    .maximize = maximize};
  });
}

// What the formulas make of gradients that are not numbers, and of those that are zero.
template <class T>
void check_signs(const std::string& target) {
  constexpr T nan = std::numeric_limits<T>::quiet_NaN(),
              tiny = std::numeric_limits<T>::denorm_min();
  const T grads[] = {nan, 0, T(-0.0), tiny, -tiny, nan, 0, 3};
  const T previous[] = {1, 1, 0, tiny, tiny, 0, nan, -2};
  const T want[] = {0, 0, 0, -2, 0, 0, 0, 0};
  T param[8] = {}, prev[8], size[8], average[8] = {};
  for (int i = 0; i < 8; ++i) prev[i] = previous[i], size[i] = 1;
  rprop_step.pick(dtype_of<T>)({.param = param,
                                .grad = grads,
                                .prev = prev,
                                .step_size = size,
                                .count = 8,
                                .eta_minus = 0.5,
                                .eta_plus = 2,
                                .smallest = 0.1,
                                .largest = 10});
  for (int i = 0; i < 8; ++i)
    report(param[i] == want[i] || (std::isnan(param[i]) && std::isnan(want[i])),
           target + " rprop of " + std::to_string(grads[i]) + ": " + std::to_string(param[i]));
  const T moved[] = {nan, 0, 0, -1, 1, nan, 0, -1};
  T start[8] = {};
  lion_step.pick(dtype_of<T>)({.param = start,
                               .grad = grads,
                               .exp_avg = average,
                               .count = 8,
                               .lr = 1,
                               .beta1 = 0,
                               .beta2 = 0.5});
  for (int i = 0; i < 8; ++i)
    report(start[i] == moved[i] || (std::isnan(start[i]) && std::isnan(moved[i])),
           target + " lion of " + std::to_string(grads[i]) + ": " + std::to_string(start[i]));
}

template <class T>
void check_steps(const std::string& target) {
  const std::string where = target + (sizeof(T) == 4 ? " f32" : " f64");
  for (int options = 0; options < 32; ++options) {
    const std::string what = where + " options " + std::to_string(options);
    run_steps<T>(sgd_step, "sgd " + what,
                 [=](State<T>& s, int step) { return sgd(s, step, options); });
    run_steps<T>(adam_step, "adam " + what,
                 [=](State<T>& s, int step) { return adam(s, step, options); });
    run_steps<T>(rmsprop_step, "rmsprop " + what,
                 [=](State<T>& s, int step) { return rmsprop(s, step, options); });
    run_steps<T>(adagrad_step, "adagrad " + what, [=](State<T>& s, int) {
      return AdagradStep{.param = s.param.data(),
                         .grad = s.grad.data(),
                         .state_sum = s.s[0].data(),
                         .count = s.n,
                         .lr = 0.1,
                         .eps = 1e-10,
                         .weight_decay = options & 1 ? 0.1 : 0,
                         .maximize = (options & 2) != 0};
    });
    if (options < 8) check_more_steps<T>(what, options);
  }
}

template <class T>
void check_flat(const std::string& target) {
  constexpr DType dtype = dtype_of<T>;
  for (std::int64_t n : {0, 1, 3, 7, 17, 33, 4095, 4096, 4097, 30000}) {
    auto x = random_values<T>(n, 3);
    const FlatArray array{x.data(), n};
    const double norm = global_norm(dtype, &array, 1);
    const double want = std::sqrt(reference_of(sum_squares, dtype)(array));
    const std::string what = target + " n=" + std::to_string(n);
    report(std::fabs(norm - want) <= kTolerance<T> * want, "global_norm " + what);
    report(global_max_abs(dtype, &array, 1) == reference_of(max_abs, dtype)(array),
           "max_abs " + what);
    auto y = x;
    const double before = clip_norm(dtype, &array, 1, 0.5);
    const T factor = T(0.5 / (before + 1e-6));
    for (std::size_t i = 0; i < y.size(); ++i) {
      report(x[i] == (factor < 1 ? T(y[i] * factor) : y[i]), "clip_norm " + what);
    }
    if (n == 0) continue;
    y[std::size_t(n / 2)] = std::numeric_limits<T>::quiet_NaN();
    const FlatArray with_nan{y.data(), n};
    report(std::isnan(global_max_abs(dtype, &with_nan, 1)), "max_abs of NaN " + what);
    clamp_arrays(dtype, &with_nan, 1, -0.25, 0.5);
    for (std::int64_t i = 0; i < n; ++i) {
      const T v = y[std::size_t(i)];
      report(i == n / 2 ? std::isnan(v) : v >= T(-0.25) && v <= T(0.5), "clamp " + what);
    }
  }
}

// Many tensors of odd sizes: the list gives what each tensor alone gives, for 1, 2 and 3 threads.
template <class T>
void check_list() {
  constexpr DType dtype = dtype_of<T>;
  const std::int64_t sizes[] = {1, 0, 20001, 3, 70000, 8192, 17, 8193, 0};
  std::vector<State<T>> alone;
  for (std::int64_t n : sizes) alone.emplace_back(n);
  for (auto& s : alone) adam_step.pick(dtype)(adam(s, 1, 7));
  double norm = 0;
  for (int threads : {1, 2, 3}) {
    set_num_threads(threads);
    std::vector<State<T>> list;
    std::vector<AdamStep> steps;
    std::vector<FlatArray> grads;
    for (std::int64_t n : sizes) list.emplace_back(n);
    for (auto& s : list) {
      steps.push_back(adam(s, 1, 7));
      grads.push_back({s.grad.data(), s.n});
    }
    optimizer_step(dtype, steps.data(), std::int64_t(steps.size()));
    for (std::size_t t = 0; t < list.size(); ++t) {
      report(same_bits(list[t].param, alone[t].param), "list: other bits than alone");
      report(list[t].param.frame_intact(), "list: wrote outside");
    }
    const double now = global_norm(dtype, grads.data(), std::int64_t(grads.size()));
    report(threads == 1 || now == norm, "global_norm: other bits with more threads");
    norm = now;
  }
  set_num_threads(1);
}

}  // namespace

int main() {
  for_each_target([](const std::string& target) {
    check_steps<float>(target);
    check_steps<double>(target);
    check_signs<float>(target);
    check_signs<double>(target);
    check_flat<float>(target);
    check_flat<double>(target);
    check_list<float>();
    check_list<double>();
  });
  return finish("test_optim");
}
