// What a forward pass or an input gradient is once its images are prepared.
#pragma once
#include "kernels/conv/prepare.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// A job: m x (images * rows * cols) outputs, each a sum of k products.
template <class T>
struct Job {
  Index images, rows, cols;
  const T* x;  // for output (0, 0, 0), before offset[k]
  Index x_image, x_row;
  Index x_col = 1;  // 2: only packed products
  bool slack;       // kConvSlack elements follow the last input
  const Index* offset;
  Index k, k_block;  // the sum is cut into blocks whose inputs fit into L1
  const T* w;
  Index ldw, m;
  T* y;
  Index y_image, y_channel, y_row, y_col;
  const T* bias;  // null or m values
  Activation activation;
  T slope;
  T* partial;
};

// acc = relu(acc + bias), for rows row .. row + MR - 1 (past the last row: of the last row). Other
// activations wait until the tile is in memory.
template <class V, int MR, int NV>
GS_INLINE void finish(V (&acc)[MR][NV], const Job<typename V::T>& job, Index row) {
  if (job.bias) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const V bias = V::set(job.bias[least(row + i, job.m - 1)]);
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) acc[i][v] = acc[i][v] + bias;
    }
  }
  if (job.activation == Activation::relu) {
    const V zero = V::zero();
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) acc[i][v] = select(lt(acc[i][v], zero), zero, acc[i][v]);
  }
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
