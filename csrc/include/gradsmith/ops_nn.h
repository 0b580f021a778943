// Ops of neural networks; included by ops.h, whose conventions hold here. Fused backward kernels
// are ops of their own, so that gradients of gradients exist.
#pragma once
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "gradsmith/export.h"
#include "gradsmith/tensor.h"

namespace gradsmith::ops {

// ---- softmax ----
GS_API Tensor softmax(const Tensor& input, std::int64_t dim);
GS_API Tensor log_softmax(const Tensor& input, std::int64_t dim);

// ---- losses; reduction is "mean", "sum" or "none" ----

// ---- convolution; one int stands for both dimensions ----
// padding may also be (top, bottom, left, right), for conv1d (left, right).
GS_API Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                     const Dims& stride = {1}, const Dims& padding = {0},
                     const Dims& dilation = {1}, std::int64_t groups = 1);
GS_API Tensor conv1d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                     const Dims& stride = {1}, const Dims& padding = {0},
                     const Dims& dilation = {1}, std::int64_t groups = 1);
GS_API Tensor conv_transpose2d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                               const Dims& stride = {1}, const Dims& padding = {0},
                               const Dims& output_padding = {0}, std::int64_t groups = 1,
                               const Dims& dilation = {1});

// ---- pooling; an empty stride means kernel_size ----
GS_API Tensor max_pool2d(const Tensor& input, const Dims& kernel_size, const Dims& stride = {},
                         const Dims& padding = {0}, const Dims& dilation = {1},
                         bool ceil_mode = false);
GS_API std::tuple<Tensor, Tensor> max_pool2d_with_indices(
    const Tensor& input, const Dims& kernel_size, const Dims& stride = {},
    const Dims& padding = {0}, const Dims& dilation = {1}, bool ceil_mode = false);
GS_API Tensor avg_pool2d(const Tensor& input, const Dims& kernel_size, const Dims& stride = {},
                         const Dims& padding = {0}, bool ceil_mode = false,
                         bool count_include_pad = true,
                         const std::optional<std::int64_t>& divisor_override = {});
GS_API Tensor adaptive_avg_pool2d(const Tensor& input, const Dims& output_size);
GS_API Tensor adaptive_max_pool2d(const Tensor& input, const Dims& output_size);
GS_API std::tuple<Tensor, Tensor> adaptive_max_pool2d_with_indices(const Tensor& input,
                                                                   const Dims& output_size);

// ---- normalisation ----

// ---- dropout, embedding ----
GS_API Tensor dropout(const Tensor& input, double p = 0.5, bool training = true);
GS_API Tensor embedding(const Tensor& input, const Tensor& weight,
                        const std::optional<std::int64_t>& padding_idx = {});

// ---- recurrent ----

// ---- optimizer steps [no grad], in place over lists of tensors; torch.optim's formulas ----
// The first step of a momentum buffer of zeros takes dampening 0.
GS_API void sgd_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                      const std::vector<Tensor>& momentum_buffers, double lr, double momentum,
                      double dampening, double weight_decay, bool nesterov, bool maximize);
GS_API void adam_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                       const std::vector<Tensor>& exp_avgs, const std::vector<Tensor>& exp_avg_sqs,
                       const std::vector<Tensor>& max_exp_avg_sqs, std::int64_t step, double lr,
                       double beta1, double beta2, double eps, double weight_decay, bool amsgrad,
                       bool decoupled, bool maximize);
// Scales all gradients by max_norm / norm where their joint norm is larger; returns the norm.
GS_API Tensor clip_grad_norm_(const std::vector<Tensor>& grads, double max_norm,
                              double norm_type = 2);
GS_API void clip_grad_value_(const std::vector<Tensor>& grads, double clip_value);

}  // namespace gradsmith::ops
