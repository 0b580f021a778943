// Twins of kernels/cuda/hopper.cuh: barriers in shared memory, copies of tiles (TMA), clusters and
// products that read shared memory (wgmma). A copy arrives at once, or when nothing else can go on;
// a product is computed when it is committed, or when it is waited for.
#pragma once
#include <cstddef>
#include <cstdint>

#include "cuda_emu/tensor_core.h"

namespace cuda_emu {

struct TensorMap {
  const void* data;
  std::int64_t columns, rows, batch, row_stride, batch_stride;
  int box_rows;
};

unsigned cluster_rank();
void barrier_init(std::uint64_t* barrier, unsigned count);
void barrier_expect(std::uint64_t* barrier, unsigned bytes);
void barrier_arrive(std::uint64_t* barrier, unsigned rank);
void barrier_wait(std::uint64_t* barrier, unsigned parity);
void copy_tile_to(std::uint16_t ranks, void* shared, const TensorMap& map, std::uint64_t* barrier,
                  int column, int row, int z);
inline void copy_tile(void* shared, const TensorMap& map, std::uint64_t* barrier, int column,
                      int row, int z) {
  copy_tile_to(std::uint16_t(1u << cluster_rank()), shared, map, barrier, column, row, z);
}

std::uint64_t tile_descriptor(const void* tile, bool across, int next_lines);
void products_fence();
void products_commit();
void products_wait(int groups_left);
// d (+)= a b by four warps, 64 x n x 16; the thread's share of d in the order of wgmma.
void multiply_tiles(Kind kind, float* d, int n, std::uint64_t a, bool a_across, std::uint64_t b,
                    bool b_across, bool add);

}  // namespace cuda_emu
