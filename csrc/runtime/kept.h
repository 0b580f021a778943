// Memory kept in other layouts beside the original, such as weights packed for a kernel: made when
// it is asked for a second time. Whoever owns the original drops its Kept when it changes.
//
//     KeptScope scope(kept, weights);   // around calls of drivers, on this thread
//     ...
//     const void* p = prepared(ws, weights, key, bytes, [&](void* to) { pack(to, weights); });
//
// Outside of a scope for just this memory, prepared() makes it in the workspace.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/memory.h"
#include "runtime/workspace.h"

namespace gradsmith {

// All that the layout of a copy depends on, what the kernel is included; unused ones are 0, and the
// last one is taken.
using KeptKey = std::array<std::int64_t, 20>;

class Kept {
 public:
  struct Copy {
    explicit Copy(std::size_t size) : bytes(size), data(allocate(size)) {}
    ~Copy() { deallocate(data, bytes); }
    Copy(const Copy&) = delete;
    const std::size_t bytes;
    void* const data;
  };
  using Handle = std::shared_ptr<const Copy>;

  // The copy of this key, or whether it was asked for before; from now on it was.
  Handle find(const KeptKey& key, bool& seen);
  // What another thread has published meanwhile, or this.
  Handle publish(const KeptKey& key, Handle copy);

 private:
  // Of one memory; the oldest goes first. A recurrent layer's weights take two, every dtype and
  // target that products are computed in as many again.
  static constexpr std::size_t kMost = 8;
  struct Entry {
    KeptKey key;
    Handle copy;
  };
  std::vector<Entry> entries_;
};

class KeptScope {
 public:
  // A null `kept` is no scope.
  KeptScope(std::shared_ptr<Kept> kept, const void* of)
      : kept_(std::move(kept)), of_(of), outer_(current()) {
    if (kept_) current() = this;
  }
  ~KeptScope() { current() = outer_; }
  KeptScope(const KeptScope&) = delete;

  static KeptScope* for_memory(const void* of) {
    KeptScope* scope = current();
    while (scope && scope->of_ != of) scope = scope->outer_;
    return scope;
  }
  // Valid as long as the scope. Null outside of a scope, and the first time: one use is not worth
  // a copy.
  template <class Make>
  const void* get(KeptKey key, std::size_t bytes, Make&& make) {
    if (!kept_ || count_ == used_.size()) return nullptr;
    key.back() = reinterpret_cast<std::intptr_t>(of_);  // tensors may share the owner's memory
    bool seen = false;
    Kept::Handle copy = kept_->find(key, seen);
    if (!copy) {
      if (!seen) return nullptr;
      auto made = std::make_shared<Kept::Copy>(bytes);
      make(made->data);
      copy = kept_->publish(key, std::move(made));
    }
    used_[count_] = std::move(copy);
    return used_[count_++]->data;
  }

 private:
  static KeptScope*& current() {
    thread_local KeptScope* scope = nullptr;
    return scope;
  }
  const std::shared_ptr<Kept> kept_;
  const void* const of_;
  KeptScope* const outer_;
  std::array<Kept::Handle, 4> used_;  // alive until the kernels are done
  std::size_t count_ = 0;
};

template <class Make>
const void* prepared(Workspace& workspace, const void* of, const KeptKey& key, std::size_t bytes,
                     Make&& make) {
  if (KeptScope* const scope = KeptScope::for_memory(of)) {
    if (const void* const kept = scope->get(key, bytes, make)) return kept;
  }
  void* const here = workspace.get<char>(std::int64_t(bytes));
  make(here);
  return here;
}

// Guards every Kept and who owns it. Held for a few instructions, and a fork never finds it held.
std::mutex& kept_mutex();

}  // namespace gradsmith
