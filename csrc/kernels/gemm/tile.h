// The micro-kernel: an M x (columns of `Vectors` registers) tile of C stays in registers while one
// loop over the depth multiplies a column of A with a row of B:
//
//     acc[i][v] += A(i, p) * B(p, v)        one broadcast and `Vectors` fused multiply-adds a row
//
// Contract: gemm.h, GemmBlock. Any alignment. A is read by single elements (any strides), B by
// whole registers. Tails in m are tiles with fewer rows, tails in n are tiles with fewer registers
// whose last one is stored in part; nothing is ever computed twice or written twice.
//
// Constants. The tile must have at least latency x throughput accumulators (4 x 2 on Zen and
// Intel since Skylake) and leave room for Vectors of B and a broadcast of A:
//   avx2    16 registers:  6 x 2 accumulators + 2 + 1 = 15
//   avx512  32 registers:  6 x 4 accumulators + 4 + 1 = 29; 14 x 2 would be 31, but takes 44
//           instructions and 16 loads for 28 multiply-adds, where this takes 34 and 10 for 24
//   neon    32 registers: 12 x 2 accumulators + 2 + 3 (A, four lanes a register) = 29
//   scalar  16 SSE registers, no fused multiply-add: 4 x 2 + 2 + 2 = 12
// No more than two registers of columns leave room for 14 rows.
// A tile of one to three rows has too few accumulators to hide the latency, so it takes 8 or 4
// registers of columns, from neighbouring panels.
// kc: every block reads and writes C once and ends a chain of multiply-adds, so few blocks are
// better, even though a panel of B (kc x nr) then fills a first-level cache of 32 KiB and comes in
// part from the second level: a depth takes 88 bytes in 6 cycles there, which it can deliver. It is
// the same for all targets, so that targets with fused multiply-add agree bit for bit.
#pragma once
#include "kernels/gemm/gemm.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {

gemm_finish_fn gemm_finish_f32, gemm_finish_f64;  // finish.simd.cpp

namespace {

#if defined(GS_ISA_IS_avx2)
constexpr int kMR = 6;
#elif defined(GS_ISA_IS_avx512)
#if defined(GS_EMULATED)
constexpr int kMR = 5;  // the logic is the same and compiles in seconds
#else
constexpr int kMR = 6;
#endif
#elif defined(GS_ISA_IS_neon)
constexpr int kMR = 12;
#else
constexpr int kMR = 4;
#endif
constexpr int kVectors = 2;  // registers in a panel of B
#if defined(GS_ISA_IS_avx512)
constexpr int kWide = 4;  // registers of a tile's columns: two panels
// The panels of B, 128 KiB, come from the second-level cache for every tile: so many depths before
// their turn A and B are called for. Not tried on other targets.
constexpr int kAheadA = 16, kAheadB = 8;
#if defined(GS_EMULATED)
constexpr int kTall = 7;
#else
constexpr int kTall = 14;
#endif
#else
constexpr int kWide = 2;
constexpr int kAheadA = 0, kAheadB = 0;
constexpr int kTall = kMR;  // rows where two registers of columns are enough
#endif
template <class V>
constexpr int kNR = kVectors * V::N;
constexpr std::int64_t kKC = 512;
// Depths a trip, some 48 multiply-adds, where all addresses are constants off two pointers. (With
// strides at run time unrolling loses 20 % at 64 cubed.)
constexpr int kUnroll = kMR * kWide <= 12 ? 4 : 2;
// Lines of the next panel of B that a tile calls for after each of its rows, at most.
constexpr int kNextLines = 8;

GS_INLINE void finish(const GemmFinish& args, const float*) { gemm_finish_f32(args); }
GS_INLINE void finish(const GemmFinish& args, const double*) { gemm_finish_f64(args); }

template <class V>
struct TileArgs {
  const typename V::T* a;
  const typename V::T* b;
  std::int64_t row, column;  // inside the block
  int columns;               // (Vectors - 1) * V::N < columns <= Vectors * V::N
  std::int64_t k;
  typename V::T* carry;  // M x Vectors registers of sums that wait between two depth steps
  bool first, last;      // of the depth steps
  const char* next;      // what this tile is to call for of the next panel of B, so many lines
  int next_lines;        // after each row
};

// What is known about strides when the tile is compiled.
enum class Strides {
  any,
  unit_line,  // rows of A are neighbours in memory (packed, or A stored by columns)
  packed_a,   // A is panels as high as the tile
  packed,     // B is panels as well: every address is a constant
  cut,        // any, and B is in place and ends inside the last register
};

// Whether the multiply-adds of row i read its element themselves, as those of four rows in seven
// do, if the load ports can take it: fewer micro-operations are 5 to 10 % where the core's front
// end is shared with a hyper-thread, and nothing where it is not.
template <int M, int Vectors>
constexpr bool reads_element(int i) {
  return kReadsElement && Vectors == kVectors && M >= 6 && i * 4 / 7 != (i + 1) * 4 / 7;
}

// What an element of A and one of B add to a sum.
struct Single {
  template <class V>
  GS_INLINE static V add(V a, V b, V sum) {
    return fma(a, b, sum);
  }
  template <class V>
  GS_INLINE static V add_element(const typename V::T* a, V b, V sum) {
    return fma_element(a, b, sum);
  }
};

// acc += A(:, p) * B(p, :)
template <class V, class Op, int M, int Vectors, bool Cut = false, bool UnitLine = false>
GS_INLINE void step(V (&acc)[M][Vectors], const typename V::T* a, std::int64_t a_line,
                    const typename V::T* b, std::int64_t b_panel, int last = V::N) {
  V row[Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) {
    const typename V::T* const at = b + (v / kVectors) * b_panel + (v % kVectors) * V::N;
    row[v] = Cut && v == Vectors - 1 ? load_n(at, last) : load(at);
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
    if (UnitLine && reads_element<M, Vectors>(i)) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) acc[i][v] = Op::add_element(a + i, row[v], acc[i][v]);
    } else {
      const V element = V::set(a[i * a_line]);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) acc[i][v] = Op::add(element, row[v], acc[i][v]);
    }
  }
}

// What the tile does by itself: neighbouring values of bias or one a row (a convolution's), and no
// activation but relu.
GS_INLINE bool is_plain(const Epilogue* e) {
  const auto plain_bias = [](const auto& bias) GS_LAMBDA_INLINE {
    return !bias.data || ((bias.cs == 1 || bias.cs == 0) && bias.block == 0);
  };
  return !e || (!e->residual.data && plain_bias(e->bias) &&
                (e->activation == Activation::none || e->activation == Activation::relu));
}

template <class V, class Op, int M, int Vectors, Strides Known>
void tile(const GemmBlock& args, const TileArgs<V>& t) {
  using T = typename V::T;
  const T* a = t.a;
  const T* b = t.b;
  constexpr bool kPacked = Known == Strides::packed;
  constexpr bool kPackedA = kPacked || Known == Strides::packed_a;
  constexpr bool kCut = Known == Strides::cut;
  const std::int64_t a_line = Known == Strides::any || kCut ? args.a_line : 1;
  const int last = t.columns - (Vectors - 1) * V::N;
  const std::int64_t a_depth = kPackedA ? M : args.a_depth;
  const std::int64_t b_depth = kPacked ? kNR<V> : args.b_depth, b_panel = args.b_panel;
  V acc[M][Vectors];
  if (t.first) {
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) acc[i][v] = V::zero();
    }
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) acc[i][v] = load(t.carry + (i * Vectors + v) * V::N);
    }
  }
  const GemmTarget& target = args.target;
  const bool plain = t.last && target.c.cs == 1 && target.c.block == 0 && is_plain(target.epilogue);
  T* c = static_cast<T*>(target.c.data) + (target.row + t.row) * target.c.rs +
         (target.column + t.column);
  // Calls for row i of C: its first and its last element.
  const auto call_row = [&](int i) {
    __builtin_prefetch(c + i * target.c.rs, 1);
    if constexpr (Vectors > 2) __builtin_prefetch(c + i * target.c.rs + t.columns / 2, 1);
    __builtin_prefetch(c + i * target.c.rs + t.columns - 1, 1);
  };
  std::int64_t p = t.k;
  if (kPacked && p >= kUnroll) {
    // With b in the middle of the depths of a trip, every offset fits in a byte: short
    // instructions are worth 2 to 3 % where the core's front end is shared with a hyper-thread.
    constexpr int kMiddle = 128 / sizeof(T);
    b += kMiddle;
    const auto trips = [&](std::int64_t end) __attribute__((always_inline)) {
      for (; p >= end; p -= kUnroll) {
#pragma GCC unroll 4
        for (int u = 0; u < kUnroll; ++u) {
          step<V, Op, M, Vectors, false, true>(acc, a + u * a_depth, 1, b + u * b_depth - kMiddle,
                                               b_panel);
          if constexpr (kAheadB > 0) {
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; ++v) {
              __builtin_prefetch(b + (u + kAheadB) * b_depth - kMiddle + (v / kVectors) * b_panel +
                                 (v % kVectors) * V::N);
            }
            if (u * M * int(sizeof(T)) % 64 < M * int(sizeof(T))) {
              __builtin_prefetch(a + (u + kAheadA) * a_depth);
            }
          }
          asm volatile(
              "" ::
                  : "memory");  // or GCC mixes the depths, runs out of registers and spills
        }
        a += kUnroll * a_depth, b += kUnroll * b_depth;
        asm volatile("" : "+r"(a), "+r"(b));  // or GCC takes the middle back
      }
    };
    if constexpr (kAheadB > 0) {
      // C and the next panel of B, both far away, are called for row by row between the depths: all
      // at once they would take the buffers that A and B come through.
      const std::int64_t part = p / kUnroll / M * kUnroll;
      const char* next = t.next;
      for (int i = 0; i < M; ++i) {
        if (plain) call_row(i);
        for (int l = 0; l < t.next_lines; ++l, next += 64) __builtin_prefetch(next, 0, 2);
        trips(p - part + kUnroll);
      }
    } else if (plain) {
#pragma GCC unroll 16
      for (int i = 0; i < M; ++i) call_row(i);
    }
    trips(kUnroll);
    b -= kMiddle;
  } else if (plain) {
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) call_row(i);
  }
  if (kPackedA && !kPacked) {
    for (; p >= kUnroll; p -= kUnroll, a += kUnroll * a_depth) {
#pragma GCC unroll 4
      for (int u = 0; u < kUnroll; ++u) {
        step<V, Op, M, Vectors, false, true>(acc, a + u * a_depth, 1, b, b_panel);
        b += b_depth;
        asm volatile("" : "+r"(b)::"memory");
      }
    }
  }
  if constexpr (kAheadB > 0 && (Known == Strides::any || kCut)) {
    // Rows of A in place: those of the next tile are called for while this one is computed.
    constexpr int kLine = 64 / sizeof(T);
    if (a_depth == 1) {
      for (; p >= kLine; p -= kLine) {
#pragma GCC unroll 16
        for (int i = 0; i < M; ++i) __builtin_prefetch(a + args.a_panel + i * a_line, 0, 2);
        for (int u = 0; u < kLine; ++u, ++a, b += b_depth) {
          step<V, Op, M, Vectors, kCut>(acc, a, a_line, b, b_panel, last);
        }
      }
    }
  }
  for (; p > 0; --p, a += a_depth, b += b_depth) {
    step<V, Op, M, Vectors, kCut, Known == Strides::unit_line || kPackedA>(acc, a, a_line, b,
                                                                           b_panel, last);
  }
  if (plain) {
    const V alpha = V::set(T(target.alpha)), beta = V::set(T(target.beta));
    const bool overwrite = target.beta == 0;
    const Epilogue none;
    const Epilogue& epilogue = target.epilogue ? *target.epilogue : none;
    const bool relu = epilogue.activation == Activation::relu;
    const T* bias = static_cast<const T*>(epilogue.bias.data);
    const bool one_a_row = epilogue.bias.cs == 0;
    if (bias) bias += (target.row + t.row) * epilogue.bias.rs;
    if (bias && !one_a_row) bias += target.column + t.column;
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i, c += target.c.rs) {
      const T* const row = bias ? bias + i * epilogue.bias.rs : nullptr;
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        const bool whole = v < Vectors - 1 || last == V::N;
        T* const at = c + v * V::N;
        V value = alpha * acc[i][v];
        if (!overwrite) value = fma(beta, whole ? load(at) : load_n(at, last), value);
        if (row) {
          const T* const r = row + v * V::N;
          value = value + (one_a_row ? V::set(*row) : whole ? load(r) : load_n(r, last));
        }
        if (relu) value = select(lt(value, V::zero()), V::zero(), value);  // keeps NaN
        if (whole) {
          store(at, value);
        } else {
          store_n(at, value, last);
        }
      }
    }
    return;
  }
  alignas(64) T here[M * Vectors * V::N];
  T* const sums = t.last ? here : t.carry;
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) store(sums + (i * Vectors + v) * V::N, acc[i][v]);
  }
  if (!t.last) return;
  GemmFinish rest{M, t.columns, sums, Vectors * V::N, target};
  rest.target.row += t.row;
  rest.target.column += t.column;
  finish(rest, sums);
}

template <class V>
using TileFn = void(const GemmBlock& args, const TileArgs<V>& t);

constexpr int widest(int rows) { return rows == 1 ? 8 : rows <= 3 ? 4 : rows <= kMR ? kWide : 2; }

template <class V, class Op, int M, int Vectors>
TileFn<V>* pick_strides(const GemmBlock& args, bool cut) {
  if (cut) return &tile<V, Op, M, Vectors, Strides::cut>;
  if (args.a_line != 1) return &tile<V, Op, M, Vectors, Strides::any>;
  if (args.a_depth == M) {
    if constexpr (Vectors == kVectors || Vectors == kWide) {
      if (args.b_depth == kNR<V>) return &tile<V, Op, M, Vectors, Strides::packed>;
    }
    return &tile<V, Op, M, Vectors, Strides::packed_a>;
  }
  return &tile<V, Op, M, Vectors, Strides::unit_line>;
}
template <class V, class Op, int M = kTall>
TileFn<V>* pick(int rows, int vectors, const GemmBlock& args, bool cut) {
  if constexpr (M > 1) {
    if (rows < M) return pick<V, Op, M - 1>(rows, vectors, args, cut);
  }
  if constexpr (widest(M) >= 8) {
    if (vectors == 8) return pick_strides<V, Op, M, 8>(args, cut);
  }
  if constexpr (widest(M) >= 4) {
    if (vectors == 4) return pick_strides<V, Op, M, 4>(args, cut);
  }
  return vectors == 2 ? pick_strides<V, Op, M, 2>(args, cut) : pick_strides<V, Op, M, 1>(args, cut);
}

template <class V, class Op>
GS_INLINE void block(const GemmBlock& given) {
  using T = typename V::T;
  GemmBlock args = given;
  const T* a = static_cast<const T*>(args.a);
  const T* b = static_cast<const T*>(args.b);
  T* const sums = static_cast<T*>(args.sums);
  const int mr = args.mr;
  const std::int64_t m_full = args.m / mr * mr;
  const int m_tail = int(args.m - m_full);
  const int wide = widest(args.m < mr ? int(args.m) : mr);
  int vectors = 0;
  bool cut = false;  // packed panels are padded, B in place may end anywhere
  TileFn<V>* full = nullptr;
  TileFn<V>* tail = nullptr;
  // Lines of the packed panels of B that a tile reads, for each row of a tile.
  const std::int64_t lines = args.k * kWide * V::N * std::int64_t(sizeof(T)) / 64;
  const std::int64_t fair = m_full ? (lines + m_full - 1) / m_full : 0;
  const std::int64_t per_tile = fair < kNextLines ? fair : kNextLines;
  const auto tiles = [&](TileArgs<V>& t, std::int64_t pc) {
    for (std::int64_t jr = 0; jr < args.n; jr += vectors * V::N) {
      const std::int64_t left = (args.n - jr + V::N - 1) / V::N;
      const int wanted = left >= wide ? wide : left >= 4 ? 4 : left >= 2 ? 2 : 1;
      const bool cut_now = args.b_panel == kNR<V> && args.n - jr < wanted * V::N;
      if (wanted != vectors || cut_now != cut) {
        vectors = wanted;
        cut = cut_now;
        if (m_full) full = pick<V, Op>(mr, vectors, args, cut);
        if (m_tail) tail = pick<V, Op>(m_tail, vectors, args, cut);
      }
      t.b = b + jr / kNR<V> * args.b_panel + jr % kNR<V> + pc * args.b_depth;
      t.column = jr;
      t.columns = args.n - jr < vectors * V::N ? int(args.n - jr) : vectors * V::N;
      t.a = a + pc * args.a_depth;
      t.carry = sums + args.m * jr;
      const int panels = vectors / kVectors;
      const bool more = vectors == kWide && jr + (panels + 1) * kNR<V> <= args.n;
      const std::int64_t ahead = more ? per_tile : 0;
      t.next = reinterpret_cast<const char*>(b + (jr / kNR<V> + panels) * args.b_panel);
      t.next_lines = int(ahead);
      for (t.row = 0; t.row < m_full; t.row += mr, t.a += args.a_panel) {
        full(args, t);
        t.carry += mr * vectors * V::N;
        t.next += ahead * mr * 64;
      }
      if (m_tail) tail(args, t);
    }
  };
  for (std::int64_t z = 0; z < args.entries; ++z) {
    TileArgs<V> t;
    for (std::int64_t pc = 0; pc < args.k; pc += args.depth_step) {
      t.first = pc == 0;
      t.last = args.k - pc <= args.depth_step;
      t.k = t.last ? args.k - pc : args.depth_step;
      tiles(t, pc);
    }
    a += args.a_entry;
    b += args.b_entry;
    args.target.c.data = static_cast<T*>(args.target.c.data) + args.target.c.batch;
  }
}

template <class V>
void shape_of(GemmShape& shape) {
  shape = {kMR, kNR<V>, V::N, kTall, kKC};
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
