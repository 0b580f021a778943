// The activation of an epilogue, in double.
#pragma once
#include <cmath>

#include "kernels/gemm/gemm.h"

namespace gradsmith::kernels::reference {
namespace {

double activate(double x, Activation activation, double slope) {
  constexpr double kSqrtHalf = 0.70710678118654752440, kSqrtTwoOverPi = 0.79788456080286535588;
  // x * factor, for a factor that vanishes faster than x grows.
  const auto times = [x](double factor) { return factor == 0 ? -0.0 : x * factor; };
  switch (activation) {
    case Activation::none:
      break;
    case Activation::relu:
      return x < 0 ? 0 : x;
    case Activation::leaky_relu:
      return x < 0 ? slope * x : x;
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
    case Activation::gelu:
      return times(0.5 * std::erfc(-x * kSqrtHalf));
    case Activation::gelu_tanh:
      return times(0.5 * (1 + std::tanh(kSqrtTwoOverPi * (x + 0.044715 * x * x * x))));
    case Activation::silu:
      return times(1 / (1 + std::exp(-x)));
  }
  return x;
}

}  // namespace
}  // namespace gradsmith::kernels::reference
