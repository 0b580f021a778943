#include "kernels/gemm/gemm.h"  // before the elementwise kernels, whose names its enum would shadow

#include "ops/dispatch.h"
#include "ops/pinned.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>
#include <unordered_map>

#include "base/env.h"
#include "runtime/cuda_graph.h"

namespace gradsmith::ops {

Device device_beside_number(const char* op, const Tensor& a, const Tensor& b) {
  if (on_cpu(a) && a.dim() == 0) return b.device();
  if (on_cpu(b) && b.dim() == 0) return a.device();
  check_same_device(op, a, b);  // throws
  return {};
}

bool is_set(const Tensor& x) { return *to_device(x.detach(), Device{}).data_as<bool>(); }

namespace dispatch {
namespace {

// ---- the CPU kernels' names among CUDA's ----

std::optional<cuda::UnaryOp> unary_op(const char* name) {
  static const auto* table = new std::unordered_map<std::string_view, cuda::UnaryOp>{
#define GS_ENTRY(op) {#op, cuda::UnaryOp::op},
      GS_CUDA_UNARY_OPS(GS_ENTRY)
#undef GS_ENTRY
  };
  const auto found = table->find(name);
  return found == table->end() ? std::nullopt : std::optional(found->second);
}

std::optional<cuda::BinaryOp> binary_op(const char* name, DType dtype) {
  static const auto* table = new std::unordered_map<std::string_view, cuda::BinaryOp>{
#define GS_ENTRY(op) {#op, cuda::BinaryOp::op},
      GS_CUDA_BINARY_OPS(GS_ENTRY)
#undef GS_ENTRY
  };
  std::string key = name;
  if (dtype == DType::b8 && key.starts_with("bitwise_")) key.replace(0, 7, "logical");
  const auto found = table->find(key);
  return found == table->end() ? std::nullopt : std::optional(found->second);
}

void check_has(const char* op, bool has, DType dtype) {
  GS_CHECK_KIND(device, has,
                "{}: there is no CUDA kernel for this op on {} yet; move the tensor with "
                ".to('cpu')",
                op, dtype);
}

// ---- operands ----

// Broadcast to `shape`.
cuda::Operand operand(const Tensor& t, const Dims& shape) {
  cuda::Operand o{t.data(), t.dtype(), {}};
  const Dims strides = broadcast_strides(t.shape(), t.strides(), shape);
  std::copy(strides.begin(), strides.end(), o.strides);
  return o;
}
template <class Args>
Args with_shape(const Dims& shape) {
  Args args{};
  args.ndim = shape.size();
  std::copy(shape.begin(), shape.end(), args.shape);
  return args;
}

// A number on the CPU travels in the arguments, unless a double cannot hold it.
cuda::Operand operand_or_number(const Tensor& t, const Tensor& out, double& value, Tensor& moved) {
  if (!on_cpu(t)) return operand(t, out.shape());
  const std::int64_t zero[1] = {};
  kernels::copy({&value, DType::f64, 0, zero, zero}, t.view());
  const bool wide = t.dtype() == DType::i64 && std::abs(value) > 0x1p53;
  if (!wide) return {nullptr, t.dtype(), {}};
  moved = to_device(t.detach(), out.device());
  return operand(moved, out.shape());
}

template <class M>
cuda::Matrix64 matrix64(const M& m) {
  return {static_cast<double*>(const_cast<void*>(static_cast<const void*>(m.data))), m.rs, m.cs,
          m.batch};
}
cuda::Matrix matrix(const void* data, std::int64_t rs, std::int64_t cs, std::int64_t batch) {
  return {static_cast<float*>(const_cast<void*>(data)), rs, cs, batch};
}
cuda::Matrix matrix(const kernels::Operand& m) { return matrix(m.data, m.rs, m.cs, m.batch); }
template <class P>
cuda::Matrix matrix(const kernels::MatViewOf<P>& m) {
  return matrix(m.data, m.rs, m.cs, m.batch);
}

static_assert(int(cuda::Activation::silu) == int(kernels::Activation::silu) &&
              int(cuda::Activation::gelu) == int(kernels::Activation::gelu));

}  // namespace

void unary(const char* op, const UnaryKernel& kernel, const Tensor& out, const Tensor& x,
           kernels::Params params) {
  if (on_cpu(out)) return kernels::unary(kernel, out.view(), x.view(), params);
  if (&kernel == &kernels::bitwise_not) {  // x ^ all bits
    const bool truth = x.dtype() == DType::b8;
    const Tensor ones = full({}, truth ? 1 : x.dtype() == DType::u8 ? 255 : -1, x.dtype());
    return binary(op, kernels::bitwise_xor, out, x, ones, {});
  }
  const auto found = unary_op(kernel.name);
  check_has(op, found && out.dtype() == x.dtype() && x.dtype() != DType::b8, x.dtype());
  auto args = with_shape<cuda::UnaryArgs>(out.shape());
  args.op = *found;
  args.out = operand(out, out.shape());
  args.x = operand(x, out.shape());
  args.a = params.p;
  args.b = params.q;
  cuda::unary(out.device().index, args);
}

// On CUDA a comparison says the same.
void predicate(const char* op, const UnaryKernel& kernel, const Tensor& out, const Tensor& x) {
  if (on_cpu(out)) return kernels::unary(kernel, out.view(), x.view(), {});
  const std::string_view name = kernel.name;
  const auto compare = [&](const BinaryKernel& with, const Tensor& a, const Tensor& b) {
    binary(op, with, out, a, b, {});
  };
  const auto number = [&](double value) { return full({}, value, x.dtype()); };
  const double inf = std::numeric_limits<double>::infinity();
  if (name == "isnan") return compare(kernels::ne, x, x);
  if (name == "logical_not") return compare(kernels::eq, x, number(0));
  const Tensor size = abs(x.detach());
  if (name == "isinf") return compare(kernels::eq, size, number(inf));
  check_has(op, name == "isfinite", x.dtype());
  compare(kernels::lt, size, number(inf));
}

void binary(const char* op, const BinaryKernel& kernel, const Tensor& out, const Tensor& a,
            const Tensor& b, kernels::Params params) {
  if (on_cpu(out)) {
    NdView va = a.view(), vb = b.view();
    Dims sa, sb;
    const auto spread = [&out](NdView& view, const Tensor& t, Dims& strides) {
      if (t.shape() == out.shape()) return;
      strides = broadcast_strides(t.shape(), t.strides(), out.shape());
      view.ndim = out.dim();
      view.shape = out.shape().data();
      view.strides = strides.data();
    };
    spread(va, a, sa);
    spread(vb, b, sb);
    return kernels::binary(kernel, out.view(), va, vb, params);
  }
  const auto found = binary_op(kernel.name, a.dtype());
  check_has(op, found.has_value(), a.dtype());
  auto args = with_shape<cuda::BinaryArgs>(out.shape());
  Tensor moved_a, moved_b;  // alive until the call has been queued
  args.op = *found;
  args.out = operand(out, out.shape());
  args.x = operand_or_number(a, out, args.x_value, moved_a);
  args.y = operand_or_number(b, out, args.y_value, moved_b);
  args.a = params.p;
  args.b = params.q;
  cuda::binary(out.device().index, args);
}

void copy(const Tensor& out, const Tensor& x) {
  if (on_cpu(out)) return kernels::copy(out.view(), x.view());
  auto args = with_shape<cuda::CopyArgs>(out.shape());
  args.out = operand(out, out.shape());
  args.x = operand(x, out.shape());
  cuda::copy(out.device().index, args);
}

void fill(const Tensor& out, const void* element) {
  if (on_cpu(out)) return kernels::fill(out.view(), element);
  auto args = with_shape<cuda::CopyArgs>(out.shape());
  args.out = operand(out, out.shape());
  args.x = {nullptr, out.dtype(), {}};
  std::memcpy(&args.element, element, itemsize(out.dtype()));
  cuda::copy(out.device().index, args);
}

void transfer(const Tensor& out, const Tensor& x, bool non_blocking) {
  const std::size_t bytes = std::size_t(x.numel()) * itemsize(x.dtype());
  cuda::check_not_recording("to");
  const auto pinned = [&](const Tensor& host) {
    return non_blocking && is_pinned(host) ? host.impl()->storage->data : nullptr;
  };
  if (on_cpu(x))
    return cuda::copy_bytes(out.device().index, out.data(), x.data(), bytes,
                            cuda::CopyKind::host_to_device, pinned(x));
  if (on_cpu(out))
    return cuda::copy_bytes(x.device().index, out.data(), x.data(), bytes,
                            cuda::CopyKind::device_to_host, pinned(out));
  cuda::synchronize(x.device().index);  // the two devices' queues know nothing of each other
  cuda::copy_bytes(out.device().index, out.data(), x.data(), bytes,
                   cuda::CopyKind::device_to_device);
  cuda::synchronize(out.device().index);
}

namespace {

cuda::Float32Math float32_math() {
  static const cuda::Float32Math chosen = [] {
    const std::string name = env_string("GRADSMITH_CUDA_FLOAT32", "fma");
    if (name == "fma") return cuda::Float32Math::fma;
    if (name == "tf32x3") return cuda::Float32Math::tf32x3;
    GS_CHECK(name == "tf32", "GRADSMITH_CUDA_FLOAT32 is '{}'; it must be 'fma', 'tf32x3' or 'tf32'",
             name);
    return cuda::Float32Math::tf32;
  }();
  return chosen;
}

}  // namespace

void gemm(const Tensor& out, const kernels::Gemm& p, DType compute) {
  if (on_cpu(out)) return kernels::gemm(compute, p);
  if (out.dtype() == DType::f64)
    return cuda::gemm64(out.device().index, {.m = p.m,
                                             .n = p.n,
                                             .k = p.k,
                                             .batch = p.batch,
                                             .a = matrix64(p.a),
                                             .b = matrix64(p.b),
                                             .c = matrix64(p.c),
                                             .bias = matrix64(p.epilogue.bias),
                                             .residual = matrix64(p.epilogue.residual),
                                             .alpha = p.alpha,
                                             .beta = p.beta,
                                             .activation = cuda::Activation(p.epilogue.activation),
                                             .slope = p.epilogue.slope});
  cuda::gemm(out.device().index, {.m = p.m,
                                  .n = p.n,
                                  .k = p.k,
                                  .batch = p.batch,
                                  .a = matrix(p.a),
                                  .b = matrix(p.b),
                                  .c = matrix(p.c),
                                  .bias = matrix(p.epilogue.bias),
                                  .residual = matrix(p.epilogue.residual),
                                  .alpha = float(p.alpha),
                                  .beta = float(p.beta),
                                  .activation = cuda::Activation(p.epilogue.activation),
                                  .slope = float(p.epilogue.slope),
                                  .dtype = p.source,
                                  .out = out.dtype(),
                                  .math = float32_math()});
}

}  // namespace dispatch
}  // namespace gradsmith::ops
