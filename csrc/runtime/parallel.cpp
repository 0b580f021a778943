#include "runtime/parallel.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/cpu.h"
#include "base/env.h"

#if !defined(_WIN32)
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#endif

namespace gradsmith {
namespace {

// For how long a thread without work spins before it sleeps. As long as waking it costs: then it
// costs at most twice the better choice, whatever comes. A virtual CPU that was halted takes 70 us
// to come back, and its host may take the caller's CPU away meanwhile, for most of a millisecond.
constexpr int kSpinMicroseconds = 100, kSpinMicrosecondsVirtual = 1000;

using Clock = std::chrono::steady_clock;
using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

inline void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

// Polls `done` for up to `budget`: a few microseconds of pauses, then giving the core away between
// polls so that a busy machine loses little. Returns whether it came true.
template <class Done>
bool spin_until(Done done, Clock::duration budget) {
  constexpr int kPauses = 64;
  constexpr auto kEager = std::chrono::microseconds(4);
  if (done()) return true;
  if (budget.count() <= 0) return false;
  const auto start = Clock::now();
  for (;;) {
    for (int i = 0; i < kPauses; ++i) {
      cpu_relax();
      if (done()) return true;
    }
    const auto elapsed = Clock::now() - start;
    if (elapsed >= budget) return false;
    if (elapsed >= kEager) std::this_thread::yield();
  }
}

thread_local bool in_region = false;

struct RegionScope {
  RegionScope() { in_region = true; }
  ~RegionScope() { in_region = false; }
};

// A job is `count` calls fn(ctx, i, count). `ticket_` holds, in one word, the job's number, how
// many calls it has, and how many are taken. Taking one with compare-exchange succeeds only while
// that job is open, and the job cannot end before every taken call has ended: so whoever took a
// call may read the job's other fields, and late workers find nothing to take and leave no trace.
class Pool {
 public:
  using Call = detail::RangeFn;

  Pool()
      : spin_(std::chrono::microseconds(
            env_int("GRADSMITH_SPIN_US",
                    cpu_info().virtual_machine ? kSpinMicrosecondsVirtual : kSpinMicroseconds, 0,
                    1'000'000))) {}

  std::mutex& owner() { return owner_; }
  bool awake() const {
    const int workers = workers_.load(memory_order_relaxed);
    return workers > 0 && sleepers_.load(memory_order_relaxed) < workers;
  }

  // Starts workers until there are `wanted`; returns how many there are. Owner only.
  int ensure_workers(int wanted) {
    for (int n = workers_.load(memory_order_relaxed); n < wanted; ++n) {
      if (!start_worker(n)) break;
      workers_.store(n + 1, memory_order_relaxed);
    }
    return workers_.load(memory_order_relaxed);
  }

  // Runs the job and returns when all of it has ended. Owner only.
  void run(int count, Call call, void* ctx, int threads) {
    call_ = call;
    ctx_ = ctx;
    error_index_ = std::numeric_limits<int>::max();
    spin_now_.store(threads > usable_ ? 0 : spin_.count(), memory_order_relaxed);
    pending_.store(count, memory_order_relaxed);
    const std::uint64_t job = (ticket_.load(memory_order_relaxed) >> 32) + 1;
    ticket_.store(job << 32 | std::uint64_t(count) << 16, memory_order_seq_cst);
    wake(count - 1);
    take_all();
    const auto ended = [this] { return pending_.load(memory_order_acquire) == 0; };
    if (!spin_until(ended, std::chrono::nanoseconds(spin_now_.load(memory_order_relaxed)))) {
      std::unique_lock lock(sleep_mutex_);
      owner_sleeps_.store(true, memory_order_seq_cst);
      job_ended_.wait(lock, [this] { return pending_.load(memory_order_seq_cst) == 0; });
      owner_sleeps_.store(false, memory_order_relaxed);
    }
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  static constexpr std::uint64_t kTaken = 0xffff;

  static int count_of(std::uint64_t ticket) { return int(ticket >> 16 & kTaken); }
  static int taken_of(std::uint64_t ticket) { return int(ticket & kTaken); }
  static bool open(std::uint64_t ticket) { return taken_of(ticket) < count_of(ticket); }

  // Takes and runs calls of the open job until none is left; returns whether there was one.
  bool take_all() {
    bool any = false;
    std::uint64_t ticket = ticket_.load(memory_order_acquire);
    while (open(ticket)) {
      if (!ticket_.compare_exchange_weak(ticket, ticket + 1, memory_order_acq_rel,
                                         memory_order_acquire))
        continue;
      any = true;
      run_one(taken_of(ticket), count_of(ticket));
      ticket = ticket_.load(memory_order_acquire);
    }
    return any;
  }

  void run_one(int index, int count) {
    try {
      const RegionScope scope;
      call_(ctx_, index, count);
    } catch (...) {
      const std::lock_guard lock(error_mutex_);
      if (index < error_index_) {
        error_index_ = index;
        error_ = std::current_exception();
      }
    }
    if (pending_.fetch_sub(1, memory_order_seq_cst) == 1 &&
        owner_sleeps_.load(memory_order_seq_cst)) {
      const std::lock_guard lock(sleep_mutex_);
      job_ended_.notify_one();
    }
  }

  void wake(int helpers) {
    const int sleepers = sleepers_.load(memory_order_seq_cst);
    const int awake = workers_.load(memory_order_relaxed) - sleepers;
    if (sleepers == 0 || awake >= helpers) return;
    {
      const std::lock_guard lock(sleep_mutex_);
    }  // a worker between its check and its wait
    for (int n = std::min(helpers - awake, sleepers); n > 0; --n) job_opened_.notify_one();
  }

  // Sleeps until a job may be open. Spurious returns do no harm.
  void sleep() {
    std::unique_lock lock(sleep_mutex_);
    sleepers_.fetch_add(1, memory_order_seq_cst);
    if (!open(ticket_.load(memory_order_seq_cst))) job_opened_.wait(lock);
    sleepers_.fetch_sub(1, memory_order_relaxed);
  }

  void work() {
    const auto found = [this] { return open(ticket_.load(memory_order_acquire)); };
    const auto spin_from_now = [this] {
      return Clock::now() + std::chrono::nanoseconds(spin_now_.load(memory_order_relaxed));
    };
    Clock::time_point spin_end{};  // moved on by calls it got and by being woken, by nothing else
    for (;;) {
      if (take_all()) spin_end = spin_from_now();
      if (spin_until(found, spin_end - Clock::now())) continue;
      sleep();
      spin_end = spin_from_now();  // who wakes too late for one job is there for the next
    }
  }

  bool start_worker([[maybe_unused]] int number) {
    bool started = true;
#if !defined(_WIN32)
    sigset_t all, before;  // signals belong to the program's own threads
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
    try {
      std::thread worker([this] { work(); });
#if defined(__linux__)
      pthread_setname_np(worker.native_handle(), ("gradsmith-" + std::to_string(number)).c_str());
#endif
      worker.detach();
    } catch (const std::system_error&) {
      started = false;  // out of threads: do with those there are
    }
#if !defined(_WIN32)
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
    return started;
  }

  const std::chrono::nanoseconds spin_;
  const int usable_ = usable_cpus();
  std::mutex owner_;  // held by the thread whose job this is

  alignas(64) std::atomic<std::uint64_t> ticket_{0};
  alignas(64) std::atomic<int> pending_{0};
  std::atomic<bool> owner_sleeps_{false};
  Call call_ = nullptr;
  void* ctx_ = nullptr;

  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<int> workers_{0};
  std::atomic<std::int64_t> spin_now_{0};  // 0 while more threads are asked for than there are CPUs
  std::mutex sleep_mutex_;
  std::condition_variable job_opened_, job_ended_;

  std::mutex error_mutex_;
  int error_index_ = 0;
  std::exception_ptr error_;
};

std::atomic<int> thread_setting{0};  // 0: not decided yet
std::atomic<Pool*> current_pool{nullptr};

#if !defined(_WIN32)
// The child has none of the workers and may find every lock taken, so it leaves the old pool.
[[maybe_unused]] const int fork_handler =
    pthread_atfork(nullptr, nullptr, [] { current_pool.store(nullptr, memory_order_release); });
#endif

// Never destroyed: workers may run until the process is gone.
Pool& pool() {
  Pool* existing = current_pool.load(memory_order_acquire);
  if (existing) return *existing;
  Pool* fresh = new Pool;
  if (current_pool.compare_exchange_strong(existing, fresh, memory_order_acq_rel)) return *fresh;
  delete fresh;
  return *existing;
}

// Runs `count` calls on the pool where that is possible. Otherwise returns false.
bool run_on_pool(int count, int threads, detail::RangeFn call, void* ctx) {
  Pool& p = pool();
  const std::unique_lock owner(p.owner(), std::try_to_lock);
  if (!owner.owns_lock() || p.ensure_workers(threads - 1) == 0) return false;
  p.run(count, call, ctx, threads);
  return true;
}

}  // namespace

int get_num_threads() {
  int n = thread_setting.load(memory_order_relaxed);
  if (n == 0) [[unlikely]] {
    n = int(env_int("GRADSMITH_NUM_THREADS", 0, 1, kMaxThreads));
    if (n == 0) n = std::min(usable_cpus(), kMaxThreads);
    int undecided = 0;
    if (!thread_setting.compare_exchange_strong(undecided, n)) n = undecided;
  }
  return n;
}

void set_num_threads(int n) {
  GS_CHECK(n >= 1 && n <= kMaxThreads, "set_num_threads: {} threads; allowed are 1 to {}", n,
           kMaxThreads);
  thread_setting.store(n, memory_order_relaxed);
}

bool in_parallel_region() { return in_region; }

bool workers_awake() {
  const Pool* p = current_pool.load(memory_order_acquire);
  return p && p->awake();
}

namespace detail {

void parallel_range(std::int64_t n, std::int64_t grain, RangeFn fn, void* ctx) {
  if (n <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t grains = (n - 1) / grain + 1;
  if (grains == 1 || in_region) return fn(ctx, 0, n);
  const int threads = int(std::min<std::int64_t>(get_num_threads(), grains));
  if (threads == 1) return fn(ctx, 0, n);
  struct Split {
    std::int64_t n, grain, grains;
    RangeFn fn;
    void* ctx;
  } split{n, grain, grains, fn, ctx};
  const auto run_range = [](void* p, std::int64_t index, std::int64_t count) {
    const Split& s = *static_cast<Split*>(p);
    // The first `longer` ranges have one grain more than the others.
    const std::int64_t each = s.grains / count, longer = s.grains % count;
    const std::int64_t first = index * each + std::min(index, longer);
    const std::int64_t last = first + each + (index < longer ? 1 : 0);
    s.fn(s.ctx, first * s.grain, last == s.grains ? s.n : last * s.grain);
  };
  if (!run_on_pool(threads, threads, run_range, &split)) fn(ctx, 0, n);
}

void parallel_team(int wanted, RangeFn fn, void* ctx) {
  const int threads = in_region ? 1 : std::min(wanted, get_num_threads());
  if (threads > 1) {
    Pool& p = pool();
    const std::unique_lock owner(p.owner(), std::try_to_lock);
    if (owner.owns_lock()) {
      const int members = std::min(threads, p.ensure_workers(threads - 1) + 1);
      if (members > 1) return p.run(members, fn, ctx, members);
    }
  }
  fn(ctx, 0, 1);
}

}  // namespace detail

namespace {
template <class Done>
void await(Done done) {
  constexpr int kPauses = 256;
  for (int i = 0; i < kPauses; ++i) {
    if (done()) return;
    cpu_relax();
  }
  while (!done()) std::this_thread::yield();
}
}  // namespace

void wait_for(const std::atomic<std::int64_t>& counter, std::int64_t value) {
  await([&] { return counter.load(memory_order_acquire) == value; });
}

bool Barrier::wait() {
  const unsigned phase = phase_.load(memory_order_relaxed);
  if (arrived_.fetch_add(1, memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, memory_order_relaxed);
    phase_.store(phase + 1, memory_order_release);
  } else {
    await([this, phase] {
      return phase_.load(memory_order_acquire) != phase || abandoned_.load(memory_order_acquire);
    });
  }
  return !abandoned_.load(memory_order_acquire);
}

}  // namespace gradsmith
