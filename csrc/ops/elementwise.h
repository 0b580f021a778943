// How elementwise ops run their kernels: outputs are new and dense, inputs have any strides.
#pragma once
#include "kernels/elementwise/elementwise.h"
#include "ops/common.h"

namespace gradsmith::ops {

using UnaryKernel = kernels::Kernel<kernels::unary_kernel>;
using BinaryKernel = kernels::Kernel<kernels::binary_kernel>;

inline Tensor run_unary(const char* op, const UnaryKernel& kernel, const Tensor& x,
                        kernels::Params params = {}) {
  check_cpu(op, x);
  Tensor y = empty_like(x);
  kernels::unary(kernel, y.view(), x.view(), params);
  return y;
}
// A kernel whose output is bool.
inline Tensor run_predicate(const char* op, const UnaryKernel& kernel, const Tensor& x) {
  check_cpu(op, x);
  Tensor y = empty(x.shape(), DType::b8);
  kernels::unary(kernel, y.view(), x.view());
  return y;
}

// Operands of one dtype that broadcast to the shape of `out`.
void run_binary_into(const BinaryKernel& kernel, const Tensor& out, const Tensor& a,
                     const Tensor& b, kernels::Params params = {});
// The same into a new tensor, of the operands' dtype or bool.
Tensor run_binary(const char* op, const BinaryKernel& kernel, const Tensor& a, const Tensor& b,
                  kernels::Params params = {});
Tensor run_compare(const char* op, const BinaryKernel& kernel, const Tensor& a, const Tensor& b);

}  // namespace gradsmith::ops
