// Forward convolution and input gradient: one register-tiled kernel over prepared images.
//
//     tile[i][l] = sum_k w[i * ldw + k] * x[l + offset[k]]        i < MR rows, l < NV * N pixels
//
// Contract: conv.h. Idea: in the padded, phase-split layout of ConvSource the inputs that N
// neighbouring outputs need for tap k are N neighbours, at a distance offset[k] that is the same
// for all outputs. So the right operand of the implicit matrix product needs no packing: a vector
// of pixels is a base pointer, a tile is NV of those (of any rows or images), and MR broadcast
// weights times NV loads fill the FMA units. The input gradient is the same sum over dy, one
// convolution for each phase of the stride, with transposed weights. Constants: README.md.
#include "kernels/conv/conv.h"

#include "kernels/conv/job.h"
#include "kernels/conv/layout.h"
#include "kernels/conv/packed.h"
#include "kernels/conv/prepare.h"
#include "kernels/conv/rows.h"
#include "kernels/simd/activate.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

#if defined(GS_ISA_IS_avx512) || defined(GS_ISA_IS_neon)
constexpr int kWide = 2;  // 32 vector registers: twice the accumulators
#else
constexpr int kWide = 1;
#endif

// A run of outputs that lie next to each other in the tile and y_col apart in y.
struct Segment {
  Index y;
  int lane, count;
};

// Walks over a job's outputs, N at a time. In rows where N does not divide the columns the last
// vector overlaps its neighbour: computing a pixel twice is cheaper than a masked load.
template <class V>
class Cursor {
 public:
  explicit Cursor(const Job<typename V::T>& job) : job_(&job), rows_(job.rows), cols_(job.cols) {
    if (job.x_row == job.cols && job.y_row == job.cols * job.y_col) {
      cols_ *= rows_;
      rows_ = 1;
    } else {
      // All rows as one run, whose vectors straddle rows and drop what lies between them.
      const Index run = (job.rows - 1) * job.x_row + job.cols;
      // Half a cycle a product and vector, and what writing costs: 2 cycles, 15 in pieces.
      run_on_ = round_up_div(run, V::N) * (job.k + 30) <
                job.rows * round_up_div(job.cols, V::N) * (job.k + 4);
      if (run_on_) {
        cols_ = run;
        rows_ = 1;
      }
    }
  }
  Index vectors() const { return job_->images * rows_ * round_up_div(cols_, V::N); }

  // The next vector goes to lanes lane.. of the tile; appends its segments and returns its inputs.
  const typename V::T* next(int lane, Segment* segments, int& count) {
    const Index c = cols_ < V::N ? 0 : least(col_, cols_ - V::N);
    const int lanes = int(least(V::N, cols_ - c));
    const Index x = image_ * job_->x_image + row_ * job_->x_row + c;
    const Index y = image_ * job_->y_image;
    if (run_on_) {
      Index r = c / job_->x_row, q = c % job_->x_row;
      for (int l = 0; l < lanes; q = 0, ++r) {
        const int inside = int(least(job_->cols - q, lanes - l));
        if (inside > 0)
          segments[count++] = {y + r * job_->y_row + q * job_->y_col, lane + l, inside};
        l += int(job_->x_row - q);
      }
    } else {
      segments[count++] = {y + row_ * job_->y_row + c * job_->y_col, lane, lanes};
    }
    col_ += V::N;
    if (col_ >= cols_) {
      col_ = 0;
      if (++row_ == rows_) row_ = 0, ++image_;
    }
    return job_->x + x;
  }

 private:
  const Job<typename V::T>* job_;
  Index rows_, cols_;
  bool run_on_ = false;
  Index image_ = 0, row_ = 0, col_ = 0;
};

// acc += the k products; w points at MR rows of weights.
template <class V, int MR, int NV>
GS_INLINE void accumulate(V (&acc)[MR][NV], const typename V::T* const (&x)[NV],
                          const Index* offset, Index k, const typename V::T* const (&w)[MR]) {
  for (Index p = 0; p < k; ++p) {
    const Index at = offset[p];
    if constexpr (NV <= MR) {
      V b[NV];
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) b[v] = load(x[v] + at);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        const V a = V::set(w[i][p]);
#pragma GCC unroll 16
        for (int v = 0; v < NV; ++v) acc[i][v] = fma(a, b[v], acc[i][v]);
      }
    } else {
      V a[MR];
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) a[i] = V::set(w[i][p]);
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) {
        const V b = load(x[v] + at);
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i) acc[i][v] = fma(a[i], b, acc[i][v]);
      }
    }
  }
}

// The pixels of a tile.
template <class V, int NV>
struct Tile {
  const typename V::T* x[NV];
  Segment segments[NV * (V::N + 1)];
  int count;
  bool whole;  // NV segments of N neighbours
};

template <class V, int MR, int NV>
GS_INLINE void write_tile(const V (&acc)[MR][NV], const Job<typename V::T>& job,
                          const Tile<V, NV>& tile, Index row) {
  using T = typename V::T;
  T* y = job.y + row * job.y_channel;
  const Index rows = least(MR, job.m - row);
  if (tile.whole) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i, y += job.y_channel) {
      if (i >= rows) return;
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) store(y + tile.segments[v].y, acc[i][v]);
    }
    return;
  }
  alignas(64) T sums[MR][NV * V::N];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) store(sums[i] + v * V::N, acc[i][v]);
  if (job.activation != Activation::none && job.activation != Activation::relu) {
    for (T* p = sums[0]; p < sums[rows]; p += V::N)
      store(p, activate(load(p), job.activation, job.slope));
  }
  for (Index i = 0; i < rows; ++i, y += job.y_channel)
    for (int s = 0; s < tile.count; ++s) {
      const Segment& seg = tile.segments[s];
      const T* from = sums[i] + seg.lane;
      if (seg.count == V::N && job.y_col == 1) {
        store(y + seg.y, load(from));
      } else {  // scalar: masked stores are microcoded on AMD
        for (int l = 0; l < seg.count; ++l) y[seg.y + l * job.y_col] = from[l];
      }
    }
}

// Tiles are taken in groups: while the sum is cut into blocks, the unfinished sums of a group lie
// in `partial`, a block of weights stays in L2 for the whole group, and the inputs of a tile stay
// in L1 for all rows of weights.
template <class V, int MR, int NV>
void run_tiles(const Job<typename V::T>& job) {
  using T = typename V::T;
  constexpr Index kLanes = NV * V::N, kRows = kConvRowBlock / MR * MR;
  const bool plain =
      job.y_col == 1 && (job.activation == Activation::none || job.activation == Activation::relu);
  Cursor<V> start(job);
  const Index vectors = start.vectors();
  const Index group = most(1, kConvPartial / ((least(job.m, kRows) + MR) * kLanes)) * NV;
  for (Index group0 = 0; group0 < vectors; group0 += group) {
    const Index group1 = least(vectors, group0 + group);
    Cursor<V> after = start;
    for (Index row0 = 0; row0 < job.m; row0 += kRows) {
      const Index row1 = least(job.m, row0 + kRows);
      for (Index k0 = 0; k0 == 0 || k0 < job.k; k0 += job.k_block) {
        const Index k = least(job.k_block, job.k - k0);
        const bool last = k0 + k >= job.k;
        T* partial = job.partial;
        Cursor<V> cursor = start;
        for (Index first = group0; first < group1; first += NV) {
          Tile<V, NV> tile;
          tile.count = 0;
          for (int v = 0; v < NV; ++v)
            tile.x[v] =
                first + v < group1 ? cursor.next(v * V::N, tile.segments, tile.count) : tile.x[0];
          tile.whole = plain && tile.count == NV && first + NV <= group1;
          for (int v = 0; tile.whole && v < NV; ++v) tile.whole = tile.segments[v].count == V::N;
          for (Index row = row0; row < row1; row += MR, partial += MR * kLanes) {
            const T* w[MR];
#pragma GCC unroll 16
            for (int i = 0; i < MR; ++i) w[i] = job.w + least(row + i, job.m - 1) * job.ldw + k0;
            V acc[MR][NV];
#pragma GCC unroll 16
            for (int i = 0; i < MR; ++i)
#pragma GCC unroll 16
              for (int v = 0; v < NV; ++v) acc[i][v] = V::zero();
            accumulate<V, MR, NV>(acc, tile.x, job.offset + k0, k, w);
            if (k0 != 0) {
#pragma GCC unroll 16
              for (int i = 0; i < MR; ++i)
#pragma GCC unroll 16
                for (int v = 0; v < NV; ++v)
                  acc[i][v] = load(partial + i * kLanes + v * V::N) + acc[i][v];
            }
            if (last) {
              finish<V, MR, NV>(acc, job, row);
              write_tile<V, MR, NV>(acc, job, tile, row);
            } else {
#pragma GCC unroll 16
              for (int i = 0; i < MR; ++i)
#pragma GCC unroll 16
                for (int v = 0; v < NV; ++v) store(partial + i * kLanes + v * V::N, acc[i][v]);
            }
          }
        }
        after = cursor;
      }
    }
    start = after;
  }
}

// Picks the register tile that computes the fewest outputs for nothing; `price` per output in
// tenths, for tiles that load more than they can multiply.
template <class V>
void run_job(const Job<typename V::T>& job) {
  if (job.images <= 0 || job.rows <= 0 || job.cols <= 0 || job.m <= 0) return;
  if (job.m == 1 && job.k <= 64 && job.y_col == 1 && (job.cols >= V::N || job.slack)) {
    if (job.cols >= 4 * V::N) return run_rows<V, 4>(job);
    if (job.cols >= 2 * V::N) return run_rows<V, 2>(job);
    return run_rows<V, 1>(job);
  }
  const Index vectors = Cursor<V>(job).vectors();
  const auto cost = [&](Index mr, Index nv, Index price) __attribute__((always_inline)) {
    return round_up_div(job.m, mr) * mr * round_up_div(vectors, nv) * nv * price;
  };
  const Index a = cost(4 * kWide, 3, 10), b = cost(6, 2 * kWide, 10), c = cost(2, 6 * kWide, 11),
              d = cost(1, 8 * kWide, 16), e = cost(6 * kWide, 2, 10);
  if (e < a && e < b && e <= c && e <= d) return run_tiles<V, 6 * kWide, 2>(job);
  if (a <= b && a <= c && a <= d) return run_tiles<V, 4 * kWide, 3>(job);
  if (b <= c && b <= d) return run_tiles<V, 6, 2 * kWide>(job);
  if (c <= d) return run_tiles<V, 2, 6 * kWide>(job);
  run_tiles<V, 1, 8 * kWide>(job);
}

template <class T>
GS_INLINE bool same_cache_sets(Index plane, Index channels) {
  return channels > 8 && plane * Index(sizeof(T)) % 2048 == 0;
}

template <class V>
void forward(const ConvPart& a) {
  using T = typename V::T;
  const ConvShape& s = a.shape;
  const Index cg = s.group_c(), og = s.group_o(), out_h = s.out_h(), out_w = s.out_w();
  const Index rows = a.row_end - a.row_begin, taps = s.kh * s.kw;
  const ConvSource g = forward_source(s, a.row_begin, a.row_end);
  const T* x = static_cast<const T*>(a.in) + (a.image_begin * s.c + a.group * cg) * s.h * s.w;

  const bool inside = s.stride_h == 1 && s.stride_w == 1 && g.first_h >= 0 && g.first_w >= 0 &&
                      g.first_h + g.rows <= s.h && g.cols <= s.w;
  const bool fits = out_w >= V::N || (out_w == s.w && rows * out_w >= V::N);
  const bool packed = a.packed.weights;
  const bool direct =
      packed ? forward_in_place(s) : inside && fits && !same_cache_sets<T>(s.h * s.w, cg);

  Job<T> job{};
  const Index groups = a.group_end - a.group;
  Index channel, plane, pitch;  // of what is read
  if (direct) {
    channel = plane = s.h * s.w;
    pitch = s.w;
    job.x = x + g.first_h * s.w;
    job.x_image = s.c * s.h * s.w;
    job.x_row = s.stride_h * s.w;
    job.x_col = s.stride_w;
  } else {
    channel = g.channel();
    plane = g.plane();
    pitch = g.cols;
    T* source = static_cast<T*>(a.source);
    job.x = source;
    job.slack = true;
    job.x_image = groups * cg * channel;
    job.x_row = pitch;
    for (Index n = a.image_begin; n < a.image_end; ++n, x += s.c * s.h * s.w, source += job.x_image)
      prepare_channels<V>(g, groups * cg, s.h, s.w, x, source);
    for (Index i = 0; i < kConvSlack; ++i) source[i] = 0;
  }
  Index* offset = a.offset;
  for (Index c = 0; c < cg; ++c)
    for (Index i = 0; i < s.kh; ++i)
      for (Index j = 0; j < s.kw; ++j) {
        const Index ih = i * s.dilation_h, iw = j * s.dilation_w;
        const Index phase = ih % s.stride_h * g.phases_w + iw % s.stride_w;
        *offset++ = c * channel + phase * plane + ih / s.stride_h * pitch + iw / s.stride_w;
      }
  const Index o = a.group * og + a.m_begin;
  job.images = a.image_end - a.image_begin;
  job.rows = rows;
  job.cols = out_w;
  job.offset = a.offset;
  job.k = cg * taps;
  job.k_block = conv_depth_block(job.k);
  job.w = static_cast<const T*>(a.weight) + o * job.k;
  job.ldw = job.k;
  job.m = a.m_end - a.m_begin;
  job.y = static_cast<T*>(a.out) + ((a.image_begin * s.o + o) * out_h + a.row_begin) * out_w;
  job.y_image = s.o * out_h * out_w;
  job.y_channel = out_h * out_w;
  job.y_row = out_w;
  job.y_col = 1;
  job.bias = a.epilogue.bias ? static_cast<const T*>(a.epilogue.bias) + o : nullptr;
  job.activation = a.epilogue.activation;
  job.slope = T(a.epilogue.slope);
  job.partial = static_cast<T*>(a.partial);
  for (Index group = a.group; group < a.group_end; ++group) {
    if (packed) {
      const T* w = static_cast<const T*>(a.packed.weights) + group * a.packed.lines * job.k;
      const PackedPhase<T> all{a.offset, job.k, w};
      run_packed<V>(job, a.packed, {&all, 1, 1, rows, out_w});
    } else {
      run_job<V>(job);
    }
    job.x += cg * channel;
    job.w += og * job.k;
    job.y += og * job.y_channel;
    if (job.bias) job.bias += og;
  }
}

template <class V>
void input_grad(const ConvPart& a) {
  using T = typename V::T;
  const ConvShape& s = a.shape;
  const Index cg = s.group_c(), og = s.group_o(), out_h = s.out_h(), out_w = s.out_w();
  const ConvSource g = input_grad_source(s, a.row_begin, a.row_end);
  const T* dy = static_cast<const T*>(a.in) + (a.image_begin * s.o + a.group * og) * out_h * out_w;
  const Index narrowest = s.w / s.stride_w;  // columns of the phase that has the fewest

  const bool inside = g.first_h >= 0 && g.first_w >= 0 && g.first_h + g.rows <= out_h &&
                      g.first_w + g.cols <= out_w;
  const bool packed = a.packed.weights;
  const bool direct =
      inside && (packed || (narrowest >= V::N && !same_cache_sets<T>(out_h * out_w, og)));

  Job<T> job{};
  const Index groups = a.group_end - a.group;
  Index channel, pitch;
  if (direct) {
    channel = out_h * out_w;
    pitch = out_w;
    job.x = dy + g.first_h * out_w + g.first_w;
    job.x_image = s.o * out_h * out_w;
  } else {
    channel = g.channel();
    pitch = g.cols;
    T* source = static_cast<T*>(a.source);
    job.x = source;
    job.slack = true;
    job.x_image = groups * og * channel;
    for (Index n = a.image_begin; n < a.image_end; ++n) {
      prepare_channels<V>(g, groups * og, out_h, out_w, dy, source);
      dy += s.o * out_h * out_w;
      source += job.x_image;
    }
    for (Index i = 0; i < kConvSlack; ++i) source[i] = 0;
  }
  Index group = a.group, m = group * cg + a.m_begin;
  const Index sums = og * s.kh * s.kw;
  const Index h_min = grad_tap(s.kh - 1, s.dilation_h, s.pad_h, s.stride_h).q;
  const Index w_min = grad_tap(s.kw - 1, s.dilation_w, s.pad_w, s.stride_w).q;
  job.images = a.image_end - a.image_begin;
  job.x_row = pitch;
  job.offset = a.offset;
  job.ldw = sums;
  job.m = a.m_end - a.m_begin;
  job.y_image = s.c * s.h * s.w;
  job.y_channel = s.h * s.w;
  job.y_row = s.stride_h * s.w;
  job.y_col = s.stride_w;
  job.bias = a.epilogue.bias ? static_cast<const T*>(a.epilogue.bias) + m : nullptr;
  job.activation = a.epilogue.activation;
  job.slope = T(a.epilogue.slope);
  job.partial = static_cast<T*>(a.partial);
  const bool pairs = job.m == 1 && s.stride_w == 2 && sums <= kConvDepth && !direct;
  PackedPhase<T> phases[kConvPhases];
  T* y = nullptr;  // of the group
  Index* offset = a.offset;
  const auto phase = [&](Index rh, Index rw, Index before, Index taps) {
    if (!packed && !(pairs && rw > 0)) offset = a.offset;
    const Index* const begin = offset;
    for (Index o = 0; o < og; ++o)
      for (Index i = 0; i < s.kh; ++i) {
        const GradTap row = grad_tap(i, s.dilation_h, s.pad_h, s.stride_h);
        for (Index j = 0; j < s.kw; ++j) {
          const GradTap col = grad_tap(j, s.dilation_w, s.pad_w, s.stride_w);
          if (row.phase == rh && col.phase == rw)
            *offset++ = o * channel + (row.q - h_min) * pitch + col.q - w_min;
        }
      }
    if (packed) {
      const T* w =
          static_cast<const T*>(a.packed.weights) + a.packed.lines * (group * sums + og * before);
      phases[rh * s.stride_w + rw] = {begin, og * taps, w};
      return;
    }
    job.rows = round_up_div(a.row_end - a.row_begin - rh, s.stride_h);
    job.y = y + rh * s.w;
    if (pairs) {
      phases[rw] = {begin, og * taps, static_cast<const T*>(a.transposed) + m * sums + og * before};
      if (rw == 0 || job.rows <= 0) return;
      job.cols = round_up_div(s.w, 2);
      return run_row_pairs<V>(job, phases, s.w);
    }
    job.y += rw;
    job.cols = round_up_div(s.w - rw, s.stride_w);
    job.k = og * taps;
    job.k_block = conv_depth_block(job.k);
    job.w = static_cast<const T*>(a.transposed) + m * sums + og * before;
    run_job<V>(job);
  };
  for (; group < a.group_end; ++group, m += cg) {
    y = static_cast<T*>(a.out) + (a.image_begin * s.c + m) * s.h * s.w + a.row_begin * s.w;
    offset = a.offset;
    over_grad_phases(s, phase);
    if (packed) {
      const Index height = a.row_end - a.row_begin;
      job.rows = round_up_div(height, s.stride_h);
      job.cols = round_up_div(s.w, s.stride_w);
      job.y = y;
      run_packed<V>(job, a.packed, {phases, s.stride_h, s.stride_w, height, s.w});
    }
    job.x += og * channel;
    if (job.bias) job.bias += cg;
  }
}

}  // namespace

void conv_forward_f32(const ConvPart& part) { forward<F32>(part); }
void conv_forward_f64(const ConvPart& part) { forward<F64>(part); }
void conv_input_grad_f32(const ConvPart& part) { input_grad<F32>(part); }
void conv_input_grad_f64(const ConvPart& part) { input_grad<F64>(part); }

}  // namespace gradsmith::kernels::GS_ISA
