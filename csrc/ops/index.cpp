// Gathering and scattering by index tensors.
#include <algorithm>

#include "ops/dispatch_index.h"

namespace gradsmith::ops {

namespace {

// Element `at` of an index tensor in row-major order, for messages; 0 for none.
std::int64_t element(const Tensor& index, std::int64_t at) {
  return at < 0 ? 0 : to_device(contiguous(index), {}).data_as<std::int64_t>()[at];
}

// int64, every value in [least, size).
void check_index(const char* op, const Tensor& index, std::int64_t size, std::int64_t least = 0) {
  check_class_index(op, "index", index);
  const std::int64_t bad = dispatch::bad_index(index, least, size);
  GS_CHECK_INDEX(bad < 0, "{}: index {} (at position {}) is out of range, must lie in [{}, {})", op,
                 element(index, bad), bad, least, size);
}

// An index vector seen as a tensor of `shape` that varies along `dim` only.
Tensor spread_index(const Tensor& index, const Dims& shape, int dim) {
  Dims strides = Dims::filled(shape.size(), 0);
  strides[dim] = index.strides()[0];
  return alias(index, shape, strides, 0);
}

int check_axis_and_vector(const char* op, const Tensor& x, std::int64_t dim, const Tensor& index) {
  check_defined(op, "input", x);
  const int at = check_dim(op, dim, x.dim());
  GS_CHECK(x.dim() > 0, "{}: the input must have rank 1 or more", op);
  check_rank(op, "index", index, 1);
  check_same_device(op, x, index);
  check_index(op, index, x.shape()[at]);
  return at;
}

// What kernels add in: of other types sums are taken in a wider one and cast back.
DType addable(DType t) {
  if (is_half(t)) return DType::f32;
  return is_floating(t) ? t : DType::i64;
}
void check_addable(const char* op, const Tensor& x) {
  GS_CHECK_TYPE(x.dtype() == DType::f32 || x.dtype() == DType::f64 || x.dtype() == DType::i64,
                "{}: must be float32, float64 or int64, got {}", op, x.dtype());
}

// index_select and index_add of each other's rules and of index(), which has looked at the indices:
// negative ones count from the end, as for the kernels.
Tensor add_slices(const Tensor& x, int at, const Tensor& index, const Tensor& source);

Tensor take_slices(const Tensor& x, int at, const Tensor& index) {
  Dims shape = x.shape();
  shape[at] = index.numel();
  Tensor y = empty(shape, x.dtype(), x.device());
  if (at == 0 && x.is_contiguous() && index.is_contiguous()) {
    dispatch::take_rows(y, x, index);
  } else {
    dispatch::gather(y, x, spread_index(index, shape, at), at);
  }
  if (!tracked(x)) return y;
  return record("index_select", y, {x}, [=, from = x.shape(), index = save(index)](const Grads& g) {
    const Tensor base = zeros(from, g[0].dtype(), g[0].device());
    return grads(add_slices(base, at, index.unpack(g), g[0]));
  });
}

Tensor add_slices(const Tensor& x, int at, const Tensor& index, const Tensor& source) {
  if (const DType wide = addable(x.dtype()); wide != x.dtype())
    return to_dtype(add_slices(to_dtype(x, wide), at, index, to_dtype(source, wide)), x.dtype());
  Tensor y = clone(x.detach());
  dispatch::add_slices(y, source, index, at);
  if (!tracked(x, source)) return y;
  return record("index_add", y, {x, source}, [=, index = save(index)](const Grads& g) {
    return grads(g[0], g.needs(1) ? take_slices(g[0], at, index.unpack(g)) : Tensor());
  });
}

}  // namespace

Tensor index_select(const Tensor& x, std::int64_t dim, const Tensor& index) {
  return take_slices(x, check_axis_and_vector("index_select", x, dim, index), index);
}

// x with source rows added where index says.
Tensor index_add(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source) {
  const int at = check_axis_and_vector("index_add", x, dim, index);
  check_defined("index_add", "source", source);
  check_same_dtype("index_add", "source", source, "input", x);
  Dims shape = x.shape();
  shape[at] = index.numel();
  GS_CHECK(source.shape() == shape, "index_add: source must have shape {}, got {}", shape,
           source.shape());
  return add_slices(x, at, index, source);
}

namespace {
int check_gather(const char* op, const Tensor& x, std::int64_t dim, const Tensor& index) {
  check_defined(op, "input", x);
  const int at = check_dim(op, dim, x.dim());
  check_class_index(op, "index", index);
  check_same_device(op, x, index);
  GS_CHECK(index.dim() == x.dim(), "{}: index has rank {}, the input {}", op, index.dim(), x.dim());
  for (int d = 0; d < x.dim(); ++d)
    GS_CHECK(d == at || index.shape()[d] <= x.shape()[d],
             "{}: index of shape {} does not fit an input of shape {} off dim {}", op,
             index.shape(), x.shape(), at);
  check_index(op, index, x.dim() > 0 ? x.shape()[at] : 1);
  return at;
}
// Kernels want rank 1 or more.
Tensor lift(const Tensor& t) { return t.dim() == 0 ? alias(t, {1}, {1}, 0) : t; }
}  // namespace

Tensor gather(const Tensor& x, std::int64_t dim, const Tensor& index) {
  const int at = check_gather("gather", x, dim, index);
  Tensor y = empty(index.shape(), x.dtype(), x.device());
  dispatch::gather(lift(y), lift(x), lift(index), at);
  if (!tracked(x)) return y;
  return record("gather", y, {x}, [=, from = x.shape(), index = save(index)](const Grads& g) {
    const Tensor base = zeros(from, g[0].dtype(), g[0].device());
    return grads(scatter_add(base, at, index.unpack(g), g[0]));
  });
}

Tensor scatter_add(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source) {
  const int at = check_gather("scatter_add", x, dim, index);
  check_defined("scatter_add", "src", source);
  check_same_dtype("scatter_add", "src", source, "input", x);
  GS_CHECK(source.dim() == index.dim(), "scatter_add: src has rank {}, index {}", source.dim(),
           index.dim());
  if (source.shape() != index.shape()) {  // its first elements count
    Tensor part = source;
    for (int d = 0; d < index.dim(); ++d) {
      GS_CHECK(index.shape()[d] <= source.shape()[d],
               "scatter_add: src {} must not be smaller than index {}", source.shape(),
               index.shape());
      part = narrow(part, d, 0, index.shape()[d]);
    }
    return scatter_add(x, dim, index, part);
  }
  if (const DType wide = addable(x.dtype()); wide != x.dtype())
    return to_dtype(scatter_add(to_dtype(x, wide), dim, index, to_dtype(source, wide)), x.dtype());
  Tensor y = clone(x.detach());
  dispatch::scatter_add(lift(y), lift(source), lift(index), at);
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
  for (int d = 0; d < int(indices.size()); ++d) {
    if (!indices[std::size_t(d)].defined()) continue;
    p.order.push_back(d);
    const std::int64_t size = x.shape()[d];
    p.merged *= size;
    Tensor at = indices[std::size_t(d)];
    GS_CHECK(at.device() == x.device(), "index: the tensors are on different devices, {} and {}",
             x.device(), at.device());
    check_index("index", at, size, -size);
    at = broadcast_to(at, p.positions);
    if (count > 1) at = add(at, mul(to_dtype(lt(at, 0), DType::i64), size));  // from the front
    p.flat = p.flat.defined() ? add(mul(p.flat, size), at) : at;
  }
  p.flat = contiguous(p.flat);
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

// Views, one selection, and views again: so the gradient needs no rule of its own.
Tensor index(const Tensor& x, const std::vector<Tensor>& indices) {
  check_defined("index", "input", x);
  const Plan p = make_plan(x, indices);
  const Tensor rows = reshape(permute(x, p.order), joined({p.merged}, p.tail));
  const Tensor picked = take_slices(rows, 0, reshape(p.flat, {p.flat.numel()}));
  return permute(reshape(picked, joined(p.positions, p.tail)), result_order(p));
}

Tensor index_put_(const Tensor& x, const std::vector<Tensor>& indices, const Operand& values,
                  bool accumulate) {
  check_writable("index_put_", x);
  check_untracked("index_put_", "values", values);
  GS_CHECK(x.device() == values.device() || (on_cpu(values) && values.dim() == 0),
           "index_put_: tensors are on different devices, {} and {}", x.device(), values.device());
  NoGradGuard guard;
  const Plan p = make_plan(x, indices);
  const Dims order = result_order(p);
  Dims shape;  // of x[indices]
  const Dims unordered = joined(p.positions, p.tail);
  for (auto d : order) shape.push_back(unordered[int(d)]);
  check_broadcast("index_put_", "values", values, shape);
  const Tensor cast = values.impl()->wrapped_number
                          ? element_of("index_put_", "values", values, x.dtype())
                          : to_dtype(values, x.dtype());
  const Tensor spread = broadcast_to(to_device(cast, x.device()), shape);
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
    dispatch::add_slices(target, rows, flat_index, 0);
  } else {
    dispatch::put_slices(target, rows, flat_index, 0);
  }
  if (!same_memory(target, x)) copy_(front, reshape(target, front.shape()));
  return written(x);
}

Tensor nonzero(const Tensor& x) {
  check_defined("nonzero", "input", x);
  return dispatch::nonzero(contiguous(x.dtype() == DType::b8 ? x : ne(x.detach(), Operand(0.0))));
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
  std::int64_t classes = num_classes;
  if (classes == -1) {
    GS_CHECK(x.numel() > 0, "one_hot: num_classes must be given for an empty input");
    const Tensor here = to_device(contiguous(x), {});
    const auto* values = here.data_as<std::int64_t>();
    for (std::int64_t i = 0; i < x.numel(); ++i) classes = std::max(classes, values[i] + 1);
  }
  GS_CHECK(classes > 0, "one_hot: num_classes must be positive, got {}", num_classes);
  const std::int64_t bad = dispatch::bad_index(x, 0, classes);
  GS_CHECK_INDEX(bad < 0, "one_hot: class {} is out of range for {} classes", element(x, bad),
                 classes);
  const Tensor all = arange(0, double(classes), 1, DType::i64, x.device());
  return to_dtype(eq(unsqueeze(x, -1), all), DType::i64);
}

}  // namespace gradsmith::ops
