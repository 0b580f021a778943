// Targets and the run-time kernel tables.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "gradsmith/dtype.h"
#include "gradsmith/export.h"

namespace gradsmith::kernels {

// Ordered from worst to best. `reference` is the oracle: never picked unless asked for by name.
enum class Target : std::uint8_t { reference, scalar, neon, avx2, avx512, avx512_bf16 };
inline constexpr int kTargets = 6;
GS_API const char* name(Target target);

// What the library runs on: the best target that is compiled in and that this CPU supports, or the
// one that the environment variable GRADSMITH_TARGET or set_target names. avx512_bf16 is better
// than avx512 only where the CPU's dot products are, which is measured once, at load.

namespace detail {
extern GS_API std::atomic<std::uint8_t> active_target;  // set at load, changed by set_target
[[noreturn]] void throw_no_kernel(const char* op, DType dtype);
}  // namespace detail

inline Target active_target() {
  return Target(detail::active_target.load(std::memory_order_relaxed));
}
GS_API bool target_compiled(Target target);      // in this build
GS_API bool target_supported(Target target);     // compiled in, and this CPU has it
GS_API bool target_emulated(Target target);      // compiled through SIMDe: right, but slow
GS_API std::vector<Target> supported_targets();  // best first, reference last
GS_API Target best_target();                     // what "auto" is
// Process-wide; "auto" for the best. Throws Error(value) for a name that is unknown, not compiled
// in, or not supported by this CPU.
GS_API void set_target(const std::string& name);
// Throws what GRADSMITH_TARGET made fail at load, until set_target succeeds. A front end calls it
// once when it starts; a kernel that is picked meanwhile runs on the target of "auto".
GS_API void ensure_target();

// The dispatch table of one op. Filled at load by registry.cpp, constant from then on. There is one
// per op inside libgradsmith and it is not exported: whoever is outside calls drivers and ops.
template <class Fn>
struct Kernel {
  const char* name;
  Fn* fn[kDTypes][kTargets] = {};  // holes are filled with the next best target's row
  std::uint8_t own[kDTypes] = {};  // bit t: target t has a row of its own

  constexpr explicit Kernel(const char* op) : name(op) {}
  Fn* pick(DType dtype) const {
    Fn* f = fn[int(dtype)][int(active_target())];
    if (!f) [[unlikely]]
      detail::throw_no_kernel(name, dtype);
    return f;
  }
  bool has(DType dtype) const { return fn[int(dtype)][int(Target::reference)] != nullptr; }
};

struct KernelInfo {
  std::string family, op;
  DType dtype;
  std::vector<Target> targets;  // supported ones with a row of their own, best first
};
GS_API std::vector<KernelInfo> list_kernels();

}  // namespace gradsmith::kernels
