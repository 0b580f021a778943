// Tiny products of a batch, as many at a time as a register has lanes: an element of a matrix is a
// register that holds it for N entries, so that no lane is empty however small the matrices are.
//
// Contract: gemm.h, GemmLanes. The entries are transposed into scratch (element by element, a lane
// an entry), multiplied there, and transposed back. Each sum is one chain in the order of the
// depth, as in the micro-kernel: an entry has the bits that it has alone.
#include "kernels/gemm/gemm.h"
#include "kernels/simd/transpose.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// Rows and columns of a tile of sums: as in the micro-kernel at least eight chains, and with 16
// registers a row of B and an element of A beside them.
constexpr int kRows = 4;
#if defined(GS_ISA_IS_avx512) || defined(GS_ISA_IS_neon)
constexpr int kColumns = 4;
#else
constexpr int kColumns = 2;
#endif

// The matrices of N entries in scratch: element e of entry l at [e * N + l].
template <class V>
struct Scratch {
  typename V::T *a, *b, *c;
};

// Rows i to i + Rows - 1 and columns j to j + Columns - 1 of C.
template <class V, int Rows, int Columns>
GS_INLINE void lane_tile(const GemmLanes& args, const Scratch<V>& at, std::int64_t i,
                         std::int64_t j) {
  using T = typename V::T;
  V acc[Rows][Columns];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int s = 0; s < Columns; ++s) acc[r][s] = V::zero();
  }
  const std::int64_t a_rs = args.a.rs * V::N, a_cs = args.a.cs * V::N;
  const std::int64_t b_rs = args.b.rs * V::N, b_cs = args.b.cs * V::N;
  const T* a = at.a + i * a_rs;
  const T* b = at.b + j * b_cs;
  for (std::int64_t p = 0; p < args.k; ++p, a += a_cs, b += b_rs) {
    V row[Columns];
#pragma GCC unroll 4
    for (int s = 0; s < Columns; ++s) row[s] = load(b + s * b_cs);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const V element = load(a + r * a_rs);
#pragma GCC unroll 4
      for (int s = 0; s < Columns; ++s) acc[r][s] = fma(element, row[s], acc[r][s]);
    }
  }
  const V alpha = V::set(T(args.alpha)), beta = V::set(T(args.beta));
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int s = 0; s < Columns; ++s) {
      T* const c = at.c + ((i + r) * args.c.rs + (j + s) * args.c.cs) * V::N;
      V value = alpha * acc[r][s];
      if (args.beta != 0) value = fma(beta, load(c), value);
      store(c, value);
    }
  }
}

template <class V, int Rows>
GS_INLINE void lane_rows(const GemmLanes& args, const Scratch<V>& at, std::int64_t i) {
  std::int64_t j = 0;
  for (; j + kColumns <= args.n; j += kColumns) lane_tile<V, Rows, kColumns>(args, at, i, j);
  if constexpr (kColumns > 2) {
    if (j + 2 <= args.n) lane_tile<V, Rows, 2>(args, at, i, j), j += 2;
  }
  if (j < args.n) lane_tile<V, Rows, 1>(args, at, i, j);
}

template <class V>
GS_INLINE void lanes(const GemmLanes& args) {
  using T = typename V::T;
  const std::int64_t a_size = args.m * args.k, b_size = args.k * args.n, c_size = args.m * args.n;
  T* const scratch = static_cast<T*>(args.scratch);
  const Scratch<V> at{scratch, scratch + a_size * V::N, scratch + (a_size + b_size) * V::N};
  const T* a = static_cast<const T*>(args.a.data);
  const T* b = static_cast<const T*>(args.b.data);
  T* c = static_cast<T*>(args.c.data);
  for (std::int64_t z = 0; z < args.entries; z += V::N) {
    const int entries = args.entries - z < V::N ? int(args.entries - z) : V::N;
    load_columns<V>(at.a, a + z * args.a.batch, args.a.batch, entries, a_size);
    load_columns<V>(at.b, b + z * args.b.batch, args.b.batch, entries, b_size);
    T* const to = c + z * args.c.batch;
    if (args.beta != 0) load_columns<V>(at.c, to, args.c.batch, entries, c_size);
    std::int64_t i = 0;
    for (; i + kRows <= args.m; i += kRows) lane_rows<V, kRows>(args, at, i);
    if (i + 2 <= args.m) lane_rows<V, 2>(args, at, i), i += 2;
    if (i < args.m) lane_rows<V, 1>(args, at, i);
    store_columns<V>(to, args.c.batch, at.c, entries, c_size);
  }
}

}  // namespace

void gemm_lanes_f32(const GemmLanes& args) { lanes<F32>(args); }
void gemm_lanes_f64(const GemmLanes& args) { lanes<F64>(args); }

}  // namespace gradsmith::kernels::GS_ISA
