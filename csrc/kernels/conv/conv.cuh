// What the kernels of conv.cu are made of: the product of two slices in shared memory, and the
// factors that fill them.
#pragma once
#include <math.h>

#include "kernels/cuda/launch.cuh"

namespace gradsmith::cuda {
namespace {

constexpr int kConvThreads = 256, kTile = 64, kDepth = 16, kPatch = 4;
constexpr int kPad = 4;  // elements between rows of a slice: keeps 16-byte alignment, spreads banks

// Sizes that kernels do 32-bit arithmetic with; offsets are 64 bits.
struct Geometry {
  std::int64_t n, pixels;  // pixels of all images: outputs, or inputs for dx
  int c, h, w, o, kh, kw, out_h, out_w, groups;
  int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;

  __host__ __device__ int group_c() const { return c / groups; }
  __host__ __device__ int group_o() const { return o / groups; }
  __host__ __device__ std::int64_t taps() const { return std::int64_t(kh) * kw; }
  __device__ std::int64_t in_plane() const { return std::int64_t(h) * w; }
  __device__ std::int64_t out_plane() const { return std::int64_t(out_h) * out_w; }
};

template <class T>
struct ConvParams {
  Geometry g;
  T* out;
  const T *in, *other, *bias;
  std::int64_t part;  // of weight gradients: pixels a part
};

// A number of three digits, the lower two below `rows` and `columns`, that grows by a fixed step.
struct Counter {
  int high, row, column;

  __device__ Counter(std::int64_t value, int rows, int columns) {
    const std::int64_t line = value / columns;
    column = int(value - line * columns);
    high = int(line / rows);
    row = int(line - std::int64_t(high) * rows);
  }
  __device__ void add(const Counter& step, int rows, int columns) {
    column += step.column;
    row += step.row;
    high += step.high;
    if (column >= columns) {
      column -= columns;
      ++row;
    }
    if (row >= rows) {
      row -= rows;
      ++high;
    }
  }
};

// ---- The product --------------------------------------------------------------------------------

template <class T>
struct ConvShared {
  alignas(16) T a[2][kDepth][kTile + kPad];
  alignas(16) T b[2][kDepth][kTile + kPad];
};

template <class T>
struct alignas(16) Four {
  T v[4];
};

// Where a thread's values lie in a slice: neighbouring threads have neighbouring depths or lines.
template <bool kDepthFirst>
struct Place {
  static constexpr int kValues = kTile * kDepth / kConvThreads;
  static constexpr int kLineStep = kDepthFirst ? kConvThreads / kDepth : 0;
  static constexpr int kDepthStep = kDepthFirst ? 0 : kConvThreads / kTile;
  int line, depth;
  __device__ Place() {
    const int t = int(threadIdx.x);
    line = kDepthFirst ? t / kDepth : t % kTile;
    depth = kDepthFirst ? t % kDepth : t / kTile;
  }
  template <class T>
  __device__ void store(const T (&values)[kValues], T (&slice)[kDepth][kTile + kPad]) const {
    GS_UNROLL
    for (int i = 0; i < kValues; ++i)
      slice[depth + i * kDepthStep][line + i * kLineStep] = values[i];
  }
};

template <class T, class A, class B>
__device__ void multiply(ConvShared<T>& s, A& next_a, B& next_b, std::int64_t depths,
                         T (&sum)[kPatch][kPatch]) {
  const int tx = int(threadIdx.x) % 16, ty = int(threadIdx.x) / 16;
  const auto slice_depths = [depths](std::int64_t depth0) {
    return depths - depth0 < kDepth ? int(depths - depth0) : kDepth;
  };
  next_a.load(slice_depths(0));
  next_b.load(slice_depths(0));
  next_a.place.store(next_a.values, s.a[0]);
  next_b.place.store(next_b.values, s.b[0]);
  __syncthreads();
  int half = 0;
  for (std::int64_t depth0 = 0; depth0 < depths; depth0 += kDepth) {
    const bool more = depth0 + kDepth < depths;
    if (more) {
      next_a.load(slice_depths(depth0 + kDepth));
      next_b.load(slice_depths(depth0 + kDepth));
    }
    GS_UNROLL
    for (int d = 0; d < kDepth; ++d) {
      const auto rows = *reinterpret_cast<const Four<T>*>(&s.a[half][d][ty * kPatch]);
      const auto columns = *reinterpret_cast<const Four<T>*>(&s.b[half][d][tx * kPatch]);
      GS_UNROLL
      for (int i = 0; i < kPatch; ++i) {
        GS_UNROLL
        for (int j = 0; j < kPatch; ++j) sum[i][j] = ::fma(rows.v[i], columns.v[j], sum[i][j]);
      }
    }
    if (more) {  // the other half was last read before the previous barrier
      next_a.place.store(next_a.values, s.a[half ^ 1]);
      next_b.place.store(next_b.values, s.b[half ^ 1]);
    }
    half ^= 1;
    __syncthreads();
  }
}

// ---- The factors --------------------------------------------------------------------------------

// Weights: line m, depth (channel, i, j).
template <class T>
struct Weights {
  Place<true> place;
  T values[Place<true>::kValues];
  const T* base;
  std::int64_t line_stride, channel_stride;
  int lines, kh, kw;
  Counter tap, step;

  __device__ Weights(const Geometry& g, const T* group, std::int64_t line_stride_,
                     std::int64_t channel_stride_, std::int64_t first, std::int64_t all)
      : base(group + (first + place.line) * line_stride_),
        line_stride(line_stride_),
        channel_stride(channel_stride_),
        lines(all - first < kTile ? int(all - first) : kTile),
        kh(g.kh),
        kw(g.kw),
        tap(place.depth, g.kh, g.kw),
        step(kDepth, g.kh, g.kw) {}
  __device__ void load(int depths) {
    const T* const at = base + tap.high * channel_stride + std::int64_t(tap.row) * kw + tap.column;
    GS_UNROLL
    for (int i = 0; i < place.kValues; ++i) {
      const bool inside = place.line + i * place.kLineStep < lines && place.depth < depths;
      values[i] = inside ? at[i * place.kLineStep * line_stride] : T(0);
    }
    tap.add(step, kh, kw);
  }
};

// An image around pixels: line = pixel, depth (channel, i, j). kTransposed: the pixels are those of
// dx, and the image is dy.
template <class T, bool kTransposed>
struct Pixels {
  Place<false> place;
  T values[Place<false>::kValues];
  const Geometry& g;
  const T* image;  // the pixel's, from the first channel of the group on
  bool exists;
  int row, column;  // of tap (0, 0)
  Counter tap, step;

  __device__ Pixels(const Geometry& geometry, const T* in, int group, std::int64_t first)
      : g(geometry),
        exists(first + place.line < g.pixels),
        tap(place.depth, g.kh, g.kw),
        step(place.kDepthStep, g.kh, g.kw) {
    const int columns = kTransposed ? g.w : g.out_w, rows = kTransposed ? g.h : g.out_h;
    const std::int64_t pixel = exists ? first + place.line : 0;
    const std::int64_t line = pixel / columns, n = line / rows;
    const int p = int(line - n * rows), q = int(pixel - line * columns);
    row = kTransposed ? p + g.pad_h : p * g.stride_h - g.pad_h;
    column = kTransposed ? q + g.pad_w : q * g.stride_w - g.pad_w;
    image = kTransposed ? in + (n * g.o + std::int64_t(group) * g.group_o()) * g.out_plane()
                        : in + (n * g.c + std::int64_t(group) * g.group_c()) * g.in_plane();
  }
  __device__ void load(int depths) {
    GS_UNROLL
    for (int i = 0; i < place.kValues; ++i) {
      bool inside = exists && place.depth + i * place.kDepthStep < depths;
      std::int64_t at;
      if constexpr (kTransposed) {
        int p = row - tap.row * g.dilation_h, q = column - tap.column * g.dilation_w;
        inside = inside && p >= 0 && q >= 0;
        if (g.stride_h != 1) {
          const int whole = p / g.stride_h;
          inside = inside && whole * g.stride_h == p;
          p = whole;
        }
        if (g.stride_w != 1) {
          const int whole = q / g.stride_w;
          inside = inside && whole * g.stride_w == q;
          q = whole;
        }
        inside = inside && p < g.out_h && q < g.out_w;
        at = tap.high * g.out_plane() + std::int64_t(p) * g.out_w + q;
      } else {
        const int ih = row + tap.row * g.dilation_h, iw = column + tap.column * g.dilation_w;
        inside = inside && ih >= 0 && ih < g.h && iw >= 0 && iw < g.w;
        at = tap.high * g.in_plane() + std::int64_t(ih) * g.w + iw;
      }
      values[i] = inside ? image[at] : T(0);
      tap.add(step, g.kh, g.kw);
    }
  }
};

// dy: line = output channel, depth = pixel.
template <class T>
struct Gradients {
  Place<true> place;
  T values[Place<true>::kValues];
  const Geometry& g;
  const T* base;
  int lines;
  Counter pixel, step;

  __device__ Gradients(const Geometry& geometry, const T* dy, int group, std::int64_t first,
                       std::int64_t begin)
      : g(geometry),
        base(dy + (std::int64_t(group) * g.group_o() + first + place.line) * g.out_plane()),
        lines(g.group_o() - first < kTile ? int(g.group_o() - first) : kTile),
        pixel(begin + place.depth, g.out_h, g.out_w),
        step(kDepth, g.out_h, g.out_w) {}
  __device__ void load(int depths) {
    const T* const at = base + pixel.high * std::int64_t(g.o) * g.out_plane() +
                        std::int64_t(pixel.row) * g.out_w + pixel.column;
    GS_UNROLL
    for (int i = 0; i < place.kValues; ++i) {
      const bool inside = place.line + i * place.kLineStep < lines && place.depth < depths;
      values[i] = inside ? at[i * place.kLineStep * g.out_plane()] : T(0);
    }
    pixel.add(step, g.out_h, g.out_w);
  }
};

// x under the windows of pixels: line (c, i, j), depth = pixel.
template <class T>
struct Windows {
  using At = Place<true>;
  At place;
  T values[At::kValues];
  const Geometry& g;
  const T* base;
  std::int64_t plane[At::kValues];  // of the line's channel
  int row[At::kValues], column[At::kValues];
  bool exists[At::kValues];
  Counter pixel, step;

  __device__ Windows(const Geometry& geometry, const T* x, int group, std::int64_t first,
                     std::int64_t begin)
      : g(geometry),
        base(x + std::int64_t(group) * g.group_c() * g.in_plane()),
        pixel(begin + place.depth, g.out_h, g.out_w),
        step(kDepth, g.out_h, g.out_w) {
    const std::int64_t all = g.group_c() * g.taps();
    GS_UNROLL
    for (int i = 0; i < At::kValues; ++i) {
      const std::int64_t line = first + place.line + i * place.kLineStep;
      exists[i] = line < all;
      const Counter tap(exists[i] ? line : 0, g.kh, g.kw);
      plane[i] = tap.high * g.in_plane();
      row[i] = tap.row * g.dilation_h - g.pad_h;
      column[i] = tap.column * g.dilation_w - g.pad_w;
    }
  }
  __device__ void load(int depths) {
    const T* const image = base + pixel.high * std::int64_t(g.c) * g.in_plane();
    GS_UNROLL
    for (int i = 0; i < At::kValues; ++i) {
      const int ih = pixel.row * g.stride_h + row[i], iw = pixel.column * g.stride_w + column[i];
      const bool inside =
          exists[i] && place.depth < depths && ih >= 0 && ih < g.h && iw >= 0 && iw < g.w;
      values[i] = inside ? image[plane[i] + std::int64_t(ih) * g.w + iw] : T(0);
    }
    pixel.add(step, g.out_h, g.out_w);
  }
};

}  // namespace
}  // namespace gradsmith::cuda
