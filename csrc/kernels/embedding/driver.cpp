// Splits the destination over threads and walks the outer dimensions of strided views.
#include <type_traits>

#include "kernels/embedding/embedding.h"
#include "runtime/parallel.h"

namespace gradsmith::kernels {
namespace {

constexpr std::int64_t kGrainBytes = 64 << 10;  // moved by one thread at least

std::int64_t grain_of(std::int64_t unit_bytes) {
  return unit_bytes >= kGrainBytes ? 1 : kGrainBytes / (unit_bytes > 0 ? unit_bytes : 1);
}

template <class P>
P* advance(P* p, std::int64_t elements, DType dtype) {
  using Byte = std::conditional_t<std::is_const_v<P>, const char, char>;
  return static_cast<Byte*>(p) + elements * std::int64_t(itemsize(dtype));
}

// One dimension of the walk, with the strides of the three operands.
struct WalkDim {
  std::int64_t size, out, src, index;
  bool axis;
};

// `values` has the shape of the index, `indexed` is the operand that the index points into; out
// and src are one each. Neighbouring dimensions are merged where all three operands allow it, the
// leaf walks the last two, and the outer ones are counted up here.
void index_walk(const Kernel<gather_elements_fn>& kernel, const NdView& out, const NdView& src,
                const NdView& index, int axis, bool out_indexed) {
  const NdView& indexed = out_indexed ? out : src;
  const DType dtype = src.dtype;
  WalkDim dims[kMaxDims + 2];
  int n = 0;
  std::int64_t total = 1;
  for (int d = 0; d < index.ndim; ++d) {
    const bool on_axis = d == axis;
    const std::int64_t size = index.shape[d];
    total *= size;
    const WalkDim dim{size, on_axis && out_indexed ? 0 : out.strides[d],
                      on_axis && !out_indexed ? 0 : src.strides[d], index.strides[d], on_axis};
    if (size == 1) continue;
    if (n > 0 && !on_axis && !dims[n - 1].axis && dims[n - 1].out == dim.out * size &&
        dims[n - 1].src == dim.src * size && dims[n - 1].index == dim.index * size) {
      const std::int64_t outer = dims[n - 1].size;
      dims[n - 1] = dim;
      dims[n - 1].size = outer * size;
      continue;
    }
    dims[n++] = dim;
  }
  if (total == 0) return;
  while (n < 2) {  // pad in front
    for (int d = n; d > 0; --d) dims[d] = dims[d - 1];
    dims[0] = {1, 0, 0, 0, false};
    ++n;
  }
  // Threads take parts of the outermost dimension that is not the axis: along it no two source
  // elements meet in one destination.
  int split = 0;
  while (split < n - 1 && (dims[split].axis || dims[split].size == 1)) ++split;
  const std::int64_t split_size = dims[split].size;
  const std::int64_t unit_bytes = total / split_size * std::int64_t(itemsize(dtype)) * 2;
  const std::int64_t grain = dims[split].axis ? split_size : grain_of(unit_bytes);
  const auto leaf = kernel.pick(dtype);

  parallel_for(split_size, grain, [&](std::int64_t begin, std::int64_t end) {
    WalkDim local[kMaxDims + 2];
    for (int d = 0; d < n; ++d) local[d] = dims[d];
    std::int64_t out_at = begin * local[split].out, src_at = begin * local[split].src;
    std::int64_t index_at = begin * local[split].index;
    local[split].size = end - begin;
    const WalkDim &row = local[n - 2], &column = local[n - 1];
    std::int64_t counter[kMaxDims + 2] = {};
    for (;;) {
      leaf({.out = advance(out.data, out_at, dtype),
            .src = advance(static_cast<const void*>(src.data), src_at, dtype),
            .index = static_cast<const std::int64_t*>(index.data) + index_at,
            .rows = row.size,
            .columns = column.size,
            .out_row = row.out,
            .out_column = column.out,
            .src_row = row.src,
            .src_column = column.src,
            .index_row = row.index,
            .index_column = column.index,
            .axis_stride = indexed.strides[axis],
            .axis_size = indexed.shape[axis]});
      int d = n - 3;
      for (; d >= 0; --d) {
        out_at += local[d].out;
        src_at += local[d].src;
        index_at += local[d].index;
        if (++counter[d] < local[d].size) break;
        out_at -= local[d].out * local[d].size;
        src_at -= local[d].src * local[d].size;
        index_at -= local[d].index * local[d].size;
        counter[d] = 0;
      }
      if (d < 0) return;
    }
  });
}

}  // namespace

void embedding_forward(DType dtype, const TakeRows& args) {
  const auto leaf = take_rows.pick(dtype);
  const std::int64_t grain = grain_of(args.columns * std::int64_t(itemsize(dtype)) * 2);
  parallel_for(args.rows, grain, [&](std::int64_t begin, std::int64_t end) {
    TakeRows part = args;
    part.rows = end - begin;
    part.index += begin;
    part.out = advance(part.out, begin * args.out_row, dtype);
    leaf(part);
  });
}

void embedding_backward(DType dtype, const AddRows& args) {
  const auto leaf = add_rows.pick(dtype);
  const std::int64_t row_bytes = args.columns * std::int64_t(itemsize(dtype));
  const bool small = args.rows * row_bytes < 2 * kGrainBytes;
  // Columns first: every thread then has the same work whatever the indices are. Narrow tables
  // are split by rows instead, and every thread scans all indices.
  constexpr std::int64_t kColumns = 64;
  if (small || args.columns >= 2 * kColumns) {
    parallel_for(args.columns, small ? args.columns : kColumns,
                 [&](std::int64_t begin, std::int64_t end) {
                   AddRows part = args;
                   part.columns = end - begin;
                   part.dst = advance(part.dst, begin, dtype);
                   part.src = advance(part.src, begin, dtype);
                   part.first = 0;
                   part.last = args.dst_rows;
                   leaf(part);
                 });
    return;
  }
  const std::int64_t parts = get_num_threads();
  parallel_for(args.dst_rows, (args.dst_rows + parts - 1) / parts,
               [&](std::int64_t begin, std::int64_t end) {
                 AddRows part = args;
                 part.first = begin;
                 part.last = end;
                 leaf(part);
               });
}

std::int64_t bad_index(const std::int64_t* index, std::int64_t count, std::int64_t size) {
  return find_bad_index.pick(DType::i64)(index, count, size);
}

void gather_axis(const NdView& out, const NdView& src, const NdView& index, int axis) {
  index_walk(gather_elements, out, src, index, axis, false);
}
void scatter_axis(const NdView& dst, const NdView& src, const NdView& index, int axis) {
  index_walk(scatter_elements, dst, src, index, axis, true);
}
void scatter_add_axis(const NdView& dst, const NdView& src, const NdView& index, int axis) {
  index_walk(scatter_add_elements, dst, src, index, axis, true);
}

}  // namespace gradsmith::kernels
