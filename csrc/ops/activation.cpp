#include "ops/activation.h"

namespace gradsmith::ops {

namespace {
constexpr Activated kActivations[] = {{"none", kernels::Activation::none, true},
                                      {"relu", kernels::Activation::relu, true},
                                      {"sigmoid", kernels::Activation::sigmoid, true},
                                      {"tanh", kernels::Activation::tanh, true},
                                      {"gelu", kernels::Activation::gelu, false},
                                      {"gelu_tanh", kernels::Activation::gelu_tanh, false},
                                      {"silu", kernels::Activation::silu, false}};
}  // namespace

const Activated& find_activation(const char* op, const std::string& name) {
  for (const Activated& a : kActivations)
    if (name == a.name) return a;
  fail(ErrorKind::value,
       "{}: activation must be 'none', 'relu', 'sigmoid', 'tanh', 'gelu', 'gelu_tanh' or 'silu', "
       "got '{}'",
       op, name);
}

Tensor apply_activation(const Activated& a, const Tensor& x) {
  switch (a.kernel) {
    case kernels::Activation::relu:
      return relu(x);
    case kernels::Activation::sigmoid:
      return sigmoid(x);
    case kernels::Activation::tanh:
      return tanh(x);
    case kernels::Activation::gelu:
      return gelu(x, "none");
    case kernels::Activation::gelu_tanh:
      return gelu(x, "tanh");
    case kernels::Activation::silu:
      return silu(x);
    default:
      return x;
  }
}

Tensor through_activation(const Activated& a, const Tensor& g, const Tensor& y) {
  switch (a.kernel) {
    case kernels::Activation::relu:
      return relu_slope(g, y);
    case kernels::Activation::sigmoid:
      return sigmoid_slope(g, y);
    case kernels::Activation::tanh:
      return tanh_slope(g, y);
    default:
      return g;
  }
}

}  // namespace gradsmith::ops
