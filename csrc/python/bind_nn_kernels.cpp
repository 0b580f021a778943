// The second half of gradsmith._core._kernels: convolution, pooling, norms, dropout, LSTM and
// optimizer steps.
#include <cmath>
#include <vector>

#include "kernels/conv/conv.h"
#include "kernels/norm/norm.h"
#include "kernels/optim/optim.h"
#include "kernels/pool/pool.h"
#include "kernels/rng/rng.h"
#include "kernels/rnn/rnn.h"
#include "python/raw_array.h"
#include "python/raw_kernels.h"
#include "runtime/philox.h"

namespace gradsmith::python {

namespace {

// A float32 or float64, C-contiguous array of this rank.
void check_input(const char* op, const char* argument, const RawArray& a, int rank) {
  check_raw_float(op, argument, a);
  GS_CHECK(a.tensor.dim() == rank, "{}: argument '{}' must have rank {}, got shape {}", op,
           argument, rank, a.tensor.shape());
  check_raw_dense(op, argument, a);
}
void check_like(const char* op, const char* argument, const RawArray& a, const Dims& shape,
                const RawArray& first) {
  GS_CHECK_TYPE(a, "{}: argument '{}' must be an array, got None", op, argument);
  check_raw_operand(op, argument, a, shape, first.tensor.dtype());
}
const void* data(const RawArray& a) { return a ? a.tensor.data() : nullptr; }
void* mutable_data(const RawArray& a) { return a ? a.tensor.data() : nullptr; }

Dims pair_of(const char* op, const char* argument, const Dims& given, std::int64_t least) {
  GS_CHECK(given.size() == 1 || given.size() == 2,
           "{}: argument '{}' must be an int or a pair, got {}", op, argument, given);
  const Dims pair{given[0], given.back()};
  for (auto v : pair)
    GS_CHECK(v >= least && v < (std::int64_t(1) << 31),
             "{}: argument '{}' must be at least {} and below 2^31, got {}", op, argument, least,
             given);
  return pair;
}

// ---- convolution ----

kernels::ConvShape conv_shape(const char* op, const Dims& x, const Dims& w, const Dims& stride,
                              const Dims& padding, const Dims& dilation, std::int64_t groups) {
  GS_CHECK(x.size() == 4 && w.size() == 4,
           "{}: images and weights must have rank 4, got shapes {} and {}", op, x, w);
  GS_CHECK(groups >= 1 && x[1] % groups == 0 && w[0] % groups == 0 && x[1] / groups == w[1],
           "{}: images of shape {} and weights of shape {} do not fit with groups={}", op, x, w,
           groups);
  GS_CHECK(w[2] >= 1 && w[3] >= 1, "{}: the kernel must be at least 1 x 1, got shape {}", op, w);
  const Dims s = pair_of(op, "stride", stride, 1), p = pair_of(op, "padding", padding, 0);
  const Dims d = pair_of(op, "dilation", dilation, 1);
  kernels::ConvShape shape{
      .n = x[0], .c = x[1], .h = x[2], .w = x[3], .o = w[0], .kh = w[2], .kw = w[3]};
  shape.stride_h = s[0];
  shape.stride_w = s[1];
  shape.pad_h = shape.pad_h_end = p[0];
  shape.pad_w = shape.pad_w_end = p[1];
  shape.dilation_h = d[0];
  shape.dilation_w = d[1];
  shape.groups = groups;
  GS_CHECK(shape.out_h() >= 1 && shape.out_w() >= 1,
           "{}: a kernel of {} x {} with dilation {} is larger than the images {} with padding {}",
           op, w[2], w[3], d, x, p);
  return shape;
}
Dims output_shape(const kernels::ConvShape& s) { return {s.n, s.o, s.out_h(), s.out_w()}; }

RawResult conv2d(const RawArray& x, const RawArray& w, const RawArray& bias, const Dims& stride,
                 const Dims& padding, const Dims& dilation, std::int64_t groups,
                 const RawArray& out, const std::string& activation, double slope) {
  constexpr const char* op = "conv2d";
  check_input(op, "x", x, 4);
  check_input(op, "w", w, 4);
  check_raw_dtype(op, "w", w, x.tensor.dtype());
  const auto shape =
      conv_shape(op, x.tensor.shape(), w.tensor.shape(), stride, padding, dilation, groups);
  check_raw_operand(op, "bias", bias, {shape.o}, x.tensor.dtype());
  const kernels::ConvEpilogue epilogue{data(bias), activation_of(op, activation), slope};
  Tensor y = raw_output({.op = op, .shape = output_shape(shape), .dtype = x.tensor.dtype()}, out,
                        {&x, &w, &bias});
  kernels::conv2d_forward(x.tensor.dtype(), shape, y.data(), x.tensor.data(), w.tensor.data(),
                          epilogue);
  return raw_result(y, out, x);
}

RawResult conv2d_input_grad(const RawArray& dy, const RawArray& w, const Dims& x_shape,
                            const Dims& stride, const Dims& padding, const Dims& dilation,
                            std::int64_t groups, const RawArray& out) {
  constexpr const char* op = "conv2d_input_grad";
  check_input(op, "dy", dy, 4);
  check_input(op, "w", w, 4);
  check_raw_dtype(op, "w", w, dy.tensor.dtype());
  const auto shape = conv_shape(op, x_shape, w.tensor.shape(), stride, padding, dilation, groups);
  check_raw_shape(op, "dy", dy, output_shape(shape));
  Tensor dx = raw_output({.op = op, .shape = x_shape, .dtype = dy.tensor.dtype()}, out, {&dy, &w});
  kernels::conv2d_input_grad(dy.tensor.dtype(), shape, dx.data(), dy.tensor.data(),
                             w.tensor.data());
  return raw_result(dx, out, dy);
}

RawResult conv2d_weight_grad(const RawArray& dy, const RawArray& x, const Dims& w_shape,
                             const Dims& stride, const Dims& padding, const Dims& dilation,
                             std::int64_t groups, const RawArray& out) {
  constexpr const char* op = "conv2d_weight_grad";
  check_input(op, "dy", dy, 4);
  check_input(op, "x", x, 4);
  check_raw_dtype(op, "x", x, dy.tensor.dtype());
  const auto shape = conv_shape(op, x.tensor.shape(), w_shape, stride, padding, dilation, groups);
  check_raw_shape(op, "dy", dy, output_shape(shape));
  Tensor dw = raw_output({.op = op, .shape = w_shape, .dtype = dy.tensor.dtype()}, out, {&dy, &x});
  kernels::conv2d_weight_grad(dy.tensor.dtype(), shape, dw.data(), dy.tensor.data(),
                              x.tensor.data());
  return raw_result(dw, out, dy);
}

// ---- pooling ----

kernels::PoolShape pool_shape(const char* op, const RawArray& x, const Dims& kernel_size,
                              const Dims& stride, const Dims& padding, const Dims& dilation,
                              bool ceil_mode) {
  check_input(op, "x", x, 4);
  const Dims& s = x.tensor.shape();
  const Dims k = pair_of(op, "kernel_size", kernel_size, 1);
  const Dims step = stride.empty() ? k : pair_of(op, "stride", stride, 1);
  const Dims p = pair_of(op, "padding", padding, 0), d = pair_of(op, "dilation", dilation, 1);
  GS_CHECK(p[0] <= k[0] / 2 && p[1] <= k[1] / 2,
           "{}: padding {} must be at most half of kernel_size {}", op, p, k);
  kernels::PoolShape shape{.planes = s[0] * s[1], .h = s[2], .w = s[3]};
  shape.kernel_h = k[0];
  shape.kernel_w = k[1];
  shape.stride_h = step[0];
  shape.stride_w = step[1];
  shape.pad_h = p[0];
  shape.pad_w = p[1];
  shape.dilation_h = d[0];
  shape.dilation_w = d[1];
  shape.out_h = kernels::pool_output_size(s[2], k[0], step[0], p[0], d[0], ceil_mode);
  shape.out_w = kernels::pool_output_size(s[3], k[1], step[1], p[1], d[1], ceil_mode);
  GS_CHECK(shape.out_h >= 1 && shape.out_w >= 1,
           "{}: a window of {} with dilation {} is larger than the images {} with padding {}", op,
           k, d, s, p);
  GS_CHECK(kernels::pool_windows_meet(shape.h, shape.out_h, k[0], step[0], p[0], d[0]) &&
               kernels::pool_windows_meet(shape.w, shape.out_w, k[1], step[1], p[1], d[1]),
           "{}: with dilation {} a window lies wholly in the padding of the images {}", op, d, s);
  return shape;
}

RawResult max_pool2d(const RawArray& x, const Dims& kernel_size, const Dims& stride,
                     const Dims& padding, const Dims& dilation, bool ceil_mode, const RawArray& out,
                     const RawArray& indices) {
  constexpr const char* op = "max_pool2d";
  const auto shape = pool_shape(op, x, kernel_size, stride, padding, dilation, ceil_mode);
  const Dims y_shape{x.tensor.shape()[0], x.tensor.shape()[1], shape.out_h, shape.out_w};
  Tensor y = raw_output({.op = op, .shape = y_shape, .dtype = x.tensor.dtype()}, out, {&x});
  if (indices)
    raw_output({.op = op, .argument = "indices", .shape = y_shape, .dtype = DType::i64}, indices,
               {&x, &out});
  kernels::max_pool2d(
      x.tensor.dtype(),
      {shape, y.data(), static_cast<std::int64_t*>(mutable_data(indices)), x.tensor.data()});
  if (indices) indices.tensor.bump_version();
  return raw_result(y, out, x);
}

RawResult avg_pool2d(const RawArray& x, const Dims& kernel_size, const Dims& stride,
                     const Dims& padding, bool ceil_mode, bool count_include_pad,
                     const RawArray& out) {
  constexpr const char* op = "avg_pool2d";
  const auto shape = pool_shape(op, x, kernel_size, stride, padding, {1, 1}, ceil_mode);
  const Dims y_shape{x.tensor.shape()[0], x.tensor.shape()[1], shape.out_h, shape.out_w};
  Tensor y = raw_output({.op = op, .shape = y_shape, .dtype = x.tensor.dtype()}, out, {&x});
  kernels::avg_pool2d(x.tensor.dtype(), {shape, y.data(), x.tensor.data(), count_include_pad});
  return raw_result(y, out, x);
}

// ---- norms ----

void check_eps(const char* op, double eps) {
  GS_CHECK(eps >= 0 && std::isfinite(eps),
           "{}: argument 'eps' must be finite and not negative, got {}", op, eps);
}

RawResult norm_rows(bool rms, const RawArray& x, const RawArray& weight, const RawArray& bias,
                    double eps, const RawArray& out) {
  const char* op = rms ? "rms_norm" : "layer_norm";
  check_raw_float(op, "x", x);
  check_raw_dense(op, "x", x);
  const Tensor& t = x.tensor;
  GS_CHECK(t.dim() >= 1 && t.shape().back() >= 1,
           "{}: argument 'x' must have a last dimension of at least 1, got shape {}", op,
           t.shape());
  const std::int64_t n = t.shape().back(), rows = t.numel() / n;
  check_raw_operand(op, "weight", weight, {n}, t.dtype());
  check_raw_operand(op, "bias", bias, {n}, t.dtype());
  check_eps(op, eps);
  Tensor y =
      raw_output({.op = op,
                  .shape = t.shape(),
                  .dtype = t.dtype(),
                  .overlap = out && data(out) == data(x) ? Overlap::in_place : Overlap::forbidden},
                 out, {&x, &weight, &bias});
  const Tensor mean = empty({rows}, t.dtype()), rstd = empty({rows}, t.dtype());
  kernels::norm_forward({.dtype = t.dtype(),
                         .kind = rms ? kernels::NormKind::rms : kernels::NormKind::layer,
                         .rows = rows,
                         .n = n,
                         .eps = eps},
                        y.data(), mean.data(), rstd.data(), t.data(), data(weight), data(bias));
  return raw_result(y, out, x);
}

kernels::BatchNormShape batch_shape(const char* op, const RawArray& x) {
  check_raw_float(op, "x", x);
  check_raw_dense(op, "x", x);
  const Dims& s = x.tensor.shape();
  GS_CHECK(s.size() >= 2, "{}: argument 'x' must have shape (N, C, ...), got {}", op, s);
  std::int64_t inner = 1;
  for (int d = 2; d < s.size(); ++d) inner *= s[d];
  return {x.tensor.dtype(), s[0], s[1], inner};
}

std::tuple<RawResult, RawResult> batch_norm_stats(const RawArray& x) {
  constexpr const char* op = "batch_norm_stats";
  const auto shape = batch_shape(op, x);
  GS_CHECK(shape.batch * shape.inner >= 1, "{}: argument 'x' has no elements: shape {}", op,
           x.tensor.shape());
  Tensor mean = empty({shape.channels}, shape.dtype), var = empty({shape.channels}, shape.dtype);
  kernels::batch_norm_stats(shape, mean.data(), var.data(), x.tensor.data());
  return {raw_result(mean, {}, x), raw_result(var, {}, x)};
}

RawResult batch_norm(const RawArray& x, const RawArray& mean, const RawArray& var,
                     const RawArray& weight, const RawArray& bias, double eps,
                     const RawArray& out) {
  constexpr const char* op = "batch_norm";
  const auto shape = batch_shape(op, x);
  const Dims channels{shape.channels};
  check_like(op, "mean", mean, channels, x);
  check_like(op, "var", var, channels, x);
  check_raw_operand(op, "weight", weight, channels, shape.dtype);
  check_raw_operand(op, "bias", bias, channels, shape.dtype);
  check_eps(op, eps);
  Tensor y = raw_output({.op = op, .shape = x.tensor.shape(), .dtype = shape.dtype}, out,
                        {&x, &mean, &var, &weight, &bias});
  kernels::batch_norm_forward(shape, y.data(), x.tensor.data(), data(mean), data(var), data(weight),
                              data(bias), eps);
  return raw_result(y, out, x);
}

// ---- dropout ----

std::tuple<RawResult, RawResult> dropout(const RawArray& x, double p,
                                         const std::optional<std::int64_t>& seed,
                                         const RawArray& out, const RawArray& mask) {
  constexpr const char* op = "dropout";
  check_raw_float(op, "x", x);
  check_raw_dense(op, "x", x);
  GS_CHECK(p >= 0 && p <= 1, "dropout: argument 'p' must be in [0, 1], got {}", p);
  const Tensor& t = x.tensor;
  Tensor y = raw_output(
      {.op = op, .shape = t.shape(), .dtype = t.dtype(), .overlap = Overlap::in_place}, out, {&x});
  Tensor kept = raw_output({.op = op, .argument = "mask", .shape = t.shape(), .dtype = DType::b8},
                           mask, {&x, &out});
  const PhiloxState s = seed ? PhiloxState{std::uint64_t(*seed), 0}
                             : reserve_random(kernels::random_blocks(t.numel(), 1));
  kernels::dropout(t.dtype(), {y.data(), kept.data_as<std::uint8_t>(), t.data(), t.numel(), s.seed,
                               s.offset, p});
  return {raw_result(y, out, x), raw_result(kept, mask, x)};
}

// ---- LSTM ----

std::tuple<RawResult, RawResult, RawResult> lstm(const RawArray& x, const RawArray& w_ih,
                                                 const RawArray& w_hh, const RawArray& b_ih,
                                                 const RawArray& b_hh, const RawArray& h0,
                                                 const RawArray& c0, bool batch_first, bool reverse,
                                                 const RawArray& out) {
  constexpr const char* op = "lstm";
  check_input(op, "x", x, 3);
  check_input(op, "w_hh", w_hh, 2);
  const Tensor& t = x.tensor;
  const std::int64_t hidden = w_hh.tensor.shape()[1];
  const std::int64_t steps = t.shape()[batch_first ? 1 : 0], batch = t.shape()[batch_first ? 0 : 1];
  const std::int64_t input = t.shape()[2];
  check_like(op, "w_hh", w_hh, {4 * hidden, hidden}, x);
  check_like(op, "w_ih", w_ih, {4 * hidden, input}, x);
  check_raw_operand(op, "b_ih", b_ih, {4 * hidden}, t.dtype());
  check_raw_operand(op, "b_hh", b_hh, {4 * hidden}, t.dtype());
  check_raw_operand(op, "h0", h0, {batch, hidden}, t.dtype());
  check_raw_operand(op, "c0", c0, {batch, hidden}, t.dtype());
  Tensor y =
      raw_output({.op = op, .shape = {t.shape()[0], t.shape()[1], hidden}, .dtype = t.dtype()}, out,
                 {&x, &w_ih, &w_hh, &b_ih, &b_hh, &h0, &c0});
  Tensor h = empty({batch, hidden}, t.dtype()), c = empty({batch, hidden}, t.dtype());
  kernels::rnn_forward(t.dtype(), {.shape = {.kind = kernels::RnnKind::lstm,
                                             .steps = steps,
                                             .batch = batch,
                                             .input = input,
                                             .hidden = hidden,
                                             .batch_first = batch_first,
                                             .reverse = reverse},
                                   .x = t.data(),
                                   .x_row = input,
                                   .w_ih = data(w_ih),
                                   .w_hh = data(w_hh),
                                   .b_ih = data(b_ih),
                                   .b_hh = data(b_hh),
                                   .h0 = data(h0),
                                   .c0 = data(c0),
                                   .y = y.data(),
                                   .y_row = hidden,
                                   .hT = h.data(),
                                   .cT = c.data()});
  return {raw_result(y, out, x), raw_result(h, {}, x), raw_result(c, {}, x)};
}

// ---- optimizer steps ----

void check_finite(const char* op, const char* argument, double v) {
  GS_CHECK(std::isfinite(v), "{}: argument '{}' must be finite, got {}", op, argument, v);
}
// What a step writes must not overlap anything else that it reads or writes.
void check_state(const char* op, const char* argument, const RawArray& a, const RawArray& param,
                 std::initializer_list<const RawArray*> others) {
  if (!a) return;
  raw_output({.op = op,
              .argument = argument,
              .shape = param.tensor.shape(),
              .dtype = param.tensor.dtype()},
             a, others);
}

// After the kernel has written into tensors of ours.
void changed(std::initializer_list<const RawArray*> written) {
  for (const RawArray* array : written)
    if (*array) array->tensor.bump_version();
}

void sgd_step(const RawArray& param, const RawArray& grad, const RawArray& momentum_buffer,
              double lr, double momentum, double dampening, double weight_decay, bool nesterov) {
  constexpr const char* op = "sgd_step";
  check_raw_float(op, "param", param);
  check_like(op, "grad", grad, param.tensor.shape(), param);
  check_state(op, "param", param, param, {&grad, &momentum_buffer});
  check_state(op, "momentum_buffer", momentum_buffer, param, {&grad, &param});
  check_finite(op, "lr", lr);
  check_finite(op, "momentum", momentum);
  check_finite(op, "dampening", dampening);
  check_finite(op, "weight_decay", weight_decay);
  GS_CHECK(momentum == 0 || momentum_buffer,
           "{}: argument 'momentum' is {}, which needs 'momentum_buffer'", op, momentum);
  const kernels::SgdStep step{
      .param = mutable_data(param),
      .grad = data(grad),
      .momentum_buffer = momentum == 0 ? nullptr : mutable_data(momentum_buffer),
      .count = param.tensor.numel(),
      .lr = lr,
      .momentum = momentum,
      .dampening = dampening,
      .weight_decay = weight_decay,
      .nesterov = nesterov};
  kernels::optimizer_step(param.tensor.dtype(), &step, 1);
  changed({&param, &momentum_buffer});
}

void adam_step(const RawArray& param, const RawArray& grad, const RawArray& exp_avg,
               const RawArray& exp_avg_sq, std::int64_t step, double lr, double beta1, double beta2,
               double eps, double weight_decay, bool decoupled) {
  constexpr const char* op = "adam_step";
  check_raw_float(op, "param", param);
  check_like(op, "grad", grad, param.tensor.shape(), param);
  check_like(op, "exp_avg", exp_avg, param.tensor.shape(), param);
  check_like(op, "exp_avg_sq", exp_avg_sq, param.tensor.shape(), param);
  check_state(op, "param", param, param, {&grad, &exp_avg, &exp_avg_sq});
  check_state(op, "exp_avg", exp_avg, param, {&grad, &exp_avg_sq});
  check_state(op, "exp_avg_sq", exp_avg_sq, param, {&grad});
  GS_CHECK(step >= 1, "{}: argument 'step' must be at least 1, got {}", op, step);
  GS_CHECK(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1,
           "{}: beta1 and beta2 must be in [0, 1), got {} and {}", op, beta1, beta2);
  check_finite(op, "lr", lr);
  check_finite(op, "eps", eps);
  check_finite(op, "weight_decay", weight_decay);
  const kernels::AdamStep args{
      .param = mutable_data(param),
      .grad = data(grad),
      .exp_avg = mutable_data(exp_avg),
      .exp_avg_sq = mutable_data(exp_avg_sq),
      .max_exp_avg_sq = nullptr,
      .count = param.tensor.numel(),
      .lr = lr,
      .step_size = lr / (1 - std::pow(beta1, double(step))),
      .bias_correction2_sqrt = std::sqrt(1 - std::pow(beta2, double(step))),
      .beta1 = beta1,
      .beta2 = beta2,
      .eps = eps,
      .weight_decay = weight_decay,
      .decoupled = decoupled};
  kernels::optimizer_step(param.tensor.dtype(), &args, 1);
  changed({&param, &exp_avg, &exp_avg_sq});
}

}  // namespace

void bind_nn_kernels(Binder& b) {
  b.function<&conv2d>("conv2d",
                      "x, w, bias=None, stride=1, padding=0, dilation=1, groups=1, out=None, "
                      "activation='none', slope=0.01",
                      "Convolution.");
  b.function<&conv2d_input_grad>("conv2d_input_grad",
                                 "dy, w, x_shape, stride=1, padding=0, dilation=1, groups=1, "
                                 "out=None",
                                 "Its adjoint in the images.");
  b.function<&conv2d_weight_grad>("conv2d_weight_grad",
                                  "dy, x, w_shape, stride=1, padding=0, dilation=1, groups=1, "
                                  "out=None",
                                  "Its adjoint in the weights.");
  b.function<&max_pool2d>("max_pool2d",
                          "x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, "
                          "out=None, indices=None",
                          "Maximum of windows.");
  b.function<&avg_pool2d>("avg_pool2d",
                          "x, kernel_size, stride=None, padding=0, ceil_mode=False, "
                          "count_include_pad=True, out=None",
                          "Mean of windows.");
  b.function<&norm_rows>("norm_rows", "rms, x, weight=None, bias=None, eps=1e-5, out=None",
                         "Layer or RMS norm.");
  b.function<&batch_norm_stats>("batch_norm_stats", "x", "Mean and biased variance of channels.");
  b.function<&batch_norm>("batch_norm", "x, mean, var, weight=None, bias=None, eps=1e-5, out=None",
                          "Normalises channels.");
  b.function<&dropout>("dropout", "x, p=0.5, seed=None, out=None, mask=None", "Dropout.");
  b.function<&lstm>("lstm",
                    "x, w_ih, w_hh, b_ih=None, b_hh=None, h0=None, c0=None, batch_first=False, "
                    "reverse=False, out=None",
                    "One LSTM layer over a whole sequence.");
  b.function<&sgd_step>("sgd_step",
                        "param, grad, momentum_buffer=None, lr=0.01, momentum=0.0, dampening=0.0, "
                        "weight_decay=0.0, nesterov=False",
                        "SGD in place.");
  b.function<&adam_step>("adam_step",
                         "param, grad, exp_avg, exp_avg_sq, step, lr=0.001, beta1=0.9, "
                         "beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled=False",
                         "Adam or AdamW in place.");
}

}  // namespace gradsmith::python
