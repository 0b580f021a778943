// The transforms of F(4x4, 3x3). A lane is a tile (or a channel of the weights), so that they
// are plain arithmetic on registers.
//
// Contract: winograd.h.
// Idea: the padded rows of the tiles are copied first, channel by channel, all rows of tiles one
// after another, so that no tile is at an edge and N tiles are 4 N neighbours, which two rounds of
// splitting into even and odd elements take apart; what a tile shares with the next one comes from
// a second copy that begins four elements later. Outputs are put together the same way. Constants:
// 12 operations transform six values into six (B^T), 10 six into four (A^T); both are applied to
// rows, then to columns: 144 and 100 operations a register of tiles.
#include "kernels/conv/conv.h"
#include "kernels/simd/activate.h"
#include "kernels/simd/interleave.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

constexpr int kReach = kWinogradReach, kTile = kWinogradTile;

// B^T d.
template <class V>
GS_INLINE void input_points(const V (&d)[kReach], V (&t)[kReach]) {
  const V two = V::set(2), four = V::set(4), five = V::set(5);
  const V even = fnma(four, d[2], d[4]), odd = fnma(four, d[1], d[3]);
  const V outer = d[4] - d[2], inner = d[3] - d[1];
  t[0] = fma(four, d[0], fnma(five, d[2], d[4]));
  t[1] = even + odd;
  t[2] = even - odd;
  t[3] = fma(two, inner, outer);
  t[4] = fnma(two, inner, outer);
  t[5] = fma(four, d[1], fnma(five, d[3], d[5]));
}

// A^T m.
template <class V>
GS_INLINE void outputs(const V (&m)[kReach], V (&y)[kTile]) {
  const V two = V::set(2), four = V::set(4), eight = V::set(8);
  const V sum12 = m[1] + m[2], difference12 = m[1] - m[2];
  const V sum34 = m[3] + m[4], difference34 = m[3] - m[4];
  y[0] = m[0] + sum12 + sum34;
  y[1] = fma(two, difference34, difference12);
  y[2] = fma(four, sum34, sum12);
  y[3] = fma(eight, difference34, difference12) + m[5];
}

// G g.
template <class V>
GS_INLINE void weight_points(const V (&g)[3], V (&u)[kReach]) {
  using T = typename V::T;
  const V sixth = V::set(T(-1.0 / 6)), outer = g[0] + g[2];
  const V far = fma(V::set(T(1.0 / 24)), g[0], V::set(T(1.0 / 6)) * g[2]);
  const V twelfth = V::set(T(1.0 / 12));
  u[0] = V::set(T(0.25)) * g[0];
  u[1] = sixth * (outer + g[1]);
  u[2] = sixth * (outer - g[1]);
  u[3] = fma(twelfth, g[1], far);
  u[4] = fnma(twelfth, g[1], far);
  u[5] = g[2];
}

// A lane is a line. Some depths are transformed before they are stored, point by point: the points
// lie far apart, and every visit to one should write whole cache lines. Lanes past the width of a
// panel spill into the next depth, which is stored later.
template <class V>
GS_INLINE void weights(const WinogradWeights& a) {
  using T = typename V::T;
  constexpr int kDepths = 8;
  for (std::int64_t panel = a.begin; panel < a.end; panel += a.width)
    for (std::int64_t first = panel; first < panel + a.width; first += V::N) {
      const std::int64_t left = panel + a.width - first, real = a.lines - first;
      const int lanes = left < V::N ? int(left) : V::N;
      const int lines = real < lanes ? (real < 0 ? 0 : int(real)) : lanes;
      const bool spills = lanes < V::N && first == panel && 2 * a.width >= V::N;
      alignas(64) T taps[9 * V::N] = {};
      alignas(64) T points[kWinogradPoints][kDepths * V::N];
      for (std::int64_t d = 0; d < a.depth;) {
        const std::int64_t pc = d / a.kc * a.kc;
        const std::int64_t depth = a.depth - pc < a.kc ? a.depth - pc : a.kc;
        const std::int64_t rest = pc + depth - d;
        const int now = rest < kDepths ? int(rest) : kDepths;
        for (int n = 0; n < now; ++n) {
          const T* const w =
              static_cast<const T*>(a.w) + first * a.line_step + (d + n) * a.depth_step;
          for (int l = 0; l < lines; ++l) {
            const T* const from = w + l * a.line_step;
            for (int t = 0; t < 9; ++t) taps[t * V::N + l] = from[a.flipped ? 8 - t : t];
          }
          V half[3][kReach];  // columns of G g
          for (int j = 0; j < 3; ++j) {
            const V column[3] = {load(taps + j * V::N), load(taps + (3 + j) * V::N),
                                 load(taps + (6 + j) * V::N)};
            weight_points(column, half[j]);
          }
          for (int i = 0; i < kReach; ++i) {
            const V row[3] = {half[0][i], half[1][i], half[2][i]};
            V found[kReach];
            weight_points(row, found);
            for (int j = 0; j < kReach; ++j) store(points[i * kReach + j] + n * V::N, found[j]);
          }
        }
        T* to = static_cast<T*>(a.u) + pc * a.padded + panel * depth + (d - pc) * a.width +
                (first - panel);
        for (int point = 0; point < kWinogradPoints; ++point, to += a.u_batch) {
          for (int n = 0; n < now; ++n) {
            const V value = load(points[point] + n * V::N);
            if (lanes == V::N || (spills && n + 1 < rest)) {
              store(to + n * a.width, value);
            } else {
              store_n(to + n * a.width, value, lanes);
            }
          }
        }
        d += now;
      }
    }
}

// A dy: what six points weigh the four outputs with.
template <class V>
GS_INLINE void gradient_points(const V (&y)[kTile], V (&p)[kReach]) {
  const V two = V::set(2), four = V::set(4);
  const V even = y[0] + y[2], odd = y[1] + y[3];
  const V far_even = fma(four, y[2], y[0]), far_odd = two * fma(four, y[3], y[1]);
  p[0] = y[0];
  p[1] = even + odd;
  p[2] = even - odd;
  p[3] = far_even + far_odd;
  p[4] = far_even - far_odd;
  p[5] = y[3];
}

// G^T u.
template <class V>
GS_INLINE void weight_gradients(const V (&u)[kReach], V (&g)[3]) {
  using T = typename V::T;
  const V sixth = V::set(T(1.0 / 6)), near = u[1] + u[2], far = u[3] + u[4];
  g[0] = fma(V::set(T(0.25)), u[0], fnma(sixth, near, V::set(T(1.0 / 24)) * far));
  g[1] = fma(sixth, u[2] - u[1], V::set(T(1.0 / 12)) * (u[3] - u[4]));
  g[2] = fma(sixth, far - near, u[5]);
}

// to[q] = row[first + q] where that is one of its w elements, else 0, for q < width. Up to N - 1
// elements more are overwritten, with zeros.
template <class V>
GS_INLINE void copy_line(typename V::T* to, std::int64_t width, const typename V::T* row,
                         std::int64_t first, std::int64_t w) {
  std::int64_t q = 0;
  if (row && first < w) {
    for (; first + q < 0; ++q) to[q] = 0;
    const std::int64_t room = w - first < width ? w - first : width;
    for (; q + V::N <= room; q += V::N) store(to + q, load(row + first + q));
    if (q < room) {
      store(to + q, load_n(row + first + q, int(room - q)));
      q += V::N;
    }
  }
  for (; q < width; q += V::N) store(to + q, V::zero());
}

// One channel's rows, `Rows` for every row of tiles: those of all rows of tiles one after another,
// four elements a tile, and for Rows > 4 the same again four elements further on.
template <class V, int Rows>
GS_INLINE void copy_rows(const WinogradInput& a, const typename V::T* channel, typename V::T* to) {
  using T = typename V::T;
  const std::int64_t image = a.channels * a.h * a.w, width = kTile * a.tiles.tiles_w;
  for (std::int64_t row = a.tiles.row_begin; row < a.tiles.row_end; ++row, to += width) {
    const T* const from = channel + row / a.tiles.tiles_h * image;
    const std::int64_t first = row % a.tiles.tiles_h * kTile - a.pad_h;
    for (int i = 0; i < Rows; ++i) {
      const std::int64_t ih = first + i;
      const T* const in = ih >= 0 && ih < a.h ? from + ih * a.w : nullptr;
      copy_line<V>(to + i * a.pitch, width, in, -a.pad_w, a.w);
      if (Rows > kTile) {
        copy_line<V>(to + (Rows + i) * a.pitch, width, in, kTile - a.pad_w, a.w);
      }
    }
  }
}

// 4 x 4 transposition in each half of four registers of 8 lanes: lane j of r[i] becomes lane i of
// r[j].
template <class V>
GS_INLINE void transpose_halves(V (&r)[4]) {
  V lo[2], hi[2];
  for (int i = 0; i < 2; ++i) {
    const auto a = r[2 * i].v, b = r[2 * i + 1].v;
    lo[i].v = __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
    hi[i].v = __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
  }
  r[0].v = __builtin_shufflevector(lo[0].v, lo[1].v, 0, 1, 8, 9, 4, 5, 12, 13);
  r[1].v = __builtin_shufflevector(lo[0].v, lo[1].v, 2, 3, 10, 11, 6, 7, 14, 15);
  r[2].v = __builtin_shufflevector(hi[0].v, hi[1].v, 0, 1, 8, 9, 4, 5, 12, 13);
  r[3].v = __builtin_shufflevector(hi[0].v, hi[1].v, 2, 3, 10, 11, 6, 7, 14, 15);
}
// Of two registers of 8 lanes: the lower halves in a, the upper ones in b. Its own inverse.
template <class V>
GS_INLINE void swap_halves(V& a, V& b) {
  const auto lower = __builtin_shufflevector(a.v, b.v, 0, 1, 2, 3, 8, 9, 10, 11);
  b.v = __builtin_shufflevector(a.v, b.v, 4, 5, 6, 7, 12, 13, 14, 15);
  a.v = lower;
}

// Element j of N tiles in d[j], from their elements in a row.
template <class V>
GS_INLINE void split_tiles(const typename V::T* row, V& d0, V& d1, V& d2, V& d3) {
  if constexpr (V::N == 8) {  // shuffles inside of halves are cheaper
    V r[4] = {load(row), load(row + 16), load(row + 8), load(row + 24)};
    swap_halves(r[0], r[1]);  // tiles 0 and 4, 1 and 5
    swap_halves(r[2], r[3]);
    transpose_halves(r);
    d0 = r[0], d1 = r[1], d2 = r[2], d3 = r[3];
  } else {
    V even[2], odd[2];
    deinterleave(load(row), load(row + V::N), even[0], odd[0]);
    deinterleave(load(row + 2 * V::N), load(row + 3 * V::N), even[1], odd[1]);
    deinterleave(even[0], even[1], d0, d2);
    deinterleave(odd[0], odd[1], d1, d3);
  }
}
// The inverse, to a row.
template <class V>
GS_INLINE void join_tiles(const V* d, typename V::T* row) {
  if constexpr (V::N == 8) {
    V r[4] = {d[0], d[1], d[2], d[3]};
    transpose_halves(r);
    swap_halves(r[0], r[1]);
    swap_halves(r[2], r[3]);
    store(row, r[0]), store(row + 16, r[1]), store(row + 8, r[2]), store(row + 24, r[3]);
  } else {
    V low[2], high[2], out[4];
    interleave(d[0], d[2], low[0], high[0]);
    interleave(d[1], d[3], low[1], high[1]);
    interleave(low[0], low[1], out[0], out[1]);
    interleave(high[0], high[1], out[2], out[3]);
    for (int k = 0; k < 4; ++k) store(row + k * V::N, out[k]);
  }
}
template <class V>
GS_INLINE void tile_row(const typename V::T* row, std::int64_t, V (&d)[kTile]) {
  split_tiles(row, d[0], d[1], d[2], d[3]);
}
template <class V>
GS_INLINE void tile_row(const typename V::T* row, std::int64_t further, V (&d)[kReach]) {
  V unused[2];
  split_tiles(row, d[0], d[1], d[2], d[3]);
  split_tiles(row + further, d[4], d[5], unused[0], unused[1]);
}

GS_INLINE void points_of(const F32 (&d)[kReach], F32 (&t)[kReach]) { input_points(d, t); }
GS_INLINE void points_of(const F32 (&d)[kTile], F32 (&t)[kReach]) { gradient_points(d, t); }

// Tiles of Rows x Rows values to 6 x 6 points.
template <class V, int Rows>
GS_INLINE void points(const WinogradInput& a) {
  using T = typename V::T;
  static_assert(V::N >= 4);
  T* const plane = static_cast<T*>(a.plane);
  const std::int64_t count = a.tiles.count();
  // Lanes past the last tile.
  for (int i = 0; i < (Rows > kTile ? 2 * Rows : Rows); ++i) {
    for (std::int64_t q = kTile * count; q < kTile * a.lines; ++q) plane[i * a.pitch + q] = 0;
  }
  for (std::int64_t channel = a.begin; channel < a.end; ++channel) {
    copy_rows<V, Rows>(a, static_cast<const T*>(a.x) + channel * a.h * a.w, plane);
    const std::int64_t pc = channel / a.kc * a.kc;
    const std::int64_t depth = a.channels - pc < a.kc ? a.channels - pc : a.kc;
    for (std::int64_t line = 0; line < a.lines; line += V::N) {
      V half[Rows][kReach];
#pragma GCC unroll 6
      for (int i = 0; i < Rows; ++i) {
        V d[Rows];
        tile_row(plane + i * a.pitch + kTile * line, Rows * a.pitch, d);
        points_of(d, half[i]);
      }
      T* const v = static_cast<T*>(a.v) + pc * a.lines + line / a.width * a.width * depth +
                   (channel - pc) * a.width + line % a.width;
#pragma GCC unroll 6
      for (int j = 0; j < kReach; ++j) {
        V column[Rows], found[kReach];
#pragma GCC unroll 6
        for (int i = 0; i < Rows; ++i) column[i] = half[i][j];
        points_of(column, found);
#pragma GCC unroll 6
        for (int i = 0; i < kReach; ++i) store(v + (i * kReach + j) * a.v_batch, found[i]);
      }
    }
  }
}

template <class V>
GS_INLINE void copy_out(typename V::T* to, const typename V::T* from, std::int64_t n) {
  std::int64_t q = 0;
  for (; q + V::N <= n; q += V::N) store(to + q, load(from + q));
  for (; q + kTile <= n; q += kTile) __builtin_memcpy(to + q, from + q, kTile * sizeof(*to));
  for (; q < n; ++q) to[q] = from[q];
}

template <class V>
GS_INLINE void output(const WinogradOutput& a) {
  using T = typename V::T;
  const std::int64_t count = a.tiles.count();
  const T* const bias = static_cast<const T*>(a.epilogue.bias);
  for (std::int64_t channel = 0; channel < a.channels; ++channel) {
    const T* const m = static_cast<const T*>(a.m) + channel * a.m_row;
    const V add = V::set(bias ? bias[channel] : T(0));
    // Of the next tile to be written: image, first row and column. No division a tile.
    std::int64_t image = a.tiles.row_begin / a.tiles.tiles_h, w = 0;
    std::int64_t h = a.tiles.row_begin % a.tiles.tiles_h * kTile;
    for (std::int64_t line = 0; line < count; line += V::N) {
      V half[kReach][kTile];  // A^T along the rows of points
      for (int i = 0; i < kReach; ++i) {
        V points[kReach];
        for (int j = 0; j < kReach; ++j) {
          points[j] = load(m + (i * kReach + j) * a.m_batch + line);
        }
        outputs(points, half[i]);
      }
      V y[kTile * kTile];
      for (int j = 0; j < kTile; ++j) {
        const V points[kReach] = {half[0][j], half[1][j], half[2][j],
                                  half[3][j], half[4][j], half[5][j]};
        V column_of_y[kTile];
        outputs(points, column_of_y);
        for (int i = 0; i < kTile; ++i) {
          y[i * kTile + j] = column_of_y[i] + add;
        }
      }
      if (a.epilogue.activation != Activation::none) {
        for (V& value : y) value = activate(value, a.epilogue.activation, T(a.epilogue.slope));
      }
      alignas(64) T rows[kTile][kTile * V::N];  // the tiles side by side
      for (int i = 0; i < kTile; ++i) join_tiles(y + i * kTile, rows[i]);
      const std::int64_t end = count - line < V::N ? kTile * (count - line) : kTile * V::N;
      for (std::int64_t q = 0; q < end;) {  // a piece of a row of tiles at a time
        const std::int64_t piece =
            kTile * a.tiles.tiles_w - w < end - q ? kTile * a.tiles.tiles_w - w : end - q;
        T* to = static_cast<T*>(a.y) + ((image * a.channels + channel) * a.h + h) * a.w + w;
        const std::int64_t columns = a.w - w < piece ? a.w - w : piece;
        for (int i = 0; i < kTile && h + i < a.h; ++i, to += a.w) {
          copy_out<V>(to, rows[i] + q, columns);
        }
        q += piece;
        w += piece;
        if (w >= a.w) w = 0, h += kTile;
        if (h >= a.h) h = 0, ++image;
      }
    }
  }
}

template <class V>
GS_INLINE void weight_grad(const WinogradWeightGrad& a) {
  using T = typename V::T;
  for (std::int64_t line = a.begin; line < a.end; ++line) {
    const T* const u = static_cast<const T*>(a.u) + line * a.depth;
    T* const dw = static_cast<T*>(a.dw) + line * a.depth * 9;
    for (std::int64_t d = 0; d < a.depth; d += V::N) {
      const int lanes = a.depth - d < V::N ? int(a.depth - d) : V::N;
      V half[kReach][3];  // along the rows of points
      for (int i = 0; i < kReach; ++i) {
        V row[kReach];
        for (int j = 0; j < kReach; ++j) {
          row[j] = load_n(u + (i * kReach + j) * a.u_batch + d, lanes);
        }
        weight_gradients(row, half[i]);
      }
      alignas(64) T taps[9 * V::N];
      for (int j = 0; j < 3; ++j) {
        const V column[kReach] = {half[0][j], half[1][j], half[2][j],
                                  half[3][j], half[4][j], half[5][j]};
        V found[3];
        weight_gradients(column, found);
        for (int i = 0; i < 3; ++i) store(taps + (3 * i + j) * V::N, found[i]);
      }
      for (int l = 0; l < lanes; ++l) {
        for (int t = 0; t < 9; ++t) dw[(d + l) * 9 + t] = taps[t * V::N + l];
      }
    }
  }
}

}  // namespace

void winograd_weights_f32(const WinogradWeights& args) { weights<F32>(args); }
void winograd_input_f32(const WinogradInput& args) { points<F32, kReach>(args); }
void winograd_gradient_f32(const WinogradInput& args) { points<F32, kTile>(args); }
void winograd_output_f32(const WinogradOutput& args) { output<F32>(args); }
void winograd_weight_grad_f32(const WinogradWeightGrad& args) { weight_grad<F32>(args); }

}  // namespace gradsmith::kernels::GS_ISA
