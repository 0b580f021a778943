// 2-D convolution and its two adjoints. The three are closed under differentiation: each one is
// linear in both of its arguments, and the gradient of one is made of the other two.
//
//   conv2d(x, w) = y        input_grad(w, y) = x        weight_grad(x, y) = w
#include "kernels/conv/conv.h"

#include <algorithm>

#include "ops/activation.h"
#include "ops/dispatch_index.h"

namespace gradsmith::ops {

namespace {

using kernels::ConvShape;

struct ConvArgs {
  const char* op;
  Dims stride, padding, dilation;  // padding: top, bottom, left, right
  std::int64_t groups;
};

Dims expand_padding(const char* op, const Dims& given) {
  if (given.size() != 4) {
    const Dims p = expand_pair(op, "padding", given, 0);
    return {p[0], p[0], p[1], p[1]};
  }
  check_window(op, "padding", given, 0);
  return given;
}

ConvArgs make_args(const char* op, const Dims& stride, const Dims& padding, const Dims& dilation,
                   std::int64_t groups) {
  GS_CHECK(groups >= 1, "{}: argument 'groups' must be at least 1, got {}", op, groups);
  return {op, expand_pair(op, "stride", stride, 1), expand_padding(op, padding),
          expand_pair(op, "dilation", dilation, 1), groups};
}

// Checks that images of shape x and weights of shape w fit together.
ConvShape conv_shape(const ConvArgs& a, const Dims& x, const Dims& w) {
  GS_CHECK(w[2] >= 1 && w[3] >= 1, "{}: the kernel must be at least 1 x 1, weight has shape {}",
           a.op, w);
  GS_CHECK(x[1] % a.groups == 0 && w[0] % a.groups == 0,
           "{}: groups={} must divide the {} input and {} output channels", a.op, a.groups, x[1],
           w[0]);
  GS_CHECK(x[1] / a.groups == w[1],
           "{}: weight of shape {} takes {} input channels a group, the input of shape {} has {} "
           "with groups={}",
           a.op, w, w[1], x, x[1] / a.groups, a.groups);
  ConvShape s{.n = x[0], .c = x[1], .h = x[2], .w = x[3], .o = w[0], .kh = w[2], .kw = w[3]};
  s.stride_h = a.stride[0];
  s.stride_w = a.stride[1];
  s.pad_h = a.padding[0];
  s.pad_h_end = a.padding[1];
  s.pad_w = a.padding[2];
  s.pad_w_end = a.padding[3];
  s.dilation_h = a.dilation[0];
  s.dilation_w = a.dilation[1];
  s.groups = a.groups;
  const std::int64_t span_h = s.dilation_h * (s.kh - 1) + 1, span_w = s.dilation_w * (s.kw - 1) + 1;
  GS_CHECK(s.h + s.pad_h + s.pad_h_end >= span_h && s.w + s.pad_w + s.pad_w_end >= span_w,
           "{}: a kernel that spans {} x {} is larger than the padded input of {} x {}", a.op,
           span_h, span_w, s.h + s.pad_h + s.pad_h_end, s.w + s.pad_w + s.pad_w_end);
  return s;
}

const Activated& kNoActivation = find_activation("conv2d", "none");

Tensor input_grad(const ConvArgs& a, const Tensor& weight, const Tensor& dy, const Dims& x_shape);
Tensor weight_grad(const ConvArgs& a, const Tensor& x, const Tensor& dy, const Dims& w_shape);

// Bias gradient: over images and pixels.
Tensor channel_sum(const Tensor& g) { return sum(g, Dims{0, 2, 3}); }

// Without a tape every activation is fused; on it those whose slope the result tells. On CUDA none.
bool fuses(const Activated& act, bool taped, const Tensor& x) {
  return act.none() || (on_cpu(x) && (!taped || act.from_output));
}

Tensor forward(const ConvArgs& a, const Tensor& x, const Tensor& w, const Tensor& bias,
               const Activated& act) {
  const bool taped = tracked(x, w, bias);
  if (!fuses(act, taped, x)) return apply_activation(act, forward(a, x, w, bias, kNoActivation));
  const ConvShape s = conv_shape(a, x.shape(), w.shape());
  const Tensor images = contiguous(x.detach()), weights = contiguous(w.detach());
  const Tensor constant = bias.defined() ? contiguous(bias.detach()) : Tensor();
  Tensor y = empty({s.n, s.o, s.out_h(), s.out_w()}, x.dtype(), x.device());
  kernels::ConvEpilogue epilogue{.activation = act.kernel};
  if (bias.defined()) epilogue.bias = constant.data();
  KeptScope scope = keep_packed(w);
  dispatch::conv_forward(s, y, images, weights, epilogue);
  if (!taped) return y;
  return record("conv2d", y, {x, w, bias},
                [a, &act, x = save(x), w = save(w), y = save_output(y)](const Grads& g) {
                  const Tensor &v = x.unpack(g), &k = w.unpack(g);
                  const Tensor dy = act.none() ? g[0] : through_activation(act, g[0], y.unpack(g));
                  return grads(g.needs(0) ? input_grad(a, k, dy, v.shape()) : Tensor(),
                               g.needs(1) ? weight_grad(a, v, dy, k.shape()) : Tensor(),
                               g.needs(2) ? channel_sum(dy) : Tensor());
                });
}

Tensor input_grad(const ConvArgs& a, const Tensor& weight, const Tensor& dy, const Dims& x_shape) {
  const ConvShape s = conv_shape(a, x_shape, weight.shape());
  const Tensor weights = contiguous(weight.detach()), gradient = contiguous(dy.detach());
  Tensor dx = empty(x_shape, dy.dtype(), dy.device());
  dispatch::conv_input_grad(s, dx, gradient, weights, {});
  if (!tracked(weight, dy)) return dx;
  return record("conv2d_input_grad", dx, {weight, dy},
                [a, weight = save(weight), dy = save(dy)](const Grads& g) {
                  const Tensor &k = weight.unpack(g), &v = dy.unpack(g);
                  return grads(
                      g.needs(0) ? weight_grad(a, g[0], v, k.shape()) : Tensor(),
                      g.needs(1) ? forward(a, g[0], k, Tensor(), kNoActivation) : Tensor());
                });
}

Tensor weight_grad(const ConvArgs& a, const Tensor& x, const Tensor& dy, const Dims& w_shape) {
  const ConvShape s = conv_shape(a, x.shape(), w_shape);
  const Tensor images = contiguous(x.detach()), gradient = contiguous(dy.detach());
  Tensor dw = empty(w_shape, x.dtype(), x.device());
  dispatch::conv_weight_grad(s, dw, gradient, images);
  if (!tracked(x, dy)) return dw;
  return record("conv2d_weight_grad", dw, {x, dy}, [a, x = save(x), dy = save(dy)](const Grads& g) {
    const Tensor &v = x.unpack(g), &u = dy.unpack(g);
    return grads(g.needs(0) ? input_grad(a, g[0], u, v.shape()) : Tensor(),
                 g.needs(1) ? forward(a, v, g[0], Tensor(), kNoActivation) : Tensor());
  });
}

// input_grad with a bias, which is added while the sums are in registers.
Tensor transposed(const ConvArgs& a, const Tensor& x, const Tensor& w, const Tensor& bias,
                  const Dims& y_shape) {
  const ConvShape s = conv_shape(a, y_shape, w.shape());
  const Tensor images = contiguous(x.detach()), weights = contiguous(w.detach());
  const Tensor constant = bias.defined() ? contiguous(bias.detach()) : Tensor();
  Tensor y = empty(y_shape, x.dtype(), x.device());
  kernels::ConvEpilogue epilogue;
  if (bias.defined()) epilogue.bias = constant.data();
  KeptScope scope = keep_packed(w);
  dispatch::conv_input_grad(s, y, images, weights, epilogue);
  if (!tracked(x, w, bias)) return y;
  return record("conv_transpose2d", y, {x, w, bias}, [a, x = save(x), w = save(w)](const Grads& g) {
    const Tensor &v = x.unpack(g), &k = w.unpack(g);
    return grads(g.needs(0) ? forward(a, g[0], k, Tensor(), kNoActivation) : Tensor(),
                 g.needs(1) ? weight_grad(a, g[0], v, k.shape()) : Tensor(),
                 g.needs(2) ? channel_sum(g[0]) : Tensor());
  });
}

void check_conv(const char* op, const Tensor& input, const Tensor& weight, int rank) {
  check_defined(op, "input", input);
  check_rank(op, "weight", weight, rank);
  GS_CHECK(input.dim() == rank || input.dim() == rank - 1,
           "{}: argument 'input' must have rank {} or, without a batch, {}; got shape {}", op, rank,
           rank - 1, input.shape());
  check_same_dtype(op, "input", input, "weight", weight);
  check_float(op, "input", input);
}

}  // namespace

Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias, const Dims& stride,
              const Dims& padding, const Dims& dilation, std::int64_t groups,
              const std::string& activation) {
  check_conv("conv2d", input, weight, 4);
  check_vector("conv2d", "bias", bias, weight.size(0), input);
  const ConvArgs a = make_args("conv2d", stride, padding, dilation, groups);
  const Activated& act = find_activation("conv2d", activation);
  if (input.dim() == 3) {
    return squeeze(forward(a, unsqueeze(input, 0), weight, bias, act), Dims{0});
  }
  return forward(a, input, weight, bias, act);
}

// One row of pixels.
Tensor conv1d(const Tensor& input, const Tensor& weight, const Tensor& bias, const Dims& stride,
              const Dims& padding, const Dims& dilation, std::int64_t groups) {
  check_conv("conv1d", input, weight, 3);
  check_vector("conv1d", "bias", bias, weight.size(0), input);
  GS_CHECK(
      stride.size() == 1 && dilation.size() == 1 && (padding.size() == 1 || padding.size() == 2),
      "conv1d: stride, padding and dilation must be ints, got {}, {} and {}", stride, padding,
      dilation);
  const std::int64_t left = padding[0], right = padding.back();
  const ConvArgs a =
      make_args("conv1d", {1, stride[0]}, {0, 0, left, right}, {1, dilation[0]}, groups);
  const Tensor x = input.dim() == 2 ? unsqueeze(input, 0) : input;
  const Tensor y =
      squeeze(forward(a, unsqueeze(x, 2), unsqueeze(weight, 2), bias, kNoActivation), Dims{2});
  return input.dim() == 2 ? squeeze(y, Dims{0}) : y;
}

// The adjoint of conv2d in its input, with a bias per output channel.
Tensor conv_transpose2d(const Tensor& input, const Tensor& weight, const Tensor& bias,
                        const Dims& stride, const Dims& padding, const Dims& output_padding,
                        std::int64_t groups, const Dims& dilation) {
  check_conv("conv_transpose2d", input, weight, 4);
  if (input.dim() == 3)
    return squeeze(conv_transpose2d(unsqueeze(input, 0), weight, bias, stride, padding,
                                    output_padding, groups, dilation),
                   Dims{0});
  const ConvArgs a = make_args("conv_transpose2d", stride, padding, dilation, groups);
  const Dims extra = expand_pair("conv_transpose2d", "output_padding", output_padding, 0);
  const std::int64_t channels = weight.size(1) * groups;
  check_vector("conv_transpose2d", "bias", bias, channels, input);
  GS_CHECK(
      input.size(1) == weight.size(0),
      "conv_transpose2d: weight of shape {} takes {} input channels, the input of shape {} has {}",
      weight.shape(), weight.size(0), input.shape(), input.size(1));
  Dims x_shape{input.size(0), channels, 0, 0};
  Dims missing{0, 0};  // rows and columns that the convolution of the output would have besides
  for (int d = 0; d < 2; ++d) {
    GS_CHECK(extra[d] < std::max(a.stride[d], a.dilation[d]),
             "conv_transpose2d: output_padding {} must be smaller than stride or dilation", extra);
    x_shape[2 + d] = (input.size(2 + d) - 1) * a.stride[d] - a.padding[2 * d] -
                     a.padding[2 * d + 1] + a.dilation[d] * (weight.size(2 + d) - 1) + extra[d] + 1;
    GS_CHECK(x_shape[2 + d] >= 1, "conv_transpose2d: the output would have size {}",
             x_shape[2 + d]);
    missing[d] = extra[d] / a.stride[d];
  }
  const Tensor whole =
      missing[0] || missing[1] ? pad(input, {0, missing[1], 0, missing[0]}) : input;
  return transposed(a, whole, weight, bias, x_shape);
}

}  // namespace gradsmith::ops
