// gradsmith._core._kernels: the kernel drivers on raw arrays. gradsmith/kernels.py names and
// documents them.
#include "python/raw_kernels.h"

#include "core/shape.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/peak/peak.h"
#include "kernels/reduce/reduce.h"
#include "kernels/softmax/softmax.h"
#include "python/bindings.h"
#include "python/raw_array.h"

namespace gradsmith::python {

namespace {

using kernels::ReduceOp;

// A view of t as if it had the larger shape `to`; strides must outlive it.
NdView broadcast_view(const Tensor& t, const Dims& to, Dims& strides) {
  strides = broadcast_strides(t.shape(), t.strides(), to);
  return {t.data(), t.dtype(), to.size(), to.data(), strides.data()};
}
void check_given(const char* op, const char* argument, const RawArray& a) {
  GS_CHECK_TYPE(a, "{}: argument '{}' must be an array, got None", op, argument);
}

// ---- elementwise ----

RawResult unary(const std::string& op, const RawArray& x, const RawArray& out, double p, double q) {
  const auto [kernel, gives_bool] = kernels::find_unary(op);
  GS_CHECK(kernel, "unary: there is no kernel '{}'", op);
  const char* name = op.c_str();
  check_given(name, "x", x);
  GS_CHECK_TYPE(kernel->has(x.tensor.dtype()), "{}: argument 'x' has dtype {}, which has no kernel",
                op, x.tensor.dtype());
  Tensor y = raw_output({.op = name,
                         .shape = x.tensor.shape(),
                         .dtype = gives_bool ? DType::b8 : x.tensor.dtype(),
                         .overlap = Overlap::in_place,
                         .dense = false},
                        out, {&x});
  kernels::unary(*kernel, y.view(), x.tensor.view(), {p, q});
  return raw_result(y, out, x);
}

RawResult binary(const std::string& op, const RawArray& a, const RawArray& b, const RawArray& out,
                 double p, double q) {
  const auto [kernel, gives_bool] = kernels::find_binary(op);
  GS_CHECK(kernel, "binary: there is no kernel '{}'", op);
  const char* name = op.c_str();
  check_given(name, "a", a);
  check_given(name, "b", b);
  check_raw_dtype(name, "b", b, a.tensor.dtype());
  GS_CHECK_TYPE(kernel->has(a.tensor.dtype()), "{}: argument 'a' has dtype {}, which has no kernel",
                op, a.tensor.dtype());
  const Dims shape = broadcast_shapes(name, a.tensor.shape(), b.tensor.shape());
  Tensor y = raw_output({.op = name,
                         .shape = shape,
                         .dtype = gives_bool ? DType::b8 : a.tensor.dtype(),
                         .overlap = Overlap::in_place,
                         .dense = false},
                        out, {&a, &b});
  Dims sa, sb;
  kernels::binary(*kernel, y.view(), broadcast_view(a.tensor, shape, sa),
                  broadcast_view(b.tensor, shape, sb), {p, q});
  return raw_result(y, out, a);
}

RawResult where(const RawArray& condition, const RawArray& a, const RawArray& b,
                const RawArray& out) {
  constexpr const char* op = "where";
  check_given(op, "condition", condition);
  check_given(op, "a", a);
  check_given(op, "b", b);
  check_raw_dtype(op, "condition", condition, DType::b8);
  check_raw_dtype(op, "b", b, a.tensor.dtype());
  const Dims shape = broadcast_shapes(op, condition.tensor.shape(),
                                      broadcast_shapes(op, a.tensor.shape(), b.tensor.shape()));
  Tensor y = raw_output({.op = op,
                         .shape = shape,
                         .dtype = a.tensor.dtype(),
                         .overlap = Overlap::in_place,
                         .dense = false},
                        out, {&condition, &a, &b});
  Dims sc, sa, sb;
  kernels::where(y.view(), broadcast_view(condition.tensor, shape, sc),
                 broadcast_view(a.tensor, shape, sa), broadcast_view(b.tensor, shape, sb));
  return raw_result(y, out, condition);
}

RawResult copy(const RawArray& x, const RawArray& out, const std::optional<DType>& dtype) {
  constexpr const char* op = "copy";
  check_given(op, "x", x);
  const DType to = dtype ? *dtype : out ? out.tensor.dtype() : x.tensor.dtype();
  Tensor y = raw_output({.op = op,
                         .shape = out ? out.tensor.shape() : x.tensor.shape(),
                         .dtype = to,
                         .overlap = Overlap::in_place,
                         .dense = false},
                        out, {&x});
  GS_CHECK(broadcast_shapes(op, x.tensor.shape(), y.shape()) == y.shape(),
           "copy: argument 'x' of shape {} does not broadcast to out's {}", x.tensor.shape(),
           y.shape());
  Dims sx;
  kernels::copy(y.view(), broadcast_view(x.tensor, y.shape(), sx));
  return raw_result(y, out, x);
}

// ---- reductions ----

struct Axes {
  unsigned mask = 0;
  Dims kept;       // shape without the axes
  Dims with_ones;  // shape with 1 for each
  std::int64_t reduced = 1;
};
Axes axes_of(const char* op, const Dims& shape, const Dims& axis) {
  Axes axes;
  if (axis.empty()) axes.mask = (1u << shape.size()) - 1;
  for (auto d : axis) {
    const unsigned bit = 1u << check_dim(op, d, shape.size());
    GS_CHECK(!(axes.mask & bit), "{}: argument 'axis' names dimension {} twice", op, d);
    axes.mask |= bit;
  }
  if (shape.empty()) axes.mask = 0;
  for (int d = 0; d < shape.size(); ++d) {
    const bool gone = axes.mask >> d & 1;
    if (gone) axes.reduced *= shape[d];
    if (!gone) axes.kept.push_back(shape[d]);
    axes.with_ones.push_back(gone ? 1 : shape[d]);
  }
  return axes;
}

ReduceOp reduce_op(const std::string& name) {
  static constexpr std::pair<const char*, ReduceOp> kOps[] = {
      {"sum", ReduceOp::sum},     {"mean", ReduceOp::mean},
      {"prod", ReduceOp::prod},   {"max", ReduceOp::max},
      {"min", ReduceOp::min},     {"any", ReduceOp::any},
      {"all", ReduceOp::all},     {"count_nonzero", ReduceOp::count_nonzero},
      {"sumsq", ReduceOp::sumsq}, {"norm1", ReduceOp::norm1},
      {"norm2", ReduceOp::norm2}, {"var", ReduceOp::var},
      {"std", ReduceOp::std_dev}};
  for (const auto& [text, op] : kOps)
    if (name == text) return op;
  fail(ErrorKind::value, "reduce: there is no kernel '{}'", name);
}

void check_reducible(const char* op, const RawArray& x, bool only_float) {
  check_given(op, "x", x);
  if (only_float) return check_raw_float(op, "x", x);
  GS_CHECK_TYPE(x.tensor.dtype() != DType::bf16 && x.tensor.dtype() != DType::f16,
                "{}: argument 'x' must not be {}; copy it to float32 first", op, x.tensor.dtype());
}

RawResult reduce(const std::string& name, const RawArray& x, const Dims& axis, bool keepdims,
                 const RawArray& out, double correction) {
  const ReduceOp kind = reduce_op(name);
  const char* op = name.c_str();
  check_reducible(op, x, kind == ReduceOp::mean || kind >= ReduceOp::sumsq);
  const Axes axes = axes_of(op, x.tensor.shape(), axis);
  GS_CHECK((kind != ReduceOp::max && kind != ReduceOp::min) || axes.reduced > 0,
           "{}: argument 'x' of shape {} has nothing to reduce", op, x.tensor.shape());
  GS_CHECK(correction == correction, "{}: argument 'correction' must be a number, got NaN", op);
  Tensor y = raw_output({.op = op,
                         .shape = keepdims ? axes.with_ones : axes.kept,
                         .dtype = kernels::reduce_dtype(kind, x.tensor.dtype())},
                        out, {&x});
  kernels::reduce(kind, y.data(), x.tensor.view(), axes.mask, correction);
  return raw_result(y, out, x);
}

RawResult arg_reduce(bool largest, const RawArray& x, const Dims& axis, bool keepdims,
                     const RawArray& out) {
  const char* op = largest ? "argmax" : "argmin";
  check_reducible(op, x, false);
  const Axes axes = axes_of(op, x.tensor.shape(), axis);
  GS_CHECK(axes.reduced > 0, "{}: argument 'x' of shape {} has nothing to reduce", op,
           x.tensor.shape());
  Tensor y = raw_output(
      {.op = op, .shape = keepdims ? axes.with_ones : axes.kept, .dtype = DType::i64}, out, {&x});
  kernels::arg_reduce(largest, nullptr, y.data_as<std::int64_t>(), x.tensor.view(), axes.mask);
  return raw_result(y, out, x);
}

// [outer, n, inner] around an axis.
struct Planes {
  std::int64_t outer = 1, n = 1, inner = 1;
};
Planes planes_of(const char* op, const Tensor& x, std::int64_t axis) {
  GS_CHECK(x.dim() > 0, "{}: argument 'x' must have at least one dimension", op);
  const int at = check_dim(op, axis, x.dim());
  Planes p;
  for (int d = 0; d < x.dim(); ++d) (d < at ? p.outer : d == at ? p.n : p.inner) *= x.shape()[d];
  return p;
}

RawResult cumsum(const RawArray& x, std::int64_t axis, const RawArray& out) {
  constexpr const char* op = "cumsum";
  check_reducible(op, x, false);
  check_raw_dense(op, "x", x);
  const Planes p = planes_of(op, x.tensor, axis);
  const bool floating = is_floating(x.tensor.dtype());
  Tensor y = raw_output({.op = op,
                         .shape = x.tensor.shape(),
                         .dtype = floating ? x.tensor.dtype() : DType::i64,
                         .overlap = floating ? Overlap::in_place : Overlap::forbidden},
                        out, {&x});
  kernels::cumsum(x.tensor.dtype(), y.data(), x.tensor.data(), p.outer, p.n, p.inner);
  return raw_result(y, out, x);
}

// ---- softmax ----

RawResult softmax(const RawArray& x, std::int64_t axis, bool log, const RawArray& out) {
  const char* op = log ? "log_softmax" : "softmax";
  check_raw_float(op, "x", x);
  check_raw_dense(op, "x", x);
  const Planes p = planes_of(op, x.tensor, axis);
  Tensor y = raw_output({.op = op,
                         .shape = x.tensor.shape(),
                         .dtype = x.tensor.dtype(),
                         .overlap = Overlap::in_place},
                        out, {&x});
  kernels::softmax_forward({x.tensor.dtype(), log, p.outer, p.n, p.inner},
                           {y.data(), p.n * p.inner, p.inner},
                           {x.tensor.data(), p.n * p.inner, p.inner});
  return raw_result(y, out, x);
}

RawResult softmax_backward(const RawArray& y, const RawArray& dy, std::int64_t axis, bool log,
                           const RawArray& out) {
  const char* op = log ? "log_softmax_backward" : "softmax_backward";
  check_raw_float(op, "y", y);
  check_given(op, "dy", dy);
  check_raw_dense(op, "y", y);
  check_raw_operand(op, "dy", dy, y.tensor.shape(), y.tensor.dtype());
  const Planes p = planes_of(op, y.tensor, axis);
  Tensor dx = raw_output({.op = op,
                          .shape = y.tensor.shape(),
                          .dtype = y.tensor.dtype(),
                          .overlap = Overlap::in_place},
                         out, {&y, &dy});
  const auto view = [&](const Tensor& t) {
    return kernels::SoftmaxView{t.data(), p.n * p.inner, p.inner};
  };
  kernels::softmax_backward({y.tensor.dtype(), log, p.outer, p.n, p.inner}, view(dx),
                            view(y.tensor), view(dy.tensor));
  return raw_result(dx, out, y);
}

// ---- matrix product ----

// bias or residual, seen with C's shape.
kernels::ConstMatView epilogue_view(const char* argument, const RawArray& a, const Tensor& c) {
  if (!a) return {};
  check_raw_dtype("gemm", argument, a, c.dtype());
  GS_CHECK(broadcast_shapes("gemm", a.tensor.shape(), c.shape()) == c.shape(),
           "gemm: argument '{}' of shape {} does not broadcast to the result's {}", argument,
           a.tensor.shape(), c.shape());
  const Dims s = broadcast_strides(a.tensor.shape(), a.tensor.strides(), c.shape());
  const int r = s.size();
  return {.data = a.tensor.data(), .rs = s[r - 2], .cs = s[r - 1], .batch = r == 3 ? s[0] : 0};
}

RawResult gemm(const RawArray& a, const RawArray& b, const RawArray& out, double alpha, double beta,
               const RawArray& bias, const RawArray& residual, const std::string& activation,
               double slope, const std::string& compute) {
  constexpr const char* op = "gemm";
  check_given(op, "a", a);
  check_given(op, "b", b);
  const Tensor &x = a.tensor, &y = b.tensor;
  const bool half = x.dtype() == DType::bf16;
  if (!half) check_raw_float(op, "a", a);
  GS_CHECK(compute == "dtype" || (compute == "bfloat16" && (half || x.dtype() == DType::f32)),
           "gemm: argument 'compute' is '{}' with 'a' of {}, allowed are 'dtype' and, with float32 "
           "and bfloat16, 'bfloat16'",
           compute, x.dtype());
  const DType computed = half || compute == "bfloat16" ? DType::bf16 : x.dtype();
  check_raw_dtype(op, "b", b, x.dtype());
  GS_CHECK((x.dim() == 2 || x.dim() == 3) && (y.dim() == 2 || y.dim() == 3),
           "gemm: arguments 'a' and 'b' must have rank 2, or 3 with a batch; got shapes {} and {}",
           x.shape(), y.shape());
  const int xr = x.dim() - 2, yr = y.dim() - 2;  // where the rows are
  const std::int64_t m = x.shape()[xr], k = x.shape()[xr + 1], n = y.shape()[yr + 1];
  GS_CHECK(y.shape()[yr] == k, "gemm: 'a' has {} columns, 'b' {} rows; got shapes {} and {}", k,
           y.shape()[yr], x.shape(), y.shape());
  Dims shape{m, n};
  const std::int64_t xb = xr ? x.shape()[0] : 1, yb = yr ? y.shape()[0] : 1;
  GS_CHECK(xb == yb || xb == 1 || yb == 1, "gemm: 'a' has a batch of {}, 'b' one of {}", xb, yb);
  if (xr || yr) shape.insert(0, xb == 1 ? yb : xb);
  GS_CHECK(beta == 0 || out, "gemm: argument 'beta' is {}, which needs 'out'", beta);
  Tensor c =
      raw_output({.op = op, .shape = shape, .dtype = half ? DType::f32 : x.dtype(), .dense = false},
                 out, {&a, &b, &bias, &residual});
  const auto operand = [](const Tensor& t, int row, std::int64_t batch) {
    return kernels::Operand{.data = t.data(),
                            .rs = t.strides()[row],
                            .cs = t.strides()[row + 1],
                            .batch = batch == 1 ? 0 : t.strides()[0]};
  };
  const int cr = c.dim() - 2;
  kernels::gemm(computed, {.m = m,
                           .n = n,
                           .k = k,
                           .a = operand(x, xr, xb),
                           .b = operand(y, yr, yb),
                           .c = {.data = c.data(),
                                 .rs = c.strides()[cr],
                                 .cs = c.strides()[cr + 1],
                                 .batch = cr ? c.strides()[0] : 0},
                           .alpha = alpha,
                           .beta = beta,
                           .epilogue = {.bias = epilogue_view("bias", bias, c),
                                        .residual = epilogue_view("residual", residual, c),
                                        .activation = activation_of(op, activation),
                                        .slope = slope},
                           .batch = cr ? shape[0] : 1,
                           .source = x.dtype()});
  return raw_result(std::move(c), out, a);
}

std::int64_t peak_fma(const DType& dtype, std::int64_t rounds, std::int64_t threads) {
  GS_CHECK_TYPE(dtype == DType::f32 || dtype == DType::f64 || dtype == DType::bf16,
                "peak_fma: argument 'dtype' must be float32, float64 or bfloat16, got {}", dtype);
  GS_CHECK(threads >= 1 && threads <= 1024, "peak_fma: 'threads' must be in [1, 1024], got {}",
           threads);
  return kernels::peak_fma_operations(dtype, rounds, int(threads));
}

}  // namespace

kernels::Activation activation_of(const char* op, const std::string& name) {
  using A = kernels::Activation;
  static constexpr std::pair<const char*, A> kNames[] = {
      {"none", A::none}, {"relu", A::relu}, {"leaky_relu", A::leaky_relu}, {"sigmoid", A::sigmoid},
      {"tanh", A::tanh}, {"gelu", A::gelu}, {"gelu_tanh", A::gelu_tanh},   {"silu", A::silu}};
  for (const auto& [text, activation] : kNames)
    if (name == text) return activation;
  fail(ErrorKind::value,
       "{}: argument 'activation' is '{}', allowed are none, relu, leaky_relu, sigmoid, tanh, "
       "gelu, gelu_tanh and silu",
       op, name);
}

void bind_kernels(pybind11::module_& m) {
  pybind11::module_ sub = m.def_submodule("_kernels", "Kernel drivers on raw arrays.");
  Binder b(sub.ptr());
  b.function<&unary>("unary", "op, x, out=None, p=0.0, q=0.0", "y = op(x).");
  b.function<&binary>("binary", "op, a, b, out=None, p=0.0, q=0.0", "y = op(a, b).");
  b.function<&where>("where", "condition, a, b, out=None", "condition ? a : b.");
  b.function<&copy>("copy", "x, out=None, dtype=None", "Copy and cast.");
  b.function<&reduce>("reduce", "op, x, axis=None, keepdims=False, out=None, correction=1.0",
                      "Reduce dimensions.");
  b.function<&arg_reduce>("arg_reduce", "largest, x, axis=None, keepdims=False, out=None",
                          "Where the extreme is.");
  b.function<&cumsum>("cumsum", "x, axis=-1, out=None", "Cumulative sum.");
  b.function<&softmax>("softmax", "x, axis=-1, log=False, out=None", "(Log-)softmax.");
  b.function<&softmax_backward>("softmax_backward", "y, dy, axis=-1, log=False, out=None",
                                "Its gradient.");
  b.function<&gemm>("gemm",
                    "a, b, out=None, alpha=1.0, beta=0.0, bias=None, residual=None, "
                    "activation='none', slope=0.01, compute='dtype'",
                    "Matrix product with epilogue.");
  b.function<&peak_fma>("peak_fma", "dtype, rounds, threads=1",
                        "Runs fused multiply-adds; returns the number of operations.");
  bind_nn_kernels(b);
}

}  // namespace gradsmith::python
