// Matrix products. The gradient of a product is two products, so the family is closed.
#include <algorithm>

#include "gradsmith/autocast.h"
#include "kernels/gemm/gemm.h"
#include "ops/activation.h"
#include "ops/dispatch.h"

namespace gradsmith::ops {

namespace {

void check_factors(const char* op, const Tensor& a, const Tensor& b) {
  check_defined(op, "input", a);
  check_defined(op, "other", b);
  check_same_dtype(op, "input", a, "other", b);
  GS_CHECK_TYPE(is_floating(a.dtype()),
                "{}: argument 'input' must be float32, float64, bfloat16 or float16, got {}", op,
                a.dtype());
}

// What a product is computed in: bfloat16 for matrices of that type, and for float32 within
// autocast.
DType compute_in(const Tensor& a) {
  return a.dtype() == DType::f32 && autocast_enabled(a.device().type) ? DType::bf16 : a.dtype();
}
// A factor in the type that the kernel reads: the CPU's rounds while it packs.
Tensor as_read(const Tensor& t, DType compute) {
  return on_cpu(t) ? t : to_dtype(t.detach(), compute);
}
// Has no product of its own.
bool through_float(const Tensor& a) { return a.dtype() == DType::f16 && on_cpu(a); }
// Its products come out as float32.
bool widened(const Tensor& a) { return a.dtype() == DType::bf16 && on_cpu(a); }

kernels::Operand factor(const Tensor& t) {
  const int d = t.dim();
  return {.data = t.data(),
          .rs = t.strides()[d - 2],
          .cs = t.strides()[d - 1],
          .batch = d == 3 ? t.strides()[0] : 0};
}

// A problem without its C, which is a new tensor; `source`: the type of the factors.
Tensor run(const Dims& shape, const Tensor& like, kernels::Gemm& p, DType compute, DType source) {
  const Tensor y = empty(shape, widened(like) ? DType::f32 : like.dtype(), like.device());
  p.c = {.data = y.data(), .rs = p.n, .cs = 1, .batch = p.m * p.n};
  p.source = source;
  dispatch::gemm(y, p, compute);
  return widened(like) ? to_dtype(y, like.dtype()) : y;
}

// [m, k] x [k, n] or [z, m, k] x [z, k, n], any strides. The gradients are computed in the same
// type as the product.
Tensor multiply(const Tensor& a, const Tensor& b, DType compute) {
  const int d = a.dim();
  Dims shape = a.shape();
  shape[d - 1] = b.shape()[d - 1];
  kernels::Gemm p;
  p.m = shape[d - 2];
  p.n = shape[d - 1];
  p.k = a.shape()[d - 1];
  const Tensor left = as_read(a, compute), right = as_read(b, compute);
  p.a = factor(left);
  p.b = factor(right);
  p.batch = d == 3 ? shape[0] : 1;
  const Tensor y = run(shape, a, p, compute, left.dtype());
  if (!tracked(a, b)) return y;
  return record("matmul", y, {a, b}, [compute, a = save(a), b = save(b)](const Grads& g) {
    return grads(g.needs(0) ? multiply(g[0], transpose(b.unpack(g), -2, -1), compute) : Tensor(),
                 g.needs(1) ? multiply(transpose(a.unpack(g), -2, -1), g[0], compute) : Tensor());
  });
}

// For few rows: with all of the weight to read for each call, it pays to have it in the order in
// which the kernel reads it.
constexpr std::int64_t kKeptRows = 64, kKeptElements = 1 << 12;

bool worth_keeping(const kernels::Gemm& p) {
  return p.m > 0 && p.m <= kKeptRows && p.n * p.k >= kKeptElements &&
         kernels::active_target() != kernels::Target::reference;
}

// The weight of a linear layer as a factor, packed if it is kept so.
void use_kept(kernels::Gemm& p, const Tensor& weight, DType compute, KeptScope& scope,
              kernels::PackedOperand& packed) {
  const kernels::Target target = kernels::active_target();
  constexpr std::int64_t kLinear = 256;  // no kind of a convolution's
  const KeptKey key{
      kLinear, std::int64_t(compute), std::int64_t(weight.dtype()), std::int64_t(target), p.n,
      p.k,     weight.strides()[0],   weight.strides()[1]};
  const auto pack = [&](void* to) {
    kernels::pack_operand(compute, kernels::GemmSide::b, p.b, p.n, p.k, to, weight.dtype());
  };
  const void* const data =
      scope.get(key, kernels::packed_bytes(compute, kernels::GemmSide::b, p.n, p.k), pack);
  if (!data) return;
  packed = {data, target, kernels::gemm_shape_of(compute).nr, p.n, p.k, 0};
  p.b = {.packed = &packed};
}

Tensor as_batch(const Tensor& t, const Dims& batch) {
  Dims shape = batch;
  shape.push_back(t.size(-2));
  shape.push_back(t.size(-1));
  return reshape(broadcast_to(t, shape), {batch.product(), t.size(-2), t.size(-1)});
}

// The largest absolute value.
double largest(const Tensor& t) {
  const auto number = [](const Tensor& v) {
    return *to_dtype(to_device(v, {}), DType::f64).data_as<double>();
  };
  return std::max(number(amax(t)), -number(amin(t)));
}

// Factors of 2 dims or more. In float64 where no sum can leave the integers that it holds exactly;
// else column times row, one after the other, in the integers' own arithmetic, which wraps.
Tensor multiply_integers(const Tensor& a, const Tensor& b) {
  const std::int64_t k = a.size(-1);
  constexpr double kExact = 9007199254740992;  // 2^53
  if (a.numel() == 0 || b.numel() == 0 || largest(a) * largest(b) * double(k) <= kExact) {
    const AutocastGuard off(false);
    const Tensor y = matmul(to_dtype(a, DType::f64), to_dtype(b, DType::f64));
    return to_dtype(to_dtype(y, DType::i64), a.dtype());
  }
  const auto product = [&](std::int64_t i) {
    return mul(narrow(a, -1, i, 1), narrow(b, -2, i, 1));
  };
  const Tensor y = product(0);
  for (std::int64_t i = 1; i < k; ++i) add_(y, product(i));
  return y;
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) {
  check_defined("matmul", "input", a);
  check_defined("matmul", "other", b);
  GS_CHECK(a.dim() > 0 && b.dim() > 0, "matmul: factors must have rank 1 or more, got {} and {}",
           a.shape(), b.shape());
  check_same_dtype("matmul", "input", a, "other", b);
  if (through_float(a)) {
    const AutocastGuard off(false);
    return to_dtype(matmul(to_dtype(a, DType::f32), to_dtype(b, DType::f32)), a.dtype());
  }
  const bool integers = !is_floating(a.dtype()) && a.dtype() != DType::b8;
  if (!integers) check_factors("matmul", a, b);
  const std::int64_t k = a.size(-1), kb = b.dim() == 1 ? b.size(0) : b.size(-2);
  GS_CHECK(k == kb, "matmul: shapes {} and {} do not fit: {} columns meet {} rows", a.shape(),
           b.shape(), k, kb);
  if (a.dim() == 1) return squeeze(matmul(unsqueeze(a, 0), b), Dims{b.dim() == 1 ? 0 : -2});
  if (b.dim() == 1) return squeeze(matmul(a, unsqueeze(b, 1)), Dims{-1});
  if (integers) return multiply_integers(a, b);
  const DType compute = compute_in(a);
  if (a.dim() == 2 && b.dim() == 2) return multiply(a, b, compute);
  Dims out;
  if (b.dim() == 2) {  // one matrix for the whole batch: rows of all entries together
    out = a.shape();
    out[a.dim() - 1] = b.size(1);
    return reshape(multiply(reshape(a, {a.numel() / std::max<std::int64_t>(k, 1), k}), b, compute),
                   out);
  }
  const Dims batch = broadcast_shapes("matmul", Dims(a.shape().data(), a.dim() - 2),
                                      Dims(b.shape().data(), b.dim() - 2));
  out = batch;
  out.push_back(a.size(-2));
  out.push_back(b.size(-1));
  return reshape(multiply(as_batch(a, batch), as_batch(b, batch), compute), out);
}

Tensor bmm(const Tensor& a, const Tensor& b) {
  check_rank("bmm", "input", a, 3);
  check_rank("bmm", "mat2", b, 3);
  GS_CHECK(a.size(0) == b.size(0), "bmm: batch sizes {} and {} differ", a.size(0), b.size(0));
  return matmul(a, b);
}

Tensor outer(const Tensor& a, const Tensor& b) {
  check_rank("outer", "input", a, 1);
  check_rank("outer", "vec2", b, 1);
  return mul(unsqueeze(a, 1), unsqueeze(b, 0));
}

Tensor dot(const Tensor& a, const Tensor& b) {
  check_rank("dot", "input", a, 1);
  check_rank("dot", "other", b, 1);
  return matmul(a, b);
}

// ---- linear ----

namespace {

// On CUDA as the product with a row of ones; sum(), which came later, is not compared with it yet.
Tensor column_sums(const Tensor& x) {
  if (on_cpu(x)) return sum(x, Dims{0});
  return reshape(multiply(ones({1, x.size(0)}, x.dtype(), x.device()), x, x.dtype()), {x.size(1)});
}

}  // namespace

Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias,
              const std::string& activation) {
  const Activated& act = find_activation("linear", activation);
  check_defined("linear", "input", input);
  check_rank("linear", "weight", weight, 2);
  GS_CHECK(input.dim() >= 1, "linear: argument 'input' must have rank 1 or more, got shape {}",
           input.shape());
  const std::int64_t k = weight.size(1), o = weight.size(0);
  GS_CHECK(input.size(-1) == k,
           "linear: input of shape {} has {} features, weight of shape {} takes {}", input.shape(),
           input.size(-1), weight.shape(), k);
  check_same_dtype("linear", "input", input, "weight", weight);
  check_vector("linear", "bias", bias, o, input);
  if (through_float(input)) {
    const AutocastGuard off(false);
    return to_dtype(linear(to_dtype(input, DType::f32), to_dtype(weight, DType::f32),
                           bias.defined() ? to_dtype(bias, DType::f32) : bias, activation),
                    input.dtype());
  }
  check_factors("linear", input, weight);
  const bool taped = tracked(input, weight, bias);
  if (taped && !act.from_output) return apply_activation(act, linear(input, weight, bias));

  Dims shape = input.shape();
  shape[input.dim() - 1] = o;
  Dims flat_shape{k > 0 ? input.numel() / k : shape.product() / std::max<std::int64_t>(o, 1), k};
  const DType compute = compute_in(input);
  const Tensor rows = as_read(reshape(input.detach(), flat_shape), compute);
  const Tensor read = as_read(weight, compute);
  kernels::Gemm p;
  p.m = rows.size(0);
  p.n = o;
  p.k = k;
  p.a = factor(rows);
  p.b = {.data = read.data(), .rs = read.strides()[1], .cs = read.strides()[0]};
  Tensor added = bias;
  if (bias.defined()) {
    if (widened(bias)) added = to_dtype(bias.detach(), DType::f32);
    p.epilogue.bias = {.data = added.data(), .rs = 0, .cs = added.strides()[0]};
  }
  p.epilogue.activation = act.kernel;
  const bool keep = !taped && worth_keeping(p);
  KeptScope scope = keep ? keep_packed(weight) : KeptScope(nullptr, nullptr);
  kernels::PackedOperand packed;
  if (keep) use_kept(p, weight, compute, scope, packed);
  const Tensor y = run(shape, input, p, compute, rows.dtype());
  if (!taped) return y;
  return record(
      "linear", y, {input, weight, bias},
      [=, &act, x = save(input), w = save(weight), y = save_output(y)](const Grads& grad) {
        const Tensor g = act.none() ? grad[0] : through_activation(act, grad[0], y.unpack(grad));
        const Tensor g2 = reshape(g, {flat_shape[0], o});
        const Tensor& v = x.unpack(grad);
        return grads(
            grad.needs(0) ? reshape(multiply(g2, w.unpack(grad), compute), v.shape()) : Tensor(),
            grad.needs(1) ? multiply(t(g2), reshape(v, flat_shape), compute) : Tensor(),
            grad.needs(2) ? column_sums(g2) : Tensor());
      });
}

}  // namespace gradsmith::ops
