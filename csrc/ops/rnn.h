// One direction of a recurrent layer on tensors: the CPU's drivers or CUDA's kernels. Everything is
// contiguous and of one dtype and device; the undefined is not there or not wanted.
#pragma once
#include "kernels/rnn/rnn.h"
#include "ops/dispatch.h"

namespace gradsmith::ops {

struct RnnTensors {
  Tensor x, w_ih, w_hh, b_ih, b_hh, w_hr, h0, c0, y;
  Tensor reserve;  // kernels::rnn_reserve_bytes(); undefined for inference
};

struct RnnGradients {  // outputs
  Tensor x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr;
};

namespace dispatch {

// Writes t.y, t.reserve, hT and, of an LSTM, cT. rounded: see RnnForward.
void rnn_forward(const kernels::RnnShape& shape, const RnnTensors& t, const Tensor& hT,
                 const Tensor& cT, bool rounded);
// From the gradients of y and of the last states.
void rnn_backward(const kernels::RnnShape& shape, const RnnTensors& t, const Tensor& dy,
                  const Tensor& dhT, const Tensor& dcT, const RnnGradients& out, bool rounded);

}  // namespace dispatch
}  // namespace gradsmith::ops
