// Pooling over the last two dimensions. Max pooling picks elements by index, so its gradient
// scatters and the gradient of that gathers; average pooling is linear, with an adjoint.
#include "ops/dispatch_index.h"

namespace gradsmith::ops {

namespace {

using dispatch::Windows;
using kernels::PoolShape;

// [.., C, H, W] seen as planes; without a batch the rank is 3.
void check_planes(const char* op, const Tensor& x) {
  check_defined(op, "input", x);
  GS_CHECK(x.dim() == 4 || x.dim() == 3,
           "{}: argument 'input' must have shape (N, C, H, W) or (C, H, W), got {}", op, x.shape());
  check_float(op, "input", x);
}
std::int64_t plane_count(const Dims& shape) {
  std::int64_t n = 1;
  for (int d = 0; d + 2 < shape.size(); ++d) n *= shape[d];
  return n;
}
Dims with_size(const Dims& shape, std::int64_t h, std::int64_t w) {
  Dims out = shape;
  out[out.size() - 2] = h;
  out[out.size() - 1] = w;
  return out;
}

PoolShape pool_shape(const char* op, const Dims& x, const Dims& kernel_size, const Dims& stride,
                     const Dims& padding, const Dims& dilation, bool ceil_mode) {
  const Dims k = expand_pair(op, "kernel_size", kernel_size, 1);
  const Dims s = stride.empty() ? k : expand_pair(op, "stride", stride, 1);
  const Dims p = expand_pair(op, "padding", padding, 0);
  const Dims d = expand_pair(op, "dilation", dilation, 1);
  GS_CHECK(p[0] <= k[0] / 2 && p[1] <= k[1] / 2,
           "{}: padding {} must be at most half of kernel_size {}", op, padding, kernel_size);
  PoolShape shape{.planes = plane_count(x), .h = x[x.size() - 2], .w = x.back()};
  shape.kernel_h = k[0];
  shape.kernel_w = k[1];
  shape.stride_h = s[0];
  shape.stride_w = s[1];
  shape.pad_h = p[0];
  shape.pad_w = p[1];
  shape.dilation_h = d[0];
  shape.dilation_w = d[1];
  shape.out_h = kernels::pool_output_size(shape.h, k[0], s[0], p[0], d[0], ceil_mode);
  shape.out_w = kernels::pool_output_size(shape.w, k[1], s[1], p[1], d[1], ceil_mode);
  GS_CHECK(
      shape.out_h >= 1 && shape.out_w >= 1,
      "{}: a window of kernel_size {} and dilation {} is larger than the padded input of shape {}",
      op, kernel_size, dilation, x);
  GS_CHECK(kernels::pool_windows_meet(shape.h, shape.out_h, k[0], s[0], p[0], d[0]) &&
               kernels::pool_windows_meet(shape.w, shape.out_w, k[1], s[1], p[1], d[1]),
           "{}: with dilation {} a window lies wholly in the padding of the input of shape {}", op,
           dilation, x);
  return shape;
}

// ---- picking by index ----

// x's elements at `index` (positions inside each plane), and its adjoint.
Tensor pick(const Windows& windows, const Tensor& x, const Tensor& index);
Tensor unpick(const Windows& windows, const Tensor& g, const Tensor& index, const Dims& x_shape) {
  const Tensor dense = contiguous(g.detach());
  Tensor dx = empty(x_shape, g.dtype(), g.device());
  dispatch::pool_unpick(windows, dx, index, dense);
  if (!tracked(g)) return dx;
  return record("max_pool_backward", dx, {g}, [windows, index = save(index)](const Grads& u) {
    return grads(pick(windows, u[0], index.unpack(u)));
  });
}
Tensor record_pick(const char* op, const Windows& windows, const Tensor& y, const Tensor& x,
                   const Tensor& index) {
  if (!tracked(x)) return y;
  return record(op, y, {x}, [windows, index = save(index), from = x.shape()](const Grads& g) {
    return grads(unpick(windows, g[0], index.unpack(g), from));
  });
}
Tensor pick(const Windows& windows, const Tensor& x, const Tensor& index) {
  Tensor y = empty(index.shape(), x.dtype(), x.device());
  dispatch::pool_pick(windows, y, index, contiguous(x.detach()));
  return record_pick("max_pool_pick", windows, y, x, index);
}

// ---- averages ----

struct Average {
  Windows windows;
  bool count_include_pad = true;
  std::int64_t divisor = 0;
  const char* op = "avg_pool2d";
  const char* backward = "avg_pool2d_backward";
};
Tensor average(const Average& a, const Tensor& x);
Tensor average_backward(const Average& a, const Tensor& g, const Dims& x_shape) {
  const Tensor dense = contiguous(g.detach());
  Tensor dx = empty(x_shape, g.dtype(), g.device());
  dispatch::average_pool_backward(a.windows, dx, dense, a.count_include_pad, a.divisor);
  if (!tracked(g)) return dx;
  return record(a.backward, dx, {g}, [a](const Grads& u) { return grads(average(a, u[0])); });
}
Tensor average(const Average& a, const Tensor& x) {
  const Tensor dense = contiguous(x.detach());
  const PoolShape& shape = a.windows.shape;
  Tensor y = empty(with_size(x.shape(), shape.out_h, shape.out_w), x.dtype(), x.device());
  dispatch::average_pool(a.windows, y, dense, a.count_include_pad, a.divisor);
  if (!tracked(x)) return y;
  return record(a.op, y, {x}, [a, from = x.shape()](const Grads& g) {
    return grads(average_backward(a, g[0], from));
  });
}

// ---- adaptive ----

Dims adaptive_size(const char* op, const Tensor& x, const Dims& output_size) {
  check_planes(op, x);
  const Dims size = expand_pair(op, "output_size", output_size, 1);
  GS_CHECK(x.size(-2) > 0 && x.size(-1) > 0, "{}: the input of shape {} has no pixels", op,
           x.shape());
  return size;
}

Windows adaptive_windows(const Tensor& x, const Dims& size) {
  Windows windows{.shape = {.planes = plane_count(x.shape()), .h = x.size(-2), .w = x.size(-1)},
                  .adaptive = true};
  windows.shape.out_h = size[0];
  windows.shape.out_w = size[1];
  return windows;
}

std::tuple<Tensor, Tensor> max_with_indices(const char* op, const Windows& windows,
                                            const Tensor& x) {
  const Dims out = with_size(x.shape(), windows.shape.out_h, windows.shape.out_w);
  Tensor y = empty(out, x.dtype(), x.device()), index = empty(out, DType::i64, x.device());
  dispatch::max_pool(windows, y, index, contiguous(x.detach()));
  return {record_pick(op, windows, y, x, index), index};
}

}  // namespace

std::tuple<Tensor, Tensor> max_pool2d_with_indices(const Tensor& input, const Dims& kernel_size,
                                                   const Dims& stride, const Dims& padding,
                                                   const Dims& dilation, bool ceil_mode) {
  check_planes("max_pool2d", input);
  return max_with_indices(
      "max_pool2d",
      {pool_shape("max_pool2d", input.shape(), kernel_size, stride, padding, dilation, ceil_mode)},
      input);
}

Tensor max_pool2d(const Tensor& input, const Dims& kernel_size, const Dims& stride,
                  const Dims& padding, const Dims& dilation, bool ceil_mode) {
  if (tracked(input))  // the indices are what the gradient needs
    return std::get<0>(
        max_pool2d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode));
  check_planes("max_pool2d", input);
  const PoolShape shape =
      pool_shape("max_pool2d", input.shape(), kernel_size, stride, padding, dilation, ceil_mode);
  const Tensor dense = contiguous(input.detach());
  Tensor y =
      empty(with_size(input.shape(), shape.out_h, shape.out_w), input.dtype(), input.device());
  dispatch::max_pool({shape}, y, {}, dense);
  return y;
}

Tensor avg_pool2d(const Tensor& input, const Dims& kernel_size, const Dims& stride,
                  const Dims& padding, bool ceil_mode, bool count_include_pad,
                  const std::optional<std::int64_t>& divisor_override) {
  check_planes("avg_pool2d", input);
  GS_CHECK(divisor_override.value_or(1) > 0,
           "avg_pool2d: argument 'divisor_override' must be positive, got {}",
           divisor_override.value_or(1));
  const PoolShape shape =
      pool_shape("avg_pool2d", input.shape(), kernel_size, stride, padding, {1}, ceil_mode);
  return average({{shape}, count_include_pad, divisor_override.value_or(0)}, input);
}

Tensor adaptive_avg_pool2d(const Tensor& input, const Dims& output_size) {
  const Dims size = adaptive_size("adaptive_avg_pool2d", input, output_size);
  return average({.windows = adaptive_windows(input, size),
                  .op = "adaptive_avg_pool2d",
                  .backward = "adaptive_avg_pool2d_backward"},
                 input);
}

std::tuple<Tensor, Tensor> adaptive_max_pool2d_with_indices(const Tensor& input,
                                                            const Dims& output_size) {
  const Dims size = adaptive_size("adaptive_max_pool2d", input, output_size);
  return max_with_indices("adaptive_max_pool2d", adaptive_windows(input, size), input);
}

Tensor adaptive_max_pool2d(const Tensor& input, const Dims& output_size) {
  return std::get<0>(adaptive_max_pool2d_with_indices(input, output_size));
}

}  // namespace gradsmith::ops
