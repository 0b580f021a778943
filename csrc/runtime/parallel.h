// One thread pool per process. Leaf kernels never use it; drivers do.
#pragma once
#include <cstdint>
#include <type_traits>

#include "gradsmith/export.h"

namespace gradsmith {

GS_API int get_num_threads();
GS_API void set_num_threads(int n);  // n >= 1; throws Error(value) otherwise

namespace detail {
using RangeFn = void (*)(void* ctx, std::int64_t begin, std::int64_t end);
// Splits [0, n) into at most get_num_threads() contiguous chunks, multiples of `grain` but the
// last. Runs inline when one chunk results or when called from inside a parallel region.
GS_API void parallel_range(std::int64_t n, std::int64_t grain, RangeFn fn, void* ctx);
// Runs fn(ctx, i, count) for i in [0, count) on `count` threads AT THE SAME TIME (barriers inside
// are allowed); returns the count really used (<= wanted) through fn's third argument.
GS_API void parallel_team(int wanted, RangeFn fn, void* ctx);
}  // namespace detail

// fn(begin, end) over disjoint ranges that cover [0, n). `grain` is the smallest range worth a
// thread. Exceptions in fn are rethrown in the caller after all ranges ended.
template <class F> void parallel_for(std::int64_t n, std::int64_t grain, F&& fn) {
  using Fn = std::remove_reference_t<F>;
  detail::parallel_range(
      n, grain,
      [](void* ctx, std::int64_t b, std::int64_t e) { (*static_cast<Fn*>(ctx))(b, e); },
      const_cast<void*>(static_cast<const void*>(&fn)));
}

// fn(thread, threads): a team of up to `wanted` threads that run together, e.g. for GEMM, where
// they pack B cooperatively and meet at a Barrier. Inside a parallel region the team has one.
template <class F> void parallel_team(int wanted, F&& fn) {
  using Fn = std::remove_reference_t<F>;
  detail::parallel_team(
      wanted,
      [](void* ctx, std::int64_t i, std::int64_t n) { (*static_cast<Fn*>(ctx))(int(i), int(n)); },
      const_cast<void*>(static_cast<const void*>(&fn)));
}

// Spinning-then-yielding barrier for a team.
class GS_API Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void wait();

 private:
  const int threads_;
  alignas(64) int arrived_ = 0;
  alignas(64) unsigned phase_ = 0;
};

bool in_parallel_region();

}  // namespace gradsmith
