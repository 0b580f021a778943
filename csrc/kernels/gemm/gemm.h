// General matrix product with a fused epilogue.
//
//     C = act(alpha * A B + beta * C + bias + residual)      A: m x k,  B: k x n,  C: m x n
//
// Contract
// * Every matrix is a view with a row and a column stride in elements, so transposed, padded,
//   broadcast (stride 0) and reversed operands are all the same thing. C must not overlap any
//   input; its own elements must not overlap each other.
// * beta == 0 never reads C, alpha == 0 never reads A or B; k == 0 counts as A B = 0.
// * m, n, k and the batch may be 0.
// * Same bits: an element of C depends on its row of A, its column of B, k, the dtype and the
//   target, and on nothing else: not on the threads, on m, n or the batch, nor on the path taken
//   (packed, small, matrix-vector). Every path sums k in blocks of `GemmShape::kc`, one fused
//   multiply-add chain a block, blocks added in order.
//
// * bf16: A and B are bfloat16, or float32 that is rounded to it; C, bias and residual are float32.
//   Sums are float32, in the order and with the roundings of bf16.simd.cpp. Denormal numbers count
//   as zero throughout, in C, bias and residual too.
//
// README.md in this folder explains the loops, the packing and the constants.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/kernel.h"

namespace gradsmith::kernels {

// clang-format off
enum class Activation : std::uint8_t {
  none, relu, leaky_relu, sigmoid, tanh, gelu, gelu_tanh, silu
};
// clang-format on

// A matrix in somebody else's memory: element (i, j) of batch entry z is
// data[z * batch + i * rs + j * cs]. With block > 0 the columns come in blocks that start
// block_stride apart, as in an NCHW tensor seen as channels x (image, pixel): column j is then
// found at (j / block) * block_stride + (j % block) * cs.
template <class Pointer>
struct MatViewOf {
  Pointer data = nullptr;
  std::int64_t rs = 0, cs = 0;
  std::int64_t batch = 0;
  std::int64_t block = 0, block_stride = 0;
};
using MatView = MatViewOf<void*>;
using ConstMatView = MatViewOf<const void*>;

// What happens to a finished element while it is still in a register.
struct Epilogue {
  ConstMatView bias;      // rs = 0: one value a column; cs = 0: one value a row; or a full matrix
  ConstMatView residual;  // added before the activation; may have column blocks of its own
  Activation activation = Activation::none;
  double slope = 0.01;  // leaky_relu's
};

// A packed operand is a row of micro-panels. A "line" is a row of A or a column of B; a panel
// holds `width` neighbouring lines, its elements ordered by depth first (depth is the index that
// A and B share), so that the micro-kernel reads it front to back:
//
//     panel q, depth p, lane l   at   dst[(q * depth + p) * width + l]
//
// holds line first + q * width + l at depth depth0 + p. Lanes past the last line are zero.
struct PackRequest {
  void* dst;                   // 64-byte aligned, ceil(lines / width) * width * depth elements
  std::int64_t batch;          // batch entry
  std::int64_t first, lines;   // lines >= 1; first is a multiple of width
  std::int64_t depth0, depth;  // depth >= 1
  int width;  // GemmShape::mr for A, or up to tall; GemmShape::nr for B (or swapped, or less)
};
// Fills the panels of an operand that exists only as a function of (line, depth), such as the
// im2col matrix of a convolution. Called from several threads at once for disjoint requests.
using PackFn = void(const void* context, const PackRequest& request);

// ---- Leaf kernels -------------------------------------------------------------------------------

// The micro-tile and the depth of a block of one dtype on one target; constants of the code.
struct GemmShape {
  int mr, nr, vector;  // rows and columns of the register tile; lanes of a register
  int tall;            // rows of a tile at most, where it is no wider than two registers
  std::int64_t kc;     // longest fused multiply-add chain
  int pair = 0;        // bf16: packed elements for two depths
  // Packed elements of a line for so many depths.
  std::int64_t packed(std::int64_t depths) const { return pair ? (depths + 1) / 2 * pair : depths; }
};
GS_KERNEL(gemm_shape, void(GemmShape& shape));

// Packs a strided matrix. line and depth are strides of `src`, which points at line 0, depth 0 of
// the batch entry (request.batch is not used).
struct GemmPack {
  const void* src;
  std::int64_t line, depth;
  PackRequest request;
  DType source;  // bf16 only: of src, bf16 or f32; a panel has packed(depth) elements a line then
};
GS_KERNEL(gemm_pack, void(const GemmPack& args));

// Where a block of sums goes: C = alpha * sums + beta * C, then the epilogue if there is one.
struct GemmTarget {
  MatView c;                 // the whole of C at this batch entry
  std::int64_t row, column;  // where the block starts in C, bias and residual
  double alpha, beta;
  const Epilogue* epilogue;  // null but in the last depth block; data at this batch entry
};

// One depth block of a block of C. Row i of A is at a + (i / mr) * a_panel + (i % mr) * a_line,
// its depths (bf16: packed elements) a_depth apart. Columns of B are unit-stride in groups of
// GemmShape::nr, the groups b_panel apart, depths b_depth apart. With depth_step < k all columns
// are taken through so many depths before the next ones, the sums waiting in memory: a wide B in
// place is then read row by row. With several entries the same is done with A, B and C so many
// elements further on (C: its batch stride; bias and residual have none).
struct GemmBlock {
  std::int64_t m, n, k, depth_step;
  int mr;
  const void* a;
  std::int64_t a_panel, a_line, a_depth;
  const void* b;
  std::int64_t b_panel, b_depth;
  void* sums;  // m x (n rounded up to the vector) where depth_step < k
  GemmTarget target;
  std::int64_t entries, a_entry, b_entry;
};
GS_KERNEL(gemm_block, void(const GemmBlock& args));

// The same from sums that lie in memory: row i at sums + i * sums_rs. Null sums are zeros.
struct GemmFinish {
  std::int64_t m, n;
  const void* sums;
  std::int64_t sums_rs;
  GemmTarget target;
};
GS_KERNEL(gemm_finish, void(const GemmFinish& args));

// Up to kMaxVectors vectors times a matrix, depth block by depth block: with b = 0, 1, ... and p in
// [b * kc, b * kc + kc) below k, y[(b * vectors + v) * y_rs + i] = sum_p a(i, p) * x[v * x_rs + p],
// each one chain in the order of p. The matrix has unit stride along the depth, `stride` between
// lines. once: more of its lines share a set of the first-level cache than stay there together.
inline constexpr int kMaxVectors = 8;
struct GemvBlocks {
  std::int64_t lines, k, kc;
  const void* a;
  std::int64_t stride;
  const void* x;
  std::int64_t x_rs;
  int vectors;
  void* y;
  std::int64_t y_rs;
  bool once;
};
GS_KERNEL(gemv_dot, void(const GemvBlocks& args));

// A batch of tiny products, C = alpha A B + beta C. Every matrix is dense: its elements fill the
// span of their count from `data` on, in any order. scratch: m k + k n + m n elements for each lane
// of a register, 64-byte aligned.
struct GemmLanes {
  std::int64_t m, n, k, entries;
  ConstMatView a, b;  // no blocks of columns
  MatView c;
  double alpha, beta;
  void* scratch;
};
GS_KERNEL(gemm_lanes, void(const GemmLanes& args));

// ---- Drivers ------------------------------------------------------------------------------------
#if !defined(GS_ISA)

enum class GemmSide : std::uint8_t { a, b };

// An operand packed once for many products, in memory of the caller's.
struct PackedOperand {
  const void* data = nullptr;
  Target target = Target::scalar;  // whose layout it has; gemm() runs on this target then
  int width = 0;
  std::int64_t lines = 0, depth = 0;
  std::int64_t batch = 0;  // elements between packed batch entries; 0: shared by all
};

// A or B: a strided matrix, a pack function, or a packed operand (the first that is set of
// packed, pack, data).
struct Operand {
  const void* data = nullptr;
  std::int64_t rs = 0, cs = 0;
  std::int64_t batch = 0;
  PackFn* pack = nullptr;
  const void* context = nullptr;
  const PackedOperand* packed = nullptr;
};

struct Gemm {
  std::int64_t m = 0, n = 0, k = 0;
  Operand a = {}, b = {};
  MatView c = {};
  double alpha = 1, beta = 0;
  Epilogue epilogue = {};
  std::int64_t batch = 1;
  DType source = DType::bf16;  // bf16 only: what A and B are in memory, bf16 or f32
};

// dtype is f32, f64 or bf16; with bf16 no operand may be a pack function. Scratch comes from the
// workspaces of the threads that run.
GS_API void gemm(DType dtype, const Gemm& problem);

// Packing ahead. `lines` is m for side a and n for side b. pack_operand writes
// packed_bytes(dtype, side, lines, depth) bytes to dst, which must be 64-byte aligned and outlive
// the handle. Layout: depth blocks of GemmShape::kc, each a row of panels. source: as in Gemm.
GS_API std::size_t packed_bytes(DType dtype, GemmSide side, std::int64_t lines, std::int64_t depth);
GS_API PackedOperand pack_operand(DType dtype, GemmSide side, const Operand& operand,
                                  std::int64_t lines, std::int64_t depth, void* dst,
                                  DType source = DType::bf16);

// mr, nr and kc of the active target, for pack functions and for tests.
GS_API GemmShape gemm_shape_of(DType dtype);

#endif
}  // namespace gradsmith::kernels
