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

// Chains that run side by side: one alone would wait four cycles an element.
constexpr int kChains = 2;

// `lines` lines (at most N) times depths [0, k) of their part of x.
template <class T>
struct DotGroup {
  const T* a;
  const T* x;
  T* y;
  int lines;
};

template <class V, int Groups>
void dot_groups(const DotGroup<typename V::T> (&group)[kChains], std::int64_t stride,
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
  std::int64_t p = 0;
  for (; p + V::N <= k; p += V::N) {
#pragma GCC unroll 4
    for (int g = 0; g < Groups; ++g) {
      V square[V::N];
      load_transposed(square, row[g], p);
#pragma GCC unroll 16
      for (int i = 0; i < V::N; ++i) acc[g] = fma(V::set(group[g].x[p + i]), square[i], acc[g]);
    }
  }
  const int rest = int(k - p);
  for (int g = 0; g < Groups; ++g) {
    if (rest) {
      V square[V::N];
      for (int i = 0; i < V::N; ++i) square[i] = load_n(row[g][i] + p, rest);
      transpose(square);
      for (int i = 0; i < rest; ++i) acc[g] = fma(V::set(group[g].x[p + i]), square[i], acc[g]);
    }
    if (group[g].lines == V::N) {
      store(group[g].y, acc[g]);
    } else {
      store_n(group[g].y, acc[g], group[g].lines);
    }
  }
}

// Two chains are two depth blocks of the same N lines, else (a single block left) neighbouring
// lines: with a stride of a power of two more than 8 lines compete for a set of the cache. From
// memory one chain of N lines is faster than two: fewer streams, and fast enough.
template <class V>
GS_INLINE void dot(const GemvBlocks& args) {
  using T = typename V::T;
  const T* const a = static_cast<const T*>(args.a);
  const T* const x = static_cast<const T*>(args.x);
  T* const y = static_cast<T*>(args.y);
  constexpr std::int64_t kCached = (std::int64_t(8) << 20) / sizeof(T);
  const bool pairs = args.lines * args.k <= kCached;
  const std::int64_t whole = args.k / args.kc;  // full depth blocks
  const std::int64_t paired = pairs ? whole / kChains * kChains : 0;
  const auto group_at = [&](std::int64_t block, std::int64_t line) {
    const std::int64_t left = args.lines - line;
    return DotGroup<T>{a + line * args.stride + block * args.kc, x + block * args.kc,
                       y + block * args.y_rs + line, int(left < V::N ? left : V::N)};
  };
  DotGroup<T> group[kChains] = {};
  for (std::int64_t line = 0; line < args.lines; line += kChains * V::N) {
    const int groups = args.lines - line > V::N ? kChains : 1;
    for (int i = 0; i < groups; ++i) {
      for (std::int64_t block = 0; block < paired; block += kChains) {
        for (int g = 0; g < kChains; ++g) group[g] = group_at(block + g, line + i * V::N);
        dot_groups<V, kChains>(group, args.stride, args.kc);
      }
    }
    for (std::int64_t block = paired; block * args.kc < args.k; ++block) {
      const std::int64_t left = args.k - block * args.kc;
      const std::int64_t depth = left < args.kc ? left : args.kc;
      for (int g = 0; g < groups; ++g) group[g] = group_at(block, line + g * V::N);
      if (groups == kChains && pairs) {
        dot_groups<V, kChains>(group, args.stride, depth);
        continue;
      }
      for (int g = 0; g < groups; ++g) {
        group[0] = group[g];
        dot_groups<V, 1>(group, args.stride, depth);
      }
    }
  }
}

}  // namespace

void gemv_dot_f32(const GemvBlocks& args) { dot<F32>(args); }
void gemv_dot_f64(const GemvBlocks& args) { dot<F64>(args); }

}  // namespace gradsmith::kernels::GS_ISA
