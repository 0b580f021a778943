// Views: new shape and strides over the same memory. The gradient of a view is a view of the
// gradient, or a zero tensor with the gradient written into the viewed part.
#include <algorithm>

#include "ops/common.h"

namespace gradsmith::ops {

namespace {

// Zeros of `shape` with g written where `region` (a view function) points. Its own derivative is
// the region of the gradient.
template <class Region>
Tensor embed(const char* op, const Tensor& g, const Dims& shape, Region region) {
  Tensor out = zeros(shape, g.dtype(), g.device());
  {
    NoGradGuard guard;
    copy_(region(out), g);
  }
  if (!tracked(g)) return out;
  return record(op, out, {g}, [region](const Grads& u) { return grads(region(u[0])); });
}

}  // namespace

Tensor view(const Tensor& x, const Dims& shape) {
  check_defined("view", "input", x);
  const Dims to = infer_shape("view", shape, x.numel());
  Dims strides;
  GS_CHECK(view_strides(x.shape(), x.strides(), to, strides),
           "view: a tensor of shape {} and strides {} has no view of shape {}; use reshape()",
           x.shape(), x.strides(), to);
  Tensor y = alias(x, to, strides, 0);
  if (!tracked(x)) return y;
  return record("view", y, {x},
                [from = x.shape()](const Grads& g) { return grads(reshape(g[0], from)); });
}

Tensor reshape(const Tensor& x, const Dims& shape) {
  check_defined("reshape", "input", x);
  const Dims to = infer_shape("reshape", shape, x.numel());
  Dims strides;
  return view_strides(x.shape(), x.strides(), to, strides) ? view(x, to) : view(clone(x), to);
}

Tensor flatten(const Tensor& x, std::int64_t start_dim, std::int64_t end_dim) {
  check_defined("flatten", "input", x);
  const int from = check_dim("flatten", start_dim, x.dim());
  const int to = check_dim("flatten", end_dim, x.dim());
  GS_CHECK(from <= to, "flatten: start_dim {} comes after end_dim {}", start_dim, end_dim);
  if (x.dim() == 0) return reshape(x, {1});
  Dims shape;
  std::int64_t merged = 1;
  for (int d = 0; d < x.dim(); ++d) {
    if (d < from || d > to) {
      shape.push_back(x.shape()[d]);
    } else {
      merged *= x.shape()[d];
      if (d == to) shape.push_back(merged);
    }
  }
  return reshape(x, shape);
}

Tensor unflatten(const Tensor& x, std::int64_t dim, const Dims& sizes) {
  check_defined("unflatten", "input", x);
  const int at = check_dim("unflatten", dim, x.dim());
  GS_CHECK(x.dim() > 0, "unflatten: a tensor of rank 0 has nothing to unflatten");
  const Dims parts = infer_shape("unflatten", sizes, x.shape()[at]);
  Dims shape;
  for (int d = 0; d < x.dim(); ++d) {
    if (d != at) {
      shape.push_back(x.shape()[d]);
    } else {
      for (auto n : parts) shape.push_back(n);
    }
  }
  return reshape(x, shape);
}

Tensor permute(const Tensor& x, const Dims& dims) {
  check_defined("permute", "input", x);
  GS_CHECK(dims.size() == x.dim(), "permute: {} dims given for shape {}", dims.size(), x.shape());
  Dims shape = x.shape(), strides = x.strides(), inverse = x.shape();
  Dims seen = Dims::filled(x.dim(), 0);
  for (int d = 0; d < x.dim(); ++d) {
    const int from = check_dim("permute", dims[d], x.dim());
    GS_CHECK(seen[from]++ == 0, "permute: dim {} appears twice in {}", from, dims);
    shape[d] = x.shape()[from];
    strides[d] = x.strides()[from];
    inverse[from] = d;
  }
  Tensor y = alias(x, shape, strides, 0);
  if (!tracked(x)) return y;
  return record("permute", y, {x},
                [inverse](const Grads& g) { return grads(permute(g[0], inverse)); });
}

Tensor transpose(const Tensor& x, std::int64_t dim0, std::int64_t dim1) {
  check_defined("transpose", "input", x);
  const int a = check_dim("transpose", dim0, x.dim());
  const int b = check_dim("transpose", dim1, x.dim());
  if (x.dim() == 0) return alias(x, {}, {}, 0);
  Dims order;
  for (int d = 0; d < x.dim(); ++d) order.push_back(d == a ? b : d == b ? a : d);
  return permute(x, order);
}

Tensor t(const Tensor& x) {
  check_defined("t", "input", x);
  GS_CHECK(x.dim() <= 2, "t: needs a tensor of rank 2 or less, got shape {}; use transpose or mT",
           x.shape());
  return transpose(x, 0, -1);
}

Tensor broadcast_to(const Tensor& x, const Dims& shape) {
  check_defined("broadcast_to", "input", x);
  check_broadcast("broadcast_to", "input", x, shape);
  if (x.shape() == shape) return x;
  checked_bytes(shape, x.dtype());
  Tensor y = alias(x, shape, broadcast_strides(x.shape(), x.strides(), shape), 0);
  if (!tracked(x)) return y;
  return record("broadcast_to", y, {x},
                [from = x.shape()](const Grads& g) { return grads(sum_to_size(g[0], from)); });
}

Tensor expand(const Tensor& x, const Dims& shape) {
  check_defined("expand", "input", x);
  Dims to = shape;
  const int skip = shape.size() - x.dim();
  for (int d = 0; d < shape.size(); ++d) {
    if (shape[d] != -1) continue;
    GS_CHECK(d >= skip, "expand: -1 in {} stands for a dimension that shape {} does not have",
             shape, x.shape());
    to[d] = x.shape()[d - skip];
  }
  check_broadcast("expand", "input", x, to);
  return broadcast_to(x, to);
}

Tensor squeeze(const Tensor& x, const std::optional<Dims>& dim) {
  check_defined("squeeze", "input", x);
  Dims shape, strides, chosen;
  if (dim)
    for (auto d : *dim) chosen.push_back(check_dim("squeeze", d, x.dim()));
  for (int d = 0; d < x.dim(); ++d) {
    if (x.shape()[d] == 1 && (!dim || chosen.contains(d))) continue;
    shape.push_back(x.shape()[d]);
    strides.push_back(x.strides()[d]);
  }
  Tensor y = alias(x, shape, strides, 0);
  if (!tracked(x)) return y;
  return record("squeeze", y, {x},
                [from = x.shape()](const Grads& g) { return grads(reshape(g[0], from)); });
}

Tensor unsqueeze(const Tensor& x, std::int64_t dim) {
  check_defined("unsqueeze", "input", x);
  const int at = check_dim("unsqueeze", dim, x.dim() + 1);
  Dims shape = x.shape(), strides = x.strides();
  shape.insert(at, 1);
  strides.insert(at, at < x.dim() ? x.shape()[at] * x.strides()[at] : 1);
  Tensor y = alias(x, shape, strides, 0);
  if (!tracked(x)) return y;
  return record("unsqueeze", y, {x},
                [from = x.shape()](const Grads& g) { return grads(reshape(g[0], from)); });
}

namespace {
Tensor slice_view(const Tensor& x, int dim, std::int64_t start, std::int64_t count,
                  std::int64_t step) {
  Dims shape = x.shape(), strides = x.strides();
  shape[dim] = count;
  strides[dim] *= step;
  return alias(x, shape, strides, count > 0 ? start * x.strides()[dim] : 0);
}
}  // namespace

// Python's rules: negative positions count from the back, and the range is clipped.
Tensor slice(const Tensor& x, std::int64_t dim, std::int64_t start, std::int64_t end,
             std::int64_t step) {
  check_defined("slice", "input", x);
  const int at = check_dim("slice", dim, x.dim());
  GS_CHECK_INDEX(x.dim() > 0, "slice: a tensor of rank 0 cannot be sliced");
  GS_CHECK(step > 0, "slice: step must be positive, got {}; use flip() to reverse", step);
  const std::int64_t n = x.shape()[at];
  const auto clip = [n](std::int64_t v) { return v < 0 ? (v + n < 0 ? 0 : v + n) : v > n ? n : v; };
  const std::int64_t from = clip(start), to = clip(end);
  const std::int64_t count = to > from ? (to - from - 1) / step + 1 : 0;
  Tensor y = slice_view(x, at, from, count, step);
  if (!tracked(x)) return y;
  return record("slice", y, {x}, [=, shape = x.shape()](const Grads& g) {
    return grads(embed("slice_backward", g[0], shape,
                       [=](const Tensor& whole) { return slice(whole, at, from, to, step); }));
  });
}

Tensor narrow(const Tensor& x, std::int64_t dim, std::int64_t start, std::int64_t length) {
  check_defined("narrow", "input", x);
  const int at = check_dim("narrow", dim, x.dim());
  GS_CHECK_INDEX(x.dim() > 0, "narrow: a tensor of rank 0 cannot be narrowed");
  const std::int64_t n = x.shape()[at], from = start < 0 ? start + n : start;
  GS_CHECK_INDEX(from >= 0 && length >= 0 && length <= n - from,
                 "narrow: start {} and length {} do not fit size {} of dim {}", start, length, n,
                 at);
  return slice(x, at, from, from + length);
}

Tensor select(const Tensor& x, std::int64_t dim, std::int64_t index) {
  check_defined("select", "input", x);
  GS_CHECK_INDEX(x.dim() > 0, "select: a tensor of rank 0 cannot be indexed");
  const int at = check_dim("select", dim, x.dim());
  const std::int64_t n = x.shape()[at];
  GS_CHECK_INDEX(index >= -n && index < n, "index {} is out of range for dim {} of size {}", index,
                 at, n);
  const std::int64_t i = index < 0 ? index + n : index;
  Dims shape = x.shape(), strides = x.strides();
  shape.erase(at);
  strides.erase(at);
  Tensor y = alias(x, shape, strides, i * x.strides()[at]);
  if (!tracked(x)) return y;
  return record("select", y, {x}, [=, from = x.shape()](const Grads& g) {
    return grads(embed("select_backward", g[0], from,
                       [=](const Tensor& whole) { return select(whole, at, i); }));
  });
}

Tensor flip(const Tensor& x, const Dims& dims) {
  check_defined("flip", "input", x);
  Dims strides = x.strides(), flipped;
  std::int64_t offset = 0;
  for (auto d : dims) {
    const int at = check_dim("flip", d, x.dim());
    GS_CHECK(!flipped.contains(at), "flip: dim {} appears twice in {}", d, dims);
    flipped.push_back(at);
    if (x.dim() == 0 || x.numel() == 0) continue;
    offset += (x.shape()[at] - 1) * strides[at];
    strides[at] = -strides[at];
  }
  Tensor y = alias(x, x.shape(), strides, offset);
  if (!tracked(x)) return y;
  return record("flip", y, {x}, [dims](const Grads& g) { return grads(flip(g[0], dims)); });
}

Tensor diagonal(const Tensor& x, std::int64_t offset, std::int64_t dim1, std::int64_t dim2) {
  check_defined("diagonal", "input", x);
  GS_CHECK(x.dim() >= 2, "diagonal: needs rank 2 or more, got shape {}", x.shape());
  const int a = check_dim("diagonal", dim1, x.dim());
  const int b = check_dim("diagonal", dim2, x.dim());
  GS_CHECK(a != b, "diagonal: dim1 and dim2 are both {}", a);
  const std::int64_t skip_a = offset < 0 ? -offset : 0, skip_b = offset > 0 ? offset : 0;
  const std::int64_t left_a = x.shape()[a] - skip_a, left_b = x.shape()[b] - skip_b;
  const std::int64_t n = std::max<std::int64_t>(0, std::min(left_a, left_b));
  Dims shape, strides;
  for (int d = 0; d < x.dim(); ++d) {
    if (d == a || d == b) continue;
    shape.push_back(x.shape()[d]);
    strides.push_back(x.strides()[d]);
  }
  shape.push_back(n);
  strides.push_back(x.strides()[a] + x.strides()[b]);
  Tensor y = alias(x, shape, strides, n ? skip_a * x.strides()[a] + skip_b * x.strides()[b] : 0);
  if (!tracked(x)) return y;
  return record("diagonal", y, {x}, [=, from = x.shape()](const Grads& g) {
    return grads(embed("diagonal_backward", g[0], from,
                       [=](const Tensor& whole) { return diagonal(whole, offset, a, b); }));
  });
}

namespace {
int check_split(const Tensor& x, std::int64_t dim) {
  check_defined("split", "input", x);
  GS_CHECK(x.dim() > 0, "split: a tensor of rank 0 cannot be split");
  return check_dim("split", dim, x.dim());
}
}  // namespace

std::vector<Tensor> split(const Tensor& x, std::int64_t split_size, std::int64_t dim) {
  const int at = check_split(x, dim);
  GS_CHECK(split_size > 0, "split: split_size must be positive, got {}", split_size);
  const std::int64_t n = x.shape()[at];
  std::vector<Tensor> parts;
  for (std::int64_t from = 0; from < std::max<std::int64_t>(n, 1);) {
    const std::int64_t size = std::min(n - from, split_size);
    parts.push_back(narrow(x, at, from, size));
    from += std::max<std::int64_t>(size, 1);
  }
  return parts;
}

std::vector<Tensor> split(const Tensor& x, const Dims& sizes, std::int64_t dim) {
  const int at = check_split(x, dim);
  const std::int64_t n = x.shape()[at];
  std::vector<Tensor> parts;
  std::int64_t from = 0;
  for (auto size : sizes) {
    GS_CHECK(size >= 0 && size <= n - from,
             "split: sizes {} do not add up to {}, the size of dim {}", sizes, n, at);
    parts.push_back(narrow(x, at, from, size));
    from += size;
  }
  GS_CHECK(from == n, "split: sizes {} do not add up to {}, the size of dim {}", sizes, n, at);
  return parts;
}

std::vector<Tensor> chunk(const Tensor& x, std::int64_t chunks, std::int64_t dim) {
  check_defined("chunk", "input", x);
  GS_CHECK(chunks > 0, "chunk: chunks must be positive, got {}", chunks);
  GS_CHECK(x.dim() > 0, "chunk: a tensor of rank 0 cannot be split");
  const std::int64_t n = x.shape()[check_dim("chunk", dim, x.dim())];
  if (n == 0) return std::vector<Tensor>(std::size_t(chunks), narrow(x, dim, 0, 0));
  return split(x, std::max<std::int64_t>(1, (n + chunks - 1) / chunks), dim);
}

std::vector<Tensor> unbind(const Tensor& x, std::int64_t dim) {
  check_defined("unbind", "input", x);
  GS_CHECK(x.dim() > 0, "unbind: a tensor of rank 0 cannot be split");
  const int at = check_dim("unbind", dim, x.dim());
  std::vector<Tensor> parts;
  for (std::int64_t i = 0; i < x.shape()[at]; ++i) parts.push_back(select(x, at, i));
  return parts;
}

}  // namespace gradsmith::ops
