#include "core/shape.h"

#include "base/check.h"
#include "core/tensor_impl.h"

namespace gradsmith {

void Dims::too_long() { fail(ErrorKind::value, "a tensor has at most {} dimensions", kMaxDims); }

std::ostream& operator<<(std::ostream& out, const Dims& dims) {
  out << '(';
  for (int i = 0; i < dims.size(); ++i) out << (i ? ", " : "") << dims[i];
  return out << (dims.size() == 1 ? ",)" : ")");
}

Dims contiguous_strides(const Dims& shape) {
  Dims strides = shape;
  std::int64_t step = 1;
  for (int d = shape.size() - 1; d >= 0; --d) {
    strides[d] = step;
    step *= shape[d] > 1 ? shape[d] : 1;
  }
  return strides;
}

bool is_contiguous(const Dims& shape, const Dims& strides) {
  std::int64_t step = 1;
  for (int d = shape.size() - 1; d >= 0; --d) {
    if (shape[d] == 0) return true;
    if (shape[d] != 1 && strides[d] != step) return false;
    step *= shape[d];
  }
  return true;
}

std::size_t checked_bytes(const Dims& shape, DType dtype) {
  std::int64_t bytes = std::int64_t(itemsize(dtype));
  bool overflow = false, zero = false;
  for (auto n : shape) {
    GS_CHECK(n >= 0, "shape {}: sizes must not be negative", shape);
    zero |= n == 0;
    overflow |= __builtin_mul_overflow(bytes, n, &bytes);
  }
  if (zero) return 0;
  GS_CHECK_KIND(memory, !overflow, "a tensor of shape {} and dtype {} does not fit in memory",
                shape, dtype);
  return std::size_t(bytes);
}

Dims broadcast_shapes(const char* op, const Dims& a, const Dims& b) {
  if (a == b) return a;
  const int rank = a.size() > b.size() ? a.size() : b.size();
  Dims out = Dims::filled(rank, 1);
  for (int i = 1; i <= rank; ++i) {
    const std::int64_t m = i <= a.size() ? a[a.size() - i] : 1;
    const std::int64_t n = i <= b.size() ? b[b.size() - i] : 1;
    GS_CHECK(m == n || m == 1 || n == 1, "{}: shapes {} and {} cannot be broadcast together", op, a,
             b);
    out[rank - i] = m == 1 ? n : m;
  }
  return out;
}

Dims broadcast_strides(const Dims& shape, const Dims& strides, const Dims& to) {
  Dims out = Dims::filled(to.size(), 0);
  const int skip = to.size() - shape.size();
  for (int d = 0; d < shape.size(); ++d)
    out[d + skip] = shape[d] == 1 && to[d + skip] != 1 ? 0 : strides[d];
  return out;
}

int check_dim(const char* op, std::int64_t dim, int rank) {
  const int limit = rank > 0 ? rank : 1;
  GS_CHECK_INDEX(dim >= -limit && dim < limit, "{}: dim {} is out of range [{}, {}] for rank {}",
                 op, dim, -limit, limit - 1, rank);
  return int(dim < 0 ? dim + limit : dim);
}

bool view_strides(const Dims& shape, const Dims& strides, const Dims& to, Dims& out) {
  if (shape.product() == 0) {
    out = contiguous_strides(to);
    return true;
  }
  Dims sizes, steps;
  for (int d = 0; d < shape.size(); ++d) {
    if (shape[d] == 1) continue;
    sizes.push_back(shape[d]);
    steps.push_back(strides[d]);
  }
  // From the back: take runs of dimensions that lie behind each other and cut each into `to`.
  out = Dims::filled(to.size(), 1);
  int t = to.size() - 1;
  for (int d = sizes.size() - 1; d >= 0; --d) {
    std::int64_t run = sizes[d];
    const std::int64_t step = steps[d];
    while (d > 0 && steps[d - 1] == step * run) run *= sizes[--d];
    std::int64_t covered = 1;
    while (covered < run) {
      if (t < 0) return false;
      out[t] = step * covered;
      covered *= to[t--];
    }
    if (covered != run) return false;
  }
  return true;
}

Dims infer_shape(const char* op, const Dims& to, std::int64_t numel) {
  Dims out = to;
  int unknown = -1;
  std::int64_t known = 1;
  for (int d = 0; d < to.size(); ++d) {
    if (to[d] == -1) {
      GS_CHECK(unknown < 0, "{}: only one size of shape {} may be -1", op, to);
      unknown = d;
    } else {
      GS_CHECK(to[d] >= 0, "{}: shape {} has a negative size", op, to);
      GS_CHECK(!__builtin_mul_overflow(known, to[d], &known), "{}: shape {} is too large", op, to);
    }
  }
  if (unknown >= 0) {
    GS_CHECK(known > 0 && numel % known == 0, "{}: shape {} does not fit {} elements", op, to,
             numel);
    out[unknown] = numel / known;
  } else {
    GS_CHECK(known == numel, "{}: shape {} does not fit {} elements", op, to, numel);
  }
  return out;
}

namespace {
// 0 bool, 1 integer, 2 floating
int kind(DType t) { return t == DType::b8 ? 0 : is_floating(t) ? 2 : 1; }
}  // namespace

DType promote(DType a, DType b) {
  if (a == b) return a;
  const int ka = kind(a), kb = kind(b);
  if (ka != kb) return ka > kb ? a : b;
  if (ka == 1) {
    if (a == DType::i64 || b == DType::i64) return DType::i64;
    return DType::i32;
  }
  if (a == DType::f64 || b == DType::f64) return DType::f64;
  return DType::f32;  // f32 with a half type, or bf16 with f16
}

DType result_type(const Tensor& a, const Tensor& b) {
  const DType ta = a.dtype(), tb = b.dtype();
  if (ta == tb) return ta;
  // Priority: tensors with dimensions, then 0-d tensors, then numbers; a weaker one only counts
  // when its kind is higher.
  const auto rank = [](const Tensor& t) {
    return t.impl()->wrapped_number ? 0 : t.dim() > 0 ? 2 : 1;
  };
  const int ra = rank(a), rb = rank(b);
  if (ra == rb) return promote(ta, tb);
  const DType strong = ra > rb ? ta : tb, weak = ra > rb ? tb : ta;
  const bool weak_is_number = (ra > rb ? rb : ra) == 0;
  if (kind(weak) <= kind(strong)) return strong;
  // A Python float met an integer tensor: the default dtype, not float64.
  return weak_is_number && weak == DType::f64 ? DType::f32 : weak;
}

}  // namespace gradsmith
