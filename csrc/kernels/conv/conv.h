// 2-D convolution (cross-correlation) of NCHW images with OIHW weights, and its two gradients.
//
//     y[n,o,p,q] = act(bias[o] + sum_{c,i,j} w[o,c,i,j] * x[n, g*C/G + c, p*S - P + i*D, ...])
//
// with stride S, padding P, dilation D, G groups (g = the group of o); elements outside the image
// are 0. The gradients are the adjoints in x and in w. 1-D convolution is h = kernel_h = 1.
//
// Contract
// * All tensors are contiguous; outputs are written completely, never read, and overlap no input.
// * Sizes may be 0 (an empty sum is 0); out_h and out_w count windows that fit into the padded
//   image. The padding after the last row and column may differ from the one before the first.
// * Same bits: an element of y or dx depends on its own sample, the weights, dtype and target only:
//   blocks of conv_depth_block (layout.h) products, each one fused multiply-add chain from zero in
//   the order (c, i, j) or (o, i, j), added in order; or what winograd.h, channels.h or depthwise.h
//   says, or gemm.h where one window covers the image; dw and db on the shape and the data. Never
//   on the number of threads.
//
// README.md in this folder explains the method and its constants.
#pragma once
#include <cstdint>

#include "kernels/gemm/gemm.h"
#include "kernels/kernel.h"

// Leaf kernels' objects must not hold weak symbols, hence functions here are always inlined.
#define GS_CONV_INLINE [[gnu::always_inline]] inline

namespace gradsmith::kernels {

struct ConvShape {
  std::int64_t n, c, h, w;  // images
  std::int64_t o, kh, kw;   // weights: o x (c / groups) x kh x kw
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t pad_h = 0, pad_w = 0;          // before the first row and column
  std::int64_t pad_h_end = 0, pad_w_end = 0;  // after the last
  std::int64_t dilation_h = 1, dilation_w = 1;
  std::int64_t groups = 1;

  GS_CONV_INLINE std::int64_t out_h() const {
    return out_size(h + pad_h + pad_h_end, kh, stride_h, dilation_h);
  }
  GS_CONV_INLINE std::int64_t out_w() const {
    return out_size(w + pad_w + pad_w_end, kw, stride_w, dilation_w);
  }
  GS_CONV_INLINE std::int64_t group_c() const { return c / groups; }
  GS_CONV_INLINE std::int64_t group_o() const { return o / groups; }

 private:
  GS_CONV_INLINE static std::int64_t out_size(std::int64_t in, std::int64_t k, std::int64_t stride,
                                              std::int64_t dilation) {
    const std::int64_t room = in - dilation * (k - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
  }
};

// Applied to every output element: bias (null, or one value per output channel), then activation.
struct ConvEpilogue {
  const void* bias = nullptr;
  Activation activation = Activation::none;
  double slope = 0.01;  // leaky_relu's
};

// ---- Leaf kernels -------------------------------------------------------------------------------

// How an image lies in scratch for the kernels: padded with zeros, and split by phases of the
// stride, so that the inputs of neighbouring outputs are neighbours for every tap. Row r, column q
// of phase (a, b) of a channel holds input (first_h + a + r * step_h, first_w + b + q * step_w).
struct ConvSource {
  std::int64_t first_h, first_w;
  std::int64_t step_h, step_w;
  std::int64_t phases_h, phases_w;
  std::int64_t rows, cols;

  // A plane takes an odd number of 64-byte lines, so that the same pixel of many channels does not
  // compete for one set of the L1 cache.
  GS_CONV_INLINE std::int64_t plane() const { return ((rows * cols + 15) / 16 | 1) * 16; }
  GS_CONV_INLINE std::int64_t channel() const { return phases_h * phases_w * plane(); }
};
inline constexpr std::int64_t kConvSlack = 64;         // readable elements after the last plane
inline constexpr std::int64_t kConvRowBlock = 128;     // output channels whose weights share the L2
inline constexpr std::int64_t kConvPhases = 16;        // most phases in packed products
inline constexpr std::int64_t kConvDepth = 128;        // longest chain of a packed product
inline constexpr std::int64_t kConvPartial = 1 << 16;  // elements of unfinished sums

// Weights packed for gemm_block (see there), and what a product of them needs. For every group and
// phase of the stride: blocks of conv_depth_block(length of the sum) depths, each a row of panels.
struct ConvPacked {
  const void* weights = nullptr;  // null: the direct sum
  int width = 0;                  // rows of a panel
  std::int64_t lines = 0;         // rows of a group, rounded up to whole panels
  std::int64_t line = 0;          // the part's first one, a multiple of the width
  std::int64_t group = 0;         // pixels at a time
  std::int64_t phases = 1;        // of the stride, those that have products
  void* panels = nullptr;         // scratch: group pixels, kConvDepth deep, and kConvSlack
  void* sums = nullptr;           // scratch: phases * m * group, m, and kConvSlack
};

// A part of a convolution: images [image_begin, image_end), groups [group, group_end), output
// channels [m_begin, m_end) of each group and output rows [row_begin, row_end). Pointers are to
// whole tensors. For conv_input_grad "output" is dx and m counts input channels; its rows begin at
// a multiple of stride_h.
struct ConvPart {
  ConvShape shape;
  void* out;
  const void* in;
  const void* weight;
  const void* transposed;  // input_grad: weights from conv_transpose_weights
  ConvEpilogue epilogue;
  std::int64_t image_begin, image_end;
  std::int64_t group, group_end;
  std::int64_t m_begin, m_end;
  std::int64_t row_begin, row_end;
  void* source;          // scratch: images * channels of groups * ConvSource::channel + kConvSlack
  std::int64_t* offset;  // scratch: the length of the sum over (c, i, j) or (o, i, j)
  void* partial;         // scratch: kConvPartial
  ConvPacked packed = {};
};
GS_KERNEL(conv_forward, void(const ConvPart& part));
GS_KERNEL(conv_input_grad, void(const ConvPart& part));

// Weight gradient of images [image_begin, image_end), one group, its input channels
// [c_begin, c_end) and output channels [m_begin, m_end). dw points at a whole weight tensor.
struct ConvWeightPart {
  ConvShape shape;
  void* dw;
  const void* dy;
  const void* x;
  std::int64_t image_begin, image_end;
  std::int64_t group;
  std::int64_t c_begin, c_end;
  std::int64_t m_begin, m_end;
  std::int64_t images_per_chunk, rows_per_chunk;  // how much lies in scratch at a time
  void* source;          // scratch: images_per_chunk * channels * ConvSource::channel + kConvSlack
  std::int64_t* offset;  // scratch: channels * kh * kw
  void* dy_source;       // scratch: images_per_chunk * (m_end - m_begin) * weight_run + kConvSlack
  // Scratch for outer products; null: dot products over pixels. With m_end - m_begin rounded up to
  // two registers: that many times the pixels of a chunk, and times channels * kh * kw.
  void* panels;
  void* sums;
};
GS_KERNEL(conv_weight_grad, void(const ConvWeightPart& part));

// db[o] = sum of dy over images and pixels, for channels [o_begin, o_end).
struct ConvBiasGrad {
  std::int64_t n, o, pixels;
  std::int64_t o_begin, o_end;
  void* db;
  const void* dy;
};
GS_KERNEL(conv_bias_grad, void(const ConvBiasGrad& args));

// ---- Drivers ------------------------------------------------------------------------------------
#if !defined(GS_ISA)
GS_API void conv2d_forward(DType dtype, const ConvShape& shape, void* y, const void* x,
                           const void* w, const ConvEpilogue& epilogue = {});
// The epilogue's bias is per input channel: together they are the transposed convolution.
GS_API void conv2d_input_grad(DType dtype, const ConvShape& shape, void* dx, const void* dy,
                              const void* w, const ConvEpilogue& epilogue = {});
GS_API void conv2d_weight_grad(DType dtype, const ConvShape& shape, void* dw, const void* dy,
                               const void* x);
GS_API void conv2d_bias_grad(DType dtype, const ConvShape& shape, void* db, const void* dy);
#endif

}  // namespace gradsmith::kernels

#include "kernels/conv/channels.h"
#include "kernels/conv/depthwise.h"
#include "kernels/conv/winograd.h"
