#include "runtime/kept.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace gradsmith {

std::mutex& kept_mutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
}

#if defined(__unix__) || defined(__APPLE__)
namespace {
[[maybe_unused]] const int fork_handlers = pthread_atfork(
    [] { kept_mutex().lock(); }, [] { kept_mutex().unlock(); }, [] { kept_mutex().unlock(); });
}  // namespace
#endif

Kept::Handle Kept::find(const KeptKey& key, bool& seen) {
  Entry oldest;  // freed outside of the lock
  const std::lock_guard lock(kept_mutex());
  for (const Entry& entry : entries_) {
    if (entry.key != key) continue;
    seen = true;
    return entry.copy;
  }
  if (entries_.size() == kMost) {
    oldest = std::move(entries_.front());
    entries_.erase(entries_.begin());
  }
  entries_.push_back({key, nullptr});
  return nullptr;
}

Kept::Handle Kept::publish(const KeptKey& key, Handle copy) {
  const std::lock_guard lock(kept_mutex());
  for (Entry& entry : entries_) {
    if (entry.key != key) continue;
    if (!entry.copy) entry.copy = std::move(copy);
    return entry.copy;
  }
  return copy;
}

}  // namespace gradsmith
