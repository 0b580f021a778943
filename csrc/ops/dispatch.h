// The one place where ops choose between the kernels of the CPU and those of CUDA: by the device of
// the output. Ops name a CPU kernel; where CUDA has none of that name and dtype, an error says so.
#pragma once
#include "kernels/elementwise/elementwise.h"
#include "ops/common.h"

namespace gradsmith::kernels {
struct Gemm;
}

namespace gradsmith::ops {

// Of one bool; waits for the device.
bool is_set(const Tensor& x);

inline bool on_cpu(const Tensor& x) { return x.device().type == DeviceType::cpu; }

// Where an op on both runs. Beside a CUDA tensor, a CPU tensor of rank 0 counts as a number.
Device device_beside_number(const char* op, const Tensor& a, const Tensor& b);
inline Device common_device(const char* op, const Tensor& a, const Tensor& b) {
  const Device device = a.device();
  return device == b.device() ? device : device_beside_number(op, a, b);
}

namespace dispatch {

using UnaryKernel = kernels::Kernel<kernels::unary_kernel>;
using BinaryKernel = kernels::Kernel<kernels::binary_kernel>;

// x has out's shape; a and b broadcast to it, and either may be a number as above.
void unary(const char* op, const UnaryKernel& kernel, const Tensor& out, const Tensor& x,
           kernels::Params params);
// out is bool.
void predicate(const char* op, const UnaryKernel& kernel, const Tensor& out, const Tensor& x);
void binary(const char* op, const BinaryKernel& kernel, const Tensor& out, const Tensor& a,
            const Tensor& b, kernels::Params params);
// Any strides and dtypes, one shape and device.
void copy(const Tensor& out, const Tensor& x);
void fill(const Tensor& out, const void* element);  // of out's dtype, on the CPU
// Between devices: contiguous, of one shape and dtype. non_blocking: without waiting, where the
// memory of the host is pinned.
void transfer(const Tensor& out, const Tensor& x, bool non_blocking = false);
// problem.c is in out's memory. compute: out's dtype, or bf16 where out is float32 on the CPU.
// CUDA: factors, bias and residual have out's dtype.
void gemm(const Tensor& out, const kernels::Gemm& problem, DType compute);

}  // namespace dispatch
}  // namespace gradsmith::ops
