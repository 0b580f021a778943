// Splits a softmax over threads. Every softmax is computed whole by one leaf call, so no split can
// change its bits.
#include <algorithm>

#include "kernels/softmax/softmax.h"
#include "runtime/parallel.h"

namespace gradsmith::kernels {
namespace {

// Elements worth a thread: about 20 us of work, what waking a sleeping worker costs.
constexpr std::int64_t kGrain = 32 * 1024;
// Columns are handed out in whole cache lines, so that threads do not share one.
constexpr std::int64_t kColumnUnit = 64;

std::int64_t rows_per_chunk(std::int64_t n) { return std::max<std::int64_t>(1, kGrain / n); }

void* at(const SoftmaxView& view, DType dtype, std::int64_t outer, std::int64_t column) {
  return static_cast<char*>(view.data) +
         (outer * view.outer_stride + column) * std::int64_t(itemsize(dtype));
}

// Calls fn(outer, first_column, columns) for pieces of planes that together cover all planes.
template <class F>
void for_each_plane_piece(const SoftmaxProblem& p, F&& fn) {
  const std::int64_t units = (p.inner + kColumnUnit - 1) / kColumnUnit;  // per plane
  const std::int64_t grain =
      std::max<std::int64_t>(1, kGrain / (p.n * std::min(p.inner, kColumnUnit)));
  parallel_for(p.outer * units, grain, [&](std::int64_t begin, std::int64_t end) {
    while (begin < end) {
      const std::int64_t outer = begin / units, first = begin % units;
      const std::int64_t last = std::min(units, first + end - begin);
      const std::int64_t column = first * kColumnUnit;
      fn(outer, column, std::min(p.inner, last * kColumnUnit) - column);
      begin += last - first;
    }
  });
}

}  // namespace

void softmax_forward(const SoftmaxProblem& p, SoftmaxView y, SoftmaxView x) {
  if (p.outer * p.n * p.inner == 0) return;
  if (p.inner == 1) {
    const auto kernel = (p.log ? log_softmax_rows : softmax_rows).pick(p.dtype);
    parallel_for(p.outer, rows_per_chunk(p.n), [&](std::int64_t begin, std::int64_t end) {
      kernel({.y = at(y, p.dtype, begin, 0),
              .x = at(x, p.dtype, begin, 0),
              .rows = end - begin,
              .n = p.n,
              .y_stride = y.outer_stride,
              .x_stride = x.outer_stride});
    });
    return;
  }
  const auto kernel = (p.log ? log_softmax_cols : softmax_cols).pick(p.dtype);
  for_each_plane_piece(p, [&](std::int64_t outer, std::int64_t column, std::int64_t columns) {
    kernel({.y = at(y, p.dtype, outer, column),
            .x = at(x, p.dtype, outer, column),
            .n = p.n,
            .cols = columns,
            .y_stride = y.axis_stride,
            .x_stride = x.axis_stride});
  });
}

void softmax_backward(const SoftmaxProblem& p, SoftmaxView dx, SoftmaxView y, SoftmaxView g) {
  if (p.outer * p.n * p.inner == 0) return;
  if (p.inner == 1) {
    const auto kernel = (p.log ? log_softmax_rows_grad : softmax_rows_grad).pick(p.dtype);
    parallel_for(p.outer, rows_per_chunk(p.n), [&](std::int64_t begin, std::int64_t end) {
      kernel({.dx = at(dx, p.dtype, begin, 0),
              .y = at(y, p.dtype, begin, 0),
              .g = at(g, p.dtype, begin, 0),
              .rows = end - begin,
              .n = p.n,
              .dx_stride = dx.outer_stride,
              .y_stride = y.outer_stride,
              .g_stride = g.outer_stride});
    });
    return;
  }
  const auto kernel = (p.log ? log_softmax_cols_grad : softmax_cols_grad).pick(p.dtype);
  for_each_plane_piece(p, [&](std::int64_t outer, std::int64_t column, std::int64_t columns) {
    kernel({.dx = at(dx, p.dtype, outer, column),
            .y = at(y, p.dtype, outer, column),
            .g = at(g, p.dtype, outer, column),
            .n = p.n,
            .cols = columns,
            .dx_stride = dx.axis_stride,
            .y_stride = y.axis_stride,
            .g_stride = g.axis_stride});
  });
}

}  // namespace gradsmith::kernels
