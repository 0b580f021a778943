// Every op. Names, argument order, defaults and meaning are PyTorch's unless a comment says
// otherwise. Bad arguments throw gradsmith::Error with a message that names op, argument, values.
// All are differentiable, at any order, with respect to every floating point Tensor argument,
// unless marked [no grad]. A trailing underscore means: writes into its first argument, which must
// not be on the tape.
#pragma once
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "gradsmith/export.h"
#include "gradsmith/tensor.h"

namespace gradsmith::ops {

// ---- creation [no grad] ----
GS_API Tensor zeros(const Dims& shape, DType dtype = DType::f32, Device device = {});
GS_API Tensor ones(const Dims& shape, DType dtype = DType::f32, Device device = {});
GS_API Tensor full(const Dims& shape, const Operand& value, DType dtype = DType::f32,
                   Device device = {});
// A number as one element on the CPU, named so where the dtype cannot hold it.
GS_API Tensor element_of(const char* op, const char* argument, const Operand& value, DType dtype);
GS_API Tensor arange(double start, double end, double step, DType dtype, Device device = {});
GS_API Tensor linspace(double start, double end, std::int64_t steps, DType dtype = DType::f32,
                       Device device = {});
GS_API Tensor eye(std::int64_t n, std::optional<std::int64_t> m = {}, DType dtype = DType::f32,
                  Device device = {});
GS_API Tensor zeros_like(const Tensor& x);
GS_API Tensor ones_like(const Tensor& x);

// ---- random [no grad]; Philox, see runtime/philox.h ----
GS_API Tensor rand(const Dims& shape, DType dtype = DType::f32, Device device = {});
GS_API Tensor randn(const Dims& shape, DType dtype = DType::f32, Device device = {});
GS_API Tensor randint(std::int64_t low, std::int64_t high, const Dims& shape,
                      DType dtype = DType::i64, Device device = {});
GS_API Tensor randperm(std::int64_t n, DType dtype = DType::i64, Device device = {});
GS_API Tensor uniform_(const Tensor& x, double from = 0, double to = 1);
GS_API Tensor normal_(const Tensor& x, double mean = 0, double std = 1);
GS_API Tensor bernoulli_(const Tensor& x, double p = 0.5);

// ---- copies and casts ----
GS_API Tensor clone(const Tensor& x);       // contiguous
GS_API Tensor contiguous(const Tensor& x);  // x itself where it is contiguous already
GS_API Tensor to_dtype(const Tensor& x, DType dtype);
GS_API Tensor to_device(const Tensor& x, Device device);
GS_API Tensor copy_(const Tensor& x, const Operand& source);
GS_API Tensor fill_(const Tensor& x, const Operand& value);
GS_API Tensor zero_(const Tensor& x);

// ---- views: no copy unless said otherwise ----
GS_API Tensor view(const Tensor& x, const Dims& shape);     // throws where a copy would be needed
GS_API Tensor reshape(const Tensor& x, const Dims& shape);  // copies where it must
GS_API Tensor flatten(const Tensor& x, std::int64_t start_dim = 0, std::int64_t end_dim = -1);
GS_API Tensor unflatten(const Tensor& x, std::int64_t dim, const Dims& sizes);
GS_API Tensor transpose(const Tensor& x, std::int64_t dim0, std::int64_t dim1);
GS_API Tensor t(const Tensor& x);
GS_API Tensor permute(const Tensor& x, const Dims& dims);
GS_API Tensor expand(const Tensor& x, const Dims& shape);
GS_API Tensor broadcast_to(const Tensor& x, const Dims& shape);
GS_API Tensor squeeze(const Tensor& x, const std::optional<Dims>& dim = {});
GS_API Tensor unsqueeze(const Tensor& x, std::int64_t dim);
GS_API Tensor select(const Tensor& x, std::int64_t dim, std::int64_t index);
GS_API Tensor slice(const Tensor& x, std::int64_t dim, std::int64_t start, std::int64_t end,
                    std::int64_t step = 1);
GS_API Tensor narrow(const Tensor& x, std::int64_t dim, std::int64_t start, std::int64_t length);
GS_API Tensor flip(const Tensor& x, const Dims& dims);  // a view with negative strides
GS_API Tensor diagonal(const Tensor& x, std::int64_t offset = 0, std::int64_t dim1 = 0,
                       std::int64_t dim2 = 1);
GS_API std::vector<Tensor> split(const Tensor& x, std::int64_t split_size, std::int64_t dim = 0);
GS_API std::vector<Tensor> split(const Tensor& x, const Dims& sizes, std::int64_t dim = 0);
GS_API std::vector<Tensor> chunk(const Tensor& x, std::int64_t chunks, std::int64_t dim = 0);
GS_API std::vector<Tensor> unbind(const Tensor& x, std::int64_t dim = 0);
// Adjoint of `expand`: sums over what was broadcast.
GS_API Tensor sum_to_size(const Tensor& x, const Dims& shape);

// ---- joining ----
GS_API Tensor cat(const std::vector<Tensor>& tensors, std::int64_t dim = 0);
GS_API Tensor stack(const std::vector<Tensor>& tensors, std::int64_t dim = 0);
GS_API Tensor pad(const Tensor& x, const Dims& pad, const std::string& mode = "constant",
                  double value = 0);
GS_API Tensor repeat(const Tensor& x, const Dims& repeats);

// ---- indexing ----
GS_API Tensor index_select(const Tensor& x, std::int64_t dim, const Tensor& index);
GS_API Tensor index_add(const Tensor& x, std::int64_t dim, const Tensor& index,
                        const Tensor& source);
GS_API Tensor gather(const Tensor& x, std::int64_t dim, const Tensor& index);
GS_API Tensor scatter_add(const Tensor& x, std::int64_t dim, const Tensor& index,
                          const Tensor& source);
// NumPy's advanced indexing; an undefined entry stands for a whole dimension.
GS_API Tensor index(const Tensor& x, const std::vector<Tensor>& indices);
GS_API Tensor index_put_(const Tensor& x, const std::vector<Tensor>& indices, const Operand& values,
                         bool accumulate = false);
GS_API Tensor masked_select(const Tensor& x, const Tensor& mask);
GS_API Tensor masked_fill(const Tensor& x, const Tensor& mask, const Operand& value);
GS_API Tensor nonzero(const Tensor& x);  // [no grad] int64 of shape (count, rank)
GS_API Tensor one_hot(const Tensor& x, std::int64_t num_classes = -1);  // [no grad]

// ---- elementwise, one input ----
// clang-format off
#define GS_UNARY_OPS(X) \
  X(neg) X(abs) X(sign) X(sqrt) X(rsqrt) X(reciprocal) X(square) X(exp) X(exp2) X(expm1) X(log) \
  X(log1p) X(log2) X(log10) X(sin) X(cos) X(tan) X(asin) X(acos) X(atan) X(sinh) X(cosh) X(tanh) \
  X(sigmoid) X(erf) X(erfc) X(floor) X(ceil) X(trunc) X(relu) X(relu6) X(silu) X(hardsigmoid) \
  X(hardswish) X(log_sigmoid) X(mish) X(softsign)
// clang-format on
#define GS_DECLARE(op) GS_API Tensor op(const Tensor& x);
GS_UNARY_OPS(GS_DECLARE)
#undef GS_DECLARE
GS_API Tensor round(const Tensor& x);  // halves to even
GS_API Tensor leaky_relu(const Tensor& x, double negative_slope = 0.01);
GS_API Tensor elu(const Tensor& x, double alpha = 1.0);
GS_API Tensor selu(const Tensor& x);
GS_API Tensor gelu(const Tensor& x, const std::string& approximate = "none");
GS_API Tensor softplus(const Tensor& x, double beta = 1.0, double threshold = 20.0);
GS_API Tensor hardtanh(const Tensor& x, double min_val = -1.0, double max_val = 1.0);
GS_API Tensor clamp(const Tensor& x, const std::optional<Operand>& min = {},
                    const std::optional<Operand>& max = {});
GS_API Tensor isnan(const Tensor& x);  // [no grad], bool, like the next three
GS_API Tensor isinf(const Tensor& x);
GS_API Tensor isfinite(const Tensor& x);
GS_API Tensor logical_not(const Tensor& x);
GS_API Tensor bitwise_not(const Tensor& x);  // [no grad]

// ---- elementwise, two inputs; broadcast and promote as PyTorch does ----
GS_API Tensor add(const Operand& a, const Operand& b);
GS_API Tensor sub(const Operand& a, const Operand& b);
GS_API Tensor mul(const Operand& a, const Operand& b);
GS_API Tensor div(const Operand& a, const Operand& b);           // integers give float32
GS_API Tensor floor_divide(const Operand& a, const Operand& b);  // [no grad]
GS_API Tensor remainder(const Operand& a, const Operand& b);     // sign of b
GS_API Tensor fmod(const Operand& a, const Operand& b);          // sign of a
// The quotient rounded as `mode` says, "floor" or "trunc" (towards zero); integers stay integers.
GS_API Tensor div_rounded(const Operand& a, const Operand& b,
                          const std::string& mode);  // [no grad]
GS_API Tensor pow(const Operand& a, const Operand& b);
GS_API Tensor maximum(const Operand& a, const Operand& b);
GS_API Tensor minimum(const Operand& a, const Operand& b);
GS_API Tensor atan2(const Operand& a, const Operand& b);
#define GS_COMPARE_OPS(X) X(eq) X(ne) X(lt) X(le) X(gt) X(ge)
#define GS_DECLARE(op) GS_API Tensor op(const Operand& a, const Operand& b);
GS_COMPARE_OPS(GS_DECLARE)  // [no grad], bool
GS_DECLARE(logical_and)     // [no grad], bool, like the next two
GS_DECLARE(logical_or)
GS_DECLARE(logical_xor)
GS_DECLARE(bitwise_and)  // [no grad], bool and integers, like the next two
GS_DECLARE(bitwise_or)
GS_DECLARE(bitwise_xor)
#undef GS_DECLARE
GS_API Tensor where(const Tensor& condition, const Operand& a, const Operand& b);
GS_API Tensor lerp(const Tensor& a, const Tensor& b, const Operand& weight);

#define GS_INPLACE_OPS(X) X(add) X(sub) X(mul) X(div)
#define GS_DECLARE(op) GS_API Tensor op##_(const Tensor& x, const Operand& other);
GS_INPLACE_OPS(GS_DECLARE)
#undef GS_DECLARE
GS_API Tensor clamp_(const Tensor& x, const std::optional<Operand>& min = {},
                     const std::optional<Operand>& max = {});
GS_API Tensor masked_fill_(const Tensor& x, const Tensor& mask, const Operand& value);

// ---- reductions; no dim means all; with a dtype the input is cast to it first ----
GS_API Tensor sum(const Tensor& x, const std::optional<Dims>& dim = {}, bool keepdim = false,
                  const std::optional<DType>& dtype = {});
GS_API Tensor mean(const Tensor& x, const std::optional<Dims>& dim = {}, bool keepdim = false,
                   const std::optional<DType>& dtype = {});
GS_API Tensor var(const Tensor& x, const std::optional<Dims>& dim = {}, double correction = 1,
                  bool keepdim = false);
GS_API Tensor std(const Tensor& x, const std::optional<Dims>& dim = {}, double correction = 1,
                  bool keepdim = false);
GS_API Tensor prod(const Tensor& x, const std::optional<std::int64_t>& dim = {},
                   bool keepdim = false, const std::optional<DType>& dtype = {});
GS_API Tensor amax(const Tensor& x, const std::optional<Dims>& dim = {}, bool keepdim = false);
GS_API Tensor amin(const Tensor& x, const std::optional<Dims>& dim = {}, bool keepdim = false);
GS_API std::tuple<Tensor, Tensor> max_dim(const Tensor& x, std::int64_t dim, bool keepdim = false);
GS_API std::tuple<Tensor, Tensor> min_dim(const Tensor& x, std::int64_t dim, bool keepdim = false);
GS_API Tensor argmax(const Tensor& x, const std::optional<std::int64_t>& dim = {},
                     bool keepdim = false);  // [no grad]
GS_API Tensor argmin(const Tensor& x, const std::optional<std::int64_t>& dim = {},
                     bool keepdim = false);  // [no grad]
GS_API Tensor any(const Tensor& x, const std::optional<Dims>& dim = {}, bool keepdim = false);
GS_API Tensor all(const Tensor& x, const std::optional<Dims>& dim = {}, bool keepdim = false);
GS_API Tensor norm(const Tensor& x, double p = 2, const std::optional<Dims>& dim = {},
                   bool keepdim = false);
GS_API Tensor cumsum(const Tensor& x, std::int64_t dim, const std::optional<DType>& dtype = {});
GS_API Tensor logsumexp(const Tensor& x, const Dims& dim, bool keepdim = false);

// ---- products ----
// NumPy's rules for ranks. Integers too: modulo 2^bits, as sums of products of their type are.
GS_API Tensor matmul(const Tensor& a, const Tensor& b);
GS_API Tensor bmm(const Tensor& a, const Tensor& b);
// x @ weight.T + bias with the activation fused ("none", "relu", "sigmoid", "tanh", "gelu",
// "gelu_tanh", "silu").
GS_API Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                     const std::string& activation = "none");
GS_API Tensor outer(const Tensor& a, const Tensor& b);
GS_API Tensor dot(const Tensor& a, const Tensor& b);

}  // namespace gradsmith::ops

#include "gradsmith/ops_nn.h"
