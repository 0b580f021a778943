// Optimizer steps and clipping: the CPU's drivers or CUDA's kernels.
#include "ops/dispatch_index.h"
#include "runtime/cuda_graph.h"

namespace gradsmith::ops::dispatch {

namespace {

template <class Item>
cuda::StepTensor step_tensor(Item item) {
  cuda::StepTensor tensor{{}, item.count};
  void** at = tensor.arrays;
  std::apply([&at](auto... p) { ((*at++ = const_cast<void*>(static_cast<const void*>(p))), ...); },
             kernels::arrays_of(item));
  return tensor;
}

struct Numbered {
  cuda::StepOp op;
  cuda::StepNumbers numbers;
};
Numbered numbers(const kernels::SgdStep& s) {
  return {cuda::StepOp::sgd,
          {.lr = s.lr,
           .weight_decay = s.weight_decay,
           .momentum = s.momentum,
           .dampening = s.dampening,
           .nesterov = s.nesterov,
           .maximize = s.maximize,
           .first_step = s.first_step}};
}
Numbered numbers(const kernels::AdamStep& s) {
  return {cuda::StepOp::adam,
          {.lr = s.lr,
           .step_size = s.step_size,
           .bias_correction2_sqrt = s.bias_correction2_sqrt,
           .beta1 = s.beta1,
           .beta2 = s.beta2,
           .eps = s.eps,
           .weight_decay = s.weight_decay,
           .grad_step_size = s.grad_step_size,
           .maximize = s.maximize,
           .decoupled = s.decoupled,
           .plain = s.plain}};
}
Numbered numbers(const kernels::RmspropStep& s) {
  return {cuda::StepOp::rmsprop,
          {.lr = s.lr,
           .beta2 = s.alpha,
           .eps = s.eps,
           .weight_decay = s.weight_decay,
           .momentum = s.momentum,
           .maximize = s.maximize}};
}
Numbered numbers(const kernels::AdagradStep& s) {
  return {cuda::StepOp::adagrad,
          {.lr = s.lr, .eps = s.eps, .weight_decay = s.weight_decay, .maximize = s.maximize}};
}
Numbered numbers(const kernels::AdamaxStep& s) {
  return {cuda::StepOp::adamax,
          {.step_size = s.step_size,
           .beta1 = s.beta1,
           .beta2 = s.beta2,
           .eps = s.eps,
           .weight_decay = s.weight_decay,
           .maximize = s.maximize}};
}
Numbered numbers(const kernels::AdadeltaStep& s) {
  return {cuda::StepOp::adadelta,
          {.lr = s.lr,
           .beta2 = s.rho,
           .eps = s.eps,
           .weight_decay = s.weight_decay,
           .maximize = s.maximize}};
}
Numbered numbers(const kernels::AsgdStep& s) {
  return {cuda::StepOp::asgd,
          {.lr = s.eta,
           .weight_decay = s.weight_decay,
           .mu = s.mu,
           .lambd = s.lambd,
           .maximize = s.maximize}};
}
Numbered numbers(const kernels::RpropStep& s) {
  return {cuda::StepOp::rprop,
          {.low = s.smallest,
           .high = s.largest,
           .eta_minus = s.eta_minus,
           .eta_plus = s.eta_plus,
           .maximize = s.maximize}};
}
Numbered numbers(const kernels::LionStep& s) {
  return {cuda::StepOp::lion,
          {.lr = s.lr,
           .beta1 = s.beta1,
           .beta2 = s.beta2,
           .weight_decay = s.weight_decay,
           .maximize = s.maximize}};
}

template <class Item>
std::vector<cuda::StepTensor> step_tensors(const std::vector<Item>& items) {
  std::vector<cuda::StepTensor> tensors;
  for (const Item& item : items) tensors.push_back(step_tensor(item));
  return tensors;
}

void run_steps(Device device, DType dtype, const Numbered& n,
               const std::vector<cuda::StepTensor>& tensors,
               const cuda::StepNumbers* later = nullptr) {
  cuda::optimizer_step(
      device.index, {n.op, dtype, tensors.data(), std::int64_t(tensors.size()), n.numbers, later});
}

}  // namespace

template <class Step>
void optimizer_step(Device device, DType dtype, const std::vector<Step>& steps) {
  if (steps.empty()) return;
  if (device.type == DeviceType::cpu)
    return kernels::optimizer_step(dtype, steps.data(), std::int64_t(steps.size()));
  const Numbered n = numbers(steps[0]);
  if (cuda::Graph* const graph = cuda::Graph::refreshing()) {
    graph->next_numbers(n.numbers);
    return;
  }
  cuda::Graph* const graph = cuda::Graph::recording();
  run_steps(device, dtype, n, step_tensors(steps),
            graph ? graph->next_numbers(n.numbers) : nullptr);
}
#define GS_DEFINE(Step) \
  template void optimizer_step(Device, DType, const std::vector<kernels::Step>&);
GS_OPTIMIZER_STEPS(GS_DEFINE)
#undef GS_DEFINE

void clamp_arrays(Device device, DType dtype, const std::vector<kernels::FlatArray>& arrays,
                  double low, double high) {
  if (device.type == DeviceType::cpu)
    return kernels::clamp_arrays(dtype, arrays.data(), std::int64_t(arrays.size()), low, high);
  run_steps(device, dtype, {cuda::StepOp::clamp, {.low = low, .high = high}}, step_tensors(arrays));
}

Tensor clip_norm(Device device, const std::vector<kernels::FlatArray> (&arrays)[2], double power,
                 double max_norm) {
  const DType dtypes[2] = {DType::f32, DType::f64};
  std::int64_t pieces = 0;
  for (const auto& group : arrays)
    for (const kernels::FlatArray& a : group)
      pieces += (a.count + cuda::kNormPiece - 1) / cuda::kNormPiece;
  const Tensor partials = empty({pieces}, DType::f64, device);
  const Tensor result = empty({2}, DType::f64, device);
  double* at = partials.data_as<double>();
  for (int i = 0; i < 2; ++i) {
    const auto tensors = step_tensors(arrays[i]);
    cuda::norm_partials(device.index,
                        {dtypes[i], tensors.data(), std::int64_t(tensors.size()), power, at});
    for (const kernels::FlatArray& a : arrays[i])
      at += (a.count + cuda::kNormPiece - 1) / cuda::kNormPiece;
  }
  cuda::norm_finish(device.index, {partials.data_as<double>(), pieces, power, max_norm,
                                   result.data_as<double>()});
  for (int i = 0; i < 2; ++i)
    run_steps(device, dtypes[i], {cuda::StepOp::scale, {.factor = result.data_as<double>() + 1}},
              step_tensors(arrays[i]));
  return clone(select(result, 0, 0));
}

}  // namespace gradsmith::ops::dispatch
