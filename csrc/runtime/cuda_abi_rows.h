// Arguments of reductions and of what works on rows: softmax, losses, normalisation. Part of
// cuda_abi.h, which includes it and says what holds for all of them. float32 and float64, where
// nothing else is said; arrays are contiguous.
#pragma once

namespace gradsmith::cuda {

// ---- Reductions ---------------------------------------------------------------------------------

enum class ReduceOp : std::int32_t {  // kernels::ReduceOp and arg_reduce
  sum,
  mean,
  prod,
  max,
  min,
  any,
  all,
  count_nonzero,
  sumsq,
  norm1,
  norm2,
  var,
  std_dev,
  argmax,
  argmin
};

// As kernels::reduce, var_mean (op var, with mean) and arg_reduce (argmax, argmin). Of all dtypes
// but the 16-bit ones. Outputs are dense; null where not wanted, but one of them must be.
struct ReduceArgs {
  ReduceOp op;
  std::int32_t ndim;
  std::uint32_t dims;  // bit d: dimension d is reduced
  std::int64_t shape[kMaxDims];
  Operand x;
  void* out;
  void* mean;             // of var
  std::int64_t* indices;  // of argmax and argmin; out are the values
  double correction;
};

// y = cumulative sum of x along the middle one of [outer, n, inner]; y of integers is int64.
struct CumsumArgs {
  DType dtype;
  void* y;
  const void* x;
  std::int64_t outer, n, inner;
};

// Every entry is int name(int device, const Args* args, void* stream).
#define GS_CUDA_ROWS_FUNCTIONS(X) \
  X(reduce, ReduceArgs)           \
  X(cumsum, CumsumArgs)

}  // namespace gradsmith::cuda
