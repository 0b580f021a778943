// Jobs with one row of weights: depthwise convolution.
#pragma once
#include "kernels/conv/job.h"
#include "kernels/conv/packed.h"
#include "kernels/simd/activate.h"
#include "kernels/simd/interleave.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// One row of weights (depthwise convolution): R rows of NV neighbouring vectors at a time, so that
// a tap is one weight and R * NV loads at constant distances. Rows shorter than a vector are stored
// whole as long as what follows is written later.
template <class V, int NV, int R>
GS_INLINE void rows_at(const Job<typename V::T>& job, Index n, Index r) {
  using T = typename V::T;
  constexpr Index kLanes = NV * V::N;
  const bool late = job.activation != Activation::none && job.activation != Activation::relu;
  const T* const x = job.x + n * job.x_image + r * job.x_row;
  T* const y = job.y + n * job.y_image + r * job.y_row;
  for (Index c = 0; c < job.cols; c += kLanes) {
    const Index at = most(0, least(c, job.cols - kLanes));
    V acc[1][R * NV];
#pragma GCC unroll 4
    for (int v = 0; v < R * NV; ++v) acc[0][v] = V::zero();
    for (Index p = 0; p < job.k; ++p) {
      const T* q = x + at + job.offset[p];
      const V w = V::set(job.w[p]);
#pragma GCC unroll 4
      for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v)
          acc[0][i * NV + v] = fma(w, load(q + i * job.x_row + v * V::N), acc[0][i * NV + v]);
    }
    finish<V, 1, R * NV>(acc, job, 0);
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        V sum = acc[0][i * NV + v];
        if (late) sum = activate(sum, job.activation, job.slope);
        T* const to = y + i * job.y_row + at + v * V::N;
        if (job.cols >= kLanes ||
            (job.y_row == job.cols && (job.rows - r - i) * job.cols >= kLanes)) {
          store(to, sum);
        } else {
          store_n(to, sum, int(job.cols));
        }
      }
  }
}

template <class V, int NV>
void run_rows(const Job<typename V::T>& job) {
  constexpr int kRows = 4 / NV;
  for (Index n = 0; n < job.images; ++n) {
    Index r = 0;
    for (; r + kRows <= job.rows; r += kRows) rows_at<V, NV, kRows>(job, n, r);
    for (; r < job.rows; ++r) rows_at<V, NV, 1>(job, n, r);
  }
}

// The same where the columns of y are two phases (input gradient with stride 2): `columns` in all.
template <class V, int R>
GS_INLINE void row_pairs_at(const Job<typename V::T>& job, const PackedPhase<typename V::T>* phases,
                            Index columns, Index n, Index r) {
  using T = typename V::T;
  const T* const x = job.x + n * job.x_image + r * job.x_row;
  T* const y = job.y + n * job.y_image + r * job.y_row;
  for (Index c = 0; c < job.cols; c += V::N) {
    V sums[2][1][R];
#pragma GCC unroll 2
    for (int phase = 0; phase < 2; ++phase) {
      V(&acc)[1][R] = sums[phase];
#pragma GCC unroll 4
      for (int i = 0; i < R; ++i) acc[0][i] = V::zero();
      for (Index p = 0; p < phases[phase].k; ++p) {
        const T* const q = x + c + phases[phase].offset[p];
        const V w = V::set(phases[phase].w[p]);
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i) acc[0][i] = fma(w, load(q + i * job.x_row), acc[0][i]);
      }
      finish<V, 1, R>(acc, job, 0);
    }
    const Index left = columns - 2 * c;
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
      T* const to = y + i * job.y_row + 2 * c;
      V low, high;
      interleave(activate(sums[0][0][i], job.activation, job.slope),
                 activate(sums[1][0][i], job.activation, job.slope), low, high);
      if (left >= 2 * V::N) {
        store(to, low);
        store(to + V::N, high);
      } else {
        store_n(to, low, int(least(left, V::N)));
        if (left > V::N) store_n(to + V::N, high, int(left - V::N));
      }
    }
  }
}

template <class V>
void run_row_pairs(const Job<typename V::T>& job, const PackedPhase<typename V::T>* phases,
                   Index columns) {
  for (Index n = 0; n < job.images; ++n) {
    Index r = 0;
    for (; r + 4 <= job.rows; r += 4) row_pairs_at<V, 4>(job, phases, columns, n, r);
    for (; r < job.rows; ++r) row_pairs_at<V, 1>(job, phases, columns, n, r);
  }
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
