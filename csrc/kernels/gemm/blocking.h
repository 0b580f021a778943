// Block sizes and shares of threads. None of these can change a bit of the result: the only
// constant that can, the depth of a block, comes from the kernel (GemmShape::kc) and from k.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/math.h"
#include "kernels/gemm/gemm.h"

namespace gradsmith::kernels {

// Depth of the blocks that k is cut into: equal but the last, multiples of 8, at most kc.
std::int64_t depth_block(std::int64_t k, std::int64_t kc);

// How one product is run. Sizes in rows, columns and depths.
struct GemmPlan {
  int mr;
  std::int64_t mc, nc, kc;
  bool pack_a, pack_b;
  bool vectors;  // a few rows times the lines of a plain matrix
  // B stays in place and is read row by row, `depth_step` depths of nc columns at a time.
  bool stream;
  std::int64_t depth_step;
  int threads;  // wanted
};
GemmPlan plan_gemm(const GemmShape& shape, std::size_t item, const Gemm& problem);

// Up to so many rows a wide B is read in place, once and by rows.
std::int64_t stream_rows(const GemmShape& shape, std::size_t item);

// Whether so many rows `stride` bytes apart can be in a first-level cache of 8 ways together.
bool share_cache(std::int64_t rows, std::int64_t stride);

// Registers of 64 bytes (AVX-512).
bool wide_registers(const GemmShape& shape, std::size_t item);

// Threads for the entries of a batch of which each runs on one; 0 where each is worth them all.
int threads_for_entries(const Gemm& problem);

// Whether the entries of a batch are taken as lanes (GemmLanes).
bool lanes_pay(const GemmShape& shape, const Gemm& problem);

// True where C^T = B^T A^T is the faster way, although C has to be written by columns then.
bool better_transposed(const GemmShape& shape, std::size_t item, const Gemm& problem);

// A team as rows x columns of shares of C.
struct Grid {
  int rows, columns;
};
Grid grid_for(const GemmShape& shape, std::int64_t m, std::int64_t n, int threads);

class Trace;
// Writes down what the driver is about to do with a problem in its final orientation.
void trace_gemm(Trace& trace, DType dtype, Target target, const GemmShape& shape, const Gemm& g,
                bool transposed);

struct Range {
  std::int64_t begin, end;
};
// Share `i` of `parts` of [0, total), cut at multiples of `unit`.
Range share(std::int64_t total, std::int64_t unit, int i, int parts);

// Threads worth starting for so many multiply-adds.
int threads_for(std::int64_t multiply_adds);

inline std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

}  // namespace gradsmith::kernels
