// Gradient clipping over lists of tensors.
#include <cmath>

#include "ops/written.h"

namespace gradsmith::ops {

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
