// Float32 matrix product on CUDA cores: C = act(alpha * A B + beta * C + bias + residual).
//
// Contract    see GemmArgs in cuda_abi.h. Any strides; each element of C is one chain of fused
//             multiply-adds over k, so its bits do not depend on tile, m, n or batch.
// Algorithm   A block computes a tile of C, 64 or 128 square. Slices of A and B go
//             through shared memory, double buffered: while one slice is multiplied the next is on
//             its way from global memory in registers, so one barrier a slice is enough. A thread
//             keeps a 4x4 or 8x8 patch of C in registers, in 4x4 pieces that lie 64 apart, so that
//             its reads of shared memory are 16 bytes wide and free of bank conflicts.
// Layouts     Threads walk a slice along whichever index has the smaller stride, so that loads are
//             coalesced for A and for its transpose, for B and for its transpose.
// Constants   8x8 per thread: 64 FMAs for 16 loaded values; 64 accumulators, 16 operands and 8
//             staged values fit in 128 registers (slices 8 deep; 16 deep spills), which is two
//             blocks of 256 threads a multiprocessor. The small tile is
//             for products that give the large one fewer blocks than two a multiprocessor.
#include <string>

#include "kernels/cuda/kernels.h"
#include "kernels/gemm/finish.cuh"
#include "kernels/gemm/mma.h"

namespace gradsmith::cuda {
namespace {

constexpr int kGemmThreads = 256;
template <int kTile>
constexpr int kSliceDepth = kTile == 128 ? 8 : 16;
constexpr int kPad = 4;  // floats between rows of a slice: keeps 16-byte alignment, spreads banks

template <int kTile>
struct GemmShared {
  alignas(16) float a[2][kSliceDepth<kTile>][kTile + kPad];
  alignas(16) float b[2][kSliceDepth<kTile>][kTile + kPad];
};

struct alignas(16) Four {
  float v[4];
};

// This thread's share of one slice of A or B, on its way to shared memory. A "line" is a row of A
// or a column of B. kDepthFirst: neighbouring threads load neighbouring depths. The thread's values
// lie kLineStep lines or kDepthStep depths apart.
template <int kTile, bool kDepthFirst>
struct Stage {
  static constexpr int kDepth = kSliceDepth<kTile>;
  static constexpr int kValues = kTile * kDepth / kGemmThreads;
  static constexpr int kLineStep = kDepthFirst ? kGemmThreads / kDepth : 0;
  static constexpr int kDepthStep = kDepthFirst ? 0 : kGemmThreads / kTile;

  const float* at;  // the thread's first value of the slice that is loaded next
  std::int64_t step, slice_step;
  int line, depth, lines;
  float values[kValues];

  __device__ Stage(const Matrix& x, std::int64_t z, std::int64_t line_stride,
                   std::int64_t depth_stride, std::int64_t first_line, std::int64_t all_lines) {
    const int t = int(threadIdx.x);
    line = kDepthFirst ? t / kDepth : t % kTile;
    depth = kDepthFirst ? t % kDepth : t / kTile;
    lines = all_lines - first_line < kTile ? int(all_lines - first_line) : kTile;
    at = static_cast<const float*>(x.data) + z * x.batch + (first_line + line) * line_stride +
         depth * depth_stride;
    step = kLineStep * line_stride + kDepthStep * depth_stride;
    slice_step = kDepth * depth_stride;
  }
  __device__ void load(int depths) {  // of this slice; kDepth but for the last one
    GS_UNROLL
    for (int i = 0; i < kValues; ++i) {
      const bool inside = line + i * kLineStep < lines && depth + i * kDepthStep < depths;
      values[i] = inside ? at[i * step] : 0.0f;
    }
    at += slice_step;
  }
  __device__ void store(float (&slice)[kDepth][kTile + kPad]) const {
    GS_UNROLL
    for (int i = 0; i < kValues; ++i)
      slice[depth + i * kDepthStep][line + i * kLineStep] = values[i];
  }
};

template <int kTile, bool kADepthFirst, bool kBDepthFirst>
__global__ void __launch_bounds__(kGemmThreads, 2) gemm_kernel(GemmArgs g, std::int64_t row_tiles) {
  using Shared = GemmShared<kTile>;
  GS_SHARED(Shared, s);
  constexpr int kDepth = kSliceDepth<kTile>;
  constexpr int kPieces = kTile / 64, kPatch = 4 * kPieces;
  const int tx = int(threadIdx.x) % 16, ty = int(threadIdx.x) / 16;
  const std::int64_t row0 = std::int64_t(blockIdx.x) % row_tiles * kTile;
  const std::int64_t column0 = std::int64_t(blockIdx.x) / row_tiles * kTile;

  const std::int64_t z = blockIdx.z;
  const std::int64_t depths = g.alpha == 0.0f ? 0 : g.k;
  const auto slice_depths = [depths](std::int64_t depth0) {
    return depths - depth0 < kDepth ? int(depths - depth0) : kDepth;
  };
  float sum[kPatch][kPatch] = {};
  Stage<kTile, kADepthFirst> next_a(g.a, z, g.a.rs, g.a.cs, row0, g.m);
  Stage<kTile, kBDepthFirst> next_b(g.b, z, g.b.cs, g.b.rs, column0, g.n);
  next_a.load(slice_depths(0));
  next_b.load(slice_depths(0));
  next_a.store(s.a[0]);
  next_b.store(s.b[0]);
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
      Four rows[kPieces], columns[kPieces];
      GS_UNROLL
      for (int q = 0; q < kPieces; ++q) {
        rows[q] = *reinterpret_cast<const Four*>(&s.a[half][d][q * 64 + ty * 4]);
        columns[q] = *reinterpret_cast<const Four*>(&s.b[half][d][q * 64 + tx * 4]);
      }
      GS_UNROLL
      for (int i = 0; i < kPatch; ++i) {
        GS_UNROLL
        for (int j = 0; j < kPatch; ++j)
          sum[i][j] = ::fmaf(rows[i / 4].v[i % 4], columns[j / 4].v[j % 4], sum[i][j]);
      }
    }
    if (more) {  // the other half was last read before the previous barrier
      next_a.store(s.a[half ^ 1]);
      next_b.store(s.b[half ^ 1]);
    }
    half ^= 1;
    __syncthreads();
  }

  const auto entry = [z](const Matrix& x) {
    return x.data ? static_cast<float*>(x.data) + z * x.batch : nullptr;
  };
  float* const c = entry(g.c);
  const float *const bias = entry(g.bias), *const residual = entry(g.residual);
  GS_UNROLL
  for (int i = 0; i < kPatch; ++i) {
    const std::int64_t row = row0 + i / 4 * 64 + ty * 4 + i % 4;
    GS_UNROLL
    for (int j = 0; j < kPatch; ++j) {
      const std::int64_t column = column0 + j / 4 * 64 + tx * 4 + j % 4;
      if (row >= g.m || column >= g.n) continue;
      float* out = c + row * g.c.rs + column * g.c.cs;
      float value = g.alpha * sum[i][j];
      if (g.beta != 0.0f) value = ::fmaf(g.beta, *out, value);
      if (bias) value += bias[row * g.bias.rs + column * g.bias.cs];
      if (residual) value += residual[row * g.residual.rs + column * g.residual.cs];
      if (g.activation == Activation::relu) value = value < 0 ? 0.0f : value;
      *out = value;
    }
  }
  // The other activations go over what this thread has just written, in a loop that is not
  // unrolled: 64 copies of erf in the code above would cost more than the visit to the cache.
  if (g.activation > Activation::relu) {
    GS_NO_UNROLL
    for (int e = 0; e < kPatch * kPatch; ++e) {
      const int i = e / kPatch, j = e % kPatch;
      const std::int64_t row = row0 + i / 4 * 64 + ty * 4 + i % 4;
      const std::int64_t column = column0 + j / 4 * 64 + tx * 4 + j % 4;
      if (row >= g.m || column >= g.n) continue;
      float* out = c + row * g.c.rs + column * g.c.cs;
      *out = activate(g.activation, *out, g.slope);
    }
  }
}

template <int kTile>
int launch_tile(const GemmArgs& g, void* stream) {
  const std::int64_t row_tiles = (g.m + kTile - 1) / kTile,
                     column_tiles = (g.n + kTile - 1) / kTile;
  if (row_tiles > kMaxGridX / column_tiles)
    return fail(kFailed, "gemm: " + std::to_string(g.m) + " x " + std::to_string(g.n) +
                             " elements are too many");
  const bool a_depth = magnitude(g.a.cs) < magnitude(g.a.rs);
  const bool b_depth = magnitude(g.b.rs) < magnitude(g.b.cs);
  const auto kernel =
      a_depth ? (b_depth ? gemm_kernel<kTile, true, true> : gemm_kernel<kTile, true, false>)
              : (b_depth ? gemm_kernel<kTile, false, true> : gemm_kernel<kTile, false, false>);
  return for_batches(g, [&](const GemmArgs& part) {
    const dim3 grid(unsigned(row_tiles * column_tiles), 1, unsigned(part.batch));
    return launch("gemm", kernel, grid, dim3(kGemmThreads), sizeof(GemmShared<kTile>), stream, part,
                  row_tiles);
  });
}

}  // namespace

int gemm_fma(const GemmArgs& g, void* stream) {
  return uses_large_tiles(g) ? launch_tile<128>(g, stream) : launch_tile<64>(g, stream);
}

int gemm(const GemmArgs& g, void* stream) {
  constexpr std::int64_t kMostDepths = 0x7fffff00;  // a slice more than that is still an int
  if (g.m == 0 || g.n == 0 || g.batch == 0) return kOk;
  if (g.out != DType::f32 && g.out != g.dtype)
    return fail(kFailed, std::string("gemm: factors of ") + name(g.dtype) +
                             " give float32 or the same, not " + name(g.out));
  if (g.k > kMostDepths)
    return fail(kFailed, "gemm: a sum of " + std::to_string(g.k) + " products is too long");
  if (g.kernel == GemmKernel::automatic || g.kernel == GemmKernel::wgmma) {
    const bool asked = g.kernel == GemmKernel::wgmma;
    bool done = false;
    const int status = gemm_wgmma(g, !asked, &done, stream);
    if (status || done) return status;
    if (asked)
      return fail(kFailed,
                  "gemm: the wgmma kernel takes 16-bit factors with rows on 16 bytes, on "
                  "devices of compute capability 9.0");
  }
  switch (g.dtype) {
    case DType::bf16:
      return gemm_bf16(g, stream);
    case DType::f16:
      return gemm_f16(g, stream);
    case DType::f32:
      if (g.math == Float32Math::tf32x3) return gemm_tf32x3(g, stream);
      return g.math == Float32Math::tf32 ? gemm_tf32(g, stream) : gemm_fma(g, stream);
    default:
      return fail(kFailed, std::string("gemm: no CUDA kernel for ") + name(g.dtype));
  }
}

}  // namespace gradsmith::cuda
