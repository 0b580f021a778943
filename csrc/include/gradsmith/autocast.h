// Whether products of float32 matrices round their factors to bfloat16 (per thread).
#pragma once
#include "gradsmith/export.h"

namespace gradsmith {

GS_API bool autocast_enabled();
GS_API void set_autocast_enabled(bool on);

class AutocastGuard {
 public:
  explicit AutocastGuard(bool on) : before_(autocast_enabled()) { set_autocast_enabled(on); }
  ~AutocastGuard() { set_autocast_enabled(before_); }
  AutocastGuard(const AutocastGuard&) = delete;

 private:
  const bool before_;
};

}  // namespace gradsmith
