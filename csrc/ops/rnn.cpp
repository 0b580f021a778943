// A whole sequence through one direction of one LSTM layer (Hochreiter and Schmidhuber 1997, with
// forget gates), gate order i, f, g, o. Gradients of gradients go step by step through simple ops.
#include "kernels/rnn/rnn.h"

#include "ops/common.h"

namespace gradsmith::ops {

namespace {

kernels::RnnShape rnn_shape(const Tensor& x, std::int64_t hidden, bool reverse) {
  return {.kind = kernels::RnnKind::lstm,
          .steps = x.size(0),
          .batch = x.size(1),
          .input = x.size(2),
          .hidden = hidden,
          .reverse = reverse};
}
const void* data_or_null(const Tensor& t) { return t.defined() ? t.data() : nullptr; }
Tensor dense_or_none(const Tensor& t) { return t.defined() ? contiguous(t.detach()) : Tensor(); }
Tensor wanted(bool want, const Tensor& like) {
  return want ? empty(like.shape(), like.dtype()) : Tensor();
}
void* pointer(const Tensor& t) { return t.defined() ? t.data() : nullptr; }

std::vector<Tensor> step_by_step(const std::vector<Tensor>& in, bool reverse) {
  const Tensor &x = in[0], &w_ih = in[3], &w_hh = in[4], &b_ih = in[5], &b_hh = in[6];
  Tensor h = in[1], c = in[2];
  const std::int64_t steps = x.size(0);
  std::vector<Tensor> outputs(static_cast<std::size_t>(steps));
  for (std::int64_t i = 0; i < steps; ++i) {
    const std::int64_t at = reverse ? steps - 1 - i : i;
    const Tensor gates = add(linear(select(x, 0, at), w_ih, b_ih), linear(h, w_hh, b_hh));
    const std::vector<Tensor> g = chunk(gates, 4, 1);
    c = add(mul(sigmoid(g[1]), c), mul(sigmoid(g[0]), tanh(g[2])));
    h = mul(sigmoid(g[3]), tanh(c));
    outputs[std::size_t(at)] = h;
  }
  const Dims empty_shape{0, x.size(1), w_hh.size(1)};
  return {steps ? stack(outputs, 0) : zeros(empty_shape, x.dtype()), h, c};
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> lstm_layer(const Tensor& input, const Tensor& h0,
                                              const Tensor& c0, const Tensor& w_ih,
                                              const Tensor& w_hh, const Tensor& b_ih,
                                              const Tensor& b_hh, bool reverse) {
  constexpr const char* op = "lstm";
  check_rank(op, "input", input, 3);
  check_float(op, "input", input);
  check_cpu(op, input);
  check_rank(op, "w_ih", w_ih, 2);
  check_rank(op, "w_hh", w_hh, 2);
  const std::int64_t steps = input.size(0), batch = input.size(1), hidden = w_hh.size(1);
  const auto check_shape = [&](const char* name, const Tensor& t, const Dims& shape) {
    check_defined(op, name, t);
    GS_CHECK(t.shape() == shape, "{}: argument '{}' must have shape {}, got {}", op, name, shape,
             t.shape());
    check_same_dtype(op, name, t, "input", input);
  };
  check_shape("w_ih", w_ih, {4 * hidden, input.size(2)});
  check_shape("w_hh", w_hh, {4 * hidden, hidden});
  check_shape("h0", h0, {batch, hidden});
  check_shape("c0", c0, {batch, hidden});
  check_vector(op, "b_ih", b_ih, 4 * hidden, input);
  check_vector(op, "b_hh", b_hh, 4 * hidden, input);

  const DType dtype = input.dtype();
  const kernels::RnnShape shape = rnn_shape(input, hidden, reverse);
  const Tensor x = contiguous(input.detach()), wi = contiguous(w_ih.detach()),
               wh = contiguous(w_hh.detach()), bi = dense_or_none(b_ih), bh = dense_or_none(b_hh),
               h = contiguous(h0.detach()), c = contiguous(c0.detach());
  const bool taped = tracked(input, h0, c0, w_ih, w_hh, b_ih, b_hh);
  Tensor y = empty({steps, batch, hidden}, dtype), hT = empty({batch, hidden}, dtype),
         cT = empty({batch, hidden}, dtype), reserve;
  if (taped) reserve = empty({std::int64_t(kernels::rnn_reserve_bytes(dtype, shape))}, DType::u8);
  kernels::rnn_forward(dtype, {.shape = shape,
                               .x = x.data(),
                               .x_row = shape.input,
                               .w_ih = wi.data(),
                               .w_hh = wh.data(),
                               .b_ih = data_or_null(bi),
                               .b_hh = data_or_null(bh),
                               .h0 = h.data(),
                               .c0 = c.data(),
                               .y = y.data(),
                               .y_row = hidden,
                               .hT = hT.data(),
                               .cT = cT.data(),
                               .reserve = pointer(reserve)});
  if (!taped) return {y, hT, cT};
  record_all(
      op, {y, hT, cT}, Inputs{input, h0, c0, w_ih, w_hh, b_ih, b_hh},
      [=, input = save(input), h0 = save(h0), c0 = save(c0), w_ih = save(w_ih), w_hh = save(w_hh),
       b_ih = save(b_ih), b_hh = save(b_hh), reserve = save(reserve),
       y = save_output(y, 0)](const Grads& g) {
        const std::vector<Tensor> in{input.unpack(g), h0.unpack(g),   c0.unpack(g),  w_ih.unpack(g),
                                     w_hh.unpack(g),  b_ih.unpack(g), b_hh.unpack(g)};
        if (grad_enabled())
          return through_composite(g, in, [reverse](const std::vector<Tensor>& shadows) {
            return step_by_step(shadows, reverse);
          });
        std::vector<Tensor> dense, out;
        for (std::size_t i = 0; i < in.size(); ++i) {
          dense.push_back(dense_or_none(in[i]));
          out.push_back(wanted(g.needs(i), in[i]));
        }
        const Tensor dy = dense_or_none(g[0]), dh = dense_or_none(g[1]), dc = dense_or_none(g[2]);
        const Tensor result = y.unpack(g);
        kernels::rnn_backward(dtype, {.shape = shape,
                                      .x = dense[0].data(),
                                      .x_row = shape.input,
                                      .w_ih = dense[3].data(),
                                      .w_hh = dense[4].data(),
                                      .h0 = dense[1].data(),
                                      .c0 = dense[2].data(),
                                      .y = result.data(),
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
      });
  return {y, hT, cT};
}

}  // namespace gradsmith::ops
