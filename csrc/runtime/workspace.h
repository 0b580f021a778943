// Scoped scratch memory from a per-thread arena. Steady state: no allocation.
//
//     Workspace ws;                              // remembers the arena's top
//     float* tmp = ws.get<float>(n);             // 64-byte aligned, uninitialised
//                                                // destructor gives everything back
#pragma once
#include <cstddef>
#include <cstdint>

#include "gradsmith/export.h"

namespace gradsmith {

class GS_API Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  template <class T>
  T* get(std::int64_t count) {
    return static_cast<T*>(bytes(std::size_t(count) * sizeof(T)));
  }

 private:
  void* bytes(std::size_t n);  // throws Error(memory)
  std::size_t block_, top_;
};

}  // namespace gradsmith
