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

// ---- Random numbers -----------------------------------------------------------------------------
// The numbers of kernels/rng/rng.h: a function of seed, block and position.

enum class RandomOp : std::int32_t { uniform, normal, bernoulli, integers };

// out: dtype float32 or float64 for uniform (a, b: low, high) and normal (a, b: mean, deviation);
// bytes for bernoulli (a: the probability); int64 for integers (low, range).
// generator, where not null, is a seed and a block in device memory that take the place of seed and
// are added to block: a graph draws other numbers each time.
struct RandomArgs {
  RandomOp op;
  DType dtype;
  void* out;
  std::int64_t count;
  std::uint64_t seed, block;
  double a, b;
  std::int64_t low;
  std::uint64_t range;
  const std::uint64_t* generator;
};

// Forward: draws the mask and writes it, y = x * mask / (1 - p). Backward: reads the mask.
struct DropoutArgs {
  DType dtype;
  bool backward;
  void* y;
  std::uint8_t* mask;
  const void* x;
  std::int64_t count;
  std::uint64_t seed, block;
  double p;
  const std::uint64_t* generator;  // as RandomArgs has it
};

// ---- Pooling ------------------------------------------------------------------------------------

// As kernels/pool/pool.h has them. pick: out[o] = in[index[o]]; unpick: its adjoint, for indices
// inside their windows; backward: out is dx, in is dy.
enum class PoolOp : std::int32_t { max, average, average_backward, pick, unpick };

struct PoolArgs {
  PoolOp op;
  DType dtype;
  std::int64_t planes, h, w, out_h, out_w;
  std::int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  bool adaptive;  // windows by shape; the line above does not count
  void* out;
  std::int64_t* index;  // max: written where not null
  const void* in;
  bool count_include_pad;
  std::int64_t divisor_override;
};

// ---- Optimizer steps and clipping ---------------------------------------------------------------
// As kernels/optim/optim.h has them, over lists of contiguous tensors of one dtype.

enum class StepOp : std::int32_t {
  sgd,
  adam,
  rmsprop,
  adagrad,
  adamax,
  adadelta,
  asgd,
  rprop,
  lion,
  scale,
  clamp
};

struct StepTensor {
  // The parameter, its gradient and the op's state in the order of its struct; null: none. All but
  // the gradient are written.
  void* arrays[5];
  std::int64_t count;
};

struct StepNumbers {
  double lr;  // asgd: eta
  double step_size, bias_correction2_sqrt, beta1;
  double beta2;  // rmsprop: alpha; adadelta: rho
  double eps, weight_decay, grad_step_size, momentum, dampening;
  double low, high;  // clamp; rprop: of the sizes
  double eta_minus, eta_plus, mu, lambd;
  const double* factor;  // scale: in device memory; nothing happens where it is 1 or more
  bool nesterov, maximize, decoupled, first_step, plain;
};

struct StepArgs {
  StepOp op;
  DType dtype;
  const StepTensor* tensors;  // in host memory
  std::int64_t tensor_count;
  StepNumbers numbers;
  const StepNumbers* later;  // where not null, numbers are read from here by every launch
};

// partials: one per started kNormPiece elements of every tensor's first array: the sum of
// |x|^power, or for an infinite power the largest |x|, NaN where there is one.
struct TotalNormArgs {
  DType dtype;
  const StepTensor* tensors;  // in host memory
  std::int64_t tensor_count;
  double power;
  double* partials;
};
inline constexpr std::int64_t kNormPiece = 16384;

// result[0] = the norm that the partials are of, result[1] = max_norm / (norm + 1e-6).
struct NormFinishArgs {
  const double* partials;
  std::int64_t count;
  double power, max_norm;
  double* result;
};

// ---- Convolution --------------------------------------------------------------------------------

enum class ConvOp : std::int32_t { forward, input_grad, weight_grad };

// Names and layouts as in kernels/conv/conv.h, all contiguous; no size may be above 2^30.
//   forward       out = y, in = x, other = w        bias: per output channel, or null
//   input_grad    out = dx, in = dy, other = w      bias: per input channel, or null
//   weight_grad   out = dw, in = x, other = dy      scratch: conv_weight_parts() times dw
struct ConvArgs {
  ConvOp op;
  DType dtype;
  std::int64_t n, c, h, w, o, kh, kw, out_h, out_w;
  std::int64_t stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
  void* out;
  const void *in, *other, *bias;
  void* scratch;
};
// Parts that a weight gradient's sum over pixels is cut into: enough for 512 blocks of 64 x 64
// weights, none shorter than 512 pixels.
constexpr std::int64_t conv_weight_parts(const ConvArgs& a) {
  const std::int64_t columns = a.c / a.groups * a.kh * a.kw;
  const std::int64_t blocks = (a.o / a.groups + 63) / 64 * ((columns + 63) / 64) * a.groups;
  const std::int64_t wanted = blocks > 0 ? (512 + blocks - 1) / blocks : 1;
  const std::int64_t most = (a.n * a.out_h * a.out_w + 511) / 512;
  const std::int64_t parts = wanted < most ? wanted : most;
  return parts > 1 ? parts : 1;
}

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
  X(sequence, SequenceArgs)            \
  X(random, RandomArgs)                \
  X(dropout, DropoutArgs)              \
  X(pool, PoolArgs)                    \
  X(optimizer_step, StepArgs)          \
  X(norm_partials, TotalNormArgs)      \
  X(norm_finish, NormFinishArgs)       \
  X(conv, ConvArgs)

}  // namespace gradsmith::cuda
