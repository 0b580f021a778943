// Copies, casts and fills; see elementwise.cuh.
#include <cmath>
#include <cstring>

#include "kernels/elementwise/elementwise.cuh"

namespace gradsmith::cuda {
namespace {

template <class T>
struct MoveParams {
  Walk<2> walk;
  bool packed;
  T* out;
  const T* x;  // null: value
  T value;
};

// Copies bits; T stands for every type of its size.
template <class T>
__global__ void move_kernel(MoveParams<T> p) {
  constexpr int V = kPerThread<T>;
  for_elements<V>(
      p.walk.numel, p.packed,
      [&](std::int64_t first) {
        Pack<T, V> pack;
        GS_UNROLL
        for (int v = 0; v < V; ++v) pack.v[v] = p.value;
        if (p.x) pack = *reinterpret_cast<const Pack<T, V>*>(p.x + first);
        *reinterpret_cast<Pack<T, V>*>(p.out + first) = pack;
      },
      [&](std::int64_t i) {
        std::int64_t at[2];
        p.walk.offsets(i, at);
        p.out[at[0]] = p.x ? p.x[at[1]] : p.value;
      });
}

// A value of any dtype on its way to another: integers stay exact.
struct AnyValue {
  bool integral;
  double real;
  std::int64_t whole;
};

inline __device__ AnyValue load_any(const void* p, DType dtype, std::int64_t i) {
  switch (dtype) {
    case DType::f32:
      return {false, static_cast<const float*>(p)[i], 0};
    case DType::f64:
      return {false, static_cast<const double*>(p)[i], 0};
    case DType::bf16:
      return {false, bfloat16_to_float(static_cast<const std::uint16_t*>(p)[i]), 0};
    case DType::f16:
      return {false, float16_to_float(static_cast<const std::uint16_t*>(p)[i]), 0};
    case DType::i64:
      return {true, 0, static_cast<const std::int64_t*>(p)[i]};
    case DType::i32:
      return {true, 0, static_cast<const std::int32_t*>(p)[i]};
    default:
      return {true, 0, static_cast<const std::uint8_t*>(p)[i]};
  }
}
inline __device__ void store_any(void* p, DType dtype, std::int64_t i, AnyValue v) {
  const auto as_float = [&] { return v.integral ? float(v.whole) : float(v.real); };
  const auto as_whole = [&] { return v.integral ? v.whole : (std::int64_t)(v.real); };
  switch (dtype) {
    case DType::f32:
      static_cast<float*>(p)[i] = as_float();
      break;
    case DType::f64:
      static_cast<double*>(p)[i] = v.integral ? double(v.whole) : v.real;
      break;
    case DType::bf16:
      static_cast<std::uint16_t*>(p)[i] = float_to_bfloat16(as_float());
      break;
    case DType::f16:
      static_cast<std::uint16_t*>(p)[i] = float_to_float16(as_float());
      break;
    case DType::i64:
      static_cast<std::int64_t*>(p)[i] = as_whole();
      break;
    case DType::i32:
      static_cast<std::int32_t*>(p)[i] = std::int32_t(as_whole());
      break;
    case DType::u8:
      static_cast<std::uint8_t*>(p)[i] = std::uint8_t(as_whole());
      break;
    case DType::b8:
      static_cast<std::uint8_t*>(p)[i] = v.integral ? v.whole != 0 : v.real != 0;
      break;
  }
}

struct CastParams {
  Walk<2> walk;
  void* out;
  const void* x;
  DType to, from;
};

inline constexpr int kCastPerThread = 4;
__global__ void cast_kernel(CastParams p) {
  for_elements<kCastPerThread>(
      p.walk.numel, false, [](std::int64_t) {},
      [&](std::int64_t i) {
        std::int64_t at[2];
        p.walk.offsets(i, at);
        store_any(p.out, p.to, at[0], load_any(p.x, p.from, at[1]));
      });
}

template <class T>
int launch_move(const CopyArgs& args, void* stream) {
  const std::int64_t* x_strides = args.x.data ? args.x.strides : nullptr;
  T element;
  std::memcpy(&element, &args.element, sizeof element);
  MoveParams<T> p{make_walk<2>(args.ndim, args.shape, {args.out.strides, x_strides}), false,
                  static_cast<T*>(args.out.data), static_cast<const T*>(args.x.data), element};
  p.packed = p.walk.contiguous && aligned16(p.out) && aligned16(p.x);
  return launch_elements("copy", move_kernel<T>, p.walk.numel, kPerThread<T>, stream, p);
}

}  // namespace

int copy(const CopyArgs& args, void* stream) {
  if (!args.x.data || args.x.dtype == args.out.dtype) {
    switch (itemsize(args.out.dtype)) {
      case 1:
        return launch_move<std::uint8_t>(args, stream);
      case 2:
        return launch_move<std::uint16_t>(args, stream);
      case 4:
        return launch_move<std::uint32_t>(args, stream);
      default:
        return launch_move<std::uint64_t>(args, stream);
    }
  }
  const CastParams p{make_walk<2>(args.ndim, args.shape, {args.out.strides, args.x.strides}),
                     args.out.data, args.x.data, args.out.dtype, args.x.dtype};
  return launch_elements("cast", cast_kernel, p.walk.numel, kCastPerThread, stream, p);
}

}  // namespace gradsmith::cuda
