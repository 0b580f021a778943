// dispatch.h for indexing, random numbers, pooling, optimizer steps and convolution: the CPU's
// driver or CUDA's, by the device of the first argument.
#pragma once
#include "kernels/optim/optim.h"
#include "kernels/pool/pool.h"
#include "kernels/rng/rng.h"
#include "ops/dispatch.h"

namespace gradsmith::kernels {
struct ConvShape;
struct ConvEpilogue;
}  // namespace gradsmith::kernels

namespace gradsmith::ops::dispatch {

// Position of the first element of `index` outside [low, high), or -1. Waits for the device.
std::int64_t bad_index(const Tensor& index, std::int64_t low, std::int64_t high);

// out[i, :] = src[index[i], :], all contiguous; out and src may have any rank.
void take_rows(const Tensor& out, const Tensor& src, const Tensor& index);
// Along `axis`, as kernels::gather_axis; ranks are 1 or more.
void gather(const Tensor& out, const Tensor& src, const Tensor& index, int axis);
void scatter_add(const Tensor& dst, const Tensor& src, const Tensor& index, int axis);
// dst's slices at `index`, a vector, along `axis` (+)= those of src.
void add_slices(const Tensor& dst, const Tensor& src, const Tensor& index, int axis);
void put_slices(const Tensor& dst, const Tensor& src, const Tensor& index, int axis);

// All broadcast to out's shape. Beside a CUDA tensor, x or y may be a number on the CPU.
void where(const Tensor& out, const Tensor& condition, const Tensor& x, const Tensor& y);
// One row of coordinates per element of `mask` (bool, contiguous) that is set. Waits for the
// device.
Tensor nonzero(const Tensor& mask);

// On CUDA: out[i] = first + i * step for i < forward, else last - (count - 1 - i) * step.
void sequence(const Tensor& out, double first, double step, double last, std::int64_t forward);

// ---- Random numbers: the same on every device. `args.out` and its like are memory of `out`. ----
void fill_uniform(const Tensor& out, const kernels::RandomFill& args);
void fill_normal(const Tensor& out, const kernels::RandomFill& args);
void fill_bernoulli(const Tensor& out, const kernels::RandomFill& args);
void fill_integers(const Tensor& out, const kernels::RandomIntegers& args);
void dropout(const Tensor& y, const kernels::DropoutForward& args);
void dropout_grad(const Tensor& dx, const kernels::DropoutBackward& args);

// ---- Pooling, all contiguous ----
struct Windows {
  kernels::PoolShape shape;
  bool adaptive = false;  // shape has planes and sizes only
};
void max_pool(const Windows& windows, const Tensor& y, const Tensor& index, const Tensor& x);
void average_pool(const Windows& windows, const Tensor& y, const Tensor& x, bool count_include_pad,
                  std::int64_t divisor);
void average_pool_backward(const Windows& windows, const Tensor& dx, const Tensor& dy,
                           bool count_include_pad, std::int64_t divisor);
// y[o] = x[index[o]] in every plane, and the adjoint.
void pool_pick(const Windows& windows, const Tensor& y, const Tensor& index, const Tensor& x);
void pool_unpick(const Windows& windows, const Tensor& dx, const Tensor& index, const Tensor& dy);

// ---- Optimizer steps: one list is on one device and of one dtype, with the same numbers ----
template <class Step>
void optimizer_step(Device device, DType dtype, const std::vector<Step>& steps);
void clamp_arrays(Device device, DType dtype, const std::vector<kernels::FlatArray>& arrays,
                  double low, double high);
// On CUDA: scales all arrays, the float32 ones and the float64 ones, so that their norm is at most
// max_norm; returns the norm before, float64 on the device.
Tensor clip_norm(Device device, const std::vector<kernels::FlatArray> (&arrays)[2], double power,
                 double max_norm);

// ---- Convolution, all contiguous. CUDA leaves out the epilogue's activation. ----
void conv_forward(const kernels::ConvShape& shape, const Tensor& y, const Tensor& x,
                  const Tensor& w, const kernels::ConvEpilogue& epilogue);
void conv_input_grad(const kernels::ConvShape& shape, const Tensor& dx, const Tensor& dy,
                     const Tensor& w, const kernels::ConvEpilogue& epilogue);
void conv_weight_grad(const kernels::ConvShape& shape, const Tensor& dw, const Tensor& dy,
                      const Tensor& x);

}  // namespace gradsmith::ops::dispatch
