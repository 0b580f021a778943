// Matrix-vector products for matrices that are read once, where packing would double the traffic.
//
// Contract: gemm.h, GemvBlocks. Each sum is one chain in the order of the depth, as in the
// micro-kernel, so a vector product has the bits of the same row in a matrix product. That is why
// gemv_dot keeps one line per lane and transposes squares in registers, instead of one register of
// partial sums per line.
#include "kernels/gemm/gemm.h"
#include "kernels/simd/transpose.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// Squares whose chains run side by side: a chain alone would wait 4 cycles an element.
constexpr int kGroups = 4;

// Group g: `lines` lines (at most N) times depths [0, k) of their part of x.
template <class T>
struct DotGroup {
  const T* a;
  const T* x;
  T* y;
  int lines;
};

template <class V, int Groups>
void dot_groups(const DotGroup<typename V::T> (&group)[kGroups], std::int64_t stride,
                std::int64_t k) {
  using T = typename V::T;
  const T* row[Groups][V::N];
  V acc[Groups];
  for (int g = 0; g < Groups; ++g) {
    acc[g] = V::zero();
    for (int i = 0; i < V::N; ++i) {  // lines past the end repeat the last one
      row[g][i] = group[g].a + (i < group[g].lines ? i : group[g].lines - 1) * stride;
    }
  }
  // Whole cache lines of each line in turn: with a stride of a power of two they all compete for
  // one set of the cache and would be gone before the second half is read. (Prefetching four cache
  // lines ahead: no gain.)
  constexpr std::int64_t kLine = 64 / sizeof(T) > V::N ? 64 / sizeof(T) : V::N;
  const std::int64_t k_full = k / V::N * V::N;
  for (std::int64_t pc = 0; pc < k_full; pc += kLine) {
    const std::int64_t end = pc + kLine < k_full ? pc + kLine : k_full;
#pragma GCC unroll 4
    for (int g = 0; g < Groups; ++g) {
      for (std::int64_t p = pc; p < end; p += V::N) {
        V square[V::N];
#pragma GCC unroll 16
        for (int i = 0; i < V::N; ++i) square[i] = load(row[g][i] + p);
        transpose(square);
#pragma GCC unroll 16
        for (int i = 0; i < V::N; ++i) acc[g] = fma(V::set(group[g].x[p + i]), square[i], acc[g]);
      }
    }
  }
  const int rest = int(k - k_full);
  for (int g = 0; g < Groups; ++g) {
    if (rest) {
      V square[V::N];
      for (int i = 0; i < V::N; ++i) square[i] = load_n(row[g][i] + k_full, rest);
      transpose(square);
      for (int i = 0; i < rest; ++i) {
        acc[g] = fma(V::set(group[g].x[k_full + i]), square[i], acc[g]);
      }
    }
    if (group[g].lines == V::N) {
      store(group[g].y, acc[g]);
    } else {
      store_n(group[g].y, acc[g], group[g].lines);
    }
  }
}

// The four groups are depth blocks of the same lines where there are enough, for then no more than
// N lines compete for a cache set; otherwise neighbouring lines.
template <class V>
GS_INLINE void dot(const GemvBlocks& args) {
  using T = typename V::T;
  const T* const a = static_cast<const T*>(args.a);
  const T* const x = static_cast<const T*>(args.x);
  T* const y = static_cast<T*>(args.y);
  const std::int64_t whole = args.k / args.kc / kGroups * kGroups;  // blocks done four at a time
  const auto group_at = [&](std::int64_t block, std::int64_t line) {
    const std::int64_t left = args.lines - line;
    return DotGroup<T>{a + line * args.stride + block * args.kc, x + block * args.kc,
                       y + block * args.y_rs + line, int(left < V::N ? left : V::N)};
  };
  DotGroup<T> group[kGroups] = {};
  for (std::int64_t line = 0; line < args.lines; line += kGroups * V::N) {
    const std::int64_t left = (args.lines - line + V::N - 1) / V::N;
    const int groups = left < kGroups ? int(left) : kGroups;
    for (int i = 0; i < groups; ++i) {
      for (std::int64_t block = 0; block < whole; block += kGroups) {
        for (int g = 0; g < kGroups; ++g) group[g] = group_at(block + g, line + i * V::N);
        dot_groups<V, kGroups>(group, args.stride, args.kc);
      }
    }
    for (std::int64_t block = whole; block * args.kc < args.k; ++block) {
      const std::int64_t depth = args.k - block * args.kc;
      for (int g = 0; g < groups; ++g) group[g] = group_at(block, line + g * V::N);
      if (groups == kGroups) {
        dot_groups<V, kGroups>(group, args.stride, depth < args.kc ? depth : args.kc);
      } else {
        for (int g = 0; g < groups; ++g) {
          group[0] = group_at(block, line + g * V::N);
          dot_groups<V, 1>(group, args.stride, depth < args.kc ? depth : args.kc);
        }
      }
    }
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
GS_INLINE void axpy(const GemvBlocks& args) {
  using T = typename V::T;
  constexpr std::int64_t kStrip = 2048;  // y stays in the first-level cache
  for (std::int64_t pc = 0; pc < args.k; pc += args.kc) {
    const std::int64_t end = pc + args.kc < args.k ? pc + args.kc : args.k;
    for (std::int64_t j = 0; j < args.lines; j += kStrip) {
      const std::int64_t lines = args.lines - j < kStrip ? args.lines - j : kStrip;
      const T* const b = static_cast<const T*>(args.a) + j;
      const T* const x = static_cast<const T*>(args.x);
      T* const y = static_cast<T*>(args.y) + pc / args.kc * args.y_rs + j;
      std::int64_t p = pc;
      for (; p + 8 <= end; p += 8) {
        add_rows<V, 8>(b + p * args.stride, args.stride, x + p, y, lines, p == pc);
      }
      for (; p < end; ++p) {
        add_rows<V, 1>(b + p * args.stride, args.stride, x + p, y, lines, p == pc);
      }
    }
  }
}

}  // namespace

void gemv_dot_f32(const GemvBlocks& args) { dot<F32>(args); }
void gemv_dot_f64(const GemvBlocks& args) { dot<F64>(args); }
void gemv_axpy_f32(const GemvBlocks& args) { axpy<F32>(args); }
void gemv_axpy_f64(const GemvBlocks& args) { axpy<F64>(args); }

}  // namespace gradsmith::kernels::GS_ISA
