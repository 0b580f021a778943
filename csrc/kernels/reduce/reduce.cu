// Reductions; see reduce.cuh. Four folds, as wide as the CPU's accumulators: what a reduction sums,
// and what becomes of the sum, is an argument that all threads read alike, in code that waits for
// memory anyway.
#include <math.h>

#include "kernels/reduce/reduce.cuh"

namespace gradsmith::cuda {
namespace {

template <class T>
inline constexpr bool kFloating = T(1.5) != T(1);

template <bool kFloat>
struct SumAcc {
  using type = std::uint64_t;  // wraps around
};
template <>
struct SumAcc<true> {
  using type = double;
};
template <class T>
using AccOf = typename SumAcc<kFloating<T>>::type;

struct Outputs {
  ReduceOp op;
  void* out;
  void* mean;
  std::int64_t* indices;
  double elements, correction;
};

// sum, mean, norms, and counts of what is not 0.
template <class T>
struct SumFold {
  using Acc = AccOf<T>;
  Outputs to;

  __device__ Acc start() const { return 0; }
  __device__ Acc join(Acc a, Acc b) const { return a + b; }
  template <class IndexFn>
  __device__ void add(Acc& acc, const T (&x)[kInFlight], int count, IndexFn) const {
    const auto each = [&](auto map) {
      GS_UNROLL
      for (int i = 0; i < kInFlight; ++i)
        if (i < count) acc += map(x[i]);
    };
    switch (to.op) {
      case ReduceOp::any:
      case ReduceOp::all:
      case ReduceOp::count_nonzero:
        return each([](T v) { return v != T(0) ? Acc(1) : Acc(0); });
      case ReduceOp::sumsq:
      case ReduceOp::norm2:
        return each([](T v) { return Acc(v) * Acc(v); });
      case ReduceOp::norm1:
        return each([](T v) { return Acc(::fabs(double(v))); });  // floating only
      default:
        return each([](T v) { return Acc(v); });
    }
  }
  __device__ void finish(Acc acc, std::int64_t at) const {
    switch (to.op) {
      case ReduceOp::any:
        static_cast<std::uint8_t*>(to.out)[at] = acc != Acc(0);
        return;
      case ReduceOp::all:
        static_cast<std::uint8_t*>(to.out)[at] = double(acc) == to.elements;
        return;
      case ReduceOp::count_nonzero:
        static_cast<std::int64_t*>(to.out)[at] = std::int64_t(acc);
        return;
      default:
        break;
    }
    if constexpr (kFloating<T>) {
      double y = acc;
      if (to.op == ReduceOp::mean) y = acc / to.elements;
      if (to.op == ReduceOp::norm2) y = ::sqrt(acc);
      static_cast<T*>(to.out)[at] = T(y);
    } else {
      static_cast<std::int64_t*>(to.out)[at] = std::int64_t(acc);
    }
  }
};

template <class T>
struct ProdFold {
  using Acc = AccOf<T>;
  Outputs to;

  __device__ Acc start() const { return 1; }
  __device__ Acc join(Acc a, Acc b) const { return a * b; }
  template <class IndexFn>
  __device__ void add(Acc& acc, const T (&x)[kInFlight], int count, IndexFn) const {
    GS_UNROLL
    for (int i = 0; i < kInFlight; ++i)
      if (i < count) acc *= Acc(x[i]);
  }
  __device__ void finish(Acc acc, std::int64_t at) const {
    if constexpr (kFloating<T>)
      static_cast<T*>(to.out)[at] = T(acc);
    else
      static_cast<std::int64_t*>(to.out)[at] = std::int64_t(acc);
  }
};

// The extreme with the least index; a NaN is more extreme than any number.
template <class T>
struct ExtremeFold {
  struct Acc {
    T value;
    std::int64_t index;  // -1: nothing yet
  };
  Outputs to;
  bool largest;

  __device__ Acc start() const { return {T(0), -1}; }
  __device__ bool improves(T x, T best) const {
    if (best != best) return false;
    return x != x || (largest ? x > best : x < best);
  }
  __device__ Acc join(const Acc& a, const Acc& b) const {
    if (a.index < 0) return b;
    if (b.index < 0) return a;
    if (improves(b.value, a.value)) return b;
    if (improves(a.value, b.value)) return a;
    return b.index < a.index ? b : a;
  }
  template <class IndexFn>
  __device__ void add(Acc& acc, const T (&x)[kInFlight], int count, IndexFn index) const {
    GS_UNROLL
    for (int i = 0; i < kInFlight; ++i)
      if (i < count && (acc.index < 0 || improves(x[i], acc.value))) acc = {x[i], index(i)};
  }
  __device__ void finish(const Acc& acc, std::int64_t at) const {
    if (to.out) static_cast<T*>(to.out)[at] = acc.value;
    if (to.indices) to.indices[at] = acc.index;
  }
};

// Count, mean and squared deviations (T. F. Chan et al. 1979): those of a few elements at a time,
// in two passes over registers, are joined to what is there with one division.
template <class T>
struct MomentsFold {
  struct Acc {
    double count, mean, m2;
  };
  Outputs to;

  __device__ Acc start() const { return {0, 0, 0}; }
  __device__ Acc join(const Acc& a, const Acc& b) const {
    if (b.count == 0) return a;
    if (a.count == 0) return b;
    const double count = a.count + b.count, delta = b.mean - a.mean, share = b.count / count;
    return {count, a.mean + delta * share, a.m2 + b.m2 + delta * delta * a.count * share};
  }
  template <class IndexFn>
  __device__ void add(Acc& acc, const T (&x)[kInFlight], int count, IndexFn) const {
    Acc part{double(count), 0, 0};
    GS_UNROLL
    for (int i = 0; i < kInFlight; ++i)
      if (i < count) part.mean += double(x[i]);
    part.mean = count == kInFlight ? part.mean * (1.0 / kInFlight) : part.mean / part.count;
    GS_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      const double d = double(x[i]) - part.mean;
      if (i < count) part.m2 += d * d;
    }
    acc = join(acc, part);
  }
  __device__ void finish(const Acc& acc, std::int64_t at) const {
    const double degrees = to.elements - to.correction;
    const double variance = acc.m2 / (degrees > 0 ? degrees : 0);
    if (to.out)
      static_cast<T*>(to.out)[at] = T(to.op == ReduceOp::std_dev ? ::sqrt(variance) : variance);
    if (to.mean) static_cast<T*>(to.mean)[at] = T(acc.count > 0 ? acc.mean : double(NAN));
  }
};

template <class T>
int reduce_as(const ReduceArgs& args, const kernels::ReduceLayout& layout, void* stream) {
  const Outputs to{args.op,        args.out, args.mean, args.indices, double(layout.elements),
                   args.correction};
  switch (args.op) {
    case ReduceOp::prod:
      return run_fold<T>("prod", layout, ProdFold<T>{to}, stream);
    case ReduceOp::max:
    case ReduceOp::argmax:
      return run_fold<T>("max", layout, ExtremeFold<T>{to, true}, stream);
    case ReduceOp::min:
    case ReduceOp::argmin:
      return run_fold<T>("min", layout, ExtremeFold<T>{to, false}, stream);
    case ReduceOp::var:
    case ReduceOp::std_dev:
      if constexpr (kFloating<T>)
        return run_fold<T>("var", layout, MomentsFold<T>{to}, stream);
      else
        break;
    default:
      return run_fold<T>("sum", layout, SumFold<T>{to}, stream);
  }
  return fail(kFailed, "reduce: of floating types only");
}

}  // namespace

int reduce(const ReduceArgs& args, void* stream) {
  const NdView x{args.x.data, args.x.dtype, args.ndim, args.shape, args.x.strides};
  const bool ordered = args.op == ReduceOp::argmax || args.op == ReduceOp::argmin;
  const kernels::ReduceLayout layout(x, args.dims, ordered);
  switch (x.dtype) {
    case DType::f32:
      return reduce_as<float>(args, layout, stream);
    case DType::f64:
      return reduce_as<double>(args, layout, stream);
    case DType::i64:
      return reduce_as<std::int64_t>(args, layout, stream);
    case DType::i32:
      return reduce_as<std::int32_t>(args, layout, stream);
    case DType::u8:
    case DType::b8:
      return reduce_as<std::uint8_t>(args, layout, stream);
    default:
      return fail(kFailed, std::string("reduce: no CUDA kernel for ") + name(x.dtype));
  }
}

}  // namespace gradsmith::cuda
