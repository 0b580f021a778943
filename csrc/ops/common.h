// Checks and small helpers that ops share.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/check.h"
#include "core/autograd/record.h"
#include "core/shape.h"
#include "gradsmith/ops.h"
#include "runtime/kept.h"

namespace gradsmith::ops {

inline void check_defined(const char* op, const char* argument, const Tensor& x) {
  GS_CHECK_TYPE(x.defined(), "{}: argument '{}' must be a Tensor, got None", op, argument);
}
// float32 or float64: what kernels compute in.
inline void check_float(const char* op, const char* argument, const Tensor& x) {
  check_defined(op, argument, x);
  GS_CHECK_TYPE(x.dtype() == DType::f32 || x.dtype() == DType::f64,
                "{}: argument '{}' must be float32 or float64, got {}", op, argument, x.dtype());
}
inline void check_same_device(const char* op, const Tensor& a, const Tensor& b) {
  GS_CHECK(a.device() == b.device(), "{}: tensors are on different devices, {} and {}", op,
           a.device(), b.device());
}
// And on the same device.
inline void check_same_dtype(const char* op, const char* name_a, const Tensor& a,
                             const char* name_b, const Tensor& b) {
  check_same_device(op, a, b);
  GS_CHECK_TYPE(a.dtype() == b.dtype(), "{}: '{}' is {} but '{}' is {}; the dtypes must agree", op,
                name_a, a.dtype(), name_b, b.dtype());
}
inline void check_rank(const char* op, const char* argument, const Tensor& x, int rank) {
  check_defined(op, argument, x);
  GS_CHECK(x.dim() == rank, "{}: argument '{}' must have rank {}, got shape {}", op, argument, rank,
           x.shape());
}
// A vector of `n` of x's dtype, or undefined.
inline void check_vector(const char* op, const char* argument, const Tensor& v, std::int64_t n,
                         const Tensor& x) {
  if (!v.defined()) return;
  GS_CHECK(v.dim() == 1 && v.size(0) == n, "{}: argument '{}' must have shape ({},), got {}", op,
           argument, n, v.shape());
  check_same_dtype(op, argument, v, "input", x);
}
inline void check_class_index(const char* op, const char* argument, const Tensor& x) {
  check_defined(op, argument, x);
  GS_CHECK_TYPE(x.dtype() == DType::i64, "{}: argument '{}' must be int64, got {}", op, argument,
                x.dtype());
}

// Before writing into x: it must be writable memory and off the tape.
inline void check_writable(const char* op, const Tensor& x) {
  check_defined(op, "input", x);
  GS_CHECK_STATE(!(grad_enabled() && x.requires_grad()),
                 "{}: in-place change of a tensor that requires grad; use no_grad(), detach() or "
                 "the op that returns a new tensor",
                 op);
  GS_CHECK(!x.impl()->storage->read_only, "{}: the memory is read-only", op);
  for (int d = 0; d < x.dim(); ++d)
    GS_CHECK(x.strides()[d] != 0 || x.shape()[d] <= 1,
             "{}: elements of an expanded tensor share memory and cannot be written; clone() it",
             op);
}
// Whether x has a shape that broadcasts to this one.
inline void check_broadcast(const char* op, const char* argument, const Tensor& x,
                            const Dims& shape) {
  bool fits = x.dim() <= shape.size();
  for (int d = 1; fits && d <= x.dim(); ++d)
    fits = x.shape()[x.dim() - d] == 1 || x.shape()[x.dim() - d] == shape[shape.size() - d];
  GS_CHECK(fits, "{}: argument '{}' of shape {} cannot be broadcast to {}", op, argument, x.shape(),
           shape);
}
inline bool same_memory(const Tensor& a, const Tensor& b) {
  return a.impl()->storage.get() == b.impl()->storage.get();
}
// What is written in place must not be waiting for a gradient that could not come.
inline void check_untracked(const char* op, const char* argument, const Tensor& x) {
  check_defined(op, argument, x);
  GS_CHECK_STATE(!tracked(x),
                 "{}: argument '{}' requires grad, but writing in place is not recorded", op,
                 argument);
}
inline Tensor written(const Tensor& x) {
  x.bump_version();
  return x;
}

// Strides, paddings, ... are at most this, so that products of two of them fit in 64 bits.
inline constexpr std::int64_t kMaxWindow = 0x7fffffff;
inline void check_window(const char* op, const char* argument, const Dims& values,
                         std::int64_t least) {
  for (auto v : values)
    GS_CHECK(v >= least && v <= kMaxWindow, "{}: argument '{}' must be in [{}, {}], got {}", op,
             argument, least, kMaxWindow, values);
}

// An int or a pair for (height, width); `least` is the smallest allowed value.
inline Dims expand_pair(const char* op, const char* argument, const Dims& given,
                        std::int64_t least) {
  GS_CHECK(given.size() == 1 || given.size() == 2,
           "{}: argument '{}' must be an int or a pair, got {}", op, argument, given);
  const Dims pair = given.size() == 2 ? given : Dims{given[0], given[0]};
  check_window(op, argument, pair, least);
  return pair;
}

// Gradients of gradients of fused ops: differentiates `forward`, the same function written with
// simple ops, at the same inputs. Undefined inputs and inputs without a gradient pass through.
TensorList through_composite(
    const Grads& g, const std::vector<Tensor>& inputs,
    const std::function<std::vector<Tensor>(const std::vector<Tensor>&)>& forward);

// Around kernels that read a parameter while nothing is recorded: what they pack of it is kept, and
// used again until it changes.
inline KeptScope keep_packed(const Tensor& weight) {
  const bool constant = !grad_enabled() && weight.requires_grad();
  return {constant ? weight.impl()->storage->kept() : nullptr, weight.data()};
}

// bf16 and f16 are storage types: compute in float32 and round the result back.
inline bool is_half(DType t) { return t == DType::bf16 || t == DType::f16; }

}  // namespace gradsmith::ops
