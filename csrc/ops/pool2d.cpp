// Pooling over the last two dimensions. Max pooling picks elements by index, so its gradient
// scatters and the gradient of that gathers; average pooling is linear, with an adjoint.
#include "kernels/pool/pool.h"

#include "ops/common.h"

namespace gradsmith::ops {

namespace {

using kernels::PoolShape;

// [.., C, H, W] seen as planes; without a batch the rank is 3.
void check_planes(const char* op, const Tensor& x) {
  check_defined(op, "input", x);
  GS_CHECK(x.dim() == 4 || x.dim() == 3,
           "{}: argument 'input' must have shape (N, C, H, W) or (C, H, W), got {}", op, x.shape());
  check_float(op, "input", x);
  check_cpu(op, x);
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
Tensor pick(const Tensor& x, const Tensor& index);
Tensor unpick(const Tensor& g, const Tensor& index, const Dims& x_shape) {
  const Tensor dense = contiguous(g.detach());
  Tensor dx = empty(x_shape, g.dtype());
  const std::int64_t planes = plane_count(x_shape);
  const std::int64_t in = x_shape[x_shape.size() - 2] * x_shape.back();
  kernels::max_pool2d_backward(g.dtype(), {planes, in, g.size(-2) * g.size(-1), dx.data(),
                                           index.data_as<std::int64_t>(), dense.data()});
  if (!tracked(g)) return dx;
  return record("max_pool_backward", dx, {g}, [index = save(index)](const Grads& u) {
    return grads(pick(u[0], index.unpack(u)));
  });
}
Tensor pick(const Tensor& x, const Tensor& index) {
  const Tensor dense = contiguous(x.detach());
  Tensor y = empty(index.shape(), x.dtype());
  kernels::max_pool2d_gather(
      x.dtype(), {plane_count(x.shape()), x.size(-2) * x.size(-1), index.size(-2) * index.size(-1),
                  y.data(), index.data_as<std::int64_t>(), dense.data()});
  if (!tracked(x)) return y;
  return record("max_pool_pick", y, {x}, [index = save(index), from = x.shape()](const Grads& g) {
    return grads(unpick(g[0], index.unpack(g), from));
  });
}

Tensor record_pick(const char* op, const Tensor& y, const Tensor& x, const Tensor& index) {
  if (!tracked(x)) return y;
  return record(op, y, {x}, [index = save(index), from = x.shape()](const Grads& g) {
    return grads(unpick(g[0], index.unpack(g), from));
  });
}

// ---- averages ----

struct Average {
  PoolShape shape;
  bool count_include_pad;
  std::int64_t divisor;
};
Tensor average(const Average& a, const Tensor& x);
Tensor average_backward(const Average& a, const Tensor& g, const Dims& x_shape) {
  const Tensor dense = contiguous(g.detach());
  Tensor dx = empty(x_shape, g.dtype());
  kernels::avg_pool2d_backward(g.dtype(),
                               {a.shape, dx.data(), dense.data(), a.count_include_pad, a.divisor});
  if (!tracked(g)) return dx;
  return record("avg_pool2d_backward", dx, {g},
                [a](const Grads& u) { return grads(average(a, u[0])); });
}
Tensor average(const Average& a, const Tensor& x) {
  const Tensor dense = contiguous(x.detach());
  Tensor y = empty(with_size(x.shape(), a.shape.out_h, a.shape.out_w), x.dtype());
  kernels::avg_pool2d(x.dtype(), {a.shape, y.data(), dense.data(), a.count_include_pad, a.divisor});
  if (!tracked(x)) return y;
  return record("avg_pool2d", y, {x}, [a, from = x.shape()](const Grads& g) {
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

Tensor adaptive_average(const Tensor& x, std::int64_t out_h, std::int64_t out_w);
Tensor adaptive_average_backward(const Tensor& g, const Dims& x_shape) {
  const Tensor dense = contiguous(g.detach());
  Tensor dx = empty(x_shape, g.dtype());
  const std::int64_t h = x_shape[x_shape.size() - 2], w = x_shape.back();
  kernels::adaptive_avg_pool2d_backward(
      g.dtype(), {plane_count(x_shape), h, w, g.size(-2), g.size(-1), dx.data(), dense.data()});
  if (!tracked(g)) return dx;
  return record("adaptive_avg_pool2d_backward", dx, {g},
                [h = g.size(-2), w = g.size(-1)](const Grads& u) {
                  return grads(adaptive_average(u[0], h, w));
                });
}
Tensor adaptive_average(const Tensor& x, std::int64_t out_h, std::int64_t out_w) {
  const Tensor dense = contiguous(x.detach());
  Tensor y = empty(with_size(x.shape(), out_h, out_w), x.dtype());
  kernels::adaptive_avg_pool2d(x.dtype(), {plane_count(x.shape()), x.size(-2), x.size(-1), out_h,
                                           out_w, y.data(), nullptr, dense.data()});
  if (!tracked(x)) return y;
  return record("adaptive_avg_pool2d", y, {x}, [from = x.shape()](const Grads& g) {
    return grads(adaptive_average_backward(g[0], from));
  });
}

}  // namespace

std::tuple<Tensor, Tensor> max_pool2d_with_indices(const Tensor& input, const Dims& kernel_size,
                                                   const Dims& stride, const Dims& padding,
                                                   const Dims& dilation, bool ceil_mode) {
  check_planes("max_pool2d", input);
  const PoolShape shape =
      pool_shape("max_pool2d", input.shape(), kernel_size, stride, padding, dilation, ceil_mode);
  const Tensor dense = contiguous(input.detach());
  const Dims out = with_size(input.shape(), shape.out_h, shape.out_w);
  Tensor y = empty(out, input.dtype()), index = empty(out, DType::i64);
  kernels::max_pool2d(input.dtype(),
                      {shape, y.data(), index.data_as<std::int64_t>(), dense.data()});
  return {record_pick("max_pool2d", y, input, index), index};
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
  Tensor y = empty(with_size(input.shape(), shape.out_h, shape.out_w), input.dtype());
  kernels::max_pool2d(input.dtype(), {shape, y.data(), nullptr, dense.data()});
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
  return average({shape, count_include_pad, divisor_override.value_or(0)}, input);
}

Tensor adaptive_avg_pool2d(const Tensor& input, const Dims& output_size) {
  const Dims size = adaptive_size("adaptive_avg_pool2d", input, output_size);
  return adaptive_average(input, size[0], size[1]);
}

std::tuple<Tensor, Tensor> adaptive_max_pool2d_with_indices(const Tensor& input,
                                                            const Dims& output_size) {
  const Dims size = adaptive_size("adaptive_max_pool2d", input, output_size);
  const Tensor dense = contiguous(input.detach());
  const Dims out = with_size(input.shape(), size[0], size[1]);
  Tensor y = empty(out, input.dtype()), index = empty(out, DType::i64);
  kernels::adaptive_max_pool2d(
      input.dtype(), {plane_count(out), input.size(-2), input.size(-1), size[0], size[1], y.data(),
                      index.data_as<std::int64_t>(), dense.data()});
  return {record_pick("adaptive_max_pool2d", y, input, index), index};
}

Tensor adaptive_max_pool2d(const Tensor& input, const Dims& output_size) {
  return std::get<0>(adaptive_max_pool2d_with_indices(input, output_size));
}

}  // namespace gradsmith::ops
