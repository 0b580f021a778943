// Packing of strided matrices into micro-panels (the layout is at PackRequest in gemm.h).
//
// Contract: gemm.h, GemmPack. Reads each element once and nothing outside the matrix; writes the
// panels and nothing else.
// Three cases: lines are neighbours (rows of registers are copied), depths are neighbours (squares
// of registers are transposed), and anything else (element by element). Where a panel is not a
// whole number of registers wide, whole registers are stored all the same: what spills over lies
// in elements that are written later. Only at the very end of a request are they stored in part.
// That spares masked stores, which cost 12 cycles on Zen.
#include "kernels/gemm/gemm.h"
#include "kernels/simd/transpose.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

GS_INLINE int smaller(std::int64_t a, std::int64_t b) { return int(a < b ? a : b); }

template <class V>
GS_INLINE V load_some(const typename V::T* p, int n) {
  return n == V::N ? load(p) : load_n(p, n);
}

// Stores what fits before `end`.
template <class V>
GS_INLINE void put(typename V::T* to, V v, const typename V::T* end) {
  if (end - to >= V::N) {
    store(to, v);
  } else {
    store_n(to, v, int(end - to));
  }
}

// Neighbouring panels whose lines are neighbours, a row across all of them before the next row:
// rows are far apart, so the fewer visits a row gets, the fewer cache lines (which may all compete
// for one set) and address translations are fetched again. A row of a panel is stored as
// `Registers` whole registers; what spills over lies in rows that are written later. Only at the
// end of a panel are they stored in part.
#if defined(GS_ISA_IS_avx512)
constexpr int kTogether = 16;
#else
constexpr int kTogether = 8;
#endif

template <class V, int Registers, int Panels>
void copy_panels(typename V::T* dst, const typename V::T* src, std::int64_t depth_stride, int width,
                 std::int64_t depth) {
  const std::int64_t panel = width * depth;
  constexpr std::int64_t kStored = Registers * V::N;
  const std::int64_t whole = panel < kStored ? 0 : (panel - kStored) / width + 1;
  std::int64_t p = 0;
  for (; p < whole; ++p, src += depth_stride, dst += width) {
#pragma GCC unroll 8
    for (int q = 0; q < Panels; ++q) {
#pragma GCC unroll 4
      for (int r = 0; r < Registers; ++r) {
        store(dst + q * panel + r * V::N, load(src + q * width + r * V::N));
      }
    }
  }
  for (; p < depth; ++p, src += depth_stride, dst += width) {
    for (int q = 0; q < Panels; ++q) {
      for (int l = 0; l < width; l += V::N) {
        const int n = smaller(width - l, V::N);
        store_n(dst + q * panel + l, load_n(src + q * width + l, n), n);
      }
    }
  }
}

// The same for as many of `lines` lines as fill whole groups of panels; returns how many. What is
// left of a large group is tried with smaller ones.
template <class V, int Registers, int Panels>
std::int64_t copy_groups(typename V::T* dst, const typename V::T* src, std::int64_t depth_stride,
                         int width, std::int64_t lines, std::int64_t depth) {
  const std::int64_t read = (Panels - 1) * width + Registers * V::N;
  std::int64_t line = 0;
  for (; lines - line >= read; line += Panels * width) {
    copy_panels<V, Registers, Panels>(dst + line * depth, src + line, depth_stride, width, depth);
  }
  if constexpr (Panels > 1) {
    line += copy_groups<V, Registers, Panels / 2>(dst + line * depth, src + line, depth_stride,
                                                  width, lines - line, depth);
  }
  return line;
}

// One panel whose lines are neighbours. Rows ascend, registers ascend in a row.
template <class V>
void copy_panel(typename V::T* dst, const typename V::T* src, std::int64_t depth_stride, int width,
                int lines, std::int64_t depth, const typename V::T* end) {
  for (std::int64_t p = 0; p < depth; ++p, src += depth_stride, dst += width) {
    for (int l = 0; l < width; l += V::N) {
      const int real = lines > l ? smaller(lines - l, V::N) : 0;
      const V v = real ? load_some<V>(src + l, real) : V::zero();
      put(dst + l, v, end);
    }
  }
}

// One panel whose depths are neighbours. Groups of lines descend, so that what a group spills into
// the next row is overwritten by the groups before it; rows ascend in a group.
template <class V>
void transpose_panel(typename V::T* dst, const typename V::T* src, std::int64_t line_stride,
                     int width, int lines, std::int64_t depth, const typename V::T* end) {
  using T = typename V::T;
  for (int l = (width - 1) / V::N * V::N; l >= 0; l -= V::N) {
    const int real = lines > l ? smaller(lines - l, V::N) : 0;
    const T* const first = src + l * line_stride;
    const T* row[V::N];  // a group cut short by the width repeats its first line: that spills over
    for (int i = 0; i < V::N; ++i) row[i] = first + (i < real ? i : 0) * line_stride;
    T* to = dst + l;
    for (std::int64_t p = 0; p < depth; p += V::N) {
      const int rows = smaller(depth - p, V::N);
      V square[V::N];
      if (lines == width && rows == V::N) {
        load_transposed(square, row, p);
        if (end - to >= (V::N - 1) * width + V::N) {
#pragma GCC unroll 16
          for (int i = 0; i < V::N; ++i) store(to + i * width, square[i]);
          to += V::N * width;
          continue;
        }
      } else {
        for (int i = 0; i < V::N; ++i) {
          square[i] = i < real ? load_some<V>(first + i * line_stride + p, rows) : V::zero();
        }
        transpose(square);
      }
      for (int i = 0; i < rows; ++i, to += width) put(to, square[i], end);
    }
  }
}

#if defined(GS_ISA_IS_avx512)
// As many whole panels as fit into a register, side by side: one transposition for all of them.
// Lanes are stored where they belong, for masked stores cost nothing here. Returns the lines done.
std::int64_t transpose_groups(float* dst, const float* src, std::int64_t line_stride, int width,
                              std::int64_t lines, std::int64_t depth) {
  const int panels = F32::N / width, group = panels * width;
  std::int64_t line = 0;
  for (; lines - line >= group; line += group, dst += group * depth) {
    const float* row[F32::N];
    for (int i = 0; i < F32::N; ++i) row[i] = src + (line + (i < group ? i : 0)) * line_stride;
    for (std::int64_t p = 0; p < depth; p += F32::N) {
      const int rows = smaller(depth - p, F32::N);
      F32 square[F32::N];
      if (rows == F32::N) {
        load_transposed(square, row, p);
      } else {
        for (int i = 0; i < F32::N; ++i) square[i] = load_n(row[i] + p, rows);
        transpose(square);
      }
      for (int q = 0; q < panels; ++q) {
        const auto lanes = __mmask16(((1u << width) - 1u) << (q * width));
        float* const to = dst + (q * depth + p) * width - q * width;
        if (rows == F32::N) {
#pragma GCC unroll 16
          for (int i = 0; i < F32::N; ++i)
            _mm512_mask_storeu_ps(to + i * width, lanes, square[i].v);
        } else {
          for (int i = 0; i < rows; ++i) _mm512_mask_storeu_ps(to + i * width, lanes, square[i].v);
        }
      }
    }
  }
  return line;
}
#else
GS_INLINE std::int64_t transpose_groups(float*, const float*, std::int64_t, int, std::int64_t,
                                        std::int64_t) {
  return 0;  // a panel takes a register or more
}
#endif
GS_INLINE std::int64_t transpose_groups(double*, const double*, std::int64_t, int, std::int64_t,
                                        std::int64_t) {
  return 0;
}

template <class T>
void gather_panel(T* dst, const T* src, std::int64_t line_stride, std::int64_t depth_stride,
                  int width, int lines, std::int64_t depth) {
  for (std::int64_t p = 0; p < depth; ++p, src += depth_stride, dst += width) {
    for (int l = 0; l < width; ++l) dst[l] = l < lines ? src[l * line_stride] : T(0);
  }
}

template <class V>
GS_INLINE void pack(const GemmPack& args) {
  using T = typename V::T;
  const PackRequest& r = args.request;
  T* dst = static_cast<T*>(r.dst);
  const T* const end = dst + (r.lines + r.width - 1) / r.width * r.width * r.depth;
  const T* src = static_cast<const T*>(args.src) + r.first * args.line + r.depth0 * args.depth;
  std::int64_t line = 0;
  if (args.line == 1) {
    const int registers = (r.width + V::N - 1) / V::N;
    const auto groups = registers == 1   ? copy_groups<V, 1, kTogether>
                        : registers == 2 ? copy_groups<V, 2, kTogether / 2>
                        : registers == 3 ? copy_groups<V, 3, kTogether / 2>
                        : registers == 4 ? copy_groups<V, 4, kTogether / 2>
                                         : nullptr;
    if (groups) line = groups(dst, src, args.depth, r.width, r.lines, r.depth);
  } else if (args.depth == 1 && 2 * r.width <= V::N) {
    line = transpose_groups(dst, src, args.line, r.width, r.lines, r.depth);
  }
  dst += line * r.depth;
  src += line * args.line;
  for (; line < r.lines; line += r.width) {
    const int lines = smaller(r.lines - line, r.width);
    if (args.line == 1) {
      copy_panel<V>(dst, src, args.depth, r.width, lines, r.depth, end);
    } else if (args.depth == 1) {
      transpose_panel<V>(dst, src, args.line, r.width, lines, r.depth, end);
    } else {
      gather_panel(dst, src, args.line, args.depth, r.width, lines, r.depth);
    }
    dst += r.width * r.depth;
    src += r.width * args.line;
  }
}

}  // namespace

void gemm_pack_f32(const GemmPack& args) { pack<F32>(args); }
void gemm_pack_f64(const GemmPack& args) { pack<F64>(args); }

}  // namespace gradsmith::kernels::GS_ISA
