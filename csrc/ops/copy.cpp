// Copies, casts and moves.
#include "kernels/elementwise/elementwise.h"
#include "ops/common.h"

namespace gradsmith::ops {

Tensor clone(const Tensor& x) {
  check_defined("clone", "input", x);
  check_cpu("clone", x);
  Tensor y = empty_like(x);
  kernels::copy(y.view(), x.view());
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
  check_cpu("to", x);
  Tensor y = empty(x.shape(), dtype, x.device());
  kernels::copy(y.view(), x.view());
  if (!tracked(x) || !is_floating(dtype)) return y;
  return record("to", y, {x}, [from = x.dtype()](const Grads& g) {
    return grads(to_dtype(g[0], from));
  });
}

Tensor to_device(const Tensor& x, Device device) {
  check_defined("to", "input", x);
  if (x.device() == device) return x;
  // empty() says why memory of that device cannot be had.
  Tensor y = empty(x.shape(), x.dtype(), device);
  return copy_(y, x);
}

Tensor copy_(const Tensor& x, const Operand& source) {
  check_writable("copy_", x);
  check_cpu("copy_", x);
  GS_CHECK_STATE(!tracked(source),
                 "copy_: the source requires grad, but an in-place copy is not recorded");
  const Tensor spread = broadcast_to(source, x.shape());
  kernels::copy(x.view(), spread.view());
  return written(x);
}

}  // namespace gradsmith::ops
