// A few vectors times a matrix that is read once, where packing would double the traffic.
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

// `lines` lines (at most N) times depths [0, k) of their part of the vectors, of which as many as
// are asked for lie x_rs apart; past the last it is read again.
template <class T>
struct DotGroup {
  const T* a;
  const T* x;
  T* y;
  int lines;
};

template <class V>
GS_INLINE void store_lines(typename V::T* y, V sums, int lines) {
  if (lines == V::N) {
    store(y, sums);
  } else {
    store_n(y, sums, lines);
  }
}

// acc[v] += x[v][p] * (element p of the line in each lane), for the `count` depths from p on.
template <class V, int Vectors>
GS_INLINE void add_depths(V (&acc)[Vectors], const V (&square)[V::N],
                          const typename V::T* const (&x)[Vectors], std::int64_t p, int count) {
#pragma GCC unroll 16
  for (int i = 0; i < count; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) acc[v] = fma(V::set(x[v][p + i]), square[i], acc[v]);
  }
}

// Once: every row is read a whole line of the cache at a time, for lines that do not stay there.
template <class V, int Groups, int Vectors, bool Once>
void dot_groups(const GemvBlocks& args, const DotGroup<typename V::T>* group, std::int64_t k) {
  using T = typename V::T;
  const T* row[Groups][V::N];
  const T* x[Groups][Vectors];
  V acc[Groups][Vectors];
  for (int g = 0; g < Groups; ++g) {
    for (int v = 0; v < Vectors; ++v) {
      acc[g][v] = V::zero();
      x[g][v] = group[g].x + (v < args.vectors ? v : args.vectors - 1) * args.x_rs;
    }
    for (int i = 0; i < V::N; ++i) {  // lines past the end repeat the last one
      row[g][i] = group[g].a + (i < group[g].lines ? i : group[g].lines - 1) * args.stride;
    }
  }
  const auto piece = [&](std::int64_t p, int count) {
    for (int g = 0; g < Groups; ++g) {
      V square[V::N];
      for (int i = 0; i < V::N; ++i) square[i] = load_n(row[g][i] + p, count);
      transpose(square);
      add_depths(acc[g], square, x[g], p, count);
    }
  };
  std::int64_t p = 0;
  if constexpr (Once) {  // up to a boundary of the lines
    const auto address = reinterpret_cast<std::uintptr_t>(row[0][0]) / sizeof(T);
    const auto head = std::int64_t(-address % V::N);
    p = head < k ? head : k;
    if (p) piece(0, int(p));
  }
  for (; p + V::N <= k; p += V::N) {
#pragma GCC unroll 4
    for (int g = 0; g < Groups; ++g) {
      V square[V::N];
      if constexpr (Once) {
#pragma GCC unroll 16
        for (int i = 0; i < V::N; ++i) square[i] = load(row[g][i] + p);
        transpose(square);
      } else {
        load_transposed(square, row[g], p);
      }
      add_depths(acc[g], square, x[g], p, V::N);
    }
  }
  if (p < k) piece(p, int(k - p));
  for (int g = 0; g < Groups; ++g) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      if (v < args.vectors) store_lines(group[g].y + v * args.y_rs, acc[g][v], group[g].lines);
    }
  }
}

template <class V>
DotGroup<typename V::T> group_at(const GemvBlocks& args, std::int64_t block, std::int64_t line) {
  using T = typename V::T;
  const std::int64_t left = args.lines - line;
  return {static_cast<const T*>(args.a) + line * args.stride + block * args.kc,
          static_cast<const T*>(args.x) + block * args.kc,
          static_cast<T*>(args.y) + block * args.vectors * args.y_rs + line,
          int(left < V::N ? left : V::N)};
}

// N lines after N lines: fewest streams, and of lines in a set of the cache.
template <class V, int Vectors, bool Once>
void dot_in_turn(const GemvBlocks& args) {
  for (std::int64_t line = 0; line < args.lines; line += V::N) {
    for (std::int64_t block = 0; block * args.kc < args.k; ++block) {
      const std::int64_t left = args.k - block * args.kc;
      const auto group = group_at<V>(args, block, line);
      dot_groups<V, 1, Vectors, Once>(args, &group, left < args.kc ? left : args.kc);
    }
  }
}

// One vector, two chains: two depth blocks of the same N lines, else (a single block left)
// neighbouring lines.
template <class V>
void dot_in_pairs(const GemvBlocks& args) {
  const std::int64_t whole = args.k / args.kc;  // full depth blocks
  const std::int64_t paired = whole / kChains * kChains;
  DotGroup<typename V::T> group[kChains] = {};
  for (std::int64_t line = 0; line < args.lines; line += kChains * V::N) {
    const int groups = args.lines - line > V::N ? kChains : 1;
    for (int i = 0; i < groups; ++i) {
      for (std::int64_t block = 0; block < paired; block += kChains) {
        for (int g = 0; g < kChains; ++g) group[g] = group_at<V>(args, block + g, line + i * V::N);
        dot_groups<V, kChains, 1, false>(args, group, args.kc);
      }
    }
    for (std::int64_t block = paired; block * args.kc < args.k; ++block) {
      const std::int64_t left = args.k - block * args.kc;
      const std::int64_t depth = left < args.kc ? left : args.kc;
      for (int g = 0; g < groups; ++g) group[g] = group_at<V>(args, block, line + g * V::N);
      if (groups == kChains) {
        dot_groups<V, kChains, 1, false>(args, group, depth);
      } else {
        dot_groups<V, 1, 1, false>(args, group, depth);
      }
    }
  }
}

template <class V, int Vectors>
void dot_vectors(const GemvBlocks& args) {
  if (args.once) {
    dot_in_turn<V, Vectors, true>(args);
  } else {
    dot_in_turn<V, Vectors, false>(args);
  }
}

// From memory one chain of N lines is faster than two: fewer streams, and fast enough.
template <class V>
GS_INLINE void dot(const GemvBlocks& args) {
  constexpr std::int64_t kCached = (std::int64_t(8) << 20) / sizeof(typename V::T);
  if (args.vectors > 4) return dot_vectors<V, 8>(args);
  if (args.vectors > 2) return dot_vectors<V, 4>(args);
  if (args.vectors > 1) return dot_vectors<V, 2>(args);
  if (args.once || args.lines * args.k > kCached) return dot_vectors<V, 1>(args);
  dot_in_pairs<V>(args);
}

}  // namespace

void gemv_dot_f32(const GemvBlocks& args) { dot<F32>(args); }
void gemv_dot_f64(const GemvBlocks& args) { dot<F64>(args); }

}  // namespace gradsmith::kernels::GS_ISA
