// Convolution and its adjoints as implicit matrix products, in float32 and float64.
//
// Contract    see cuda_abi_index.h and conv.h. An element of y and dx is one chain of fused
//             multiply-adds in the order (c, i, j) or (o, i, j); dw is that of its parts, added in
//             order, whose number depends on the shape only.
// Floor       2 n o p q c/g kh kw flops; in bytes the image, the weights and the output once.
// Algorithm   A block computes a tile of a matrix: output channels by pixels, for dw output
// channels
//             by taps. Slices of both factors go through shared memory, double buffered as in
//             gemm.cu. The image's slice is gathered: a thread keeps one pixel and walks the taps
//             (c, i, j), or for dw keeps some taps and walks the pixels, by carries instead of
//             divisions. Neighbouring threads load neighbouring pixels.
//             dw sums over all pixels, and few tiles would do all the work: the pixels are cut into
//             parts, whose sums are added by a second kernel.
//             Groups of up to 4 channels would leave the tile empty: there a thread computes one
//             element directly, and a block one weight.
// Constants   Tiles of 64 x 64, 4x4 sums a thread. The 128 square tiles of gemm.cu spill here: the
//             walk over taps needs the registers.
#include <math.h>

#include <string>

#include "kernels/conv/conv.cuh"
#include "kernels/cuda/kernels.h"

namespace gradsmith::cuda {
namespace {

// ---- The kernels --------------------------------------------------------------------------------

// y (channels o, sums over c) or, transposed, dx (channels c, sums over o).
template <class T, bool kTransposed>
__global__ void __launch_bounds__(kConvThreads, 2)
    conv_kernel(const __grid_constant__ ConvParams<T> p, std::int64_t row_tiles) {
  using Shared = ConvShared<T>;
  GS_SHARED(Shared, s);
  const Geometry& g = p.g;
  const int group = int(blockIdx.z);
  const std::int64_t row0 = std::int64_t(blockIdx.x) % row_tiles * kTile;
  const std::int64_t column0 = std::int64_t(blockIdx.x) / row_tiles * kTile;
  const std::int64_t all_o = g.group_o(), all_c = g.group_c(), taps = g.taps();
  const std::int64_t rows = kTransposed ? all_c : all_o, sums = kTransposed ? all_o : all_c;
  T sum[kPatch][kPatch] = {};
  Weights<T> a(g, p.other + group * all_o * all_c * taps, kTransposed ? taps : all_c * taps,
               kTransposed ? all_c * taps : taps, row0, rows);
  Pixels<T, kTransposed> b(g, p.in, group, column0);
  multiply(s, a, b, sums * taps, sum);

  const int tx = int(threadIdx.x) % 16, ty = int(threadIdx.x) / 16;
  const std::int64_t plane = kTransposed ? g.in_plane() : g.out_plane();
  const std::int64_t channels = kTransposed ? g.c : g.o;
  GS_UNROLL
  for (int j = 0; j < kPatch; ++j) {
    const std::int64_t pixel = column0 + tx * kPatch + j;
    if (pixel >= g.pixels) continue;
    const std::int64_t n = pixel / plane;
    T* const image = p.out + n * channels * plane + (pixel - n * plane);
    GS_UNROLL
    for (int i = 0; i < kPatch; ++i) {
      const std::int64_t row = row0 + ty * kPatch + i;
      if (row >= rows) continue;
      const std::int64_t channel = group * rows + row;
      image[channel * plane] = p.bias ? sum[i][j] + p.bias[channel] : sum[i][j];
    }
  }
}

// Part blockIdx.y of dw.
template <class T>
__global__ void __launch_bounds__(kConvThreads, 2)
    weight_grad_kernel(const __grid_constant__ ConvParams<T> p, std::int64_t row_tiles) {
  using Shared = ConvShared<T>;
  GS_SHARED(Shared, s);
  const Geometry& g = p.g;
  const int group = int(blockIdx.z);
  const std::int64_t row0 = std::int64_t(blockIdx.x) % row_tiles * kTile;
  const std::int64_t column0 = std::int64_t(blockIdx.x) / row_tiles * kTile;
  const std::int64_t rows = g.group_o(), columns = g.group_c() * g.taps();
  const std::int64_t begin = blockIdx.y * p.part, left = g.pixels - begin;
  T sum[kPatch][kPatch] = {};
  Gradients<T> a(g, p.other, group, row0, begin);
  Windows<T> b(g, p.in, group, column0, begin);
  multiply(s, a, b, left < p.part ? left : p.part, sum);

  const int tx = int(threadIdx.x) % 16, ty = int(threadIdx.x) / 16;
  T* const out = p.out + (std::int64_t(blockIdx.y) * g.groups + group) * rows * columns;
  GS_UNROLL
  for (int i = 0; i < kPatch; ++i) {
    const std::int64_t row = row0 + ty * kPatch + i;
    GS_UNROLL
    for (int j = 0; j < kPatch; ++j) {
      const std::int64_t column = column0 + tx * kPatch + j;
      if (row < rows && column < columns) out[row * columns + column] = sum[i][j];
    }
  }
}

template <class T>
__global__ void add_parts_kernel(T* out, const T* parts, std::int64_t count, std::int64_t size) {
  const std::int64_t i = std::int64_t(blockIdx.x) * kConvThreads + threadIdx.x;
  if (i >= size) return;
  T sum = parts[i];
  GS_UNROLL_BY(4)
  for (std::int64_t part = 1; part < count; ++part) sum += parts[part * size + i];
  out[i] = sum;
}

// ---- Narrow groups ------------------------------------------------------------------------------

template <class T, bool kTransposed>
__global__ void narrow_kernel(const __grid_constant__ ConvParams<T> p, std::int64_t numel) {
  const Geometry& g = p.g;
  const std::int64_t i = std::int64_t(blockIdx.x) * kConvThreads + threadIdx.x;
  if (i >= numel) return;
  const int all_o = g.group_o(), all_c = g.group_c();
  const std::int64_t plane = kTransposed ? g.in_plane() : g.out_plane();
  const int width = kTransposed ? g.w : g.out_w, channels = kTransposed ? g.c : g.o;
  const std::int64_t image = i / plane, n = image / channels;
  const int channel = int(image - n * channels);
  const int row = int((i - image * plane) / width);
  const int column = int(i - image * plane - std::int64_t(row) * width);
  const int group = channel / (kTransposed ? all_c : all_o);
  T sum = 0;
  GS_NO_UNROLL
  for (int k = 0; k < (kTransposed ? all_o : all_c); ++k) {
    const std::int64_t o = kTransposed ? std::int64_t(group) * all_o + k : channel;
    const std::int64_t c = kTransposed ? channel - std::int64_t(group) * all_c : k;
    const T* const weight = p.other + (o * all_c + c) * g.taps();
    const T* const in = kTransposed
                            ? p.in + (n * g.o + o) * g.out_plane()
                            : p.in + (n * g.c + std::int64_t(group) * all_c + c) * g.in_plane();
    GS_NO_UNROLL
    for (int i2 = 0; i2 < g.kh; ++i2) {
      int h = kTransposed ? row + g.pad_h - i2 * g.dilation_h
                          : row * g.stride_h - g.pad_h + i2 * g.dilation_h;
      if (h < 0 || (kTransposed && h % g.stride_h)) continue;
      if (kTransposed) h /= g.stride_h;
      if (h >= (kTransposed ? g.out_h : g.h)) continue;
      GS_NO_UNROLL
      for (int j = 0; j < g.kw; ++j) {
        int w = kTransposed ? column + g.pad_w - j * g.dilation_w
                            : column * g.stride_w - g.pad_w + j * g.dilation_w;
        if (w < 0 || (kTransposed && w % g.stride_w)) continue;
        if (kTransposed) w /= g.stride_w;
        if (w >= (kTransposed ? g.out_w : g.w)) continue;
        sum = ::fma(in[std::int64_t(h) * (kTransposed ? g.out_w : g.w) + w],
                    weight[std::int64_t(i2) * g.kw + j], sum);
      }
    }
  }
  p.out[i] = p.bias ? sum + p.bias[channel] : sum;
}

template <class T>
struct NarrowShared {
  T sums[kConvThreads];
};

// A block a weight.
template <class T>
__global__ void narrow_weight_kernel(const __grid_constant__ ConvParams<T> p) {
  GS_SHARED(NarrowShared<T>, s);
  const Geometry& g = p.g;
  const int t = int(threadIdx.x);
  const Counter tap(blockIdx.x, g.kh, g.kw);  // high: (o, c)
  const int o = tap.high / g.group_c();
  const int c = o / g.group_o() * g.group_c() + tap.high % g.group_c();
  const int row = tap.row * g.dilation_h - g.pad_h, column = tap.column * g.dilation_w - g.pad_w;
  Counter pixel(t, g.out_h, g.out_w);
  const Counter step(kConvThreads, g.out_h, g.out_w);
  T sum = 0;
  GS_NO_UNROLL
  for (std::int64_t i = t; i < g.pixels; i += kConvThreads) {
    const int ih = pixel.row * g.stride_h + row, iw = pixel.column * g.stride_w + column;
    if (ih >= 0 && ih < g.h && iw >= 0 && iw < g.w)
      sum = ::fma(
          p.other[(std::int64_t(pixel.high) * g.o + o) * g.out_plane() +
                  std::int64_t(pixel.row) * g.out_w + pixel.column],
          p.in[(std::int64_t(pixel.high) * g.c + c) * g.in_plane() + std::int64_t(ih) * g.w + iw],
          sum);
    pixel.add(step, g.out_h, g.out_w);
  }
  s.sums[t] = sum;
  __syncthreads();
  for (int half = kConvThreads / 2; half > 0; half /= 2) {
    if (t < half) s.sums[t] += s.sums[t + half];
    __syncthreads();
  }
  if (t == 0) p.out[blockIdx.x] = s.sums[0];
}

// ---- Launches -----------------------------------------------------------------------------------

constexpr int kNarrow = 4;

std::int64_t tiles(std::int64_t n, int tile) { return (n + tile - 1) / tile; }

int too_many() { return fail(kFailed, "conv: too many elements for one launch"); }

template <class T, bool kTransposed>
int launch_conv(const ConvParams<T>& p, void* stream) {
  const std::int64_t channels = kTransposed ? p.g.c : p.g.o, rows = channels / p.g.groups;
  if (channels == 0 || p.g.pixels == 0) return kOk;
  if (p.g.groups > kMaxGridZ || (p.g.groups > 1 && rows <= kNarrow)) {
    const std::int64_t numel = channels * p.g.pixels, blocks = tiles(numel, kConvThreads);
    if (blocks > kMaxGridX) return too_many();
    return launch("conv", narrow_kernel<T, kTransposed>, dim3(unsigned(blocks)), dim3(kConvThreads),
                  0, stream, p, numel);
  }
  const std::int64_t row_tiles = tiles(rows, kTile), column_tiles = tiles(p.g.pixels, kTile);
  if (row_tiles > kMaxGridX / column_tiles) return too_many();
  return launch("conv", conv_kernel<T, kTransposed>,
                dim3(unsigned(row_tiles * column_tiles), 1, unsigned(p.g.groups)),
                dim3(kConvThreads), sizeof(ConvShared<T>), stream, p, row_tiles);
}

template <class T>
int launch_weight_grad(ConvParams<T> p, std::int64_t parts, T* scratch, void* stream) {
  const Geometry& g = p.g;
  const std::int64_t columns = g.group_c() * g.taps(), size = std::int64_t(g.o) * columns;
  if (size == 0) return kOk;
  if (g.groups > kMaxGridZ || (g.groups > 1 && g.group_o() <= kNarrow && g.group_c() <= kNarrow)) {
    if (size > kMaxGridX) return too_many();
    return launch("conv", narrow_weight_kernel<T>, dim3(unsigned(size)), dim3(kConvThreads),
                  sizeof(NarrowShared<T>), stream, p);
  }
  const std::int64_t row_tiles = tiles(g.group_o(), kTile), column_tiles = tiles(columns, kTile);
  if (row_tiles > kMaxGridX / column_tiles) return too_many();
  T* const out = p.out;
  if (parts > 1) p.out = scratch;
  p.part = (g.pixels + parts - 1) / parts;
  const int status =
      launch("conv", weight_grad_kernel<T>,
             dim3(unsigned(row_tiles * column_tiles), unsigned(parts), unsigned(g.groups)),
             dim3(kConvThreads), sizeof(ConvShared<T>), stream, p, row_tiles);
  if (status || parts == 1) return status;
  return launch("conv", add_parts_kernel<T>, dim3(unsigned(tiles(size, kConvThreads))),
                dim3(kConvThreads), 0, stream, out, static_cast<const T*>(scratch), parts, size);
}

template <class T>
int launch_op(const ConvArgs& a, const Geometry& g, void* stream) {
  const ConvParams<T> p{g,
                        static_cast<T*>(a.out),
                        static_cast<const T*>(a.in),
                        static_cast<const T*>(a.other),
                        static_cast<const T*>(a.bias),
                        0};
  switch (a.op) {
    case ConvOp::forward:
      return launch_conv<T, false>(p, stream);
    case ConvOp::input_grad:
      return launch_conv<T, true>(p, stream);
    default:
      return launch_weight_grad<T>(p, conv_weight_parts(a), static_cast<T*>(a.scratch), stream);
  }
}

}  // namespace

int conv(const ConvArgs& a, void* stream) {
  constexpr std::int64_t kMost = 1 << 30;  // sums of two fit in 32 bits
  for (const std::int64_t v : {a.n, a.c, a.o, a.h + 2 * a.pad_h, a.w + 2 * a.pad_w,
                               (a.kh - 1) * a.dilation_h, (a.kw - 1) * a.dilation_w,
                               (a.out_h - 1) * a.stride_h, (a.out_w - 1) * a.stride_w, a.kh * a.kw})
    if (v > kMost)
      return fail(kFailed, "conv: a size of " + std::to_string(v) + " is more than 2^30");
  const Geometry g{a.n,
                   a.n * (a.op == ConvOp::input_grad ? a.h * a.w : a.out_h * a.out_w),
                   int(a.c),
                   int(a.h),
                   int(a.w),
                   int(a.o),
                   int(a.kh),
                   int(a.kw),
                   int(a.out_h),
                   int(a.out_w),
                   int(a.groups),
                   int(a.stride_h),
                   int(a.stride_w),
                   int(a.pad_h),
                   int(a.pad_w),
                   int(a.dilation_h),
                   int(a.dilation_w)};
  return a.dtype == DType::f64 ? launch_op<double>(a, g, stream) : launch_op<float>(a, g, stream);
}

}  // namespace gradsmith::cuda
