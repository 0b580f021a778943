// Copies, casts and moves.
#include "ops/dispatch.h"
#include "ops/pinned.h"
#include "runtime/cuda.h"

namespace gradsmith::ops {

Tensor clone(const Tensor& x) {
  check_defined("clone", "input", x);
  Tensor y = empty_like(x);
  dispatch::copy(y, x);
  if (!tracked(x)) return y;
  return record("clone", y, {x}, [](const Grads& g) { return grads(g[0]); });
}

Tensor contiguous(const Tensor& x) {
  check_defined("contiguous", "input", x);
  return x.is_contiguous() ? x : clone(x);
}

Tensor to_dtype(const Tensor& x, DType dtype) {
  check_defined("to", "input", x);
  if (x.dtype() == dtype) return x;
  Tensor y = empty(x.shape(), dtype, x.device());
  dispatch::copy(y, x);
  if (!tracked(x) || !is_floating(dtype)) return y;
  return record("to", y, {x},
                [from = x.dtype()](const Grads& g) { return grads(to_dtype(g[0], from)); });
}

namespace {

Tensor empty_pinned(const Dims& shape, DType dtype) {
  const std::size_t bytes = std::size_t(shape.product()) * itemsize(dtype);
  void* const memory = cuda::allocate_pinned(bytes);
  return from_blob(memory, shape, contiguous_strides(shape), dtype, {}, &cuda::deallocate_pinned,
                   memory);
}

}  // namespace

bool is_pinned(const Tensor& x) {
  return x.impl()->storage->release_fn == &cuda::deallocate_pinned;
}

Tensor pin_memory(const Tensor& x) {
  check_defined("pin_memory", "input", x);
  GS_CHECK(on_cpu(x), "pin_memory: the tensor must be on the CPU, got one on {}", x.device());
  if (is_pinned(x)) return x;
  const Tensor y = empty_pinned(x.shape(), x.dtype());
  dispatch::copy(y, x.detach());
  return y;
}

Tensor to_device(const Tensor& x, Device device, bool non_blocking) {
  check_defined("to", "input", x);
  if (x.device() == device) return x;
  const bool into_pinned = non_blocking && device.type == DeviceType::cpu;
  Tensor y = into_pinned ? empty_pinned(x.shape(), x.dtype())
                         : empty(x.shape(), x.dtype(), device);  // says why it cannot be had
  dispatch::transfer(y, contiguous(x.detach()), non_blocking);
  if (!tracked(x)) return y;
  return record("to", y, {x},
                [from = x.device()](const Grads& g) { return grads(to_device(g[0], from)); });
}

Tensor to_device(const Tensor& x, Device device) { return to_device(x, device, false); }

Tensor copy_(const Tensor& x, const Operand& source) {
  check_writable("copy_", x);
  check_untracked("copy_", "source", source);
  check_broadcast("copy_", "source", source, x.shape());
  Tensor spread = broadcast_to(to_device(source, x.device()), x.shape());
  if (same_memory(spread, x) && (spread.data() != x.data() || !(spread.strides() == x.strides())))
    spread = clone(spread);  // what is read could be overwritten before
  dispatch::copy(x, spread);
  return written(x);
}

}  // namespace gradsmith::ops
