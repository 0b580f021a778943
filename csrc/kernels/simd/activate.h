// The activation of an epilogue, on vectors.
#pragma once
#include "kernels/gemm/gemm.h"
#include "kernels/simd/math.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

template <class V>
V activate(V x, Activation activation, typename V::T slope) {
  switch (activation) {
    case Activation::none:
      break;
    case Activation::relu:
      return select(lt(x, V::zero()), V::zero(), x);  // keeps NaN
    case Activation::leaky_relu:
      return select(lt(x, V::zero()), x * V::set(slope), x);
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::tanh:
      return tanh(x);
    case Activation::gelu:
      return gelu(x);
    case Activation::gelu_tanh:
      return gelu_tanh(x);
    case Activation::silu:
      return silu(x);
  }
  return x;
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
