// The launchers of libgradsmith_cuda, one per entry of cuda::Api; the current device is set.
#pragma once
#include "runtime/cuda_abi.h"

namespace gradsmith::cuda {

int unary(const UnaryArgs& args, void* stream);
int binary(const BinaryArgs& args, void* stream);
int copy(const CopyArgs& args, void* stream);
int gemm(const GemmArgs& args, void* stream);

}  // namespace gradsmith::cuda
