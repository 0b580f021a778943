// Convolution by Winograd's method: parts of some rows of tiles, each transformed, multiplied and
// transformed back while it is in the cache. How they are cut changes no bit of the result.
#include "kernels/conv/conv.h"

#include <algorithm>
#include <atomic>

#include "base/env.h"
#include "base/math.h"
#include "kernels/conv/weights.h"
#include "kernels/gemm/blocking.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace gradsmith::kernels {
namespace {

constexpr std::int64_t kFewestTiles = 64;        // fewer would read the weights too often
constexpr std::int64_t kMostTiles = 128;         // more would have the product pack the weights
constexpr std::int64_t kPartElements = 1 << 18;  // transformed inputs and products of a part: L2
constexpr std::int64_t kApart = 16;  // between the points, or they compete for one set of the cache

std::atomic<bool>& enabled() {
  static std::atomic<bool> value = env_int("GRADSMITH_WINOGRAD", 1, 0, 1) != 0;
  return value;
}

std::int64_t tiles_of(std::int64_t outputs) { return ceil_div(outputs, kWinogradTile); }

// Rows of tiles in a part: what fits the cache and fills whole panels best.
std::int64_t rows_of_part(const WinogradConv& p, std::int64_t nr) {
  const std::int64_t tiles_w = tiles_of(p.out_w), rows = p.n * tiles_of(p.out_h);
  const std::int64_t fit = kPartElements / (kWinogradPoints * (p.depth + p.lines));
  const std::int64_t most = std::clamp(fit, kFewestTiles, kMostTiles);
  const std::int64_t threads = get_num_threads();
  const std::int64_t share = threads > 1 ? ceil_div(rows, 2 * threads) : rows;
  std::int64_t best = 1;
  double best_cost = 0;
  for (std::int64_t r = 1; r == 1 || (r <= share && r * tiles_w <= most); ++r) {
    const double tiles = double(r * tiles_w), padded = double(round_up(r * tiles_w, nr));
    const double cost = (padded + 8) / tiles;  // 8: the weights are read once a part
    if (r == 1 || cost <= best_cost) best = r, best_cost = cost;
  }
  return best;
}

bool applies(DType dtype, const ConvShape& s, const WinogradConv& p) {
  return dtype == DType::f32 && s.kh == 3 && s.kw == 3 && s.groups == 1 && s.stride_h == 1 &&
         s.stride_w == 1 && s.dilation_h == 1 && s.dilation_w == 1 && p.pad_h >= 0 &&
         p.pad_w >= 0 && p.pad_h <= 2 && p.pad_w <= 2 && active_target() != Target::reference &&
         winograd_enabled();
}

// In multiply-adds: the transforms of a tile cost some 80 cycles a channel, those of the weights 70
// a pair of channels, at 16 multiply-adds a cycle, of which products and the direct sum reach a
// share.
bool is_faster(const WinogradConv& p, std::int64_t images, double products, double direct) {
  const double tiles = double(images * tiles_of(p.out_h) * tiles_of(p.out_w));
  const double pairs = double(p.depth * p.lines), channels = double(p.depth + p.lines);
  const double here = tiles * (kWinogradPoints * pairs / products + 1250 * channels) + 1100 * pairs;
  return here < 0.9 * double(images * p.out_h * p.out_w) * 9 * pairs / direct;
}

}  // namespace

bool winograd_enabled() { return enabled().load(std::memory_order_relaxed); }
void set_winograd_enabled(bool value) { enabled().store(value, std::memory_order_relaxed); }

WinogradConv winograd_forward(const ConvShape& s) {
  return {s.n, s.c, s.h, s.w, s.o, s.out_h(), s.out_w(), s.pad_h, s.pad_w, false};
}

WinogradConv winograd_adjoint(const ConvShape& s) {
  return {s.n, s.o, s.out_h(), s.out_w(), s.c, s.h, s.w, 2 - s.pad_h, 2 - s.pad_w, true};
}

// The choice is made for one image, however many there are: a sample has the same bits alone and in
// a batch.
bool winograd_pays(DType dtype, const ConvShape& s, const WinogradConv& p) {
  return applies(dtype, s, p) && is_faster(p, 1, 0.75, 0.65);
}

void winograd_conv(const WinogradConv& p, void* y, const void* x, const void* w,
                   const ConvEpilogue& epilogue) {
  const GemmShape shape = gemm_shape_of(DType::f32);
  const std::int64_t nr = shape.nr, kc = depth_block(p.depth, shape.kc);
  // Panels of the weights, of equal height.
  const int width = int(ceil_div(p.lines, ceil_div(p.lines, shape.mr)));
  const std::int64_t padded = round_up(p.lines, width), u_batch = padded * p.depth + kApart;
  Workspace shared;
  const auto weights = winograd_weights.pick(DType::f32);
  const std::int64_t grain = round_up(1 + (1 << 12) / p.depth, width);
  const auto transform = [&](void* u) {
    parallel_for(padded, grain, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t one = 9, many = 9 * (p.adjoint ? p.lines : p.depth);
      weights({.depth = p.depth,
               .line_step = p.adjoint ? one : many,
               .depth_step = p.adjoint ? many : one,
               .flipped = p.adjoint,
               .begin = begin,
               .end = end,
               .w = w,
               .u = static_cast<float*>(u),
               .u_batch = u_batch,
               .lines = p.lines,
               .padded = padded,
               .kc = kc,
               .width = width});
    });
  };
  const KeptKey key{std::int64_t(KeptWeights::winograd), std::int64_t(active_target()), p.adjoint,
                    p.lines, p.depth};
  const void* const u =
      prepared(shared, w, key, std::size_t(kWinogradPoints * u_batch) * sizeof(float), transform);
  const PackedOperand packed_u{u, active_target(), width, p.lines, p.depth, u_batch};

  const auto input = winograd_input.pick(DType::f32);
  const auto output = winograd_output.pick(DType::f32);
  const std::int64_t tiles_w = tiles_of(p.out_w), tiles_h = tiles_of(p.out_h);
  const std::int64_t rows = p.n * tiles_h, part = rows_of_part(p, nr);
  const std::int64_t most = round_up(part * tiles_w, nr), pitch = winograd_pitch(most);
  const std::int64_t v_batch = most * p.depth + kApart, m_batch = most * p.lines + kApart;
  parallel_for(ceil_div(rows, part), 1, [&](std::int64_t begin, std::int64_t end) {
    Workspace mine;
    float* const v = mine.get<float>(kWinogradPoints * v_batch);
    float* const m = mine.get<float>(kWinogradPoints * m_batch);
    float* const plane = mine.get<float>(2 * kWinogradReach * pitch);
    for (std::int64_t i = begin; i < end; ++i) {
      const WinogradTiles tiles{tiles_h, tiles_w, i * part, std::min(rows, (i + 1) * part)};
      const std::int64_t lines = round_up(tiles.count(), nr);
      input({.tiles = tiles,
             .channels = p.depth,
             .begin = 0,
             .end = p.depth,
             .h = p.in_h,
             .w = p.in_w,
             .pad_h = p.pad_h,
             .pad_w = p.pad_w,
             .x = x,
             .v = v,
             .v_batch = v_batch,
             .lines = lines,
             .kc = kc,
             .width = int(nr),
             .pitch = pitch,
             .plane = plane});
      const PackedOperand packed{v, active_target(), int(nr), lines, p.depth, v_batch};
      gemm(DType::f32, {.m = p.lines,
                        .n = lines,
                        .k = p.depth,
                        .a = {.packed = &packed_u},
                        .b = {.packed = &packed},
                        .c = {.data = m, .rs = lines, .cs = 1, .batch = m_batch},
                        .epilogue = {},
                        .batch = kWinogradPoints});
      output({.tiles = tiles,
              .channels = p.lines,
              .h = p.out_h,
              .w = p.out_w,
              .m = m,
              .m_batch = m_batch,
              .m_row = lines,
              .y = y,
              .epilogue = epilogue});
    }
  });
}

bool winograd_weight_grad_pays(DType dtype, const ConvShape& s) {
  const WinogradConv p = winograd_forward(s);
  return applies(dtype, s, p) && is_faster(p, s.n, 0.6, 0.55);
}

// Parts of the tiles one after another, each by all threads: the sums are in the order of the
// parts, which depend on the shape alone.
void winograd_conv_weight_grad(const ConvShape& s, void* dw, const void* dy, const void* x) {
  constexpr std::int64_t kElements = 1 << 21, kFewest = 64, kMost = 512;
  const WinogradConv p = winograd_forward(s);
  const std::int64_t nr = gemm_shape_of(DType::f32).nr, channels = p.depth + p.lines;
  const std::int64_t tiles_w = tiles_of(p.out_w), tiles_h = tiles_of(p.out_h);
  const std::int64_t rows = p.n * tiles_h;
  const std::int64_t wanted = std::clamp(kElements / (kWinogradPoints * channels), kFewest, kMost);
  const std::int64_t part = std::clamp<std::int64_t>(wanted / tiles_w, 1, rows);
  const std::int64_t most = round_up(part * tiles_w, nr), pitch = winograd_pitch(most);
  const std::int64_t v_batch = most * p.depth + kApart, g_batch = most * p.lines + kApart;
  const std::int64_t u_batch = p.lines * p.depth + kApart;
  Workspace shared;
  float* const u = shared.get<float>(kWinogradPoints * u_batch);
  float* const v = shared.get<float>(kWinogradPoints * v_batch);
  float* const g = shared.get<float>(kWinogradPoints * g_batch);
  const auto input = winograd_input.pick(DType::f32);
  const auto gradient = winograd_gradient.pick(DType::f32);
  for (std::int64_t row = 0; row < rows; row += part) {
    const WinogradTiles tiles{tiles_h, tiles_w, row, std::min(rows, row + part)};
    const std::int64_t lines = round_up(tiles.count(), nr);
    parallel_for(channels, 1 + (1 << 10) / lines, [&](std::int64_t begin, std::int64_t end) {
      Workspace mine;
      WinogradInput args{.tiles = tiles,
                         .channels = p.depth,
                         .begin = std::min(begin, p.depth),
                         .end = std::min(end, p.depth),
                         .h = p.in_h,
                         .w = p.in_w,
                         .pad_h = p.pad_h,
                         .pad_w = p.pad_w,
                         .x = x,
                         .v = v,
                         .v_batch = v_batch,
                         .lines = lines,
                         .kc = 1,
                         .width = int(nr),
                         .pitch = pitch,
                         .plane = mine.get<float>(2 * kWinogradReach * pitch)};
      if (args.begin < args.end) input(args);
      args.channels = p.lines;
      args.begin = std::max(begin - p.depth, std::int64_t(0));
      args.end = std::max(end - p.depth, std::int64_t(0));
      args.h = p.out_h;
      args.w = p.out_w;
      args.pad_h = args.pad_w = 0;
      args.x = dy;
      args.v = g;
      args.v_batch = g_batch;
      if (args.begin < args.end) gradient(args);
    });
    // Only the real tiles: what fills up the last panel must not be counted.
    gemm(DType::f32, {.m = p.lines,
                      .n = p.depth,
                      .k = tiles.count(),
                      .a = {.data = g, .rs = lines, .cs = 1, .batch = g_batch},
                      .b = {.data = v, .rs = 1, .cs = lines, .batch = v_batch},
                      .c = {.data = u, .rs = p.depth, .cs = 1, .batch = u_batch},
                      .beta = row == 0 ? 0.0 : 1.0,
                      .epilogue = {},
                      .batch = kWinogradPoints});
  }
  const auto weights = winograd_weight_grad.pick(DType::f32);
  parallel_for(p.lines, 1 + (1 << 12) / p.depth, [&](std::int64_t begin, std::int64_t end) {
    weights({.depth = p.depth, .begin = begin, .end = end, .u = u, .u_batch = u_batch, .dw = dw});
  });
}

}  // namespace gradsmith::kernels
