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
  b.both<&softmax>("softmax", "input, dim, dtype=None", "exp(x) / sum(exp(x)) over one dim.");
  b.both<&log_softmax>("log_softmax", "input, dim, dtype=None", "log(softmax(x)) over one dim.");
}

void bind_convolution(Binder& b) {
  b.function<&conv2d>("conv2d",
                      "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, "
                      "activation='none'",
                      "Cross-correlation of (N, C, H, W) with (O, C / groups, KH, KW); padding is "
                      "an int, a pair, or "
                      "(top, bottom, left, right); the activation is one of linear's.");
  b.function<&conv1d>("conv1d",
                      "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1",
                      "Cross-correlation of (N, C, L) with (O, C / groups, K); padding is an int "
                      "or (left, right).");
  b.function<&conv_transpose2d>(
      "conv_transpose2d",
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

void bind_losses(Binder& b) {
  b.function<&cross_entropy>("cross_entropy",
                             "input, target, weight=None, ignore_index=-100, reduction='mean', "
                             "label_smoothing=0.0",
                             "Cross entropy of logits with classes (int64) or probabilities.");
  b.function<&nll_loss>("nll_loss",
                        "input, target, weight=None, ignore_index=-100, reduction='mean'",
                        "Negative log likelihood of log-probabilities.");
  b.function<&mse_loss>("mse_loss", "input, target, reduction='mean'", "Squared error.");
  b.function<&l1_loss>("l1_loss", "input, target, reduction='mean'", "Absolute error.");
  b.function<&smooth_l1_loss>("smooth_l1_loss", "input, target, reduction='mean', beta=1.0",
                              "Squared below beta, absolute above.");
  b.function<&huber_loss>("huber_loss", "input, target, reduction='mean', delta=1.0",
                          "Squared below delta, linear above (Huber 1964).");
  b.function<&binary_cross_entropy>("binary_cross_entropy",
                                    "input, target, weight=None, reduction='mean'",
                                    "Cross entropy of probabilities in [0, 1].");
  b.function<&binary_cross_entropy_with_logits>(
      "binary_cross_entropy_with_logits",
      "input, target, weight=None, reduction='mean', pos_weight=None",
      "Sigmoid and binary cross entropy in one, without overflow.");
  b.function<&kl_div>("kl_div", "input, target, reduction='mean', log_target=False",
                      "Kullback-Leibler divergence; input holds log-probabilities.");
}

void bind_norms(Binder& b) {
  b.function<&layer_norm>("layer_norm", "input, normalized_shape, weight=None, bias=None, eps=1e-5",
                          "Normalise over the last dims (Ba et al. 2016).");
  b.function<&rms_norm>("rms_norm", "input, normalized_shape, weight=None, eps=None",
                        "Divide by the root mean square over the last dims.");
  b.function<&group_norm>("group_norm", "input, num_groups, weight=None, bias=None, eps=1e-5",
                          "Normalise over groups of channels (Wu and He 2018).");
  b.function<&batch_norm>("batch_norm",
                          "input, running_mean=None, running_var=None, weight=None, bias=None, "
                          "training=False, momentum=0.1, eps=1e-5",
                          "Normalise each channel over the batch (Ioffe and Szegedy 2015).");
}

void bind_recurrent(Binder& b) {
  b.function<&lstm_layer>(
      "lstm_layer",
      "input, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None, reverse=False, batch_sizes=None, w_hr=None",
      "One direction of one LSTM layer over (T, N, I), or a packed batch; returns (y, h, c).");
  b.function<&gru_layer>(
      "gru_layer", "input, h0, w_ih, w_hh, b_ih=None, b_hh=None, reverse=False, batch_sizes=None",
      "One direction of one GRU layer over (T, N, I), or a packed batch; returns (y, h).");
  b.function<&rnn_layer>("rnn_layer",
                         "input, h0, w_ih, w_hh, b_ih=None, b_hh=None, reverse=False, "
                         "batch_sizes=None, nonlinearity='tanh'",
                         "One direction of one plain recurrent layer, tanh or relu, over (T, N, "
                         "I); returns (y, h).");
}

void bind_dropout_and_embedding(Binder& b) {
  b.function<&TakesInplace<&dropout>::call>(
      "dropout", "input, p=0.5, training=True, inplace=False",
      "Zero each element with probability p, scale the others by 1 / (1 - p); inplace changes "
      "nothing.");
  b.function<&embedding>("embedding", "input, weight, padding_idx=None",
                         "Rows of weight by int64 index; padding_idx gets no gradient.");
}

void bind_optimizers(Binder& b) {
  b.function<&sgd_step_>("sgd_step_",
                         "params, grads, momentum_buffers, lr, momentum, dampening, weight_decay, "
                         "nesterov, maximize",
                         "One step of SGD on lists of tensors, in place.");
  b.function<&adam_step_>("adam_step_",
                          "params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, step, lr, beta1, "
                          "beta2, eps, weight_decay, amsgrad, decoupled, maximize",
                          "One step of Adam, or AdamW (decoupled), on lists of tensors, in place.");
  b.function<&rmsprop_step_>("rmsprop_step_",
                             "params, grads, square_avgs, grad_avgs, momentum_buffers, lr, alpha, "
                             "eps, weight_decay, momentum, centered, maximize",
                             "One step of RMSprop on lists of tensors, in place.");
  b.function<&adagrad_step_>(
      "adagrad_step_", "params, grads, state_sums, step, lr, lr_decay, weight_decay, eps, maximize",
      "One step of Adagrad on lists of tensors, in place.");
  b.function<&nadam_step_>("nadam_step_",
                           "params, grads, exp_avgs, exp_avg_sqs, step, lr, beta1, beta2, eps, "
                           "weight_decay, mu, next_mu, mu_product, decoupled, maximize",
                           "One step of NAdam on lists of tensors, in place.");
  b.function<&radam_step_>("radam_step_",
                           "params, grads, exp_avgs, exp_avg_sqs, step, lr, beta1, beta2, eps, "
                           "weight_decay, decoupled, maximize",
                           "One step of RAdam on lists of tensors, in place.");
  b.function<&adamax_step_>("adamax_step_",
                            "params, grads, exp_avgs, exp_infs, step, lr, beta1, beta2, eps, "
                            "weight_decay, maximize",
                            "One step of Adamax on lists of tensors, in place.");
  b.function<&adadelta_step_>("adadelta_step_",
                              "params, grads, square_avgs, acc_deltas, lr, rho, eps, "
                              "weight_decay, maximize",
                              "One step of Adadelta on lists of tensors, in place.");
  b.function<&asgd_step_>("asgd_step_",
                          "params, grads, axs, eta, lambd, mu, weight_decay, maximize",
                          "One step of averaged SGD on lists of tensors, in place.");
  b.function<&rprop_step_>("rprop_step_",
                           "params, grads, prevs, step_sizes, eta_minus, eta_plus, smallest, "
                           "largest, maximize",
                           "One step of Rprop on lists of tensors, in place.");
  b.function<&lion_step_>("lion_step_",
                          "params, grads, exp_avgs, lr, beta1, beta2, weight_decay, maximize",
                          "One step of Lion on lists of tensors, in place.");
  b.function<&clip_grad_norm_>("clip_grad_norm_", "grads, max_norm, norm_type=2.0",
                               "Scale gradients in place to a joint norm; returns it.");
  b.function<&clip_grad_value_>("clip_grad_value_", "grads, clip_value",
                                "Clip every element of the gradients in place.");
}

}  // namespace

void bind_ops_nn(Binder& b) {
  bind_softmax(b);
  bind_convolution(b);
  bind_pooling(b);
  bind_losses(b);
  bind_norms(b);
  bind_recurrent(b);
  bind_dropout_and_embedding(b);
  bind_optimizers(b);
}

}  // namespace gradsmith::python
