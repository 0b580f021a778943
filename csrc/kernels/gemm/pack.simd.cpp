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

// One panel whose lines are neighbours. Rows ascend, registers ascend in a row.
template <class V>
void copy_panel(typename V::T* dst, const typename V::T* src, std::int64_t depth_stride, int width,
                int lines, std::int64_t depth, const typename V::T* end) {
  if (lines == width && width == 2 * V::N) {  // panels of B
    for (std::int64_t p = 0; p < depth; ++p, src += depth_stride, dst += width) {
      store(dst, load(src));
      store(dst + V::N, load(src + V::N));
    }
    return;
  }
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
    T* to = dst + l;
    for (std::int64_t p = 0; p < depth; p += V::N) {
      const int rows = smaller(depth - p, V::N);
      V square[V::N];
      if (real == V::N && rows == V::N) {
#pragma GCC unroll 16
        for (int i = 0; i < V::N; ++i) square[i] = load(first + i * line_stride + p);
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
  for (std::int64_t line = 0; line < r.lines; line += r.width) {
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
