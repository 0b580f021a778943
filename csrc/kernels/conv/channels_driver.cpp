// Driver of convolution with channels as lanes: images and panels are dealt out freely.
#include <algorithm>

#include "base/math.h"
#include "kernels/conv/channels.h"
#include "kernels/conv/common.h"
#include "kernels/conv/weights.h"
#include "kernels/gemm/blocking.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace gradsmith::kernels {
namespace {

constexpr std::int64_t kSums = 1 << 15;       // elements of unfinished sums: 128 KB of float32
constexpr std::int64_t kPackGrain = 1 << 18;  // fewest bytes of packed weights worth a thread
// 1x1 kernels.
constexpr std::int64_t kHoledPixels = 1024;     // with stride: more are bound by memory
constexpr std::int64_t kRaggedPixels = 300;     // of more, a last register is a small part
constexpr std::int64_t kRaggedImage = 1 << 17;  // elements that stay in L2 while all panels pass

}  // namespace

// In multiply-adds of a lane: each side's, over the share of the peak that it reaches.
bool channels_pay(DType dtype, const ConvShape& s, bool adjoint) {
  const std::int64_t taps = s.kh * s.kw, out_h = s.out_h(), out_w = s.out_w();
  const std::int64_t strides = s.stride_h * s.stride_w;
  const std::int64_t depth = adjoint ? s.group_o() : s.group_c();
  const std::int64_t m = adjoint ? s.group_c() : s.group_o();
  if (active_target() == Target::reference || m == 0 || depth == 0) return false;
  const GemmShape shape = gemm_shape_of(dtype);
  const std::int64_t lanes = shape.vector;
  if (taps == 1) {
    // 1x1: packed products do not suffer from narrow rows, but wide registers of them from holes in
    // dx and from a last register of an image that is nearly empty.
    const std::int64_t image = out_h * out_w, padded = round_up(image, lanes);
    const bool holed = adjoint && strides > 1 && s.h * s.w <= kHoledPixels;
    const bool ragged = !adjoint && strides == 1 && image <= kRaggedPixels &&
                        padded * 25 >= image * 26 && padded * 10 <= image * 11 && depth >= 256 &&
                        m >= 64 && depth * image <= kRaggedImage;
    if (!wide_registers(shape, std::size_t(itemsize(dtype)))) return false;
    if (!holed) return ragged;
  }
  std::int64_t met_h = 0, met_w = 0;  // pairs of outputs and taps inside the image
  for (std::int64_t i = 0; i < s.kh; ++i) {
    const TapRange r = tap_range(i, s.dilation_h, s.pad_h, s.stride_h, s.h, out_h);
    met_h += std::max<std::int64_t>(0, r.end - r.begin);
  }
  for (std::int64_t j = 0; j < s.kw; ++j) {
    const TapRange r = tap_range(j, s.dilation_w, s.pad_w, s.stride_w, s.w, out_w);
    met_w += std::max<std::int64_t>(0, r.end - r.begin);
  }
  // A chain ends with a sum that is loaded and stored.
  constexpr std::int64_t kChainEnd = 4;
  const std::int64_t chains = ceil_div(depth, conv_depth_block(depth));
  const double here =
      double(met_h * met_w * (depth + kChainEnd * chains) * round_up(m, lanes)) / 0.97;
  const std::int64_t rows = adjoint ? ceil_div(s.h, s.stride_h) : out_h;
  const std::int64_t cols = adjoint ? ceil_div(s.w, s.stride_w) : out_w;
  const std::int64_t pitch = cols + (s.kw - 1) * s.dilation_w / s.stride_w;
  const std::int64_t vectors =
      std::min(rows * ceil_div(cols, lanes), ceil_div((rows - 1) * pitch + cols, lanes));
  const double products = double(depth * taps * m), pixels = double(rows * cols);
  // Packing an input of which a register is put together from several rows.
  const double packing = 0.15 * double(lanes) * (1 + 16 / double(cols)) / double(m);
  double there = double(vectors * lanes) * products / 0.9;
  if (m >= 16) there = std::min(there, pixels * products * (1 + packing) / 0.9);
  return here < there;
}

void channels_conv(DType dtype, const ConvShape& s, bool adjoint, void* out, const void* in,
                   const void* w, const ConvEpilogue& epilogue) {
  const std::int64_t m = adjoint ? s.group_c() : s.group_o(), taps = s.kh * s.kw;
  const std::int64_t depth = adjoint ? s.group_o() : s.group_c();
  const std::int64_t pixels = adjoint ? s.h * s.w : s.out_h() * s.out_w();
  if (s.n == 0 || m == 0 || pixels == 0) return;
  const std::int64_t lanes = gemm_shape_of(dtype).vector, panels = ceil_div(m, 2 * lanes);
  const std::int64_t size = std::int64_t(itemsize(dtype)), threads = get_num_threads();
  const std::int64_t panel_bytes = channels_panel(depth, taps, 2 * lanes) * size;
  const auto pack_kernel = conv_channels_weights.pick(dtype);
  const auto pack = [&](std::int64_t group, std::int64_t panel, void* to) {
    pack_kernel({.shape = s,
                 .adjoint = adjoint,
                 .lanes = lanes,
                 .group = group,
                 .panel_begin = panel,
                 .panel_end = panel + 1,
                 .packed = to,
                 .weight = w});
  };
  const char* kept = nullptr;
  if (KeptScope* const scope = KeptScope::for_memory(w)) {
    const auto kind = adjoint ? KeptWeights::adjoint_lanes : KeptWeights::forward_lanes;
    const auto bytes = std::size_t(s.groups * panels * panel_bytes);
    kept = static_cast<const char*>(
        scope->get(weights_key(kind, dtype, s, int(lanes)), bytes, [&](void* to) {
          parallel_for(s.groups * panels, kPackGrain / panel_bytes + 1,
                       [&](std::int64_t begin, std::int64_t end) {
                         for (std::int64_t i = begin; i < end; ++i)
                           pack(i / panels, i % panels, static_cast<char*>(to) + i * panel_bytes);
                       });
        }));
  }
  const std::int64_t image = 2 * lanes * pixels;
  const std::int64_t shares = threads > 1 ? ceil_div(4 * threads, s.groups * panels) : 1;
  const std::int64_t images = ceil_div(s.n, std::min(s.n, shares)), parts = ceil_div(s.n, images);
  const std::int64_t together = std::clamp<std::int64_t>(kSums / image, 1, images);
  const auto kernel = conv_channels.pick(dtype);
  const std::int64_t products = images * s.out_h() * s.out_w() * depth * taps * 2 * lanes + 1;
  parallel_for(parts * s.groups * panels, kConvGrain / products + 1,
               [&](std::int64_t begin, std::int64_t end) {
                 Workspace workspace;
                 ConvChannelsPart part{};
                 part.shape = s;
                 part.adjoint = adjoint;
                 part.out = out;
                 part.in = in;
                 part.weight = w;
                 part.epilogue = epilogue;
                 part.lanes = lanes;
                 part.images_together = together;
                 part.sums = workspace.get<char>(together * image * size);
                 // Weights that are not kept are packed panel by panel: they stay in L2.
                 char* const scratch = kept ? nullptr : workspace.get<char>(panel_bytes);
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t panel = i / parts;  // of all groups
                   part.image_begin = i % parts * images;
                   part.image_end = std::min(s.n, part.image_begin + images);
                   part.panel_begin = panel % panels;
                   part.panel_end = part.panel_begin + 1;
                   part.group = panel / panels;
                   if (!kept && (i == begin || i % parts == 0))
                     pack(part.group, part.panel_begin, scratch);
                   part.packed = kept ? kept + panel * panel_bytes : scratch;
                   kernel(part);
                 }
               });
}

}  // namespace gradsmith::kernels
