// bfloat16 and float16 products by warp groups (wgmma), for compute capability 9.0.
//
// Contract    As cuda::gemm, for factors that copies of tiles (TMA) can read: a unit stride in each
//             of A and B, rows and batch entries on 16 bytes. C is as any.
// Algorithm   Blocks live as long as the kernel and walk over tiles of C, 128 x 256 each. One
//             warp group produces: a thread of it keeps slices of A and B, 64 deep, on their way to
//             a ring of kSlots slots in shared memory. Two warp groups consume: each multiplies 64
//             rows of A with all of B, 128 sums a thread, and then finishes its part of C while
//             the next tile's slices arrive.
//             A slot has two barriers: `full` counts its bytes, `empty` an arrival of every warp
//             that has read it, in both blocks of the cluster.
// Cluster     Two blocks, below each other in C, share B: each fetches half of it for both.
// Layouts     A slice lies in tiles of rows of 128 bytes as the copy has swizzled them: its rows
//             are lines, 64 depths each, or, across, depths, 64 lines each. wgmma reads either.
// Constants   A slot is 48 KB for 2 M multiply-adds, 1024 cycles of a multiprocessor: 48 bytes a
//             cycle, more than the second-level cache gives (about 46), and 32 with B fetched by
//             half. 128 of a consumer's 232 registers are sums. Four slots and the buffers for C
//             fill 212 of 227 KB.
// Floor       2 m n k flops. Bytes: A once for each 256 columns of C, B once for each 256 rows, C
//             once.
#include <string>

#include "kernels/cuda/hopper.cuh"
#include "kernels/gemm/finish.cuh"
#include "kernels/gemm/mma.h"

namespace gradsmith::cuda {
namespace {

constexpr int kRows = 128, kColumns = 256, kDepth = 64, kSlots = 4, kCluster = 2;
constexpr int kGroupThreads = 128, kConsumers = 2, kBlockThreads = kGroupThreads * (1 + kConsumers);
constexpr int kBox = 64;    // lines of a tile that lies across; depths of one that does not
constexpr int kPiece = 32;  // columns of C that a warp finishes at a time
constexpr int kBytesOfSlot = (kRows + kColumns) * kDepth * 2;
constexpr int kReaders = kConsumers * 4 * kCluster;  // warps that read a slot's B

struct Shared {
  alignas(kTileAlign) Half16 a[kSlots][kRows * kDepth];
  alignas(kTileAlign) Half16 b[kSlots][kColumns * kDepth];
  alignas(16) float finish[kConsumers * 4][16 * (kPiece + kFinishPad)];
  Barrier full[kSlots], empty[kSlots];
};

// The slot that comes next, and the parity of the phase in which it is used.
struct Ring {
  int slot = 0;
  unsigned parity = 0;

  __device__ void advance() {
    if (++slot == kSlots) {
      slot = 0;
      parity ^= 1;
    }
  }
};

struct Problem {
  GemmArgs g;
  TileOrder order;  // of clusters: kCluster * kRows rows of C
  bool a_batched, b_batched;
};

// f(row, column, z) for this block's tiles: the first row and column of C, and the batch entry.
template <class F>
__device__ void each_tile(const Problem& p, F f) {
  const std::int64_t matrix_tiles = p.order.rows * p.order.columns;
  const std::int64_t tiles = matrix_tiles * p.g.batch;
  for (std::int64_t tile = blockIdx.x / kCluster; tile < tiles; tile += gridDim.x / kCluster) {
    const std::int64_t z = tile / matrix_tiles;
    std::int64_t row, column;
    p.order.place(tile - z * matrix_tiles, row, column);
    f(int(row * kCluster + cluster_rank()) * kRows, int(column) * kColumns, int(z));
  }
}

template <bool kAAcross, bool kBAcross>
__device__ void produce(Shared& s, const Problem& p, const TensorMap& map_a, const TensorMap& map_b,
                        int slices) {
  constexpr int kShare = kColumns / kCluster;  // lines of B that this block fetches
  constexpr std::uint16_t kAll = (1u << kCluster) - 1;
  const int first = int(cluster_rank()) * kShare;
  Ring ring;
  each_tile(p, [&](int row, int column, int z) {
    const int za = p.a_batched ? z : 0, zb = p.b_batched ? z : 0;
    for (int slice = 0; slice < slices; ++slice, ring.advance()) {
      Barrier* const full = &s.full[ring.slot];
      barrier_wait(&s.empty[ring.slot], ring.parity ^ 1);
      barrier_expect(full, kBytesOfSlot);
      const int depth = slice * kDepth;
      Half16 *const a = s.a[ring.slot], *const b = s.b[ring.slot] + first * kDepth;
      if constexpr (kAAcross) {
        for (int i = 0; i < kRows; i += kBox)
          copy_tile(a + i * kDepth, map_a, full, row + i, depth, za);
      } else {
        copy_tile(a, map_a, full, depth, row, za);
      }
      if constexpr (kBAcross) {
        for (int i = 0; i < kShare; i += kBox)
          copy_tile_to(kAll, b + i * kDepth, map_b, full, column + first + i, depth, zb);
      } else {
        copy_tile_to(kAll, b, map_b, full, depth, column + first, zb);
      }
    }
  });
}

template <bool kBf16, bool kAAcross, bool kBAcross>
__device__ void consume(Shared& s, const Problem& p, int slices) {
  constexpr int kStep = 16;  // depths of a product
  constexpr int kAStep = (kAAcross ? kStep * kSwizzleBytes : kStep * 2) >> 4;
  constexpr int kBStep = (kBAcross ? kStep * kSwizzleBytes : kStep * 2) >> 4;
  constexpr int kNextLines = kBox * kDepth * 2;
  const int lane = int(threadIdx.x) % 32, consumer = int(threadIdx.x) / kGroupThreads - 1;
  const int warp = int(threadIdx.x) / 32 % 4;
  float* const buffer = s.finish[consumer * 4 + warp];
  const auto release = [&](int slot) {
    if (lane < kCluster) barrier_arrive(&s.empty[slot], unsigned(lane));
  };
  float sum[kColumns / 2];
  Ring ring;
  each_tile(p, [&](int row, int column, int z) {
    int read = -1;  // the slot whose products may still be under way
    for (int slice = 0; slice < slices; ++slice, ring.advance()) {
      barrier_wait(&s.full[ring.slot], ring.parity);
      const std::uint64_t a = tile_descriptor(s.a[ring.slot] + consumer * 64 * kDepth, kAAcross, 0);
      const std::uint64_t b = tile_descriptor(s.b[ring.slot], kBAcross, kNextLines);
      products_fence();
      GS_UNROLL
      for (int step = 0; step < kDepth / kStep; ++step)
        multiply_64x256<kBf16, kAAcross, kBAcross>(sum, a + std::uint64_t(step * kAStep),
                                                   b + std::uint64_t(step * kBStep),
                                                   slice + step > 0);
      products_commit();
      products_wait<1>();
      if (read >= 0) release(read);
      read = ring.slot;
    }
    products_wait<0>();
    release(read);

    GS_NO_UNROLL
    for (int piece = 0; piece < kColumns / kPiece; ++piece) {
      GS_UNROLL
      for (int q = 0; q < kColumns / kPiece; ++q) {
        if (q != piece) continue;  // sums have to be named at compile time
        GS_UNROLL
        for (int j = 0; j < kPiece / 8; ++j) {
          GS_UNROLL
          for (int half = 0; half < 2; ++half) {
            const float* const from = sum + q * kPiece / 2 + j * 4 + half * 2;
            *reinterpret_cast<Pack<float, 2>*>(buffer +
                                               (half * 8 + lane / 4) * (kPiece + kFinishPad) +
                                               j * 8 + lane % 4 * 2) = {{from[0], from[1]}};
          }
        }
      }
      __syncwarp();
      finish_tile<16, kPiece>(p.g, buffer, z, row + consumer * 64 + warp * 16,
                              column + piece * kPiece);
      __syncwarp();
    }
  });
}

template <bool kBf16, bool kAAcross, bool kBAcross>
__global__ void __launch_bounds__(kBlockThreads, 1)
    wgmma_kernel(const __grid_constant__ TensorMap map_a, const __grid_constant__ TensorMap map_b,
                 const __grid_constant__ Problem p) {
  GS_SHARED(Shared, s);
  if (threadIdx.x == 0) {
    for (int slot = 0; slot < kSlots; ++slot) {
      barrier_init(&s.full[slot], 1);
      barrier_init(&s.empty[slot], kReaders);
    }
    barriers_are_ready();
  }
  __syncwarp();
  cluster_sync();
  const int slices = int((p.g.k + kDepth - 1) / kDepth);
  if (threadIdx.x < kGroupThreads) {
    give_registers<40>();
    if (threadIdx.x == 0) produce<kAAcross, kBAcross>(s, p, map_a, map_b, slices);
    __syncwarp();
  } else {
    set_registers<232>();
    consume<kBf16, kAAcross, kBAcross>(s, p, slices);
  }
  cluster_sync();  // a block stays while the other may still write to it
}

// ---- Host ----

// As TileSource, with the index that has unit stride as columns.
bool tileable(const Matrix& x, std::int64_t rows, std::int64_t columns, std::int64_t batch,
              bool across, bool bf16, int box_rows, TileSource& source) {
  const std::int64_t unit = across ? x.rs : x.cs, stride = across ? x.cs : x.rs;
  const bool batched = batch > 1 && x.batch != 0;
  source = {x.data,
            bf16,
            across ? rows : columns,
            across ? columns : rows,
            batched ? batch : 1,
            stride,
            batched ? x.batch : stride,
            box_rows};
  constexpr std::int64_t kMost = 1 << 30, kUnit = 16 / 2;  // elements in 16 bytes
  return unit == 1 && stride > 0 && x.batch >= 0 && stride % kUnit == 0 &&
         source.batch_stride % kUnit == 0 && reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0 &&
         rows < kMost && columns < kMost && batch < kMost;
}

struct Sources {
  bool a_across, b_across;
  TileSource a, b;
};
bool tileable(const GemmArgs& g, Sources& s) {
  s.a_across = g.a.rs == 1 && g.a.cs != 1;
  s.b_across = g.b.cs == 1 && g.b.rs != 1;
  const bool bf16 = g.dtype == DType::bf16;
  const Matrix b_lines{g.b.data, g.b.cs, g.b.rs, g.b.batch};
  return g.k > 0 && g.alpha != 0.0f &&
         tileable(g.a, g.m, g.k, g.batch, s.a_across, bf16, s.a_across ? kDepth : kRows, s.a) &&
         tileable(b_lines, g.n, g.k, g.batch, s.b_across, bf16,
                  s.b_across ? kDepth : kColumns / kCluster, s.b);
}

template <bool kBf16>
auto kernel_for(bool a_across, bool b_across) {
  if (a_across)
    return b_across ? wgmma_kernel<kBf16, true, true> : wgmma_kernel<kBf16, true, false>;
  return b_across ? wgmma_kernel<kBf16, false, true> : wgmma_kernel<kBf16, false, false>;
}

TileOrder clusters_of(const GemmArgs& g) {
  return {(g.m + kCluster * kRows - 1) / (kCluster * kRows), (g.n + kColumns - 1) / kColumns};
}

}  // namespace

int gemm_wgmma(const GemmArgs& g, bool only_if_worth_it, bool* done, void* stream) {
  *done = false;
  if (g.dtype != DType::bf16 && g.dtype != DType::f16) return kOk;
  int device = 0, major = 0, multiprocessors = 0;
  if (const int status = check("cudaGetDevice", cudaGetDevice(&device))) return status;
  for (const auto& [value, attribute] :
       {std::pair{&major, cudaDevAttrComputeCapabilityMajor},
        std::pair{&multiprocessors, cudaDevAttrMultiProcessorCount}}) {
    const int status =
        check("cudaDeviceGetAttribute", cudaDeviceGetAttribute(value, attribute, device));
    if (status) return status;
  }
  Sources s;
  if (major != 9 || !tileable(g, s)) return kOk;
  const TileOrder order = clusters_of(g);
  const std::int64_t clusters = order.rows * order.columns * g.batch;
  // With fewer tiles than half of the multiprocessors, mma.sync's smaller ones keep more of them
  // busy.
  if (only_if_worth_it && clusters * kCluster * 2 < multiprocessors) return kOk;
  const Problem p{g, order, s.a.batch > 1, s.b.batch > 1};
  TensorMap map_a, map_b;
  if (const int status = make_tensor_map(s.a, &map_a)) return status;
  if (const int status = make_tensor_map(s.b, &map_b)) return status;
  const std::int64_t room = multiprocessors / kCluster;
  const dim3 grid(unsigned((clusters < room ? clusters : room) * kCluster));
  const auto kernel = g.dtype == DType::bf16 ? kernel_for<true>(s.a_across, s.b_across)
                                             : kernel_for<false>(s.a_across, s.b_across);
  *done = true;
  return launch_together("gemm", kernel, grid, dim3(kBlockThreads), {.cluster = kCluster},
                         sizeof(Shared), stream, map_a, map_b, p);
}

}  // namespace gradsmith::cuda
