// How elementwise ops run their kernels: outputs are new and dense, inputs have any strides.
#pragma once
#include "ops/dispatch.h"

namespace gradsmith::ops {

using dispatch::BinaryKernel;
using dispatch::UnaryKernel;

inline Tensor run_unary(const char* op, const UnaryKernel& kernel, const Tensor& x,
                        kernels::Params params = {}) {
  Tensor y = empty_like(x);
  dispatch::unary(op, kernel, y, x, params);
  return y;
}
// A kernel whose output is bool.
inline Tensor run_predicate(const char* op, const UnaryKernel& kernel, const Tensor& x) {
  Tensor y = empty(x.shape(), DType::b8, x.device());
  dispatch::predicate(op, kernel, y, x);
  return y;
}

// Whether an integer type holds a Python number; numbers take no part in choosing the type.
bool holds(DType dtype, const Tensor& number);

// Operands of one dtype, broadcast, into a new tensor of that dtype or bool.
Tensor run_binary(const char* op, const BinaryKernel& kernel, const Tensor& a, const Tensor& b,
                  kernels::Params params = {});
Tensor run_compare(const char* op, const BinaryKernel& kernel, const Tensor& a, const Tensor& b);

}  // namespace gradsmith::ops
