// A whole sequence through one direction of one recurrent layer: LSTM (Hochreiter and Schmidhuber
// 1997, with forget gates; gate order i, f, g, o), GRU (Cho et al. 2014; r, z, n, with the reset
// gate after the product) and the plain RNN (Elman 1990). Gradients of gradients go step by step
// through simple ops.
#include "kernels/rnn/rnn.h"

#include "ops/common.h"

namespace gradsmith::ops {

namespace {

using kernels::RnnKind;

struct Layer {
  const char* op;
  RnnKind kind;
  bool reverse;

  std::int64_t gates() const { return kernels::rnn_gates(kind); }
};

const void* data_or_null(const Tensor& t) { return t.defined() ? t.data() : nullptr; }
Tensor dense_or_none(const Tensor& t) { return t.defined() ? contiguous(t.detach()) : Tensor(); }
Tensor wanted(bool want, const Tensor& like) {
  return want ? empty(like.shape(), like.dtype()) : Tensor();
}
void* pointer(const Tensor& t) { return t.defined() ? t.data() : nullptr; }

// h, and for LSTM c, after one step from x.
std::vector<Tensor> one_step(const Layer& layer, const Tensor& x, const Tensor& h, const Tensor& c,
                             const std::vector<Tensor>& weights) {
  const Tensor in = linear(x, weights[0], weights[2]), back = linear(h, weights[1], weights[3]);
  switch (layer.kind) {
    case RnnKind::lstm: {
      const std::vector<Tensor> g = chunk(add(in, back), 4, 1);
      const Tensor cell = add(mul(sigmoid(g[1]), c), mul(sigmoid(g[0]), tanh(g[2])));
      return {mul(sigmoid(g[3]), tanh(cell)), cell};
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

// What the kernel computes, by ops: y, h and, for LSTM, c. Inputs are in the order of run_layer.
std::vector<Tensor> step_by_step(const Layer& layer, const std::vector<Tensor>& in,
                                 const Tensor& lengths) {
  const Tensor& x = in[0];
  const std::vector<Tensor> weights(in.begin() + 3, in.end());
  std::vector<Tensor> state{in[1]};
  if (layer.kind == RnnKind::lstm) state.push_back(in[2]);
  const std::int64_t steps = x.size(0);
  std::vector<Tensor> outputs(static_cast<std::size_t>(steps));
  for (std::int64_t i = 0; i < steps; ++i) {
    const std::int64_t at = layer.reverse ? steps - 1 - i : i;
    const Tensor c = state.size() > 1 ? state[1] : Tensor();
    const std::vector<Tensor> next = one_step(layer, select(x, 0, at), state[0], c, weights);
    Tensor& y = outputs[std::size_t(at)];
    if (lengths.defined()) {
      const Tensor runs = unsqueeze(gt(lengths, Operand(at)), 1);
      y = where(runs, next[0], Operand(zeros_like(next[0])));
      for (std::size_t s = 0; s < state.size(); ++s) state[s] = where(runs, next[s], state[s]);
    } else {
      y = next[0];
      state = next;
    }
  }
  const Dims empty_shape{0, x.size(1), weights[1].size(1)};
  state.insert(state.begin(), steps ? stack(outputs, 0) : zeros(empty_shape, x.dtype()));
  return state;
}

void check_lengths(const char* op, const Tensor& lengths, std::int64_t batch, std::int64_t steps) {
  if (!lengths.defined()) return;
  check_cpu(op, lengths);
  GS_CHECK_TYPE(lengths.dtype() == DType::i64, "{}: argument 'lengths' must be int64, got {}", op,
                lengths.dtype());
  GS_CHECK(lengths.shape() == Dims{batch}, "{}: argument 'lengths' must have shape ({},), got {}",
           op, batch, lengths.shape());
  const Tensor dense = contiguous(lengths);
  const auto* values = static_cast<const std::int64_t*>(dense.data());
  for (std::int64_t b = 0; b < batch; ++b)
    GS_CHECK(values[b] >= 0 && values[b] <= steps,
             "{}: argument 'lengths' must be in [0, {}], got {} at {}", op, steps, values[b], b);
}

// Returns y, h and, for LSTM, c.
std::vector<Tensor> run_layer(const Layer& layer, const Tensor& input, const Tensor& h0,
                              const Tensor& c0, const Tensor& w_ih, const Tensor& w_hh,
                              const Tensor& b_ih, const Tensor& b_hh, const Tensor& lengths) {
  const char* const op = layer.op;
  const bool has_c = layer.kind == RnnKind::lstm;
  check_rank(op, "input", input, 3);
  check_float(op, "input", input);
  check_cpu(op, input);
  check_rank(op, "w_ih", w_ih, 2);
  check_rank(op, "w_hh", w_hh, 2);
  const std::int64_t steps = input.size(0), batch = input.size(1), hidden = w_hh.size(1);
  const std::int64_t rows = layer.gates() * hidden;
  const auto check_shape = [&](const char* name, const Tensor& t, const Dims& shape) {
    check_defined(op, name, t);
    GS_CHECK(t.shape() == shape, "{}: argument '{}' must have shape {}, got {}", op, name, shape,
             t.shape());
    check_same_dtype(op, name, t, "input", input);
  };
  check_shape("w_ih", w_ih, {rows, input.size(2)});
  check_shape("w_hh", w_hh, {rows, hidden});
  check_shape("h0", h0, {batch, hidden});
  if (has_c) check_shape("c0", c0, {batch, hidden});
  check_vector(op, "b_ih", b_ih, rows, input);
  check_vector(op, "b_hh", b_hh, rows, input);
  check_lengths(op, lengths, batch, steps);

  const DType dtype = input.dtype();
  const Tensor counts = dense_or_none(lengths);  // kept by the rule: the shape points into it
  const kernels::RnnShape shape{.kind = layer.kind,
                                .steps = steps,
                                .batch = batch,
                                .input = input.size(2),
                                .hidden = hidden,
                                .reverse = layer.reverse,
                                .lengths = static_cast<const std::int64_t*>(data_or_null(counts))};
  const Tensor x = contiguous(input.detach()), wi = contiguous(w_ih.detach()),
               wh = contiguous(w_hh.detach()), bi = dense_or_none(b_ih), bh = dense_or_none(b_hh),
               h = contiguous(h0.detach()), c = dense_or_none(c0);
  const bool taped = tracked(input, h0, w_ih, w_hh, b_ih, b_hh) || (has_c && tracked(c0));
  std::vector<Tensor> result{empty({steps, batch, hidden}, dtype), empty({batch, hidden}, dtype)};
  if (has_c) result.push_back(empty({batch, hidden}, dtype));
  Tensor reserve;
  if (taped) reserve = empty({std::int64_t(kernels::rnn_reserve_bytes(dtype, shape))}, DType::u8);
  kernels::rnn_forward(dtype, {.shape = shape,
                               .x = x.data(),
                               .x_row = shape.input,
                               .w_ih = wi.data(),
                               .w_hh = wh.data(),
                               .b_ih = data_or_null(bi),
                               .b_hh = data_or_null(bh),
                               .h0 = h.data(),
                               .c0 = data_or_null(c),
                               .y = result[0].data(),
                               .y_row = hidden,
                               .hT = result[1].data(),
                               .cT = has_c ? result[2].data() : nullptr,
                               .reserve = pointer(reserve)});
  if (!taped) return result;
  auto rule = [=, input = save(input), h0 = save(h0), c0 = save(c0), w_ih = save(w_ih),
               w_hh = save(w_hh), b_ih = save(b_ih), b_hh = save(b_hh), reserve = save(reserve),
               y = save_output(result[0], 0)](const Grads& g) {
    const std::vector<Tensor> in{input.unpack(g), h0.unpack(g),   c0.unpack(g),  w_ih.unpack(g),
                                 w_hh.unpack(g),  b_ih.unpack(g), b_hh.unpack(g)};
    if (grad_enabled())
      return through_composite(g, in, [&](const std::vector<Tensor>& shadows) {
        return step_by_step(layer, shadows, counts);
      });
    std::vector<Tensor> dense, out;
    for (std::size_t i = 0; i < in.size(); ++i) {
      dense.push_back(dense_or_none(in[i]));
      out.push_back(wanted(g.needs(i), in[i]));
    }
    const Tensor dy = dense_or_none(g[0]), dh = dense_or_none(g[1]),
                 dc = has_c ? dense_or_none(g[2]) : Tensor();
    const Tensor outputs = y.unpack(g);
    kernels::rnn_backward(dtype, {.shape = shape,
                                  .x = dense[0].data(),
                                  .x_row = shape.input,
                                  .w_ih = dense[3].data(),
                                  .w_hh = dense[4].data(),
                                  .h0 = dense[1].data(),
                                  .c0 = data_or_null(dense[2]),
                                  .y = outputs.data(),
                                  .y_row = shape.hidden,
                                  .reserve = reserve.unpack(g).data(),
                                  .dy = data_or_null(dy),
                                  .dy_row = shape.hidden,
                                  .dhT = data_or_null(dh),
                                  .dcT = data_or_null(dc),
                                  .dx = pointer(out[0]),
                                  .dx_row = shape.input,
                                  .dw_ih = pointer(out[3]),
                                  .dw_hh = pointer(out[4]),
                                  .db_ih = pointer(out[5]),
                                  .db_hh = pointer(out[6]),
                                  .dh0 = pointer(out[1]),
                                  .dc0 = pointer(out[2])});
    TensorList list;
    for (Tensor& t : out) list.push_back(std::move(t));
    return list;
  };
  const Inputs inputs{input, h0, c0, w_ih, w_hh, b_ih, b_hh};
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
                                              const Tensor& lengths) {
  const std::vector<Tensor> y =
      run_layer({"lstm", RnnKind::lstm, reverse}, input, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths);
  return {y[0], y[1], y[2]};
}

std::tuple<Tensor, Tensor> gru_layer(const Tensor& input, const Tensor& h0, const Tensor& w_ih,
                                     const Tensor& w_hh, const Tensor& b_ih, const Tensor& b_hh,
                                     bool reverse, const Tensor& lengths) {
  const std::vector<Tensor> y =
      run_layer({"gru", RnnKind::gru, reverse}, input, h0, {}, w_ih, w_hh, b_ih, b_hh, lengths);
  return {y[0], y[1]};
}

std::tuple<Tensor, Tensor> rnn_layer(const Tensor& input, const Tensor& h0, const Tensor& w_ih,
                                     const Tensor& w_hh, const Tensor& b_ih, const Tensor& b_hh,
                                     bool reverse, const Tensor& lengths,
                                     const std::string& nonlinearity) {
  GS_CHECK(nonlinearity == "tanh" || nonlinearity == "relu",
           "rnn: argument 'nonlinearity' must be 'tanh' or 'relu', got '{}'", nonlinearity);
  const RnnKind kind = nonlinearity == "tanh" ? RnnKind::rnn_tanh : RnnKind::rnn_relu;
  const std::vector<Tensor> y =
      run_layer({"rnn", kind, reverse}, input, h0, {}, w_ih, w_hh, b_ih, b_hh, lengths);
  return {y[0], y[1]};
}

}  // namespace gradsmith::ops
