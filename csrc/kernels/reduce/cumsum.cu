// Cumulative sums along one dimension of [outer, n, inner].
//
// Contract    see cuda_abi_rows.h: accumulated in double, int64 for integers.
// Algorithm   A row of neighbours is scanned by one block: each thread sums kPerScan neighbours,
// the
//             block scans these sums, and what came before is added. Where inner > 1 a thread walks
//             each column, neighbours beside each other. There is no cut across a row: a single
//             long one keeps one multiprocessor busy.
// Bound       x read once, y written once.
#include <string>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/reduce.cuh"

namespace gradsmith::cuda {
namespace {

constexpr int kPerScan = 8;

template <class Acc>
struct ScanSums {
  Acc sums[2][kTeamThreads];
};

template <class T, class Out, class Acc>
__global__ void __launch_bounds__(kTeamThreads) scan_rows(Out* y, const T* x, std::int64_t n) {
  GS_SHARED(ScanSums<Acc>, shared);
  const int t = int(threadIdx.x);
  y += std::int64_t(blockIdx.x) * n;
  x += std::int64_t(blockIdx.x) * n;
  Acc carry = 0;
  for (std::int64_t first = 0; first < n; first += kTeamThreads * kPerScan) {
    const std::int64_t mine = first + t * kPerScan;
    Acc sums[kPerScan], sum = 0;
    GS_UNROLL
    for (int i = 0; i < kPerScan; ++i) {
      if (mine + i < n) sum += Acc(x[mine + i]);
      sums[i] = sum;
    }
    int from = 0;
    shared.sums[0][t] = sum;
    __syncthreads();
    for (int step = 1; step < kTeamThreads; step *= 2, from ^= 1) {
      const Acc before = t >= step ? shared.sums[from][t - step] : Acc(0);
      shared.sums[from ^ 1][t] = before + shared.sums[from][t];
      __syncthreads();
    }
    const Acc before = carry + (t > 0 ? shared.sums[from][t - 1] : Acc(0));
    carry += shared.sums[from][kTeamThreads - 1];
    GS_UNROLL
    for (int i = 0; i < kPerScan; ++i)
      if (mine + i < n) y[mine + i] = Out(before + sums[i]);
    __syncthreads();
  }
}

template <class T, class Out, class Acc>
__global__ void __launch_bounds__(kTeamThreads)
    scan_cols(Out* y, const T* x, std::int64_t columns, std::int64_t n, std::int64_t inner) {
  const std::int64_t c = std::int64_t(blockIdx.x) * kTeamThreads + threadIdx.x;
  if (c >= columns) return;
  const std::int64_t base = c / inner * n * inner + c % inner;
  Acc sum = 0;
  GS_UNROLL_BY(4)
  for (std::int64_t i = 0; i < n; ++i) {
    sum += Acc(x[base + i * inner]);
    y[base + i * inner] = Out(sum);
  }
}

template <class T, class Out, class Acc>
int cumsum_as(const CumsumArgs& a, void* stream) {
  if (a.outer == 0 || a.n == 0 || a.inner == 0) return kOk;
  auto* y = static_cast<Out*>(a.y);
  const auto* x = static_cast<const T*>(a.x);
  const std::int64_t columns = a.outer * a.inner;
  const std::int64_t blocks = a.inner == 1 ? a.outer : blocks_for(columns, 1);
  if (blocks > kMaxGridX) return fail(kFailed, "cumsum: too many rows");
  if (a.inner == 1)
    return launch("cumsum", scan_rows<T, Out, Acc>, dim3(unsigned(blocks)), dim3(kTeamThreads),
                  sizeof(ScanSums<Acc>), stream, y, x, a.n);
  return launch("cumsum", scan_cols<T, Out, Acc>, dim3(unsigned(blocks)), dim3(kTeamThreads), 0,
                stream, y, x, columns, a.n, a.inner);
}

}  // namespace

int cumsum(const CumsumArgs& args, void* stream) {
  using Whole = std::uint64_t;  // wraps around
  switch (args.dtype) {
    case DType::f32:
      return cumsum_as<float, float, double>(args, stream);
    case DType::f64:
      return cumsum_as<double, double, double>(args, stream);
    case DType::i64:
      return cumsum_as<std::int64_t, std::int64_t, Whole>(args, stream);
    case DType::i32:
      return cumsum_as<std::int32_t, std::int64_t, Whole>(args, stream);
    case DType::u8:
    case DType::b8:
      return cumsum_as<std::uint8_t, std::int64_t, Whole>(args, stream);
    default:
      return fail(kFailed, std::string("cumsum: no CUDA kernel for ") + name(args.dtype));
  }
}

}  // namespace gradsmith::cuda
