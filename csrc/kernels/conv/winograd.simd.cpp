// The transforms of F(4x4, 3x3). A lane is a tile (or a channel of the weights), so that they
// are plain arithmetic on registers.
//
// Contract: winograd.h.
// Idea: the six inputs of a tile's row are neighbours in memory; N tiles' rows are transposed in
// registers. The padded rows of the tiles are copied first, channel by channel, so that no tile is
// at an edge.
// Constants: 12 operations transform six values into six (B^T), 10 six into four (A^T); both are
// applied to rows, then to columns: 144 and 100 operations a register of tiles.
#include "kernels/conv/conv.h"
#include "kernels/simd/activate.h"
#include "kernels/simd/transpose.h"
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

template <class V>
GS_INLINE void weights(const WinogradWeights& a) {
  using T = typename V::T;
  for (std::int64_t line = a.begin; line < a.end; ++line) {
    const T* const w = static_cast<const T*>(a.w) + line * a.line_step;
    T* const u = static_cast<T*>(a.u) + line * a.depth;
    for (std::int64_t d = 0; d < a.depth; d += V::N) {
      const int lanes = a.depth - d < V::N ? int(a.depth - d) : V::N;
      alignas(64) T taps[9 * V::N] = {};
      for (int l = 0; l < lanes; ++l) {
        const T* const from = w + (d + l) * a.depth_step;
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
        V points[kReach];
        weight_points(row, points);
        for (int j = 0; j < kReach; ++j) {
          store_n(u + (i * kReach + j) * a.u_batch + d, points[j], lanes);
        }
      }
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

// One channel's rows, `Rows` for every row of tiles, padded with zeros to the pitch.
template <class V, int Rows>
void copy_rows(const WinogradInput& a, const typename V::T* channel, typename V::T* to) {
  using T = typename V::T;
  const std::int64_t image = a.channels * a.h * a.w;
  for (std::int64_t row = a.tiles.row_begin; row < a.tiles.row_end; ++row) {
    const T* const from = channel + row / a.tiles.tiles_h * image;
    const std::int64_t first = row % a.tiles.tiles_h * kTile - a.pad_h;
    for (std::int64_t ih = first; ih < first + Rows; ++ih, to += a.pitch) {
      std::int64_t q = 0;
      if (ih >= 0 && ih < a.h) {
        const T* const in = from + ih * a.w;
        const std::int64_t room = a.pitch - a.pad_w, count = a.w < room ? a.w : room;
        for (; q < a.pad_w; ++q) to[q] = 0;
        std::int64_t j = 0;
        for (; j + V::N <= count; j += V::N) store(to + q + j, load(in + j));
        if (j < count) store_n(to + q + j, load_n(in + j, int(count - j)), int(count - j));
        q += count;
      }
      for (; q + V::N <= a.pitch; q += V::N) store(to + q, V::zero());
      for (; q < a.pitch; ++q) to[q] = 0;
    }
  }
}

// A row of the tiles of N lanes: element j of all of them in d[j].
template <class V, int Count>
GS_INLINE void tile_rows(const typename V::T* plane, const std::int64_t* offset, V (&d)[Count]) {
  V square[V::N];
#pragma GCC unroll 16
  for (int l = 0; l < V::N; ++l) square[l] = load(plane + offset[l]);
  transpose(square);
  for (int j = 0; j < Count && j < V::N; ++j) d[j] = square[j];
  if constexpr (V::N < Count) {
    for (int l = 0; l < V::N; ++l) square[l] = load(plane + offset[l] + V::N);
    transpose(square);
    for (int j = V::N; j < Count; ++j) d[j] = square[j - V::N];
  }
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
  for (std::int64_t i = 0; i < a.lines; ++i) {
    a.offset[i] =
        i < count ? i / a.tiles.tiles_w * Rows * a.pitch + i % a.tiles.tiles_w * kTile : 0;
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
        tile_rows(plane + i * a.pitch, a.offset + line, d);
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

// `rows` x `columns` of a tile's 4 x 4 outputs into the image.
template <class T>
GS_INLINE void put_tile(T* y, std::int64_t pitch, const T* tile, int rows, int columns) {
  for (int i = 0; i < rows; ++i, y += pitch, tile += kTile) {
    if (columns == kTile) {
      __builtin_memcpy(y, tile, kTile * sizeof(T));
    } else {
      for (int j = 0; j < columns; ++j) y[j] = tile[j];
    }
  }
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
      alignas(64) T tile[V::N * kTile * kTile];
      for (int first = 0; first < kTile * kTile; first += V::N) {
        V square[V::N];
        for (int k = 0; k < V::N; ++k) square[k] = y[first + k];
        transpose(square);
        for (int l = 0; l < V::N; ++l) store(tile + l * kTile * kTile + first, square[l]);
      }
      for (int l = 0; l < V::N && line + l < count; ++l) {
        put_tile(static_cast<T*>(a.y) + ((image * a.channels + channel) * a.h + h) * a.w + w, a.w,
                 tile + l * kTile * kTile, int(a.h - h < kTile ? a.h - h : kTile),
                 int(a.w - w < kTile ? a.w - w : kTile));
        w += kTile;
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
