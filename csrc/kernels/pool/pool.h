// Pooling over the last two dimensions of contiguous planes (NCHW: one plane per image and
// channel; 1-D pooling is h = kernel_h = 1).
//
//     max       y[o] = max of the window,  index[o] = where: ih * w + iw in its own plane
//     average   y[o] = sum of the window / divisor
//     adaptive  window o spans floor(o * in / out) .. ceil((o + 1) * in / out), each dimension
//
// The window of output (oh, ow) is the inputs (oh * stride_h - pad_h + i * dilation_h, ...) that
// exist, 0 <= i < kernel_h. As in PyTorch: the first of equal maxima wins, but a NaN beats any
// number and the last NaN wins; a window of -inf alone points at its first element.
//
// Contract: outputs are written completely, never read, and must not overlap inputs. All arrays
// are contiguous. Backward kernels write the whole of dx. Any dimension may be 0, but every max
// window must hold an element: pad <= kernel / 2 and pool_windows_meet.
//
// Idea: vectors run along output columns whose windows lie inside the row, for stride 1 with plain
// loads and for stride 2 with even/odd loads; the few border columns and other strides are scalar.
// The position of the maximum rides along as a float (exact below 2^24; wider windows go scalar).
#pragma once
#include <cstdint>

#include "kernels/kernel.h"

namespace gradsmith::kernels {

struct PoolShape {
  std::int64_t planes, h, w;  // planes = images * channels
  std::int64_t out_h, out_w;
  std::int64_t kernel_h, kernel_w;
  std::int64_t stride_h, stride_w;
  std::int64_t pad_h = 0, pad_w = 0;  // on both sides
  std::int64_t dilation_h = 1, dilation_w = 1;
};

struct MaxPool {
  PoolShape shape;
  void* y;
  std::int64_t* index;  // null: not wanted
  const void* x;
};
GS_KERNEL(max_pool, void(const MaxPool& args));

// divisor_override > 0 replaces the divisor; otherwise it is the number of window elements, with
// count_include_pad those in the padding too (but not those that ceil_mode adds beyond it).
// Dilation must be 1.
struct AvgPool {
  PoolShape shape;
  void* y;
  const void* x;
  bool count_include_pad = true;
  std::int64_t divisor_override = 0;
};
GS_KERNEL(avg_pool, void(const AvgPool& args));

struct AvgPoolBackward {
  PoolShape shape;
  void* dx;
  const void* dy;
  bool count_include_pad = true;
  std::int64_t divisor_override = 0;
};
GS_KERNEL(avg_pool_backward, void(const AvgPoolBackward& args));

struct AdaptivePool {
  std::int64_t planes, h, w, out_h, out_w;
  void* y;
  std::int64_t* index;  // of the maximum; null where not wanted and for the average
  const void* x;
};
GS_KERNEL(adaptive_max_pool, void(const AdaptivePool& args));
GS_KERNEL(adaptive_avg_pool, void(const AdaptivePool& args));

struct AdaptivePoolBackward {
  std::int64_t planes, h, w, out_h, out_w;
  void* dx;
  const void* dy;
};
GS_KERNEL(adaptive_avg_pool_backward, void(const AdaptivePoolBackward& args));

// Max pooling is y[o] = x[index[o]] once the indices are known: the adjoint adds, the second
// derivative gathers again.
struct PoolScatter {
  std::int64_t planes, in_size, out_size;  // elements of a plane of x and of y
  void* dx;                                // dx = 0; dx[index[o]] += dy[o] in the order of o
  const std::int64_t* index;
  const void* dy;
};
GS_KERNEL(pool_scatter, void(const PoolScatter& args));

struct PoolGather {
  std::int64_t planes, in_size, out_size;
  void* y;  // y[o] = x[index[o]]
  const std::int64_t* index;
  const void* x;
};
GS_KERNEL(pool_gather, void(const PoolGather& args));

// Output size of one dimension as PyTorch computes it: with ceil_mode a last partial window counts
// when it starts inside the input or its left padding.
inline std::int64_t pool_output_size(std::int64_t in, std::int64_t kernel, std::int64_t stride,
                                     std::int64_t pad, std::int64_t dilation, bool ceil_mode) {
  const std::int64_t room = in + 2 * pad - dilation * (kernel - 1) - 1;
  if (room < 0 && !(ceil_mode && room > -stride)) return 0;
  std::int64_t out = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  if (ceil_mode && (out - 1) * stride >= in + pad) --out;
  return out;
}

// Whether every window of one dimension meets the input. Only taps further apart than the input is
// long can all miss it; then max pooling has nothing to choose from.
inline bool pool_windows_meet(std::int64_t in, std::int64_t out, std::int64_t kernel,
                              std::int64_t stride, std::int64_t pad, std::int64_t dilation) {
  if (dilation <= in) return true;
  for (std::int64_t o = 0; o < out; ++o) {
    const std::int64_t first = o * stride - pad;
    const std::int64_t tap = first >= 0 ? 0 : (-first + dilation - 1) / dilation;
    if (tap >= kernel || first + tap * dilation >= in) return false;
  }
  return true;
}

// ---- Drivers: split the planes over the threads ---------------------------------------------
#if !defined(GS_ISA)
GS_API void max_pool2d(DType dtype, const MaxPool& args);
GS_API void avg_pool2d(DType dtype, const AvgPool& args);
GS_API void avg_pool2d_backward(DType dtype, const AvgPoolBackward& args);
GS_API void adaptive_max_pool2d(DType dtype, const AdaptivePool& args);
GS_API void adaptive_avg_pool2d(DType dtype, const AdaptivePool& args);
GS_API void adaptive_avg_pool2d_backward(DType dtype, const AdaptivePoolBackward& args);
GS_API void max_pool2d_backward(DType dtype, const PoolScatter& args);
GS_API void max_pool2d_gather(DType dtype, const PoolGather& args);
#endif

}  // namespace gradsmith::kernels
