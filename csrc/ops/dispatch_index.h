// dispatch.h for indexing, random numbers, pooling, optimizer steps and convolution: the CPU's
// driver or CUDA's, by the device of the first argument.
#pragma once
#include "ops/dispatch.h"

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

}  // namespace gradsmith::ops::dispatch
