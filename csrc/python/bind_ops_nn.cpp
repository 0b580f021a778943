// The ops of ops_nn.h, one line each.
#include "gradsmith/ops.h"
#include "python/bindings.h"
#include "python/def_op.h"

namespace gradsmith::python {

namespace {

using namespace gradsmith::ops;

// return_indices changes what comes back, as in PyTorch.
using MaybeIndices = std::variant<Tensor, std::tuple<Tensor, Tensor>>;
MaybeIndices max_pool2d_op(const Tensor& input, const Dims& kernel_size, const Dims& stride,
                           const Dims& padding, const Dims& dilation, bool ceil_mode,
                           bool return_indices) {
  if (return_indices)
    return max_pool2d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode);
  return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode);
}
MaybeIndices adaptive_max_pool2d_op(const Tensor& input, const Dims& output_size,
                                    bool return_indices) {
  if (return_indices) return adaptive_max_pool2d_with_indices(input, output_size);
  return adaptive_max_pool2d(input, output_size);
}

void bind_softmax(Binder& b) {
  b.both<&softmax>("softmax", "input, dim", "exp(x) / sum(exp(x)) over one dim.");
  b.both<&log_softmax>("log_softmax", "input, dim", "log(softmax(x)) over one dim.");
}

void bind_convolution(Binder& b) {
  b.function<&conv2d>(
      "conv2d", "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1",
      "Cross-correlation of (N, C, H, W) with (O, C / groups, KH, KW); padding is an int, a pair, or "
      "(top, bottom, left, right).");
  b.function<&conv1d>(
      "conv1d", "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1",
      "Cross-correlation of (N, C, L) with (O, C / groups, K); padding is an int or (left, right).");
  b.function<&conv_transpose2d>("conv_transpose2d",
                                "input, weight, bias=None, stride=1, padding=0, output_padding=0, "
                                "groups=1, dilation=1",
                                "The adjoint of conv2d in its input; weight is (C, O / groups, KH, KW).");
}

void bind_pooling(Binder& b) {
  b.function<&max_pool2d_op>("max_pool2d",
                             "input, kernel_size, stride=None, padding=0, dilation=1, "
                             "ceil_mode=False, return_indices=False",
                             "Maximum of each window; indices are positions inside a plane.");
  b.function<&avg_pool2d>("avg_pool2d",
                          "input, kernel_size, stride=None, padding=0, ceil_mode=False, "
                          "count_include_pad=True, divisor_override=None",
                          "Mean of each window.");
  b.function<&adaptive_avg_pool2d>("adaptive_avg_pool2d", "input, output_size",
                                   "Means of windows that divide the plane into output_size.");
  b.function<&adaptive_max_pool2d_op>("adaptive_max_pool2d",
                                      "input, output_size, return_indices=False",
                                      "Maxima of windows that divide the plane into output_size.");
}

}  // namespace

void bind_ops_nn(Binder& b) {
  bind_softmax(b);
  bind_convolution(b);
  bind_pooling(b);
}

}  // namespace gradsmith::python
