#include "ops/dispatch_index.h"

#include <algorithm>
#include <cstring>

#include "kernels/embedding/embedding.h"
#include "runtime/cuda_graph.h"

namespace gradsmith::ops::dispatch {

namespace {

cuda::Operand operand(const Tensor& t) {
  cuda::Operand o{t.data(), t.dtype(), {}};
  std::copy(t.strides().begin(), t.strides().end(), o.strides);
  return o;
}
template <class Args>
Args with_shape(const Dims& shape) {
  Args args{};
  args.ndim = shape.size();
  std::copy(shape.begin(), shape.end(), args.shape);
  return args;
}
Tensor scratch(std::int64_t count, const Tensor& like) {
  return empty({count}, DType::i64, like.device());
}

// An index vector seen as a tensor of `shape` that varies along `axis` only.
Tensor spread_index(const Tensor& index, const Dims& shape, int axis) {
  Dims strides = Dims::filled(shape.size(), 0);
  strides[axis] = index.strides()[0];
  return alias(index, shape, strides, 0);
}

// ---- Writing by index on CUDA ----

struct Sorted {
  Tensor keys, order;
};
// Of the places that index (whose shape is walked in row-major order) points to.
Sorted sort_places(const Tensor& index, int axis, std::int64_t axis_size, const Dims& strides,
                   std::int64_t bound) {
  const int device = index.device().index;
  const std::int64_t n = index.numel();
  const Tensor keys = scratch(n, index), sorted = scratch(n, index), order = scratch(n, index);
  auto args = with_shape<cuda::IndexKeysArgs>(index.shape());
  args.keys = keys.data_as<std::int64_t>();
  args.axis = axis;
  std::copy(strides.begin(), strides.end(), args.strides);
  args.index = operand(index);
  args.axis_size = axis_size;
  cuda::index_keys(device, args);
  const Tensor spare = scratch(n, index), spare_order = scratch(n, index);
  const Tensor counts = scratch(cuda::sort_counts(n), index);
  cuda::sort_keys(device, {.keys = keys.data_as<std::int64_t>(),
                           .sorted = sorted.data_as<std::int64_t>(),
                           .order = order.data_as<std::int64_t>(),
                           .sorted_spare = spare.data_as<std::int64_t>(),
                           .order_spare = spare_order.data_as<std::int64_t>(),
                           .counts = counts.data_as<std::int64_t>(),
                           .n = n,
                           .bound = bound});
  return {sorted, order};
}

// The elements of one index are those of dst and src off the axis.
void write_slices(const Tensor& dst, const Tensor& src, const Tensor& index, int axis, bool add) {
  if (src.numel() == 0) return;
  const std::int64_t size = dst.shape()[axis];
  const Sorted s = sort_places(index, 0, size, {1}, size);
  Dims shape = src.shape();
  shape[axis] = 1;
  auto args = with_shape<cuda::ScatterSortedArgs>(shape);
  args.dst = operand(dst);
  args.src = operand(src);
  args.dst_axis = dst.strides()[axis];
  args.src_axis = src.strides()[axis];
  args.keys = s.keys.data_as<std::int64_t>();
  args.order = s.order.data_as<std::int64_t>();
  args.n = index.numel();
  args.add = add;
  cuda::scatter_sorted(dst.device().index, args);
}

// A number on the CPU travels in the arguments.
cuda::Operand operand_or_element(const Tensor& t, std::uint64_t& element) {
  if (!on_cpu(t)) return operand(t);
  std::memcpy(&element, t.data(), itemsize(t.dtype()));
  return {nullptr, t.dtype(), {}};
}

}  // namespace

std::int64_t bad_index(const Tensor& index, std::int64_t low, std::int64_t high) {
  if (index.numel() == 0) return -1;
  if (on_cpu(index)) {
    const Tensor flat = contiguous(index);
    const auto* values = flat.data_as<std::int64_t>();
    const std::int64_t count = flat.numel();
    if (low == -high) return kernels::bad_index(values, count, high);
    // Without a branch: v - low or high - 1 - v is negative where v is outside.
    std::uint64_t signs = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto v = std::uint64_t(values[i]);
      signs |= (v - std::uint64_t(low)) | (std::uint64_t(high - 1) - v);
    }
    if (!(signs >> 63)) return -1;
    for (std::int64_t i = 0; i < count; ++i)
      if (values[i] < low || values[i] >= high) return i;
    return -1;
  }
  if (cuda::Graph::recording()) return -1;  // the calls before have looked
  const Tensor first = scratch(1, index);
  constexpr std::int64_t kNone = -1;
  fill(first, &kNone);
  auto args = with_shape<cuda::CheckIndexArgs>(index.shape());
  args.first = first.data_as<std::int64_t>();
  args.index = operand(index);
  args.low = low;
  args.high = high;
  cuda::check_index(index.device().index, args);
  return *to_device(first, {}).data_as<std::int64_t>();
}

void take_rows(const Tensor& out, const Tensor& src, const Tensor& index) {
  if (out.numel() == 0) return;
  const std::int64_t rows = src.shape()[0], columns = src.numel() / rows;
  const auto* at = index.data_as<std::int64_t>();
  if (on_cpu(out))
    return kernels::embedding_forward(
        out.dtype(), {out.data(), src.data(), at, index.numel(), columns, columns, columns, rows});
  cuda::take_rows(out.device().index, {out.data(), src.data(), at, index.numel(), columns, rows,
                                       std::int32_t(itemsize(out.dtype()))});
}

void gather(const Tensor& out, const Tensor& src, const Tensor& index, int axis) {
  if (out.numel() == 0) return;
  if (on_cpu(out)) return kernels::gather_axis(out.view(), src.view(), index.view(), axis);
  auto args = with_shape<cuda::GatherArgs>(index.shape());
  args.axis = axis;
  args.out = operand(out);
  args.src = operand(src);
  args.index = operand(index);
  args.axis_size = src.shape()[axis];
  cuda::gather(out.device().index, args);
}

void scatter_add(const Tensor& dst, const Tensor& src, const Tensor& index, int axis) {
  if (src.numel() == 0) return;
  if (on_cpu(dst)) return kernels::scatter_add_axis(dst.view(), src.view(), index.view(), axis);
  const std::int64_t length = index.shape()[axis], lines = index.numel() / length;
  constexpr std::int64_t kShort = 32,
                         kManyLines = 1 << 14;  // the sort is about 20 visits to memory
  if (length <= kShort || lines >= kManyLines) {
    auto args = with_shape<cuda::ScatterAddArgs>(index.shape());
    args.axis = axis;
    args.dst = operand(dst);
    args.src = operand(src);
    args.index = operand(index);
    args.axis_size = dst.shape()[axis];
    return cuda::scatter_add(dst.device().index, args);
  }
  GS_CHECK_STATE(dst.is_contiguous(), "scatter_add: the destination must be contiguous");
  const Sorted s = sort_places(index, axis, dst.shape()[axis], dst.strides(), dst.numel());
  const Tensor values = contiguous(src.detach());
  cuda::ScatterSortedArgs args{};
  args.dst = {dst.data(), dst.dtype(), {}};
  args.src = {values.data(), dst.dtype(), {}};
  args.dst_axis = args.src_axis = 1;
  args.keys = s.keys.data_as<std::int64_t>();
  args.order = s.order.data_as<std::int64_t>();
  args.n = values.numel();
  args.add = true;
  cuda::scatter_sorted(dst.device().index, args);
}

void add_slices(const Tensor& dst, const Tensor& src, const Tensor& index, int axis) {
  if (src.numel() == 0) return;
  if (!on_cpu(dst)) return write_slices(dst, src, index, axis, true);
  if (axis != 0 || !index.is_contiguous() || !dst.is_contiguous())
    return kernels::scatter_add_axis(dst.view(), src.view(),
                                     spread_index(index, src.shape(), axis).view(), axis);
  const Tensor rows = contiguous(src.detach());
  const std::int64_t columns = dst.numel() / dst.shape()[0];
  kernels::embedding_backward(
      dst.dtype(), {dst.data(), rows.data(), index.data_as<std::int64_t>(), index.numel(), columns,
                    columns, columns, dst.shape()[0], -1, 0, 0});
}

void put_slices(const Tensor& dst, const Tensor& src, const Tensor& index, int axis) {
  if (!on_cpu(dst)) return write_slices(dst, src, index, axis, false);
  kernels::scatter_axis(dst.view(), src.view(), spread_index(index, src.shape(), axis).view(),
                        axis);
}

void where(const Tensor& out, const Tensor& condition, const Tensor& x, const Tensor& y) {
  const Dims& shape = out.shape();
  const Tensor on = broadcast_to(condition, shape);
  if (on_cpu(out))
    return kernels::where(out.view(), on.view(), broadcast_to(x.detach(), shape).view(),
                          broadcast_to(y.detach(), shape).view());
  auto args = with_shape<cuda::WhereArgs>(shape);
  args.out = operand(out);
  args.condition = operand(on);
  args.x = operand_or_element(on_cpu(x) ? x : broadcast_to(x.detach(), shape), args.x_element);
  args.y = operand_or_element(on_cpu(y) ? y : broadcast_to(y.detach(), shape), args.y_element);
  cuda::where(out.device().index, args);
}

Tensor nonzero(const Tensor& mask) {
  if (on_cpu(mask)) {
    const bool* on = mask.data_as<bool>();
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < mask.numel(); ++i) count += on[i];
    Tensor out = empty({count, mask.dim()}, DType::i64);
    auto* row = out.data_as<std::int64_t>();
    for (std::int64_t i = 0; i < mask.numel(); ++i) {
      if (!on[i]) continue;
      std::int64_t rest = i;
      for (int d = mask.dim() - 1; d >= 0; --d) {
        row[d] = rest % mask.shape()[d];
        rest /= mask.shape()[d];
      }
      row += mask.dim();
    }
    return out;
  }
  const auto* on = static_cast<const std::uint8_t*>(mask.data());
  const std::int64_t tiles = cuda::nonzero_tiles(mask.numel());
  const Tensor starts = scratch(tiles + 1, mask);
  auto* first = starts.data_as<std::int64_t>();
  cuda::nonzero_count(mask.device().index, {on, mask.numel(), first});
  const std::int64_t count =
      *to_device(slice(starts, 0, tiles, tiles + 1), {}).data_as<std::int64_t>();
  Tensor out = empty({count, mask.dim()}, DType::i64, mask.device());
  auto args = with_shape<cuda::NonzeroWriteArgs>(mask.shape());
  args.mask = on;
  args.numel = mask.numel();
  args.starts = first;
  args.out = out.data_as<std::int64_t>();
  cuda::nonzero_write(mask.device().index, args);
  return out;
}

void sequence(const Tensor& out, double first, double step, double last, std::int64_t forward) {
  cuda::sequence(out.device().index,
                 {out.data(), out.dtype(), out.numel(), forward, first, step, last});
}

// ---- Random numbers ----

namespace {

// While a graph is recorded, numbers go on from where every launch finds the generator.
template <class Args>
void place(Args& args) {
  const cuda::Graph* const graph = cuda::Graph::recording();
  if (!graph) return;
  args.generator = graph->generator();
  args.block = graph->relative(args.block);
}

void random(const Tensor& out, cuda::RandomOp op, const kernels::RandomFill& a) {
  cuda::RandomArgs args{.op = op,
                        .dtype = out.dtype(),
                        .out = a.out,
                        .count = a.count,
                        .seed = a.seed,
                        .block = a.block,
                        .a = a.a,
                        .b = a.b};
  place(args);
  cuda::random(out.device().index, args);
}

}  // namespace

void fill_uniform(const Tensor& out, const kernels::RandomFill& args) {
  if (on_cpu(out)) return kernels::fill_uniform(out.dtype(), args);
  random(out, cuda::RandomOp::uniform, args);
}
void fill_normal(const Tensor& out, const kernels::RandomFill& args) {
  if (on_cpu(out)) return kernels::fill_normal(out.dtype(), args);
  random(out, cuda::RandomOp::normal, args);
}
void fill_bernoulli(const Tensor& out, const kernels::RandomFill& args) {
  if (on_cpu(out)) return kernels::fill_bernoulli(args);
  random(out, cuda::RandomOp::bernoulli, args);
}
void fill_integers(const Tensor& out, const kernels::RandomIntegers& a) {
  if (on_cpu(out)) return kernels::fill_integers(a);
  cuda::RandomArgs args{.op = cuda::RandomOp::integers,
                        .dtype = DType::i64,
                        .out = a.out,
                        .count = a.count,
                        .seed = a.seed,
                        .block = a.block,
                        .low = a.low,
                        .range = a.range};
  place(args);
  cuda::random(out.device().index, args);
}
void dropout(const Tensor& y, const kernels::DropoutForward& a) {
  if (on_cpu(y)) return kernels::dropout(y.dtype(), a);
  cuda::DropoutArgs args{.dtype = y.dtype(),
                         .backward = false,
                         .y = a.y,
                         .mask = a.mask,
                         .x = a.x,
                         .count = a.count,
                         .seed = a.seed,
                         .block = a.block,
                         .p = a.p};
  place(args);
  cuda::dropout(y.device().index, args);
}
void dropout_grad(const Tensor& dx, const kernels::DropoutBackward& a) {
  if (on_cpu(dx)) return kernels::dropout_grad(dx.dtype(), a);
  cuda::dropout(dx.device().index, {.dtype = dx.dtype(),
                                    .backward = true,
                                    .y = a.dx,
                                    .mask = const_cast<std::uint8_t*>(a.mask),
                                    .x = a.dy,
                                    .count = a.count,
                                    .p = a.p});
}

// ---- Pooling ----

namespace {

cuda::PoolArgs pool_args(cuda::PoolOp op, const Windows& windows, const Tensor& out,
                         const Tensor& in) {
  const kernels::PoolShape& s = windows.shape;
  return {.op = op,
          .dtype = out.dtype(),
          .planes = s.planes,
          .h = s.h,
          .w = s.w,
          .out_h = s.out_h,
          .out_w = s.out_w,
          .kernel_h = s.kernel_h,
          .kernel_w = s.kernel_w,
          .stride_h = s.stride_h,
          .stride_w = s.stride_w,
          .pad_h = s.pad_h,
          .pad_w = s.pad_w,
          .dilation_h = s.dilation_h,
          .dilation_w = s.dilation_w,
          .adaptive = windows.adaptive,
          .out = out.data(),
          .index = nullptr,
          .in = in.data(),
          .count_include_pad = true,
          .divisor_override = 0};
}

}  // namespace

void max_pool(const Windows& windows, const Tensor& y, const Tensor& index, const Tensor& x) {
  const kernels::PoolShape& s = windows.shape;
  auto* at = index.defined() ? index.data_as<std::int64_t>() : nullptr;
  if (!on_cpu(y)) {
    auto args = pool_args(cuda::PoolOp::max, windows, y, x);
    args.index = at;
    cuda::pool(y.device().index, args);
  } else if (windows.adaptive) {
    kernels::adaptive_max_pool2d(y.dtype(),
                                 {s.planes, s.h, s.w, s.out_h, s.out_w, y.data(), at, x.data()});
  } else {
    kernels::max_pool2d(y.dtype(), {s, y.data(), at, x.data()});
  }
}

void average_pool(const Windows& windows, const Tensor& y, const Tensor& x, bool count_include_pad,
                  std::int64_t divisor) {
  const kernels::PoolShape& s = windows.shape;
  if (!on_cpu(y)) {
    auto args = pool_args(cuda::PoolOp::average, windows, y, x);
    args.count_include_pad = count_include_pad;
    args.divisor_override = divisor;
    cuda::pool(y.device().index, args);
  } else if (windows.adaptive) {
    kernels::adaptive_avg_pool2d(
        y.dtype(), {s.planes, s.h, s.w, s.out_h, s.out_w, y.data(), nullptr, x.data()});
  } else {
    kernels::avg_pool2d(y.dtype(), {s, y.data(), x.data(), count_include_pad, divisor});
  }
}

void average_pool_backward(const Windows& windows, const Tensor& dx, const Tensor& dy,
                           bool count_include_pad, std::int64_t divisor) {
  const kernels::PoolShape& s = windows.shape;
  if (!on_cpu(dx)) {
    auto args = pool_args(cuda::PoolOp::average_backward, windows, dx, dy);
    args.count_include_pad = count_include_pad;
    args.divisor_override = divisor;
    cuda::pool(dx.device().index, args);
  } else if (windows.adaptive) {
    kernels::adaptive_avg_pool2d_backward(
        dx.dtype(), {s.planes, s.h, s.w, s.out_h, s.out_w, dx.data(), dy.data()});
  } else {
    kernels::avg_pool2d_backward(dx.dtype(), {s, dx.data(), dy.data(), count_include_pad, divisor});
  }
}

void pool_pick(const Windows& windows, const Tensor& y, const Tensor& index, const Tensor& x) {
  const kernels::PoolShape& s = windows.shape;
  if (on_cpu(y))
    return kernels::max_pool2d_gather(y.dtype(), {s.planes, s.h * s.w, s.out_h * s.out_w, y.data(),
                                                  index.data_as<std::int64_t>(), x.data()});
  auto args = pool_args(cuda::PoolOp::pick, windows, y, x);
  args.index = index.data_as<std::int64_t>();
  cuda::pool(y.device().index, args);
}

void pool_unpick(const Windows& windows, const Tensor& dx, const Tensor& index, const Tensor& dy) {
  const kernels::PoolShape& s = windows.shape;
  if (on_cpu(dx))
    return kernels::max_pool2d_backward(dx.dtype(),
                                        {s.planes, s.h * s.w, s.out_h * s.out_w, dx.data(),
                                         index.data_as<std::int64_t>(), dy.data()});
  auto args = pool_args(cuda::PoolOp::unpick, windows, dx, dy);
  args.index = index.data_as<std::int64_t>();
  cuda::pool(dx.device().index, args);
}

}  // namespace gradsmith::ops::dispatch
