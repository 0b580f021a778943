// What the two halves of the emulator share.
#pragma once
#include <functional>

#include "cuda_emu/emulator.h"

namespace cuda_emu {

// Does the work at once on the default stream, later on another, or adds it to a graph.
cudaError_t submit(cudaStream_t stream, std::function<void()> work);
void work_on_device(const std::function<void()>& work);  // device memory may be touched

}  // namespace cuda_emu
