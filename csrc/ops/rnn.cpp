// A whole sequence through one direction of one recurrent layer: LSTM (Hochreiter and Schmidhuber
// 1997, with forget gates; gate order i, f, g, o), GRU (Cho et al. 2014; r, z, n, with the reset
// gate after the product) and the plain RNN (Elman 1990). Gradients of gradients go step by step
// through simple ops.
#include "ops/rnn.h"

#include "gradsmith/autocast.h"

namespace gradsmith::ops {

namespace {

using kernels::RnnKind;

struct Layer {
  const char* op;
  RnnKind kind;
  bool reverse;

  std::int64_t gates() const { return kernels::rnn_gates(kind); }
};

Tensor dense_or_none(const Tensor& t) { return t.defined() ? contiguous(t.detach()) : Tensor(); }
// h, and for LSTM c, after one step; `in` is the input's part of the gates.
std::vector<Tensor> one_step(const Layer& layer, const Tensor& in, const Tensor& h, const Tensor& c,
                             const std::vector<Tensor>& weights) {
  const Tensor back = linear(h, weights[1], weights[3]);
  switch (layer.kind) {
    case RnnKind::lstm: {
      const std::vector<Tensor> g = chunk(add(in, back), 4, 1);
      const Tensor cell = add(mul(sigmoid(g[1]), c), mul(sigmoid(g[0]), tanh(g[2])));
      const Tensor out = mul(sigmoid(g[3]), tanh(cell));
      return {weights[4].defined() ? linear(out, weights[4]) : out, cell};
    }
    case RnnKind::gru: {
      const std::vector<Tensor> a = chunk(in, 3, 1), b = chunk(back, 3, 1);
      const Tensor r = sigmoid(add(a[0], b[0])), z = sigmoid(add(a[1], b[1]));
      const Tensor n = tanh(add(a[2], mul(r, b[2])));
      return {add(n, mul(z, sub(h, n)))};
    }
    case RnnKind::rnn_tanh:
      return {tanh(add(in, back))};
    default:
      return {relu(add(in, back))};
  }
}

// What the kernel computes, by ops: y, h and, for LSTM, c. Inputs are in the order of Arguments.
std::vector<Tensor> step_by_step(const Layer& layer, const std::vector<Tensor>& in,
                                 const Tensor& batch_sizes) {
  const std::vector<Tensor> weights(in.begin() + 3, in.end());
  const Tensor x = linear(in[0], weights[0], weights[2]);
  std::vector<Tensor> state{in[1]};
  if (layer.kind == RnnKind::lstm) state.push_back(in[2]);
  const std::int64_t batch = in[1].size(0);
  std::vector<Tensor> parts;  // of x
  if (batch_sizes.defined()) {
    const auto* sizes = static_cast<const std::int64_t*>(batch_sizes.data());
    for (std::int64_t t = 0, row = 0; t < batch_sizes.size(0); row += sizes[t++])
      parts.push_back(narrow(x, 0, row, sizes[t]));
  } else {
    parts = unbind(x, 0);
  }
  const std::size_t steps = parts.size();
  std::vector<Tensor> outputs(steps);
  for (std::size_t i = 0; i < steps; ++i) {
    const std::size_t at = layer.reverse ? steps - 1 - i : i;
    const std::int64_t rows = parts[at].size(0);
    std::vector<Tensor> old, idle;  // the states of those that take part, and of the others
    for (const Tensor& s : state) {
      old.push_back(rows == batch ? s : narrow(s, 0, 0, rows));
      idle.push_back(rows == batch ? Tensor() : narrow(s, 0, rows, batch - rows));
    }
    state = one_step(layer, parts[at], old[0], old.size() > 1 ? old[1] : Tensor(), weights);
    outputs[at] = state[0];
    for (std::size_t k = 0; k < state.size(); ++k)
      if (idle[k].defined()) state[k] = cat({state[k], idle[k]}, 0);
  }
  Dims nothing = x.shape();
  nothing[nothing.size() - 1] = weights[1].size(1);
  const Tensor y = steps == 0              ? zeros(nothing, x.dtype(), x.device())
                   : batch_sizes.defined() ? cat(outputs, 0)
                                           : stack(outputs, 0);
  state.insert(state.begin(), y);
  return state;
}

void check_batch_sizes(const char* op, const Tensor& sizes, std::int64_t batch, std::int64_t rows) {
  GS_CHECK_TYPE(sizes.dtype() == DType::i64, "{}: argument 'batch_sizes' must be int64, got {}", op,
                sizes.dtype());
  check_rank(op, "batch_sizes", sizes, 1);
  const auto* values = static_cast<const std::int64_t*>(sizes.data());
  std::int64_t sum = 0, most = batch;
  for (std::int64_t t = 0; t < sizes.size(0); most = values[t++]) {
    GS_CHECK(values[t] >= 0 && values[t] <= most,
             "{}: argument 'batch_sizes' must never rise and be in [0, {}], got {} at {}", op,
             batch, values[t], t);
    sum += values[t];
  }
  GS_CHECK(sum == rows, "{}: argument 'batch_sizes' must add up to the input's {} rows, got {}", op,
           rows, sum);
}

struct Arguments {  // w_hr projects the h of LSTM
  const Tensor &input, &h0, &c0, &w_ih, &w_hh, &b_ih, &b_hh, &w_hr, &batch_sizes;
};

// Returns y, h and, for LSTM, c.
std::vector<Tensor> run_layer(const Layer& layer, const Arguments& arguments) {
  const auto& [input, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, batch_sizes] = arguments;
  const char* const op = layer.op;
  const bool has_c = layer.kind == RnnKind::lstm;
  const bool packed = batch_sizes.defined(), projects = w_hr.defined();
  check_rank(op, "input", input, packed ? 2 : 3);
  check_float(op, "input", input);
  check_rank(op, "w_ih", w_ih, 2);
  check_rank(op, "w_hh", w_hh, 2);
  if (projects) check_rank(op, "w_hr", w_hr, 2);
  check_rank(op, "h0", h0, 2);
  const std::int64_t steps = packed ? batch_sizes.numel() : input.size(0);
  const std::int64_t batch = packed ? h0.size(0) : input.size(1);
  const std::int64_t features = input.shape().back(), h_size = w_hh.size(1);
  const std::int64_t hidden = projects ? w_hr.size(1) : h_size;
  const std::int64_t rows = layer.gates() * hidden;
  const auto check_shape = [&](const char* name, const Tensor& t, const Dims& shape) {
    check_defined(op, name, t);
    GS_CHECK(t.shape() == shape, "{}: argument '{}' must have shape {}, got {}", op, name, shape,
             t.shape());
    check_same_dtype(op, name, t, "input", input);
  };
  check_shape("w_ih", w_ih, {rows, features});
  check_shape("w_hh", w_hh, {rows, h_size});
  if (projects) check_shape("w_hr", w_hr, {h_size, hidden});
  check_shape("h0", h0, {batch, h_size});
  if (has_c) check_shape("c0", c0, {batch, hidden});
  check_vector(op, "b_ih", b_ih, rows, input);
  check_vector(op, "b_hh", b_hh, rows, input);

  const DType dtype = input.dtype();
  const Device device = input.device();
  // On the CPU; kept by the rule, for the shape points into it.
  const Tensor sizes = packed ? contiguous(to_device(batch_sizes.detach(), {})) : Tensor();
  if (packed) check_batch_sizes(op, sizes, batch, input.size(0));
  if (projects && !on_cpu(input))  // CUDA's kernel has no projection
    return step_by_step(layer, {input, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr}, sizes);
  const kernels::RnnShape shape{.kind = layer.kind,
                                .steps = steps,
                                .batch = batch,
                                .input = features,
                                .hidden = hidden,
                                .projection = projects ? h_size : 0,
                                .reverse = layer.reverse,
                                .batch_sizes = packed ? sizes.data_as<std::int64_t>() : nullptr};
  const Tensor x = contiguous(input.detach()), wi = contiguous(w_ih.detach()),
               wh = contiguous(w_hh.detach()), bi = dense_or_none(b_ih), bh = dense_or_none(b_hh),
               wr = dense_or_none(w_hr), h = contiguous(h0.detach()), c = dense_or_none(c0);
  const bool taped = tracked(input, h0, w_ih, w_hh, b_ih, b_hh) || (has_c && tracked(c0, w_hr));
  Dims y_shape = input.shape();
  y_shape[y_shape.size() - 1] = h_size;
  std::vector<Tensor> result{empty(y_shape, dtype, device), empty({batch, h_size}, dtype, device)};
  if (has_c) result.push_back(empty({batch, hidden}, dtype, device));
  Tensor reserve;
  if (taped)
    reserve = empty({std::int64_t(kernels::rnn_reserve_bytes(dtype, shape))}, DType::u8, device);
  const bool rounded = dtype == DType::f32 && autocast_enabled() && on_cpu(input);
  KeptScope input_scope = keep_packed(w_ih), state_scope = keep_packed(w_hh),
            projection_scope = projects ? keep_packed(w_hr) : KeptScope(nullptr, nullptr);
  const RnnTensors tensors{.x = x,
                           .w_ih = wi,
                           .w_hh = wh,
                           .b_ih = bi,
                           .b_hh = bh,
                           .w_hr = wr,
                           .h0 = h,
                           .c0 = c,
                           .y = result[0],
                           .reserve = reserve};
  dispatch::rnn_forward(shape, tensors, result[1], has_c ? result[2] : Tensor(), rounded);
  if (!taped) return result;
  auto rule = [=, input = save(input), h0 = save(h0), c0 = save(c0), w_ih = save(w_ih),
               w_hh = save(w_hh), b_ih = save(b_ih), b_hh = save(b_hh), w_hr = save(w_hr),
               reserve = save(reserve), y = save_output(result[0], 0)](const Grads& g) {
    const std::vector<Tensor> in{input.unpack(g), h0.unpack(g),   c0.unpack(g),   w_ih.unpack(g),
                                 w_hh.unpack(g),  b_ih.unpack(g), b_hh.unpack(g), w_hr.unpack(g)};
    if (grad_enabled()) {
      const AutocastGuard as_forward(rounded);
      return through_composite(g, in, [&](const std::vector<Tensor>& shadows) {
        return step_by_step(layer, shadows, sizes);
      });
    }
    const RnnTensors kept{.x = dense_or_none(in[0]),
                          .w_ih = dense_or_none(in[3]),
                          .w_hh = dense_or_none(in[4]),
                          .b_ih = {},
                          .b_hh = {},
                          .w_hr = dense_or_none(in[7]),
                          .h0 = dense_or_none(in[1]),
                          .c0 = dense_or_none(in[2]),
                          .y = y.unpack(g),
                          .reserve = reserve.unpack(g)};
    RnnGradients out;
    Tensor* const wanted[] = {&out.x,    &out.h0,   &out.c0,   &out.w_ih,
                              &out.w_hh, &out.b_ih, &out.b_hh, &out.w_hr};
    for (std::size_t i = 0; i < in.size(); ++i)
      if (g.needs(i)) *wanted[i] = empty(in[i].shape(), in[i].dtype(), in[i].device());
    dispatch::rnn_backward(shape, kept, dense_or_none(g[0]), dense_or_none(g[1]),
                           has_c ? dense_or_none(g[2]) : Tensor(), out, rounded);
    TensorList list;
    for (Tensor* gradient : wanted) list.push_back(std::move(*gradient));
    return list;
  };
  const Inputs inputs{input, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr};
  if (has_c) {
    record_all(op, {result[0], result[1], result[2]}, inputs, std::move(rule));
  } else {
    record_all(op, {result[0], result[1]}, inputs, std::move(rule));
  }
  return result;
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> lstm_layer(const Tensor& input, const Tensor& h0,
                                              const Tensor& c0, const Tensor& w_ih,
                                              const Tensor& w_hh, const Tensor& b_ih,
                                              const Tensor& b_hh, bool reverse,
                                              const Tensor& batch_sizes, const Tensor& w_hr) {
  const std::vector<Tensor> y = run_layer(
      {"lstm", RnnKind::lstm, reverse}, {input, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, batch_sizes});
  return {y[0], y[1], y[2]};
}

std::tuple<Tensor, Tensor> gru_layer(const Tensor& input, const Tensor& h0, const Tensor& w_ih,
                                     const Tensor& w_hh, const Tensor& b_ih, const Tensor& b_hh,
                                     bool reverse, const Tensor& batch_sizes) {
  const std::vector<Tensor> y = run_layer({"gru", RnnKind::gru, reverse},
                                          {input, h0, {}, w_ih, w_hh, b_ih, b_hh, {}, batch_sizes});
  return {y[0], y[1]};
}

std::tuple<Tensor, Tensor> rnn_layer(const Tensor& input, const Tensor& h0, const Tensor& w_ih,
                                     const Tensor& w_hh, const Tensor& b_ih, const Tensor& b_hh,
                                     bool reverse, const Tensor& batch_sizes,
                                     const std::string& nonlinearity) {
  GS_CHECK(nonlinearity == "tanh" || nonlinearity == "relu",
           "rnn: argument 'nonlinearity' must be 'tanh' or 'relu', got '{}'", nonlinearity);
  const RnnKind kind = nonlinearity == "tanh" ? RnnKind::rnn_tanh : RnnKind::rnn_relu;
  const std::vector<Tensor> y =
      run_layer({"rnn", kind, reverse}, {input, h0, {}, w_ih, w_hh, b_ih, b_hh, {}, batch_sizes});
  return {y[0], y[1]};
}

}  // namespace gradsmith::ops
