// Softmax and its logarithm over one dim: the exemplar op (see README.md in this folder).
//
//   y_i = exp(x_i - max x) / sum_j exp(x_j - max x)          z_i = log y_i
#include "ops/dispatch_rows.h"

namespace gradsmith::ops {

namespace {

kernels::SoftmaxProblem problem(const Tensor& x, int dim, bool log) {
  kernels::SoftmaxProblem p{.dtype = x.dtype(), .log = log, .outer = 1, .n = 1, .inner = 1};
  for (int d = 0; d < x.dim(); ++d) (d < dim ? p.outer : d == dim ? p.n : p.inner) *= x.shape()[d];
  return p;
}

// With cotangent u of dx = y (g - sum(g y)):  d/dg = y (u - sum(u y)), the same op again, and
// d/dy = u (g - sum(g y)) - g sum(u y).  With z = log y, dx = g - exp(z) sum(g):
// d/dg = u - sum(u exp z), d/dz = -u exp(z) sum(g).
Tensor softmax_backward(const Tensor& g, const Tensor& y, int dim, bool log) {
  const Tensor gradient = contiguous(g.detach()), output = contiguous(y.detach());
  Tensor dx = empty_like(output);
  dispatch::softmax_backward(problem(output, dim, log), dx, output, gradient);
  if (!tracked(g, y)) return dx;
  return record("softmax_backward", dx, {g, y}, [=, g = save(g), y = save(y)](const Grads& grad) {
    const Tensor &u = grad[0], &v = g.unpack(grad), &out = y.unpack(grad);
    const Dims at{dim};
    if (log) {
      const Tensor ue = mul(u, exp(out));
      return grads(sub(u, sum(ue, at, true)), neg(mul(ue, sum(v, at, true))));
    }
    const Tensor uy = sum(mul(u, out), at, true);
    return grads(mul(out, sub(u, uy)), sub(mul(u, sub(v, sum(mul(v, out), at, true))), mul(v, uy)));
  });
}

Tensor forward(const char* op, const Tensor& input, std::int64_t dim,
               const std::optional<DType>& dtype, bool log) {
  check_defined(op, "input", input);
  if (dtype) return forward(op, to_dtype(input, *dtype), dim, {}, log);
  const int at = check_dim(op, dim, input.dim());
  if (is_half(input.dtype()))
    return to_dtype(forward(op, to_dtype(input, DType::f32), dim, {}, log), input.dtype());
  check_float(op, "input", input);
  const Tensor x = contiguous(input.detach());
  Tensor y = empty_like(x);
  dispatch::softmax_forward(problem(x, at, log), y, x);
  if (!tracked(input)) return y;
  return record(op, y, {input}, [at, log, y = save_output(y)](const Grads& g) {
    return grads(softmax_backward(g[0], y.unpack(g), at, log));
  });
}

}  // namespace

Tensor softmax(const Tensor& input, std::int64_t dim, const std::optional<DType>& dtype) {
  return forward("softmax", input, dim, dtype, false);
}
Tensor log_softmax(const Tensor& input, std::int64_t dim, const std::optional<DType>& dtype) {
  return forward("log_softmax", input, dim, dtype, true);
}

}  // namespace gradsmith::ops
