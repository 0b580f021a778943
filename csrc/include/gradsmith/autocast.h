// Whether products of float32 matrices round their factors to bfloat16 (per thread and per type of
// device).
#pragma once
#include "gradsmith/export.h"
#include "gradsmith/tensor.h"

namespace gradsmith {

GS_API bool autocast_enabled(DeviceType device = DeviceType::cpu);
GS_API void set_autocast_enabled(bool on, DeviceType device = DeviceType::cpu);

// On the CPU.
class AutocastGuard {
 public:
  explicit AutocastGuard(bool on) : before_(autocast_enabled()) { set_autocast_enabled(on); }
  ~AutocastGuard() { set_autocast_enabled(before_); }
  AutocastGuard(const AutocastGuard&) = delete;

 private:
  const bool before_;
};

}  // namespace gradsmith
