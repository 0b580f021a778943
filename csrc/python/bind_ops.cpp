// The ops of ops.h, one line each. Ops of neural networks are in bind_ops_nn.cpp.
#include <cmath>

#include "core/shape.h"
#include "core/tensor_impl.h"
#include "gradsmith/ops.h"
#include "python/bindings.h"
#include "python/def_op.h"

namespace gradsmith::python {

namespace {

using namespace gradsmith::ops;

Tensor empty_op(const Dims& size, DType dtype, Device device) { return empty(size, dtype, device); }
// Of two Python floats the default dtype is made; in C++ they are doubles.
Tensor where_op(const Tensor& condition, const Operand& a, const Operand& b) {
  const Tensor chosen = where(condition, a, b);
  const bool two_numbers = a.impl()->wrapped_number && b.impl()->wrapped_number;
  return two_numbers && chosen.dtype() == DType::f64 ? to_dtype(chosen, DType::f32) : chosen;
}

Tensor copy_op(const Tensor& x, const Operand& source) {
  if (!source.impl()->wrapped_number) return copy_(x, source);
  return copy_(x, element_of("copy_", "source", source, x.dtype()));
}

// PyTorch's alpha, what `other` is multiplied by, in the dtype of the result.
Tensor scaled(const char* op, const Operand& other, const Operand& alpha, DType dtype) {
  GS_CHECK_TYPE(alpha.impl()->wrapped_number, "{}: argument 'alpha' must be a number, got a Tensor",
                op);
  GS_CHECK_TYPE(is_floating(dtype) || !is_floating(alpha.dtype()),
                "{}: argument 'alpha' must be an int for a result of {}, got a float", op, dtype);
  return to_dtype(mul(to_dtype(other, dtype), alpha), dtype);
}
template <auto Op>
struct TakesAlpha;
template <class First, Tensor (*Op)(First, const Operand&)>
struct TakesAlpha<Op> {
  static Tensor call(First input, const Operand& other, const std::optional<Operand>& alpha) {
    if (!alpha) [[likely]]
      return Op(input, other);
    const char* const name = detail::Bound<&TakesAlpha::call>::spec.name.c_str();
    return Op(input, scaled(name, other, *alpha, result_type(input, other)));
  }
};
Tensor index_add_op(const Tensor& input, std::int64_t dim, const Tensor& index,
                    const Tensor& source, const std::optional<Operand>& alpha) {
  if (!alpha || !source.defined()) return index_add(input, dim, index, source);
  return index_add(input, dim, index, scaled("index_add", source, *alpha, source.dtype()));
}

Tensor div_op(const Operand& input, const Operand& other,
              const std::optional<std::string>& rounding_mode) {
  if (!rounding_mode) [[likely]]
    return div(input, other);
  return div_rounded(input, other, *rounding_mode);
}

// 10^decimals of an element are 1: whole tens for -1.
Tensor round_op(const Tensor& input, std::int64_t decimals) {
  if (decimals == 0) return round(input);
  GS_CHECK_TYPE(input.defined() && is_floating(input.dtype()),
                "round: 'input' must be floating point where 'decimals' is not 0");
  const Operand scale(std::pow(10.0, double(std::abs(decimals))));
  return decimals > 0 ? div(round(mul(input, scale)), scale) : mul(round(div(input, scale)), scale);
}

// `unbiased` is an older name of the correction.
template <auto Op>
Tensor spread_op(const Tensor& input, const std::optional<Dims>& dim, double correction,
                 bool keepdim, const std::optional<bool>& unbiased) {
  return Op(input, dim, unbiased ? double(*unbiased) : correction, keepdim);
}

Tensor norm_op(const Tensor& input, const NumberOrName& p, const std::optional<Dims>& dim,
               bool keepdim) {
  const std::string* const name = std::get_if<std::string>(&p);
  GS_CHECK(!name || *name == "fro", "norm: argument 'p' must be a number or 'fro', got '{}'",
           *name);
  return norm(input, name ? 2 : std::get<double>(p), dim, keepdim);
}

// Python integers give integers, a float among them the default dtype.
Tensor arange_op(const Operand& start, const std::optional<Operand>& end, const Operand& step,
                 std::optional<DType> dtype, Device device) {
  const auto number = [](const char* name, const Operand& x) {
    GS_CHECK_TYPE(x.dim() == 0, "arange: argument '{}' must be a number, got shape {}", name,
                  x.shape());
    return *to_dtype(to_device(x.detach(), {}), DType::f64).data_as<double>();
  };
  const bool floats =
      is_floating(start.dtype()) || is_floating(step.dtype()) || (end && is_floating(end->dtype()));
  const double first = number("start", start);
  return arange(end ? first : 0, end ? number("end", *end) : first, number("step", step),
                dtype.value_or(floats ? DType::f32 : DType::i64), device);
}

// Fn with requires_grad as its last argument.
template <auto Fn>
struct Leaf;
template <class... Args, Tensor (*Fn)(Args...)>
struct Leaf<Fn> {
  static Tensor make(Args... args, bool requires_grad) {
    Tensor made = Fn(args...);
    if (requires_grad) made.set_requires_grad(true);
    return made;
  }
};

std::vector<Tensor> split_op(const Tensor& input, const IntOrDims& split_size, std::int64_t dim) {
  return std::visit([&](const auto& sizes) { return split(input, sizes, dim); }, split_size);
}

void bind_creation(Binder& b) {
  b.function<&Leaf<&empty_op>::make>("empty",
                                     "*size, dtype='float32', device='cpu', requires_grad=False",
                                     "Uninitialised tensor.");
  b.function<&Leaf<&zeros>::make>(
      "zeros", "*size, dtype='float32', device='cpu', requires_grad=False", "Tensor of zeros.");
  b.function<&Leaf<&ones>::make>(
      "ones", "*size, dtype='float32', device='cpu', requires_grad=False", "Tensor of ones.");
  b.function<&Leaf<&full>::make>(
      "full", "size, fill_value, dtype='float32', device='cpu', requires_grad=False",
      "Tensor of one value.");
  b.function<&Leaf<&arange_op>::make>(
      "arange", "start, end=None, step=1, dtype=None, device='cpu', requires_grad=False",
      "Values from start (0) up to but not including end, `step` apart.");
  b.function<&Leaf<&linspace>::make>(
      "linspace", "start, end, steps, dtype='float32', device='cpu', requires_grad=False",
      "`steps` values evenly spaced from start to end, both included.");
  b.function<&Leaf<&eye>::make>(
      "eye", "n, m=None, dtype='float32', device='cpu', requires_grad=False", "Identity matrix.");
  b.function<&zeros_like>("zeros_like", "input", "Zeros of the input's shape and dtype.");
  b.function<&ones_like>("ones_like", "input", "Ones of the input's shape and dtype.");
  b.function<&gradsmith::empty_like>("empty_like", "input", "Uninitialised, like the input.");
  b.function<&Leaf<&rand>::make>(
      "rand", "*size, dtype='float32', device='cpu', requires_grad=False", "Uniform on [0, 1).");
  b.function<&Leaf<&randn>::make>(
      "randn", "*size, dtype='float32', device='cpu', requires_grad=False", "Standard normal.");
  b.function<&Leaf<&randint>::make>(
      "randint", "low, high, size, dtype='int64', device='cpu', requires_grad=False",
      "Integers drawn uniformly from low to high - 1.");
  b.function<&Leaf<&randperm>::make>("randperm",
                                     "n, dtype='int64', device='cpu', requires_grad=False",
                                     "A random permutation of 0 to n - 1.");
  b.method<&uniform_>("uniform_", "input, from_=0, to=1", "Fill with uniform numbers.");
  b.method<&normal_>("normal_", "input, mean=0, std=1", "Fill with normal numbers.");
  b.method<&bernoulli_>("bernoulli_", "input, p=0.5", "Fill with 1 with probability p, else 0.");
}

void bind_copies(Binder& b) {
  b.both<&clone>("clone", "input", "A contiguous copy, on the tape.");
  b.method<&contiguous>("contiguous", "input", "Itself where contiguous, else a copy.");
  b.method<&copy_op>("copy_", "input, source", "Write the source, broadcast and cast, into it.");
  b.method<&fill_>("fill_", "input, value", "Fill with one value.");
  b.method<&zero_>("zero_", "input", "Fill with zeros.");
}

void bind_views(Binder& b) {
  b.method<&view>("view", "input, *shape", "Same memory in another shape; raises if impossible.");
  b.both<&reshape>("reshape", "input, *shape", "Another shape; a view where possible.");
  b.both<&flatten>("flatten", "input, start_dim=0, end_dim=-1", "Merge dims start to end.");
  b.both<&unflatten>("unflatten", "input, dim, sizes", "Split one dim into several.");
  b.both<&transpose>("transpose", "input, dim0, dim1", "Exchange two dims (a view).");
  b.both<&t>("t", "input", "Exchange the two dims of a matrix (a view).");
  b.both<&permute>("permute", "input, *dims", "Reorder dims (a view).");
  b.method<&expand>("expand", "input, *sizes", "Broadcast to sizes without a copy; -1 keeps one.");
  b.both<&broadcast_to>("broadcast_to", "input, *shape", "Broadcast to shape without a copy.");
  b.both<&squeeze>("squeeze", "input, dim=None", "Drop dims of size 1 (a view).");
  b.both<&unsqueeze>("unsqueeze", "input, dim", "Insert a dim of size 1 (a view).");
  b.both<&select>("select", "input, dim, index", "One index of a dim (a view).");
  b.both<&narrow>("narrow", "input, dim, start, length", "A range of a dim (a view).");
  b.both<&flip>("flip", "input, *dims", "Reverse dims (a view).");
  b.both<&diagonal>("diagonal", "input, offset=0, dim1=0, dim2=1", "Diagonals (a view).");
  b.both<&split_op>("split", "input, split_size, dim=0",
                    "Pieces of a size, or of given sizes (views).");
  b.both<&chunk>("chunk", "input, chunks, dim=0", "At most `chunks` pieces (views).");
  b.both<&unbind>("unbind", "input, dim=0", "Slices along a dim, without it (views).");
  b.method<&sum_to_size>("sum_to_size", "input, *size", "Sum over what was broadcast from size.");
}

void bind_joining_and_indexing(Binder& b) {
  b.function<&cat>("cat", "tensors, dim=0", "Join along an existing dim.");
  b.function<&stack>("stack", "tensors, dim=0", "Join along a new dim.");
  b.function<&pad>("pad", "input, pad, mode='constant', value=0.0",
                   "Pad by (before, after) pairs from the last dim backwards; modes constant, "
                   "reflect, replicate, circular.");
  b.method<&repeat>("repeat", "input, *repeats", "Tile each dim.");
  b.both<&index_select>("index_select", "input, dim, index",
                        "Entries of a dim by an int64 vector.");
  b.both<&index_add_op>("index_add", "input, dim, index, source, *, alpha=None",
                        "Add alpha (1) times the source's entries at an index.");
  b.both<&gather>("gather", "input, dim, index", "Pick one entry along dim for each index.");
  b.both<&scatter_add>("scatter_add", "input, dim, index, src",
                       "Add elements of src at an index along dim; the adjoint of gather.");
  b.method<&index_put_>("index_put_", "input, indices, values, accumulate=False",
                        "Write (or add) values at index tensors.");
  b.both<&masked_select>("masked_select", "input, mask", "The elements where the mask is true.");
  b.both<&masked_fill>("masked_fill", "input, mask, value", "value where the mask is true.");
  b.method<&masked_fill_>("masked_fill_", "input, mask, value", "masked_fill in place.");
  b.function<&nonzero>("nonzero", "input",
                       "Coordinates of the non-zero elements, int64 (count, rank).");
  b.function<&one_hot>("one_hot", "input, num_classes=-1", "int64 indicator vectors of classes.");
}

void bind_elementwise(Binder& b) {
#define GS_BIND(op) b.both<&ops::op>(#op, "input", "Elementwise " #op ".");
  GS_UNARY_OPS(GS_BIND)
  b.both<&round_op>("round", "input, *, decimals=0",
                    "Round to so many digits after the point, halves to even; tens for -1.");
  GS_BIND(selu)
  GS_BIND(isnan)
  GS_BIND(isinf)
  GS_BIND(isfinite)
  GS_BIND(logical_not)
  GS_BIND(bitwise_not)
#undef GS_BIND
#define GS_BIND(op)                                                      \
  b.function<&TakesInplace<&ops::op>::call>(#op, "input, inplace=False", \
                                            "Elementwise " #op "; inplace changes nothing.");
  GS_BIND(relu)
  GS_BIND(relu6)
  GS_BIND(selu)
  GS_BIND(silu)
  GS_BIND(mish)
  GS_BIND(hardsigmoid)
  GS_BIND(hardswish)
#undef GS_BIND
  b.function<&TakesInplace<&leaky_relu>::call>(
      "leaky_relu", "input, negative_slope=0.01, inplace=False",
      "x where positive, else slope * x; inplace changes nothing.");
  b.function<&TakesInplace<&elu>::call>(
      "elu", "input, alpha=1.0, inplace=False",
      "x where positive, else alpha * (exp(x) - 1); inplace changes nothing.");
  b.both<&gelu>("gelu", "input, approximate='none'",
                "x * Phi(x) (Hendrycks and Gimpel 2016); approximate is 'none' or 'tanh'.");
  b.both<&softplus>("softplus", "input, beta=1.0, threshold=20.0",
                    "log(1 + exp(beta * x)) / beta; x where beta * x is above the threshold.");
  b.function<&TakesInplace<&hardtanh>::call>(
      "hardtanh", "input, min_val=-1.0, max_val=1.0, inplace=False",
      "Clip to [min_val, max_val]; inplace changes nothing.");
  b.both<&clamp>("clamp", "input, min=None, max=None",
                 "Clip to [min, max], numbers or tensors; NaN stays NaN.");
  b.method<&clamp_>("clamp_", "input, min=None, max=None", "clamp in place.");

#define GS_BIND(op) \
  b.both<&ops::op>(#op, "input, other", "Elementwise " #op " with broadcasting and promotion.");
  GS_BIND(mul)
  GS_BIND(floor_divide)
  GS_BIND(remainder)
  GS_BIND(fmod)
  GS_BIND(pow)
  GS_BIND(maximum)
  GS_BIND(minimum)
  GS_BIND(atan2)
  GS_COMPARE_OPS(GS_BIND)
  GS_BIND(logical_and)
  GS_BIND(logical_or)
  GS_BIND(logical_xor)
  GS_BIND(bitwise_and)
  GS_BIND(bitwise_or)
  GS_BIND(bitwise_xor)
#undef GS_BIND
  b.method<&mul_>("mul_", "input, other", "mul in place.");
  b.method<&div_>("div_", "input, other", "div in place.");
  b.both<&TakesAlpha<&add>::call>("add", "input, other, *, alpha=None",
                                  "input + alpha (1) * other, with broadcasting and promotion.");
  b.both<&TakesAlpha<&sub>::call>("sub", "input, other, *, alpha=None",
                                  "input - alpha (1) * other, with broadcasting and promotion.");
  b.method<&TakesAlpha<&add_>::call>("add_", "input, other, *, alpha=None", "add in place.");
  b.method<&TakesAlpha<&sub_>::call>("sub_", "input, other, *, alpha=None", "sub in place.");
  b.both<&div_op>("div", "input, other, *, rounding_mode=None",
                  "input / other, with broadcasting and promotion; rounding_mode is None, 'floor' "
                  "or 'trunc' (towards zero), whose results have no gradient.");
  b.function<&where_op>("where", "condition, input, other",
                        "input where condition is true, else other.");
  b.both<&lerp>("lerp", "input, end, weight", "input + weight * (end - input).");
}

void bind_reductions(Binder& b) {
  b.both<&sum>("sum", "input, dim=None, keepdim=False, dtype=None", "Sum over dims.");
  b.both<&mean>("mean", "input, dim=None, keepdim=False, dtype=None", "Mean over dims.");
  b.both<&spread_op<&var>>("var", "input, dim=None, correction=1, keepdim=False, *, unbiased=None",
                           "Variance over dims, divided by n - correction; unbiased=False is "
                           "correction 0.");
  b.both<&spread_op<&ops::std>>("std",
                                "input, dim=None, correction=1, keepdim=False, *, unbiased=None",
                                "Standard deviation over dims; arguments as for var.");
  b.both<&prod>("prod", "input, dim=None, keepdim=False, dtype=None",
                "Product over one dim, or all.");
  b.both<&amax>("amax", "input, dim=None, keepdim=False",
                "Maximum over dims; ties share gradients.");
  b.both<&amin>("amin", "input, dim=None, keepdim=False",
                "Minimum over dims; ties share gradients.");
  b.function<&max_dim>("_max_dim", "input, dim, keepdim=False",
                       "Maximum and its index along a dim.");
  b.function<&min_dim>("_min_dim", "input, dim, keepdim=False",
                       "Minimum and its index along a dim.");
  b.both<&argmax>("argmax", "input, dim=None, keepdim=False", "First index of the maximum.");
  b.both<&argmin>("argmin", "input, dim=None, keepdim=False", "First index of the minimum.");
  b.both<&any>("any", "input, dim=None, keepdim=False", "Whether any element is non-zero.");
  b.both<&all>("all", "input, dim=None, keepdim=False", "Whether all elements are non-zero.");
  b.both<&norm_op>("norm", "input, p=2.0, dim=None, keepdim=False",
                   "p-norm over dims; 'fro' is 2.");
  b.both<&cumsum>("cumsum", "input, dim, dtype=None", "Cumulative sum along a dim.");
  b.both<&logsumexp>("logsumexp", "input, dim, keepdim=False",
                     "log(sum(exp(x))) without overflow.");
}

void bind_products(Binder& b) {
  b.both<&matmul>("matmul", "input, other", "Matrix product with NumPy's rules for ranks.");
  b.both<&bmm>("bmm", "input, mat2", "Products of two batches of matrices.");
  b.function<&linear>("linear", "input, weight, bias=None, activation='none'",
                      "activation(input @ weight.T + bias), fused.");
  b.function<&outer>("outer", "input, vec2", "Outer product of two vectors.");
  b.both<&dot>("dot", "input, other", "Inner product of two vectors.");
}

}  // namespace

void bind_ops(Binder& b) {
  bind_creation(b);
  bind_copies(b);
  bind_views(b);
  bind_joining_and_indexing(b);
  bind_elementwise(b);
  bind_reductions(b);
  bind_products(b);
}

}  // namespace gradsmith::python
