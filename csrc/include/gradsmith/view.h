// Plain views of memory that somebody else owns. Kernels and embedders speak these.
#pragma once
#include <cstdint>

#include "gradsmith/dtype.h"

namespace gradsmith {

inline constexpr int kMaxDims = 8;

// An n-dimensional strided array. Strides count elements, may be 0 (broadcast) or negative.
struct NdView {
  void* data;
  DType dtype;
  int ndim;
  const std::int64_t* shape;
  const std::int64_t* strides;

  std::int64_t numel() const {
    std::int64_t n = 1;
    for (int d = 0; d < ndim; ++d) n *= shape[d];
    return n;
  }
};

}  // namespace gradsmith
