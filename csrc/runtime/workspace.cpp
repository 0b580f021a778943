#include "runtime/workspace.h"

#include <vector>

#include "base/check.h"
#include "runtime/memory.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define GS_POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define GS_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define GS_POISON(p, n) ((void)0)
#define GS_UNPOISON(p, n) ((void)0)
#endif

namespace gradsmith {
namespace {

// A thread that is not inside any Workspace keeps at most this much; more goes back to the
// allocator's cache, from which it is quickly taken again.
constexpr std::size_t kKeptBytes = std::size_t(32) << 20;
constexpr std::size_t kFirstBytes = std::size_t(256) << 10;
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kRedzone = kAlignment;
#else
constexpr std::size_t kRedzone = 0;
#endif

// Blocks in use are 0 .. block, the last of them up to `top`. Later blocks are spare.
struct Arena {
  struct Block {
    char* data;
    std::size_t bytes;
  };
  std::vector<Block> blocks;
  std::size_t block = 0, top = 0;
  std::size_t wanted = kFirstBytes;  // size of the single block that would have been enough

  ~Arena() { clear(); }

  void clear() {
    for (const Block& b : blocks) {
      GS_UNPOISON(b.data, b.bytes);
      deallocate(b.data, b.bytes);
    }
    blocks.clear();
    block = top = 0;
  }

  void* take(std::size_t bytes) {
    GS_CHECK_KIND(memory, bytes < std::size_t(1) << 62, "workspace: cannot allocate {} bytes",
                  bytes);
    const std::size_t rounded = (bytes + kRedzone + kAlignment - 1) / kAlignment * kAlignment;
    while (block < blocks.size() && blocks[block].bytes - top < rounded) {
      ++block;
      top = 0;
    }
    if (block == blocks.size()) {
      std::size_t size = blocks.empty() ? wanted : blocks.back().bytes;
      if (size < rounded) size = rounded;
      blocks.reserve(blocks.size() + 1);
      blocks.push_back({static_cast<char*>(allocate(size)), size});
      GS_POISON(blocks.back().data, size);
    }
    char* p = blocks[block].data + top;
    top += rounded;
    GS_UNPOISON(p, bytes);
    return p;
  }

  void release(std::size_t to_block, std::size_t to_top) {
    for (std::size_t b = to_block; b <= block && b < blocks.size(); ++b) {
      [[maybe_unused]] const std::size_t from = b == to_block ? to_top : 0;
      GS_POISON(blocks[b].data + from, blocks[b].bytes - from);
    }
    block = to_block;
    top = to_top;
    if (block != 0 || top != 0) return;
    std::size_t total = 0;
    for (const Block& b : blocks) total += b.bytes;
    if (blocks.size() > 1) wanted = total;  // next time in one piece
    if (blocks.size() > 1 || total > kKeptBytes) clear();
  }
};

thread_local Arena arena;

}  // namespace

Workspace::Workspace() : block_(arena.block), top_(arena.top) {}
Workspace::~Workspace() { arena.release(block_, top_); }
void* Workspace::bytes(std::size_t n) { return arena.take(n); }

}  // namespace gradsmith
