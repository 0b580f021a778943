#include "cuda_emu/emulator.h"

#include "cuda_emu/streams.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "cuda_emu/machine.h"

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

Machine machine;

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "cuda emulator: %s\n", what);
  std::abort();
}

namespace {

constexpr std::size_t kStackBytes = 256 << 10, kGuardBytes = 4096;
constexpr std::size_t kSharedLimit = 232448;  // bytes of a block of compute capability 9.0
constexpr int kMultiprocessors = 4;

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

// Threads that have ended do not hold up a cluster's barrier.
void open_cluster_barrier_if_all_wait() {
  for (const Block& block : machine.blocks)
    for (const Fiber* f : block.threads)
      if (f->state != State::at_cluster_barrier && f->state != State::done) return;
  for (const Block& block : machine.blocks)
    for (Fiber* f : block.threads)
      if (f->state == State::at_cluster_barrier) f->state = State::ready;
}

void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &machine.scheduler_stack,
                                  &machine.scheduler_stack_bytes);
#endif
  (*machine.body)();
  Fiber& f = *machine.running;
  f.state = State::done;
  for (const Pipeline* pipeline : {&f.copies, &f.products})
    if (!pipeline->open.empty() || !pipeline->groups.empty())
      die("a thread ends before its copies or products have arrived");
  // Threads that have ended do not hold up a barrier.
  Block& block = *f.block;
  if (--block.alive > 0 && block.waiting == block.alive) open_barrier(block);
  open_cluster_barrier_if_all_wait();
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

// Blocks [first, first + count) of the grid, whole clusters, which take turns.
void run_blocks(std::size_t first, std::size_t count) {
  const dim3 grid = machine.launch.grid, size = machine.launch.block;
  const unsigned threads = size.x * size.y * size.z;
  std::vector<Fiber*> order;
  machine.blocks = std::vector<Block>(count);
  for (std::size_t i = 0; i < count; ++i) {
    Block& block = machine.blocks[i];
    const std::size_t b = first + i;
    block.index = {unsigned(b % grid.x), unsigned(b / grid.x % grid.y),
                   unsigned(b / grid.x / grid.y)};
    block.rank = unsigned(b % machine.launch.cluster);
    block.alive = threads;
    block.warps.resize((threads + 31) / 32);
    // NaN in every float of shared memory; its own allocation, so that overruns are seen.
    const std::size_t bytes = (machine.shared_bytes + 1023) / 1024 * 1024;
    block.shared.reset(static_cast<unsigned char*>(std::aligned_alloc(1024, bytes)));
    if (bytes) std::memset(block.shared.get(), 0xff, bytes);
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(block.shared.get() + machine.shared_bytes,
                                bytes - machine.shared_bytes);
#endif
    for (unsigned t = 0; t < threads; ++t) {
      if (order.size() == machine.fibers.size())
        machine.fibers.push_back(std::make_unique<Fiber>());
      Fiber& f = *machine.fibers[order.size()];
      f.thread = {{t % size.x, t / size.x % size.y, t / size.x / size.y}, t};
      f.block = &block;
      f.fenced = false;
      prepare(f);
      block.threads.push_back(&f);
      order.push_back(&f);
    }
  }

  const Schedule schedule = options().schedule;
  const bool by_warp = schedule >= Schedule::warp_by_warp;
  if (schedule == Schedule::descending || schedule == Schedule::warp_by_warp_descending)
    std::reverse(order.begin(), order.end());
  const auto alive = [](const Fiber* f) { return f->state != State::done; };
  while (std::any_of(order.begin(), order.end(), alive)) {
    if (schedule == Schedule::random) std::shuffle(order.begin(), order.end(), machine.rng);
    // A thread that spins changes nothing: a round in which no other runs is the last.
    bool progress = false;
    for (Fiber* f : order)
      if (f->state == State::spinning) f->state = State::ready;
    for (std::size_t i = 0; i < order.size();) {
      // By warps: one goes as far as it can before the next one starts.
      const std::size_t end = by_warp ? std::min(i + 32, order.size()) : i + 1;
      bool again = false;
      for (std::size_t j = i; j < end; ++j)
        if (order[j]->state == State::ready) {
          resume(*order[j]);
          again = true;
          progress |= order[j]->state != State::spinning;
        }
      if (!again || !by_warp) i = end;
    }
    if (progress) continue;
    if (machine.in_flight.empty()) die("deadlock: no thread can go on");
    const std::size_t next =
        schedule == Schedule::random ? machine.rng() % machine.in_flight.size() : 0;
    const Work arrive = std::move(machine.in_flight[next]);
    machine.in_flight.erase(machine.in_flight.begin() + std::ptrdiff_t(next));
    arrive();
  }
  if (!machine.in_flight.empty()) die("the threads end before their copies have arrived");
#if defined(__SANITIZE_ADDRESS__)
  for (const Block& block : machine.blocks)
    __asan_unpoison_memory_region(block.shared.get(), (machine.shared_bytes + 1023) / 1024 * 1024);
#endif
  machine.blocks.clear();
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
                   std::function<void()> body, unsigned cluster, bool together) {
  const std::size_t threads = std::size_t(block.x) * block.y * block.z;
  if (threads == 0 || threads > 1024 || grid.x == 0 || grid.x > 0x7fffffffu || grid.y == 0 ||
      grid.y > 65535 || grid.z == 0 || grid.z > 65535 || shared_bytes > kSharedLimit ||
      cluster == 0 || cluster > 16 || grid.x % cluster != 0)
    return cudaErrorInvalidConfiguration;
  const std::size_t blocks = std::size_t(grid.x) * grid.y * grid.z;
  if (together && blocks > std::size_t(options().resident_blocks))
    return cudaErrorCooperativeLaunchTooLarge;
  return submit(stream, [=, body = std::move(body)] {
    machine.rng.seed(options().seed);
    machine.launch = {grid, block, {}, cluster};
    machine.body = &body;
    machine.shared_bytes = shared_bytes;
    if (together) return run_blocks(0, blocks);
    const std::size_t clusters = blocks / cluster;
    const bool descending = options().schedule == Schedule::descending ||
                            options().schedule == Schedule::warp_by_warp_descending;
    for (std::size_t i = 0; i < clusters; ++i)
      run_blocks((descending ? clusters - 1 - i : i) * cluster, cluster);
  });
}

void wait(State state) {
  machine.running->state = state;
  to_scheduler(false);
}

void yield() { wait(State::spinning); }

bool at_once() {
  switch (options().schedule) {
    case Schedule::ascending:
    case Schedule::warp_by_warp:
      return false;
    case Schedule::descending:
    case Schedule::warp_by_warp_descending:
      return true;
    case Schedule::random:
      return machine.rng() % 2 != 0;
  }
  return false;
}

void may_yield() {
  if (options().schedule == Schedule::random && machine.rng() % 2 != 0) wait(State::ready);
}

void barrier(int line) {
  Block& block = *machine.running->block;
  if (block.waiting > 0 && block.barrier_line != line)
    die("threads of one block wait at different __syncthreads");
  block.barrier_line = line;
  if (++block.waiting < block.alive) return wait(State::at_barrier);
  open_barrier(block);
  wait(State::ready);
}

void cluster_barrier() {
  machine.running->state = State::at_cluster_barrier;
  open_cluster_barrier_if_all_wait();
  to_scheduler(false);
}

void warp_barrier(std::uint32_t mask) {
  const unsigned me = thread().linear, first = me & ~31u;
  Block& block = *machine.running->block;
  Warp& warp = block.warps[me / 32];
  const unsigned threads = unsigned(block.threads.size());
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

const Warp& deposit(std::uint32_t mask, const void* mine, std::size_t bytes) {
  const unsigned me = thread().linear;
  Warp& warp = machine.running->block->warps[me / 32];
  std::memcpy(warp.slot[me & 31], mine, bytes);
  warp_barrier(mask);
  return warp;
}

void exchange(std::uint32_t mask, const void* mine, void* theirs, std::size_t bytes,
              unsigned source) {
  const Warp& warp = deposit(mask, mine, bytes);
  if (!(mask >> (source & 31) & 1)) die("a shuffle reads a lane that is not in its mask");
  std::memcpy(theirs, warp.slot[source & 31], bytes);
  warp_barrier(mask);
}

std::uint32_t shared_offset(const void* p, std::size_t bytes) {
  const auto at = static_cast<const unsigned char*>(p) - machine.running->block->shared.get();
  if (at < 0 || std::size_t(at) + bytes > machine.shared_bytes)
    die("an address lies outside the block's shared memory");
  return std::uint32_t(at);
}

void start(Pipeline& pipeline, Work work) { pipeline.open.push_back(std::move(work)); }
void commit(Pipeline& pipeline) {
  pipeline.groups.push_back(std::exchange(pipeline.open, {}));
  if (at_once())
    for (auto& group : pipeline.groups)
      for (const Work& work : std::exchange(group, {})) work();
}
void finish(Pipeline& pipeline, std::size_t groups_left) {
  while (pipeline.groups.size() > groups_left) {
    for (const Work& work : pipeline.groups.front()) work();
    pipeline.groups.pop_front();
  }
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
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"emulated device", cuda_emu::options().major, 0, cuda_emu::kMultiprocessors,
                 std::size_t(8) << 30};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = cuda_emu::kMultiprocessors;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = cuda_emu::options().major;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = int(cuda_emu::kSharedLimit);
      return cudaSuccess;
  }
  return cudaErrorInvalidValue;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int,
                                                          std::size_t) {
  *blocks = cuda_emu::options().resident_blocks / cuda_emu::kMultiprocessors;
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
