// What compute capability 9.0 adds: barriers in shared memory that count bytes, copies of whole
// tiles (TMA), clusters of blocks, and products that a group of four warps starts and that read
// their factors from shared memory (wgmma, code for 9.0a only).
//
// A barrier has phases. It completes one when `count` arrivals have come and the bytes that were
// announced have been copied. wait(barrier, parity) returns once the phase of that parity (0, 1, 0,
// ...) is complete; of parity 1 before the first phase ends, at once. Waiting makes a block's own
// writes and the copies that were counted visible, not what other blocks wrote by themselves: that
// would empty the first-level cache with every wait.
//
// Tiles are swizzled by 128 bytes: rows of 128 bytes, whose 16-byte pieces lie at place
// (piece ^ row % 8), so that eight rows of a product's factor come from different banks.
#pragma once
#include "kernels/cuda/mma.cuh"

#if defined(GS_CUDA_EMULATED)
#include "cuda_emu/hopper.h"
#else
#include <cudaTypedefs.h>
#endif

namespace gradsmith::cuda {

inline constexpr int kSwizzleBytes = 128, kTileAlign = 1024;

// A matrix of 16-bit numbers in global memory, [batch, rows, columns] with neighbouring columns,
// from which boxes of box_rows x 64 are copied; what lies outside reads as zero. False where the
// memory is not aligned as the copies need (rows and batch entries on 16 bytes).
struct TileSource {
  const void* data;
  bool bf16;
  std::int64_t columns, rows, batch, row_stride, batch_stride;  // in elements
  int box_rows;
};

#if defined(GS_CUDA_EMULATED)

using TensorMap = cuda_emu::TensorMap;
using Barrier = std::uint64_t;

inline int make_tensor_map(const TileSource& s, TensorMap* map) {
  *map = {s.data, s.columns, s.rows, s.batch, s.row_stride, s.batch_stride, s.box_rows};
  return kOk;
}

using cuda_emu::barrier_arrive;
using cuda_emu::barrier_expect;
using cuda_emu::barrier_init;
using cuda_emu::barrier_wait;
using cuda_emu::cluster_rank;
using cuda_emu::copy_tile;
using cuda_emu::copy_tile_to;
using cuda_emu::products_commit;
using cuda_emu::products_fence;
using cuda_emu::tile_descriptor;
inline void barriers_are_ready() {}
inline void cluster_sync() { cuda_emu::cluster_barrier(); }
template <int kRegisters>
void set_registers() {}
template <int kRegisters>
void give_registers() {}
template <int kGroupsLeft>
void products_wait() {
  cuda_emu::products_wait(kGroupsLeft);
}
template <bool kBf16, bool kAAcross, bool kBAcross>
void multiply_64x256(float (&d)[128], std::uint64_t a, std::uint64_t b, bool add) {
  cuda_emu::multiply_tiles(kBf16 ? cuda_emu::Kind::bf16 : cuda_emu::Kind::f16, d, 256, a, kAAcross,
                           b, kBAcross, add);
}

#else

using TensorMap = CUtensorMap;
using Barrier = std::uint64_t;

// The driver's function, found at run time: the library does not link with the driver.
inline int make_tensor_map(const TileSource& s, TensorMap* map) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result;
  const int status = check("cuTensorMapEncodeTiled",
                           cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000,
                                                            cudaEnableDefault, &result));
  if (status) return status;
  if (!found) return fail(kFailed, "the NVIDIA driver has no cuTensorMapEncodeTiled");
  const cuuint64_t size[3] = {cuuint64_t(s.columns), cuuint64_t(s.rows), cuuint64_t(s.batch)};
  const cuuint64_t stride[2] = {cuuint64_t(s.row_stride) * 2, cuuint64_t(s.batch_stride) * 2};
  const cuuint32_t box[3] = {kSwizzleBytes / 2, cuuint32_t(s.box_rows), 1}, step[3] = {1, 1, 1};
  const CUresult error = reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(found)(
      map, s.bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 3,
      const_cast<void*>(s.data), size, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
      CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (error == CUDA_SUCCESS) return kOk;
  return fail(kFailed, "cuTensorMapEncodeTiled: error " + std::to_string(int(error)));
}

inline __device__ unsigned cluster_rank() {
  unsigned rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
// All threads of the cluster's blocks; what they wrote to shared memory before is seen after.
inline __device__ void cluster_sync() {
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
}

inline __device__ void barrier_init(Barrier* barrier, unsigned count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count)
               : "memory");
}
// After barrier_init, before the cluster_sync() that shows the barriers to others.
inline __device__ void barriers_are_ready() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
// Arrives and announces bytes that will be copied.
inline __device__ void barrier_expect(Barrier* barrier, unsigned bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}
// Arrives at the barrier of that place in block `rank` of the cluster.
inline __device__ void barrier_arrive(Barrier* barrier, unsigned rank) {
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
}
inline __device__ void barrier_wait(Barrier* barrier, unsigned parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}

// A box at (column, row) of batch entry z; `barrier` counts its bytes.
inline __device__ void copy_tile(void* shared, const TensorMap& map, Barrier* barrier, int column,
                                 int row, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(column), "r"(row), "r"(z)
      : "memory");
}
// The same to this place in each block of the cluster whose bit is set, and to its barrier.
inline __device__ void copy_tile_to(std::uint16_t ranks, void* shared, const TensorMap& map,
                                    Barrier* barrier, int column, int row, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%3, %4, %5}], [%2], %6;" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(column), "r"(row), "r"(z), "h"(ranks)
      : "memory");
}

// Registers a thread from now on, of a warpgroup; those of a block must fit together.
template <int kRegisters>
__device__ void set_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// A factor in swizzled tiles at `tile`. Along the depth: rows are lines, 64 depths each, groups of
// eight of them 1024 bytes apart. Across: rows are depths, 64 lines each, and the next 64 lines
// lie `next_lines` bytes on.
inline __device__ std::uint64_t tile_descriptor(const void* tile, bool across, int next_lines) {
  const std::uint64_t start = shared_address(tile) >> 4 & 0x3fff;
  const std::uint64_t lead = across ? std::uint64_t(next_lines) >> 4 : 1;
  return start | lead << 16 | std::uint64_t(1024 >> 4) << 32 | std::uint64_t(1) << 62;
}
// Before the first product, and after registers that products use have been touched.
inline __device__ void products_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
inline __device__ void products_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kGroupsLeft>
__device__ void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kGroupsLeft) : "memory");
}

// d (+)= a b by the four warps of a group: 64 x 256 sums, 16 depths. In warp w, d[4 j + 2 h + i] is
// row 16 w + 8 h + lane / 4, column 8 j + 2 (lane % 4) + i.
#define GS_SUMS4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define GS_SUMS16(i) GS_SUMS4(i), GS_SUMS4(i + 4), GS_SUMS4(i + 8), GS_SUMS4(i + 12)
#define GS_SUMS64(i) GS_SUMS16(i), GS_SUMS16(i + 16), GS_SUMS16(i + 32), GS_SUMS16(i + 48)
#define GS_WGMMA(type)                                                                             \
  asm volatile(                                                                                    \
      "{\n"                                                                                        \
      ".reg .pred add;\n"                                                                          \
      "setp.ne.b32 add, %130, 0;\n"                                                                \
      "wgmma.mma_async.sync.aligned.m64n256k16.f32." type "." type                                 \
      " {"                                                                                         \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                     \
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "           \
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "           \
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "           \
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "           \
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "           \
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, "     \
      "%111, "                                                                                     \
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, " \
      "%127"                                                                                       \
      "}, %128, %129, add, 1, 1, %131, %132;\n"                                                    \
      "}"                                                                                          \
      : GS_SUMS64(0), GS_SUMS64(64)                                                                \
      : "l"(a), "l"(b), "r"(int(add)), "n"(int(kAAcross)), "n"(int(kBAcross)))
template <bool kBf16, bool kAAcross, bool kBAcross>
__device__ void multiply_64x256(float (&d)[128], std::uint64_t a, std::uint64_t b, bool add) {
  if constexpr (kBf16)
    GS_WGMMA("bf16");
  else
    GS_WGMMA("f16");
}
#undef GS_SUMS4
#undef GS_SUMS16
#undef GS_SUMS64
#undef GS_WGMMA

#endif

}  // namespace gradsmith::cuda
