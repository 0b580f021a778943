#include "cuda_emu/emulator.h"

#include "cuda_emu/streams.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// ---- Switching between stacks -------------------------------------------------------------------

#if defined(__x86_64__)
// Saves the registers that a function must preserve, leaves the stack pointer in *save, and goes on
// with the stack `load`. (swapcontext would do, but it costs two system calls.)
extern "C" void gs_emu_switch(void** save, void* load);
__asm__(R"(
.text
.type gs_emu_switch, @function
gs_emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size gs_emu_switch, . - gs_emu_switch
)");
#endif

namespace cuda_emu {
namespace {

constexpr std::size_t kStackBytes = 256 << 10, kGuardBytes = 4096;
constexpr std::size_t kSharedLimit = 232448;  // bytes of a block of compute capability 9.0

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "cuda emulator: %s\n", what);
  std::abort();
}

enum class State { ready, at_barrier, at_warp_barrier, spinning, done };

struct Block;
struct Fiber {
  Block* block = nullptr;
  Thread thread{};
  State state = State::done;
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
  alignas(16) unsigned char slot[32][16];
};

struct Block {
  uint3 index{};
  std::vector<Fiber*> threads;
  std::vector<Warp> warps;
  unsigned alive = 0, waiting = 0;
  int barrier_line = 0;
  std::unique_ptr<unsigned char, decltype(&std::free)> shared{nullptr, &std::free};
};

struct Machine {
  Launch launch;
  const std::function<void()>* body = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers;  // kept for the next blocks
  Fiber* running = nullptr;
  std::size_t shared_bytes = 0;
#if defined(__x86_64__)
  void* scheduler = nullptr;
#else
  ucontext_t scheduler;
#endif
  const void* scheduler_stack = nullptr;
  std::size_t scheduler_stack_bytes = 0;
};

Machine machine;

void to_scheduler([[maybe_unused]] bool for_good) {
  Fiber& f = *machine.running;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(for_good ? nullptr : &f.fake_stack, machine.scheduler_stack,
                                 machine.scheduler_stack_bytes);
#endif
#if defined(__x86_64__)
  gs_emu_switch(&f.saved, machine.scheduler);
#else
  swapcontext(&f.context, &machine.scheduler);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(f.fake_stack, &machine.scheduler_stack,
                                  &machine.scheduler_stack_bytes);
#endif
}

void open_barrier(Block& block) {
  block.waiting = 0;
  for (Fiber* f : block.threads)
    if (f->state == State::at_barrier) f->state = State::ready;
}

void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &machine.scheduler_stack,
                                  &machine.scheduler_stack_bytes);
#endif
  (*machine.body)();
  machine.running->state = State::done;
  // Threads that have ended do not hold up a barrier.
  Block& block = *machine.running->block;
  if (--block.alive > 0 && block.waiting == block.alive) open_barrier(block);
  to_scheduler(true);
  std::abort();
}

void resume(Fiber& f) {
  machine.running = &f;
  machine.launch.block_index = f.block->index;
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, f.stack, kStackBytes);
#endif
#if defined(__x86_64__)
  gs_emu_switch(&machine.scheduler, f.saved);
#else
  swapcontext(&machine.scheduler, &f.context);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
  machine.running = nullptr;
}

void prepare(Fiber& f) {
  if (!f.stack) {
    void* p = mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED || mprotect(p, kGuardBytes, PROT_NONE) != 0) die("no memory for stacks");
    f.stack = static_cast<char*>(p) + kGuardBytes;
  }
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(f.stack, kStackBytes);
#endif
#if defined(__x86_64__)
  void** top = reinterpret_cast<void**>(f.stack + kStackBytes);
  *--top = nullptr;  // the return address of fiber_main, which keeps the stack aligned
  *--top = reinterpret_cast<void*>(&fiber_main);
  for (int saved_register = 0; saved_register < 6; ++saved_register) *--top = nullptr;
  f.saved = top;
#else
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack;
  f.context.uc_stack.ss_size = kStackBytes;
  f.context.uc_link = nullptr;
  makecontext(&f.context, fiber_main, 0);
#endif
  f.state = State::ready;
}

void wait(State state) {
  machine.running->state = state;
  to_scheduler(false);
}

void start(Block& block, std::size_t first_fiber) {
  const dim3 size = machine.launch.block;
  const unsigned threads = size.x * size.y * size.z;
  block.alive = threads;
  block.warps.assign((threads + 31) / 32, Warp{});
  for (unsigned t = 0; t < threads; ++t) {
    if (first_fiber + t == machine.fibers.size())
      machine.fibers.push_back(std::make_unique<Fiber>());
    Fiber& f = *machine.fibers[first_fiber + t];
    f.block = &block;
    f.thread = {{t % size.x, t / size.x % size.y, t / size.x / size.y}, t};
    prepare(f);
    block.threads.push_back(&f);
  }
  // NaN in every float of shared memory; its own allocation, so that overruns are seen.
  block.shared.reset(
      static_cast<unsigned char*>(std::aligned_alloc(16, (machine.shared_bytes + 15) / 16 * 16)));
  if (machine.shared_bytes) std::memset(block.shared.get(), 0xff, machine.shared_bytes);
}

// Runs blocks [first, first + count) of the grid, which take turns.
void run_blocks(std::size_t first, std::size_t count, std::mt19937& rng) {
  const dim3 grid = machine.launch.grid;
  std::vector<Block> blocks(count);
  std::vector<Fiber*> order;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t b = first + i;
    blocks[i].index = {unsigned(b % grid.x), unsigned(b / grid.x % grid.y),
                       unsigned(b / grid.x / grid.y)};
    start(blocks[i], order.size());
    order.insert(order.end(), blocks[i].threads.begin(), blocks[i].threads.end());
  }
  const Schedule schedule = options().schedule;
  if (schedule == Schedule::descending) std::reverse(order.begin(), order.end());
  const auto alive = [&] {
    return std::any_of(blocks.begin(), blocks.end(), [](const Block& b) { return b.alive > 0; });
  };
  while (alive()) {
    if (schedule == Schedule::random) std::shuffle(order.begin(), order.end(), rng);
    // A thread that spins changes nothing: a round in which no other runs is the last.
    bool progress = false;
    for (Fiber* f : order)
      if (f->state == State::spinning) f->state = State::ready;
    for (std::size_t i = 0; i < order.size();) {
      // warp_by_warp: a warp goes as far as it can before the next one starts.
      const std::size_t end =
          schedule == Schedule::warp_by_warp ? std::min(i + 32, order.size()) : i + 1;
      bool again = false;
      for (std::size_t j = i; j < end; ++j)
        if (order[j]->state == State::ready) {
          resume(*order[j]);
          again = true;
          progress |= order[j]->state != State::spinning;
        }
      if (!again || schedule != Schedule::warp_by_warp) i = end;
    }
    if (!progress) die("deadlock: no thread can go on");
  }
}

// ---- Memory ----

#if defined(GS_CUDA_GUARDED)
// Device memory lies in one range of addresses that is out of bounds, except while the device
// works: a program that touches it from the host crashes. Addresses are used once.
constexpr std::size_t kRange = std::size_t(64) << 30, kPage = 4096;
struct {
  char* base = nullptr;
  std::size_t used = 0;
} range;

struct DeviceAtWork {
  DeviceAtWork() { mprotect(range.base, range.used, PROT_READ | PROT_WRITE); }
  ~DeviceAtWork() { mprotect(range.base, range.used, PROT_NONE); }
};
void* take(std::size_t bytes) {
  if (!range.base) {
    void* p = mmap(nullptr, kRange, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) die("no room for device memory");
    range.base = static_cast<char*>(p);
  }
  const std::size_t rounded = (bytes + kPage - 1) / kPage * kPage;
  if (rounded > kRange - range.used) return nullptr;
  return range.base + std::exchange(range.used, range.used + rounded);
}
void give_back(void*) {}
#else
struct DeviceAtWork {
  DeviceAtWork() {}
};
void* take(std::size_t bytes) { return std::malloc(bytes); }
void give_back(void* p) { std::free(p); }
#endif

}  // namespace

void work_on_device(const std::function<void()>& work) {
  const DeviceAtWork at_work;
  work();
}

Options& options() {
  static Options o;
  return o;
}

const Thread& thread() { return machine.running->thread; }
const Launch& current_launch() { return machine.launch; }

void* shared_memory(std::size_t bytes) {
  if (bytes > machine.shared_bytes) die("the launch gave the kernel too little shared memory");
  return machine.running->block->shared.get();
}

cudaError_t launch(cudaStream_t stream, dim3 grid, dim3 block, std::size_t shared_bytes,
                   std::function<void()> body, bool together) {
  const std::size_t threads = std::size_t(block.x) * block.y * block.z;
  if (threads == 0 || threads > 1024 || grid.x == 0 || grid.x > 0x7fffffffu || grid.y == 0 ||
      grid.y > 65535 || grid.z == 0 || grid.z > 65535 || shared_bytes > kSharedLimit)
    return cudaErrorInvalidConfiguration;
  const std::size_t blocks = std::size_t(grid.x) * grid.y * grid.z;
  if (together && blocks > std::size_t(options().resident_blocks))
    return cudaErrorCooperativeLaunchTooLarge;
  return submit(stream, [=, body = std::move(body)] {
    std::mt19937 rng(options().seed);
    machine.launch = {grid, block, {}};
    machine.body = &body;
    machine.shared_bytes = shared_bytes;
    if (together) return run_blocks(0, blocks, rng);
    for (std::size_t i = 0; i < blocks; ++i)
      run_blocks(options().schedule == Schedule::descending ? blocks - 1 - i : i, 1, rng);
  });
}

void yield() { wait(State::spinning); }

void barrier(int line) {
  Block& block = *machine.running->block;
  if (block.waiting > 0 && block.barrier_line != line)
    die("threads of one block wait at different __syncthreads");
  block.barrier_line = line;
  if (++block.waiting < block.alive) return wait(State::at_barrier);
  open_barrier(block);
  wait(State::ready);
}

void warp_barrier(std::uint32_t mask) {
  const unsigned me = thread().linear, first = me & ~31u;
  Block& block = *machine.running->block;
  Warp& warp = block.warps[me / 32];
  const auto threads = unsigned(block.threads.size());
  if (threads - first < 32) mask &= (1u << (threads - first)) - 1;
  if (!(mask >> (me & 31) & 1)) die("the calling lane is not in its own mask");
  warp.arrived |= 1u << (me & 31);
  if ((warp.arrived & mask) != mask) return wait(State::at_warp_barrier);
  warp.arrived &= ~mask;
  for (unsigned lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1 && block.threads[first + lane]->state == State::at_warp_barrier)
      block.threads[first + lane]->state = State::ready;
  wait(State::ready);
}

void exchange(std::uint32_t mask, const void* mine, void* theirs, std::size_t bytes,
              unsigned source) {
  const unsigned me = thread().linear;
  Warp& warp = machine.running->block->warps[me / 32];
  std::memcpy(warp.slot[me & 31], mine, bytes);
  warp_barrier(mask);
  if (!(mask >> (source & 31) & 1)) die("a shuffle reads a lane that is not in its mask");
  std::memcpy(theirs, warp.slot[source & 31], bytes);
  warp_barrier(mask);
}

}  // namespace cuda_emu

cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  constexpr std::size_t kMemory = std::size_t(8) << 30;
  *p = bytes <= kMemory ? cuda_emu::take(bytes) : nullptr;
  if (!*p) return cudaErrorMemoryAllocation;
  const cuda_emu::DeviceAtWork at_work;
  std::memset(*p, 0xff, bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  cudaDeviceSynchronize();
  cuda_emu::give_back(p);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* dst, const void* src, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  return cuda_emu::submit(stream, [=] { std::memmove(dst, src, bytes); });
}
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream) {
  return cuda_emu::submit(stream, [=] { std::memset(p, value, bytes); });
}
cudaError_t cudaHostAlloc(void** p, std::size_t bytes, unsigned) {
  *p = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void* p) {
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? 1 : int(cuda_emu::kSharedLimit);
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"emulated device", 8, 0, 1, std::size_t(8) << 30};
  return cudaSuccess;
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorCooperativeLaunchTooLarge:
      return "too many blocks in cooperative launch";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureImplicit:
      return "operation would make the legacy stream depend on a capturing blocking stream";
    default:
      return "error";
  }
}
