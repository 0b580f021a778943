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
GS_API Tensor softmax(const Tensor& input, std::int64_t dim,
                      const std::optional<DType>& dtype = {});
GS_API Tensor log_softmax(const Tensor& input, std::int64_t dim,
                          const std::optional<DType>& dtype = {});

// ---- losses; reduction is "mean", "sum" or "none" ----
// target: int64 classes of the input's shape without its class dim (1, or 0 for a vector), or
// probabilities of the input's shape. A mean is divided by the sum of the class weights that count.
GS_API Tensor cross_entropy(const Tensor& input, const Tensor& target, const Tensor& weight = {},
                            std::int64_t ignore_index = -100, const std::string& reduction = "mean",
                            double label_smoothing = 0);
GS_API Tensor nll_loss(const Tensor& input, const Tensor& target, const Tensor& weight = {},
                       std::int64_t ignore_index = -100, const std::string& reduction = "mean");
GS_API Tensor mse_loss(const Tensor& input, const Tensor& target,
                       const std::string& reduction = "mean");
GS_API Tensor l1_loss(const Tensor& input, const Tensor& target,
                      const std::string& reduction = "mean");
GS_API Tensor smooth_l1_loss(const Tensor& input, const Tensor& target,
                             const std::string& reduction = "mean", double beta = 1);
GS_API Tensor huber_loss(const Tensor& input, const Tensor& target,
                         const std::string& reduction = "mean", double delta = 1);
GS_API Tensor binary_cross_entropy(const Tensor& input, const Tensor& target,
                                   const Tensor& weight = {},
                                   const std::string& reduction = "mean");
GS_API Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target,
                                               const Tensor& weight = {},
                                               const std::string& reduction = "mean",
                                               const Tensor& pos_weight = {});
// Also reduction "batchmean". input holds logarithms; target too where log_target.
GS_API Tensor kl_div(const Tensor& input, const Tensor& target,
                     const std::string& reduction = "mean", bool log_target = false);

// ---- convolution; one int stands for both dimensions ----
// padding may also be (top, bottom, left, right), for conv1d (left, right).
GS_API Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                     const Dims& stride = {1}, const Dims& padding = {0},
                     const Dims& dilation = {1}, std::int64_t groups = 1,
                     const std::string& activation = "none");  // one of linear's
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

// ---- normalisation; weight and bias are optional ----
GS_API Tensor layer_norm(const Tensor& input, const Dims& normalized_shape,
                         const Tensor& weight = {}, const Tensor& bias = {}, double eps = 1e-5);
// Without eps: the machine epsilon of the dtype.
GS_API Tensor rms_norm(const Tensor& input, const Dims& normalized_shape, const Tensor& weight = {},
                       const std::optional<double>& eps = {});
GS_API Tensor group_norm(const Tensor& input, std::int64_t num_groups, const Tensor& weight = {},
                         const Tensor& bias = {}, double eps = 1e-5);
// Training uses the batch's statistics and moves the running ones towards them, in place.
GS_API Tensor batch_norm(const Tensor& input, const Tensor& running_mean, const Tensor& running_var,
                         const Tensor& weight = {}, const Tensor& bias = {}, bool training = false,
                         double momentum = 0.1, double eps = 1e-5);

// ---- dropout, embedding ----
GS_API Tensor dropout(const Tensor& input, double p = 0.5, bool training = true);
GS_API Tensor embedding(const Tensor& input, const Tensor& weight,
                        const std::optional<std::int64_t>& padding_idx = {});

// ---- recurrent ----
// One direction of one layer: input (T, N, I), h0 (and c0) (N, H), w_ih (G H, I), w_hh (G H, H),
// biases (G H) or none, with G = 4 gates i f g o for LSTM, 3 gates r z n for GRU and 1 for RNN.
// Returns the outputs (T, N, H) and the last h (and c). `reverse` runs from the end.
// A packed batch has batch_sizes, int64 (T) that never rise: the first batch_sizes[t] sequences
// have a step t. Input and outputs are then these steps alone, one after the other, (sum of the
// sizes, I or H); the last states are each sequence's own.
// w_hr (P, H) projects the h of LSTM to P features (Sak et al. 2014): h0 and outputs then have P
// and w_hh is (G H, P).
GS_API std::tuple<Tensor, Tensor, Tensor> lstm_layer(const Tensor& input, const Tensor& h0,
                                                     const Tensor& c0, const Tensor& w_ih,
                                                     const Tensor& w_hh, const Tensor& b_ih = {},
                                                     const Tensor& b_hh = {}, bool reverse = false,
                                                     const Tensor& batch_sizes = {},
                                                     const Tensor& w_hr = {});
GS_API std::tuple<Tensor, Tensor> gru_layer(const Tensor& input, const Tensor& h0,
                                            const Tensor& w_ih, const Tensor& w_hh,
                                            const Tensor& b_ih = {}, const Tensor& b_hh = {},
                                            bool reverse = false, const Tensor& batch_sizes = {});
GS_API std::tuple<Tensor, Tensor> rnn_layer(const Tensor& input, const Tensor& h0,
                                            const Tensor& w_ih, const Tensor& w_hh,
                                            const Tensor& b_ih = {}, const Tensor& b_hh = {},
                                            bool reverse = false, const Tensor& batch_sizes = {},
                                            const std::string& nonlinearity = "tanh");

// ---- optimizer steps [no grad], in place over lists of tensors; torch.optim's formulas ----
// For the first step of a momentum buffer of zeros the caller passes dampening 0.
GS_API void sgd_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                      const std::vector<Tensor>& momentum_buffers, double lr, double momentum,
                      double dampening, double weight_decay, bool nesterov, bool maximize);
GS_API void adam_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                       const std::vector<Tensor>& exp_avgs, const std::vector<Tensor>& exp_avg_sqs,
                       const std::vector<Tensor>& max_exp_avg_sqs, std::int64_t step, double lr,
                       double beta1, double beta2, double eps, double weight_decay, bool amsgrad,
                       bool decoupled, bool maximize);
GS_API void rmsprop_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                          const std::vector<Tensor>& square_avgs,
                          const std::vector<Tensor>& grad_avgs,
                          const std::vector<Tensor>& momentum_buffers, double lr, double alpha,
                          double eps, double weight_decay, double momentum, bool centered,
                          bool maximize);
GS_API void adagrad_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                          const std::vector<Tensor>& state_sums, std::int64_t step, double lr,
                          double lr_decay, double weight_decay, double eps, bool maximize);
GS_API void nadam_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                        const std::vector<Tensor>& exp_avgs, const std::vector<Tensor>& exp_avg_sqs,
                        std::int64_t step, double lr, double beta1, double beta2, double eps,
                        double weight_decay, double mu, double next_mu, double mu_product,
                        bool decoupled, bool maximize);
GS_API void radam_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                        const std::vector<Tensor>& exp_avgs, const std::vector<Tensor>& exp_avg_sqs,
                        std::int64_t step, double lr, double beta1, double beta2, double eps,
                        double weight_decay, bool decoupled, bool maximize);
GS_API void adamax_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                         const std::vector<Tensor>& exp_avgs, const std::vector<Tensor>& exp_infs,
                         std::int64_t step, double lr, double beta1, double beta2, double eps,
                         double weight_decay, bool maximize);
GS_API void adadelta_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                           const std::vector<Tensor>& square_avgs,
                           const std::vector<Tensor>& acc_deltas, double lr, double rho, double eps,
                           double weight_decay, bool maximize);
GS_API void asgd_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                       const std::vector<Tensor>& axs, double eta, double lambd, double mu,
                       double weight_decay, bool maximize);
GS_API void rprop_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                        const std::vector<Tensor>& prevs, const std::vector<Tensor>& step_sizes,
                        double eta_minus, double eta_plus, double smallest, double largest,
                        bool maximize);
GS_API void lion_step_(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                       const std::vector<Tensor>& exp_avgs, double lr, double beta1, double beta2,
                       double weight_decay, bool maximize);
// Scales all gradients by max_norm / norm where their joint norm is larger; returns the norm.
GS_API Tensor clip_grad_norm_(const std::vector<Tensor>& grads, double max_norm,
                              double norm_type = 2);
GS_API void clip_grad_value_(const std::vector<Tensor>& grads, double clip_value);

}  // namespace gradsmith::ops
