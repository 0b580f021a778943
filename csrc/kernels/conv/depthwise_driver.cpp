// Drivers of depthwise convolution. Planes and bands of rows are dealt out freely; dw is cut over
// images by the shape alone and its parts are added in order.
#include <algorithm>

#include "base/math.h"
#include "kernels/conv/common.h"
#include "kernels/conv/depthwise.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace gradsmith::kernels {
namespace {

constexpr std::int64_t kChannels = 16;  // of a part of dw: their sums stay in L1

}  // namespace

void depthwise_conv(DType dtype, const ConvShape& s, bool adjoint, void* out, const void* in,
                    const void* w, const ConvEpilogue& epilogue) {
  const std::int64_t height = adjoint ? s.h : s.out_h(), planes = s.n * s.groups;
  const std::int64_t wanted = 4 * get_num_threads();
  const std::int64_t cuts = get_num_threads() > 1 ? ceil_div(wanted, planes) : 1;
  const std::int64_t rows = std::min(height, std::max<std::int64_t>(16, ceil_div(height, cuts)));
  const std::int64_t bands = ceil_div(height, rows);
  const std::int64_t products = rows * s.out_w() * s.kh * s.kw + 1;
  const auto kernel = (adjoint ? depthwise_input_grad : depthwise_forward).pick(dtype);
  parallel_for(planes * bands, kConvGrain / products + 1,
               [&](std::int64_t begin, std::int64_t end) {
                 DepthwisePart part{.shape = s,
                                    .out = out,
                                    .in = in,
                                    .weight = w,
                                    .epilogue = epilogue,
                                    .plane_begin = begin,
                                    .plane_end = end,
                                    .row_begin = 0,
                                    .row_end = height};
                 if (bands == 1) return kernel(part);
                 for (std::int64_t i = begin; i < end; ++i) {
                   part.plane_begin = i / bands;
                   part.plane_end = part.plane_begin + 1;
                   part.row_begin = i % bands * rows;
                   part.row_end = std::min(height, part.row_begin + rows);
                   kernel(part);
                 }
               });
}

void depthwise_conv_weight_grad(DType dtype, const ConvShape& s, void* dw, const void* dy,
                                const void* x) {
  constexpr std::int64_t kParts = 16;
  const std::int64_t taps = s.kh * s.kw, size = s.groups * taps,
                     bytes = std::int64_t(itemsize(dtype));
  const std::int64_t blocks = ceil_div(s.groups, kChannels);
  const std::int64_t images = std::max<std::int64_t>(1, ceil_div(s.n, ceil_div(kParts, blocks)));
  const std::int64_t parts = std::max<std::int64_t>(1, ceil_div(s.n, images));
  Workspace shared;
  char* const to = parts == 1 ? static_cast<char*>(dw) : shared.get<char>(parts * size * bytes);
  const auto kernel = depthwise_weight_grad.pick(dtype);
  const std::int64_t products =
      images * std::min(s.groups, kChannels) * s.out_h() * s.out_w() * taps + 1;
  parallel_for(parts * blocks, kConvGrain / products + 1,
               [&](std::int64_t begin, std::int64_t end) {
                 Workspace workspace;
                 DepthwiseWeightPart part{};
                 part.shape = s;
                 part.dy = dy;
                 part.x = x;
                 part.sums = workspace.get<char>(kChannels * taps * kDepthwiseLanes * bytes);
                 for (std::int64_t i = begin; i < end; ++i) {
                   part.channel_begin = i % blocks * kChannels;
                   part.channel_end = std::min(s.groups, part.channel_begin + kChannels);
                   part.image_begin = std::min(s.n, i / blocks * images);
                   part.image_end = std::min(s.n, part.image_begin + images);
                   part.dw = to + i / blocks * size * bytes;
                   kernel(part);
                 }
               });
  if (parts > 1) conv_add_parts(dtype, dw, to, parts, size);
}

}  // namespace gradsmith::kernels
