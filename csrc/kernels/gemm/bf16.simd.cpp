// Products of bfloat16 numbers, summed in float32.
//
// Formula: sums += a(2q + 1) * b(2q + 1), then sums += a(2q) * b(2q), for one pair of depths after
// the other. Each line is one fused multiply-add, rounded to nearest; denormal numbers count as
// zero. That is what the instruction VDPBF16PS does, whatever the rounding mode, and it is done
// here on every target with fused multiply-adds, so that they all give the same bits.
//
// Idea: depths are packed in pairs. With the instruction an element of a panel is a pair in 32
// bits, and the register tile is float32's with another multiply-add. Without it a panel holds the
// same numbers as float32, the odd depth before the even one, for float32's own tile.
//
// Operands are bfloat16 or float32, which is rounded to nearest even while it is packed.
//
// Contract: gemm.h, GemmPack with `source`, GemmBlock.
#include "kernels/gemm/gemm.h"
#include "kernels/simd/flush.h"
#include "kernels/simd/half_bits.h"
#include "kernels/simd/transpose.h"
#include "kernels/simd/vec.h"
#if defined(GS_ISA_IS_avx512_bf16)
#include "kernels/gemm/tile.h"
#endif

namespace gradsmith::kernels::GS_ISA {

#if !defined(GS_ISA_IS_avx512_bf16)
gemm_block_fn gemm_block_f32;
gemm_shape_fn gemm_shape_f32;
#endif

namespace {

#if defined(GS_ISA_IS_avx512_bf16)
constexpr int kPair = 1;  // registers for two depths

struct Pairs {
  GS_INLINE static F32 add(F32 a, F32 b, F32 sum) { return dot_pairs(a, b, sum); }
  GS_INLINE static F32 add_element(const float* a, F32 b, F32 sum) {
    return dot_pairs(F32::set(*a), b, sum);
  }
};
#else
constexpr int kPair = 2;
#endif

GS_INLINE int smaller(std::int64_t a, std::int64_t b) { return int(a < b ? a : b); }

// To a value that bfloat16 has; the low 16 bits are zero.
GS_INLINE F32 round_bf16(F32 v) {
  using I = Int<float>;
  const I u = as_int(v);
  const I rounded = u + I::set(0x7fff) + (shr<16>(u) & I::set(1));
  const F32 value = select(ne(v, v), as_float(u | I::set(0x400000)), as_float(rounded));
  return as_float(as_int(value) & I::set(0xffff0000u));
}

GS_INLINE F32 load_lanes(const std::uint16_t* p, int n) {
  return n == F32::N ? load_bf16(p) : load_bf16_n(p, n);
}
GS_INLINE F32 load_lanes(const float* p, int n) {
  return round_bf16(n == F32::N ? load(p) : load_n(p, n));
}
GS_INLINE float element(std::uint16_t x) { return bf16_to_float(x); }
GS_INLINE float element(float x) { return bf16_to_float(float_to_bf16(x)); }

// The odd and the even row of a pair are written before the next pair, so a panel is narrower than
// a register or a whole number of them. Whole registers are stored where they fit before `end`:
// what spills over a row of the panel lies in rows that are written later.
GS_INLINE void put(float* to, F32 v, const float* end) {
  if (end - to >= F32::N) {
    store(to, v);
  } else if (end > to) {
    store_n(to, v, int(end - to));
  }
}
GS_INLINE void put_pair(float* to, int width, F32 even, F32 odd, const float* end) {
  if constexpr (kPair == 1) {
    (void)width;
    put(to, as_float(as_int(odd) | shr<16>(as_int(even))), end);
  } else {
    put(to, odd, end);
    put(to + width, even, end);
  }
}

// Panels whose lines are neighbours: two rows across kTogether of them before the next two, for
// rows may be pages apart. Rows ascend, registers ascend in a row.
constexpr int kTogether = 8;

template <class Source>
void copy_panels(float* dst, const Source* src, std::int64_t depth_stride, int width, int lines,
                 std::int64_t depth, std::int64_t panel) {
  for (std::int64_t p = 0; p < depth; p += 2, src += 2 * depth_stride, dst += kPair * width) {
    const Source* const next = p + 1 < depth ? src + depth_stride : nullptr;
    float* to = dst;
    const float* end = dst + panel - p / 2 * kPair * width;
    for (int first = 0; first < lines; first += width, to += panel, end += panel) {
      for (int l = 0; l < width; l += F32::N) {
        const int real = first + l < lines ? smaller(lines - first - l, F32::N) : 0;
        // A whole register where the matrix has one: what spills over is written later.
        const int now = first + l + F32::N <= lines ? F32::N : smaller(real, width - l);
        const F32 even = now > 0 ? load_lanes(src + first + l, now) : F32::zero();
        const F32 odd = now > 0 && next ? load_lanes(next + first + l, now) : F32::zero();
        put_pair(to + l, width, even, odd, end);
      }
    }
  }
}

// A panel whose depths are neighbours. Groups of lines descend, so that what a group spills into
// the next row is overwritten by the groups before it; rows ascend in a group.
template <class Source>
void transpose_panel(float* dst, const Source* src, std::int64_t line_stride, int width, int lines,
                     std::int64_t depth, const float* end) {
  for (int l = (width - 1) / F32::N * F32::N; l >= 0; l -= F32::N) {
    const int real = lines > l ? smaller(lines - l, F32::N) : 0;
    float* to = dst + l;
    for (std::int64_t p = 0; p < depth; p += F32::N) {
      const int rows = smaller(depth - p, F32::N);
      F32 square[F32::N];
#pragma GCC unroll 16
      for (int i = 0; i < F32::N; ++i) {
        square[i] = i < real ? load_lanes(src + (l + i) * line_stride + p, rows) : F32::zero();
      }
      transpose(square);
      for (int i = 0; i < rows; i += 2, to += kPair * width) {
        put_pair(to, width, square[i], i + 1 < rows ? square[i + 1] : F32::zero(), end);
      }
    }
  }
}

template <class Source>
void gather_panel(float* dst, const Source* src, std::int64_t line_stride,
                  std::int64_t depth_stride, int width, int lines, std::int64_t depth,
                  const float* end) {
  for (std::int64_t p = 0; p < depth; p += 2, dst += kPair * width) {
    for (int l = 0; l < width; l += F32::N) {
      float even[F32::N] = {}, odd[F32::N] = {};
      for (int i = 0; i < F32::N && l + i < lines; ++i) {
        const Source* at = src + (l + i) * line_stride + p * depth_stride;
        even[i] = element(*at);
        if (p + 1 < depth) odd[i] = element(at[depth_stride]);
      }
      put_pair(dst + l, width, load(even), load(odd), end);
    }
  }
}

template <class Source>
void pack(const GemmPack& args) {
  const PackRequest& r = args.request;
  const std::int64_t panel = (r.depth + 1) / 2 * kPair * r.width;
  float* dst = static_cast<float*>(r.dst);
  const float* const end = dst + (r.lines + r.width - 1) / r.width * panel;
  const Source* src =
      static_cast<const Source*>(args.src) + r.first * args.line + r.depth0 * args.depth;
  if (args.line == 1) {
    for (std::int64_t line = 0; line < r.lines; line += kTogether * r.width) {
      const int lines = smaller(r.lines - line, kTogether * r.width);
      copy_panels(dst, src + line, args.depth, r.width, lines, r.depth, panel);
      dst += kTogether * panel;
    }
    return;
  }
  for (std::int64_t line = 0; line < r.lines; line += r.width) {
    const int lines = smaller(r.lines - line, r.width);
    if (args.depth == 1) {
      transpose_panel(dst, src, args.line, r.width, lines, r.depth, end);
    } else {
      gather_panel(dst, src, args.line, args.depth, r.width, lines, r.depth, end);
    }
    dst += panel;
    src += r.width * args.line;
  }
}

}  // namespace

void gemm_shape_bf16(GemmShape& shape) {
#if defined(GS_ISA_IS_avx512_bf16)
  shape_of<F32>(shape);
#else
  gemm_shape_f32(shape);
#endif
  shape.pair = kPair;
}

void gemm_pack_bf16(const GemmPack& args) {
  if (args.source == DType::bf16) {
    pack<std::uint16_t>(args);
  } else {
    pack<float>(args);
  }
}

#if defined(GS_ISA_IS_avx512_bf16)
// A call of its own: arithmetic that is inlined could be moved out of the flushing.
[[gnu::noinline]] static void gemm_block_f32(const GemmBlock& args) { block<F32, Pairs>(args); }
#endif

void gemm_block_bf16(const GemmBlock& args) {
  const std::uint64_t mode = flush_denormals();
  gemm_block_f32(args);
  restore_denormals(mode);
}

}  // namespace gradsmith::kernels::GS_ISA
