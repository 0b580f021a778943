// Optimizer steps over lists of tensors, in one parallel region each.
#include <cmath>

#include "ops/written.h"

namespace gradsmith::ops {

namespace {

void check_alike(const char* op, const char* name, const Tensor& x, const Tensor& param) {
  check_defined(op, name, x);
  GS_CHECK(x.shape() == param.shape(), "{}: a tensor of '{}' has shape {}, its parameter {}", op,
           name, x.shape(), param.shape());
  GS_CHECK_TYPE(x.dtype() == param.dtype(), "{}: a tensor of '{}' is {}, its parameter {}", op,
                name, x.dtype(), param.dtype());
  check_same_device(op, x, param);
}
void check_count(const char* op, const char* name, std::size_t got, std::size_t wanted) {
  GS_CHECK(got == wanted, "{}: '{}' has {} tensors for {} parameters", op, name, got, wanted);
}
void check_finite(const char* op, const char* name, double v) {
  GS_CHECK(std::isfinite(v), "{}: argument '{}' must be finite, got {}", op, name, v);
}

// Steps grouped by device and dtype, and everything that they write.
template <class Step>
class Batch {
 public:
  Batch(const char* op, std::size_t params) : op_(op) {
    written_.reserve(params * 4);
    read_.reserve(params);
  }
  void* write(const Tensor& x) { return written_.emplace_back(op_, x).data(); }
  const void* read(const Tensor& x) { return read_.emplace_back(contiguous(x)).data(); }
  void add(const Tensor& param, const Step& step) {
    for (Group& g : groups_)
      if (g.device == param.device() && g.dtype == param.dtype()) return g.steps.push_back(step);
    groups_.push_back({param.device(), param.dtype(), {step}});
  }
  void run() {
    for (const Group& g : groups_) dispatch::optimizer_step(g.device, g.dtype, g.steps);
    for (const Written& w : written_) w.finish();
  }

 private:
  const char* op_;
  std::vector<Written> written_;
  std::vector<Tensor> read_;
  struct Group {
    Device device;
    DType dtype;
    std::vector<Step> steps;
  };
  std::vector<Group> groups_;
};

// A list of states, one per parameter; null: the step has none.
struct States {
  const char* name;
  const std::vector<Tensor>* tensors;
};

// The memory of one parameter's step; a state that it does not have is null.
struct Arrays {
  void* param;
  const void* grad;
  void* state[3];
  std::int64_t count;
};

// Checks the lists and runs the steps that make(Arrays) gives.
template <class Step, class Make>
void run_steps(const char* op, const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
               std::initializer_list<States> states, const Make& make) {
  check_count(op, "grads", grads.size(), params.size());
  for (const States& s : states)
    if (s.tensors) check_count(op, s.name, s.tensors->size(), params.size());
  NoGradGuard guard;
  Batch<Step> batch(op, params.size());
  for (std::size_t i = 0; i < params.size(); ++i) {
    check_defined(op, "params", params[i]);
    check_alike(op, "grads", grads[i], params[i]);
    for (const States& s : states)
      if (s.tensors) check_alike(op, s.name, (*s.tensors)[i], params[i]);
    Arrays a{batch.write(params[i]), batch.read(grads[i]), {}, params[i].numel()};
    void** at = a.state;
    for (const States& s : states) *at++ = s.tensors ? batch.write((*s.tensors)[i]) : nullptr;
    batch.add(params[i], make(a));
  }
  batch.run();
}

void check_betas(const char* op, double beta1, double beta2) {
  GS_CHECK(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1,
           "{}: betas must be in [0, 1), got {} and {}", op, beta1, beta2);
}
void check_step(const char* op, std::int64_t step) {
  GS_CHECK(step >= 1, "{}: argument 'step' must be at least 1, got {}", op, step);
}

// What Adam, NAdam and RAdam share; `shared` has the numbers, without the arrays.
void adam_like(const char* op, const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
               const std::vector<Tensor>& exp_avgs, const std::vector<Tensor>& exp_avg_sqs,
               const States& largest, const kernels::AdamStep& shared) {
  run_steps<kernels::AdamStep>(op, params, grads,
                               {{"exp_avgs", &exp_avgs}, {"exp_avg_sqs", &exp_avg_sqs}, largest},
                               [&](const Arrays& a) {
                                 kernels::AdamStep step = shared;
                                 step.param = a.param;
                                 step.grad = a.grad;
                                 step.exp_avg = a.state[0];
                                 step.exp_avg_sq = a.state[1];
                                 step.max_exp_avg_sq = a.state[2];
                                 step.count = a.count;
                                 return step;
                               });
}

kernels::AdamStep adam_numbers(const char* op, std::int64_t step, double lr, double beta1,
                               double beta2, double eps, double weight_decay, bool decoupled,
                               bool maximize) {
  check_step(op, step);
  check_finite(op, "lr", lr);
  check_finite(op, "eps", eps);
  check_finite(op, "weight_decay", weight_decay);
  check_betas(op, beta1, beta2);
  kernels::AdamStep numbers{};
  numbers.lr = lr;
  numbers.step_size = lr / (1 - std::pow(beta1, double(step)));
  numbers.bias_correction2_sqrt = std::sqrt(1 - std::pow(beta2, double(step)));
  numbers.beta1 = beta1;
  numbers.beta2 = beta2;
  numbers.eps = eps;
  numbers.weight_decay = weight_decay;
  numbers.decoupled = decoupled;
  numbers.maximize = maximize;
  return numbers;
}

}  // namespace

void sgd_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
               const std::vector<Tensor>& momentum_buffers, double lr, double momentum,
               double dampening, double weight_decay, bool nesterov, bool maximize) {
  constexpr const char* op = "sgd_step_";
  check_finite(op, "lr", lr);
  check_finite(op, "momentum", momentum);
  check_finite(op, "dampening", dampening);
  check_finite(op, "weight_decay", weight_decay);
  run_steps<kernels::SgdStep>(op, params, grads,
                              {{"momentum_buffers", momentum != 0 ? &momentum_buffers : nullptr}},
                              [&](const Arrays& a) {
                                return kernels::SgdStep{.param = a.param,
                                                        .grad = a.grad,
                                                        .momentum_buffer = a.state[0],
                                                        .count = a.count,
                                                        .lr = lr,
                                                        .momentum = momentum,
                                                        .dampening = dampening,
                                                        .weight_decay = weight_decay,
                                                        .nesterov = nesterov,
                                                        .maximize = maximize};
                              });
}

void adam_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                const std::vector<Tensor>& exp_avgs, const std::vector<Tensor>& exp_avg_sqs,
                const std::vector<Tensor>& max_exp_avg_sqs, std::int64_t step, double lr,
                double beta1, double beta2, double eps, double weight_decay, bool amsgrad,
                bool decoupled, bool maximize) {
  constexpr const char* op = "adam_step_";
  adam_like(op, params, grads, exp_avgs, exp_avg_sqs,
            {"max_exp_avg_sqs", amsgrad ? &max_exp_avg_sqs : nullptr},
            adam_numbers(op, step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize));
}

void nadam_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                 const std::vector<Tensor>& exp_avgs, const std::vector<Tensor>& exp_avg_sqs,
                 std::int64_t step, double lr, double beta1, double beta2, double eps,
                 double weight_decay, double mu, double next_mu, double mu_product, bool decoupled,
                 bool maximize) {
  constexpr const char* op = "nadam_step_";
  kernels::AdamStep numbers =
      adam_numbers(op, step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize);
  for (const double value : {mu, next_mu, mu_product})
    GS_CHECK(value >= 0 && value < 1, "{}: mu, next_mu and mu_product must be in [0, 1), got {}",
             op, value);
  numbers.step_size = lr * next_mu / (1 - mu_product * next_mu);
  numbers.grad_step_size = lr * (1 - mu) / (1 - mu_product);
  adam_like(op, params, grads, exp_avgs, exp_avg_sqs, {"max_exp_avg_sqs", nullptr}, numbers);
}

void radam_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                 const std::vector<Tensor>& exp_avgs, const std::vector<Tensor>& exp_avg_sqs,
                 std::int64_t step, double lr, double beta1, double beta2, double eps,
                 double weight_decay, bool decoupled, bool maximize) {
  constexpr const char* op = "radam_step_";
  kernels::AdamStep numbers =
      adam_numbers(op, step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize);
  // The length of the second average, in the end and now: its variance is known above 5.
  const double power = std::pow(beta2, double(step)), most = 2 / (1 - beta2) - 1;
  const double length = most - 2 * double(step) * power / (1 - power);
  numbers.plain = !(length > 5);
  if (!numbers.plain)
    numbers.step_size *=
        numbers.bias_correction2_sqrt *
        std::sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length));
  numbers.bias_correction2_sqrt = 1;  // eps is added before the correction
  adam_like(op, params, grads, exp_avgs, exp_avg_sqs, {"max_exp_avg_sqs", nullptr}, numbers);
}

void rmsprop_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                   const std::vector<Tensor>& square_avgs, const std::vector<Tensor>& grad_avgs,
                   const std::vector<Tensor>& momentum_buffers, double lr, double alpha, double eps,
                   double weight_decay, double momentum, bool centered, bool maximize) {
  constexpr const char* op = "rmsprop_step_";
  check_finite(op, "lr", lr);
  check_finite(op, "alpha", alpha);
  check_finite(op, "eps", eps);
  check_finite(op, "weight_decay", weight_decay);
  check_finite(op, "momentum", momentum);
  run_steps<kernels::RmspropStep>(
      op, params, grads,
      {{"square_avgs", &square_avgs},
       {"grad_avgs", centered ? &grad_avgs : nullptr},
       {"momentum_buffers", momentum != 0 ? &momentum_buffers : nullptr}},
      [&](const Arrays& a) {
        return kernels::RmspropStep{.param = a.param,
                                    .grad = a.grad,
                                    .square_avg = a.state[0],
                                    .grad_avg = a.state[1],
                                    .momentum_buffer = a.state[2],
                                    .count = a.count,
                                    .lr = lr,
                                    .alpha = alpha,
                                    .eps = eps,
                                    .weight_decay = weight_decay,
                                    .momentum = momentum,
                                    .maximize = maximize};
      });
}

void adagrad_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                   const std::vector<Tensor>& state_sums, std::int64_t step, double lr,
                   double lr_decay, double weight_decay, double eps, bool maximize) {
  constexpr const char* op = "adagrad_step_";
  check_step(op, step);
  check_finite(op, "lr", lr);
  check_finite(op, "lr_decay", lr_decay);
  check_finite(op, "weight_decay", weight_decay);
  check_finite(op, "eps", eps);
  run_steps<kernels::AdagradStep>(
      op, params, grads, {{"state_sums", &state_sums}}, [&](const Arrays& a) {
        return kernels::AdagradStep{.param = a.param,
                                    .grad = a.grad,
                                    .state_sum = a.state[0],
                                    .count = a.count,
                                    .lr = lr / (1 + double(step - 1) * lr_decay),
                                    .eps = eps,
                                    .weight_decay = weight_decay,
                                    .maximize = maximize};
      });
}

void adamax_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                  const std::vector<Tensor>& exp_avgs, const std::vector<Tensor>& exp_infs,
                  std::int64_t step, double lr, double beta1, double beta2, double eps,
                  double weight_decay, bool maximize) {
  constexpr const char* op = "adamax_step_";
  check_step(op, step);
  check_finite(op, "lr", lr);
  check_finite(op, "eps", eps);
  check_finite(op, "weight_decay", weight_decay);
  check_betas(op, beta1, beta2);
  run_steps<kernels::AdamaxStep>(
      op, params, grads, {{"exp_avgs", &exp_avgs}, {"exp_infs", &exp_infs}}, [&](const Arrays& a) {
        return kernels::AdamaxStep{.param = a.param,
                                   .grad = a.grad,
                                   .exp_avg = a.state[0],
                                   .exp_inf = a.state[1],
                                   .count = a.count,
                                   .step_size = lr / (1 - std::pow(beta1, double(step))),
                                   .beta1 = beta1,
                                   .beta2 = beta2,
                                   .eps = eps,
                                   .weight_decay = weight_decay,
                                   .maximize = maximize};
      });
}

void adadelta_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                    const std::vector<Tensor>& square_avgs, const std::vector<Tensor>& acc_deltas,
                    double lr, double rho, double eps, double weight_decay, bool maximize) {
  constexpr const char* op = "adadelta_step_";
  check_finite(op, "lr", lr);
  check_finite(op, "rho", rho);
  check_finite(op, "eps", eps);
  check_finite(op, "weight_decay", weight_decay);
  run_steps<kernels::AdadeltaStep>(op, params, grads,
                                   {{"square_avgs", &square_avgs}, {"acc_deltas", &acc_deltas}},
                                   [&](const Arrays& a) {
                                     return kernels::AdadeltaStep{.param = a.param,
                                                                  .grad = a.grad,
                                                                  .square_avg = a.state[0],
                                                                  .acc_delta = a.state[1],
                                                                  .count = a.count,
                                                                  .lr = lr,
                                                                  .rho = rho,
                                                                  .eps = eps,
                                                                  .weight_decay = weight_decay,
                                                                  .maximize = maximize};
                                   });
}

void asgd_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                const std::vector<Tensor>& axs, double eta, double lambd, double mu,
                double weight_decay, bool maximize) {
  constexpr const char* op = "asgd_step_";
  check_finite(op, "eta", eta);
  check_finite(op, "lambd", lambd);
  check_finite(op, "mu", mu);
  check_finite(op, "weight_decay", weight_decay);
  run_steps<kernels::AsgdStep>(op, params, grads, {{"axs", &axs}}, [&](const Arrays& a) {
    return kernels::AsgdStep{.param = a.param,
                             .grad = a.grad,
                             .ax = a.state[0],
                             .count = a.count,
                             .eta = eta,
                             .lambd = lambd,
                             .mu = mu,
                             .weight_decay = weight_decay,
                             .maximize = maximize};
  });
}

void rprop_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                 const std::vector<Tensor>& prevs, const std::vector<Tensor>& step_sizes,
                 double eta_minus, double eta_plus, double smallest, double largest,
                 bool maximize) {
  constexpr const char* op = "rprop_step_";
  check_finite(op, "eta_minus", eta_minus);
  check_finite(op, "eta_plus", eta_plus);
  GS_CHECK(smallest >= 0 && smallest <= largest, "{}: the sizes must rise from 0, got {} and {}",
           op, smallest, largest);
  run_steps<kernels::RpropStep>(op, params, grads, {{"prevs", &prevs}, {"step_sizes", &step_sizes}},
                                [&](const Arrays& a) {
                                  return kernels::RpropStep{.param = a.param,
                                                            .grad = a.grad,
                                                            .prev = a.state[0],
                                                            .step_size = a.state[1],
                                                            .count = a.count,
                                                            .eta_minus = eta_minus,
                                                            .eta_plus = eta_plus,
                                                            .smallest = smallest,
                                                            .largest = largest,
                                                            .maximize = maximize};
                                });
}

void lion_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                const std::vector<Tensor>& exp_avgs, double lr, double beta1, double beta2,
                double weight_decay, bool maximize) {
  constexpr const char* op = "lion_step_";
  check_finite(op, "lr", lr);
  check_finite(op, "weight_decay", weight_decay);
  check_betas(op, beta1, beta2);
  run_steps<kernels::LionStep>(op, params, grads, {{"exp_avgs", &exp_avgs}}, [&](const Arrays& a) {
    return kernels::LionStep{.param = a.param,
                             .grad = a.grad,
                             .exp_avg = a.state[0],
                             .count = a.count,
                             .lr = lr,
                             .beta1 = beta1,
                             .beta2 = beta2,
                             .weight_decay = weight_decay,
                             .maximize = maximize};
  });
}

}  // namespace gradsmith::ops
