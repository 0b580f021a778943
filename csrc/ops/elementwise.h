// How elementwise ops run their kernels: outputs are new and dense, inputs have any strides.
#pragma once
#include "kernels/elementwise/elementwise.h"
#include "ops/common.h"

namespace gradsmith::ops {

using UnaryKernel = kernels::Kernel<kernels::unary_fn>;
using BinaryKernel = kernels::Kernel<kernels::binary_fn>;
using CompareKernel = kernels::Kernel<kernels::compare_fn>;

inline Tensor run_unary(const char* op, const UnaryKernel& kernel, const Tensor& x,
                        kernels::UnaryParams params = {}) {
  check_cpu(op, x);
  Tensor y = empty_like(x);
  kernels::unary(kernel, y.view(), x.view(), params);
  return y;
}

// Operands of one dtype that broadcast with each other.
void run_binary_into(const BinaryKernel& kernel, const Tensor& out, const Tensor& a, const Tensor& b);
Tensor run_binary(const char* op, const BinaryKernel& kernel, const Tensor& a, const Tensor& b);
Tensor run_compare(const char* op, const CompareKernel& kernel, const Tensor& a, const Tensor& b);

}  // namespace gradsmith::ops
