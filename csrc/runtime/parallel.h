// One thread pool per process. Leaf kernels never use it; drivers do.
//
// Work is cut in the calling thread, the same way every time for the same sizes and number of
// threads; which thread runs which piece is decided as they arrive, so a worker that is slow to
// wake up costs nothing. Several threads may enter parallel regions at once: one gets the pool, the
// others run their work inline. Regions inside a region run inline. The pool starts at the first
// region, is never joined, and is started afresh in the child of a fork. A child that was forked
// from inside a region may only exec or _exit.
#pragma once
#include <atomic>
#include <cstdint>
#include <type_traits>

#include "gradsmith/export.h"
#include "gradsmith/threads.h"

namespace gradsmith {

GS_API bool in_parallel_region();

// True where a region started now would find its workers spinning (a fork-join in well under a
// microsecond) rather than asleep (tens of microseconds). Short work splits only then.
GS_API bool workers_awake();

namespace detail {
using RangeFn = void (*)(void* ctx, std::int64_t begin, std::int64_t end);
// Splits [0, n) into at most get_num_threads() contiguous ranges, multiples of `grain` but the
// last. Runs inline when one range results or when called from inside a parallel region.
GS_API void parallel_range(std::int64_t n, std::int64_t grain, RangeFn fn, void* ctx);
// Runs fn(ctx, i, count) for i in [0, count) on `count` threads AT THE SAME TIME (barriers inside
// are allowed); returns the count really used (<= wanted) through fn's third argument.
GS_API void parallel_team(int wanted, RangeFn fn, void* ctx);

template <class Fn>
void call_range(void* ctx, std::int64_t begin, std::int64_t end) {
  (*static_cast<Fn*>(ctx))(begin, end);
}
template <class Fn>
void call_member(void* ctx, std::int64_t member, std::int64_t members) {
  (*static_cast<Fn*>(ctx))(int(member), int(members));
}
template <class F>
void* context(F& fn) {
  return const_cast<void*>(static_cast<const void*>(&fn));
}
}  // namespace detail

// fn(begin, end) over disjoint ranges that cover [0, n). `grain` is the smallest range worth a
// thread. The ranges depend on the number of threads, so use it where every element's result is
// independent of the others. Exceptions in fn are rethrown in the caller after all ranges ended
// (that of the first range, where several threw).
template <class F>
void parallel_for(std::int64_t n, std::int64_t grain, F&& fn) {
  detail::parallel_range(n, grain, detail::call_range<std::remove_reference_t<F>>,
                         detail::context(fn));
}

// fn(thread, threads): a team of up to `wanted` threads that may wait for each other, e.g. at a
// Barrier after each time step of an RNN. Inside a parallel region the team has one.
// A member must not throw while others may wait for it: take scratch memory before, or abandon the
// barrier.
template <class F>
void parallel_team(int wanted, F&& fn) {
  detail::parallel_team(wanted, detail::call_member<std::remove_reference_t<F>>,
                        detail::context(fn));
}

// Waits until the counter, which others move, has this value: spins for a moment, then yields its
// core to whoever else wants it. What they wrote before is visible then.
GS_API void wait_for(const std::atomic<std::int64_t>& counter, std::int64_t value);

// Barrier for a team; waits in the same way. A member that cannot go on abandons it, and then
// wait() returns false, now and ever after.
class GS_API Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  bool wait();
  void abandon() { abandoned_.store(true, std::memory_order_release); }

 private:
  const int threads_;
  std::atomic<bool> abandoned_{false};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> phase_{0};
};

}  // namespace gradsmith
