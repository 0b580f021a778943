// How threads of a block share rows: a team of threads works on each row (or column), and joins
// what its threads have found.
//
// A block of kTeamThreads threads is `teams` teams of `size` threads, both powers of two. Rows
// whose elements are neighbours are walked by neighbouring threads; where the rows themselves are
// neighbours (`across`), neighbouring threads work on neighbouring rows. Either way the loads of a
// warp are coalesced. How the elements of a row are shared out depends on the row's length alone,
// so that a row's bits do not depend on what else is in the batch.
#pragma once
#include <cstring>

#include "kernels/cuda/launch.cuh"

namespace gradsmith::cuda {

inline constexpr int kTeamThreads = 256;

// A value from the lane `lanes` above, of any type.
template <class A>
__device__ A shuffle_down(const A& mine, int lanes) {
  constexpr int kWords = (sizeof(A) + 3) / 4;
  std::uint32_t words[kWords] = {};
  memcpy(words, &mine, sizeof(A));
  GS_UNROLL
  for (int i = 0; i < kWords; ++i) words[i] = __shfl_down_sync(0xffffffffu, words[i], lanes);
  A theirs;
  memcpy(&theirs, words, sizeof(A));
  return theirs;
}
// The value of one lane, for all.
template <class A>
__device__ A shuffle_from(const A& mine, int lane) {
  constexpr int kWords = (sizeof(A) + 3) / 4;
  std::uint32_t words[kWords] = {};
  memcpy(words, &mine, sizeof(A));
  GS_UNROLL
  for (int i = 0; i < kWords; ++i) words[i] = __shfl_sync(0xffffffffu, words[i], lane);
  A theirs;
  memcpy(&theirs, words, sizeof(A));
  return theirs;
}
// Joins the values of `size` neighbouring lanes, a power of two; the first of them has the result.
template <class A, class Join>
__device__ A warp_fold(A mine, int size, Join join) {
  for (int step = size / 2; step > 0; step /= 2) mine = join(mine, shuffle_down(mine, step));
  return mine;
}

struct TeamShared {
  alignas(16) unsigned char bytes[kTeamThreads * 24];
};

struct Team {
  int size;  // threads of a team
  bool across;

  __device__ int teams() const { return kTeamThreads / size; }
  __device__ int number() const {  // of this thread's team in the block
    return across ? int(threadIdx.x) % teams() : int(threadIdx.x) / size;
  }
  __device__ int rank() const {  // of this thread in its team
    return across ? int(threadIdx.x) / teams() : int(threadIdx.x) % size;
  }
  __device__ std::int64_t row() const { return std::int64_t(blockIdx.x) * teams() + number(); }

  // join() of the values of a team's threads, for all of them. Every thread of the block calls it,
  // also those without a row. join(a, b) need not be commutative.
  template <class A, class Join>
  __device__ A fold(TeamShared& shared, A mine, Join join) const {
    static_assert(sizeof(A) <= 24);
    A* const values = reinterpret_cast<A*>(shared.bytes);
    if (across) {
      __syncthreads();
      values[threadIdx.x] = mine;
      __syncthreads();
      for (int step = size / 2; step > 0; step /= 2) {
        if (rank() < step)
          values[threadIdx.x] = join(values[threadIdx.x], values[threadIdx.x + step * teams()]);
        __syncthreads();
      }
      return values[number()];
    }
    if (size <= 32) {
      mine = warp_fold(mine, size, join);
      return shuffle_from(mine, int(threadIdx.x) % 32 / size * size);
    }
    mine = warp_fold(mine, 32, join);
    __syncthreads();
    if (threadIdx.x % 32 == 0) values[threadIdx.x / 32] = mine;
    __syncthreads();
    const int first = number() * (size / 32);
    mine = values[first];
    for (int w = 1; w < size / 32; ++w) mine = join(mine, values[first + w]);
    return mine;
  }
  // f(i) for the elements i < n of this thread.
  template <class F>
  __device__ void each(std::int64_t n, F f) const {
    GS_UNROLL_BY(4)
    for (std::int64_t i = rank(); i < n; i += size) f(i);
  }
  __device__ double sum(TeamShared& shared, double mine) const {
    return fold(shared, mine, [](double a, double b) { return a + b; });
  }
};

inline int power_of_two_from(std::int64_t n, int most) {
  int p = 1;
  while (p < n && p < most) p *= 2;
  return p;
}
// For rows of n elements. Across: at least 8 elements a thread and, where there are enough rows,
// `columns` of them beside each other. Along: at least 16 elements a thread.
inline Team make_team(std::int64_t n, bool across, std::int64_t columns = 1) {
  if (!across) return {power_of_two_from((n + 15) / 16, kTeamThreads), false};
  const int beside = power_of_two_from(columns, 32);
  return {power_of_two_from((n + 7) / 8, kTeamThreads / beside), true};
}
inline std::int64_t team_blocks(const Team& team, std::int64_t rows) {
  const int teams = kTeamThreads / team.size;
  return (rows + teams - 1) / teams;
}

template <class... P, class... Args>
int launch_teams(const char* what, void (*kernel)(P...), const Team& team, std::int64_t rows,
                 std::int64_t parts, void* stream, const Args&... args) {
  const std::int64_t blocks = team_blocks(team, rows);
  if (rows == 0) return kOk;
  if (blocks > kMaxGridX)
    return fail(kFailed, std::string(what) + ": " + std::to_string(rows) + " rows are too many");
  return launch(what, kernel, dim3(unsigned(blocks), unsigned(parts)), dim3(kTeamThreads),
                sizeof(TeamShared), stream, args...);
}

}  // namespace gradsmith::cuda
