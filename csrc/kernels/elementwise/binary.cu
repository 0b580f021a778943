// out = f(x, y), each of x and y an array or a number; see elementwise.cuh.
#include <math.h>

#include "kernels/elementwise/activation.cuh"
#include "kernels/elementwise/elementwise.cuh"

namespace gradsmith::cuda {
namespace {

template <class T>
__device__ T power(T x, T y) {
  if constexpr (kIsInteger<T>) {  // by squaring; y < 0 gives what 1 / x**-y truncates to
    if (negative(y)) return x == 1 ? T(1) : x == T(-1) ? (y & 1 ? T(-1) : T(1)) : T(0);
    T result = 1;
    for (; y > 0; y = T(y >> 1), x = T(x * x))
      if (y & 1) result = T(result * x);
    return result;
  } else {
    return ::pow(x, y);
  }
}
// Python's rules: the remainder has the sign of y, and floor_divide is (x - remainder) / y. Of
// integers by zero both are 0.
template <class T>
__device__ T truncated_remainder(T x, T y) {
  if constexpr (kIsInteger<T>) {
    if (y == 0 || (negative(y) && y == T(-1))) return 0;  // the least integer has no counterpart
    return T(x % y);
  } else {
    return ::fmod(x, y);
  }
}
template <class T>
__device__ T remainder_of(T x, T y) {
  const T r = truncated_remainder(x, y);
  return r != 0 && negative(r) != negative(y) ? T(r + y) : r;
}
template <class T>
__device__ T floor_quotient(T x, T y) {
  if constexpr (kIsInteger<T>) {
    if (y == 0) return 0;
    if (negative(y) && y == T(-1)) return T(0u - std::uint64_t(x));  // the least one wraps
    return T(x / y - T(remainder_of(x, y) != truncated_remainder(x, y)));
  } else {
    if (y == 0) return x / y;
    const T r = truncated_remainder(x, y);
    const T quotient = (x - r) / y - T(r != 0 && (r < 0) != (y < 0));
    return quotient == 0 ? ::copysign(T(0), x / y) : ::rint(quotient);
  }
}
template <class T>
__device__ T bitwise(BinaryOp op, T x, T y) {
  return op == BinaryOp::bitwise_and ? T(x & y) : op == BinaryOp::bitwise_or ? T(x | y) : T(x ^ y);
}

template <class T>
__device__ T apply(BinaryOp op, T x, T y, T a, T b) {
  switch (op) {
    case BinaryOp::add:
      return T(x + y);
    case BinaryOp::sub:
      return T(x - y);
    case BinaryOp::mul:
      return T(x * y);
    case BinaryOp::div:
      return y == 0 && kIsInteger<T> ? T(0) : T(x / y);
    case BinaryOp::maximum:
      return x > y || x != x ? x : y;  // NaN wins
    case BinaryOp::minimum:
      return x < y || x != x ? x : y;
    case BinaryOp::pow:
      return power(x, y);
    case BinaryOp::remainder:
      return remainder_of(x, y);
    case BinaryOp::fmod:
      return truncated_remainder(x, y);
    case BinaryOp::floor_divide:
      return floor_quotient(x, y);
    default:
      if constexpr (kIsInteger<T>)
        return bitwise(op, x, y);
      else
        return op == BinaryOp::atan2 ? ::atan2(x, y) : slope_of(op, x, y, a, b);
  }
}
template <class T>
__device__ bool compare(BinaryOp op, T x, T y) {
  switch (op) {
    case BinaryOp::eq:
      return x == y;
    case BinaryOp::ne:
      return x != y;
    case BinaryOp::lt:
      return x < y;
    case BinaryOp::le:
      return x <= y;
    case BinaryOp::gt:
      return x > y;
    case BinaryOp::ge:
      return x >= y;
    case BinaryOp::logical_and:
      return x != 0 && y != 0;
    case BinaryOp::logical_or:
      return x != 0 || y != 0;
    default:
      return (x != 0) != (y != 0);
  }
}

template <class Out, class T>
struct BinaryParams {
  Walk<3> walk;
  BinaryOp op;
  bool packed, bf16;
  Out* out;
  const T *x, *y;  // null: the value
  Compute<T> x_value, y_value, a, b;
};

template <class Out, class T, int kOp>
__global__ void binary_kernel(BinaryParams<Out, T> p) {
  constexpr int V = kPerThread<T>;
  const BinaryOp op = kOp == kAnyOp ? p.op : BinaryOp(kOp);
  const auto f = [&](Compute<T> x, Compute<T> y) {
    if constexpr (kOp == int(BinaryOp::eq))
      return Out(compare(p.op, x, y));  // any comparison
    else
      return encode<Out>(apply(op, x, y, p.a, p.b), p.bf16);
  };
  for_elements<V>(
      p.walk.numel, p.packed,
      [&](std::int64_t first) {
        Pack<T, V> x{}, y{};
        Pack<Out, V> out;
        if (p.x) x = *reinterpret_cast<const Pack<T, V>*>(p.x + first);
        if (p.y) y = *reinterpret_cast<const Pack<T, V>*>(p.y + first);
        GS_UNROLL_BY(kOp == kAnyOp ? 1 : V)
        for (int v = 0; v < V; ++v)
          out.v[v] =
              f(p.x ? decode(x.v[v], p.bf16) : p.x_value, p.y ? decode(y.v[v], p.bf16) : p.y_value);
        *reinterpret_cast<Pack<Out, V>*>(p.out + first) = out;
      },
      [&](std::int64_t i) {
        std::int64_t at[3];
        p.walk.offsets(i, at);
        p.out[at[0]] = f(p.x ? decode(p.x[at[1]], p.bf16) : p.x_value,
                         p.y ? decode(p.y[at[2]], p.bf16) : p.y_value);
      });
}

template <class Out, class T, int kOp>
int launch_binary(const BinaryArgs& args, void* stream) {
  const std::int64_t* x_strides = args.x.data ? args.x.strides : nullptr;
  const std::int64_t* y_strides = args.y.data ? args.y.strides : nullptr;
  BinaryParams<Out, T> p{
      make_walk<3>(args.ndim, args.shape, {args.out.strides, x_strides, y_strides}),
      args.op,
      false,
      args.x.dtype == DType::bf16,
      static_cast<Out*>(args.out.data),
      static_cast<const T*>(args.x.data),
      static_cast<const T*>(args.y.data),
      Compute<T>(args.x_value),
      Compute<T>(args.y_value),
      Compute<T>(args.a),
      Compute<T>(args.b)};
  p.packed = p.walk.contiguous && aligned16(p.out) && aligned16(p.x) && aligned16(p.y);
  return launch_elements("binary", binary_kernel<Out, T, kOp>, p.walk.numel, kPerThread<T>, stream,
                         p);
}

template <class T>
int launch_arithmetic(const BinaryArgs& args, void* stream) {
  return launch_binary<T, T, kAnyOp>(args, stream);
}
template <>
int launch_arithmetic<float>(const BinaryArgs& args, void* stream) {
#define GS_OWN(name)   \
  case BinaryOp::name: \
    return launch_binary<float, float, int(BinaryOp::name)>(args, stream);
  switch (args.op) {
    GS_OWN(add)
    GS_OWN(sub)
    GS_OWN(mul)
    GS_OWN(div)
    default:
      return launch_binary<float, float, kAnyOp>(args, stream);
  }
#undef GS_OWN
}

template <class T>
int launch_dtype(const BinaryArgs& args, void* stream) {
  if (args.op >= BinaryOp::eq)
    return launch_binary<std::uint8_t, T, int(BinaryOp::eq)>(args, stream);
  return launch_arithmetic<T>(args, stream);
}

}  // namespace

int binary(const BinaryArgs& args, void* stream) {
  const DType dtype = args.x.dtype;
  const bool comparison = args.op >= BinaryOp::eq;
  if (args.y.dtype != dtype || args.out.dtype != (comparison ? DType::b8 : dtype))
    return fail(kFailed, "binary: the operands' dtypes do not fit");
  if (!comparison && dtype == DType::b8) return refuse("binary", dtype);
  if (args.op == BinaryOp::div && !is_floating(dtype)) return refuse("div", dtype);
  const bool integers_only = args.op >= BinaryOp::bitwise_and && args.op <= BinaryOp::bitwise_xor;
  const bool floating_only = args.op >= BinaryOp::atan2 && !comparison;
  if (is_floating(dtype) ? integers_only : floating_only) return refuse("binary", dtype);
  switch (dtype) {
    case DType::f32:
      return launch_dtype<float>(args, stream);
    case DType::f64:
      return launch_dtype<double>(args, stream);
    case DType::bf16:
    case DType::f16:
      return launch_dtype<Half16>(args, stream);
    case DType::i64:
      return launch_dtype<std::int64_t>(args, stream);
    case DType::i32:
      return launch_dtype<std::int32_t>(args, stream);
    case DType::u8:
    case DType::b8:
      return launch_dtype<std::uint8_t>(args, stream);
  }
  return refuse("binary", dtype);
}

}  // namespace gradsmith::cuda
