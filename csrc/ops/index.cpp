// Gathering and scattering by index tensors.
#include <algorithm>

#include "kernels/embedding/embedding.h"
#include "ops/common.h"

namespace gradsmith::ops {

namespace {

// int64, on the CPU, every value in [-size, size).
void check_index(const char* op, const Tensor& index, std::int64_t size) {
  check_class_index(op, "index", index);
  check_cpu(op, index);
  const Tensor flat = contiguous(index);
  const auto* values = flat.data_as<std::int64_t>();
  const std::int64_t bad = kernels::bad_index(values, flat.numel(), size);
  GS_CHECK_INDEX(bad < 0, "{}: index {} (at position {}) is out of range for size {}", op,
                 values[bad < 0 ? 0 : bad], bad, size);
}

// An index vector seen as a tensor of `shape` that varies along `dim` only.
Tensor spread_index(const Tensor& index, const Dims& shape, int dim) {
  Dims strides = Dims::filled(shape.size(), 0);
  strides[dim] = index.strides()[0];
  return alias(index, shape, strides, 0);
}

int check_axis_and_vector(const char* op, const Tensor& x, std::int64_t dim, const Tensor& index) {
  check_defined(op, "input", x);
  check_cpu(op, x);
  const int at = check_dim(op, dim, x.dim());
  GS_CHECK(x.dim() > 0, "{}: the input must have rank 1 or more", op);
  check_rank(op, "index", index, 1);
  check_index(op, index, x.shape()[at]);
  return at;
}

void check_addable(const char* op, const Tensor& x) {
  GS_CHECK_TYPE(x.dtype() == DType::f32 || x.dtype() == DType::f64 || x.dtype() == DType::i64,
                "{}: must be float32, float64 or int64, got {}", op, x.dtype());
}

}  // namespace

Tensor index_select(const Tensor& x, std::int64_t dim, const Tensor& index) {
  const int at = check_axis_and_vector("index_select", x, dim, index);
  Dims shape = x.shape();
  shape[at] = index.numel();
  Tensor y = empty(shape, x.dtype());
  if (y.numel() > 0) {
    const bool rows = at == 0 && x.is_contiguous() && index.is_contiguous();
    if (rows) {
      const std::int64_t columns = x.numel() / x.shape()[0];
      kernels::embedding_forward(
          x.dtype(), {y.data(), x.data(), index.data_as<std::int64_t>(), index.numel(), columns,
                      columns, columns, x.shape()[0]});
    } else {
      kernels::gather_axis(y.view(), x.view(), spread_index(index, shape, at).view(), at);
    }
  }
  if (!tracked(x)) return y;
  return record("index_select", y, {x}, [=, from = x.shape(), index = save(index)](const Grads& g) {
    const Tensor base = zeros(from, g[0].dtype(), g[0].device());
    return grads(index_add(base, at, index.unpack(g), g[0]));
  });
}

namespace {
// Adds the source's slices to those of y, in place.
void add_slices(const Tensor& y, int at, const Tensor& index, const Tensor& source) {
  if (source.numel() == 0) return;
  if (at != 0 || !index.is_contiguous() || !y.is_contiguous()) {
    kernels::scatter_add_axis(y.view(), source.view(),
                              spread_index(index, source.shape(), at).view(), at);
    return;
  }
  const Tensor rows = contiguous(source.detach());
  const std::int64_t columns = y.numel() / y.shape()[0];
  kernels::AddRows args{y.data(),
                        rows.data(),
                        index.data_as<std::int64_t>(),
                        index.numel(),
                        columns,
                        columns,
                        columns,
                        y.shape()[0],
                        -1,
                        0,
                        0};
  kernels::embedding_backward(y.dtype(), args);
}
}  // namespace

// x with source rows added where index says.
Tensor index_add(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source) {
  const int at = check_axis_and_vector("index_add", x, dim, index);
  check_addable("index_add", x);
  check_defined("index_add", "source", source);
  check_same_dtype("index_add", "source", source, "input", x);
  Dims shape = x.shape();
  shape[at] = index.numel();
  GS_CHECK(source.shape() == shape, "index_add: source must have shape {}, got {}", shape,
           source.shape());
  Tensor y = clone(x.detach());
  add_slices(y, at, index, source);
  if (!tracked(x, source)) return y;
  return record("index_add", y, {x, source}, [=, index = save(index)](const Grads& g) {
    return grads(g[0], g.needs(1) ? index_select(g[0], at, index.unpack(g)) : Tensor());
  });
}

namespace {
int check_gather(const char* op, const Tensor& x, std::int64_t dim, const Tensor& index) {
  check_defined(op, "input", x);
  check_cpu(op, x);
  const int at = check_dim(op, dim, x.dim());
  check_class_index(op, "index", index);
  GS_CHECK(index.dim() == x.dim(), "{}: index has rank {}, the input {}", op, index.dim(), x.dim());
  for (int d = 0; d < x.dim(); ++d)
    GS_CHECK(d == at || index.shape()[d] <= x.shape()[d],
             "{}: index of shape {} does not fit an input of shape {} off dim {}", op,
             index.shape(), x.shape(), at);
  if (x.dim() > 0) check_index(op, index, x.shape()[at]);
  return at;
}
// Kernels want rank 1 or more.
Tensor lift(const Tensor& t) { return t.dim() == 0 ? alias(t, {1}, {1}, 0) : t; }
}  // namespace

Tensor gather(const Tensor& x, std::int64_t dim, const Tensor& index) {
  const int at = check_gather("gather", x, dim, index);
  Tensor y = empty(index.shape(), x.dtype());
  if (y.numel() > 0) kernels::gather_axis(lift(y).view(), lift(x).view(), lift(index).view(), at);
  if (!tracked(x)) return y;
  return record("gather", y, {x}, [=, from = x.shape(), index = save(index)](const Grads& g) {
    const Tensor base = zeros(from, g[0].dtype(), g[0].device());
    return grads(scatter_add(base, at, index.unpack(g), g[0]));
  });
}

Tensor scatter_add(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source) {
  const int at = check_gather("scatter_add", x, dim, index);
  check_addable("scatter_add", x);
  check_defined("scatter_add", "source", source);
  check_same_dtype("scatter_add", "source", source, "input", x);
  GS_CHECK(source.shape() == index.shape(),
           "scatter_add: source must have index's shape {}, got {}", index.shape(), source.shape());
  Tensor y = clone(x.detach());
  if (source.numel() > 0)
    kernels::scatter_add_axis(lift(y).view(), lift(source).view(), lift(index).view(), at);
  if (!tracked(x, source)) return y;
  return record("scatter_add", y, {x, source}, [=, index = save(index)](const Grads& g) {
    return grads(g[0], g.needs(1) ? gather(g[0], at, index.unpack(g)) : Tensor());
  });
}

// ---- NumPy's advanced indexing ----

namespace {

// The indexed dimensions moved to the front and merged into one, and where each result row is.
struct Plan {
  Dims order;      // permutation of x that brings the indexed dimensions to the front
  Dims tail;       // sizes of the others
  Dims positions;  // broadcast shape of the indices
  std::int64_t merged = 1;
  int front = 0;  // where the position dimensions go in the result
  Tensor flat;    // int64, one row of the merged dimension per position
};

// Masks become the coordinates of their true elements.
std::vector<Tensor> integer_indices(const Tensor& x, const std::vector<Tensor>& given) {
  std::vector<Tensor> out;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const Tensor& t = given[i];
    if (out.size() > i) {  // covered by a mask before
      GS_CHECK(!t.defined(), "index: a mask of several dimensions leaves no room for an index");
      continue;
    }
    if (!t.defined() || t.dtype() != DType::b8) {
      out.push_back(t);
      continue;
    }
    for (int d = 0; d < t.dim(); ++d) {
      const int at = int(i) + d;
      GS_CHECK_INDEX(at < x.dim() && x.shape()[at] == t.shape()[d],
                     "index: a mask of shape {} does not match shape {} at dim {}", t.shape(),
                     x.shape(), i);
    }
    const Tensor where_true = nonzero(t);
    for (int d = 0; d < t.dim(); ++d) out.push_back(contiguous(select(where_true, 1, d)));
  }
  return out;
}

Plan make_plan(const Tensor& x, const std::vector<Tensor>& given) {
  const std::vector<Tensor> indices = integer_indices(x, given);
  GS_CHECK_INDEX(int(indices.size()) <= x.dim(), "index: {} indices given for shape {}",
                 indices.size(), x.shape());
  Plan p;
  int first = -1, last = -1, count = 0;
  for (int d = 0; d < int(indices.size()); ++d) {
    if (!indices[std::size_t(d)].defined()) continue;
    if (first < 0) first = d;
    last = d;
    ++count;
    p.positions = broadcast_shapes("index", p.positions, indices[std::size_t(d)].shape());
  }
  GS_CHECK(count > 0, "index: no index tensor was given");
  p.front = last - first + 1 == count ? first : 0;  // neighbours stay in place, as in NumPy
  p.flat = zeros(p.positions, DType::i64);
  auto* flat = p.flat.data_as<std::int64_t>();
  for (int d = 0; d < int(indices.size()); ++d) {
    if (!indices[std::size_t(d)].defined()) continue;
    p.order.push_back(d);
    const std::int64_t size = x.shape()[d];
    p.merged *= size;
    check_index("index", indices[std::size_t(d)], size);
    const Tensor full = contiguous(broadcast_to(indices[std::size_t(d)], p.positions));
    const auto* values = full.data_as<std::int64_t>();
    for (std::int64_t i = 0; i < full.numel(); ++i)
      flat[i] = flat[i] * size + (values[i] < 0 ? values[i] + size : values[i]);
  }
  for (int d = 0; d < x.dim(); ++d) {
    if (p.order.contains(d)) continue;
    p.order.push_back(d);
    p.tail.push_back(x.shape()[d]);
  }
  return p;
}

// Of the result: positions first, then the tail; this puts the positions at `front`.
Dims result_order(const Plan& p) {
  Dims order;
  const int n = p.positions.size();
  for (int d = 0; d < p.front; ++d) order.push_back(n + d);
  for (int d = 0; d < n; ++d) order.push_back(d);
  for (int d = p.front; d < p.tail.size(); ++d) order.push_back(n + d);
  return order;
}
Dims inverse(const Dims& order) {
  Dims inv = order;
  for (int d = 0; d < order.size(); ++d) inv[int(order[d])] = d;
  return inv;
}
Dims joined(const Dims& a, const Dims& b) {
  Dims out = a;
  for (auto v : b) out.push_back(v);
  return out;
}

}  // namespace

// Views, one index_select, and views again: so the gradient needs no rule of its own.
Tensor index(const Tensor& x, const std::vector<Tensor>& indices) {
  check_defined("index", "input", x);
  const Plan p = make_plan(x, indices);
  const Tensor rows = reshape(permute(x, p.order), joined({p.merged}, p.tail));
  const Tensor picked = index_select(rows, 0, reshape(p.flat, {p.flat.numel()}));
  return permute(reshape(picked, joined(p.positions, p.tail)), result_order(p));
}

Tensor index_put_(const Tensor& x, const std::vector<Tensor>& indices, const Operand& values,
                  bool accumulate) {
  check_writable("index_put_", x);
  check_untracked("index_put_", "values", values);
  check_cpu("index_put_", x, values);
  const Plan p = make_plan(x, indices);
  NoGradGuard guard;
  const Dims order = result_order(p);
  Dims shape;  // of x[indices]
  const Dims unordered = joined(p.positions, p.tail);
  for (auto d : order) shape.push_back(unordered[int(d)]);
  check_broadcast("index_put_", "values", values, shape);
  const Tensor spread = broadcast_to(to_dtype(values, x.dtype()), shape);
  Tensor rows =
      contiguous(reshape(permute(spread, inverse(order)), joined({p.flat.numel()}, p.tail)));
  if (rows.numel() == 0) return x;
  if (same_memory(rows, x)) rows = clone(rows);
  const Tensor front = permute(x, p.order);
  const Tensor flat_index = reshape(p.flat, {p.flat.numel()});
  // A view of x where its strides allow, else a copy that has to be copied back.
  const Tensor target = reshape(front, joined({p.merged}, p.tail));
  if (accumulate) {
    check_addable("index_put_", x);
    add_slices(target, 0, flat_index, rows);
  } else {
    kernels::scatter_axis(target.view(), rows.view(),
                          spread_index(flat_index, rows.shape(), 0).view(), 0);
  }
  if (!same_memory(target, x)) copy_(front, reshape(target, front.shape()));
  return written(x);
}

Tensor nonzero(const Tensor& x) {
  check_defined("nonzero", "input", x);
  check_cpu("nonzero", x);
  const Tensor mask = contiguous(x.dtype() == DType::b8 ? x : ne(x.detach(), Operand(0.0)));
  const bool* on = mask.data_as<bool>();
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < mask.numel(); ++i) count += on[i];
  Tensor out = empty({count, x.dim()}, DType::i64);
  auto* row = out.data_as<std::int64_t>();
  for (std::int64_t i = 0; i < mask.numel(); ++i) {
    if (!on[i]) continue;
    std::int64_t rest = i;
    for (int d = x.dim() - 1; d >= 0; --d) {
      row[d] = rest % x.shape()[d];
      rest /= x.shape()[d];
    }
    row += x.dim();
  }
  return out;
}

Tensor masked_select(const Tensor& x, const Tensor& mask) {
  check_defined("masked_select", "input", x);
  check_defined("masked_select", "mask", mask);
  GS_CHECK_TYPE(mask.dtype() == DType::b8, "masked_select: mask must be bool, got {}",
                mask.dtype());
  const Dims shape = broadcast_shapes("masked_select", x.shape(), mask.shape());
  return index(reshape(broadcast_to(x, shape), {-1}), {reshape(broadcast_to(mask, shape), {-1})});
}

Tensor one_hot(const Tensor& x, std::int64_t num_classes) {
  check_class_index("one_hot", "input", x);
  check_cpu("one_hot", x);
  const Tensor flat = contiguous(x);
  const auto* values = flat.data_as<std::int64_t>();
  std::int64_t classes = num_classes;
  if (classes == -1) {
    GS_CHECK(x.numel() > 0, "one_hot: num_classes must be given for an empty input");
    for (std::int64_t i = 0; i < x.numel(); ++i) classes = std::max(classes, values[i] + 1);
  }
  GS_CHECK(classes > 0, "one_hot: num_classes must be positive, got {}", num_classes);
  Dims shape = x.shape();
  shape.push_back(classes);
  Tensor y = zeros(shape, DType::i64);
  auto* out = y.data_as<std::int64_t>();
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    GS_CHECK_INDEX(values[i] >= 0 && values[i] < classes,
                   "one_hot: class {} is out of range for {} classes", values[i], classes);
    out[i * classes + values[i]] = 1;
  }
  return y;
}

}  // namespace gradsmith::ops
