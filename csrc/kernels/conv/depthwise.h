// Depthwise convolution: one channel a group, in and out. conv.h has the formulas.
//
// Idea: a plane is walked in strips as wide as a register, row after row of its input. Each input
// row is loaded once for every tap column and goes into all outputs that it has a part in, which
// wait in registers. Borders are masks of the loads: there is no padded copy. With stride 2 the
// loaded run is split into even and odd columns by shuffles; the input gradient of stride 2 makes
// the four phases of a pixel from one row of dy and joins them by shuffles. The weight gradient
// keeps rows of dy in registers and a register of sums for each tap.
//
// Same bits: an output is one fused multiply-add chain from zero, rows and columns of the input
// ascending, taps in the padding left out or multiplied by 0. dw: sums over lanes for each band of
// rows (depthwise_band) of a plane, added in order, images in order.
#pragma once
#include <cstdint>

#include "kernels/conv/conv.h"

namespace gradsmith::kernels {

// Square kernels of 3 or 5, stride 1 or 2, no dilation.
GS_CONV_INLINE bool is_depthwise(const ConvShape& s) {
  return s.group_c() == 1 && s.group_o() == 1 && (s.kh == 3 || s.kh == 5) && s.kw == s.kh &&
         (s.stride_h == 1 || s.stride_h == 2) && s.stride_w == s.stride_h && s.dilation_h == 1 &&
         s.dilation_w == 1;
}

// Output rows that are walked strip by strip before those below: their input stays in L1.
GS_CONV_INLINE std::int64_t depthwise_band(std::int64_t w, std::int64_t stride) {
  constexpr std::int64_t kElements = 4096, kFewest = 8;
  const std::int64_t rows = w > 0 ? kElements / (w * stride) : kElements;
  return rows > kFewest ? rows : kFewest;
}

// Rows [row_begin, row_end) of planes [plane_begin, plane_end) of y or dx, counted through images
// and channels. Pointers are to whole tensors.
struct DepthwisePart {
  ConvShape shape;
  void* out;
  const void* in;
  const void* weight;
  ConvEpilogue epilogue;
  std::int64_t plane_begin, plane_end;
  std::int64_t row_begin, row_end;
};
GS_KERNEL(depthwise_forward, void(const DepthwisePart& part));
GS_KERNEL(depthwise_input_grad, void(const DepthwisePart& part));

// dw of channels [channel_begin, channel_end) from images [image_begin, image_end).
struct DepthwiseWeightPart {
  ConvShape shape;
  void* dw;
  const void* dy;
  const void* x;
  std::int64_t image_begin, image_end;
  std::int64_t channel_begin, channel_end;
  void* sums;  // scratch: channels * kh * kw registers of up to kDepthwiseLanes elements
};
inline constexpr std::int64_t kDepthwiseLanes = 16;
GS_KERNEL(depthwise_weight_grad, void(const DepthwiseWeightPart& part));

#if !defined(GS_ISA)
void depthwise_conv(DType dtype, const ConvShape& s, bool adjoint, void* out, const void* in,
                    const void* w, const ConvEpilogue& epilogue);
void depthwise_conv_weight_grad(DType dtype, const ConvShape& s, void* dw, const void* dy,
                                const void* x);
#endif

}  // namespace gradsmith::kernels
