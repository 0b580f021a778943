// Convolutions: the CPU's drivers or CUDA's kernels.
#include "kernels/conv/conv.h"  // before the elementwise kernels, whose names gemm.h would shadow

#include "ops/dispatch_index.h"
#include "runtime/cuda.h"

namespace gradsmith::ops::dispatch {

namespace {

cuda::ConvArgs conv_args(cuda::ConvOp op, const kernels::ConvShape& s, const Tensor& out,
                         const Tensor& in, const Tensor& other, const void* bias) {
  return {.op = op,
          .dtype = out.dtype(),
          .n = s.n,
          .c = s.c,
          .h = s.h,
          .w = s.w,
          .o = s.o,
          .kh = s.kh,
          .kw = s.kw,
          .out_h = s.out_h(),
          .out_w = s.out_w(),
          .stride_h = s.stride_h,
          .stride_w = s.stride_w,
          .pad_h = s.pad_h,
          .pad_w = s.pad_w,
          .dilation_h = s.dilation_h,
          .dilation_w = s.dilation_w,
          .groups = s.groups,
          .out = out.data(),
          .in = in.data(),
          .other = other.data(),
          .bias = bias,
          .scratch = nullptr};
}

}  // namespace

void conv_forward(const kernels::ConvShape& shape, const Tensor& y, const Tensor& x,
                  const Tensor& w, const kernels::ConvEpilogue& epilogue) {
  if (on_cpu(y))
    return kernels::conv2d_forward(y.dtype(), shape, y.data(), x.data(), w.data(), epilogue);
  cuda::conv(y.device().index, conv_args(cuda::ConvOp::forward, shape, y, x, w, epilogue.bias));
}

void conv_input_grad(const kernels::ConvShape& shape, const Tensor& dx, const Tensor& dy,
                     const Tensor& w, const kernels::ConvEpilogue& epilogue) {
  if (on_cpu(dx))
    return kernels::conv2d_input_grad(dx.dtype(), shape, dx.data(), dy.data(), w.data(), epilogue);
  cuda::conv(dx.device().index,
             conv_args(cuda::ConvOp::input_grad, shape, dx, dy, w, epilogue.bias));
}

void conv_weight_grad(const kernels::ConvShape& shape, const Tensor& dw, const Tensor& dy,
                      const Tensor& x) {
  if (on_cpu(dw))
    return kernels::conv2d_weight_grad(dw.dtype(), shape, dw.data(), dy.data(), x.data());
  cuda::ConvArgs args = conv_args(cuda::ConvOp::weight_grad, shape, dw, x, dy, nullptr);
  const std::int64_t parts = cuda::conv_weight_parts(args);
  const Tensor scratch = empty({parts > 1 ? parts * dw.numel() : 0}, dw.dtype(), dw.device());
  args.scratch = scratch.data();
  cuda::conv(dw.device().index, args);
}

}  // namespace gradsmith::ops::dispatch
