// Thread pool, allocator, workspace, generator. Also built with -fsanitize=thread and address.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/cpu.h"
#include "check.h"
#include "runtime/memory.h"
#include "runtime/parallel.h"
#include "runtime/philox.h"
#include "runtime/workspace.h"

using namespace gradsmith;

namespace {

// Every element is visited once, whatever the sizes.
void test_ranges() {
  for (int threads : {1, 2, 3, 7}) {
    set_num_threads(threads);
    for (std::int64_t n : {0, 1, 2, 63, 64, 65, 1000})
      for (std::int64_t grain : {1, 10, 64, 2000}) {
        std::vector<std::atomic<int>> hits(static_cast<std::size_t>(n));
        std::atomic<int> ranges{0};
        parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
          ++ranges;
          CHECK(begin % grain == 0 && begin < end && end <= n);
          for (std::int64_t i = begin; i < end; ++i) ++hits[std::size_t(i)];
        });
        CHECK(ranges <= threads);
        CHECK(std::all_of(hits.begin(), hits.end(), [](auto& h) { return h == 1; }));
      }
  }
}

void test_errors_and_nesting() {
  set_num_threads(4);
  for (int round = 0; round < 200; ++round) {
    CHECK_THROWS(parallel_for(4, 1,
                              [](std::int64_t begin, std::int64_t) {
                                if (begin > 0) throw std::runtime_error(std::to_string(begin));
                              }),
                 "1");  // the first range that threw
  }
  std::atomic<int> inner{0};
  parallel_for(4, 1, [&](std::int64_t, std::int64_t) {
    CHECK(in_parallel_region());
    parallel_for(100, 1, [&](std::int64_t begin, std::int64_t end) {
      CHECK(begin == 0 && end == 100);
      ++inner;
    });
    parallel_team(4, [&](int, int count) { CHECK(count == 1); });
  });
  CHECK(inner == 4);
  CHECK(!in_parallel_region());
  CHECK_THROWS(set_num_threads(0), "allowed are 1 to");
  CHECK_THROWS(set_num_threads(-3), "-3 threads");
  CHECK(get_num_threads() == 4);
}

void test_team_and_barrier() {
  for (int threads : {2, 4}) {
    set_num_threads(threads);
    for (int round = 0; round < 300; ++round) {
      std::vector<int> cell(std::size_t(threads), 0);
      Barrier barrier(threads);
      parallel_team(threads, [&](int me, int count) {
        if (count != threads) return;  // the pool may be out of threads
        for (int step = 1; step <= 5; ++step) {
          cell[std::size_t(me)] = step;
          barrier.wait();
          for (int value : cell) CHECK(value == step);
          barrier.wait();
        }
      });
    }
  }
}

// A member that fails lets the others go, and its error comes out.
void test_abandoned_barrier() {
  set_num_threads(3);
  for (int round = 0; round < 50; ++round) {
    Barrier barrier(3);
    std::atomic<int> released{0};
    const auto member = [&](int me, int count) {
      GS_CHECK_STATE(count == 3 && me != round % 3, "this member failed");
      released += !barrier.wait();
    };
    CHECK_THROWS(parallel_team(3,
                               [&](int me, int count) {
                                 try {
                                   member(me, count);
                                 } catch (...) {
                                   barrier.abandon();
                                   throw;
                                 }
                               }),
                 "this member failed");
    CHECK(released == 2 || released == 0);
  }
}

// Several threads enter regions at once while another changes the number of threads.
void test_many_callers() {
  std::atomic<bool> stop{false};
  std::thread changer([&] {
    for (int n = 1; !stop; n = n % 5 + 1) {
      set_num_threads(n);
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([c] {
      std::vector<std::int64_t> out(1000);
      for (int round = 0; round < 1000; ++round) {
        parallel_for(1000, 10, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) out[std::size_t(i)] = i * c + round;
        });
        for (std::int64_t i = 0; i < 1000; ++i) CHECK(out[std::size_t(i)] == i * c + round);
      }
    });
  for (auto& caller : callers) caller.join();
  stop = true;
  changer.join();
}

// Workers that went to sleep are found again; nothing is lost between spinning and sleeping.
void test_sleep_and_wake() {
  set_num_threads(3);
  for (int round = 0; round < 400; ++round) {
    std::atomic<int> sum{0};
    parallel_for(3, 1, [&](std::int64_t begin, std::int64_t) { sum += int(begin) + 1; });
    CHECK(sum == 6);
    std::this_thread::sleep_for(std::chrono::microseconds(round % 8 * 15));
  }
}

#if !defined(__SANITIZE_THREAD__)
// Forks while other threads are in regions and in the allocator; the child uses both.
void test_fork() {
  set_num_threads(3);
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (int c = 0; c < 2; ++c)
    busy.emplace_back([&] {
      while (!stop) {
        parallel_for(3, 1, [](std::int64_t, std::int64_t) { deallocate(allocate(5000), 5000); });
        deallocate(allocate(3 << 20), 3 << 20);
        reserve_random(1);
      }
    });
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);  // a deadlock ends as a failure
      std::atomic<int> sum{0};
      for (int i = 0; i < 20; ++i)
        parallel_for(3, 1, [&](std::int64_t begin, std::int64_t) {
          Workspace ws;
          std::memset(ws.get<char>(100000), 1, 100000);
          sum += int(begin);
        });
      reserve_random(1);
      void* big = allocate(4 << 20);
      deallocate(big, 4 << 20);
      _exit(sum == 60 ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  stop = true;
  for (auto& thread : busy) thread.join();
}
#endif

void test_allocator() {
  empty_cache();
  const MemoryStats before = memory_stats();
  for (std::size_t bytes : {0ul, 1ul, 63ul, 64ul, 65ul, 1024ul, 1025ul, 1152ul, 1153ul, 65536ul,
                            65537ul, 1ul << 20, (1ul << 20) + 1, 3ul << 20, 5000001ul}) {
    char* p = static_cast<char*>(allocate(bytes));
    CHECK(p && reinterpret_cast<std::uintptr_t>(p) % kAlignment == 0);
    std::memset(p, 0x5a, bytes);
    CHECK(memory_stats().in_use_bytes >= before.in_use_bytes + std::int64_t(bytes));
    deallocate(p, bytes);
  }
  deallocate(nullptr, 100);
  CHECK(memory_stats().in_use_bytes == before.in_use_bytes);

  // Steady state asks the system for nothing.
  const auto cycle = [] {
    std::vector<std::pair<void*, std::size_t>> blocks;
    for (std::size_t bytes = 1; bytes < 20 << 20; bytes = bytes * 3 + 1)
      blocks.emplace_back(allocate(bytes), bytes);
    for (auto& [p, bytes] : blocks) deallocate(p, bytes);
  };
  cycle();
  const std::int64_t asked = memory_stats().system_allocations;
  for (int i = 0; i < 50; ++i) cycle();
  CHECK(memory_stats().system_allocations == asked);
  CHECK(memory_stats().peak_bytes >= 10 << 20);

  empty_cache();
  CHECK(memory_stats().cached_bytes < 32 << 20);
  CHECK_THROWS(allocate(std::size_t(1) << 46), "cannot allocate 70368744177664 bytes");
  CHECK_THROWS(allocate(~std::size_t(0)), "cannot allocate 18446744073709551615 bytes");
}

// Random sizes, live blocks keep their contents, blocks are released by other threads.
void test_allocator_threads() {
  struct Block {
    unsigned char* p;
    std::size_t bytes;
    unsigned char mark;
  };
  const std::int64_t before = memory_stats().in_use_bytes;
  std::vector<Block> handed[4];
  std::mutex locks[4];
  const auto work = [&](int me) {
    std::mt19937 rng(unsigned(me) + 7);
    std::vector<Block> mine;
    for (int step = 0; step < 4000; ++step) {
      const std::size_t scale = std::size_t(1) << (rng() % 15);
      const Block block{nullptr, rng() % scale * (rng() % 50 == 0 ? 200 : 1), (unsigned char)rng()};
      mine.push_back(block);
      mine.back().p = static_cast<unsigned char*>(allocate(block.bytes));
      std::memset(mine.back().p, block.mark, block.bytes);
      if (mine.size() > 50) {
        std::swap(mine[rng() % mine.size()], mine.back());
        const Block old = mine.back();
        mine.pop_back();
        CHECK(std::all_of(old.p, old.p + old.bytes, [&](auto c) { return c == old.mark; }));
        if (rng() % 2) {
          deallocate(old.p, old.bytes);
        } else {
          const std::size_t to = rng() % 4;
          const std::lock_guard lock(locks[to]);
          handed[to].push_back(old);
        }
      }
      const std::lock_guard lock(locks[me]);
      for (const Block& b : handed[me]) deallocate(b.p, b.bytes);
      handed[me].clear();
    }
    for (const Block& b : mine) deallocate(b.p, b.bytes);
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) threads.emplace_back(work, t);
  for (auto& thread : threads) thread.join();
  for (auto& list : handed)
    for (const Block& b : list) deallocate(b.p, b.bytes);
  CHECK(memory_stats().in_use_bytes == before);
}

void test_workspace() {
  {
    const Workspace warm_up;
  }
  std::int64_t asked = 0;
  for (int round = 0; round < 4; ++round) {
    Workspace outer;
    float* a = outer.get<float>(1000);
    std::fill(a, a + 1000, 1.0f);
    {
      Workspace inner;
      float* b = inner.get<float>(500000);
      double* c = inner.get<double>(3);
      CHECK(reinterpret_cast<std::uintptr_t>(b) % kAlignment == 0);
      CHECK(reinterpret_cast<std::uintptr_t>(c) % kAlignment == 0);
      std::fill(b, b + 500000, 2.0f);
      c[0] = c[1] = c[2] = 3;
      CHECK(b[499999] == 2.0f && a[999] == 1.0f);
    }
    float* d = outer.get<float>(10);
    d[0] = 5;
    CHECK(a[0] == 1.0f && outer.get<char>(0) != nullptr);
    if (round == 2) asked = memory_stats().cache_hits + memory_stats().system_allocations;
  }
  CHECK(memory_stats().cache_hits + memory_stats().system_allocations == asked);
  CHECK_THROWS(Workspace().get<double>(-1), "cannot allocate");
}

void test_philox() {
  // Known answers of the paper's reference implementation (Random123, kat_vectors).
  const auto zero = philox4x32(0, 0);
  CHECK(zero[0] == 0x6627e8d5u && zero[1] == 0xe169c58du && zero[2] == 0xbc57ac4cu &&
        zero[3] == 0x9b00dbd8u);
  const auto ones = philox4x32(~0ull, ~0ull, ~0ull);
  CHECK(ones[0] == 0x408f276du && ones[1] == 0x41c83b0eu && ones[2] == 0xa20bc7c6u &&
        ones[3] == 0x6d5451fdu);
  CHECK(uniform24(0) == 0.0f && uniform24(~0u) < 1.0f);
  manual_seed(42);
  CHECK(reserve_random(3).offset == 0);
  const PhiloxState kept = generator_state();
  CHECK(kept.seed == 42 && kept.offset == 3);
  reserve_random(100);
  set_generator_state(kept);
  CHECK(reserve_random(1).offset == 3);
}

void test_cpu() {
  CHECK(usable_cpus() >= 1 && usable_cpus() <= cpu_info().logical_cpus);
  CHECK(cpu_info().physical_cores >= 1 && !cpu_info().brand.empty());
  char folder[] = "/tmp/gs_cgroup_XXXXXX";
  CHECK(mkdtemp(folder));
  const std::string root = folder;
  const auto write = [&](const std::string& file, const char* text) {
    std::ofstream(root + "/" + file) << text;
  };
  const auto make = [&](const std::string& path) {
    CHECK(std::system(("mkdir -p " + root + "/" + path).c_str()) == 0);
  };
  make("v2/a/b");
  write("v2/a/cpu.max", "150000 100000\n");
  write("v2/a/b/cpu.max", "max 100000\n");
  write("proc2", "0::/a/b\n");
  CHECK(cgroup_cpu_quota(root + "/proc2", root + "/v2") == 1.5);  // the parent's limit holds
  make("v1/cpu,cpuacct");
  write("v1/cpu,cpuacct/cpu.cfs_quota_us", "400000\n");
  write("v1/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  write("proc1", "5:memory:/x\n4:cpu,cpuacct:/host/path/not/mounted/here\n0::/\n");
  CHECK(cgroup_cpu_quota(root + "/proc1", root + "/v1") == 4.0);
  write("v1/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  CHECK(cgroup_cpu_quota(root + "/proc1", root + "/v1") == 0.0);
  CHECK(cgroup_cpu_quota(root + "/absent", root) == 0.0);
  CHECK(std::system(("rm -r " + root).c_str()) == 0);
}

}  // namespace

int main() {
  test_cpu();
  test_philox();
  test_allocator();
  test_allocator_threads();
  test_workspace();
  test_ranges();
  test_errors_and_nesting();
  test_team_and_barrier();
  test_abandoned_barrier();
  test_many_callers();
  test_sleep_and_wake();
#if !defined(__SANITIZE_THREAD__)
  test_fork();
#endif
  return gs_test::result();
}
