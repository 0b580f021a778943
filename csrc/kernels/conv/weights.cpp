#include "kernels/conv/weights.h"

#include <algorithm>

#include "base/math.h"
#include "kernels/conv/layout.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace gradsmith::kernels {
namespace {

// The taps of the input gradient in the order of the phases, and where each phase begins; returns
// how many phases there are.
std::int64_t order_taps(const ConvShape& s, std::int64_t* order, std::int64_t* phase_begin) {
  std::int64_t phases = 0;
  over_grad_phases(s, [&](std::int64_t rh, std::int64_t rw, std::int64_t before, std::int64_t) {
    std::int64_t* tap = order + before;
    phase_begin[phases++] = before;
    for (std::int64_t i = 0; i < s.kh; ++i)
      for (std::int64_t j = 0; j < s.kw; ++j)
        if (grad_tap(i, s.dilation_h, s.pad_h, s.stride_h).phase == rh &&
            grad_tap(j, s.dilation_w, s.pad_w, s.stride_w).phase == rw)
          *tap++ = i * s.kw + j;
  });
  phase_begin[phases] = s.kh * s.kw;
  return phases;
}

template <class T>
void transpose_weights(const ConvShape& s, T* transposed, const T* w) {
  constexpr std::int64_t kBlock = 16;  // input channels at a time: whole cache lines of w
  const std::int64_t cg = s.group_c(), og = s.group_o(), taps = s.kh * s.kw;
  Workspace workspace;
  std::int64_t* order = workspace.get<std::int64_t>(taps);  // taps in the order of the phases
  std::int64_t* phase_begin = workspace.get<std::int64_t>(s.stride_h * s.stride_w + 1);
  const std::int64_t phases = order_taps(s, order, phase_begin);
  const std::int64_t blocks = ceil_div(cg, kBlock);
  const std::int64_t grain = (1 << 15) / (kBlock * og * taps + 1) + 1;
  parallel_for(s.groups * blocks, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t g = block / blocks, m_begin = block % blocks * kBlock;
      const std::int64_t m_end = std::min(cg, m_begin + kBlock);
      for (std::int64_t p = 0; p < phases; ++p) {
        const std::int64_t first = phase_begin[p], last = phase_begin[p + 1];
        for (std::int64_t o = 0; o < og; ++o)
          for (std::int64_t m = m_begin; m < m_end; ++m) {
            const T* from = w + ((g * og + o) * cg + m) * taps;
            T* to = transposed + (g * cg + m) * og * taps + og * first + o * (last - first);
            for (std::int64_t t = first; t < last; ++t) *to++ = from[order[t]];
          }
      }
    }
  });
}

// Panels [begin, end) of one group. Line l of a phase is input channel l; its depths are (o, tap of
// the phase). What one o gives to a panel lies together in w, and `from` lists where.
template <class T>
void pack_adjoint(const ConvShape& s, std::int64_t g, std::int64_t begin, std::int64_t end,
                  std::int64_t width, std::int64_t lines, const std::int64_t* order,
                  const std::int64_t* phase_begin, std::int64_t phases, T* packed, const T* w) {
  const std::int64_t cg = s.group_c(), og = s.group_o(), taps = s.kh * s.kw;
  Workspace workspace;
  std::int32_t* const from = workspace.get<std::int32_t>(taps * width);
  for (std::int64_t p = 0; p < phases; ++p) {
    const std::int64_t first = phase_begin[p], count = phase_begin[p + 1] - first;
    if (count == 0) continue;
    for (std::int64_t tap = 0; tap < count; ++tap)
      for (std::int64_t l = 0; l < width; ++l)
        from[tap * width + l] = std::int32_t(order[first + tap] + l * taps);
    const std::int64_t k = og * count, block = conv_depth_block(k);
    for (std::int64_t panel = begin; panel < end; ++panel) {
      const std::int64_t line = panel * width, real = std::min(width, cg - line);
      for (std::int64_t k0 = 0; k0 < k; k0 += block) {
        const std::int64_t depth = std::min(block, k - k0);
        T* to = packed + lines * (g * og * taps + og * first + k0) + line * depth;
        for (std::int64_t d = k0; d < k0 + depth;) {
          const std::int64_t o = d / count, tap = d % count;
          const std::int64_t now = std::min(count - tap, k0 + depth - d);
          const T* const source = w + ((g * og + o) * cg + line) * taps;
          const std::int32_t* const at = from + tap * width;
          if (real == width) {
            for (std::int64_t i = 0; i < now * width; ++i) to[i] = source[at[i]];
          } else {
            for (std::int64_t i = 0; i < now * width; ++i)
              to[i] = i % width < real ? source[at[i]] : T(0);
          }
          to += now * width;
          d += now;
        }
      }
    }
  }
}

}  // namespace

KeptKey weights_key(KeptWeights kind, DType dtype, const ConvShape& s, int width) {
  return {std::int64_t(kind),
          std::int64_t(dtype),
          std::int64_t(active_target()),
          width,
          s.groups,
          s.c,
          s.o,
          s.kh,
          s.kw,
          s.stride_h,
          s.stride_w,
          s.pad_h,
          s.pad_w,
          s.dilation_h,
          s.dilation_w};
}

void conv_transpose_weights(DType dtype, const ConvShape& s, void* transposed, const void* w) {
  if (dtype == DType::f32) {
    transpose_weights(s, static_cast<float*>(transposed), static_cast<const float*>(w));
  } else {
    transpose_weights(s, static_cast<double*>(transposed), static_cast<const double*>(w));
  }
}

void conv_pack_weights(DType dtype, const ConvShape& s, bool adjoint, int width, std::int64_t lines,
                       void* packed, const void* w) {
  const std::int64_t cg = s.group_c(), og = s.group_o(), taps = s.kh * s.kw;
  const std::int64_t k = adjoint ? og * taps : cg * taps, m = adjoint ? cg : og;
  const std::int64_t panels = lines / width, size = std::int64_t(itemsize(dtype));
  const bool strided = !adjoint || taps == 1;  // a matrix with two strides for each group
  const auto pack = gemm_pack.pick(dtype);
  Workspace workspace;
  std::int64_t* const order = workspace.get<std::int64_t>(taps);
  std::int64_t* const phase_begin = workspace.get<std::int64_t>(s.stride_h * s.stride_w + 1);
  const std::int64_t phases = adjoint ? order_taps(s, order, phase_begin) : 0;
  const std::int64_t grain = (1 << 16) / (width * k + 1) + 1;
  parallel_for(s.groups * panels, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end;) {
      const std::int64_t g = i / panels, first = i % panels;
      const std::int64_t now = std::min(end - i, panels - first), line = first * width;
      i += now;
      if (!strided && dtype == DType::f32) {
        pack_adjoint(s, g, first, first + now, width, lines, order, phase_begin, phases,
                     static_cast<float*>(packed), static_cast<const float*>(w));
      } else if (!strided) {
        pack_adjoint(s, g, first, first + now, width, lines, order, phase_begin, phases,
                     static_cast<double*>(packed), static_cast<const double*>(w));
      } else {
        const std::int64_t block = conv_depth_block(k);
        for (std::int64_t k0 = 0; k0 < k; k0 += block) {
          const std::int64_t depth = std::min(block, k - k0);
          char* const to =
              static_cast<char*>(packed) + (lines * (g * k + k0) + line * depth) * size;
          pack({.src = static_cast<const char*>(w) + g * og * cg * taps * size,
                .line = adjoint ? 1 : k,
                .depth = adjoint ? cg : 1,
                .request = {.dst = to,
                            .batch = 0,
                            .first = line,
                            .lines = std::min(now * width, m - line),
                            .depth0 = k0,
                            .depth = depth,
                            .width = width}});
        }
      }
    }
  });
}

}  // namespace gradsmith::kernels
