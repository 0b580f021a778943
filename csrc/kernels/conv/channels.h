// Forward convolution and input gradient with channels of the result as lanes, for small images.
//
//     sums[pixel][lane] += sum_c in[c][pixel of in] * w[tap][c][lane]
//
// Idea: a register holds as many channels as it has lanes, so the width of an image does not
// matter, and a tile is a run of pixels of a row times one or two registers. One tap after another
// takes the rectangle of pixels that it meets inside the image: neither are images padded or
// copied, nor is anything multiplied by padding or by holes of a stride. Forward and input gradient
// differ in which side of a tap steps by the stride. The sums of some images lie in L2; at the end
// they are transposed into planes.
//
// Same bits: an output is a sum over blocks of channels (conv_depth_block), in a block over taps,
// in a tap one fused multiply-add chain from zero; chains are added in that order, taps that lie in
// the padding left out.
#pragma once
#include "kernels/conv/layout.h"

namespace gradsmith::kernels {

// Elements of a packed panel of so many lanes. Each tap of a block of channels is followed by a row
// of its own size, or all taps would begin in one set of the cache.
GS_CONV_INLINE std::int64_t channels_panel(std::int64_t depth, std::int64_t taps,
                                           std::int64_t lanes) {
  const std::int64_t block = conv_depth_block(depth);
  return taps * (depth + (depth + block - 1) / block) * lanes;
}

// Outputs p in [begin, end) of the forward pass that meet tap i inside the image, p at input
// p * stride + in.
struct TapRange {
  std::int64_t begin, end, in;
};
GS_CONV_INLINE TapRange tap_range(std::int64_t i, std::int64_t dilation, std::int64_t pad,
                                  std::int64_t stride, std::int64_t size, std::int64_t outputs) {
  const std::int64_t in = i * dilation - pad;
  const std::int64_t begin = in < 0 ? -floor_div(in, stride) : 0;
  const std::int64_t end = floor_div(size - 1 - in, stride) + 1;
  return {begin, end < outputs ? end : outputs, in};
}

// Weights in panels of two registers of lanes, the last one of one where that suffices. In a panel:
// blocks of channels, each [tap][channel of the sum, and one unused row][lane].
struct ConvChannelsWeights {
  ConvShape shape;
  bool adjoint;        // lanes are input channels
  std::int64_t lanes;  // of a register
  std::int64_t group;
  std::int64_t panel_begin, panel_end;
  void* packed;  // panel_begin of the group
  const void* weight;
};
GS_KERNEL(conv_channels_weights, void(const ConvChannelsWeights& args));

// Images [image_begin, image_end) and some panels of a group of y, or of dx where `adjoint`.
// Other pointers are to whole tensors.
struct ConvChannelsPart {
  ConvShape shape;
  bool adjoint;
  void* out;
  const void* in;
  const void* weight;
  const void* packed;  // panel_begin of the group
  ConvEpilogue epilogue;
  std::int64_t image_begin, image_end;
  std::int64_t group;
  std::int64_t panel_begin, panel_end;
  std::int64_t lanes;            // of a register
  std::int64_t images_together;  // whose sums are in scratch
  void* sums;                    // scratch: images_together * pixels of out * 2 * lanes
};
GS_KERNEL(conv_channels, void(const ConvChannelsPart& part));

#if !defined(GS_ISA)
// Whether this is expected to be the fastest way; depends on one image alone.
bool channels_pay(DType dtype, const ConvShape& s, bool adjoint);
void channels_conv(DType dtype, const ConvShape& s, bool adjoint, void* out, const void* in,
                   const void* w, const ConvEpilogue& epilogue);
#endif

}  // namespace gradsmith::kernels
