// Drivers of the weight and bias gradients. dw is cut over images by the shape alone and its parts
// are added in order; over channels it is cut as the threads need it, which changes no bit.
#include <algorithm>

#include "base/math.h"
#include "kernels/conv/common.h"
#include "kernels/conv/layout.h"
#include "kernels/gemm/blocking.h"
#include "kernels/trace.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace gradsmith::kernels {
namespace {

constexpr std::int64_t kPartPixels = 2048;          // fewest pixels of a part
constexpr std::int64_t kPartialElements = 1 << 22;  // most memory for parts of dw
constexpr std::int64_t kWidestPanel = 32;           // outputs of a panel, on any target

// How a weight gradient is cut.
struct Cut {
  bool outer;                        // outer products, else dot products
  std::int64_t images, image_parts;  // of a part, and how many parts
  std::int64_t c_range, c_parts;     // input channels
  std::int64_t m_range, m_parts;     // output channels
  std::int64_t rows_per_chunk, images_per_chunk;
};

Cut choose_cut(const ConvShape& s) {
  const std::int64_t cg = s.group_c(), og = s.group_o(), taps = s.kh * s.kw;
  const std::int64_t out_h = s.out_h(), out_w = s.out_w(), size = s.o * cg * taps;
  const std::int64_t threads = get_num_threads();
  Cut cut{};
  // Few outputs leave lanes empty; few taps do not repay the transposition of dy.
  cut.outer = active_target() != Target::reference && og >= 16 && cg * taps >= 64;

  // Input channels of a part: for outer products as many as the threads leave, since each part
  // transposes dy; for dot products few enough for L2, many enough to repay a copy of dy.
  cut.c_range =
      cut.outer ? cg : std::clamp<std::int64_t>(cg / 16, std::min<std::int64_t>(cg, 8), 32);
  const std::int64_t wanted = cut.outer ? 8 : 16;
  cut.image_parts = std::min(s.n, ceil_div(wanted, ceil_div(cg, cut.c_range) * s.groups));
  cut.image_parts = std::max<std::int64_t>(
      1, std::min({cut.image_parts, kPartialElements / size, s.n * out_h * out_w / kPartPixels}));
  cut.images = std::max<std::int64_t>(1, ceil_div(s.n, cut.image_parts));
  cut.image_parts = std::max<std::int64_t>(1, ceil_div(s.n, cut.images));
  if (cut.outer && threads > 1 && s.groups * cut.image_parts < 2 * threads) {
    cut.c_range = ceil_div(cg, ceil_div(2 * threads, s.groups * cut.image_parts));
  }
  cut.c_parts = ceil_div(cg, cut.c_range);
  const std::int64_t tasks = cut.c_parts * s.groups * cut.image_parts;
  const std::int64_t m_wanted = tasks < threads ? ceil_div(threads, tasks) : 1;
  cut.m_range = round_up(ceil_div(og, m_wanted), cut.outer ? kWidestPanel : 12);
  cut.m_parts = ceil_div(og, cut.m_range);

  // Pixels of a chunk. Outer products: a panel of dy and the inputs of a tile stay in L1, all
  // panels in L2. Dot products: few sums over lanes; prepared rows of several images are short.
  const std::int64_t outer_pixels = std::clamp<std::int64_t>(49152 / og, 200, 512);
  const std::int64_t row_pixels = cut.outer ? outer_pixels : 1536;
  const std::int64_t image_pixels = cut.outer ? outer_pixels : 640;
  cut.rows_per_chunk =
      std::max<std::int64_t>(1, std::min(out_h, row_pixels / std::max<std::int64_t>(1, out_w)));
  const std::int64_t fit = image_pixels / std::max<std::int64_t>(1, out_h * out_w);
  cut.images_per_chunk =
      cut.rows_per_chunk < out_h ? 1 : std::clamp<std::int64_t>(fit, 1, cut.images);
  return cut;
}

}  // namespace

void conv2d_weight_grad(DType dtype, const ConvShape& s, void* dw, const void* dy, const void* x) {
  const std::int64_t cg = s.group_c(), og = s.group_o(), taps = s.kh * s.kw;
  const std::int64_t size = s.o * cg * taps, out_h = s.out_h(), out_w = s.out_w();
  if (size == 0) return;
  if (is_linear(s)) return conv_product(dtype, s.o, cg * taps, s.n, dw, dy, true, x, false, {});
  if (is_depthwise(s)) {
    trace_conv("conv2d_weight_grad", dtype, s, ConvPath::depthwise);
    return depthwise_conv_weight_grad(dtype, s, dw, dy, x);
  }
  const bool winograd = winograd_weight_grad_pays(dtype, s);
  const Cut cut = choose_cut(s);
  trace_conv("conv2d_weight_grad", dtype, s,
             winograd    ? ConvPath::winograd
             : cut.outer ? ConvPath::outer
                         : ConvPath::direct);
  const TraceInside inside;
  if (winograd) return winograd_conv_weight_grad(s, dw, dy, x);

  const std::int64_t chunk_pixels = cut.images_per_chunk * cut.rows_per_chunk * out_w;
  const std::int64_t rows_of_dy =
      cut.images_per_chunk * cut.m_range * weight_run(s, cut.rows_per_chunk) + kConvSlack;
  const std::int64_t channel = forward_source(s, 0, cut.rows_per_chunk).channel();
  const std::int64_t source = cut.images_per_chunk * cut.c_range * channel + kConvSlack;

  Workspace shared;
  const std::int64_t bytes = std::int64_t(itemsize(dtype));
  char* const parts = cut.image_parts == 1 ? static_cast<char*>(dw)
                                           : shared.get<char>(cut.image_parts * size * bytes);
  const auto kernel = conv_weight_grad.pick(dtype);
  const std::int64_t products =
      cut.images * out_h * out_w * cut.c_range * taps * std::min(og, cut.m_range) + 1;
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    Workspace workspace;
    ConvWeightPart part{};
    part.shape = s;
    part.dy = dy;
    part.x = x;
    part.images_per_chunk = cut.images_per_chunk;
    part.rows_per_chunk = cut.rows_per_chunk;
    part.source = workspace.get<char>(source * bytes);
    part.offset = workspace.get<std::int64_t>(cut.c_range * taps);
    if (cut.outer) {
      part.panels = workspace.get<char>(cut.m_range * chunk_pixels * bytes);
      part.sums = workspace.get<char>(cut.m_range * cut.c_range * taps * bytes);
    } else {
      part.dy_source = workspace.get<char>(rows_of_dy * bytes);
    }
    for (std::int64_t i = begin; i < end; ++i) {
      std::int64_t rest = i;
      part.m_begin = rest % cut.m_parts * cut.m_range;
      part.m_end = std::min(og, part.m_begin + cut.m_range);
      rest /= cut.m_parts;
      part.c_begin = rest % cut.c_parts * cut.c_range;
      part.c_end = std::min(cg, part.c_begin + cut.c_range);
      rest /= cut.c_parts;
      part.group = rest % s.groups;
      rest /= s.groups;
      part.image_begin = std::min(s.n, rest * cut.images);
      part.image_end = std::min(s.n, part.image_begin + cut.images);
      part.dw = parts + rest * size * bytes;
      kernel(part);
    }
  };
  parallel_for(cut.image_parts * s.groups * cut.c_parts * cut.m_parts, kConvGrain / products + 1,
               run);
  if (cut.image_parts == 1) return;
  conv_add_parts(dtype, dw, parts, cut.image_parts, size);
}

void conv2d_bias_grad(DType dtype, const ConvShape& s, void* db, const void* dy) {
  const std::int64_t pixels = s.out_h() * s.out_w();
  const auto kernel = conv_bias_grad.pick(dtype);
  parallel_for(s.o, (1 << 16) / (s.n * pixels + 1) + 1, [&](std::int64_t begin, std::int64_t end) {
    kernel(
        {.n = s.n, .o = s.o, .pixels = pixels, .o_begin = begin, .o_end = end, .db = db, .dy = dy});
  });
}

}  // namespace gradsmith::kernels
