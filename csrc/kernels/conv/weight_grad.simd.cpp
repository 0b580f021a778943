// Weight and bias gradient of a convolution.
//
//     dw[o, k] = sum over images and pixels of dy[o, pixel] * x[pixel + offset[k]]
//
// Contract: conv.h. Idea: both factors are contiguous along the pixels of a row (x in the layout of
// ConvSource), so a block of MO output channels times NK taps is MO * NK dot products with vectors
// along the pixels: MO + NK loads feed MO * NK fused multiply-adds, nothing is packed or
// transposed, and the lanes are summed once per chunk of about a thousand pixels. The ends of rows
// are loaded under a mask, so that an infinity or a NaN next to a row never enters its sum.
// Constants and measurements: README.md.
#include "kernels/conv/conv.h"

#include "kernels/conv/layout.h"
#include "kernels/conv/outer.h"
#include "kernels/conv/prepare.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

#if defined(GS_ISA_IS_avx512) || defined(GS_ISA_IS_neon)
constexpr int kWide = 2;  // 32 vector registers: twice the accumulators
#else
constexpr int kWide = 1;
#endif

// Pixels of a chunk: images * rows runs of cols.
template <class T>
struct Chunk {
  Index images, rows, cols;
  const T* dy;  // first image and row, output channel 0 of the block
  Index dy_image, dy_channel, dy_row;
  const T* x;
  Index x_image, x_row;
  const Index* offset;
  Index m, k;  // output channels and taps
  T* dw;
  Index ldw;
  bool add;
  // Where dy is a copy with zeros between its rows: the rows as they are, for exact_sum.
  const T* plain_dy;
  Index plain_dy_image, plain_dy_channel, plain_rows, plain_cols;
};

// One sum over the pixels that exist. Zeros of a spread dy meet pixels of x that belong to other
// outputs; should those be infinite or NaN, 0 * x is NaN and the sum is taken again here.
template <class V>
typename V::T exact_sum(const Chunk<typename V::T>& c, Index o, Index k) {
  V acc = V::zero();
  for (Index n = 0; n < c.images; ++n)
    for (Index r = 0; r < c.plain_rows; ++r) {
      const typename V::T* dy =
          c.plain_dy + n * c.plain_dy_image + o * c.plain_dy_channel + r * c.plain_cols;
      const typename V::T* x = c.x + c.offset[k] + n * c.x_image + r * c.x_row;
      for (Index q = 0; q < c.plain_cols; q += V::N) {
        const int n_lanes = int(least(V::N, c.plain_cols - q));
        acc = fma(load_n(dy + q, n_lanes), load_n(x + q, n_lanes), acc);
      }
    }
  return hsum(acc);
}

template <class V, int MO, int NK, class LoadFn>
GS_INLINE void multiply_add(V (&acc)[MO][NK], const typename V::T* const (&dy)[MO],
                            const typename V::T* const (&x)[NK], Index dy_at, Index x_at,
                            LoadFn read) {
  if constexpr (MO <= NK) {
    V d[MO];
#pragma GCC unroll 32
    for (int i = 0; i < MO; ++i) d[i] = read(dy[i] + dy_at);
#pragma GCC unroll 32
    for (int j = 0; j < NK; ++j) {
      const V b = read(x[j] + x_at);
#pragma GCC unroll 32
      for (int i = 0; i < MO; ++i) acc[i][j] = fma(d[i], b, acc[i][j]);
    }
  } else {
    V b[NK];
#pragma GCC unroll 32
    for (int j = 0; j < NK; ++j) b[j] = read(x[j] + x_at);
#pragma GCC unroll 32
    for (int i = 0; i < MO; ++i) {
      const V d = read(dy[i] + dy_at);
#pragma GCC unroll 32
      for (int j = 0; j < NK; ++j) acc[i][j] = fma(d, b[j], acc[i][j]);
    }
  }
}

template <class V, int MO, int NK>
void run_blocks(const Chunk<typename V::T>& c) {
  using T = typename V::T;
  const int tail = int(c.cols % V::N);
  const Index whole = c.cols - tail;
  for (Index o = 0; o < c.m; o += MO) {
    const T* dy[MO];
    for (int i = 0; i < MO; ++i) dy[i] = c.dy + least(o + i, c.m - 1) * c.dy_channel;
    for (Index k = 0; k < c.k; k += NK) {
      const T* x[NK];
      for (int j = 0; j < NK; ++j) x[j] = c.x + c.offset[least(k + j, c.k - 1)];
      V acc[MO][NK];
#pragma GCC unroll 32
      for (int i = 0; i < MO; ++i)
#pragma GCC unroll 32
        for (int j = 0; j < NK; ++j) acc[i][j] = V::zero();
      for (Index n = 0; n < c.images; ++n)
        for (Index r = 0; r < c.rows; ++r) {
          const Index dy_at = n * c.dy_image + r * c.dy_row, x_at = n * c.x_image + r * c.x_row;
          for (Index q = 0; q < whole; q += V::N)
            multiply_add<V, MO, NK>(acc, dy, x, dy_at + q, x_at + q,
                                    [](const T* p)
                                        __attribute__((always_inline)) { return load(p); });
          if (tail)
            multiply_add<V, MO, NK>(acc, dy, x, dy_at + whole, x_at + whole,
                                    [tail](const T* p)
                                        __attribute__((always_inline)) { return load_n(p, tail); });
        }
      T sums[MO][NK];
#pragma GCC unroll 32
      for (int i = 0; i < MO; ++i)
#pragma GCC unroll 32
        for (int j = 0; j < NK; ++j) sums[i][j] = hsum(acc[i][j]);
      for (int i = 0; i < MO && o + i < c.m; ++i)
        for (int j = 0; j < NK && k + j < c.k; ++j) {
          T sum = sums[i][j];
          if (sum != sum && c.plain_dy) sum = exact_sum<V>(c, o + i, k + j);
          T& to = c.dw[(o + i) * c.ldw + k + j];
          to = c.add ? to + sum : sum;
        }
    }
  }
}

// The block shape that computes the fewest sums for nothing.
template <class V>
void run_chunk(const Chunk<typename V::T>& c) {
  const auto cost = [&](Index mo, Index nk, Index price) __attribute__((always_inline)) {
    return round_up_div(c.m, mo) * mo * round_up_div(c.k, nk) * nk * price;
  };
  const Index a = cost(4, 3 * kWide, 10), b = cost(3, 4 * kWide, 10), d = cost(6, 2 * kWide, 11),
              e = cost(2, 6 * kWide, 11), f = cost(1, 9 * kWide, 16), g = cost(1, 5 * kWide, 18);
  const Index best = least(least(least(a, b), least(d, e)), least(f, g));
  if (a == best) return run_blocks<V, 4, 3 * kWide>(c);
  if (b == best) return run_blocks<V, 3, 4 * kWide>(c);
  if (d == best) return run_blocks<V, 6, 2 * kWide>(c);
  if (e == best) return run_blocks<V, 2, 6 * kWide>(c);
  if (f == best) return run_blocks<V, 1, 9 * kWide>(c);
  run_blocks<V, 1, 5 * kWide>(c);
}

// Panels of dy for a chunk, and their products with it.
template <class V>
void run_outer(const Chunk<typename V::T>& c, typename V::T* panels, typename V::T* sums) {
  using T = typename V::T;
  OuterChunk<T> outer{};
  outer.images = c.images;
  outer.x = c.x;
  outer.x_image = c.x_image;
  outer.offset = c.offset;
  outer.taps = c.k;
  outer.add = c.add;
  const bool joined = c.x_row == c.cols;
  outer.rows = joined ? 1 : c.rows;
  outer.cols = joined ? c.rows * c.cols : c.cols;
  outer.x_row = c.x_row;
  const Index pixels = c.rows * c.cols;
  for (Index o = 0; o < c.m; o += 2 * V::N) {
    const Index lines = least(2 * V::N, c.m - o), width = lines > V::N ? 2 * V::N : V::N;
    for (Index n = 0; n < c.images; ++n)
      pack_lines({.src = c.dy + n * c.dy_image + o * c.dy_channel,
                  .line = c.dy_channel,
                  .depth = 1,
                  .request = {.dst = panels + n * pixels * width,
                              .batch = 0,
                              .first = 0,
                              .lines = lines,
                              .depth0 = 0,
                              .depth = pixels,
                              .width = int(width)}},
                 panels);
    outer.dy = panels;
    outer.sums = sums + o * c.k;
    width > V::N ? outer_panel<V, 2>(outer) : outer_panel<V, 1>(outer);
  }
}

template <class V>
void weight_grad(const ConvWeightPart& a) {
  using T = typename V::T;
  const ConvShape& s = a.shape;
  const Index cg = s.group_c(), og = s.group_o(), out_h = s.out_h(), out_w = s.out_w();
  const Index channels = a.c_end - a.c_begin, taps = s.kh * s.kw;
  const Index o = a.group * og + a.m_begin, c0 = a.group * cg + a.c_begin;
  Chunk<T> chunk{};
  chunk.m = a.m_end - a.m_begin;
  chunk.k = channels * taps;
  chunk.ldw = cg * taps;
  chunk.dw = static_cast<T*>(a.dw) + o * chunk.ldw + a.c_begin * taps;
  if (chunk.m <= 0 || chunk.k <= 0) return;
  if (a.image_begin >= a.image_end || out_h == 0 || out_w == 0) {
    for (Index i = 0; i < chunk.m; ++i) clear_run<V>(chunk.dw + i * chunk.ldw, chunk.k);
    return;
  }
  const ConvSource all = forward_source(s, 0, out_h);
  const bool direct = s.stride_h == 1 && s.stride_w == 1 && s.pad_h == 0 && s.pad_w == 0 &&
                      all.rows <= s.h && all.cols <= s.w &&
                      (a.sums || ((out_w == s.w || out_w % V::N == 0) &&
                                  !(channels > 8 && s.h * s.w * Index(sizeof(T)) % 2048 == 0)));
  chunk.offset = a.offset;
  chunk.dy_row = out_w;
  for (Index n = a.image_begin; n < a.image_end; n += a.images_per_chunk)
    for (Index row = 0; row < out_h; row += a.rows_per_chunk) {
      chunk.images = least(a.images_per_chunk, a.image_end - n);
      chunk.rows = least(a.rows_per_chunk, out_h - row);
      chunk.cols = out_w;
      const ConvSource g = forward_source(s, row, row + chunk.rows);
      const T* x = static_cast<const T*>(a.x) + (n * s.c + c0) * s.h * s.w;
      Index channel, plane, pitch;
      if (direct) {
        channel = plane = s.h * s.w;
        pitch = s.w;
        chunk.x = x + row * s.w;
        chunk.x_image = s.c * s.h * s.w;
      } else {
        channel = g.channel();
        plane = g.plane();
        pitch = g.cols;
        T* source = static_cast<T*>(a.source);
        chunk.x = source;
        chunk.x_image = channels * channel;
        for (Index i = 0; i < chunk.images; ++i, source += chunk.x_image)
          prepare_channels<V>(g, channels, s.h, s.w, x + i * s.c * s.h * s.w, source);
        for (Index i = 0; i < kConvSlack; ++i) source[i] = 0;
      }
      Index* offset = a.offset;
      for (Index c = 0; c < channels; ++c)
        for (Index i = 0; i < s.kh; ++i)
          for (Index j = 0; j < s.kw; ++j) {
            const Index ih = i * s.dilation_h, iw = j * s.dilation_w;
            const Index phase = ih % s.stride_h * g.phases_w + iw % s.stride_w;
            *offset++ = c * channel + phase * plane + ih / s.stride_h * pitch + iw / s.stride_w;
          }
      chunk.dy = static_cast<const T*>(a.dy) + ((n * s.o + o) * out_h + row) * out_w;
      chunk.x_row = pitch;
      chunk.dy_image = s.o * out_h * out_w;
      chunk.dy_channel = out_h * out_w;
      chunk.add = n != a.image_begin || row != 0;
      if (a.sums) {
        run_outer<V>(chunk, static_cast<T*>(a.panels), static_cast<T*>(a.sums));
        continue;
      }
      chunk.plain_dy = nullptr;
      const Index run = (chunk.rows - 1) * pitch + out_w, spread = round_up_div(run, V::N) * V::N;
      if (pitch == out_w) {  // rows follow each other without a gap: one long row
        chunk.cols *= chunk.rows;
        chunk.rows = 1;
      } else if (!direct && out_w % V::N != 0) {
        chunk.plain_dy = chunk.dy;
        chunk.plain_dy_image = chunk.dy_image;
        chunk.plain_dy_channel = chunk.dy_channel;
        chunk.plain_rows = chunk.rows;
        chunk.plain_cols = out_w;
        T* to = static_cast<T*>(a.dy_source);
        for (Index i = 0; i < chunk.images; ++i)
          for (Index m = 0; m < chunk.m; ++m, to += spread) {
            const T* from = chunk.dy + i * chunk.dy_image + m * chunk.dy_channel;
            clear_run<V>(to, spread);
            for (Index r = 0; r < chunk.rows; ++r)
              copy_run<V>(to + r * pitch, from + r * out_w, out_w, 1, out_w);
          }
        chunk.dy = static_cast<const T*>(a.dy_source);
        chunk.dy_image = chunk.m * spread;
        chunk.dy_channel = spread;
        chunk.cols = spread;
        chunk.rows = 1;
      }
      run_chunk<V>(chunk);
    }
  if (!a.sums) return;
  for (Index m = 0; m < chunk.m; m += 2 * V::N) {
    const Index lines = least(2 * V::N, chunk.m - m), width = lines > V::N ? 2 * V::N : V::N;
    outer_finish<V>(chunk.dw + m * chunk.ldw, chunk.ldw, static_cast<T*>(a.sums) + m * chunk.k,
                    width, lines, chunk.k);
  }
}

template <class V>
void bias_grad(const ConvBiasGrad& a) {
  using T = typename V::T;
  for (Index o = a.o_begin; o < a.o_end; ++o) {
    T sum = 0;
    for (Index n = 0; n < a.n; ++n) {
      const T* dy = static_cast<const T*>(a.dy) + (n * a.o + o) * a.pixels;
      V acc[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
      Index i = 0;
      for (; i + 4 * V::N <= a.pixels; i += 4 * V::N)
        for (int u = 0; u < 4; ++u) acc[u] = acc[u] + load(dy + i + u * V::N);
      for (; i < a.pixels; i += V::N)
        acc[0] = acc[0] + load_n(dy + i, int(least(V::N, a.pixels - i)));
      sum += hsum((acc[0] + acc[1]) + (acc[2] + acc[3]));
    }
    static_cast<T*>(a.db)[o] = sum;
  }
}

}  // namespace

void conv_weight_grad_f32(const ConvWeightPart& part) { weight_grad<F32>(part); }
void conv_weight_grad_f64(const ConvWeightPart& part) { weight_grad<F64>(part); }
void conv_bias_grad_f32(const ConvBiasGrad& args) { bias_grad<F32>(args); }
void conv_bias_grad_f64(const ConvBiasGrad& args) { bias_grad<F64>(args); }

}  // namespace gradsmith::kernels::GS_ISA
