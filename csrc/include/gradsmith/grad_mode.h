// Whether ops record themselves on the tape (per thread), and anomaly detection.
#pragma once
#include "gradsmith/export.h"

namespace gradsmith {

GS_API bool grad_enabled();
GS_API void set_grad_enabled(bool on);
GS_API bool anomaly_enabled();
GS_API void set_anomaly_enabled(bool on);

class GradModeGuard {
 public:
  explicit GradModeGuard(bool on) : before_(grad_enabled()) { set_grad_enabled(on); }
  ~GradModeGuard() { set_grad_enabled(before_); }
  GradModeGuard(const GradModeGuard&) = delete;

 private:
  const bool before_;
};
struct NoGradGuard : GradModeGuard {
  NoGradGuard() : GradModeGuard(false) {}
};

}  // namespace gradsmith
