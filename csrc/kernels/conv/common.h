// What the drivers of the family share.
#pragma once
#include "kernels/conv/conv.h"

namespace gradsmith::kernels {

inline constexpr std::int64_t kConvGrain = 1 << 18;  // fewest multiply-adds worth a thread

// A window as large as the image: one output pixel, a matrix product of images and weights.
bool is_linear(const ConvShape& s);

// C = A B with both operands stored by rows, or by columns where `transposed`.
void conv_product(DType dtype, std::int64_t m, std::int64_t n, std::int64_t k, void* c,
                  const void* a, bool a_transposed, const void* b, bool b_transposed,
                  const ConvEpilogue& e);

// What is about to run, in words.
enum class ConvPath { direct, packed, outer, winograd };
void trace_conv(const char* op, DType dtype, const ConvShape& s, ConvPath path);

}  // namespace gradsmith::kernels
