// Convolution with channels as lanes; formula, contract and idea: channels.h. Constants: README.md.
#include "kernels/conv/channels.h"

#include "kernels/conv/prepare.h"
#include "kernels/simd/activate.h"
#include "kernels/simd/transpose.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// Pixels of a tile, times two registers of lanes.
#if (defined(GS_ISA_IS_avx512) && !defined(GS_EMULATED)) || defined(GS_ISA_IS_neon)
constexpr int kPixels = 14;
#else
constexpr int kPixels = 6;
#endif

// What a tap of a block of channels adds to the sums of an image: rows x cols pixels.
template <class T>
struct TapProduct {
  Index rows, cols;
  const T* x;
  Index x_row, x_col, x_channel;
  const T* w;  // depth x lanes
  Index depth;
  T* sums;
  Index sum_row, sum_col;
};

// Q pixels of a row, Step apart in x (0: x_col).
template <class V, int NV, int Step, int Q>
[[gnu::noinline]] void tile(const TapProduct<typename V::T>& tap, const typename V::T* x,
                            typename V::T* sums) {
  using T = typename V::T;
  const T* w = tap.w;
  const Index step = Step == 0 ? tap.x_col : Step, channel = tap.x_channel;
  V acc[Q][NV];
#pragma GCC unroll 16
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) acc[q][v] = V::zero();
  for (Index d = tap.depth; d > 0; --d, x += channel, w += NV * V::N) {
    V b[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) b[v] = load(w + v * V::N);
#pragma GCC unroll 16
    for (int q = 0; q < Q; ++q) {
      const V a = V::set(x[q * step]);
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) acc[q][v] = fma(a, b[v], acc[q][v]);
    }
  }
#pragma GCC unroll 16
  for (int q = 0; q < Q; ++q, sums += tap.sum_col)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) store(sums + v * V::N, load(sums + v * V::N) + acc[q][v]);
}

template <class V, int NV, int Step, int Q>
GS_INLINE void tile_of(int pixels, const TapProduct<typename V::T>& tap, const typename V::T* x,
                       typename V::T* sums) {
  if constexpr (Q > 1) {
    if (pixels < Q) return tile_of<V, NV, Step, Q - 1>(pixels, tap, x, sums);
  }
  tile<V, NV, Step, Q>(tap, x, sums);
}

// Rows in tiles of nearly equal width; as one where they follow each other on both sides.
template <class V, int NV, int Step>
void multiply_tap(const TapProduct<typename V::T>& tap) {
  constexpr int kMost = Step == 0 ? 4 : kPixels;
  const bool joined = tap.x_row == tap.cols * tap.x_col && tap.sum_row == tap.cols * tap.sum_col;
  const Index rows = joined ? 1 : tap.rows, cols = joined ? tap.rows * tap.cols : tap.cols;
  const Index tiles = round_up_div(cols, kMost);
  for (Index r = 0; r < rows; ++r)
    for (Index i = 0, at = 0; i < tiles; ++i) {
      const Index end = cols * (i + 1) / tiles;
      tile_of<V, NV, Step, kMost>(int(end - at), tap, tap.x + r * tap.x_row + at * tap.x_col,
                                  tap.sums + r * tap.sum_row + at * tap.sum_col);
      at = end;
    }
}

// Transposes the sums of an image, pixel after pixel, into planes of `pixels` elements.
template <class V, int NV>
void store_planes(typename V::T* out, const typename V::T* sums, Index pixels, Index lines,
                  const typename V::T* bias, Activation activation, typename V::T slope) {
  const int count = int(least(pixels, V::N));
  for (int v = 0; v < NV; ++v) {
    const int lanes = int(least(V::N, lines - v * V::N));
    const V add = bias ? load_n(bias + v * V::N, lanes) : V::zero();
    typename V::T* const planes = out + v * V::N * pixels;
    for (Index p = 0; p < pixels; p += V::N) {
      const Index at = most(0, least(p, pixels - V::N));  // the last overlaps its neighbour
      V square[V::N];
      for (int i = 0; i < V::N; ++i)
        square[i] = load(sums + (at + least(i, count - 1)) * NV * V::N + v * V::N);
      if (bias) {
        for (int i = 0; i < V::N; ++i) square[i] = square[i] + add;
      }
      if (activation != Activation::none) {
        for (int i = 0; i < V::N; ++i) square[i] = activate(square[i], activation, slope);
      }
      transpose(square);
      for (int l = 0; l < lanes; ++l) {
        if (count == V::N) {
          store(planes + l * pixels + at, square[l]);
        } else {
          store_n(planes + l * pixels, square[l], count);
        }
      }
    }
  }
}

// What one side of the convolution is: planes of h x w, `channels` of them a group.
struct Side {
  Index channels, h, w;
};

template <class V, int NV>
void run_panel(const ConvChannelsPart& a, Index panel) {
  using T = typename V::T;
  const ConvShape& s = a.shape;
  const Side image{s.group_c(), s.h, s.w}, result{s.group_o(), s.out_h(), s.out_w()};
  const Side& in = a.adjoint ? result : image;
  const Side& out = a.adjoint ? image : result;
  constexpr Index kLanes = NV * V::N;
  const Index taps = s.kh * s.kw, line = panel * 2 * V::N, pixels = out.h * out.w;
  const T* const weights = static_cast<const T*>(a.packed) +
                           (panel - a.panel_begin) * channels_panel(in.channels, taps, 2 * V::N);
  const Index block = conv_depth_block(in.channels), image_sums = pixels * kLanes;
  T* const sums = static_cast<T*>(a.sums);
  TapProduct<T> tap{};
  tap.x_channel = in.h * in.w;
  for (Index n0 = a.image_begin; n0 < a.image_end; n0 += a.images_together) {
    const Index images = least(a.images_together, a.image_end - n0);
    for (Index i = 0; i < images * image_sums; i += V::N) store(sums + i, V::zero());
    for (Index d = 0; d < in.channels; d += block) {
      tap.depth = least(block, in.channels - d);
      for (Index n = 0; n < images; ++n) {
        const T* const x =
            static_cast<const T*>(a.in) +
            ((n0 + n) * in.channels * s.groups + a.group * in.channels + d) * tap.x_channel;
        tap.w = weights + d / block * (block + 1) * taps * kLanes;
        for (Index i = 0; i < s.kh; ++i) {
          const TapRange h = tap_range(i, s.dilation_h, s.pad_h, s.stride_h, s.h, result.h);
          for (Index j = 0; j < s.kw; ++j, tap.w += (tap.depth + 1) * kLanes) {
            const TapRange w = tap_range(j, s.dilation_w, s.pad_w, s.stride_w, s.w, result.w);
            tap.rows = h.end - h.begin;
            tap.cols = w.end - w.begin;
            if (tap.rows <= 0 || tap.cols <= 0) continue;
            const Index at_image =
                (h.begin * s.stride_h + h.in) * s.w + w.begin * s.stride_w + w.in;
            const Index at_result = h.begin * result.w + w.begin;
            const Index row_image = s.stride_h * s.w, row_result = result.w;
            tap.x = x + (a.adjoint ? at_result : at_image);
            tap.x_row = a.adjoint ? row_result : row_image;
            tap.x_col = a.adjoint ? 1 : s.stride_w;
            tap.sums = sums + n * image_sums + (a.adjoint ? at_image : at_result) * kLanes;
            tap.sum_row = (a.adjoint ? row_image : row_result) * kLanes;
            tap.sum_col = (a.adjoint ? s.stride_w : 1) * kLanes;
            if (tap.x_col == 1) {
              multiply_tap<V, NV, 1>(tap);
            } else if (tap.x_col == 2) {
              multiply_tap<V, NV, 2>(tap);
            } else {
              multiply_tap<V, NV, 0>(tap);
            }
          }
        }
      }
    }
    const Index first = a.group * out.channels + line;
    const T* const bias =
        a.epilogue.bias ? static_cast<const T*>(a.epilogue.bias) + first : nullptr;
    for (Index n = 0; n < images; ++n)
      store_planes<V, NV>(
          static_cast<T*>(a.out) + ((n0 + n) * out.channels * s.groups + first) * pixels,
          sums + n * image_sums, pixels, out.channels - line, bias, a.epilogue.activation,
          T(a.epilogue.slope));
  }
}

template <class V>
void run(const ConvChannelsPart& a) {
  const Index m = a.adjoint ? a.shape.group_c() : a.shape.group_o();
  for (Index panel = a.panel_begin; panel < a.panel_end; ++panel) {
    if (m - panel * 2 * V::N > V::N) {
      run_panel<V, 2>(a, panel);
    } else {
      run_panel<V, 1>(a, panel);
    }
  }
}

// N lines of weights become lanes. Their runs of neighbours in memory are transposed: all (channel,
// tap) of a line in the forward pass, the taps of one channel in the adjoint.
template <class V>
void pack(const ConvChannelsWeights& a) {
  using T = typename V::T;
  const ConvShape& s = a.shape;
  const Index cg = s.group_c(), og = s.group_o(), taps = s.kh * s.kw;
  const Index m = a.adjoint ? cg : og, depth = a.adjoint ? og : cg, block = conv_depth_block(depth);
  const Index line_step = a.adjoint ? taps : cg * taps;
  const Index runs = a.adjoint ? depth : 1, run = a.adjoint ? taps : depth * taps;
  const T* const from = static_cast<const T*>(a.weight) + a.group * og * cg * taps;
  for (Index panel = a.panel_begin; panel < a.panel_end; ++panel) {
    const Index line = panel * 2 * V::N, width = m - line > V::N ? 2 * V::N : V::N;
    T* const to =
        static_cast<T*>(a.packed) + (panel - a.panel_begin) * channels_panel(depth, taps, 2 * V::N);
    for (Index r = 0; r < runs; ++r)
      for (Index v = 0; v < width; v += V::N) {
        if (a.adjoint && taps == 1) {  // lines are neighbours
          const int lanes = int(least(V::N, m - line - v));
          store(to + (r + r / block) * width + v, load_n(from + r * cg + line + v, lanes));
          continue;
        }
        const T* row[V::N];
        for (Index l = 0; l < V::N; ++l)
          row[l] = from + r * cg * taps + least(line + v + l, m - 1) * line_step;
        Index tap = 0, d = r % block, length = least(block, depth - r + d);  // in a block
        T* block_to = to + r / block * (block + 1) * taps * width + v;
        const auto place = [&](V lanes_of_tap, Index k) __attribute__((always_inline)) {
          store(block_to + (tap * (length + 1) + d) * width, lanes_of_tap);
          if (++tap < taps) return;
          tap = 0;
          if (++d < length) return;
          d = 0;
          block_to += (block + 1) * taps * width;
          length = least(block, depth - (k + 1) / taps);
        };
        if constexpr (kFourColumns<V>) {
          if (a.adjoint && r + 1 < runs) {  // the last run must not be read past its end
            for (Index k = 0; k < run; k += 4) {
              V four[4];
              load_four_columns(four, row, k);
              for (int i = 0; i < 4 && k + i < run; ++i) place(four[i], k + i);
            }
            continue;
          }
        }
        for (Index k = 0; k < run; k += V::N) {
          const int count = int(least(V::N, run - k));
          V square[V::N];
          if (count == V::N) {
            load_transposed(square, row, k);
          } else {
            for (int l = 0; l < V::N; ++l) square[l] = load_n(row[l] + k, count);
            transpose(square);
          }
          for (int i = 0; i < count; ++i) place(square[i], k + i);
        }
      }
  }
}

}  // namespace

void conv_channels_weights_f32(const ConvChannelsWeights& args) { pack<F32>(args); }
void conv_channels_weights_f64(const ConvChannelsWeights& args) { pack<F64>(args); }
void conv_channels_f32(const ConvChannelsPart& part) { run<F32>(part); }
void conv_channels_f64(const ConvChannelsPart& part) { run<F64>(part); }

}  // namespace gradsmith::kernels::GS_ISA
