// Drivers of the forward pass and the input gradient: cut the work into parts that keep a core's L2
// cache busy, and into enough of them for all threads. How they are cut never changes a bit.
#include <algorithm>

#include "base/math.h"
#include "kernels/conv/common.h"
#include "kernels/conv/layout.h"
#include "kernels/conv/weights.h"
#include "kernels/gemm/blocking.h"
#include "kernels/trace.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace gradsmith::kernels {
namespace {

constexpr std::int64_t kSourceElements = 1 << 16;  // prepared images of a part: 256 KB of float32

// How a pass is done as a product of packed weights and inputs (width 0: it is not): m rows of
// weights, each output a sum of `sums` products. The bits are the same either way.
ConvPacked plan_packed(DType dtype, const ConvShape& s, std::int64_t m, std::int64_t sums,
                       bool adjoint) {
  ConvPacked plan;
  if (active_target() == Target::reference || sums == 0 || s.stride_h * s.stride_w > kConvPhases)
    return plan;
  // Cycles a product: what packed operands save, and what it takes to pack a weight and an input,
  // of which a register is put together from several rows where they are short.
  const bool one = s.kh * s.kw == 1 && s.stride_h == 1 && s.stride_w == 1;
  const std::int64_t width = adjoint ? s.w / s.stride_w : s.out_w();
  const double saved = adjoint ? 0.015 : 0.0066, weight = adjoint ? 0 : 1;
  const double input = 0.15 * (one ? 1 : 1 + 16.0 / double(width));
  const double pixels = double(s.n * s.out_h() * s.out_w());
  if (m < 16 || weight / pixels + input / double(m) >= saved) return plan;
  constexpr std::int64_t kPanelElements = 1 << 16, kSumElements = 1 << 17;
  const GemmShape shape = gemm_shape_of(dtype);
  plan.width = int(ceil_div(m, ceil_div(m, shape.mr)));  // panels of equal height
  plan.lines = round_up(m, plan.width);
  plan.group = kPanelElements / conv_depth_block(sums);
  if (adjoint && s.stride_w * s.stride_h > 1) {
    plan.phases = 0;
    over_grad_phases(s, [&](std::int64_t, std::int64_t, std::int64_t, std::int64_t taps) {
      plan.phases += taps > 0;
    });
    plan.group = std::min(plan.group, kSumElements / (m * plan.phases));
  }
  plan.group = std::max<std::int64_t>(plan.group / shape.nr, 1) * shape.nr;
  return plan;
}

ConvPath path_of(bool winograd, bool channels, const ConvPacked& packed) {
  return winograd       ? ConvPath::winograd
         : channels     ? ConvPath::channels
         : packed.width ? ConvPath::packed
                        : ConvPath::direct;
}

// The cut of a forward or input gradient pass: images x bands of rows x groups x channel ranges.
struct Cut {
  std::int64_t images, rows, groups, channels;            // of one part
  std::int64_t image_parts, bands, group_parts, m_parts;  // counts
  std::int64_t source;                                    // elements of prepared images in a part
};

// `plan(rows)` gives the layout of a band that many rows high; no source channels: nothing is
// prepared.
template <class Plan>
Cut choose_cut(const ConvShape& s, std::int64_t height, std::int64_t row_unit,
               std::int64_t source_channels, std::int64_t m, const ConvPacked& packed, Plan plan) {
  const auto elements = [&](std::int64_t rows) { return source_channels * plan(rows).channel(); };
  const std::int64_t threads = get_num_threads();
  Cut cut{};
  cut.rows = height;
  while (cut.rows > 8 * row_unit && elements(cut.rows) > 4 * kSourceElements)
    cut.rows = ceil_div(ceil_div(cut.rows, 2), row_unit) * row_unit;
  cut.bands = ceil_div(height, cut.rows);
  cut.images = cut.groups = 1;
  if (cut.bands == 1) {
    const std::int64_t fit = std::max<std::int64_t>(
        1, 4 * kSourceElements / std::max<std::int64_t>(1, elements(height)));
    const std::int64_t shares = s.n * s.groups / (threads > 1 ? 4 * threads : 1);
    if (s.groups > 1) {
      cut.groups = std::clamp<std::int64_t>(std::min(fit / 16, shares), 1, s.groups);
    } else {
      cut.images = std::clamp<std::int64_t>(std::min(fit, shares), 1, s.n);
    }
  }
  cut.image_parts = ceil_div(s.n, cut.images);
  cut.group_parts = ceil_div(s.groups, cut.groups);
  cut.channels = m;
  cut.m_parts = 1;
  const std::int64_t wanted = threads > 1 ? 2 * threads : 1;
  const std::int64_t parts = cut.image_parts * cut.bands * cut.group_parts;
  if (parts < wanted && m > 1) {
    // Every range prepares the images again, so ranges stay wide.
    cut.channels =
        std::max<std::int64_t>(std::min<std::int64_t>(m, 24), ceil_div(m * parts, wanted));
    const std::int64_t unit = packed.width ? packed.width : 24;
    cut.channels = std::min(m, ceil_div(cut.channels, unit) * unit);
    cut.m_parts = ceil_div(m, cut.channels);
  }
  cut.source = cut.images * cut.groups * elements(cut.rows) + kConvSlack;
  return cut;
}

template <class Kernel>
void run_parts(DType dtype, const Cut& cut, const ConvPart& whole, std::int64_t height,
               std::int64_t m, std::int64_t sums, Kernel kernel) {
  const ConvShape& s = whole.shape;
  const std::int64_t parts = cut.image_parts * cut.bands * cut.group_parts * cut.m_parts;
  const std::int64_t products =
      cut.images * cut.groups * s.out_w() * std::min(cut.rows, s.out_h()) * cut.channels * sums + 1;
  parallel_for(parts, kConvGrain / products + 1, [&](std::int64_t begin, std::int64_t end) {
    Workspace workspace;
    const std::int64_t size = std::int64_t(itemsize(dtype));
    ConvPart part = whole;
    part.source = workspace.get<char>(cut.source * size);
    part.offset = workspace.get<std::int64_t>(sums);
    if (part.packed.weights) {
      ConvPacked& p = part.packed;
      p.panels = workspace.get<char>((p.group * std::min(sums, kConvDepth) + kConvSlack) * size);
      p.sums = workspace.get<char>(((p.group * p.phases + 1) * cut.channels + kConvSlack) * size);
    } else {
      part.partial = workspace.get<char>(kConvPartial * size);
    }
    for (std::int64_t i = begin; i < end; ++i) {
      std::int64_t rest = i;
      const std::int64_t m_part = rest % cut.m_parts;
      rest /= cut.m_parts;
      part.group = rest % cut.group_parts * cut.groups;
      part.group_end = std::min(s.groups, part.group + cut.groups);
      rest /= cut.group_parts;
      const std::int64_t band = rest % cut.bands;
      part.image_begin = rest / cut.bands * cut.images;
      part.image_end = std::min(s.n, part.image_begin + cut.images);
      part.m_begin = m_part * cut.channels;
      part.m_end = std::min(m, part.m_begin + cut.channels);
      part.packed.line = part.m_begin;
      part.row_begin = band * cut.rows;
      part.row_end = std::min(height, part.row_begin + cut.rows);
      kernel(part);
    }
  });
}

}  // namespace

void conv2d_forward(DType dtype, const ConvShape& s, void* y, const void* x, const void* w,
                    const ConvEpilogue& epilogue) {
  const std::int64_t height = s.out_h();
  if (s.n == 0 || s.o == 0 || height == 0 || s.out_w() == 0) return;
  const std::int64_t image = s.c * s.h * s.w;
  if (is_linear(s)) return conv_product(dtype, s.n, s.o, image, y, x, false, w, true, epilogue);
  if (is_depthwise(s)) {
    trace_conv("conv2d", dtype, s, ConvPath::depthwise);
    return depthwise_conv(dtype, s, false, y, x, w, epilogue);
  }
  const WinogradConv fast = winograd_forward(s);
  const bool winograd = winograd_pays(dtype, s, fast);
  const std::int64_t sums = s.group_c() * s.kh * s.kw;
  const ConvPacked packed = plan_packed(dtype, s, s.group_o(), sums, false);
  const bool channels = !winograd && channels_pay(dtype, s, false);
  trace_conv("conv2d", dtype, s, path_of(winograd, channels, packed));
  const TraceInside inside;
  if (winograd) return winograd_conv(fast, y, x, w, epilogue);
  if (channels) return channels_conv(dtype, s, false, y, x, w, epilogue);
  const bool in_place = packed.width && forward_in_place(s);
  const Cut cut = choose_cut(s, height, 1, in_place ? 0 : s.group_c(), s.group_o(), packed,
                             [&](std::int64_t rows) { return forward_source(s, 0, rows); });
  ConvPart whole{};
  whole.shape = s;
  whole.out = y;
  whole.in = x;
  whole.weight = w;
  whole.epilogue = epilogue;
  Workspace workspace;
  if (packed.width) {
    const std::int64_t elements = s.groups * packed.lines * sums;
    whole.packed = packed;
    whole.packed.weights = prepared(
        workspace, w, weights_key(KeptWeights::forward, dtype, s, packed.width),
        std::size_t(elements) * itemsize(dtype),
        [&](void* to) { conv_pack_weights(dtype, s, false, packed.width, packed.lines, to, w); });
  }
  run_parts(dtype, cut, whole, height, s.group_o(), sums, conv_forward.pick(dtype));
}

void conv2d_input_grad(DType dtype, const ConvShape& s, void* dx, const void* dy, const void* w,
                       const ConvEpilogue& epilogue) {
  if (s.n == 0 || s.c == 0 || s.h == 0 || s.w == 0) return;
  // The epilogue of dx has a value a channel, which a product's columns cannot take.
  if (is_linear(s) && !epilogue.bias) {
    return conv_product(dtype, s.n, s.c * s.h * s.w, s.o, dx, dy, false, w, false, epilogue);
  }
  if (is_depthwise(s)) {
    trace_conv("conv2d_input_grad", dtype, s, ConvPath::depthwise);
    return depthwise_conv(dtype, s, true, dx, dy, w, epilogue);
  }
  const WinogradConv fast = winograd_adjoint(s);
  const bool winograd = winograd_pays(dtype, s, fast);
  const std::int64_t sums = s.group_o() * s.kh * s.kw, size = std::int64_t(itemsize(dtype));
  const ConvPacked packed = plan_packed(dtype, s, s.group_c(), sums, true);
  const bool channels = !winograd && channels_pay(dtype, s, true);
  trace_conv("conv2d_input_grad", dtype, s, path_of(winograd, channels, packed));
  const TraceInside inside;
  if (winograd) return winograd_conv(fast, dx, dy, w, epilogue);
  if (channels) return channels_conv(dtype, s, true, dx, dy, w, epilogue);
  const Cut cut = choose_cut(s, s.h, s.stride_h, s.group_o(), s.group_c(), packed,
                             [&](std::int64_t rows) { return input_grad_source(s, 0, rows); });
  Workspace workspace;
  ConvPart whole{};
  whole.shape = s;
  whole.out = dx;
  whole.in = dy;
  whole.weight = w;
  whole.epilogue = epilogue;
  if (packed.width) {
    whole.packed = packed;
    whole.packed.weights = prepared(
        workspace, w, weights_key(KeptWeights::adjoint, dtype, s, packed.width),
        std::size_t(s.groups * packed.lines * sums * size),
        [&](void* to) { conv_pack_weights(dtype, s, true, packed.width, packed.lines, to, w); });
  } else {
    whole.transposed = prepared(workspace, w, weights_key(KeptWeights::transposed, dtype, s, 0),
                                std::size_t(s.c * sums * size),
                                [&](void* to) { conv_transpose_weights(dtype, s, to, w); });
  }
  run_parts(dtype, cut, whole, s.h, s.group_c(), sums, conv_input_grad.pick(dtype));
}

}  // namespace gradsmith::kernels
