// Activations that products and convolutions apply while their results are still in registers.
#pragma once
#include <string>

#include "kernels/gemm/gemm.h"
#include "ops/common.h"

namespace gradsmith::ops {

struct Activated {
  const char* name;
  kernels::Activation kernel;
  bool from_output;  // its slope can be had from the result

  bool none() const { return kernel == kernels::Activation::none; }
};

// "none", "relu", "sigmoid", "tanh", "gelu", "gelu_tanh" or "silu"; throws Error(value) that names
// the op.
const Activated& find_activation(const char* op, const std::string& name);

// As an op of its own.
Tensor apply_activation(const Activated& a, const Tensor& x);

// The gradient before, from the one after and the result: the rules of these ops (unary.cpp).
Tensor relu_slope(const Tensor& g, const Tensor& y);
Tensor sigmoid_slope(const Tensor& g, const Tensor& y);
Tensor tanh_slope(const Tensor& g, const Tensor& y);

// The same for an activation that is from_output.
Tensor through_activation(const Activated& a, const Tensor& g, const Tensor& y);

}  // namespace gradsmith::ops
