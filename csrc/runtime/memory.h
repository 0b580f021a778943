// Aligned caching allocator for host memory. Blocks are 64-byte aligned, come back to a
// size-class cache on release, and are handed out again without a system call or page fault.
// Any thread may release what another one took.
#pragma once
#include <cstddef>
#include <cstdint>

#include "gradsmith/export.h"

namespace gradsmith {

inline constexpr std::size_t kAlignment = 64;

// Throws Error(memory) that names the size. 0 bytes is fine. Uninitialised.
GS_API void* allocate(std::size_t bytes);
// `bytes` as given to allocate; a null p is fine.
GS_API void deallocate(void* p, std::size_t bytes) noexcept;

struct MemoryStats {
  std::int64_t in_use_bytes;        // of blocks handed out, rounded up to their size class
  std::int64_t peak_bytes;          // greatest in_use_bytes; short peaks under 64 KB may be missed
  std::int64_t cached_bytes;        // taken from the system and free
  std::int64_t system_allocations;  // how often the system was asked
  std::int64_t cache_hits;          // how often it was not
};
GS_API MemoryStats memory_stats();

// Returns cached blocks above 1 MB to the system, and the calling thread's small ones to all.
GS_API void empty_cache();

}  // namespace gradsmith
