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
template <int Registers>
constexpr int kTogether = Registers == 1 ? 8 : 4;

template <class V, int Registers>
void copy_panels(typename V::T* dst, const typename V::T* src, std::int64_t depth_stride, int width,
                 std::int64_t depth) {
  const std::int64_t panel = width * depth;
  constexpr std::int64_t kStored = Registers * V::N;
  const std::int64_t whole = panel < kStored ? 0 : (panel - kStored) / width + 1;
  std::int64_t p = 0;
  for (; p < whole; ++p, src += depth_stride, dst += width) {
#pragma GCC unroll 8
    for (int q = 0; q < kTogether<Registers>; ++q) {
#pragma GCC unroll 4
      for (int r = 0; r < Registers; ++r) {
        store(dst + q * panel + r * V::N, load(src + q * width + r * V::N));
      }
    }
  }
  for (; p < depth; ++p, src += depth_stride, dst += width) {
    for (int q = 0; q < kTogether<Registers>; ++q) {
      for (int l = 0; l < width; l += V::N) {
        const int n = smaller(width - l, V::N);
        store_n(dst + q * panel + l, load_n(src + q * width + l, n), n);
      }
    }
  }
}

// The same for as many of `lines` lines as fill whole groups of panels; returns how many.
template <class V, int Registers>
std::int64_t copy_groups(typename V::T* dst, const typename V::T* src, std::int64_t depth_stride,
                         int width, std::int64_t lines, std::int64_t depth) {
  constexpr int kPanels = kTogether<Registers>;
  const std::int64_t read = (kPanels - 1) * width + Registers * V::N;
  std::int64_t line = 0;
  for (; lines - line >= read; line += kPanels * width) {
    copy_panels<V, Registers>(dst + line * depth, src + line, depth_stride, width, depth);
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
#pragma GCC unroll 16
        for (int i = 0; i < V::N; ++i) square[i] = load(row[i] + p);
        transpose(square);
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
    const auto groups = registers == 1   ? copy_groups<V, 1>
                        : registers == 2 ? copy_groups<V, 2>
                        : registers == 3 ? copy_groups<V, 3>
                                         : nullptr;
    if (groups) line = groups(dst, src, args.depth, r.width, r.lines, r.depth);
    dst += line * r.depth;
    src += line;
  }
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
