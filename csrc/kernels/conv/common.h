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

// sum = the sum of `count` parts of `size` elements that follow each other, in order.
void conv_add_parts(DType dtype, void* sum, const void* parts, std::int64_t count,
                    std::int64_t size);

// What is about to run, in words.
enum class ConvPath { direct, depthwise, packed, channels, outer, winograd };
void trace_conv(const char* op, DType dtype, const ConvShape& s, ConvPath path);

}  // namespace gradsmith::kernels
