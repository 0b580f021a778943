// Shape arithmetic shared by ops.
#pragma once
#include "gradsmith/tensor.h"

namespace gradsmith {

GS_API Dims contiguous_strides(const Dims& shape);
GS_API bool is_contiguous(const Dims& shape, const Dims& strides);
// Bytes of a tensor; throws Error(value) when a size is negative and Error(memory) on overflow.
GS_API std::size_t checked_bytes(const Dims& shape, DType dtype);

GS_API Dims broadcast_shapes(const char* op, const Dims& a, const Dims& b);
// Strides with 0 where `shape` is broadcast to `to` (which must be compatible).
GS_API Dims broadcast_strides(const Dims& shape, const Dims& strides, const Dims& to);

// 0 <= result < rank (rank 0 counts as 1); throws Error(index) that names op and argument.
GS_API int check_dim(const char* op, std::int64_t dim, int rank);
// The strides that view `shape`/`strides` as `to` without a copy; false if there are none.
GS_API bool view_strides(const Dims& shape, const Dims& strides, const Dims& to, Dims& out);
// Replaces one -1 in `to` by what `numel` leaves; throws where sizes do not fit.
GS_API Dims infer_shape(const char* op, const Dims& to, std::int64_t numel);

GS_API DType promote(DType a, DType b);
// Of two operands, where a wrapped number only contributes its kind.
GS_API DType result_type(const Tensor& a, const Tensor& b);

}  // namespace gradsmith
