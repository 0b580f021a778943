// Arguments of indexing, random numbers, pooling, optimizer steps and convolution. Part of
// cuda_abi.h, which includes it and says what holds for all of them.
#pragma once

namespace gradsmith::cuda {

// ---- Indexing -----------------------------------------------------------------------------------
// Indices are int64 and in range; negative ones count from the end.

// out[i, :] = src[index[i], :], all three contiguous.
struct TakeRowsArgs {
  void* out;
  const void* src;
  const std::int64_t* index;
  std::int64_t rows, columns, src_rows;
  std::int32_t itemsize;
};

// For every e of `shape`: out[e] = src[e with e[axis] replaced by index[e]].
struct GatherArgs {
  std::int32_t ndim, axis;
  std::int64_t shape[kMaxDims];
  Operand out, src, index;
  std::int64_t axis_size;  // of src
};

// For every e of `shape`: dst[e with e[axis] replaced by index[e]] += src[e], in the order of
// e[axis]. One thread walks the axis: for short axes or many lines.
struct ScatterAddArgs {
  std::int32_t ndim, axis;
  std::int64_t shape[kMaxDims];
  Operand dst, src, index;
  std::int64_t axis_size;  // of dst
};

// keys[i], i counting through `shape` in row-major order: where the element that index points to
// lies, by the strides of what is indexed.
struct IndexKeysArgs {
  std::int64_t* keys;
  std::int32_t ndim, axis;
  std::int64_t shape[kMaxDims];
  std::int64_t strides[kMaxDims];  // of what is indexed
  Operand index;
  std::int64_t axis_size;
};

// Stable sort of n keys in [0, bound): sorted[i] = keys[order[i]]. The spares are scratch of n
// each.
struct SortKeysArgs {
  const std::int64_t* keys;
  std::int64_t *sorted, *order, *sorted_spare, *order_spare;
  std::int64_t* counts;  // scratch: sort_counts(n)
  std::int64_t n, bound;
};
inline constexpr std::int64_t kSortTile = 2048;
constexpr std::int64_t sort_counts(std::int64_t n) {
  return 16 * ((n + kSortTile - 1) / kSortTile);
}

// With (keys, order) sorted: for every r of `shape` and i in order,
// dst[r + keys[i] * dst_axis] = or += src[r + order[i] * src_axis]; of equal keys the last wins.
struct ScatterSortedArgs {
  std::int32_t ndim;
  std::int64_t shape[kMaxDims];
  Operand dst, src;
  std::int64_t dst_axis, src_axis;
  const std::int64_t *keys, *order;
  std::int64_t n;
  bool add;
};

// *first = least i with index[i] outside [low, high), if that is below *first. The caller starts
// with all bits set, which reads as -1.
struct CheckIndexArgs {
  std::int64_t* first;
  std::int32_t ndim;
  std::int64_t shape[kMaxDims];
  Operand index;
  std::int64_t low, high;
};

// starts[t] = how many of the elements before tile t of kNonzeroTile are set; the last of the
// nonzero_tiles(numel) + 1 starts is their number.
struct NonzeroCountArgs {
  const std::uint8_t* mask;
  std::int64_t numel;
  std::int64_t* starts;
};
inline constexpr std::int64_t kNonzeroTile = 2048;
constexpr std::int64_t nonzero_tiles(std::int64_t numel) {
  return (numel + kNonzeroTile - 1) / kNonzeroTile;
}
// The coordinates of the elements that are set, a row each, in order.
struct NonzeroWriteArgs {
  const std::uint8_t* mask;
  std::int64_t numel;
  const std::int64_t* starts;
  std::int32_t ndim;
  std::int64_t shape[kMaxDims];
  std::int64_t* out;
};

// out = condition ? x : y; where data is null the element's bits stand for x or y.
struct WhereArgs {
  std::int32_t ndim;
  std::int64_t shape[kMaxDims];
  Operand out, condition, x, y;
  std::uint64_t x_element, y_element;
};

// out[i] = first + i * step for i < forward, else last - (count - 1 - i) * step, in float64.
struct SequenceArgs {
  void* out;
  DType dtype;
  std::int64_t count, forward;
  double first, step, last;
};

// Every entry is int name(int device, const Args* args, void* stream).
#define GS_CUDA_INDEX_FUNCTIONS(X)     \
  X(take_rows, TakeRowsArgs)           \
  X(gather, GatherArgs)                \
  X(scatter_add, ScatterAddArgs)       \
  X(index_keys, IndexKeysArgs)         \
  X(sort_keys, SortKeysArgs)           \
  X(scatter_sorted, ScatterSortedArgs) \
  X(check_index, CheckIndexArgs)       \
  X(nonzero_count, NonzeroCountArgs)   \
  X(nonzero_write, NonzeroWriteArgs)   \
  X(where, WhereArgs)                  \
  X(sequence, SequenceArgs)

}  // namespace gradsmith::cuda
