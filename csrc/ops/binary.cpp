// Elementwise ops of two inputs, with broadcasting and type promotion, and of three (where, lerp).
#include "ops/dispatch_index.h"
#include "ops/elementwise.h"

namespace gradsmith::ops {

bool holds(DType dtype, const Tensor& number) {
  if (!number.impl()->wrapped_number || number.dtype() != DType::i64) return true;
  const std::int64_t v = *number.data_as<std::int64_t>();
  if (dtype == DType::u8) return v >= 0 && v <= 255;
  if (dtype == DType::i32) return v >= INT32_MIN && v <= INT32_MAX;
  return true;
}

Tensor run_binary(const char* op, const BinaryKernel& kernel, const Tensor& a, const Tensor& b,
                  kernels::Params params) {
  Tensor out =
      empty(broadcast_shapes(op, a.shape(), b.shape()), a.dtype(), common_device(op, a, b));
  dispatch::binary(op, kernel, out, a, b, params);
  return out;
}

Tensor run_compare(const char* op, const BinaryKernel& kernel, const Tensor& a, const Tensor& b) {
  Tensor out =
      empty(broadcast_shapes(op, a.shape(), b.shape()), DType::b8, common_device(op, a, b));
  dispatch::binary(op, kernel, out, a, b, {});
  return out;
}

namespace {

// The dtype that an op of two operands computes in.
DType common_dtype(const char* op, const Operand& a, const Operand& b, DType least = DType::b8) {
  check_defined(op, "input", a);
  check_defined(op, "other", b);
  common_device(op, a, b);
  const DType t = result_type(a, b);
  return least == DType::f32 && !is_floating(t) ? DType::f32 : t;
}

// A number must not wrap, but that uint8 may subtract by adding a negative one.
Tensor as_operand(const char* op, const Operand& x, DType dtype) {
  if (!holds(dtype, x)) {
    const std::int64_t v = *x.data_as<std::int64_t>();
    GS_CHECK(dtype == DType::u8 && v < 0 && v >= -255, "{}: the number {} does not fit into {}", op,
             v, dtype);
  }
  return to_dtype(x, dtype);
}

// What a result may hold as it is: no number wraps, a negative one neither.
Tensor as_element(const char* op, const char* argument, const Operand& x, DType dtype) {
  return x.impl()->wrapped_number ? element_of(op, argument, x, dtype) : to_dtype(x, dtype);
}

// Bools add and multiply as truth values.
Tensor of_bools(const char* op, const BinaryKernel& kernel, const Tensor& x, const Tensor& y) {
  const bool as_or = &kernel == &kernels::add || &kernel == &kernels::maximum;
  const bool as_and = &kernel == &kernels::mul || &kernel == &kernels::minimum;
  GS_CHECK_TYPE(x.dtype() == DType::b8 && (as_or || as_and), "{}: is not defined for {}", op,
                x.dtype());
  return run_binary(op, as_or ? kernels::bitwise_or : kernels::bitwise_and, x, y);
}

// Operands of the dtype to compute in.
template <class Record>
Tensor compute(const char* op, const BinaryKernel& kernel, const Tensor& x, const Tensor& y,
               Record& on_tape) {
  if (!kernel.has(x.dtype())) [[unlikely]]
    return of_bools(op, kernel, x, y);
  Tensor out = run_binary(op, kernel, x, y);
  return tracked(x, y) ? on_tape(x, y, std::move(out)) : out;
}

// A number is weak in promotion only once: a result is an ordinary tensor.
template <class Record>
Tensor binary(const char* op, const BinaryKernel& kernel, const Operand& a, const Operand& b,
              DType least, Record&& on_tape) {
  const DType t = common_dtype(op, a, b, least);
  if (is_half(t)) {
    const Tensor wide =
        compute(op, kernel, to_dtype(a, DType::f32), to_dtype(b, DType::f32), on_tape);
    return to_dtype(wide, t);
  }
  // Most operands need no cast, and counting references costs as much as adding two numbers.
  if (a.dtype() == t && b.dtype() == t) [[likely]]
    return compute(op, kernel, a, b, on_tape);
  return compute(op, kernel, as_operand(op, a, t), as_operand(op, b, t), on_tape);
}

// Saved only where the other side wants a gradient.
SavedTensor save_for(const Tensor& other, const Tensor& x) {
  return wants_grad(other) ? save(x) : SavedTensor();
}
Tensor mask(const Tensor& condition, const Tensor& g) { return to_dtype(condition, g.dtype()); }

}  // namespace

Tensor add(const Operand& a, const Operand& b) {
  return binary(
      "add", kernels::add, a, b, DType::b8, [](const Tensor& x, const Tensor& y, Tensor out) {
        return record("add", out, {x, y}, [](const Grads& g) { return grads(g[0], g[0]); });
      });
}

Tensor sub(const Operand& a, const Operand& b) {
  return binary("sub", kernels::sub, a, b, DType::b8,
                [](const Tensor& x, const Tensor& y, Tensor out) {
                  return record("sub", out, {x, y}, [](const Grads& g) {
                    return grads(g[0], g.needs(1) ? neg(g[0]) : Tensor());
                  });
                });
}

Tensor mul(const Operand& a, const Operand& b) {
  return binary(
      "mul", kernels::mul, a, b, DType::b8, [](const Tensor& x, const Tensor& y, Tensor out) {
        return record("mul", out, {x, y}, [x = save_for(y, x), y = save_for(x, y)](const Grads& g) {
          return grads(g.needs(0) ? mul(g[0], y.unpack(g)) : Tensor(),
                       g.needs(1) ? mul(g[0], x.unpack(g)) : Tensor());
        });
      });
}

Tensor div(const Operand& a, const Operand& b) {
  return binary(
      "div", kernels::div, a, b, DType::f32, [](const Tensor& x, const Tensor& y, Tensor out) {
        return record("div", out, {x, y}, [y = save(y), x = save_for(y, x)](const Grads& g) {
          const Tensor& d = y.unpack(g);
          const Tensor gx = div(g[0], d);
          return grads(gx, g.needs(1) ? neg(mul(gx, div(x.unpack(g), d))) : Tensor());
        });
      });
}

namespace {

// b as integers are computed with, but a number as it was written; undefined where it is not looked
// at: on CUDA, as nothing may wait for it, and where there is nothing to compute.
Tensor integers_of(const char* op, const Operand& a, const Operand& b) {
  if (!b.defined() || !on_cpu(b) || is_floating(b.dtype())) return {};
  const DType t = common_dtype(op, a, b);
  if (is_floating(t) || t == DType::b8 || a.numel() == 0) return {};
  return b.impl()->wrapped_number ? b.detach() : to_dtype(b, t);
}
void check_divisor(const char* op, const Operand& a, const Operand& b) {
  const Tensor divisor = integers_of(op, a, b);
  GS_CHECK(!divisor.defined() || !is_set(any(eq(divisor, Operand(0)))),
           "{}: integers cannot be divided by 0", op);
}

}  // namespace

Tensor floor_divide(const Operand& a, const Operand& b) {
  check_divisor("floor_divide", a, b);
  return binary("floor_divide", kernels::floor_divide, a, b, DType::b8,
                [](const Tensor&, const Tensor&, Tensor out) { return out; });
}

namespace {

// a - b rounded(a / b)
Tensor modulo(const char* op, const BinaryKernel& kernel, const Operand& a, const Operand& b,
              Tensor (*rounded)(const Tensor&)) {
  return binary(op, kernel, a, b, DType::b8, [=](const Tensor& x, const Tensor& y, Tensor out) {
    return record(op, out, {x, y}, [=, x = save_for(y, x), y = save_for(y, y)](const Grads& g) {
      if (!g.needs(1)) return grads(g[0], Tensor());
      return grads(g[0], neg(mul(g[0], rounded(div(x.unpack(g), y.unpack(g))))));
    });
  });
}

}  // namespace

Tensor remainder(const Operand& a, const Operand& b) {
  check_divisor("remainder", a, b);
  return modulo("remainder", kernels::remainder, a, b, &floor);
}
Tensor fmod(const Operand& a, const Operand& b) {
  check_divisor("fmod", a, b);
  return modulo("fmod", kernels::fmod, a, b, &trunc);
}

Tensor div_rounded(const Operand& a, const Operand& b, const std::string& mode) {
  GS_CHECK(mode == "floor" || mode == "trunc",
           "div: argument 'rounding_mode' must be None, 'floor' or 'trunc', got '{}'", mode);
  if (is_floating(common_dtype("div", a, b))) {
    const Tensor out = mode == "floor" ? floor_divide(a, b) : trunc(div(a, b).detach());
    if (!tracked(a, b)) return out;
    return record("div", out, {a, b}, [](const Grads& g) {  // steps: flat where they are smooth
      const Tensor flat = zeros_like(g[0]);
      return grads(flat, flat);
    });
  }
  if (mode == "floor") return floor_divide(a, b);
  // What is left has the sign of a: with it gone, nothing is left to round.
  return floor_divide(sub(a, fmod(a, b)), b);
}

Tensor pow(const Operand& a, const Operand& b) {
  const Tensor exponents = integers_of("pow", a, b);
  GS_CHECK(!exponents.defined() || !is_set(any(lt(exponents, Operand(0)))),
           "pow: integers cannot be raised to negative powers; make one of them a float");
  return binary(
      "pow", kernels::pow, a, b, DType::b8, [](const Tensor& x, const Tensor& y, Tensor out) {
        return record(
            "pow", out, {x, y}, [x = save(x), y = save(y), out = save_output(out)](const Grads& g) {
              const Tensor &base = x.unpack(g), &exponent = y.unpack(g);
              Tensor gx, gy;
              if (g.needs(0)) {  // b a^(b-1), which is 0 for b = 0 even at a = 0
                const Tensor slope = mul(exponent, pow(base, sub(exponent, Operand(1.0))));
                const Tensor none = to_device(eq(exponent.detach(), Operand(0.0)), slope.device());
                gx = mul(g[0], where(none, Operand(0.0), slope));
              }
              if (g.needs(1)) {  // a^b log a, which is 0 for a = 0 and b >= 0
                const Tensor still = logical_and(eq(base.detach(), Operand(0.0)),
                                                 ge(exponent.detach(), Operand(0.0)));
                const Tensor safe = where(still, Operand(1.0), base);
                gy = mul(g[0], where(still, Operand(0.0), mul(out.unpack(g), log(safe))));
              }
              return grads(gx, gy);
            });
      });
}

namespace {

// The larger (or smaller) takes the gradient; equal ones half each.
Tensor extreme(const char* op, const BinaryKernel& kernel, const Operand& a, const Operand& b,
               Tensor (*wins)(const Operand&, const Operand&)) {
  const DType t = common_dtype(op, a, b);
  for (const Operand* x : {&a, &b})  // unlike a sum, it differs where a negative number wraps
    GS_CHECK(holds(t, *x), "{}: the number {} does not fit into {}", op,
             *x->data_as<std::int64_t>(), t);
  return binary(op, kernel, a, b, DType::b8, [=](const Tensor& x, const Tensor& y, Tensor out) {
    return record(op, out, {x, y}, [=, x = save(x), y = save(y)](const Grads& g) {
      const Tensor u = x.unpack(g).detach(), v = y.unpack(g).detach();
      const Tensor tie = mul(mask(eq(u, v), g[0]), Operand(0.5));
      return grads(g.needs(0) ? mul(g[0], add(mask(wins(u, v), g[0]), tie)) : Tensor(),
                   g.needs(1) ? mul(g[0], add(mask(wins(v, u), g[0]), tie)) : Tensor());
    });
  });
}

}  // namespace

Tensor maximum(const Operand& a, const Operand& b) {
  return extreme("maximum", kernels::maximum, a, b, &gt);
}
Tensor minimum(const Operand& a, const Operand& b) {
  return extreme("minimum", kernels::minimum, a, b, &lt);
}

Tensor atan2(const Operand& a, const Operand& b) {
  return binary(
      "atan2", kernels::atan2, a, b, DType::f32, [](const Tensor& x, const Tensor& y, Tensor out) {
        return record("atan2", out, {x, y}, [x = save(x), y = save(y)](const Grads& g) {
          const Tensor &u = x.unpack(g), &v = y.unpack(g);
          const Tensor squares = add(square(u), square(v));
          // At (0, 0) both slopes are taken as 0.
          const Tensor scaled =
              div(g[0], masked_fill(squares, eq(squares.detach(), Operand(0.0)), Operand(1.0)));
          return grads(g.needs(0) ? mul(scaled, v) : Tensor(),
                       g.needs(1) ? neg(mul(scaled, u)) : Tensor());
        });
      });
}

// ---- comparisons and logic: bool results, no gradient ----

namespace {

Tensor compare(const char* op, const BinaryKernel& kernel, const Operand& a, const Operand& b) {
  const DType t = common_dtype(op, a, b);
  const DType wide = holds(t, a) && holds(t, b) ? t : DType::i64;
  Tensor x = to_dtype(a, wide), y = to_dtype(b, wide);
  if (is_half(x.dtype())) {
    x = to_dtype(x.detach(), DType::f32);
    y = to_dtype(y.detach(), DType::f32);
  }
  return run_compare(op, kernel, x, y);
}

Tensor truth(const Operand& x) {
  return x.dtype() == DType::b8 ? x.detach() : ne(x.detach(), Operand(std::int64_t(0)));
}

Tensor bitwise(const char* op, const BinaryKernel& kernel, const Operand& a, const Operand& b) {
  const DType t = common_dtype(op, a, b);
  const Tensor x = as_operand(op, a, t), y = as_operand(op, b, t);
  GS_CHECK_TYPE(kernel.has(x.dtype()), "{}: must be bool or integer, got {}", op, x.dtype());
  return run_binary(op, kernel, x, y);
}

Tensor logical(const char* op, const BinaryKernel& kernel, const Operand& a, const Operand& b) {
  check_defined(op, "input", a);
  check_defined(op, "other", b);
  return run_binary(op, kernel, truth(a), truth(b));
}

}  // namespace

#define GS_DEFINE(op) \
  Tensor op(const Operand& a, const Operand& b) { return compare(#op, kernels::op, a, b); }
GS_COMPARE_OPS(GS_DEFINE)
#undef GS_DEFINE
#define GS_DEFINE(op)                                            \
  Tensor bitwise_##op(const Operand& a, const Operand& b) {      \
    return bitwise("bitwise_" #op, kernels::bitwise_##op, a, b); \
  }                                                              \
  Tensor logical_##op(const Operand& a, const Operand& b) {      \
    return logical("logical_" #op, kernels::bitwise_##op, a, b); \
  }
GS_DEFINE(and)
GS_DEFINE(or)
GS_DEFINE(xor)
#undef GS_DEFINE

// ---- three inputs ----

Tensor where(const Tensor& condition, const Operand& a, const Operand& b) {
  check_defined("where", "condition", condition);
  GS_CHECK_TYPE(condition.dtype() == DType::b8, "where: argument 'condition' must be bool, got {}",
                condition.dtype());
  const DType t = common_dtype("where", a, b);
  const Tensor x = as_element("where", "input", a, t), y = as_element("where", "other", b, t);
  const Dims shape =
      broadcast_shapes("where", condition.shape(), broadcast_shapes("where", x.shape(), y.shape()));
  const Device device = on_cpu(condition) ? x.device() : condition.device();
  for (const Tensor* v : {&condition, &x, &y})
    GS_CHECK(v->device() == device || (on_cpu(*v) && v->dim() == 0 && v != &condition),
             "where: tensors are on different devices, {} and {}", device, v->device());
  Tensor out = empty(shape, x.dtype(), device);
  dispatch::where(out, condition, x, y);
  if (!tracked(x, y)) return out;
  return record("where", out, {x, y}, [c = save(condition)](const Grads& g) {
    const Tensor& on = c.unpack(g);
    const Operand zero(0.0);
    return grads(g.needs(0) ? where(on, g[0], zero) : Tensor(),
                 g.needs(1) ? where(on, zero, g[0]) : Tensor());
  });
}

Tensor lerp(const Tensor& a, const Tensor& b, const Operand& weight) {
  check_defined("lerp", "input", a);
  check_defined("lerp", "end", b);
  broadcast_shapes("lerp", broadcast_shapes("lerp", a.shape(), b.shape()), weight.shape());
  return add(a, mul(weight, sub(b, a)));
}

Tensor masked_fill(const Tensor& x, const Tensor& on, const Operand& value) {
  check_defined("masked_fill", "input", x);
  check_defined("masked_fill", "value", value);
  GS_CHECK(value.dim() == 0, "masked_fill: argument 'value' must be a number, got shape {}",
           value.shape());
  check_defined("masked_fill", "mask", on);
  broadcast_shapes("masked_fill", x.shape(), on.shape());
  return where(on, as_element("masked_fill", "value", value, x.dtype()), x);
}

// ---- in place ----

namespace {

// Into x directly where no cast or broadcast of x is needed; else through a new tensor.
template <class F>
Tensor assign(const char* op, const Tensor& x, F&& compute, const BinaryKernel& kernel,
              const Operand& other) {
  check_untracked(op, "other", other);
  GS_CHECK(common_device(op, x, other) == x.device(), "{}: a result on {} cannot be stored on {}",
           op, other.device(), x.device());
  const DType t = result_type(x, other);
  GS_CHECK_TYPE(is_floating(x.dtype()) || !is_floating(t),
                "{}: a result of {} cannot be stored in {}", op, t, x.dtype());
  check_broadcast(op, "other", other, x.shape());
  NoGradGuard guard;
  const bool shared = same_memory(other, x) && !other.is(x);
  if (t != x.dtype() || !kernel.has(t) || shared) return copy_(x, compute());
  dispatch::binary(op, kernel, x, x, as_operand(op, other, t), {});
  return written(x);
}

}  // namespace

#define GS_DEFINE(op)                                                            \
  Tensor op##_(const Tensor& x, const Operand& other) {                          \
    check_writable(#op "_", x);                                                  \
    return assign(#op "_", x, [&] { return op(x, other); }, kernels::op, other); \
  }
GS_INPLACE_OPS(GS_DEFINE)
#undef GS_DEFINE

Tensor masked_fill_(const Tensor& x, const Tensor& on, const Operand& value) {
  check_writable("masked_fill_", x);
  check_untracked("masked_fill_", "value", value);
  NoGradGuard guard;
  return copy_(x, masked_fill(x, on, value));
}

}  // namespace gradsmith::ops
