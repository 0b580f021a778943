// Optimizer steps and gradient clipping over lists of tensors, in one parallel region each.
#include <cmath>

#include "ops/dispatch_index.h"

namespace gradsmith::ops {

namespace {

// Dense memory for something a step writes: the tensor's own, or a copy that finish() puts back.
// Used while nothing is recorded.
class Written {
 public:
  Written(const char* op, const Tensor& x) : target_(x) {
    check_float(op, "params", x);
    GS_CHECK(!x.impl()->storage->read_only, "{}: the memory of a tensor is read-only", op);
    dense_ = contiguous(x);
  }
  void* data() const { return dense_.data(); }
  void finish() const {
    if (dense_.data() != target_.data()) {
      copy_(target_, dense_);
    } else {
      target_.bump_version();
    }
  }

 private:
  Tensor target_, dense_;
};

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

}  // namespace

void sgd_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
               const std::vector<Tensor>& momentum_buffers, double lr, double momentum,
               double dampening, double weight_decay, bool nesterov, bool maximize) {
  constexpr const char* op = "sgd_step_";
  check_finite(op, "lr", lr);
  check_finite(op, "momentum", momentum);
  check_finite(op, "dampening", dampening);
  check_finite(op, "weight_decay", weight_decay);
  check_count(op, "grads", grads.size(), params.size());
  if (momentum != 0) check_count(op, "momentum_buffers", momentum_buffers.size(), params.size());
  NoGradGuard guard;
  Batch<kernels::SgdStep> batch(op, params.size());
  for (std::size_t i = 0; i < params.size(); ++i) {
    check_defined(op, "params", params[i]);
    check_alike(op, "grads", grads[i], params[i]);
    if (momentum != 0) check_alike(op, "momentum_buffers", momentum_buffers[i], params[i]);
    batch.add(params[i],
              {.param = batch.write(params[i]),
               .grad = batch.read(grads[i]),
               .momentum_buffer = momentum != 0 ? batch.write(momentum_buffers[i]) : nullptr,
               .count = params[i].numel(),
               .lr = lr,
               .momentum = momentum,
               .dampening = dampening,
               .weight_decay = weight_decay,
               .nesterov = nesterov,
               .maximize = maximize});
  }
  batch.run();
}

void adam_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                const std::vector<Tensor>& exp_avgs, const std::vector<Tensor>& exp_avg_sqs,
                const std::vector<Tensor>& max_exp_avg_sqs, std::int64_t step, double lr,
                double beta1, double beta2, double eps, double weight_decay, bool amsgrad,
                bool decoupled, bool maximize) {
  constexpr const char* op = "adam_step_";
  GS_CHECK(step >= 1, "{}: argument 'step' must be at least 1, got {}", op, step);
  check_finite(op, "lr", lr);
  check_finite(op, "eps", eps);
  check_finite(op, "weight_decay", weight_decay);
  GS_CHECK(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1,
           "{}: betas must be in [0, 1), got {} and {}", op, beta1, beta2);
  check_count(op, "grads", grads.size(), params.size());
  check_count(op, "exp_avgs", exp_avgs.size(), params.size());
  check_count(op, "exp_avg_sqs", exp_avg_sqs.size(), params.size());
  if (amsgrad) check_count(op, "max_exp_avg_sqs", max_exp_avg_sqs.size(), params.size());
  NoGradGuard guard;
  const double step_size = lr / (1 - std::pow(beta1, double(step)));
  const double correction = std::sqrt(1 - std::pow(beta2, double(step)));
  Batch<kernels::AdamStep> batch(op, params.size());
  for (std::size_t i = 0; i < params.size(); ++i) {
    check_defined(op, "params", params[i]);
    check_alike(op, "grads", grads[i], params[i]);
    check_alike(op, "exp_avgs", exp_avgs[i], params[i]);
    check_alike(op, "exp_avg_sqs", exp_avg_sqs[i], params[i]);
    if (amsgrad) check_alike(op, "max_exp_avg_sqs", max_exp_avg_sqs[i], params[i]);
    batch.add(params[i], {.param = batch.write(params[i]),
                          .grad = batch.read(grads[i]),
                          .exp_avg = batch.write(exp_avgs[i]),
                          .exp_avg_sq = batch.write(exp_avg_sqs[i]),
                          .max_exp_avg_sq = amsgrad ? batch.write(max_exp_avg_sqs[i]) : nullptr,
                          .count = params[i].numel(),
                          .lr = lr,
                          .step_size = step_size,
                          .bias_correction2_sqrt = correction,
                          .beta1 = beta1,
                          .beta2 = beta2,
                          .eps = eps,
                          .weight_decay = weight_decay,
                          .decoupled = decoupled,
                          .maximize = maximize});
  }
  batch.run();
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
  check_count(op, "grads", grads.size(), params.size());
  check_count(op, "square_avgs", square_avgs.size(), params.size());
  if (centered) check_count(op, "grad_avgs", grad_avgs.size(), params.size());
  if (momentum != 0) check_count(op, "momentum_buffers", momentum_buffers.size(), params.size());
  NoGradGuard guard;
  Batch<kernels::RmspropStep> batch(op, params.size());
  for (std::size_t i = 0; i < params.size(); ++i) {
    check_defined(op, "params", params[i]);
    check_alike(op, "grads", grads[i], params[i]);
    check_alike(op, "square_avgs", square_avgs[i], params[i]);
    if (centered) check_alike(op, "grad_avgs", grad_avgs[i], params[i]);
    if (momentum != 0) check_alike(op, "momentum_buffers", momentum_buffers[i], params[i]);
    batch.add(params[i],
              {.param = batch.write(params[i]),
               .grad = batch.read(grads[i]),
               .square_avg = batch.write(square_avgs[i]),
               .grad_avg = centered ? batch.write(grad_avgs[i]) : nullptr,
               .momentum_buffer = momentum != 0 ? batch.write(momentum_buffers[i]) : nullptr,
               .count = params[i].numel(),
               .lr = lr,
               .alpha = alpha,
               .eps = eps,
               .weight_decay = weight_decay,
               .momentum = momentum,
               .maximize = maximize});
  }
  batch.run();
}

void adagrad_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                   const std::vector<Tensor>& state_sums, std::int64_t step, double lr,
                   double lr_decay, double weight_decay, double eps, bool maximize) {
  constexpr const char* op = "adagrad_step_";
  GS_CHECK(step >= 1, "{}: argument 'step' must be at least 1, got {}", op, step);
  check_finite(op, "lr", lr);
  check_finite(op, "lr_decay", lr_decay);
  check_finite(op, "weight_decay", weight_decay);
  check_finite(op, "eps", eps);
  check_count(op, "grads", grads.size(), params.size());
  check_count(op, "state_sums", state_sums.size(), params.size());
  NoGradGuard guard;
  Batch<kernels::AdagradStep> batch(op, params.size());
  for (std::size_t i = 0; i < params.size(); ++i) {
    check_defined(op, "params", params[i]);
    check_alike(op, "grads", grads[i], params[i]);
    check_alike(op, "state_sums", state_sums[i], params[i]);
    batch.add(params[i], {.param = batch.write(params[i]),
                          .grad = batch.read(grads[i]),
                          .state_sum = batch.write(state_sums[i]),
                          .count = params[i].numel(),
                          .lr = lr / (1 + double(step - 1) * lr_decay),
                          .eps = eps,
                          .weight_decay = weight_decay,
                          .maximize = maximize});
  }
  batch.run();
}

// ---- clipping ----

namespace {

struct Arrays {
  std::vector<Written> written;
  std::vector<kernels::FlatArray> flat;
};
// Of one dtype.
Arrays arrays_of(const char* op, const std::vector<Tensor>& tensors, DType dtype) {
  Arrays a;
  for (const Tensor& t : tensors) {
    check_defined(op, "grads", t);
    check_float(op, "grads", t);
    if (t.dtype() == dtype) a.flat.push_back({a.written.emplace_back(op, t).data(), t.numel()});
  }
  return a;
}

}  // namespace

namespace {

// Where they all are.
Device device_of(const char* op, const std::vector<Tensor>& grads) {
  for (const Tensor& g : grads) {
    check_defined(op, "grads", g);
    check_same_device(op, grads[0], g);
  }
  return grads.empty() ? Device{} : grads[0].device();
}

// The norm stays on the device, and so does the decision whether to scale.
Tensor clip_on_device(const char* op, Device device, const std::vector<Tensor>& grads,
                      double max_norm, double norm_type) {
  const Arrays f32 = arrays_of(op, grads, DType::f32), f64 = arrays_of(op, grads, DType::f64);
  const Tensor total = dispatch::clip_norm(device, {f32.flat, f64.flat}, norm_type, max_norm);
  for (const Arrays* a : {&f32, &f64})
    for (const Written& w : a->written) w.finish();
  return f64.flat.empty() ? to_dtype(total, DType::f32) : total;
}

}  // namespace

Tensor clip_grad_norm_(const std::vector<Tensor>& grads, double max_norm, double norm_type) {
  constexpr const char* op = "clip_grad_norm_";
  GS_CHECK(max_norm >= 0, "{}: argument 'max_norm' must not be negative, got {}", op, max_norm);
  GS_CHECK(norm_type > 0, "{}: argument 'norm_type' must be positive, got {}", op, norm_type);
  NoGradGuard guard;
  const Device device = device_of(op, grads);
  if (device.type != DeviceType::cpu) return clip_on_device(op, device, grads, max_norm, norm_type);
  double total = 0;
  DType widest = DType::f32;
  std::vector<Arrays> groups;
  for (const DType dtype : {DType::f32, DType::f64}) {
    Arrays& a = groups.emplace_back(arrays_of(op, grads, dtype));
    const auto count = std::int64_t(a.flat.size());
    if (count == 0) continue;
    widest = dtype;
    if (std::isinf(norm_type)) {
      const double top = kernels::global_max_abs(dtype, a.flat.data(), count);
      total = std::isnan(top) || top > total ? top : total;
    } else if (norm_type == 2) {
      total = std::hypot(total, kernels::global_norm(dtype, a.flat.data(), count));
    }
  }
  if (!std::isinf(norm_type) && norm_type != 2) {
    double sum_of_powers = 0;
    for (const Tensor& g : grads)
      sum_of_powers +=
          std::pow(*to_dtype(norm(g.detach(), norm_type), DType::f64).data_as<double>(), norm_type);
    total = std::pow(sum_of_powers, 1 / norm_type);
  }
  const double factor = max_norm / (total + 1e-6);
  if (!(factor >= 1)) {  // also scales by NaN, as PyTorch does
    for (int i = 0; i < 2; ++i) {
      Arrays& a = groups[std::size_t(i)];
      kernels::scale_arrays(i == 0 ? DType::f32 : DType::f64, a.flat.data(),
                            std::int64_t(a.flat.size()), factor);
      for (const Written& w : a.written) w.finish();
    }
  }
  return full({}, total, widest);
}

void clip_grad_value_(const std::vector<Tensor>& grads, double clip_value) {
  constexpr const char* op = "clip_grad_value_";
  GS_CHECK(clip_value >= 0, "{}: argument 'clip_value' must not be negative, got {}", op,
           clip_value);
  NoGradGuard guard;
  const Device device = device_of(op, grads);
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Arrays a = arrays_of(op, grads, dtype);
    dispatch::clamp_arrays(device, dtype, a.flat, -clip_value, clip_value);
    for (const Written& w : a.written) w.finish();
  }
}

}  // namespace gradsmith::ops
