// Aligned caching allocator for host memory. Blocks are 64-byte aligned, come back to a
// size-class cache on release, and are handed out again without a system call or page fault.
#pragma once
#include <cstddef>
#include <cstdint>

#include "gradsmith/export.h"

namespace gradsmith {

inline constexpr std::size_t kAlignment = 64;

GS_API void* allocate(std::size_t bytes);               // throws Error(memory); 0 bytes is fine
GS_API void deallocate(void* p, std::size_t bytes) noexcept;

struct MemoryStats {
  std::int64_t in_use_bytes, peak_bytes, cached_bytes, system_allocations, cache_hits;
};
GS_API MemoryStats memory_stats();
GS_API void empty_cache();  // returns cached blocks to the system

}  // namespace gradsmith
