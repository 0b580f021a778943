// Storage: one block of memory shared by views.
#pragma once
#include <atomic>
#include <cstdint>

#include "base/ref.h"
#include "gradsmith/tensor.h"

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

  static Ref<Storage> create(std::size_t bytes, Device device);
  static Ref<Storage> wrap(void* data, std::size_t bytes, Device device, void (*release_fn)(void*),
                           void* owner);
  void add_ref() { refs.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    if (refs.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }

 private:
  void destroy();
};

}  // namespace gradsmith
