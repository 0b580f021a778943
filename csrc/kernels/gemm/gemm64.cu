// Matrix product in float64: C = act(alpha * A B + beta * C + bias + residual). Rare work: simpler
// than gemm.cu, with the same promises.
//
// Contract    see Gemm64Args and GemmArgs. Any strides; each element of C is one chain of fused
//             multiply-adds over k.
// Algorithm   A block of 256 threads computes 64 x 64 elements, 4 x 4 a thread, from slices of A
//             and B that are 8 deep in shared memory. Threads load a slice along whichever index
//             has the smaller stride.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/elementwise/activation.cuh"

namespace gradsmith::cuda {
namespace {

constexpr int kTile64 = 64, kDepth64 = 8, kThreads64 = 256, kPatch64 = 4;

struct Gemm64Shared {
  double a[kDepth64][kTile64 + 1], b[kDepth64][kTile64 + 1];
};

__device__ double activate64(Activation activation, double x, double slope) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x < 0 ? 0.0 : x;
    case Activation::leaky_relu:
      return x < 0 ? slope * x : x;
    case Activation::sigmoid:
      return sigmoid_of(x);
    case Activation::tanh:
      return ::tanh(x);
    case Activation::gelu:
      return 0.5 * x * ::erfc(x * -0.70710678118654752);
    case Activation::gelu_tanh:
      return x * sigmoid_of(1.5957691216057308 * (x + 0.044715 * x * x * x));
    case Activation::silu:
      return x * sigmoid_of(x);
  }
  return x;
}

// Lines (rows of A, columns of B) from line0 on, depths from depth0 on; zeros outside.
__device__ void load_slice(double (&slice)[kDepth64][kTile64 + 1], const double* p,
                           std::int64_t line_stride, std::int64_t depth_stride, std::int64_t line0,
                           std::int64_t lines, std::int64_t depth0, std::int64_t depths) {
  const bool depth_first = ::llabs(depth_stride) < ::llabs(line_stride);
  for (int i = int(threadIdx.x); i < kTile64 * kDepth64; i += kThreads64) {
    const int line = depth_first ? i / kDepth64 : i % kTile64;
    const int depth = depth_first ? i % kDepth64 : i / kTile64;
    const bool inside = line0 + line < lines && depth0 + depth < depths;
    slice[depth][line] =
        inside ? p[(line0 + line) * line_stride + (depth0 + depth) * depth_stride] : 0.0;
  }
}

__global__ void __launch_bounds__(kThreads64, 2)
    gemm64_kernel(Gemm64Args g, std::int64_t row_tiles) {
  GS_SHARED(Gemm64Shared, s);
  const int tx = int(threadIdx.x) % 16, ty = int(threadIdx.x) / 16;
  const std::int64_t row0 = std::int64_t(blockIdx.x) % row_tiles * kTile64;
  const std::int64_t column0 = std::int64_t(blockIdx.x) / row_tiles * kTile64;
  const std::int64_t z = blockIdx.z;
  const std::int64_t depths = g.alpha == 0 ? 0 : g.k;
  double sum[kPatch64][kPatch64] = {};
  for (std::int64_t depth0 = 0; depth0 < depths; depth0 += kDepth64) {
    __syncthreads();
    load_slice(s.a, g.a.data + z * g.a.batch, g.a.rs, g.a.cs, row0, g.m, depth0, depths);
    load_slice(s.b, g.b.data + z * g.b.batch, g.b.cs, g.b.rs, column0, g.n, depth0, depths);
    __syncthreads();
    GS_UNROLL
    for (int d = 0; d < kDepth64; ++d) {
      double rows[kPatch64], columns[kPatch64];
      GS_UNROLL
      for (int i = 0; i < kPatch64; ++i) {
        rows[i] = s.a[d][ty + 16 * i];
        columns[i] = s.b[d][tx + 16 * i];
      }
      GS_UNROLL
      for (int i = 0; i < kPatch64; ++i) {
        GS_UNROLL
        for (int j = 0; j < kPatch64; ++j) sum[i][j] = ::fma(rows[i], columns[j], sum[i][j]);
      }
    }
  }
  const auto at = [z](const Matrix64& m, std::int64_t row, std::int64_t column) {
    return m.data + z * m.batch + row * m.rs + column * m.cs;
  };
  const auto inside = [&](int i, int j) {
    return row0 + ty + 16 * i < g.m && column0 + tx + 16 * j < g.n;
  };
  GS_UNROLL
  for (int i = 0; i < kPatch64; ++i) {
    GS_UNROLL
    for (int j = 0; j < kPatch64; ++j) {
      if (!inside(i, j)) continue;
      const std::int64_t row = row0 + ty + 16 * i, column = column0 + tx + 16 * j;
      double* const out = at(g.c, row, column);
      double value = g.alpha * sum[i][j];
      if (g.beta != 0) value = ::fma(g.beta, *out, value);
      if (g.bias.data) value += *at(g.bias, row, column);
      if (g.residual.data) value += *at(g.residual, row, column);
      *out = value;
    }
  }
  if (g.activation == Activation::none) return;
  GS_NO_UNROLL  // 16 copies of erf would cost more than the second visit
      for (int e = 0; e < kPatch64 * kPatch64; ++e) {
    if (!inside(e / kPatch64, e % kPatch64)) continue;
    double* const out =
        at(g.c, row0 + ty + 16 * (e / kPatch64), column0 + tx + 16 * (e % kPatch64));
    *out = activate64(g.activation, *out, g.slope);
  }
}

}  // namespace

int gemm64(const Gemm64Args& g, void* stream) {
  if (g.m == 0 || g.n == 0 || g.batch == 0) return kOk;
  const std::int64_t row_tiles = (g.m + kTile64 - 1) / kTile64,
                     column_tiles = (g.n + kTile64 - 1) / kTile64;
  if (row_tiles > kMaxGridX / column_tiles)
    return fail(kFailed, "gemm: " + std::to_string(g.m) + " x " + std::to_string(g.n) +
                             " elements are too many");
  Gemm64Args part = g;
  for (std::int64_t done = 0; done < g.batch; done += kMaxGridZ) {
    const std::int64_t count = g.batch - done < kMaxGridZ ? g.batch - done : kMaxGridZ;
    const dim3 grid(unsigned(row_tiles * column_tiles), 1, unsigned(count));
    const int status = launch("gemm", gemm64_kernel, grid, dim3(kThreads64), sizeof(Gemm64Shared),
                              stream, part, row_tiles);
    if (status) return status;
    for (Matrix64* matrix : {&part.a, &part.b, &part.c, &part.bias, &part.residual})
      if (matrix->data) matrix->data += count * matrix->batch;
  }
  return kOk;
}

}  // namespace gradsmith::cuda
