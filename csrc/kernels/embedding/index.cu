// Reading by index: embedding, index_select, gather, and the check of the indices; where;
// sequences.
//
// Contract    see cuda_abi_index.h. Moves are by item size and copy bits.
// Floor       take_rows: the rows that are read and written and 8 bytes an index. gather, where:
//             every operand once.
// Algorithm   A thread an element, neighbours beside each other in the output. take_rows moves 16
//             bytes a thread where rows are whole multiples of them, so that an embedding of
//             usual width runs at the speed of a copy; consecutive threads read one row.
// Errors      A wrong index must raise before memory is written, so check_index leaves the position
//             of the first one for the host, which waits for it. Integer atomicMin: the same answer
//             in any order.
#include "kernels/elementwise/elementwise.cuh"

namespace gradsmith::cuda {
namespace {

inline __device__ std::int64_t wrapped(std::int64_t index, std::int64_t size) {
  return index < 0 ? index + size : index;
}

struct alignas(16) Bytes16 {
  std::uint64_t low, high;
};

template <class T>
struct TakeParams {
  T* out;
  const T* src;
  const std::int64_t* index;
  std::int64_t numel, columns, src_rows;
};

inline constexpr int kTakePerThread = 4;  // loads in flight

template <class T>
__global__ void take_rows_kernel(TakeParams<T> p) {
  for_elements<kTakePerThread>(
      p.numel, false, [](std::int64_t) {},
      [&](std::int64_t i) {
        const std::int64_t row = p.numel <= 0x7fffffff
                                     ? std::int64_t(std::uint32_t(i) / std::uint32_t(p.columns))
                                     : i / p.columns;
        p.out[i] = p.src[wrapped(p.index[row], p.src_rows) * p.columns + (i - row * p.columns)];
      });
}

template <class T>
int launch_take(const TakeRowsArgs& a, std::int64_t columns, void* stream) {
  const TakeParams<T> p{static_cast<T*>(a.out),
                        static_cast<const T*>(a.src),
                        a.index,
                        a.rows * columns,
                        columns,
                        a.src_rows};
  return launch_elements("take_rows", take_rows_kernel<T>, p.numel, kTakePerThread, stream, p);
}

template <class T>
struct GatherParams {
  Walk<3> walk;  // out, src without its axis, index
  T* out;
  const T* src;
  const std::int64_t* index;
  std::int64_t axis_stride, axis_size;
};

template <class T>
__global__ void gather_kernel(GatherParams<T> p) {
  for_elements<kTakePerThread>(
      p.walk.numel, false, [](std::int64_t) {},
      [&](std::int64_t i) {
        std::int64_t at[3];
        p.walk.offsets(i, at);
        p.out[at[0]] = p.src[at[1] + wrapped(p.index[at[2]], p.axis_size) * p.axis_stride];
      });
}

template <class T>
int launch_gather(const GatherArgs& a, void* stream) {
  Operand src = a.src;
  src.strides[a.axis] = 0;
  const GatherParams<T> p{
      make_walk<3>(a.ndim, a.shape, {a.out.strides, src.strides, a.index.strides}),
      static_cast<T*>(a.out.data),
      static_cast<const T*>(a.src.data),
      static_cast<const std::int64_t*>(a.index.data),
      a.src.strides[a.axis],
      a.axis_size};
  return launch_elements("gather", gather_kernel<T>, p.walk.numel, kTakePerThread, stream, p);
}

struct CheckParams {
  Walk<1> walk;
  const std::int64_t* index;
  std::int64_t low, high;
  unsigned long long* first;
};

inline constexpr int kCheckPerThread = 8;
__global__ void check_index_kernel(CheckParams p) {
  for_elements<kCheckPerThread>(
      p.walk.numel, false, [](std::int64_t) {},
      [&](std::int64_t i) {
        std::int64_t at[1];
        p.walk.offsets(i, at);
        const std::int64_t v = p.index[at[0]];
        if (v < p.low || v >= p.high) atomicMin(p.first, (unsigned long long)(i));
      });
}

template <class T>
struct WhereParams {
  Walk<4> walk;
  T* out;
  const std::uint8_t* condition;
  const T *x, *y;  // null: the value
  T x_value, y_value;
};

template <class T>
__global__ void where_kernel(WhereParams<T> p) {
  for_elements<kTakePerThread>(
      p.walk.numel, false, [](std::int64_t) {},
      [&](std::int64_t i) {
        std::int64_t at[4];
        p.walk.offsets(i, at);
        p.out[at[0]] =
            p.condition[at[1]] ? (p.x ? p.x[at[2]] : p.x_value) : (p.y ? p.y[at[3]] : p.y_value);
      });
}

template <class T>
int launch_where(const WhereArgs& a, void* stream) {
  const WhereParams<T> p{
      make_walk<4>(a.ndim, a.shape,
                   {a.out.strides, a.condition.strides, a.x.data ? a.x.strides : nullptr,
                    a.y.data ? a.y.strides : nullptr}),
      static_cast<T*>(a.out.data),
      static_cast<const std::uint8_t*>(a.condition.data),
      static_cast<const T*>(a.x.data),
      static_cast<const T*>(a.y.data),
      T(a.x_element),
      T(a.y_element)};
  return launch_elements("where", where_kernel<T>, p.walk.numel, kTakePerThread, stream, p);
}

__global__ void sequence_kernel(SequenceArgs a) {
  for_elements<kTakePerThread>(
      a.count, false, [](std::int64_t) {},
      [&](std::int64_t i) {
        // Rounded after the product as on the CPU: no fused multiply-add.
        const double v = i < a.forward
                             ? __dadd_rn(a.first, __dmul_rn(double(i), a.step))
                             : __dadd_rn(a.last, -__dmul_rn(double(a.count - 1 - i), a.step));
        switch (a.dtype) {
          case DType::f32:
            static_cast<float*>(a.out)[i] = float(v);
            break;
          case DType::f64:
            static_cast<double*>(a.out)[i] = v;
            break;
          case DType::bf16:
            static_cast<std::uint16_t*>(a.out)[i] = float_to_bfloat16(float(v));
            break;
          case DType::f16:
            static_cast<std::uint16_t*>(a.out)[i] = float_to_float16(float(v));
            break;
          case DType::i64:
            static_cast<std::int64_t*>(a.out)[i] = std::int64_t(v);
            break;
          case DType::i32:
            static_cast<std::int32_t*>(a.out)[i] = std::int32_t(v);
            break;
          case DType::u8:
            static_cast<std::uint8_t*>(a.out)[i] = std::uint8_t(v);
            break;
          case DType::b8:
            static_cast<std::uint8_t*>(a.out)[i] = v != 0;
            break;
        }
      });
}

}  // namespace

int take_rows(const TakeRowsArgs& a, void* stream) {
  const std::int64_t bytes = a.columns * a.itemsize;
  if (bytes % 16 == 0 && aligned16(a.out) && aligned16(a.src))
    return launch_take<Bytes16>(a, bytes / 16, stream);
  switch (a.itemsize) {
    case 1:
      return launch_take<std::uint8_t>(a, a.columns, stream);
    case 2:
      return launch_take<std::uint16_t>(a, a.columns, stream);
    case 4:
      return launch_take<std::uint32_t>(a, a.columns, stream);
    default:
      return launch_take<std::uint64_t>(a, a.columns, stream);
  }
}

int gather(const GatherArgs& a, void* stream) {
  switch (itemsize(a.out.dtype)) {
    case 1:
      return launch_gather<std::uint8_t>(a, stream);
    case 2:
      return launch_gather<std::uint16_t>(a, stream);
    case 4:
      return launch_gather<std::uint32_t>(a, stream);
    default:
      return launch_gather<std::uint64_t>(a, stream);
  }
}

int check_index(const CheckIndexArgs& a, void* stream) {
  const CheckParams p{make_walk<1>(a.ndim, a.shape, {a.index.strides}),
                      static_cast<const std::int64_t*>(a.index.data), a.low, a.high,
                      reinterpret_cast<unsigned long long*>(a.first)};
  return launch_elements("check_index", check_index_kernel, p.walk.numel, kCheckPerThread, stream,
                         p);
}

int where(const WhereArgs& a, void* stream) {
  switch (itemsize(a.out.dtype)) {
    case 1:
      return launch_where<std::uint8_t>(a, stream);
    case 2:
      return launch_where<std::uint16_t>(a, stream);
    case 4:
      return launch_where<std::uint32_t>(a, stream);
    default:
      return launch_where<std::uint64_t>(a, stream);
  }
}

int sequence(const SequenceArgs& a, void* stream) {
  return launch_elements("sequence", sequence_kernel, a.count, kTakePerThread, stream, a);
}

}  // namespace gradsmith::cuda
