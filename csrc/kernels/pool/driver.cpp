// Pooling drivers: every plane is independent, so the split never changes a bit.
#include "kernels/pool/pool.h"
#include "runtime/parallel.h"

namespace gradsmith::kernels {
namespace {

// About as many element visits as are worth waking a thread for.
constexpr std::int64_t kGrainElements = 1 << 15;

template <class P>
P* advance(P* p, std::int64_t elements, DType dtype) {
  using Byte = std::conditional_t<std::is_const_v<P>, const char, char>;
  return static_cast<Byte*>(p) + elements * std::int64_t(itemsize(dtype));
}

template <class F>
void over_planes(std::int64_t planes, std::int64_t in_size, std::int64_t out_work, F&& fn) {
  const std::int64_t work = in_size + out_work + 1;
  parallel_for(planes, kGrainElements / work + 1, fn);
}

}  // namespace

void max_pool2d(DType dtype, const MaxPool& args) {
  const PoolShape& s = args.shape;
  const std::int64_t in = s.h * s.w, out = s.out_h * s.out_w;
  const auto kernel = max_pool.pick(dtype);
  over_planes(s.planes, in, out * s.kernel_h * s.kernel_w, [&](std::int64_t b, std::int64_t e) {
    MaxPool part = args;
    part.shape.planes = e - b;
    part.y = advance(args.y, b * out, dtype);
    part.x = advance(args.x, b * in, dtype);
    if (part.index) part.index += b * out;
    kernel(part);
  });
}

void avg_pool2d(DType dtype, const AvgPool& args) {
  const PoolShape& s = args.shape;
  const std::int64_t in = s.h * s.w, out = s.out_h * s.out_w;
  const auto kernel = avg_pool.pick(dtype);
  over_planes(s.planes, in, out * s.kernel_h * s.kernel_w, [&](std::int64_t b, std::int64_t e) {
    AvgPool part = args;
    part.shape.planes = e - b;
    part.y = advance(args.y, b * out, dtype);
    part.x = advance(args.x, b * in, dtype);
    kernel(part);
  });
}

void avg_pool2d_backward(DType dtype, const AvgPoolBackward& args) {
  const PoolShape& s = args.shape;
  const std::int64_t in = s.h * s.w, out = s.out_h * s.out_w;
  const auto kernel = avg_pool_backward.pick(dtype);
  over_planes(s.planes, in, out * s.kernel_h * s.kernel_w, [&](std::int64_t b, std::int64_t e) {
    AvgPoolBackward part = args;
    part.shape.planes = e - b;
    part.dx = advance(args.dx, b * in, dtype);
    part.dy = advance(args.dy, b * out, dtype);
    kernel(part);
  });
}

namespace {
void run_adaptive(const AdaptivePool& args, DType dtype, void (*kernel)(const AdaptivePool&)) {
  const std::int64_t in = args.h * args.w, out = args.out_h * args.out_w;
  over_planes(args.planes, in, out, [&](std::int64_t b, std::int64_t e) {
    AdaptivePool part = args;
    part.planes = e - b;
    part.y = advance(args.y, b * out, dtype);
    part.x = advance(args.x, b * in, dtype);
    if (part.index) part.index += b * out;
    kernel(part);
  });
}

// Windows of one size side by side: an ordinary pooling, which has faster kernels.
template <class Args>
bool is_regular(const Args& a) {
  return a.out_h > 0 && a.out_w > 0 && a.h > 0 && a.w > 0 && a.h % a.out_h == 0 &&
         a.w % a.out_w == 0;
}
template <class Args>
PoolShape regular_shape(const Args& a) {
  const std::int64_t kh = a.h / a.out_h, kw = a.w / a.out_w;
  return {.planes = a.planes,
          .h = a.h,
          .w = a.w,
          .out_h = a.out_h,
          .out_w = a.out_w,
          .kernel_h = kh,
          .kernel_w = kw,
          .stride_h = kh,
          .stride_w = kw};
}
}  // namespace

void adaptive_max_pool2d(DType dtype, const AdaptivePool& args) {
  if (is_regular(args)) {
    max_pool2d(dtype,
               {.shape = regular_shape(args), .y = args.y, .index = args.index, .x = args.x});
  } else {
    run_adaptive(args, dtype, adaptive_max_pool.pick(dtype));
  }
}

void adaptive_avg_pool2d(DType dtype, const AdaptivePool& args) {
  if (is_regular(args)) {
    avg_pool2d(dtype, {.shape = regular_shape(args), .y = args.y, .x = args.x});
  } else {
    run_adaptive(args, dtype, adaptive_avg_pool.pick(dtype));
  }
}

void adaptive_avg_pool2d_backward(DType dtype, const AdaptivePoolBackward& args) {
  if (is_regular(args)) {
    avg_pool2d_backward(dtype, {.shape = regular_shape(args), .dx = args.dx, .dy = args.dy});
    return;
  }
  const std::int64_t in = args.h * args.w, out = args.out_h * args.out_w;
  const auto kernel = adaptive_avg_pool_backward.pick(dtype);
  over_planes(args.planes, in, out, [&](std::int64_t b, std::int64_t e) {
    AdaptivePoolBackward part = args;
    part.planes = e - b;
    part.dx = advance(args.dx, b * in, dtype);
    part.dy = advance(args.dy, b * out, dtype);
    kernel(part);
  });
}

void max_pool2d_backward(DType dtype, const PoolScatter& args) {
  const auto kernel = pool_scatter.pick(dtype);
  over_planes(args.planes, args.in_size, args.out_size, [&](std::int64_t b, std::int64_t e) {
    PoolScatter part = args;
    part.planes = e - b;
    part.dx = advance(args.dx, b * args.in_size, dtype);
    part.dy = advance(args.dy, b * args.out_size, dtype);
    part.index += b * args.out_size;
    kernel(part);
  });
}

void max_pool2d_gather(DType dtype, const PoolGather& args) {
  const auto kernel = pool_gather.pick(dtype);
  over_planes(args.planes, 0, args.out_size, [&](std::int64_t b, std::int64_t e) {
    PoolGather part = args;
    part.planes = e - b;
    part.y = advance(args.y, b * args.out_size, dtype);
    part.x = advance(args.x, b * args.in_size, dtype);
    part.index += b * args.out_size;
    kernel(part);
  });
}

}  // namespace gradsmith::kernels
