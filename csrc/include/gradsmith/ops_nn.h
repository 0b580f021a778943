// Ops of neural networks; included by ops.h, whose conventions hold here. Fused backward kernels
// are ops of their own, so that gradients of gradients exist.
#pragma once
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "gradsmith/export.h"
#include "gradsmith/tensor.h"

namespace gradsmith::ops {

// ---- softmax ----
GS_API Tensor softmax(const Tensor& input, std::int64_t dim);
GS_API Tensor log_softmax(const Tensor& input, std::int64_t dim);

// ---- losses; reduction is "mean", "sum" or "none" ----

// ---- convolution; one int stands for both dimensions ----

// ---- pooling ----

// ---- normalisation ----

// ---- dropout, embedding ----

// ---- recurrent ----

// ---- optimizer steps [no grad] ----

}  // namespace gradsmith::ops
