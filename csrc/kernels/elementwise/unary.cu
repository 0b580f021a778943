// out = f(x); see elementwise.cuh.
#include <math.h>

#include "kernels/elementwise/activation.cuh"
#include "kernels/elementwise/elementwise.cuh"

namespace gradsmith::cuda {
namespace {

template <class T>
__device__ T apply_floating(UnaryOp op, T x, T a, T b) {
  switch (op) {
    case UnaryOp::neg:
      return -x;
    case UnaryOp::abs:
      return ::fabs(x);
    case UnaryOp::sign:
      return x > 0 ? T(1) : x < 0 ? T(-1) : T(0);
    case UnaryOp::square:
      return x * x;
    case UnaryOp::relu:
      return x < 0 ? T(0) : x;
    case UnaryOp::clamp:
      return clamp_of(x, a, b);
    case UnaryOp::sqrt:
      return ::sqrt(x);
    case UnaryOp::rsqrt:
      return T(1) / ::sqrt(x);
    case UnaryOp::reciprocal:
      return T(1) / x;
    case UnaryOp::exp:
      return ::exp(x);
    case UnaryOp::exp2:
      return ::exp2(x);
    case UnaryOp::expm1:
      return ::expm1(x);
    case UnaryOp::log:
      return ::log(x);
    case UnaryOp::log1p:
      return ::log1p(x);
    case UnaryOp::log2:
      return ::log2(x);
    case UnaryOp::log10:
      return ::log10(x);
    case UnaryOp::sin:
      return ::sin(x);
    case UnaryOp::cos:
      return ::cos(x);
    case UnaryOp::tan:
      return ::tan(x);
    case UnaryOp::sinh:
      return ::sinh(x);
    case UnaryOp::cosh:
      return ::cosh(x);
    case UnaryOp::tanh:
      return ::tanh(x);
    case UnaryOp::asin:
      return ::asin(x);
    case UnaryOp::acos:
      return ::acos(x);
    case UnaryOp::atan:
      return ::atan(x);
    case UnaryOp::erf:
      return ::erf(x);
    case UnaryOp::erfc:
      return ::erfc(x);
    case UnaryOp::sigmoid:
      return sigmoid_of(x);
    case UnaryOp::log_sigmoid:
      return -softplus_of(-x);
    case UnaryOp::floor:
      return ::floor(x);
    case UnaryOp::ceil:
      return ::ceil(x);
    case UnaryOp::round:
      return ::rint(x);  // ties to even
    case UnaryOp::trunc:
      return ::trunc(x);
    case UnaryOp::silu:
      return times_vanishing(x, sigmoid_of(x));
    case UnaryOp::gelu:
      return times_vanishing(x, T(0.5) * ::erfc(x * T(-0.70710678118654752)));
    case UnaryOp::gelu_tanh:  // (1 + tanh(u)) / 2 is the logistic function of 2 u
      return times_vanishing(x, sigmoid_of(T(1.5957691216057308) * (x + T(0.044715) * x * x * x)));
    case UnaryOp::mish:
      return times_vanishing(x, ::tanh(softplus_of(x)));
    case UnaryOp::softsign:
      return x / (T(1) + ::fabs(x));
    case UnaryOp::hardsigmoid:
      return clamp_of(x / T(6) + T(0.5), T(0), T(1));
    case UnaryOp::hardswish:
      return x * clamp_of(x / T(6) + T(0.5), T(0), T(1));
    case UnaryOp::leaky_relu:
      return x < 0 ? a * x : x;
    case UnaryOp::elu:
      return x > 0 ? x : a * ::expm1(x);
    case UnaryOp::softplus:
      return x * a > b ? x : softplus_of(x * a) / a;
  }
  return x;
}

template <class T>
__device__ T apply_integer(UnaryOp op, T x, T a, T b) {
  switch (op) {
    case UnaryOp::neg:
      return T(T(0) - x);
    case UnaryOp::abs:
      return negative(x) ? T(T(0) - x) : x;
    case UnaryOp::sign:
      return T(int(x != 0) - 2 * int(negative(x)));
    case UnaryOp::square:
      return T(x * x);
    case UnaryOp::relu:
      return negative(x) ? T(0) : x;
    case UnaryOp::clamp:
      return clamp_of(x, a, b);
    default:
      return x;  // refused before the launch
  }
}

template <class T>
__device__ T apply(UnaryOp op, T x, T a, T b) {
  if constexpr (kIsInteger<T>)
    return apply_integer(op, x, a, b);
  else
    return apply_floating(op, x, a, b);
}

template <class T>
struct UnaryParams {
  Walk<2> walk;
  UnaryOp op;
  bool packed, bf16;
  T* out;
  const T* x;
  Compute<T> a, b;
};

template <class T, int kOp>
__global__ void unary_kernel(UnaryParams<T> p) {
  constexpr int V = kPerThread<T>;
  const UnaryOp op = kOp == kAnyOp ? p.op : UnaryOp(kOp);
  const auto f = [&](T x) { return encode<T>(apply(op, decode(x, p.bf16), p.a, p.b), p.bf16); };
  for_elements<V>(
      p.walk.numel, p.packed,
      [&](std::int64_t first) {
        Pack<T, V> pack = *reinterpret_cast<const Pack<T, V>*>(p.x + first);
        GS_UNROLL_BY(kOp == kAnyOp ? 1 : V)
        for (int v = 0; v < V; ++v) pack.v[v] = f(pack.v[v]);
        *reinterpret_cast<Pack<T, V>*>(p.out + first) = pack;
      },
      [&](std::int64_t i) {
        std::int64_t at[2];
        p.walk.offsets(i, at);
        p.out[at[0]] = f(p.x[at[1]]);
      });
}

template <class T, int kOp>
int launch_unary(const UnaryArgs& args, void* stream) {
  UnaryParams<T> p{make_walk<2>(args.ndim, args.shape, {args.out.strides, args.x.strides}),
                   args.op,
                   false,
                   args.x.dtype == DType::bf16,
                   static_cast<T*>(args.out.data),
                   static_cast<const T*>(args.x.data),
                   Compute<T>(args.a),
                   Compute<T>(args.b)};
  p.packed = p.walk.contiguous && aligned16(p.out) && aligned16(p.x);
  return launch_elements("unary", unary_kernel<T, kOp>, p.walk.numel, kPerThread<T>, stream, p);
}

// A function of its own for these ops in float32; the others share one per dtype.
int launch_unary_f32(const UnaryArgs& args, void* stream) {
#define GS_OWN(name)  \
  case UnaryOp::name: \
    return launch_unary<float, int(UnaryOp::name)>(args, stream);
  switch (args.op) {
    GS_OWN(neg)
    GS_OWN(relu)
    GS_OWN(exp)
    GS_OWN(log)
    GS_OWN(sqrt)
    GS_OWN(square)
    GS_OWN(sigmoid)
    GS_OWN(tanh)
    GS_OWN(silu)
    GS_OWN(gelu)
    default:
      return launch_unary<float, kAnyOp>(args, stream);
  }
#undef GS_OWN
}

}  // namespace

int unary(const UnaryArgs& args, void* stream) {
  const DType dtype = args.x.dtype;
  if (args.out.dtype != dtype) return fail(kFailed, "unary: the output has another dtype");
  if (!is_floating(dtype) && args.op > UnaryOp::clamp) return refuse("unary", dtype);
  switch (dtype) {
    case DType::f32:
      return launch_unary_f32(args, stream);
    case DType::f64:
      return launch_unary<double, kAnyOp>(args, stream);
    case DType::bf16:
    case DType::f16:
      return launch_unary<Half16, kAnyOp>(args, stream);
    case DType::i64:
      return launch_unary<std::int64_t, kAnyOp>(args, stream);
    case DType::i32:
      return launch_unary<std::int32_t, kAnyOp>(args, stream);
    case DType::u8:
      return launch_unary<std::uint8_t, kAnyOp>(args, stream);
    case DType::b8:
      break;
  }
  return refuse("unary", dtype);
}

}  // namespace gradsmith::cuda
