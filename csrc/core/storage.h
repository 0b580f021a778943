// Storage: one block of memory shared by views.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/ref.h"
#include "gradsmith/tensor.h"
#include "runtime/kept.h"

namespace gradsmith {

struct GS_API Storage {
  std::atomic<std::int32_t> refs{1};
  std::uint32_t version = 0;  // bumped by every write; saved tensors compare it
  Device device;
  bool read_only = false;
  void* data = nullptr;
  std::size_t bytes = 0;
  void (*release_fn)(void* owner) = nullptr;  // null: memory is ours; the CPU's is in this block
  void* owner = nullptr;
  // Arrays outside that share the memory and may write into it without anybody being told.
  std::atomic<std::int32_t> exports{0};

  // Where copies in other layouts are kept; null where the memory may change unseen.
  std::shared_ptr<Kept> kept();
  // Drops them: to be called when the memory has changed.
  void forget() {
    if (keeps_.load(std::memory_order_relaxed)) drop_kept();
  }

  static Ref<Storage> create(std::size_t bytes, Device device);
  static Ref<Storage> wrap(void* data, std::size_t bytes, Device device, void (*release_fn)(void*),
                           void* owner);
  void add_ref() { refs.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    if (refs.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }

 private:
  std::atomic<bool> keeps_{false};
  std::shared_ptr<Kept> kept_;
  void drop_kept();
  void destroy();
};

}  // namespace gradsmith
