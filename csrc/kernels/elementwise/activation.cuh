// Functions that activations and their slopes share.
#pragma once
#include <math.h>

#include "kernels/cuda/launch.cuh"
#include "runtime/cuda_abi.h"

namespace gradsmith::cuda {

template <class T>
__device__ T sigmoid_of(T x) {
  // exp of a negative number only, so that nothing overflows.
  const T e = ::exp(x < 0 ? x : -x);
  return (x < 0 ? e : T(1)) / (T(1) + e);
}
template <class T>
__device__ T softplus_of(T x) {  // log(1 + exp(x))
  return (x > 0 ? x : T(0)) + ::log1p(::exp(-::fabs(x)));
}
template <class T>
__device__ T clamp_of(T x, T low, T high) {  // NaN stays; high wins where low is above it
  const T raised = x < low ? low : x;
  return raised > high ? high : raised;
}
// x * factor, for a factor that vanishes faster than x grows.
template <class T>
__device__ T times_vanishing(T x, T factor) {
  return factor == 0 ? T(-0.0) : x * factor;
}

// The gradient before an activation, from the one after, g, and its input or result, x.
template <class T>
__device__ T slope_of(BinaryOp op, T g, T x, T a, T b) {
  switch (op) {
    case BinaryOp::relu_backward_y:
      return x > 0 ? g : T(0);
    case BinaryOp::sigmoid_backward_y:
      return g * x * (T(1) - x);
    case BinaryOp::tanh_backward_y:
      return g * (T(1) - x * x);
    case BinaryOp::leaky_relu_backward_x:
      return x > 0 ? g : a * g;
    case BinaryOp::elu_backward_x:
      return x > 0 ? g : g * a * ::exp(x);
    case BinaryOp::gelu_backward_x: {  // Phi(x) + x phi(x)
      const T density = ::exp(T(-0.5) * x * x) * T(0.39894228040143268);
      return g * (T(0.5) * ::erfc(x * T(-0.70710678118654752)) + times_vanishing(x, density));
    }
    case BinaryOp::gelu_tanh_backward_x: {
      const T u = T(1.5957691216057308) * (x + T(0.044715) * x * x * x);
      const T slope = T(1.5957691216057308) * (T(1) + T(0.134145) * x * x);
      const T s = sigmoid_of(u);
      return g * (s + times_vanishing(x * slope, s * sigmoid_of(-u)));
    }
    case BinaryOp::silu_backward_x:
      return g * (sigmoid_of(x) + times_vanishing(x, sigmoid_of(x) * sigmoid_of(-x)));
    case BinaryOp::softplus_backward_x:
      return x * a > b ? g : g * sigmoid_of(x * a);
    case BinaryOp::log_sigmoid_backward_x:
      return g * sigmoid_of(-x);
    case BinaryOp::mish_backward_x: {
      const T t = ::tanh(softplus_of(x));
      return g * (t + times_vanishing(x, sigmoid_of(x) * (T(1) - t * t)));
    }
    case BinaryOp::clamp_backward_x:
      return x < a || x > b ? T(0) : g;
    case BinaryOp::hardsigmoid_backward_x:
      return ::fabs(x) < 3 ? g / T(6) : T(0);
    default:  // hardswish
      return !(x < 3) ? g : x > -3 ? g * (x / T(3) + T(0.5)) : T(0);
  }
}

}  // namespace gradsmith::cuda
