// Copies between the CPU and CUDA devices that nobody waits for.
#pragma once
#include "gradsmith/tensor.h"

namespace gradsmith::ops {

// A copy off the tape in memory of the host that CUDA devices copy from and to by themselves.
GS_API Tensor pin_memory(const Tensor& x);
GS_API bool is_pinned(const Tensor& x);
// As to_device() in ops.h. non_blocking: copies from pinned memory, and to the CPU, where the
// result is pinned and may be read once the device's stream has been waited for, go on by
// themselves.
GS_API Tensor to_device(const Tensor& x, Device device, bool non_blocking);

}  // namespace gradsmith::ops
