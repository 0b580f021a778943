// dispatch.h for reductions and what works on rows: the CPU's driver or CUDA's, by the device of
// the input.
#pragma once
#include "kernels/reduce/reduce.h"
#include "ops/dispatch.h"

namespace gradsmith::ops::dispatch {

// `out` is dense, on x's device; see the functions of the same name in kernels/.
void reduce(kernels::ReduceOp op, const Tensor& out, const Tensor& x, unsigned dims,
            double correction);
// `values` may be undefined.
void arg_reduce(bool largest, const Tensor& values, const Tensor& indices, const Tensor& x,
                unsigned dims);
void cumsum(const Tensor& y, const Tensor& x, std::int64_t outer, std::int64_t n,
            std::int64_t inner);

}  // namespace gradsmith::ops::dispatch
