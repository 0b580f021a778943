// The launchers of libgradsmith_cuda, one per entry of cuda::Api; the current device is set.
#pragma once
#include "runtime/cuda_abi.h"

namespace gradsmith::cuda {

int unary(const UnaryArgs& args, void* stream);
int binary(const BinaryArgs& args, void* stream);
int copy(const CopyArgs& args, void* stream);
int gemm(const GemmArgs& args, void* stream);
#define GS_DECLARE(name, Args) int name(const Args& args, void* stream);
GS_CUDA_INDEX_FUNCTIONS(GS_DECLARE)
#undef GS_DECLARE

}  // namespace gradsmith::cuda
