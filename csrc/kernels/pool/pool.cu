// Pooling: maximum with its position, average, adaptive windows, and the adjoints.
//
// Contract    see cuda_abi_index.h and pool.h: the CPU's positions; sums in the order of the window
//             (of the outputs, in the adjoints), so that results do not depend on the launch.
// Floor       The image once, the outputs once (and 8 bytes a position).
// Algorithm   A thread an element of what is written. Neighbours in a row share most of their
//             windows, which the caches serve. The adjoints gather too: a thread goes through the
//             outputs whose windows hold its pixel, few for usual windows, and for the maximum
//             takes those whose position is its own. No atomics.
#include <math.h>

#include "kernels/elementwise/elementwise.cuh"

namespace gradsmith::cuda {
namespace {

struct Range {
  std::int64_t begin, end, step;
};

// One dimension of the windows.
struct Axis {
  std::int64_t in, out, kernel, stride, pad, dilation;
  bool adaptive;

  // The inputs of window o that exist.
  __device__ Range window(std::int64_t o) const {
    if (adaptive) return {o * in / out, ((o + 1) * in + out - 1) / out, 1};
    std::int64_t begin = o * stride - pad;
    const std::int64_t end = begin + (kernel - 1) * dilation + 1;
    if (begin < 0) begin += (-begin + dilation - 1) / dilation * dilation;
    return {begin, end < in ? end : in, dilation};
  }
  // The outputs whose windows may hold input i: with dilation not all of them do.
  __device__ Range outputs(std::int64_t i) const {
    if (adaptive) return {i * out / in, ((i + 1) * out + in - 1) / in, 1};
    const std::int64_t first = i + pad - (kernel - 1) * dilation, last = (i + pad) / stride + 1;
    return {first > 0 ? (first + stride - 1) / stride : 0, last < out ? last : out, 1};
  }
  // Length of window o; with the padding it may reach over.
  __device__ std::int64_t length(std::int64_t o, bool with_padding) const {
    if (adaptive || !with_padding) {
      const Range r = window(o);
      return r.end - r.begin;
    }
    const std::int64_t begin = o * stride - pad, end = begin + kernel;
    return (end < in + pad ? end : in + pad) - begin;
  }
};

template <class T>
struct PoolParams {
  Axis rows, columns;
  std::int64_t numel;  // of what is written
  T* out;
  std::int64_t* index;
  const T* in;
  bool with_padding;
  std::int64_t divisor_override;

  __device__ T divisor(std::int64_t oh, std::int64_t ow) const {
    return T(divisor_override ? divisor_override
                              : rows.length(oh, with_padding) * columns.length(ow, with_padding));
  }
};

// Element i of planes of h x w pixels.
struct Pixel {
  std::int64_t plane, row, column;
};
inline __device__ Pixel pixel(std::int64_t i, std::int64_t h, std::int64_t w, std::int64_t numel) {
  if (numel <= 0x7fffffff) {
    const std::uint32_t line = std::uint32_t(i) / std::uint32_t(w), plane = line / std::uint32_t(h);
    return {plane, line - plane * std::uint32_t(h), std::uint32_t(i) - line * std::uint32_t(w)};
  }
  const std::int64_t line = i / w, plane = line / h;
  return {plane, line - plane * h, i - line * w};
}

template <class T, PoolOp kOp>
__global__ void pool_kernel(PoolParams<T> p) {
  constexpr bool kForward = kOp == PoolOp::max || kOp == PoolOp::average || kOp == PoolOp::pick;
  const std::int64_t i = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= p.numel) return;
  const Axis &rows = p.rows, &columns = p.columns;
  const Pixel at =
      kForward ? pixel(i, rows.out, columns.out, p.numel) : pixel(i, rows.in, columns.in, p.numel);
  const std::int64_t in_plane = rows.in * columns.in, out_plane = rows.out * columns.out;
  const T* const in = p.in + at.plane * (kForward ? in_plane : out_plane);
  if constexpr (kOp == PoolOp::pick) {
    p.out[i] = in[p.index[i]];
    return;
  }
  const Range h = kForward ? rows.window(at.row) : rows.outputs(at.row);
  const Range w = kForward ? columns.window(at.column) : columns.outputs(at.column);
  if constexpr (kOp == PoolOp::max) {
    T best = T(-INFINITY);
    std::int64_t where = -1;
    GS_NO_UNROLL
    for (std::int64_t ih = h.begin; ih < h.end; ih += h.step) {
      GS_NO_UNROLL
      for (std::int64_t iw = w.begin; iw < w.end; iw += w.step) {
        const T v = in[ih * columns.in + iw];
        if (where < 0 || v > best || v != v) {  // the last NaN wins
          best = v;
          where = ih * columns.in + iw;
        }
      }
    }
    p.out[i] = best;
    if (p.index) p.index[i] = where;
  } else if constexpr (kOp == PoolOp::average) {
    T sum = 0;
    GS_NO_UNROLL
    for (std::int64_t ih = h.begin; ih < h.end; ++ih) {
      GS_NO_UNROLL
      for (std::int64_t iw = w.begin; iw < w.end; ++iw) sum += in[ih * columns.in + iw];
    }
    p.out[i] = sum / p.divisor(at.row, at.column);
  } else {
    const std::int64_t me = at.row * columns.in + at.column;
    T sum = 0;
    GS_NO_UNROLL
    for (std::int64_t oh = h.begin; oh < h.end; ++oh) {
      GS_NO_UNROLL
      for (std::int64_t ow = w.begin; ow < w.end; ++ow) {
        const std::int64_t o = oh * columns.out + ow;
        if constexpr (kOp == PoolOp::average_backward)
          sum += in[o] / p.divisor(oh, ow);
        else if (p.index[at.plane * out_plane + o] == me)
          sum += in[o];
      }
    }
    p.out[i] = sum;
  }
}

template <class T, PoolOp kOp>
int launch_pool(const PoolArgs& a, void* stream) {
  const bool forward = kOp == PoolOp::max || kOp == PoolOp::average || kOp == PoolOp::pick;
  const std::int64_t numel = a.planes * (forward ? a.out_h * a.out_w : a.h * a.w);
  if (numel == 0) return kOk;
  const std::int64_t blocks = blocks_for(numel, 1);
  if (blocks > kMaxGridX)
    return fail(kFailed, "pool: " + std::to_string(numel) + " elements are too many");
  const PoolParams<T> p{{a.h, a.out_h, a.kernel_h, a.stride_h, a.pad_h, a.dilation_h, a.adaptive},
                        {a.w, a.out_w, a.kernel_w, a.stride_w, a.pad_w, a.dilation_w, a.adaptive},
                        numel,
                        static_cast<T*>(a.out),
                        a.index,
                        static_cast<const T*>(a.in),
                        a.count_include_pad,
                        a.divisor_override};
  return launch("pool", pool_kernel<T, kOp>, dim3(unsigned(blocks)), dim3(kThreads), 0, stream, p);
}

template <class T>
int launch_op(const PoolArgs& a, void* stream) {
  switch (a.op) {
    case PoolOp::max:
      return launch_pool<T, PoolOp::max>(a, stream);
    case PoolOp::average:
      return launch_pool<T, PoolOp::average>(a, stream);
    case PoolOp::average_backward:
      return launch_pool<T, PoolOp::average_backward>(a, stream);
    case PoolOp::pick:
      return launch_pool<T, PoolOp::pick>(a, stream);
    default:
      return launch_pool<T, PoolOp::unpick>(a, stream);
  }
}

}  // namespace

int pool(const PoolArgs& a, void* stream) {
  return a.dtype == DType::f64 ? launch_op<double>(a, stream) : launch_op<float>(a, stream);
}

}  // namespace gradsmith::cuda
