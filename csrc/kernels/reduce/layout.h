// Brings any strided array and any set of reduced dimensions to the fewest dimensions that say the
// same: sizes of 1 dropped, ordered by stride, neighbours merged.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "gradsmith/view.h"

namespace gradsmith::kernels {

struct ReduceDim {
  std::int64_t size, stride;  // stride in elements of x
  std::int64_t out_stride;    // of the dense output; kept dimensions only
};

struct DimList {
  ReduceDim dim[kMaxDims];
  int count = 0;

  std::int64_t numel(int dims) const {  // of the outermost `dims` dimensions
    std::int64_t n = 1;
    for (int d = 0; d < dims; ++d) n *= dim[d].size;
    return n;
  }
  std::int64_t numel() const { return numel(count); }

  // Offsets of element number `index`, row-major, of the outermost `dims` dimensions.
  struct Offset {
    std::int64_t x, out;
  };
  Offset offset(std::int64_t index, int dims) const {
    Offset at{0, 0};
    for (int d = dims - 1; d >= 0 && index > 0; --d) {
      const std::int64_t i = index % dim[d].size;
      index /= dim[d].size;
      at.x += i * dim[d].stride;
      at.out += i * dim[d].out_stride;
    }
    return at;
  }

  void sort() {  // widest stride first
    std::stable_sort(dim, dim + count, [](const ReduceDim& a, const ReduceDim& b) {
      return std::abs(a.stride) > std::abs(b.stride);
    });
  }
  void merge() {
    int last = 0;
    for (int d = 1; d < count; ++d) {
      ReduceDim& outer = dim[last];
      const ReduceDim& inner = dim[d];
      if (outer.stride == inner.stride * inner.size &&
          outer.out_stride == inner.out_stride * inner.size) {
        outer = {outer.size * inner.size, inner.stride, inner.out_stride};
      } else {
        dim[++last] = inner;
      }
    }
    if (count > 0) count = last + 1;
  }
};

struct ReduceLayout {
  DimList kept, reduced;
  const char* x;
  std::int64_t outputs, elements;  // elements reduced per output

  // `ordered`: the reduced dimensions must be walked in row-major order (arg_reduce).
  ReduceLayout(const NdView& view, unsigned dims, bool ordered)
      : x(static_cast<const char*>(view.data)) {
    outputs = elements = 1;
    for (int d = view.ndim - 1; d >= 0; --d) {
      const bool is_reduced = (dims >> d) & 1u;
      const std::int64_t size = view.shape[d];
      std::int64_t stride = view.strides[d];
      const std::int64_t out_stride = is_reduced ? 0 : outputs;
      (is_reduced ? elements : outputs) *= size;
      if (size <= 1) continue;
      if (is_reduced && stride < 0 && !ordered) {  // the order does not matter: walk upwards
        x += (size - 1) * stride * std::int64_t(itemsize(view.dtype));
        stride = -stride;
      }
      DimList& list = is_reduced ? reduced : kept;
      list.dim[list.count++] = {size, stride, out_stride};
    }
    std::reverse(kept.dim, kept.dim + kept.count);
    std::reverse(reduced.dim, reduced.dim + reduced.count);
    kept.sort();
    kept.merge();
    if (!ordered) reduced.sort();
    reduced.merge();
  }

  // Is the fastest dimension one that is reduced?
  bool by_rows() const {
    if (reduced.count == 0) return false;
    if (kept.count == 0) return true;
    return std::abs(reduced.dim[reduced.count - 1].stride) <=
           std::abs(kept.dim[kept.count - 1].stride);
  }
};

}  // namespace gradsmith::kernels
