// A job as a product of packed operands: the inputs of some pixels are copied into the panels that
// gemm_block reads, for a block of the sum at a time, and the weights lie packed since the call
// began.
//
// A panel holds exactly the pixels that exist, whatever the width of a row: a run that ends inside
// a register is stored whole all the same, and what follows is written later.
#pragma once
#include "kernels/conv/job.h"
#include "kernels/conv/layout.h"
#include "kernels/simd/interleave.h"

namespace gradsmith::kernels::GS_ISA {

gemm_block_fn gemm_block_f32, gemm_block_f64;  // of the family gemm
gemm_finish_fn gemm_finish_f32, gemm_finish_f64;

namespace {

GS_INLINE void multiply(const GemmBlock& args, const float*) { gemm_block_f32(args); }
GS_INLINE void multiply(const GemmBlock& args, const double*) { gemm_block_f64(args); }
GS_INLINE void finish_sums(const GemmFinish& args, const float*) { gemm_finish_f32(args); }
GS_INLINE void finish_sums(const GemmFinish& args, const double*) { gemm_finish_f64(args); }

#if defined(GS_ISA_IS_avx512)
constexpr Index kRowTiles = 2;  // tiles of rows that pass all pixels of a group together
#else
constexpr Index kRowTiles = 8;
#endif
// Panels that a row of inputs is copied to at a time, where they come from memory row by row; those
// just prepared go panel by panel.
constexpr int kPanelsTogether = 8;

// Up to N neighbouring pixels, and where a panel holds them at its first depth.
template <class T>
struct PixelRun {
  const T* x;
  T* to;
  int count;
};

// The runs of pixels [first, first + count) of a job, counted through rows and images, whose panels
// are `panel` elements apart.
template <class V>
int runs_of(const Job<typename V::T>& job, Index first, int count, Index panel,
            typename V::T* panels, PixelRun<typename V::T>* runs) {
  constexpr int kPanel = 2 * V::N;
  const bool joined = job.x_row == job.cols && job.x_col == 1;
  const Index rows = joined ? 1 : job.rows, cols = joined ? job.rows * job.cols : job.cols;
  Index col = first % cols, row = first / cols % rows, image = first / cols / rows;
  int found = 0;
  for (int lane = 0; lane < count;) {
    const int room = int(least(kPanel - lane % kPanel, count - lane));
    const int now = int(least(least(V::N, cols - col), room));
    runs[found++] = {job.x + image * job.x_image + row * job.x_row + col * job.x_col,
                     panels + lane / kPanel * panel + lane % kPanel, now};
    lane += now;
    col += now;
    if (col < cols) continue;
    col = 0;
    if (++row == rows) row = 0, ++image;
  }
  return found;
}

template <class V>
GS_INLINE V load_pixels(const PixelRun<typename V::T>& run, Index at, Index step, bool whole) {
  if (step == 1)
    return whole || run.count == V::N ? load(run.x + at) : load_n(run.x + at, run.count);
  V even, odd;
  load_even_odd(run.x + at, 2 * run.count - 1, even, odd);
  return even;
}

// Copies `depth` inputs of each pixel, a row of inputs to all panels and then the next one. What a
// register spills over lies in pixels or depths that are written later, but for the last depth.
template <class V>
void copy_runs(const PixelRun<typename V::T>* runs, int count, const Index* offset, Index depth,
               Index step, bool whole) {
  constexpr Index kPanel = 2 * V::N;
  Index p = 0;
  if (whole) {
    for (; p < depth - 1; ++p)
      for (int r = 0; r < count; ++r) store(runs[r].to + p * kPanel, load(runs[r].x + offset[p]));
  } else {
    for (; p < depth - 1; ++p)
      for (int r = 0; r < count; ++r)
        store(runs[r].to + p * kPanel, load_pixels<V>(runs[r], offset[p], step, false));
  }
  for (int r = 0; r < count; ++r)
    store_n(runs[r].to + p * kPanel, load_pixels<V>(runs[r], offset[p], step, whole),
            runs[r].count);
}

template <class V>
void pack_pixels(const Job<typename V::T>& job, Index first, Index n, const Index* offset,
                 Index depth, typename V::T* panels) {
  constexpr Index kPanel = 2 * V::N;
  PixelRun<typename V::T> runs[kPanelsTogether * kPanel];
  const Index together = (job.slack ? 1 : kPanelsTogether) * kPanel;
  for (Index i = 0; i < n; i += together, panels += together * depth) {
    const int found =
        runs_of<V>(job, first + i, int(least(together, n - i)), kPanel * depth, panels, runs);
    bool whole = job.x_col == 1;
    for (int r = 0; r < found && whole && !job.slack; ++r) whole = runs[r].count == V::N;
    copy_runs<V>(runs, found, offset, depth, job.x_col, whole);
  }
}

// A phase of y's pixels: its own products, over the job's pixels. Without any, its values are one a
// channel.
template <class T>
struct PackedPhase {
  const Index* offset;
  Index k;
  const T* w;  // packed
};

// What a job's pixels become: each step_h x step_w pixels of y, as far as y's height and width go.
template <class T>
struct PackedPhases {
  const PackedPhase<T>* phase;
  Index step_h, step_w;
  Index height, width;
};

// What one phase gives to a row of y: sums, or the value of all its pixels.
template <class T>
struct PhaseRow {
  const T* sums;
  T value;
};

template <class V>
GS_INLINE V phase_at(const PhaseRow<typename V::T>& from, Index i) {
  return from.sums ? load(from.sums + i) : V::set(from.value);
}

// Stores v at `to`: whole before `spill`, up to where memory may be overwritten for now, else what
// lies before `end`.
template <class V>
GS_INLINE void store_before(typename V::T* to, V v, const typename V::T* end,
                            const typename V::T* spill) {
  if (spill - to >= V::N) {
    store(to, v);
  } else if (to < end) {
    store_n(to, v, int(least(end - to, V::N)));
  }
}

// dst[i * step + s] = element i of from[s], as far as `end`.
template <class V>
void join_phases(typename V::T* dst, const typename V::T* end, const typename V::T* spill,
                 const PhaseRow<typename V::T>* from, Index step) {
  if (step == 1) {
    for (Index i = 0; dst + i < end; i += V::N)
      store_before(dst + i, phase_at<V>(from[0], i), end, spill);
  } else if (step == 2) {
    for (Index i = 0; dst + 2 * i < end; i += V::N) {
      V low, high;
      interleave(phase_at<V>(from[0], i), phase_at<V>(from[1], i), low, high);
      store_before(dst + 2 * i, low, end, spill);
      store_before(dst + 2 * i + V::N, high, end, spill);
    }
  } else {
#pragma GCC unroll 1
    for (Index i = 0; dst + i < end; ++i) {
      const PhaseRow<typename V::T>& now = from[i % step];
      dst[i] = now.sums ? now.sums[i / step] : now.value;
    }
  }
}

// Pixels [first, first + n) of y from their sums, a row of `pitch` elements a channel, channel
// after channel of the first phase, then of the next; or from values[channel].
template <class V>
void write_pixels(const Job<typename V::T>& job, const PackedPhases<typename V::T>& y, Index first,
                  Index n, const typename V::T* sums, Index pitch, const typename V::T* values) {
  using T = typename V::T;
  const bool joined = y.step_h * y.step_w == 1;  // rows of y follow each other
  const Index image = job.rows * job.cols, cols = joined ? image : job.cols;
  const Index height = joined ? 1 : y.height, width = joined ? image : y.width;
  for (Index channel = 0; channel < job.m; ++channel)
    for (Index i = 0; i < n;) {
      const Index at = first + i, row = at % image / cols, col = at % cols;
      const Index now = least(n - i, cols - col);
      T* const plane = job.y + at / image * job.y_image + channel * job.y_channel;
      const T* const plane_end = plane + height * width;
      const T* from = sums + channel * pitch + i;
      for (Index a = 0; a < y.step_h; ++a) {
        PhaseRow<T> phases[kConvPhases];
        for (Index b = 0; b < y.step_w; ++b) {
          const bool real = y.phase[a * y.step_w + b].k > 0;
          phases[b] = {real ? from : nullptr, values[channel]};
          if (real) from += job.m * pitch;
        }
        if (row * y.step_h + a >= height) break;
        T* const dst = plane + (row * y.step_h + a) * width + col * y.step_w;
        const T* const end = dst + least(now * y.step_w, width - col * y.step_w);
        // What is spilled by a piece that begins a row lies in pixels that are written later.
        join_phases<V>(dst, end, col == 0 ? plane_end : end, phases, y.step_w);
      }
      i += now;
    }
}

// y of a job.
template <class V>
void run_packed(const Job<typename V::T>& job, const ConvPacked& packed,
                const PackedPhases<typename V::T>& y) {
  using T = typename V::T;
  constexpr Index kPanel = 2 * V::N;
  const Index image = job.rows * job.cols, pixels = job.images * image;
  const Index count = y.step_h * y.step_w;
  T* const panels = static_cast<T*>(packed.panels);
  T* const sums = static_cast<T*>(packed.sums);
  T* const values = sums + packed.phases * job.m * packed.group;
  Epilogue epilogue;
  epilogue.bias = {.data = job.bias, .rs = 1, .cs = 0};
  epilogue.activation = job.activation;
  epilogue.slope = job.slope;
  const bool has_epilogue = job.bias || job.activation != Activation::none;
  GemmTarget target{};
  target.alpha = 1;
  target.epilogue = has_epilogue ? &epilogue : nullptr;
  target.c = {.data = values, .rs = 1, .cs = 1};
  if (packed.phases < count) finish_sums({job.m, 1, nullptr, 0, target}, panels);
  // Panels across images where their own pixels would leave too many lanes empty.
  const Index lanes = round_up_div(image, V::N) * V::N;
  const Index run = job.images > 1 && lanes * 10 > image * 11 ? pixels : image;
  // Pixels of one image whose rows follow each other are stored where they belong, others wait in
  // `sums`.
  const bool direct = count == 1 && run == image;
  const Index step = direct ? kRowTiles * packed.width : job.m;
  for (Index begin = 0; begin < pixels; begin += run) {
    for (Index first = begin; first < begin + run; first += packed.group) {
      const Index n = least(packed.group, begin + run - first);
      T* phase_sums = sums;
      for (Index phase = 0; phase < count; ++phase) {
        const PackedPhase<T>& now = y.phase[phase];
        if (now.k == 0) continue;
        if (direct) {
          target.c = {.data = job.y + begin / image * job.y_image, .rs = job.y_channel, .cs = 1};
          target.column = first - begin;
        } else {
          target.c = {.data = phase_sums, .rs = packed.group, .cs = 1};
          phase_sums += job.m * packed.group;
        }
        const Index depth = conv_depth_block(now.k);
        for (Index k0 = 0; k0 < now.k; k0 += depth) {
          const Index k = least(depth, now.k - k0);
          pack_pixels<V>(job, first, n, now.offset + k0, k, panels);
          target.beta = k0 == 0 ? 0 : 1;
          target.epilogue = has_epilogue && k0 + k == now.k ? &epilogue : nullptr;
          // Few rows through all pixels, then the next: y is written in long runs.
          for (target.row = 0; target.row < job.m; target.row += step) {
            multiply({.m = least(step, job.m - target.row),
                      .n = n,
                      .k = k,
                      .depth_step = k,
                      .mr = packed.width,
                      .a = now.w + k0 * packed.lines + (packed.line + target.row) * k,
                      .a_panel = packed.width * k,
                      .a_line = 1,
                      .a_depth = packed.width,
                      .b = panels,
                      .b_panel = kPanel * k,
                      .b_depth = kPanel,
                      .sums = nullptr,
                      .target = target,
                      .entries = 1,
                      .a_entry = 0,
                      .b_entry = 0},
                     panels);
          }
        }
      }
      if (!direct) write_pixels<V>(job, y, first, n, sums, packed.group, values);
    }
  }
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
