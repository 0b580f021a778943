// The weight gradient as a sum of outer products: dy is transposed into panels whose lanes are
// output channels, and a tile of MR taps times NV registers of channels takes one pixel after
// another:
//
//     tile[i][o] += x[pixel + offset[i]] * dy[pixel][o]        one broadcast and NV multiply-adds a
//     tap
//
// Only pixels that exist are read. The sums of a chunk of pixels begin at zero and are added to
// those of the chunks before in `sums`, where a tap is a row; at the end they are transposed into
// dw.
#pragma once
#include "kernels/conv/layout.h"
#include "kernels/conv/prepare.h"
#include "kernels/simd/transpose.h"

namespace gradsmith::kernels::GS_ISA {

gemm_pack_fn gemm_pack_f32, gemm_pack_f64;  // of the family gemm

namespace {

GS_INLINE void pack_lines(const GemmPack& args, const float*) { gemm_pack_f32(args); }
GS_INLINE void pack_lines(const GemmPack& args, const double*) { gemm_pack_f64(args); }

// Taps of a tile: as many pointers as fit next to the others into 16 registers, and accumulators.
#if defined(GS_ISA_IS_avx512) && !defined(GS_EMULATED)
constexpr int kTaps = 10;
#elif defined(GS_ISA_IS_avx512) || defined(GS_ISA_IS_avx2)
constexpr int kTaps = 6;
#elif defined(GS_ISA_IS_neon)
constexpr int kTaps = 10;
#else
constexpr int kTaps = 4;
#endif

// A chunk of pixels: images * rows runs of cols.
template <class T>
struct OuterChunk {
  Index images, rows, cols;
  const T* x;
  Index x_image, x_row;
  const Index* offset;
  Index taps;
  const T* dy;  // one panel
  T* sums;      // taps rows of a panel's width
  bool add;
};

template <class V, int MR, int NV>
void outer_tile(const OuterChunk<typename V::T>& c, Index tap) {
  using T = typename V::T;
  V acc[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) acc[i][v] = V::zero();
  const T* dy = c.dy;
  for (Index n = 0; n < c.images; ++n)
    for (Index r = 0; r < c.rows; ++r) {
      const T* x[MR];
      const T* const row = c.x + n * c.x_image + r * c.x_row + c.cols;
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) x[i] = row + c.offset[tap + i];
      for (Index q = -c.cols; q < 0; ++q, dy += NV * V::N) {
        V b[NV];
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) b[v] = load(dy + v * V::N);
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i) {
          const V a = V::set(x[i][q]);
#pragma GCC unroll 4
          for (int v = 0; v < NV; ++v) acc[i][v] = fma(a, b[v], acc[i][v]);
        }
      }
    }
  T* to = c.sums + tap * NV * V::N;
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v, to += V::N) store(to, c.add ? load(to) + acc[i][v] : acc[i][v]);
}

template <class V, int NV, int MR = kTaps>
void outer_tail(const OuterChunk<typename V::T>& c, Index tap, int taps) {
  if constexpr (MR > 1) {
    if (taps < MR) return outer_tail<V, NV, MR - 1>(c, tap, taps);
  }
  outer_tile<V, MR, NV>(c, tap);
}

// All taps, in tiles of nearly equal height.
template <class V, int NV>
void outer_panel(const OuterChunk<typename V::T>& c) {
  const Index tiles = round_up_div(c.taps, kTaps);
  for (Index i = 0, tap = 0; i < tiles; ++i) {
    const Index end = c.taps * (i + 1) / tiles;
    outer_tail<V, NV>(c, tap, int(end - tap));
    tap = end;
  }
}

// dw[o * ldw + k] = sums[k * width + o] for o < lines, k < taps.
template <class V>
void outer_finish(typename V::T* dw, Index ldw, const typename V::T* sums, Index width, Index lines,
                  Index taps) {
  for (Index o = 0; o < lines; o += V::N)
    for (Index k = 0; k < taps; k += V::N) {
      const int rows = int(least(V::N, lines - o)), cols = int(least(V::N, taps - k));
      V square[V::N];
      for (int i = 0; i < V::N; ++i) square[i] = load(sums + least(k + i, taps - 1) * width + o);
      transpose(square);
      for (int i = 0; i < rows; ++i) {
        typename V::T* const to = dw + (o + i) * ldw + k;
        if (cols == V::N) {
          store(to, square[i]);
        } else {
          store_n(to, square[i], cols);
        }
      }
    }
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
