// The process-wide default generator.
#include "runtime/philox.h"

#include <mutex>
#include <random>

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace gradsmith {
namespace {

constinit std::mutex mutex;
constinit bool seeded = false;
constinit PhiloxState state{0, 0};

#if !defined(_WIN32)
// A fork never finds the lock held; the child goes on with the parent's state.
[[maybe_unused]] const int fork_handlers =
    pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); }, [] { mutex.unlock(); });
#endif

// Until manual_seed is called every process draws its own seed.
PhiloxState& seeded_state() {
  if (!seeded) {
    std::random_device entropy;
    state = {std::uint64_t(entropy()) << 32 | entropy(), 0};
    seeded = true;
  }
  return state;
}

}  // namespace

void manual_seed(std::uint64_t seed) { set_generator_state({seed, 0}); }

PhiloxState generator_state() {
  const std::lock_guard lock(mutex);
  return seeded_state();
}

void set_generator_state(PhiloxState fresh) {
  const std::lock_guard lock(mutex);
  state = fresh;
  seeded = true;
}

PhiloxState reserve_random(std::uint64_t blocks) {
  const std::lock_guard lock(mutex);
  PhiloxState& current = seeded_state();
  const PhiloxState start = current;
  current.offset += blocks;
  return start;
}

}  // namespace gradsmith
