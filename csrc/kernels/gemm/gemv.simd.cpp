// Matrix-vector products for matrices that are read once, where packing would double the traffic.
//
// Contract: gemm.h, GemvBlock. Each sum is one chain in the order of the depth, as in the
// micro-kernel, so a vector product has the bits of the same row in a matrix product. That is why
// gemv_dot keeps one line per lane and transposes squares in registers, instead of one register of
// partial sums per line.
#include "kernels/gemm/gemm.h"
#include "kernels/simd/transpose.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// Groups of N lines whose chains run side by side: a chain alone would wait 4 cycles an element.
constexpr int kGroups = 4;

template <class V, int Groups>
void dot_lines(const GemvBlock& args, std::int64_t first, int lines) {
  using T = typename V::T;
  const T* const x = static_cast<const T*>(args.x);
  const T* row[Groups * V::N];
  for (int i = 0; i < Groups * V::N; ++i) {  // lines past the end repeat the last one
    row[i] = static_cast<const T*>(args.a) + (first + (i < lines ? i : lines - 1)) * args.stride;
  }
  V acc[Groups];
  for (int g = 0; g < Groups; ++g) acc[g] = V::zero();
  // Whole cache lines of each line in turn: with a stride of a power of two they all compete for
  // one set of the cache and would be gone before the second half is read.
  constexpr int kSquares = 64 / (V::N * sizeof(T)) > 0 ? 64 / (V::N * sizeof(T)) : 1;
  const std::int64_t k_full = args.k / V::N * V::N;
  for (std::int64_t pc = 0; pc < k_full; pc += kSquares * V::N) {
    const std::int64_t end = pc + kSquares * V::N < k_full ? pc + kSquares * V::N : k_full;
#pragma GCC unroll 4
    for (int g = 0; g < Groups; ++g) {
      for (std::int64_t p = pc; p < end; p += V::N) {
        V square[V::N];
#pragma GCC unroll 16
        for (int i = 0; i < V::N; ++i) square[i] = load(row[g * V::N + i] + p);
        transpose(square);
#pragma GCC unroll 16
        for (int i = 0; i < V::N; ++i) acc[g] = fma(V::set(x[p + i]), square[i], acc[g]);
      }
    }
  }
  const int rest = int(args.k - k_full);
  T* const y = static_cast<T*>(args.y) + first;
  for (int g = 0; g < Groups; ++g) {
    if (rest) {
      V square[V::N];
      for (int i = 0; i < V::N; ++i) square[i] = load_n(row[g * V::N + i] + k_full, rest);
      transpose(square);
      for (int i = 0; i < rest; ++i) acc[g] = fma(V::set(x[k_full + i]), square[i], acc[g]);
    }
    const int left = lines - g * V::N;
    if (left >= V::N) {
      store(y + g * V::N, acc[g]);
    } else if (left > 0) {
      store_n(y + g * V::N, acc[g], left);
    }
  }
}

template <class V>
GS_INLINE void dot(const GemvBlock& args) {
  std::int64_t line = 0;
  for (; line + kGroups * V::N <= args.lines; line += kGroups * V::N) {
    dot_lines<V, kGroups>(args, line, kGroups * V::N);
  }
  for (; line < args.lines; line += V::N) {
    const std::int64_t left = args.lines - line;
    dot_lines<V, 1>(args, line, left < V::N ? int(left) : V::N);
  }
}

// y += Depths rows of the matrix; y itself carries the chains from one call to the next.
template <class V, int Depths>
void add_rows(const typename V::T* b, std::int64_t stride, const typename V::T* x, typename V::T* y,
              std::int64_t lines, bool first) {
  V factor[Depths];
  for (int p = 0; p < Depths; ++p) factor[p] = V::set(x[p]);
  std::int64_t j = 0;
  for (; j + 2 * V::N <= lines; j += 2 * V::N) {
    V lo = first ? V::zero() : load(y + j);
    V hi = first ? V::zero() : load(y + j + V::N);
#pragma GCC unroll 8
    for (int p = 0; p < Depths; ++p) {
      lo = fma(factor[p], load(b + p * stride + j), lo);
      hi = fma(factor[p], load(b + p * stride + j + V::N), hi);
    }
    store(y + j, lo);
    store(y + j + V::N, hi);
  }
  for (; j < lines; j += V::N) {
    const int n = lines - j < V::N ? int(lines - j) : V::N;
    V sum = first ? V::zero() : load_n(y + j, n);
    for (int p = 0; p < Depths; ++p) sum = fma(factor[p], load_n(b + p * stride + j, n), sum);
    store_n(y + j, sum, n);
  }
}

template <class V>
GS_INLINE void axpy(const GemvBlock& args) {
  using T = typename V::T;
  constexpr std::int64_t kStrip = 2048;  // y stays in the first-level cache
  for (std::int64_t j = 0; j < args.lines; j += kStrip) {
    const std::int64_t lines = args.lines - j < kStrip ? args.lines - j : kStrip;
    const T* const b = static_cast<const T*>(args.a) + j;
    const T* const x = static_cast<const T*>(args.x);
    T* const y = static_cast<T*>(args.y) + j;
    std::int64_t p = 0;
    for (; p + 8 <= args.k; p += 8) {
      add_rows<V, 8>(b + p * args.stride, args.stride, x + p, y, lines, p == 0);
    }
    for (; p < args.k; ++p) {
      add_rows<V, 1>(b + p * args.stride, args.stride, x + p, y, lines, p == 0);
    }
  }
}

}  // namespace

void gemv_dot_f32(const GemvBlock& args) { dot<F32>(args); }
void gemv_dot_f64(const GemvBlock& args) { dot<F64>(args); }
void gemv_axpy_f32(const GemvBlock& args) { axpy<F32>(args); }
void gemv_axpy_f64(const GemvBlock& args) { axpy<F64>(args); }

}  // namespace gradsmith::kernels::GS_ISA
