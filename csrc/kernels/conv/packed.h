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

// Up to N neighbouring pixels of a panel.
template <class T>
struct PixelRun {
  const T* x;
  int lane, count;
};

// The runs of pixels [first, first + count) of a job, counted through rows and images.
template <class V>
int runs_of(const Job<typename V::T>& job, Index first, int count, PixelRun<typename V::T>* runs) {
  const bool joined = job.x_row == job.cols;
  const Index rows = joined ? 1 : job.rows, cols = joined ? job.rows * job.cols : job.cols;
  Index col = first % cols, row = first / cols % rows, image = first / cols / rows;
  int found = 0;
  for (int lane = 0; lane < count;) {
    const int now = int(least(least(V::N, cols - col), count - lane));
    runs[found++] = {job.x + image * job.x_image + row * job.x_row + col, lane, now};
    lane += now;
    col += now;
    if (col < cols) continue;
    col = 0;
    if (++row == rows) row = 0, ++image;
  }
  return found;
}

// `slack`: whole registers may be read at any run.
template <class V>
void pack_pixels(typename V::T* dst, const PixelRun<typename V::T>* runs, int count,
                 const Index* offset, Index depth, bool slack) {
  constexpr int kPanel = 2 * V::N;
  if (count == 2 && runs[0].count == V::N && runs[1].count == V::N) {
    const typename V::T *a = runs[0].x, *b = runs[1].x;
    for (Index p = 0; p < depth; ++p, dst += kPanel) {
      store(dst, load(a + offset[p]));
      store(dst + V::N, load(b + offset[p]));
    }
    return;
  }
  if (slack) {
    for (Index p = 0; p < depth; ++p, dst += kPanel) {
      const Index at = offset[p];
      for (int r = 0; r < count; ++r) store(dst + runs[r].lane, load(runs[r].x + at));
    }
    return;
  }
  for (Index p = 0; p < depth; ++p, dst += kPanel) {
    const Index at = offset[p];
    for (int r = 0; r < count; ++r) {
      const typename V::T* const from = runs[r].x + at;
      store(dst + runs[r].lane, runs[r].count == V::N ? load(from) : load_n(from, runs[r].count));
    }
  }
}

// dst[i * step + phase] = sums[phase * apart + i] for i < count, as far as elements before `end`.
template <class V>
void join_phases(typename V::T* dst, const typename V::T* end, const typename V::T* sums,
                 Index apart, Index step, Index count) {
  Index i = 0;
  if (step == 1) {
    for (; i + V::N <= count; i += V::N) store(dst + i, load(sums + i));
  } else if (step == 2) {
    for (; i + V::N <= count && end - dst >= 2 * (i + V::N); i += V::N) {
      V low, high;
      interleave(load(sums + i), load(sums + apart + i), low, high);
      store(dst + 2 * i, low);
      store(dst + 2 * i + V::N, high);
    }
  }
#pragma GCC unroll 1
  for (; i < count; ++i)
    for (Index phase = 0; phase < step && dst + i * step + phase < end; ++phase)
      dst[i * step + phase] = sums[phase * apart + i];
}

// A phase of the columns of y: its own products, over the job's pixels.
template <class T>
struct PackedPhase {
  const Index* offset;
  Index k;
  const T* w;  // packed
};

// y of a job whose columns come in `phases` interleaved ones (one for stride 1). y_end: columns of
// a row of y, all phases together.
template <class V>
void run_packed(const Job<typename V::T>& job, const ConvPacked& packed,
                const PackedPhase<typename V::T>* phases, int count, Index y_end) {
  using T = typename V::T;
  constexpr Index kPanel = 2 * V::N;
  const Index image = job.rows * job.cols, pixels = job.images * image;
  T* const panels = static_cast<T*>(packed.panels);
  T* const sums = static_cast<T*>(packed.sums);
  Epilogue epilogue;
  epilogue.bias = {.data = job.bias, .rs = 1, .cs = 0};
  epilogue.activation = job.activation;
  epilogue.slope = job.slope;
  const bool in_place = job.y_col == 1 && job.y_row == job.cols;
  const bool has_epilogue = job.bias || job.activation != Activation::none;
  // Panels across images where their own pixels would leave too many lanes empty.
  const Index lanes = round_up_div(image, V::N) * V::N;
  const Index run = job.images > 1 && lanes * 10 > image * 11 ? pixels : image;
  // Pixels of one image whose rows follow each other are stored where they belong, others wait in
  // `sums`, in pieces of `joined` neighbours.
  const bool direct = in_place && run == image;
  const Index joined = in_place ? image : job.cols;
  for (Index begin = 0; begin < pixels; begin += run) {
    for (Index first = begin; first < begin + run; first += packed.group) {
      const Index n = least(packed.group, begin + run - first);
      for (int phase = 0; phase < count; ++phase) {
        GemmTarget target{};
        target.alpha = 1;
        if (direct) {
          target.c = {.data = job.y + begin / image * job.y_image, .rs = job.y_channel, .cs = 1};
          target.column = first - begin;
        } else {
          target.c = {.data = sums + phase * job.m * packed.group, .rs = packed.group, .cs = 1};
        }
        const PackedPhase<T>& now = phases[phase];
        if (now.k == 0) {
          target.epilogue = has_epilogue ? &epilogue : nullptr;
          finish_sums({job.m, n, nullptr, 0, target}, panels);
        }
        const Index depth = conv_depth_block(now.k);
        for (Index k0 = 0; k0 < now.k; k0 += depth) {
          const Index k = least(depth, now.k - k0);
          T* panel = panels;
          for (Index i = 0; i < n; i += kPanel, panel += kPanel * k) {
            PixelRun<T> runs[kPanel];
            const int found = runs_of<V>(job, first + i, int(least(kPanel, n - i)), runs);
            pack_pixels<V>(panel, runs, found, now.offset + k0, k, job.slack);
          }
          target.beta = k0 == 0 ? 0 : 1;
          target.epilogue = has_epilogue && k0 + k == now.k ? &epilogue : nullptr;
          multiply({.m = job.m,
                    .n = n,
                    .k = k,
                    .depth_step = k,
                    .mr = packed.width,
                    .a = now.w + k0 * packed.lines + packed.line * k,
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
      if (direct) continue;
      for (Index channel = 0; channel < job.m; ++channel)
        for (Index i = 0; i < n;) {
          const Index at = first + i, inside = at % image, col = inside % joined;
          const Index now = least(n - i, joined - col);
          T* const y = job.y + at / image * job.y_image + channel * job.y_channel +
                       inside / joined * job.y_row;
          const T* const end = y + (in_place ? image : y_end);
          join_phases<V>(y + col * count, end, sums + channel * packed.group + i,
                         job.m * packed.group, count, now);
          i += now;
        }
    }
  }
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
