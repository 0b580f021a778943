// Optimizer steps and gradient clipping over lists of tensors, 64 tensors a launch.
//
// Contract    see cuda_abi_index.h and optim.h. Every element alone; the CPU's formulas in the same
//             order. Norms are sums of fixed pieces in a fixed order, in float64.
// Floor       Every array once: a step of Adam reads four and writes three, SGD with momentum three
//             and two. Norms read the gradients once, scaling reads and writes them once more.
// Algorithm   The table of tensors travels in the launch's arguments (they hold 4 KB: 64 tensors),
//             so that nothing is copied to the device first. A block finds its tensor by halving,
//             and takes 4096 neighbouring elements of it, 16 bytes an array and access where all
//             arrays are aligned. Clipping never waits for the device: the factor stays there.
#include <math.h>

#include <cmath>

#include "kernels/elementwise/elementwise.cuh"

namespace gradsmith::cuda {
namespace {

constexpr int kTensors = 64, kArrays = 5;
constexpr std::int64_t kStepPiece = 4096;

struct Table {
  StepTensor tensors[kTensors];
  std::int32_t first_block[kTensors + 1];
  std::int32_t count;

  __device__ int find(std::int32_t block) const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (first_block[middle] <= block)
        low = middle;
      else
        high = middle;
    }
    return low;
  }
};

// launch_part(table, pieces before it) for up to kTensors tensors at a time.
template <class Launch>
int each_table(const char* what, const StepTensor* tensors, std::int64_t tensor_count,
               std::int64_t piece, Launch launch_part) {
  std::int64_t done = 0;
  for (std::int64_t at = 0; at < tensor_count;) {
    Table table{};
    std::int64_t blocks = 0;
    for (; at < tensor_count && table.count < kTensors; ++at) {
      if (tensors[at].count == 0) continue;
      table.tensors[table.count] = tensors[at];
      table.first_block[table.count++] = std::int32_t(blocks);
      blocks += (tensors[at].count + piece - 1) / piece;
      if (blocks > kMaxGridX) return fail(kFailed, std::string(what) + ": too many elements");
    }
    table.first_block[table.count] = std::int32_t(blocks);
    if (blocks == 0) continue;
    if (const int status = launch_part(table, done)) return status;
    done += blocks;
  }
  return kOk;
}

// a + weight * (b - a), from the nearer end so that weight 1 gives exactly b.
template <class T>
__device__ T lerp(T a, T b, T weight, T rest, bool from_b) {
  const T d = b - a;
  return from_b ? ::fma(-d, rest, b) : ::fma(weight, d, a);
}
template <class T>
__device__ T effective_grad(const StepNumbers& n, T grad, T param, bool decay) {
  if (n.maximize) grad = -grad;
  return decay ? ::fma(T(n.weight_decay), param, grad) : grad;
}

// `size` with the sign of x; `other` where it has none.
template <class T>
__device__ T signed_size(T size, T x, T other) {
  return x > 0 ? size : x < 0 ? -size : other;
}

// x: one element of every array; `has` says which of them there are.
template <class T, StepOp kOp>
__device__ void step(const StepNumbers& n, T (&x)[kArrays], const bool (&has)[kArrays], T factor) {
  if constexpr (kOp == StepOp::sgd) {
    T g = effective_grad(n, x[1], x[0], n.weight_decay != 0);
    if (has[2]) {
      x[2] = n.first_step ? g : ::fma(T(n.momentum), x[2], T(1 - n.dampening) * g);
      g = n.nesterov ? ::fma(T(n.momentum), x[2], g) : x[2];
    }
    x[0] = ::fma(-T(n.lr), g, x[0]);
  } else if constexpr (kOp == StepOp::adam) {
    const T g = effective_grad(n, x[1], x[0], n.weight_decay != 0 && !n.decoupled);
    if (n.weight_decay != 0 && n.decoupled) x[0] *= T(1 - n.lr * n.weight_decay);
    x[2] = lerp(x[2], g, T(1 - n.beta1), T(n.beta1), 1 - n.beta1 >= 0.5);
    x[3] = ::fma(T(1 - n.beta2) * g, g, T(n.beta2) * x[3]);
    T s = x[3];
    if (has[4]) s = x[4] = s <= x[4] ? x[4] : s;  // NaN in s wins
    if (n.plain) {
      x[0] = ::fma(-T(n.step_size), x[2], x[0]);
      return;
    }
    const T denominator = ::fma(::sqrt(s), T(1 / n.bias_correction2_sqrt), T(n.eps));
    if (n.grad_step_size != 0)
      x[0] -= ::fma(T(n.grad_step_size), g, T(n.step_size) * x[2]) / denominator;
    else
      x[0] = ::fma(-T(n.step_size), x[2] / denominator, x[0]);
  } else if constexpr (kOp == StepOp::rmsprop) {
    const T g = effective_grad(n, x[1], x[0], n.weight_decay != 0);
    x[2] = ::fma(T(1 - n.beta2) * g, g, T(n.beta2) * x[2]);
    T square = x[2];
    if (has[3]) {
      x[3] = lerp(x[3], g, T(1 - n.beta2), T(n.beta2), 1 - n.beta2 >= 0.5);
      square = ::fma(-x[3], x[3], square);
    }
    T s = g / (::sqrt(square) + T(n.eps));
    if (has[4]) s = x[4] = ::fma(T(n.momentum), x[4], s);
    x[0] = ::fma(-T(n.lr), s, x[0]);
  } else if constexpr (kOp == StepOp::adagrad) {
    const T g = effective_grad(n, x[1], x[0], n.weight_decay != 0);
    x[2] = ::fma(g, g, x[2]);
    x[0] = ::fma(-T(n.lr), g / (::sqrt(x[2]) + T(n.eps)), x[0]);
  } else if constexpr (kOp == StepOp::adamax) {
    const T g = effective_grad(n, x[1], x[0], n.weight_decay != 0);
    x[2] = lerp(x[2], g, T(1 - n.beta1), T(n.beta1), 1 - n.beta1 >= 0.5);
    const T decayed = T(n.beta2) * x[3], now = ::fabs(g) + T(n.eps);
    x[3] = now <= decayed || decayed != decayed ? decayed : now;  // NaN stays
    x[0] = ::fma(-T(n.step_size), x[2] / x[3], x[0]);
  } else if constexpr (kOp == StepOp::adadelta) {
    const T g = effective_grad(n, x[1], x[0], n.weight_decay != 0);
    x[2] = ::fma(T(1 - n.beta2) * g, g, T(n.beta2) * x[2]);
    const T d = ::sqrt((x[3] + T(n.eps)) / (x[2] + T(n.eps))) * g;
    x[3] = ::fma(T(1 - n.beta2) * d, d, T(n.beta2) * x[3]);
    x[0] = ::fma(-T(n.lr), d, x[0]);
  } else if constexpr (kOp == StepOp::asgd) {
    const T g = effective_grad(n, x[1], x[0], n.weight_decay != 0);
    x[0] = ::fma(-T(n.lr), g, x[0] * T(1 - n.lambd * n.lr));
    x[2] = n.mu == 1 ? x[0] : lerp(x[2], x[0], T(n.mu), T(1 - n.mu), n.mu >= 0.5);
  } else if constexpr (kOp == StepOp::rprop) {
    const T g = n.maximize ? -x[1] : x[1];
    // Not the product with the gradient before, which underflows.
    const T agreement = g == 0 ? T(0) : ::copysign(T(1), g) * x[2];
    T size = x[3] * (agreement < 0 ? T(n.eta_minus) : agreement > 0 ? T(n.eta_plus) : T(1));
    if (size < T(n.low)) size = T(n.low);
    if (size > T(n.high)) size = T(n.high);
    x[3] = size;
    x[2] = agreement < 0 ? T(0) : g;
    x[0] -= signed_size(size, x[2], T(0));
  } else if constexpr (kOp == StepOp::lion) {
    const T g = n.maximize ? -x[1] : x[1];
    const T direction = lerp(x[2], g, T(1 - n.beta1), T(n.beta1), 1 - n.beta1 >= 0.5);
    x[2] = lerp(x[2], g, T(1 - n.beta2), T(n.beta2), 1 - n.beta2 >= 0.5);
    x[0] = x[0] * T(1 - n.lr * n.weight_decay) - signed_size(T(n.lr), direction, direction);
  } else if constexpr (kOp == StepOp::scale) {
    x[0] *= factor;
  } else {
    if (x[0] < T(n.low)) x[0] = T(n.low);
    if (x[0] > T(n.high)) x[0] = T(n.high);
  }
}

template <class T, StepOp kOp>
__global__ void step_kernel(const __grid_constant__ Table table,
                            const __grid_constant__ StepNumbers given, const StepNumbers* later) {
  const StepNumbers n = later ? *later : given;
  constexpr int V = 4;
  T factor = 1;
  if constexpr (kOp == StepOp::scale) {
    const double by = *n.factor;
    if (by >= 1) return;
    factor = T(by);  // NaN as well
  }
  const auto block = std::int32_t(blockIdx.x);
  const int which = table.find(block);
  const StepTensor& tensor = table.tensors[which];
  T* arrays[kArrays];
  bool has[kArrays];
  std::uintptr_t bits = 0;
  GS_UNROLL
  for (int a = 0; a < kArrays; ++a) {
    arrays[a] = static_cast<T*>(tensor.arrays[a]);
    has[a] = arrays[a] != nullptr;
    bits |= reinterpret_cast<std::uintptr_t>(arrays[a]);
  }
  const bool packed = bits % 16 == 0;
  const std::int64_t begin = std::int64_t(block - table.first_block[which]) * kStepPiece;
  const std::int64_t end = begin + kStepPiece < tensor.count ? begin + kStepPiece : tensor.count;
  GS_NO_UNROLL
  for (std::int64_t i = begin + std::int64_t(threadIdx.x) * V; i < end; i += kThreads * V) {
    if (packed && i + V <= end) {
      Pack<T, V> packs[kArrays];
      GS_UNROLL
      for (int a = 0; a < kArrays; ++a)
        if (has[a]) packs[a] = *reinterpret_cast<const Pack<T, V>*>(arrays[a] + i);
      GS_UNROLL
      for (int v = 0; v < V; ++v) {
        T x[kArrays];
        GS_UNROLL
        for (int a = 0; a < kArrays; ++a) x[a] = has[a] ? packs[a].v[v] : T(0);
        step<T, kOp>(n, x, has, factor);
        GS_UNROLL
        for (int a = 0; a < kArrays; ++a) packs[a].v[v] = x[a];
      }
      GS_UNROLL
      for (int a = 0; a < kArrays; ++a)
        if (has[a] && a != 1) *reinterpret_cast<Pack<T, V>*>(arrays[a] + i) = packs[a];
    } else {
      GS_NO_UNROLL
      for (std::int64_t j = i; j < i + V && j < end; ++j) {
        T x[kArrays];
        GS_UNROLL
        for (int a = 0; a < kArrays; ++a) x[a] = has[a] ? arrays[a][j] : T(0);
        step<T, kOp>(n, x, has, factor);
        GS_UNROLL
        for (int a = 0; a < kArrays; ++a)
          if (has[a] && a != 1) arrays[a][j] = x[a];
      }
    }
  }
}

template <class T, StepOp kOp>
int launch_step(const StepArgs& args, void* stream) {
  return each_table("optimizer_step", args.tensors, args.tensor_count, kStepPiece,
                    [&](const Table& table, std::int64_t) {
                      return launch("optimizer_step", step_kernel<T, kOp>,
                                    dim3(unsigned(table.first_block[table.count])), dim3(kThreads),
                                    0, stream, table, args.numbers, args.later);
                    });
}

template <class T>
int launch_op(const StepArgs& args, void* stream) {
  switch (args.op) {
    case StepOp::sgd:
      return launch_step<T, StepOp::sgd>(args, stream);
    case StepOp::adam:
      return launch_step<T, StepOp::adam>(args, stream);
    case StepOp::rmsprop:
      return launch_step<T, StepOp::rmsprop>(args, stream);
    case StepOp::adagrad:
      return launch_step<T, StepOp::adagrad>(args, stream);
    case StepOp::adamax:
      return launch_step<T, StepOp::adamax>(args, stream);
    case StepOp::adadelta:
      return launch_step<T, StepOp::adadelta>(args, stream);
    case StepOp::asgd:
      return launch_step<T, StepOp::asgd>(args, stream);
    case StepOp::rprop:
      return launch_step<T, StepOp::rprop>(args, stream);
    case StepOp::lion:
      return launch_step<T, StepOp::lion>(args, stream);
    case StepOp::scale:
      return launch_step<T, StepOp::scale>(args, stream);
    default:
      return launch_step<T, StepOp::clamp>(args, stream);
  }
}

// ---- Norms --------------------------------------------------------------------------------------

enum class NormKind { squares, largest, powers };

template <NormKind kKind>
__device__ double combine(double a, double b) {
  if constexpr (kKind == NormKind::largest)
    return a >= b || a != a ? a : b;  // NaN wins
  else
    return a + b;
}

struct NormShared {
  double values[kThreads];
};

// Over the block, in a fixed order; for thread 0.
template <NormKind kKind>
__device__ double reduce_block(NormShared& s, double mine) {
  const int t = int(threadIdx.x);
  s.values[t] = mine;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (t < half) s.values[t] = combine<kKind>(s.values[t], s.values[t + half]);
    __syncthreads();
  }
  return s.values[0];
}

template <class T, NormKind kKind>
__global__ void norm_kernel(const __grid_constant__ Table table, double power, double* partials) {
  GS_SHARED(NormShared, s);
  const auto block = std::int32_t(blockIdx.x);
  const int which = table.find(block);
  const StepTensor& tensor = table.tensors[which];
  const T* const x = static_cast<const T*>(tensor.arrays[0]);
  const std::int64_t begin = std::int64_t(block - table.first_block[which]) * kNormPiece;
  const std::int64_t end = begin + kNormPiece < tensor.count ? begin + kNormPiece : tensor.count;
  double mine = 0;
  GS_UNROLL_BY(4)
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const double v = ::fabs(double(x[i]));
    if constexpr (kKind == NormKind::powers)
      mine += ::pow(v, power);
    else
      mine = combine<kKind>(mine, kKind == NormKind::squares ? v * v : v);
  }
  const double all = reduce_block<kKind>(s, mine);
  if (threadIdx.x == 0) partials[block] = all;
}

template <NormKind kKind>
__global__ void norm_finish_kernel(NormFinishArgs a) {
  GS_SHARED(NormShared, s);
  double mine = 0;
  for (std::int64_t i = threadIdx.x; i < a.count; i += kThreads)
    mine = combine<kKind>(mine, a.partials[i]);
  const double all = reduce_block<kKind>(s, mine);
  if (threadIdx.x != 0) return;
  const double norm = kKind == NormKind::squares   ? ::sqrt(all)
                      : kKind == NormKind::largest ? all
                                                   : ::pow(all, 1 / a.power);
  a.result[0] = norm;
  a.result[1] = a.max_norm / (norm + 1e-6);
}

template <class T, NormKind kKind>
int launch_norm(const TotalNormArgs& args, void* stream) {
  return each_table("norm", args.tensors, args.tensor_count, kNormPiece,
                    [&](const Table& table, std::int64_t done) {
                      return launch("norm", norm_kernel<T, kKind>,
                                    dim3(unsigned(table.first_block[table.count])), dim3(kThreads),
                                    sizeof(NormShared), stream, table, args.power,
                                    args.partials + done);
                    });
}

NormKind kind_of(double power) {
  return power == 2 ? NormKind::squares : std::isinf(power) ? NormKind::largest : NormKind::powers;
}

template <class T>
int launch_norm(const TotalNormArgs& args, void* stream) {
  switch (kind_of(args.power)) {
    case NormKind::squares:
      return launch_norm<T, NormKind::squares>(args, stream);
    case NormKind::largest:
      return launch_norm<T, NormKind::largest>(args, stream);
    default:
      return launch_norm<T, NormKind::powers>(args, stream);
  }
}

}  // namespace

int optimizer_step(const StepArgs& args, void* stream) {
  return args.dtype == DType::f64 ? launch_op<double>(args, stream)
                                  : launch_op<float>(args, stream);
}

int norm_partials(const TotalNormArgs& args, void* stream) {
  return args.dtype == DType::f64 ? launch_norm<double>(args, stream)
                                  : launch_norm<float>(args, stream);
}

int norm_finish(const NormFinishArgs& args, void* stream) {
  const NormKind kind = kind_of(args.power);
  return launch("norm",
                kind == NormKind::squares   ? norm_finish_kernel<NormKind::squares>
                : kind == NormKind::largest ? norm_finish_kernel<NormKind::largest>
                                            : norm_finish_kernel<NormKind::powers>,
                dim3(1), dim3(kThreads), sizeof(NormShared), stream, args);
}

}  // namespace gradsmith::cuda
