#include "cuda_emu/hopper.h"

#include <utility>

#include "cuda_emu/machine.h"

namespace cuda_emu {
namespace {

constexpr std::uint32_t swizzle(std::uint32_t at) { return at ^ (at >> 7 & 7) << 4; }

Block& block_of(unsigned rank) {
  if (rank >= machine.blocks.size()) die("no block of that rank in the cluster");
  Block& block = machine.blocks[rank];
  if (block.alive == 0) die("the shared memory of a block that has ended is used");
  return block;
}

Mbarrier& barrier_at(Block& block, std::uint32_t at) {
  const auto found = block.mbarriers.find(at);
  if (found == block.mbarriers.end()) die("mbarrier: used before it was initialised");
  return found->second;
}

void complete_if_done(Mbarrier& barrier) {
  if (barrier.pending != 0 || barrier.bytes != 0) return;
  barrier.phase ^= 1;
  barrier.pending = barrier.count;
  for (const Block& block : machine.blocks)
    for (Fiber* f : block.threads)
      if (f->state == State::polling) f->state = State::ready;
}

void arrive(Mbarrier& barrier) {
  if (barrier.pending == 0) die("mbarrier: more arrivals than its count");
  --barrier.pending;
  complete_if_done(barrier);
  may_yield();
}

void copy_box(Block& to, std::uint32_t place, const TensorMap& map, std::uint32_t barrier_place,
              int column, int row, int z) {
  constexpr int kColumns = 64;
  for (int r = 0; r < map.box_rows; ++r)
    for (int c = 0; c < kColumns; ++c) {
      const std::int64_t x = std::int64_t(column) + c, y = std::int64_t(row) + r;
      const bool inside =
          x >= 0 && x < map.columns && y >= 0 && y < map.rows && z >= 0 && z < map.batch;
      std::uint16_t bits = 0;
      if (inside)
        bits = static_cast<const std::uint16_t*>(
            map.data)[z * map.batch_stride + y * map.row_stride + x];
      std::memcpy(to.shared.get() + swizzle(place + std::uint32_t(r * 128 + c * 2)), &bits, 2);
    }
  Mbarrier& barrier = barrier_at(to, barrier_place);
  barrier.bytes -= map.box_rows * kColumns * 2;
  complete_if_done(barrier);
}

// 16 depths of `lines` lines that a descriptor names, `step` lines apart from the first on.
void read_lines(Kind kind, double* values, std::uint64_t descriptor, bool across, int first,
                int lines, int step) {
  const std::uint32_t start = std::uint32_t(descriptor & 0x3fff) << 4;
  const std::uint32_t lead = std::uint32_t(descriptor >> 16 & 0x3fff) << 4;
  const std::uint32_t stride = std::uint32_t(descriptor >> 32 & 0x3fff) << 4;
  if (descriptor >> 62 != 1) die("wgmma: the descriptor is not of 128-byte swizzled tiles");
  const unsigned char* shared = machine.running->block->shared.get();
  for (int l = 0; l < lines; ++l) {
    const std::uint32_t line = std::uint32_t(first + l * step);
    for (std::uint32_t k = 0; k < 16; ++k) {
      const std::uint32_t at =
          across ? start + line / 64 * lead + k / 8 * stride + k % 8 * 128 + line % 64 * 2
                 : start + line / 8 * stride + line % 8 * 128 + k * 2;
      if (at + 2 > machine.shared_bytes) die("wgmma: a tile lies outside shared memory");
      std::uint16_t bits;
      std::memcpy(&bits, shared + swizzle(at), 2);
      values[l * 16 + int(k)] = decode(kind, bits);
    }
  }
}

}  // namespace

unsigned cluster_rank() { return machine.running->block->rank; }

void barrier_init(std::uint64_t* barrier, unsigned count) {
  machine.running->block->mbarriers[shared_offset(barrier, 8)] = {count, count, 0, 0};
}
void barrier_expect(std::uint64_t* barrier, unsigned bytes) {
  Mbarrier& b = barrier_at(*machine.running->block, shared_offset(barrier, 8));
  b.bytes += bytes;
  arrive(b);
}
void barrier_arrive(std::uint64_t* barrier, unsigned rank) {
  arrive(barrier_at(block_of(rank), shared_offset(barrier, 8)));
}
void barrier_wait(std::uint64_t* barrier, unsigned parity) {
  const Mbarrier& b = barrier_at(*machine.running->block, shared_offset(barrier, 8));
  while (b.phase == (parity & 1)) wait(State::polling);
}

void copy_tile_to(std::uint16_t ranks, void* shared, const TensorMap& map, std::uint64_t* barrier,
                  int column, int row, int z) {
  const std::uint32_t place = shared_offset(shared, std::size_t(map.box_rows) * 128);
  const std::uint32_t barrier_place = shared_offset(barrier, 8);
  if (place % 1024) die("TMA: a swizzled tile is not 1024-byte aligned");
  for (unsigned rank = 0; rank < 16; ++rank) {
    if (!(ranks >> rank & 1)) continue;
    block_of(rank);
    Work copy = [=] { copy_box(block_of(rank), place, map, barrier_place, column, row, z); };
    if (at_once())
      copy();
    else
      machine.in_flight.push_back(std::move(copy));
  }
}

std::uint64_t tile_descriptor(const void* tile, bool across, int next_lines) {
  const std::uint64_t lead = across ? std::uint64_t(next_lines) >> 4 : 1;
  return std::uint64_t(shared_offset(tile, 1024)) >> 4 | lead << 16 | std::uint64_t(64) << 32 |
         std::uint64_t(1) << 62;
}

void products_fence() { machine.running->fenced = true; }
void products_commit() {
  machine.running->fenced = false;
  commit(machine.running->products);
}
void products_wait(int groups_left) {
  finish(machine.running->products, std::size_t(groups_left));
  may_yield();
}

void multiply_tiles(Kind kind, float* d, int n, std::uint64_t a, bool a_across, std::uint64_t b,
                    bool b_across, bool add) {
  if (!machine.running->fenced) die("wgmma: no fence before the first product of a group");
  start(machine.running->products, [=] {
    const int t = int(thread().linear % 128), row = t / 32 * 16 + t % 32 / 4, column = t % 4 * 2;
    double rows[2 * 16], columns[2 * 16];
    read_lines(kind, rows, a, a_across, row, 2, 8);
    for (int j = 0; j < n / 8; ++j) {
      read_lines(kind, columns, b, b_across, j * 8 + column, 2, 1);
      add_products(d + j * 4, rows, columns, add);
    }
  });
}

}  // namespace cuda_emu
