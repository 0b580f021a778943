// Convolution with 3x3 kernels and stride 1 by Winograd's minimal filtering, F(4x4, 3x3): 36
// products give 16 outputs that take 144 directly.
//
//     y = A^T [ sum_c (G w_c G^T) * (B^T x_c B) ] A        per tile of 4x4 outputs, 6x6 inputs
//     dw = G^T [ sum_tiles (A dy A^T) * (B^T x B) ] G      the adjoint in w
//
// (S. Winograd, Arithmetic Complexity of Computations, 1980; A. Lavin and S. Gray, Fast Algorithms
// for Convolutional Neural Networks, 2015.) Each of the 36 positions is a matrix product of weights
// (lines x depth) and tiles (depth x tiles).
//
// Contract
// * float32. The error is at most (length of the sum + 64) u times the same formula with absolute
//   values everywhere (u = 2^-24); it depends on all 36 inputs of the tile, not only on the 9 that
//   the output needs. So do infinities and NaN: they reach every output of the tile.
// * Same bits: an output depends on its own sample, the weights and the target only; dw on the
// shape
//   and the data. Never on the number of threads.
#pragma once
#include "kernels/conv/conv.h"  // which includes this: one header has all of the family

namespace gradsmith::kernels {

inline constexpr int kWinogradTile = 4;   // outputs of a tile, each way
inline constexpr int kWinogradReach = 6;  // its inputs
inline constexpr int kWinogradPoints = kWinogradReach * kWinogradReach;

// Rows of tiles [row_begin, row_end), counted through all images; a row has tiles_w tiles.
struct WinogradTiles {
  std::int64_t tiles_h, tiles_w;  // of an image
  std::int64_t row_begin, row_end;
  GS_CONV_INLINE std::int64_t count() const { return (row_end - row_begin) * tiles_w; }
};

// The transformed weights, from w[line * line_step + d * depth_step + tap], packed as the operand A
// of a product over the depth: see PackRequest. Lines [begin, end), whole panels of `width`; those
// past the last of `lines` are zeros up to `padded`, a multiple of the width. Flipped: the taps in
// reverse order.
struct WinogradWeights {
  std::int64_t depth, line_step, depth_step;
  bool flipped;
  std::int64_t begin, end;
  const void* w;
  void* u;
  std::int64_t u_batch;
  std::int64_t lines, padded, kc;
  int width;
};
GS_KERNEL(winograd_weights, void(const WinogradWeights& args));

// The transformed tiles of channels [begin, end), packed as the operand B of a product over the
// channels: see PackRequest. `lines` tiles, a multiple of `width`; those past the last real one
// are zeros. kc = 1 gives rows: v[point * v_batch + channel * lines + tile].
struct WinogradInput {
  WinogradTiles tiles;
  std::int64_t channels, begin, end;
  std::int64_t h, w, pad_h, pad_w;
  const void* x;
  void* v;
  std::int64_t v_batch, lines, kc;
  int width;
  std::int64_t pitch;  // of `plane`, from winograd_pitch
  void* plane;         // scratch: 12 * pitch
};
GS_KERNEL(winograd_input, void(const WinogradInput& args));
// The same of gradients of the outputs, A dy A^T: tiles of 4 x 4, no padding.
GS_KERNEL(winograd_gradient, void(const WinogradInput& args));

// Elements of a row of all tiles: four each, and what a register spills.
GS_CONV_INLINE std::int64_t winograd_pitch(std::int64_t lines) {
  return kWinogradTile * lines + 16;
}

// Outputs from m[point * m_batch + channel * m_row + tile], bias and activation.
struct WinogradOutput {
  WinogradTiles tiles;
  std::int64_t channels, h, w;
  const void* m;
  std::int64_t m_batch, m_row;
  void* y;
  ConvEpilogue epilogue;
};
GS_KERNEL(winograd_output, void(const WinogradOutput& args));

// dw[line * depth * 9 + d * 9 + tap] from u[point * u_batch + line * depth + d]: G^T u G.
struct WinogradWeightGrad {
  std::int64_t depth;
  std::int64_t begin, end;  // lines
  const void* u;
  std::int64_t u_batch;
  void* dw;
};
GS_KERNEL(winograd_weight_grad, void(const WinogradWeightGrad& args));

// ---- Driver -------------------------------------------------------------------------------------
#if !defined(GS_ISA)

// A forward pass or an input gradient: images of `depth` channels in, of `lines` channels out.
struct WinogradConv {
  std::int64_t n, depth, in_h, in_w, lines, out_h, out_w, pad_h, pad_w;
  bool adjoint;  // w is depth x lines and its taps are reversed
};
WinogradConv winograd_forward(const ConvShape& s);
WinogradConv winograd_adjoint(const ConvShape& s);

// Whether the method applies (dtype, kernel, stride), is allowed, and is expected to be faster.
bool winograd_pays(DType dtype, const ConvShape& s, const WinogradConv& p);
void winograd_conv(const WinogradConv& p, void* y, const void* x, const void* w,
                   const ConvEpilogue& epilogue);

bool winograd_weight_grad_pays(DType dtype, const ConvShape& s);
void winograd_conv_weight_grad(const ConvShape& s, void* dw, const void* dy, const void* x);

// Allowed unless GRADSMITH_WINOGRAD is 0.
GS_API bool winograd_enabled();
GS_API void set_winograd_enabled(bool enabled);

#endif
}  // namespace gradsmith::kernels
