// LSTM, GRU and plain RNN: one direction of one layer over a whole sequence, forward and backward.
//
// Formulas (PyTorch's; s is the logistic function, * elementwise, h and c the previous state)
//   LSTM  i, f, o = s(W_ih x + b_ih + W_hh h + b_hh), g = tanh(...);  gate order i f g o
//         c' = f * c + i * g;  h' = o * tanh(c')
//   GRU   r, z = s(W_ih x + b_ih + W_hh h + b_hh);  n = tanh(W_in x + b_in + r * (W_hn h + b_hn))
//         h' = (1 - z) * n + z * h;  gate order r z n
//   RNN   h' = tanh or relu of (W_ih x + b_ih + W_hh h + b_hh)
// Contract
// * A "row" is one (time, batch element): row(t, b) = t * batch + b, or b * steps + t when
//   batch_first. x, y and their gradients are matrices of `steps * batch` rows with unit stride in
//   a row and a given distance between rows (so that two directions write the halves of one y).
// * batch_sizes (optional, `steps` numbers that never rise, each 0 ... batch; not with
// batch_first):
//   a packed batch. The first batch_sizes[t] elements take part in step t, and rows exist for those
//   alone: row(t, b) = batch_sizes[0] + ... + batch_sizes[t - 1] + b. hT, cT are an element's
//   states after its own last step; backwards it starts there.
// * Weights are contiguous: w_ih [gates * hidden, input], w_hh [gates * hidden, hidden], biases
//   [gates * hidden] or null. States h0, c0, hT, cT are contiguous [batch, hidden]; null initial
//   states are zeros.
// * projection (LSTM): h' = W_hr (o * tanh(c')), w_hr [projection, hidden]; h has so many features
// in
//   h0, hT, y and the columns of w_hh.
// * No two outputs overlap, and none overlaps an input. Sizes may be 0.
// * Same bits for any number of threads; a batch element's results do not depend on the others
//   (weight gradients, which sum over them, do).
//
// Idea: the input product does not wait for the recurrence, so it is one large GEMM per some steps,
// written where the recurrent product then accumulates; gates are applied in place while that is
// in cache. Both weights are packed once. One team of threads runs the whole sequence: with a large
// batch each thread owns batch rows and never waits, with a small one it owns hidden units and
// meets the others once a step. README.md has the details and the measurements.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/kernel.h"

namespace gradsmith::kernels {

enum class RnnKind : std::uint8_t { lstm, gru, rnn_tanh, rnn_relu };

// ---- Leaf kernels -------------------------------------------------------------------------------

// One step of `rows` batch elements and `width` neighbouring hidden units. Every pointer is at the
// first of them; *_row is the distance between batch elements, gate the one between gates.
struct RnnCell {
  std::int64_t rows, width;
  // In: pre-activations. Out: what the backward step needs.
  //   LSTM 4 gates i f g o;  GRU 4: in r, z, W_in x + b_in, W_hn h + b_hn, out r z n and the last
  //   unchanged;  RNN 1
  void* gates;
  std::int64_t gates_row, gate;
  const void* h_prev;  // null for zeros
  std::int64_t h_prev_row;
  const void* c_prev;  // LSTM; null for zeros
  std::int64_t c_prev_row;
  void* c;  // LSTM; may be c_prev
  std::int64_t c_row;
  void* h;  // not h_prev
  std::int64_t h_row;
  void* y;
  std::int64_t y_row;
};
GS_KERNEL(lstm_cell, void(const RnnCell& args));
GS_KERNEL(gru_cell, void(const RnnCell& args));
GS_KERNEL(rnn_tanh_cell, void(const RnnCell& args));
GS_KERNEL(rnn_relu_cell, void(const RnnCell& args));

// The same step backward. dh holds the gradient that came from the step after; dy is added to it.
// Out: the gradients of the pre-activations in dgates (the layout of gates), and in dh what reaches
// h_prev past the weights: nothing but for GRU, dh * z. dc likewise (LSTM).
struct RnnCellBackward {
  std::int64_t rows, width;
  const void* gates;
  std::int64_t gates_row, gate;
  const void* h_prev;  // GRU; null for zeros
  std::int64_t h_prev_row;
  const void* c_prev;  // LSTM; null for zeros
  std::int64_t c_prev_row;
  const void* c;  // LSTM
  std::int64_t c_row;
  const void* dy;  // null for zeros
  std::int64_t dy_row;
  void* dh;
  std::int64_t dh_row;
  void* dc;
  std::int64_t dc_row;
  void* dgates;
  std::int64_t dgates_row;
};
GS_KERNEL(lstm_cell_backward, void(const RnnCellBackward& args));
GS_KERNEL(gru_cell_backward, void(const RnnCellBackward& args));
GS_KERNEL(rnn_tanh_cell_backward, void(const RnnCellBackward& args));
GS_KERNEL(rnn_relu_cell_backward, void(const RnnCellBackward& args));

// out[j] = sum over rows of x[row, j], in blocks of 64 rows: a block is summed on its own first.
struct ColumnSum {
  void* out;
  const void* x;
  std::int64_t rows, columns, x_row;
};
GS_KERNEL(column_sum, void(const ColumnSum& args));

// ---- Drivers ------------------------------------------------------------------------------------
#if !defined(GS_ISA)

struct RnnShape {
  RnnKind kind = RnnKind::lstm;
  std::int64_t steps = 0, batch = 0, input = 0, hidden = 0;
  std::int64_t projection = 0;  // LSTM: features of h and y; 0: hidden
  bool batch_first = false;
  bool reverse = false;  // runs from the last step to the first
  const std::int64_t* batch_sizes = nullptr;

  std::int64_t outputs() const { return projection ? projection : hidden; }
};

constexpr int rnn_gates(RnnKind kind) {  // blocks of rows of the weights
  return kind == RnnKind::lstm ? 4 : kind == RnnKind::gru ? 3 : 1;
}
constexpr int rnn_saved_gates(RnnKind kind) {  // values kept per row and hidden unit
  return kind == RnnKind::lstm || kind == RnnKind::gru ? 4 : 1;
}

struct RnnForward {
  RnnShape shape;
  const void* x;
  std::int64_t x_row;
  const void *w_ih, *w_hh, *b_ih = nullptr, *b_hh = nullptr, *w_hr = nullptr;
  const void *h0 = nullptr, *c0 = nullptr;
  void* y;
  std::int64_t y_row;
  void *hT = nullptr, *cT = nullptr;  // null: not wanted
  void* reserve = nullptr;            // rnn_reserve_bytes() for rnn_backward; null for inference
  bool rounded = false;               // float32: factors of products are rounded to bfloat16
};

// The forward call's inputs and outputs, and gradients. A null dy, dhT or dcT stands for zeros; a
// null output is not computed. Outputs are overwritten. db_hh equals db_ih but in the n rows of
// GRU.
struct RnnBackward {
  RnnShape shape;
  const void* x;
  std::int64_t x_row;
  const void *w_ih, *w_hh, *w_hr = nullptr;
  const void *h0 = nullptr, *c0 = nullptr;
  const void* y;
  std::int64_t y_row;
  const void* reserve;
  const void* dy = nullptr;
  std::int64_t dy_row = 0;
  const void *dhT = nullptr, *dcT = nullptr;
  void* dx = nullptr;
  std::int64_t dx_row = 0;
  void *dw_ih = nullptr, *dw_hh = nullptr, *db_ih = nullptr, *db_hh = nullptr, *dw_hr = nullptr;
  void *dh0 = nullptr, *dc0 = nullptr;
  bool rounded = false;  // as in the forward call
};

// Activated gates [rows, saved gates * hidden], then, for LSTM, cell states [rows, hidden] and,
// with a projection, what it projects [rows, hidden].
GS_API std::size_t rnn_reserve_bytes(DType dtype, const RnnShape& shape);
GS_API void rnn_forward(DType dtype, const RnnForward& args);
GS_API void rnn_backward(DType dtype, const RnnBackward& args);

#endif
}  // namespace gradsmith::kernels
