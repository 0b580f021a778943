// Reductions of any layout by the two leaf shapes, rows and columns. See reduce.h for the idea.
//
// Work is cut into tasks by the shape alone: (output, chunk of what is reduced) for rows,
// (line of outputs, tile of columns, chunk of lines) for columns. Partial accumulators are joined
// in the order of the chunks.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/math.h"
#include "kernels/reduce/combine.h"
#include "kernels/reduce/layout.h"
#include "kernels/reduce/reduce.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace gradsmith::kernels {
namespace {

constexpr std::int64_t kPiece = 32 * 1024;  // elements of a row per leaf call: fits in L2
constexpr std::int64_t kChunk = 64 * 1024;  // elements per task, at least
constexpr std::int64_t kTile = 1024;        // columns per task
constexpr std::int64_t kEnoughTasks = 64;   // outputs are not cut further if there are as many
constexpr std::int64_t kBatch = 64;         // accumulators on the stack
constexpr std::int64_t kMaxAccBytes = 24;

struct Leaves {
  sum_rows_fn* rows;  // every fold has the same two signatures
  sum_cols_fn* cols;
};

Leaves leaves(Fold fold, DType t) {
  switch (fold) {
    case Fold::sum:
      return {sum_rows.pick(t), sum_cols.pick(t)};
    case Fold::sumsq:
      return {sumsq_rows.pick(t), sumsq_cols.pick(t)};
    case Fold::asum:
      return {asum_rows.pick(t), asum_cols.pick(t)};
    case Fold::prod:
      return {prod_rows.pick(t), prod_cols.pick(t)};
    case Fold::max:
      return {max_rows.pick(t), max_cols.pick(t)};
    case Fold::min:
      return {min_rows.pick(t), min_cols.pick(t)};
    case Fold::nonzero:
      return {nonzero_rows.pick(t), nonzero_cols.pick(t)};
    case Fold::moments:
      return {moments_rows.pick(t), moments_cols.pick(t)};
    case Fold::argmax:
      return {argmax_rows.pick(t), argmax_cols.pick(t)};
    case Fold::argmin:
      return {argmin_rows.pick(t), argmin_cols.pick(t)};
  }
  return {};
}

// Copies [rows, cols] with any strides to dense rows, for leaves, which want neighbours.
void gather(void* dst, const void* src, std::int64_t item, std::int64_t rows,
            std::int64_t row_stride, std::int64_t cols, std::int64_t col_stride) {
  const auto copy = [&]<class U>(U* out) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const U* in = static_cast<const U*>(src) + r * row_stride;
      for (std::int64_t c = 0; c < cols; ++c) *out++ = in[c * col_stride];
    }
  };
  if (item == 8)
    copy(static_cast<std::uint64_t*>(dst));
  else if (item == 4)
    copy(static_cast<std::uint32_t*>(dst));
  else
    copy(static_cast<std::uint8_t*>(dst));
}

// finish(out_offset, out_stride, acc, count) turns `count` accumulators into results.
template <class Finish>
class Reducer {
 public:
  Reducer(Fold fold, DType dtype, const ReduceLayout& layout, Finish& finish)
      : fold_(fold),
        dtype_(dtype),
        layout_(layout),
        finish_(finish),
        leaf_(leaves(fold, dtype)),
        item_(std::int64_t(itemsize(dtype))),
        acc_bytes_(acc_bytes(fold, dtype)) {}

  void run() {
    if (!layout_.by_rows()) {
      cols();
    } else if (layout_.reduced.count == 1 && layout_.elements <= kPiece) {
      batches_of_rows();
    } else {
      long_rows();
    }
  }

 private:
  const char* x_at(std::int64_t offset) const { return layout_.x + offset * item_; }
  char* acc_at(void* acc, std::int64_t i) const { return static_cast<char*>(acc) + i * acc_bytes_; }

  // n elements, `stride` apart, as one row.
  void row(void* acc, const char* x, std::int64_t n, std::int64_t stride, std::int64_t index) {
    Workspace scratch;
    if (stride != 1) {
      char* dense = scratch.get<char>(n * item_);
      gather(dense, x, item_, 1, 0, n, stride);
      x = dense;
    }
    leaf_.rows({.acc = acc, .x = x, .rows = 1, .n = n, .x_stride = n, .index_base = index});
  }

  // Every output is one short row.
  void batches_of_rows() {
    const DimList& kept = layout_.kept;
    const ReduceDim& inner = layout_.reduced.dim[0];
    const int outer_dims = kept.count > 0 ? kept.count - 1 : 0;
    const ReduceDim line = kept.count > 0 ? kept.dim[outer_dims] : ReduceDim{1, 0, 0};
    parallel_for(
        layout_.outputs, std::max<std::int64_t>(1, kPiece / inner.size),
        [&](std::int64_t begin, std::int64_t end) {
          alignas(16) char acc[kBatch * kMaxAccBytes];
          while (begin < end) {
            const std::int64_t at = begin % line.size;
            const std::int64_t count = std::min({end - begin, line.size - at, kBatch});
            const auto base = kept.offset(begin / line.size, outer_dims);
            const char* x = x_at(base.x + at * line.stride);
            if (inner.stride == 1) {
              leaf_.rows(
                  {.acc = acc, .x = x, .rows = count, .n = inner.size, .x_stride = line.stride});
            } else {
              for (std::int64_t i = 0; i < count; ++i) {
                row(acc_at(acc, i), x + i * line.stride * item_, inner.size, inner.stride, 0);
              }
            }
            finish_(base.out + at * line.out_stride, line.out_stride, acc, count);
            begin += count;
          }
        });
  }

  // Every output takes many rows, or long ones: they are cut into units of one piece of one row,
  // and units are grouped into chunks.
  void long_rows() {
    const DimList& reduced = layout_.reduced;
    const std::int64_t n = reduced.dim[reduced.count - 1].size;
    const std::int64_t pieces = ceil_div(n, kPiece);
    const std::int64_t units = reduced.numel(reduced.count - 1) * pieces;
    std::int64_t per_chunk = std::max<std::int64_t>(1, kChunk / std::min(n, kPiece));
    if (layout_.outputs >= kEnoughTasks) per_chunk = units;
    const std::int64_t chunks = ceil_div(units, per_chunk);
    const std::int64_t work = std::min(layout_.elements, per_chunk * std::min(n, kPiece));

    Workspace workspace;
    char* partial = workspace.get<char>(layout_.outputs * chunks * acc_bytes_);
    parallel_for(layout_.outputs * chunks, std::max<std::int64_t>(1, kPiece / work),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t task = begin; task < end; ++task) {
                     const std::int64_t first = task % chunks * per_chunk;
                     const auto base = layout_.kept.offset(task / chunks, layout_.kept.count);
                     reduce_units(acc_at(partial, task), base.x, pieces, first,
                                  std::min(units, first + per_chunk));
                   }
                 });
    for (std::int64_t o = 0; o < layout_.outputs; ++o) {
      char* acc = acc_at(partial, o * chunks);
      for (std::int64_t c = 1; c < chunks; ++c) {
        combine(fold_, dtype_, acc, acc_at(acc, c), 1);
      }
      finish_(layout_.kept.offset(o, layout_.kept.count).out, 1, acc, 1);
    }
  }

  void reduce_units(void* acc, std::int64_t base, std::int64_t pieces, std::int64_t unit,
                    std::int64_t end) {
    const DimList& reduced = layout_.reduced;
    const int outer_dims = reduced.count - 1;
    const ReduceDim inner = reduced.dim[outer_dims];
    const ReduceDim run = outer_dims > 0 ? reduced.dim[outer_dims - 1] : ReduceDim{1, 0, 0};
    alignas(16) char part[kBatch * kMaxAccBytes];
    bool fresh = true;
    while (unit < end) {
      const std::int64_t line = unit / pieces, start = unit % pieces * kPiece;
      const std::int64_t x = base + reduced.offset(line, outer_dims).x + start * inner.stride;
      const std::int64_t index = line * inner.size + start;
      std::int64_t count = 1;
      if (pieces == 1 && inner.stride == 1) {
        count = std::min({end - unit, run.size - line % run.size, kBatch});
        leaf_.rows({.acc = part,
                    .x = x_at(x),
                    .rows = count,
                    .n = inner.size,
                    .x_stride = run.stride,
                    .index_base = index,
                    .index_step = inner.size});
      } else {
        row(part, x_at(x), std::min(kPiece, inner.size - start), inner.stride, index);
      }
      for (std::int64_t i = 0; i < count; ++i) {
        if (fresh) {
          std::memcpy(acc, part, std::size_t(acc_bytes_));
        } else {
          combine(fold_, dtype_, acc, acc_at(part, i), 1);
        }
        fresh = false;
      }
      unit += count;
    }
  }

  void cols() {
    const DimList& kept = layout_.kept;
    const int outer_dims = kept.count > 0 ? kept.count - 1 : 0;
    const ReduceDim line = kept.count > 0 ? kept.dim[outer_dims] : ReduceDim{1, 1, 1};
    const std::int64_t tiles = ceil_div(line.size, kTile), width = std::min(line.size, kTile);
    const std::int64_t planes = kept.numel(outer_dims) * tiles;
    std::int64_t per_chunk = std::max<std::int64_t>(64, kChunk / width);
    if (planes >= kEnoughTasks) per_chunk = layout_.elements;
    const std::int64_t chunks = ceil_div(layout_.elements, per_chunk);
    const std::int64_t work = std::min(layout_.elements, per_chunk) * width;

    Workspace workspace;
    char* partial =
        chunks == 1 ? nullptr : workspace.get<char>(planes * chunks * width * acc_bytes_);
    const auto finish_tile = [&](std::int64_t plane, const void* acc) {
      const std::int64_t column = plane % tiles * kTile;
      finish_(kept.offset(plane / tiles, outer_dims).out + column * line.out_stride,
              line.out_stride, acc, std::min(kTile, line.size - column));
    };
    parallel_for(planes * chunks, std::max<std::int64_t>(1, kPiece / work),
                 [&](std::int64_t begin, std::int64_t end) {
                   Workspace scratch;
                   char* local = chunks == 1 ? scratch.get<char>(width * acc_bytes_) : nullptr;
                   for (std::int64_t task = begin; task < end; ++task) {
                     const std::int64_t plane = task / chunks, first = task % chunks * per_chunk;
                     char* acc = local ? local : acc_at(partial, task * width);
                     const std::int64_t column = plane % tiles * kTile;
                     const std::int64_t base =
                         kept.offset(plane / tiles, outer_dims).x + column * line.stride;
                     reduce_lines(acc, base, std::min(kTile, line.size - column), line.stride,
                                  first, std::min(layout_.elements, first + per_chunk));
                     if (local) finish_tile(plane, local);
                   }
                 });
    if (chunks == 1) return;
    for (std::int64_t plane = 0; plane < planes; ++plane) {
      char* acc = acc_at(partial, plane * chunks * width);
      for (std::int64_t c = 1; c < chunks; ++c) {
        combine(fold_, dtype_, acc, acc_at(acc, c * width), width);
      }
      finish_tile(plane, acc);
    }
  }

  void reduce_lines(void* acc, std::int64_t base, std::int64_t cols, std::int64_t stride,
                    std::int64_t line, std::int64_t end) {
    const DimList& reduced = layout_.reduced;
    const int outer_dims = reduced.count > 0 ? reduced.count - 1 : 0;
    const ReduceDim run = reduced.count > 0 ? reduced.dim[outer_dims] : ReduceDim{1, 0, 0};
    Workspace scratch;
    char* dense = stride == 1 ? nullptr : scratch.get<char>(kBatch * cols * item_);
    bool fresh = true;
    while (line < end) {
      const std::int64_t at = line % run.size;
      std::int64_t count = std::min(end - line, run.size - at);
      const char* x = x_at(base + reduced.offset(line / run.size, outer_dims).x + at * run.stride);
      std::int64_t x_stride = run.stride;
      if (dense) {
        count = std::min(count, kBatch);
        gather(dense, x, item_, count, run.stride, cols, stride);
        x = dense;
        x_stride = cols;
      }
      leaf_.cols({.acc = acc,
                  .x = x,
                  .rows = count,
                  .cols = cols,
                  .x_stride = x_stride,
                  .fresh = fresh,
                  .index_base = line});
      fresh = false;
      line += count;
    }
  }

  const Fold fold_;
  const DType dtype_;
  const ReduceLayout& layout_;
  Finish& finish_;
  const Leaves leaf_;
  const std::int64_t item_, acc_bytes_;
};

Fold fold_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
    case ReduceOp::mean:
      return Fold::sum;
    case ReduceOp::prod:
      return Fold::prod;
    case ReduceOp::max:
      return Fold::max;
    case ReduceOp::min:
      return Fold::min;
    case ReduceOp::any:
    case ReduceOp::all:
    case ReduceOp::count_nonzero:
      return Fold::nonzero;
    case ReduceOp::norm1:
      return Fold::asum;
    case ReduceOp::sumsq:
    case ReduceOp::norm2:
      return Fold::sumsq;
    case ReduceOp::var:
    case ReduceOp::std_dev:
      return Fold::moments;
  }
  return Fold::sum;
}

// out[i * stride] = Out(f(acc[i]))
template <class Out, class Acc, class F>
void write(void* out, std::int64_t offset, std::int64_t stride, const void* acc, std::int64_t count,
           F&& f) {
  Out* to = static_cast<Out*>(out) + offset;
  for (std::int64_t i = 0; i < count; ++i) to[i * stride] = Out(f(static_cast<const Acc*>(acc)[i]));
}

struct Result {
  ReduceOp op;
  DType dtype;
  void* out;
  double elements, correction;

  void operator()(std::int64_t offset, std::int64_t stride, const void* acc,
                  std::int64_t count) const {
    const auto put = [&]<class Out, class Acc>(auto&& f) {
      write<Out, Acc>(out, offset, stride, acc, count, f);
    };
    const auto put_float = [&]<class Acc>(auto&& f) {
      if (dtype == DType::f32)
        put.template operator()<float, Acc>(f);
      else
        put.template operator()<double, Acc>(f);
    };
    const auto same = [](auto a) { return a; };
    switch (op) {
      case ReduceOp::sum:
      case ReduceOp::prod:
      case ReduceOp::norm1:
      case ReduceOp::sumsq:
        if (is_floating(dtype))
          put_float.template operator()<double>(same);
        else
          put.template operator()<std::int64_t, std::int64_t>(same);
        return;
      case ReduceOp::mean:
        put_float.template operator()<double>([this](double a) { return a / elements; });
        return;
      case ReduceOp::norm2:
        put_float.template operator()<double>([](double a) { return std::sqrt(a); });
        return;
      case ReduceOp::max:
      case ReduceOp::min:
        with_type(dtype, [&]<class T>() { put.template operator()<T, T>(same); });
        return;
      case ReduceOp::any:
        put.template operator()<std::uint8_t, std::int64_t>([](std::int64_t a) { return a > 0; });
        return;
      case ReduceOp::all:
        put.template operator()<std::uint8_t, std::int64_t>(
            [this](std::int64_t a) { return double(a) == elements; });
        return;
      case ReduceOp::count_nonzero:
        put.template operator()<std::int64_t, std::int64_t>(same);
        return;
      case ReduceOp::var:
      case ReduceOp::std_dev:
        put_float.template operator()<Moments>([this](const Moments& a) {
          const double variance = a.m2 / std::max(0.0, elements - correction);
          return op == ReduceOp::var ? variance : std::sqrt(variance);
        });
        return;
    }
  }
};

}  // namespace

DType reduce_dtype(ReduceOp op, DType x) {
  switch (op) {
    case ReduceOp::any:
    case ReduceOp::all:
      return DType::b8;
    case ReduceOp::count_nonzero:
      return DType::i64;
    case ReduceOp::max:
    case ReduceOp::min:
      return x;
    default:
      return is_floating(x) ? x : DType::i64;
  }
}

void reduce(ReduceOp op, void* out, const NdView& x, unsigned dims, double correction) {
  const ReduceLayout layout(x, dims, false);
  if (layout.outputs == 0) return;
  const Fold fold = fold_of(op);
  Result result{op, x.dtype, out, double(layout.elements), correction};
  if (layout.elements == 0) {
    const double one = 1;
    const std::int64_t integer_one = 1;
    const Moments none{0, 0, 0};  // also a zero of the other kinds
    const void* identity = fold != Fold::prod     ? static_cast<const void*>(&none)
                           : is_floating(x.dtype) ? static_cast<const void*>(&one)
                                                  : &integer_one;
    for (std::int64_t o = 0; o < layout.outputs; ++o) result(o, 1, identity, 1);
    return;
  }
  Reducer(fold, x.dtype, layout, result).run();
}

void var_mean(void* var, void* mean, const NdView& x, unsigned dims, double correction) {
  const ReduceLayout layout(x, dims, false);
  if (layout.outputs == 0) return;
  const double elements = double(layout.elements);
  const Result var_result{ReduceOp::var, x.dtype, var, elements, correction};
  auto finish = [&](std::int64_t offset, std::int64_t stride, const void* acc, std::int64_t count) {
    if (var) var_result(offset, stride, acc, count);
    const auto put_mean = [&]<class T>() {
      write<T, Moments>(mean, offset, stride, acc, count, [](const Moments& m) {
        return m.count > 0 ? m.mean : std::numeric_limits<double>::quiet_NaN();
      });
    };
    if (mean && x.dtype == DType::f32) put_mean.template operator()<float>();
    if (mean && x.dtype == DType::f64) put_mean.template operator()<double>();
  };
  if (layout.elements == 0) {
    const Moments none{0, 0, 0};
    for (std::int64_t o = 0; o < layout.outputs; ++o) finish(o, 1, &none, 1);
    return;
  }
  Reducer(Fold::moments, x.dtype, layout, finish).run();
}

void arg_reduce(bool largest, void* values, std::int64_t* indices, const NdView& x, unsigned dims) {
  const ReduceLayout layout(x, dims, true);
  if (layout.outputs == 0) return;
  auto finish = [&](std::int64_t offset, std::int64_t stride, const void* acc, std::int64_t count) {
    with_type(x.dtype, [&]<class T>() {
      if (values)
        write<T, Extreme<T>>(values, offset, stride, acc, count, [](auto e) { return e.value; });
      if (indices) {
        write<std::int64_t, Extreme<T>>(indices, offset, stride, acc, count,
                                        [](auto e) { return e.index; });
      }
    });
  };
  Reducer(largest ? Fold::argmax : Fold::argmin, x.dtype, layout, finish).run();
}

void cumsum(DType dtype, void* y, const void* x, std::int64_t outer, std::int64_t n,
            std::int64_t inner) {
  if (outer * n * inner == 0) return;
  const std::int64_t x_item = std::int64_t(itemsize(dtype));
  const std::int64_t y_item = is_floating(dtype) ? x_item : 8;
  const char* from = static_cast<const char*>(x);
  char* to = static_cast<char*>(y);
  if (inner == 1) {
    const auto kernel = cumsum_rows.pick(dtype);
    parallel_for(outer, std::max<std::int64_t>(4, kPiece / n),
                 [&](std::int64_t begin, std::int64_t end) {
                   kernel({.y = to + begin * n * y_item,
                           .x = from + begin * n * x_item,
                           .rows = end - begin,
                           .n = n,
                           .y_stride = n,
                           .x_stride = n});
                 });
    return;
  }
  const auto kernel = cumsum_cols.pick(dtype);
  const std::int64_t tiles = ceil_div(inner, kTile);
  parallel_for(outer * tiles, std::max<std::int64_t>(1, kPiece / (n * std::min(inner, kTile))),
               [&](std::int64_t begin, std::int64_t end) {
                 Workspace scratch;
                 void* carry = scratch.get<double>(kTile);
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t column = task % tiles * kTile;
                   const std::int64_t offset = task / tiles * n * inner + column;
                   kernel({.y = to + offset * y_item,
                           .x = from + offset * x_item,
                           .carry = carry,
                           .n = n,
                           .cols = std::min(kTile, inner - column),
                           .y_stride = inner,
                           .x_stride = inner});
                 }
               });
}

}  // namespace gradsmith::kernels
