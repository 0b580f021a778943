// Matrix products on tensor cores through mma.sync (8.0 and newer), for any kind of factors.
//
// Algorithm   A block computes a tile of C, 64 or 128 square, its warps 32x32 or 64x32 of it.
//             Slices of A and B, 64 bytes deep, are on their way to shared memory (cp.async) while
//             earlier ones are multiplied: kStages slots in a ring, one barrier a slice. A slot is
//             filled again in the step after the one in which it was read, so that barrier also
//             says that all warps are done with it.
// Layouts     A slice lies in shared memory as in global memory: lines of a row of depths, or rows
//             of lines ("across"). ldmatrix reads 16-bit factors either way, transposing the
//             second; tf32 across is read word by word. Rows are padded by 16 bytes (tf32 across:
//             32), which spreads the eight rows of an ldmatrix, and the four depths of a fragment,
//             over all banks.
// Any strides Without a unit stride or with rows that are not 16-byte aligned, threads gather the
//             16 bytes element by element. Same bits, several times slower.
// Constants   64x32 a warp: 64 sums, and 24 words of factors for 16 products of 2048 multiply-adds:
//             192 bytes of shared memory a product. Four slots of 20 KB: two blocks of 256 threads
//             on a multiprocessor with 164 KB, one on those with 100 KB.
#pragma once
#include <string>

#include "kernels/cuda/mma.cuh"
#include "kernels/gemm/finish.cuh"
#include "kernels/gemm/mma.h"

namespace gradsmith::cuda {

inline constexpr int kSliceBytes = 64, kStages = 4;

template <int kTile>
struct MmaTile {
  static constexpr int kWarpRows = kTile / 2, kWarpColumns = 32;  // of C a warp
  static constexpr int kWarpsAcross = kTile / kWarpColumns, kThreads = 32 * 2 * kWarpsAcross;
  static constexpr int kRowPieces = kWarpRows / 16, kColumnPieces = kWarpColumns / 8;
};

// A slice of A or B in shared memory. A "line" is a row of A or a column of B. kAcross: lines are
// neighbours in memory, not depths.
template <class Element, int kTile, bool kAcross>
struct Slice {
  static constexpr int kDepth = kSliceBytes / int(sizeof(Element));
  static constexpr int kRows = kAcross ? kDepth : kTile;
  static constexpr int kRowChunks = (kAcross ? kTile : kDepth) * int(sizeof(Element)) / 16;
  static constexpr int kPitch = kRowChunks * 16 + (kAcross && sizeof(Element) == 4 ? 32 : 16);
  static constexpr int kBytes = kRows * kPitch;
};

// This thread's share of the copies of A or B to shared memory: 16 bytes of every kRowStep-th row.
template <class Element, int kTile, bool kAcross>
struct Feed {
  using S = Slice<Element, kTile, kAcross>;
  static constexpr int kPerChunk = 16 / int(sizeof(Element));
  static constexpr int kThreads = MmaTile<kTile>::kThreads;
  static constexpr int kRowStep = kThreads / S::kRowChunks;
  static_assert(kThreads % S::kRowChunks == 0 && S::kRows % kRowStep == 0);

  const Element* at;  // the thread's first element of the slice that is copied next
  std::int64_t line_stride, depth_stride;
  int lines, depths;  // that are left
  bool wide;

  static __device__ int row() { return int(threadIdx.x) / S::kRowChunks; }
  static __device__ int within() { return int(threadIdx.x) % S::kRowChunks * kPerChunk; }

  __device__ Feed(const Matrix& x, bool rows_are_lines, std::int64_t z, std::int64_t first_line,
                  std::int64_t all_lines, int all_depths)
      : line_stride(rows_are_lines ? x.rs : x.cs),
        depth_stride(rows_are_lines ? x.cs : x.rs),
        depths(all_depths) {
    at = static_cast<const Element*>(x.data) + z * x.batch + first_line * line_stride;
    lines = all_lines - first_line < kTile ? int(all_lines - first_line) : kTile;
    wide = (kAcross ? line_stride : depth_stride) == 1 &&
           (kAcross ? depth_stride : line_stride) % kPerChunk == 0 &&
           reinterpret_cast<std::uintptr_t>(at) % 16 == 0;
    at += row() * (kAcross ? depth_stride : line_stride) +
          within() * (kAcross ? line_stride : depth_stride);
  }

  __device__ void copy(unsigned char* slice) {
    const int rows = kAcross ? depths : lines;
    int valid = (kAcross ? lines : depths) - within();
    valid = valid < 0 ? 0 : valid < kPerChunk ? valid : kPerChunk;
    unsigned char* to = slice + row() * S::kPitch + within() * int(sizeof(Element));
    const Element* from = at;
    GS_UNROLL
    for (int r = 0; r < S::kRows; r += kRowStep) {
      const int count = row() + r < rows ? valid : 0;
      if (wide) {
        copy_async(to + r * S::kPitch, from, count * int(sizeof(Element)));
      } else {
        Pack<Element, kPerChunk> values{};
        GS_UNROLL
        for (int e = 0; e < kPerChunk; ++e)
          if (e < count) values.v[e] = from[e * (kAcross ? line_stride : depth_stride)];
        *reinterpret_cast<Pack<Element, kPerChunk>*>(to + r * S::kPitch) = values;
      }
      from += kRowStep * (kAcross ? depth_stride : line_stride);
    }
    at += S::kDepth * depth_stride;
    depths -= S::kDepth;
  }
};

// Words of the fragments of 16 lines from `line` on and 32 bytes of depth from step `step` on, in
// the order of A's; for B they are b[0], b[1] of lines 0 to 7 and then of lines 8 to 15, so the
// middle words change places.
template <class Element, int kTile, bool kAcross, bool kForB>
__device__ void load_fragments(std::uint32_t (&words)[4], const unsigned char* slice, int line,
                               int step) {
  using S = Slice<Element, kTile, kAcross>;
  const int lane = int(threadIdx.x) % 32, row = lane % 8;
  // The matrix of 8 lines by 16 bytes that this lane names a row of: which lines, which depths.
  const int lines8 = kForB ? lane / 16 : lane / 8 % 2, depths16 = kForB ? lane / 8 % 2 : lane / 16;
  if constexpr (!kAcross) {
    load_matrices(words, slice + (line + lines8 * 8 + row) * S::kPitch + step * 32 + depths16 * 16,
                  false);
  } else if constexpr (sizeof(Element) == 2) {
    load_matrices(words,
                  slice + (step * 16 + depths16 * 8 + row) * S::kPitch + (line + lines8 * 8) * 2,
                  true);
  } else {
    GS_UNROLL
    for (int w = 0; w < 4; ++w) {
      const int l8 = kForB ? w / 2 : w % 2, d4 = kForB ? w % 2 : w / 2;
      words[w] = *reinterpret_cast<const std::uint32_t*>(
          slice + (step * 8 + d4 * 4 + lane % 4) * S::kPitch + (line + l8 * 8 + lane / 4) * 4);
    }
  }
}

// Math says what is done with fragments: its Element, kParts fragments for each one that is loaded,
// split() into them, and product(). kFresh: sums of a slice start at zero and are added to those
// before by ordinary additions, which round to nearest where tensor cores cut off.
template <class Math, int kTile, bool kAAcross, bool kBAcross>
__global__ void __launch_bounds__(MmaTile<kTile>::kThreads, Math::kFresh ? 1 : 2)
    mma_gemm_kernel(const __grid_constant__ GemmArgs g, TileOrder order) {
  using Element = typename Math::Element;
  using T = MmaTile<kTile>;
  using SliceA = Slice<Element, kTile, kAAcross>;
  using SliceB = Slice<Element, kTile, kBAcross>;
  constexpr int kFinishBytes = T::kWarpRows * (T::kWarpColumns + kFinishPad) * 4;
  struct Shared {
    union {
      alignas(16) struct {
        unsigned char a[SliceA::kBytes], b[SliceB::kBytes];
      } stage[kStages];
      alignas(16) unsigned char finish[T::kThreads / 32][kFinishBytes];
    };
  };
  GS_SHARED(Shared, s);
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const int warp_row = warp / T::kWarpsAcross * T::kWarpRows;
  const int warp_column = warp % T::kWarpsAcross * T::kWarpColumns;
  std::int64_t tile_row, tile_column;
  order.place(blockIdx.x, tile_row, tile_column);
  const std::int64_t z = blockIdx.z, row0 = tile_row * kTile, column0 = tile_column * kTile;

  const int depths = g.alpha == 0.0f ? 0 : int(g.k);
  const int slices = (depths + SliceA::kDepth - 1) / SliceA::kDepth;
  Feed<Element, kTile, kAAcross> feed_a(g.a, true, z, row0, g.m, depths);
  Feed<Element, kTile, kBAcross> feed_b(g.b, false, z, column0, g.n, depths);
  const auto copy_slice = [&](int slice) {
    if (slice < slices) {
      feed_a.copy(s.stage[slice % kStages].a);
      feed_b.copy(s.stage[slice % kStages].b);
    }
    copy_async_commit();  // empty groups keep the count
  };
  for (int i = 0; i < kStages - 1; ++i) copy_slice(i);

  float sum[T::kRowPieces][T::kColumnPieces][4] = {};
  GS_NO_UNROLL
  for (int i = 0; i < slices; ++i) {
    copy_async_wait<kStages - 2>();
    __syncthreads();
    copy_slice(i + kStages - 1);
    const auto& stage = s.stage[i % kStages];
    float fresh[Math::kFresh ? T::kRowPieces : 1][T::kColumnPieces][4] = {};
    GS_UNROLL
    for (int step = 0; step < kSliceBytes / 32; ++step) {
      std::uint32_t a[T::kRowPieces][Math::kParts][4], b[T::kColumnPieces][Math::kParts][2];
      GS_UNROLL
      for (int p = 0; p < T::kRowPieces; ++p) {
        std::uint32_t words[4];
        load_fragments<Element, kTile, kAAcross, false>(words, stage.a, warp_row + p * 16, step);
        Math::split(words, a[p]);
      }
      GS_UNROLL
      for (int p = 0; p < T::kColumnPieces; p += 2) {
        std::uint32_t words[4];
        load_fragments<Element, kTile, kBAcross, true>(words, stage.b, warp_column + p * 8, step);
        std::uint32_t parts[Math::kParts][4];
        Math::split(words, parts);
        GS_UNROLL
        for (int q = 0; q < Math::kParts; ++q) {
          GS_UNROLL
          for (int w = 0; w < 4; ++w) b[p + w / 2][q][w % 2] = parts[q][w];
        }
      }
      GS_UNROLL
      for (int p = 0; p < T::kRowPieces; ++p) {
        GS_UNROLL
        for (int q = 0; q < T::kColumnPieces; ++q) {
          if constexpr (Math::kFresh)
            Math::product(fresh[p][q], a[p], b[q]);
          else
            Math::product(sum[p][q], a[p], b[q]);
        }
      }
    }
    if constexpr (Math::kFresh) {
      GS_UNROLL
      for (int p = 0; p < T::kRowPieces; ++p) {
        GS_UNROLL
        for (int q = 0; q < T::kColumnPieces; ++q) {
          GS_UNROLL
          for (int e = 0; e < 4; ++e) sum[p][q][e] += fresh[p][q][e];
        }
      }
    }
  }

  copy_async_wait<0>();
  __syncthreads();  // the slots are free
  float* const sums = reinterpret_cast<float*>(s.finish[warp]);
  GS_UNROLL
  for (int p = 0; p < T::kRowPieces; ++p) {
    GS_UNROLL
    for (int q = 0; q < T::kColumnPieces; ++q) {
      GS_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int r = p * 16 + half * 8 + lane / 4, c = q * 8 + lane % 4 * 2;
        *reinterpret_cast<Pack<float, 2>*>(sums + r * (T::kWarpColumns + kFinishPad) +
                                           c) = {{sum[p][q][half * 2], sum[p][q][half * 2 + 1]}};
      }
    }
  }
  __syncwarp();
  finish_tile<T::kWarpRows, T::kWarpColumns>(g, sums, z, row0 + warp_row, column0 + warp_column);
}

template <class Math, int kTile, bool kAAcross, bool kBAcross>
int launch_mma(const GemmArgs& g, void* stream) {
  using Element = typename Math::Element;
  using T = MmaTile<kTile>;
  constexpr std::size_t kStageBytes =
      Slice<Element, kTile, kAAcross>::kBytes + Slice<Element, kTile, kBAcross>::kBytes;
  constexpr std::size_t kFinish =
      std::size_t(T::kThreads) / 32 * T::kWarpRows * (T::kWarpColumns + kFinishPad) * 4;
  constexpr std::size_t kShared = kStageBytes * kStages > kFinish ? kStageBytes * kStages : kFinish;
  const TileOrder order{(g.m + kTile - 1) / kTile, (g.n + kTile - 1) / kTile};
  if (order.rows > kMaxGridX / order.columns)
    return fail(kFailed, "gemm: " + std::to_string(g.m) + " x " + std::to_string(g.n) +
                             " elements are too many");
  return for_batches(g, [&](const GemmArgs& part) {
    const dim3 grid(unsigned(order.rows * order.columns), 1, unsigned(part.batch));
    return launch("gemm", mma_gemm_kernel<Math, kTile, kAAcross, kBAcross>, grid, dim3(T::kThreads),
                  kShared, stream, part, order);
  });
}

template <class Math, int kTile>
int launch_mma_layout(const GemmArgs& g, void* stream) {
  const bool a_across = magnitude(g.a.rs) < magnitude(g.a.cs);
  const bool b_across = magnitude(g.b.cs) < magnitude(g.b.rs);
  if (a_across)
    return b_across ? launch_mma<Math, kTile, true, true>(g, stream)
                    : launch_mma<Math, kTile, true, false>(g, stream);
  return b_across ? launch_mma<Math, kTile, false, true>(g, stream)
                  : launch_mma<Math, kTile, false, false>(g, stream);
}

template <class Math>
int gemm_mma(const GemmArgs& g, void* stream) {
  return uses_large_tiles(g) ? launch_mma_layout<Math, 128>(g, stream)
                             : launch_mma_layout<Math, 64>(g, stream);
}

}  // namespace gradsmith::cuda
