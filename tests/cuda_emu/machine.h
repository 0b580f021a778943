// The inside of the emulator: threads as fibers, blocks, and the cluster of blocks that runs at a
// time. Shared by the files of the emulator only.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "cuda_emu/emulator.h"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_emu {

[[noreturn]] void die(const char* what);

enum class State {
  ready,
  at_barrier,
  at_warp_barrier,
  at_cluster_barrier,
  polling,
  spinning,
  done
};

struct Block;
using Work = std::function<void()>;

// Work that a thread has started and that goes on without it, in groups: cp.async, wgmma.
struct Pipeline {
  std::vector<Work> open;
  std::deque<std::vector<Work>> groups;
};

struct Fiber {
  Thread thread{};
  Block* block = nullptr;
  State state = State::done;
  bool fenced = false;  // wgmma.fence since the last commit
  Pipeline copies, products;
  char* stack = nullptr;
#if defined(__x86_64__)
  void* saved = nullptr;
#else
  ucontext_t context;
#endif
  [[maybe_unused]] void* fake_stack = nullptr;
};

struct Warp {
  std::uint32_t arrived = 0;
  alignas(16) unsigned char slot[32][32];
};

struct Mbarrier {
  std::uint32_t count, pending;
  std::int64_t bytes;  // still expected of this phase
  unsigned phase;
};

struct Block {
  uint3 index;
  unsigned rank;  // in its cluster
  unsigned alive, waiting = 0;
  int barrier_line = 0;
  std::vector<Warp> warps;
  std::vector<Fiber*> threads;
  std::unique_ptr<unsigned char, decltype(&std::free)> shared{nullptr, &std::free};
  std::map<std::uint32_t, Mbarrier> mbarriers;  // by their place in shared memory
};

struct Machine {
  Launch launch;
  const Work* body = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers;  // kept for the next blocks
  std::vector<Block> blocks;                   // that run together
  std::size_t shared_bytes = 0;
  std::deque<Work> in_flight;  // copies that no thread waits for: TMA
  std::mt19937 rng;
  Fiber* running = nullptr;
#if defined(__x86_64__)
  void* scheduler = nullptr;
#else
  ucontext_t scheduler;
#endif
  const void* scheduler_stack = nullptr;
  std::size_t scheduler_stack_bytes = 0;
};
extern Machine machine;

// The running thread waits until somebody makes it ready again.
void wait(State state);
// Whether what is started asynchronously now is done at once, or as late as it may be.
bool at_once();
// In the random schedule: perhaps lets the others run.
void may_yield();
// Where p lies in the shared memory of the running thread's block; dies where it does not.
std::uint32_t shared_offset(const void* p, std::size_t bytes);
void start(Pipeline& pipeline, Work work);
void commit(Pipeline& pipeline);
void finish(Pipeline& pipeline, std::size_t groups_left);

}  // namespace cuda_emu
