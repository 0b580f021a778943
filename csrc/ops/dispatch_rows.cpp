#include "ops/dispatch_rows.h"

#include <algorithm>

#include "runtime/cuda.h"

namespace gradsmith::ops::dispatch {

namespace {

static_assert(int(cuda::ReduceOp::std_dev) == int(kernels::ReduceOp::std_dev) &&
              int(cuda::ReduceOp::norm2) == int(kernels::ReduceOp::norm2));

int device_of(const Tensor& x) { return x.device().index; }
void* data_or_null(const Tensor& x) { return x.defined() ? x.data() : nullptr; }

cuda::ReduceArgs reduction(cuda::ReduceOp op, const Tensor& x, unsigned dims) {
  cuda::ReduceArgs args{};
  args.op = op;
  args.ndim = x.dim();
  args.dims = dims;
  std::copy(x.shape().begin(), x.shape().end(), args.shape);
  args.x = {x.data(), x.dtype(), {}};
  std::copy(x.strides().begin(), x.strides().end(), args.x.strides);
  return args;
}

}  // namespace

void reduce(kernels::ReduceOp op, const Tensor& out, const Tensor& x, unsigned dims,
            double correction) {
  if (on_cpu(x)) return kernels::reduce(op, out.data(), x.view(), dims, correction);
  auto args = reduction(cuda::ReduceOp(op), x, dims);
  args.out = out.data();
  args.correction = correction;
  cuda::reduce(device_of(x), args);
}

void arg_reduce(bool largest, const Tensor& values, const Tensor& indices, const Tensor& x,
                unsigned dims) {
  if (on_cpu(x))
    return kernels::arg_reduce(largest, data_or_null(values), indices.data_as<std::int64_t>(),
                               x.view(), dims);
  auto args = reduction(largest ? cuda::ReduceOp::argmax : cuda::ReduceOp::argmin, x, dims);
  args.out = data_or_null(values);
  args.indices = indices.data_as<std::int64_t>();
  cuda::reduce(device_of(x), args);
}

void cumsum(const Tensor& y, const Tensor& x, std::int64_t outer, std::int64_t n,
            std::int64_t inner) {
  if (on_cpu(x)) return kernels::cumsum(x.dtype(), y.data(), x.data(), outer, n, inner);
  cuda::cumsum(device_of(x), {x.dtype(), y.data(), x.data(), outer, n, inner});
}

}  // namespace gradsmith::ops::dispatch
