// Prefix sums within a block.
#pragma once
#include "kernels/cuda/launch.cuh"

namespace gradsmith::cuda {

inline constexpr int kScanThreads = 256;

struct ScanShared {
  std::int64_t sums[2][kScanThreads];
};

// The sum of the values of the threads before this one, in a block of kScanThreads; `total` is that
// of all. Begins and ends with a barrier.
inline __device__ std::int64_t exclusive_scan(ScanShared& s, std::int64_t value,
                                              std::int64_t& total) {
  const int t = int(threadIdx.x);
  __syncthreads();
  s.sums[0][t] = value;
  __syncthreads();
  int from = 0;
  for (int step = 1; step < kScanThreads; step *= 2, from ^= 1) {
    s.sums[from ^ 1][t] = s.sums[from][t] + (t >= step ? s.sums[from][t - step] : 0);
    __syncthreads();
  }
  total = s.sums[from][kScanThreads - 1];
  const std::int64_t before = s.sums[from][t] - value;
  __syncthreads();
  return before;
}

// Turns counts[0 ... n) into the sums of those before; counts[n] gets the total if `with_total`.
// For one block, each thread of which takes a run of neighbours.
inline __device__ void scan_in_place(ScanShared& s, std::int64_t* counts, std::int64_t n,
                                     bool with_total) {
  const std::int64_t run = (n + kScanThreads - 1) / kScanThreads;
  const std::int64_t begin =
      std::int64_t(threadIdx.x) * run < n ? std::int64_t(threadIdx.x) * run : n;
  const std::int64_t end = begin + run < n ? begin + run : n;
  std::int64_t sum = 0, total = 0;
  for (std::int64_t i = begin; i < end; ++i) sum += counts[i];
  std::int64_t before = exclusive_scan(s, sum, total);
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t count = counts[i];
    counts[i] = before;
    before += count;
  }
  if (with_total && threadIdx.x == 0) counts[n] = total;
}

}  // namespace gradsmith::cuda
