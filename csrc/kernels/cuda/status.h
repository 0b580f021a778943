// Errors inside libgradsmith_cuda: a status number, and a message per thread. See cuda_abi.h.
#pragma once
#include <string>

#if defined(GS_CUDA_EMULATED)
#include "cuda_emu/emulator.h"
#else
#include <cuda_runtime_api.h>
#endif

namespace gradsmith::cuda {

enum Status : int { kOk = 0, kFailed = 1, kOutOfMemory = 2 };

int fail(Status status, std::string message);  // keeps the message, returns the status
int check(const char* what, cudaError_t error);

}  // namespace gradsmith::cuda
