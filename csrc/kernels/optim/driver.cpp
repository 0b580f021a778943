// Lists of tensors in one parallel region: all arrays are cut into pieces of a fixed size, and
// the pieces are numbered through. Which thread takes a piece changes nothing in its result.
#include <cmath>
#include <type_traits>

#include "kernels/optim/optim.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace gradsmith::kernels {
namespace {

constexpr std::int64_t kStepPiece = 8192;  // elements; one is worth waking a thread from about 2
constexpr std::int64_t kNormPiece = 4096;

std::int64_t pieces_of(std::int64_t count, std::int64_t piece) {
  return (count + piece - 1) / piece;
}

// Calls fn(tensor, first element, elements, piece number) for every piece of every tensor.
template <class Item, class Fn>
void each_piece(const Item* items, std::int64_t item_count, std::int64_t piece, const Fn& fn) {
  Workspace ws;
  std::int64_t* const first_piece = ws.get<std::int64_t>(item_count + 1);
  first_piece[0] = 0;
  for (std::int64_t t = 0; t < item_count; ++t) {
    first_piece[t + 1] = first_piece[t] + pieces_of(items[t].count, piece);
  }
  parallel_for(first_piece[item_count], 2, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t low = 0, high = item_count;  // the tensor that holds piece `begin`
    while (high - low > 1) {
      const std::int64_t middle = (low + high) / 2;
      (first_piece[middle] <= begin ? low : high) = middle;
    }
    for (std::int64_t at = begin, t = low; at < end; ++at) {
      while (first_piece[t + 1] <= at) ++t;
      const std::int64_t start = (at - first_piece[t]) * piece;
      const std::int64_t rest = items[t].count - start;
      fn(items[t], start, rest < piece ? rest : piece, at);
    }
  });
}

std::int64_t piece_count(const FlatArray* arrays, std::int64_t array_count) {
  std::int64_t n = 0;
  for (std::int64_t t = 0; t < array_count; ++t) n += pieces_of(arrays[t].count, kNormPiece);
  return n;
}

template <class P>
P* advance(P* p, std::int64_t bytes) {
  using Byte = std::conditional_t<std::is_const_v<P>, const char, char>;
  return p ? static_cast<Byte*>(p) + bytes : nullptr;
}

template <class Item>
void shift(Item& item, std::int64_t bytes) {
  std::apply([bytes](auto&... p) { ((p = advance(p, bytes)), ...); }, arrays_of(item));
}

// The part [start, start + count) of an item.
template <class Item>
Item part(const Item& item, DType dtype, std::int64_t start, std::int64_t count) {
  Item p = item;
  shift(p, start * std::int64_t(itemsize(dtype)));
  p.count = count;
  return p;
}

const Kernel<sgd_step_fn>& kernel_of(const SgdStep*) { return sgd_step; }
const Kernel<adam_step_fn>& kernel_of(const AdamStep*) { return adam_step; }
const Kernel<rmsprop_step_fn>& kernel_of(const RmspropStep*) { return rmsprop_step; }
const Kernel<adagrad_step_fn>& kernel_of(const AdagradStep*) { return adagrad_step; }
const Kernel<adamax_step_fn>& kernel_of(const AdamaxStep*) { return adamax_step; }
const Kernel<adadelta_step_fn>& kernel_of(const AdadeltaStep*) { return adadelta_step; }
const Kernel<asgd_step_fn>& kernel_of(const AsgdStep*) { return asgd_step; }
const Kernel<rprop_step_fn>& kernel_of(const RpropStep*) { return rprop_step; }
const Kernel<lion_step_fn>& kernel_of(const LionStep*) { return lion_step; }

// One partial result per piece, combined in the order of the pieces.
template <class Fn, class Combine>
double reduce_pieces(const Fn& leaf, DType dtype, const FlatArray* arrays, std::int64_t array_count,
                     const Combine& combine) {
  Workspace ws;
  const std::int64_t pieces = piece_count(arrays, array_count);
  double* const partial = ws.get<double>(pieces);
  each_piece(arrays, array_count, kNormPiece,
             [&](const FlatArray& array, std::int64_t start, std::int64_t count, std::int64_t at) {
               partial[at] = leaf(part(array, dtype, start, count));
             });
  double result = 0;
  for (std::int64_t at = 0; at < pieces; ++at) result = combine(result, partial[at]);
  return result;
}

}  // namespace

template <class Step>
void optimizer_step(DType dtype, const Step* tensors, std::int64_t tensor_count) {
  const auto leaf = kernel_of(tensors).pick(dtype);
  each_piece(tensors, tensor_count, kStepPiece,
             [&](const Step& step, std::int64_t start, std::int64_t count, std::int64_t) {
               leaf(part(step, dtype, start, count));
             });
}
#define GS_DEFINE(Step) template GS_API void optimizer_step(DType, const Step*, std::int64_t);
GS_OPTIMIZER_STEPS(GS_DEFINE)
#undef GS_DEFINE

double global_norm(DType dtype, const FlatArray* arrays, std::int64_t array_count) {
  return std::sqrt(reduce_pieces(sum_squares.pick(dtype), dtype, arrays, array_count,
                                 [](double a, double b) { return a + b; }));
}

double global_max_abs(DType dtype, const FlatArray* arrays, std::int64_t array_count) {
  return reduce_pieces(max_abs.pick(dtype), dtype, arrays, array_count,
                       [](double a, double b) { return a >= b || std::isnan(a) ? a : b; });
}

void scale_arrays(DType dtype, const FlatArray* arrays, std::int64_t array_count, double factor) {
  const auto leaf = scale_inplace.pick(dtype);
  each_piece(arrays, array_count, kStepPiece,
             [&](const FlatArray& array, std::int64_t start, std::int64_t count, std::int64_t) {
               leaf(part(array, dtype, start, count), factor);
             });
}

void clamp_arrays(DType dtype, const FlatArray* arrays, std::int64_t array_count, double low,
                  double high) {
  const auto leaf = clamp_inplace.pick(dtype);
  each_piece(arrays, array_count, kStepPiece,
             [&](const FlatArray& array, std::int64_t start, std::int64_t count, std::int64_t) {
               leaf(part(array, dtype, start, count), low, high);
             });
}

double clip_norm(DType dtype, const FlatArray* arrays, std::int64_t array_count, double max_norm) {
  const double norm = global_norm(dtype, arrays, array_count);
  const double factor = max_norm / (norm + 1e-6);
  if (!(factor >= 1)) scale_arrays(dtype, arrays, array_count, factor);
  return norm;
}

}  // namespace gradsmith::kernels
