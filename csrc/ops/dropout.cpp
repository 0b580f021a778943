// Dropout (Srivastava et al. 2014), inverted: what stays is scaled by 1 / (1 - p).
#include "ops/dispatch_index.h"
#include "runtime/philox.h"

namespace gradsmith::ops {

namespace {

// g * mask / (1 - p): linear in g, so it is its own derivative.
Tensor apply_mask(const Tensor& g, const Tensor& mask, double p) {
  const Tensor dense = contiguous(g.detach());
  Tensor dx = empty_like(dense);
  dispatch::dropout_grad(dx,
                         {dx.data(), dense.data(), mask.data_as<std::uint8_t>(), dense.numel(), p});
  if (!tracked(g)) return dx;
  return record("dropout_backward", dx, {g}, [mask = save(mask), p](const Grads& u) {
    return grads(apply_mask(u[0], mask.unpack(u), p));
  });
}

}  // namespace

Tensor dropout(const Tensor& input, double p, bool training) {
  check_defined("dropout", "input", input);
  GS_CHECK(p >= 0 && p <= 1, "dropout: argument 'p' must be in [0, 1], got {}", p);
  if (!training || p == 0) return input;
  if (is_half(input.dtype()))
    return to_dtype(dropout(to_dtype(input, DType::f32), p, training), input.dtype());
  check_float("dropout", "input", input);
  const Tensor x = contiguous(input.detach());
  Tensor y = empty_like(x), mask = empty(x.shape(), DType::u8, x.device());
  const PhiloxState s = reserve_random(kernels::random_blocks(x.numel(), 1));
  dispatch::dropout(
      y, {y.data(), mask.data_as<std::uint8_t>(), x.data(), x.numel(), s.seed, s.offset, p});
  if (!tracked(input)) return y;
  return record("dropout", y, {input}, [mask = save(mask), p](const Grads& g) {
    return grads(apply_mask(g[0], mask.unpack(g), p));
  });
}

}  // namespace gradsmith::ops
