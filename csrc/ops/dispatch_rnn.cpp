// Recurrent layers: the CPU's drivers, or on CUDA products over all steps around one kernel for
// what goes step by step.
#include "kernels/gemm/gemm.h"  // before the elementwise kernels, whose names its enum would shadow

#include "ops/rnn.h"
#include "runtime/cuda.h"

namespace gradsmith::ops::dispatch {

namespace {

using kernels::RnnKind;
using kernels::RnnShape;

static_assert(int(cuda::RnnKind::gru) == int(RnnKind::gru) &&
              int(cuda::RnnKind::rnn_relu) == int(RnnKind::rnn_relu));

void* data_or_null(const Tensor& t) { return t.defined() ? t.data() : nullptr; }

// Rows of a packed batch in the order of its elements, on the CPU.
struct PackedRows {
  Tensor starts;    // of each step, and the end
  Tensor previous;  // of each row: where the state before it is in [h0; y]
  Tensor last;      // of each batch element, likewise

  explicit PackedRows(const RnnShape& s)
      : starts(empty({s.steps + 1}, DType::i64)), last(empty({s.batch}, DType::i64)) {
    auto* const start = starts.data_as<std::int64_t>();
    start[0] = 0;
    for (std::int64_t t = 0; t < s.steps; ++t) start[t + 1] = start[t] + s.batch_sizes[t];
    previous = empty({start[s.steps]}, DType::i64);
    auto* const before = previous.data_as<std::int64_t>();
    auto* const state = last.data_as<std::int64_t>();
    for (std::int64_t b = 0; b < s.batch; ++b) state[b] = b;
    for (std::int64_t step = 0; step < s.steps; ++step) {
      const std::int64_t t = s.reverse ? s.steps - 1 - step : step;
      for (std::int64_t b = 0; b < s.batch_sizes[t]; ++b) {
        before[start[t] + b] = state[b];
        state[b] = s.batch + start[t] + b;
      }
    }
  }
};

struct Sizes {
  std::int64_t rows, gates, saved;
  explicit Sizes(const RnnShape& s, const Tensor& y)
      : rows(s.outputs() > 0 ? y.numel() / s.outputs() : 0),
        gates(kernels::rnn_gates(s.kind)),
        saved(kernels::rnn_saved_gates(s.kind)) {}
};

Tensor as_rows(const Tensor& t, std::int64_t rows) { return reshape(t, {rows, t.shape().back()}); }

// The state before every row.
Tensor previous_states(const RnnShape& s, const Tensor& h0, const Tensor& y_rows,
                       const Tensor& previous) {
  const std::int64_t rows = y_rows.size(0);
  if (previous.defined())
    return index_select(cat({h0, y_rows}, 0), 0, to_device(previous, h0.device()));
  if (rows == 0) return y_rows;
  return s.reverse ? cat({narrow(y_rows, 0, s.batch, rows - s.batch), h0}, 0)
                   : cat({h0, narrow(y_rows, 0, 0, rows - s.batch)}, 0);
}

cuda::RnnArgs common_args(const RnnShape& s, const RnnTensors& t, const Tensor& starts,
                          char* reserve, const Sizes& n) {
  cuda::RnnArgs args{};
  args.kind = cuda::RnnKind(s.kind);
  args.dtype = t.y.dtype();
  args.reverse = s.reverse;
  args.steps = s.steps;
  args.batch = s.batch;
  args.hidden = s.hidden;
  args.starts = static_cast<const std::int64_t*>(data_or_null(starts));
  args.w_hh = t.w_hh.data();
  args.h0 = t.h0.data();
  args.c0 = data_or_null(t.c0);
  args.y = t.y.data();
  args.gates = reserve;
  if (s.kind == RnnKind::lstm)
    args.cells = reserve + n.rows * n.saved * s.hidden * std::int64_t(itemsize(t.y.dtype()));
  return args;
}

void forward_on_cuda(const RnnShape& s, const RnnTensors& t, const Tensor& hT, const Tensor& cT) {
  const NoGradGuard guard;
  const Device device = t.y.device();
  const Sizes n(s, t.y);
  const std::int64_t saved = n.saved * s.hidden;
  const Tensor gates = t.reserve.defined() ? Tensor() : empty({n.rows, saved}, t.y.dtype(), device);
  Tensor starts, last;
  if (s.batch_sizes) {
    const PackedRows packed(s);
    starts = to_device(packed.starts, device);
    last = to_device(packed.last, device);
  }
  auto* const reserve = static_cast<char*>((t.reserve.defined() ? t.reserve : gates).data());
  cuda::RnnArgs args = common_args(s, t, starts, reserve, n);
  if (!t.reserve.defined()) args.cells = nullptr;

  kernels::Gemm into_gates;
  into_gates.m = n.rows;
  into_gates.n = n.gates * s.hidden;
  into_gates.k = s.input;
  into_gates.a = {.data = t.x.data(), .rs = s.input, .cs = 1};
  into_gates.b = {.data = t.w_ih.data(), .rs = 1, .cs = s.input};
  into_gates.c = {.data = reserve, .rs = saved, .cs = 1};
  if (t.b_ih.defined()) into_gates.epilogue.bias = {.data = t.b_ih.data(), .rs = 0, .cs = 1};
  into_gates.source = t.y.dtype();
  gemm(t.y, into_gates, t.y.dtype());
  if (cT.defined()) {
    copy(cT, t.c0);
    args.c = cT.data();
  }
  args.b_hh = data_or_null(t.b_hh);
  cuda::rnn(device.index, args);

  const Tensor y_rows = as_rows(t.y, n.rows);
  if (last.defined())
    copy(hT, index_select(cat({t.h0, y_rows}, 0), 0, last));
  else if (s.steps == 0)
    copy(hT, t.h0);
  else
    copy(hT, narrow(y_rows, 0, s.reverse ? 0 : n.rows - s.batch, s.batch));
}

void backward_on_cuda(const RnnShape& s, const RnnTensors& t, const Tensor& dy, const Tensor& dhT,
                      const Tensor& dcT, const RnnGradients& out) {
  const Device device = t.y.device();
  const DType dtype = t.y.dtype();
  const Sizes n(s, t.y);
  const Dims state{s.batch, s.hidden};
  const auto running = [&](const Tensor& wanted, const Tensor& last) {
    const Tensor gradient = wanted.defined() ? wanted : empty(state, dtype, device);
    copy(gradient, last.defined() ? last : zeros(state, dtype, device));
    return gradient;
  };
  const Tensor dh = running(out.h0, dhT);
  const Tensor dc = s.kind == RnnKind::lstm ? running(out.c0, dcT) : Tensor();
  const Tensor d_in = empty({n.rows, n.gates * s.hidden}, dtype, device);
  const Tensor d_hidden = s.kind == RnnKind::gru ? empty_like(d_in) : d_in;
  Tensor starts, previous;
  if (s.batch_sizes) {
    const PackedRows packed(s);
    starts = to_device(packed.starts, device);
    previous = packed.previous;
  }
  cuda::RnnArgs args = common_args(s, t, starts, static_cast<char*>(t.reserve.data()), n);
  args.backward = true;
  args.dy = data_or_null(dy);
  args.d_in = d_in.data();
  args.d_hidden = d_hidden.data();
  args.dh = dh.data();
  args.dc = data_or_null(dc);
  cuda::rnn(device.index, args);

  if (out.x.defined()) copy(out.x, reshape(matmul(d_in, t.w_ih), out.x.shape()));
  if (out.w_ih.defined()) copy(out.w_ih, matmul(ops::t(d_in), as_rows(t.x, n.rows)));
  if (out.w_hh.defined())
    copy(out.w_hh,
         matmul(ops::t(d_hidden), previous_states(s, t.h0, as_rows(t.y, n.rows), previous)));
  if (out.b_ih.defined()) copy(out.b_ih, sum(d_in, Dims{0}));
  if (out.b_hh.defined()) copy(out.b_hh, sum(d_hidden, Dims{0}));
}

}  // namespace

void rnn_forward(const RnnShape& shape, const RnnTensors& t, const Tensor& hT, const Tensor& cT,
                 bool rounded) {
  if (!on_cpu(t.y)) return forward_on_cuda(shape, t, hT, cT);
  kernels::rnn_forward(t.y.dtype(), {.shape = shape,
                                     .x = t.x.data(),
                                     .x_row = shape.input,
                                     .w_ih = t.w_ih.data(),
                                     .w_hh = t.w_hh.data(),
                                     .b_ih = data_or_null(t.b_ih),
                                     .b_hh = data_or_null(t.b_hh),
                                     .w_hr = data_or_null(t.w_hr),
                                     .h0 = t.h0.data(),
                                     .c0 = data_or_null(t.c0),
                                     .y = t.y.data(),
                                     .y_row = shape.outputs(),
                                     .hT = hT.data(),
                                     .cT = data_or_null(cT),
                                     .reserve = data_or_null(t.reserve),
                                     .rounded = rounded});
}

void rnn_backward(const RnnShape& shape, const RnnTensors& t, const Tensor& dy, const Tensor& dhT,
                  const Tensor& dcT, const RnnGradients& out, bool rounded) {
  if (!on_cpu(t.y)) return backward_on_cuda(shape, t, dy, dhT, dcT, out);
  kernels::rnn_backward(t.y.dtype(), {.shape = shape,
                                      .x = t.x.data(),
                                      .x_row = shape.input,
                                      .w_ih = t.w_ih.data(),
                                      .w_hh = t.w_hh.data(),
                                      .w_hr = data_or_null(t.w_hr),
                                      .h0 = t.h0.data(),
                                      .c0 = data_or_null(t.c0),
                                      .y = t.y.data(),
                                      .y_row = shape.outputs(),
                                      .reserve = t.reserve.data(),
                                      .dy = data_or_null(dy),
                                      .dy_row = shape.outputs(),
                                      .dhT = data_or_null(dhT),
                                      .dcT = data_or_null(dcT),
                                      .dx = data_or_null(out.x),
                                      .dx_row = shape.input,
                                      .dw_ih = data_or_null(out.w_ih),
                                      .dw_hh = data_or_null(out.w_hh),
                                      .db_ih = data_or_null(out.b_ih),
                                      .db_hh = data_or_null(out.b_hh),
                                      .dw_hr = data_or_null(out.w_hr),
                                      .dh0 = data_or_null(out.h0),
                                      .dc0 = data_or_null(out.c0),
                                      .rounded = rounded});
}

}  // namespace gradsmith::ops::dispatch
