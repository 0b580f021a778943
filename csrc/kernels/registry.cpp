// Fills the dispatch tables from kernels/all.inc, once per target, before main() or dlopen()
// returns, and chooses the active target.
#include "kernels/registry.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <exception>
#include <mutex>

#include "base/check.h"
#include "base/cpu.h"
#include "base/env.h"

#define GS_TEXT_(...) #__VA_ARGS__
#define GS_TEXT(...) GS_TEXT_(__VA_ARGS__)

// The families' headers: GS_KERNEL declares each op's function type and table.
// clang-format off: spaces would become part of the file name
#define GS_FAMILY_FILE(family) GS_TEXT(kernels/family/family.h)
// clang-format on
#include "kernels/all.inc"
#undef GS_FAMILY_FILE

// From here on all.inc means the rows. A row of target t promises the function t::op_dtype.
// clang-format off
#define GS_FAMILY_FILE(family) GS_TEXT(kernels/family/family.inc)
// clang-format on
#define GS_FAMILY(family)
#define GS_ROW(op, dtype) op##_fn op##_##dtype;
namespace gradsmith::kernels {
namespace reference {
#include "kernels/all.inc"
}
namespace scalar {
#include "kernels/all.inc"
}
namespace neon {
#include "kernels/all.inc"
}
namespace avx2 {
#include "kernels/all.inc"
}
namespace avx512 {
#include "kernels/all.inc"
}
namespace avx512_bf16 {
#include "kernels/bf16_rows.inc"
}
#undef GS_ROW

namespace {

constexpr const char* kNames[kTargets] = {"reference", "scalar", "neon",
                                          "avx2",      "avx512", "avx512_bf16"};

constexpr unsigned bit(Target target) { return 1u << int(target); }

constexpr unsigned kCompiled = bit(Target::reference)
#if defined(GS_HAVE_scalar)
                               | bit(Target::scalar)
#endif
#if defined(GS_HAVE_neon)
                               | bit(Target::neon)
#endif
#if defined(GS_HAVE_avx2)
                               | bit(Target::avx2)
#endif
#if defined(GS_HAVE_avx512)
                               | bit(Target::avx512)
#endif
#if defined(GS_HAVE_avx512_bf16)
                               | bit(Target::avx512_bf16)
#endif
    ;

constexpr unsigned kEmulated = 0
#if defined(GS_EMULATED_neon)
                               | bit(Target::neon)
#endif
#if defined(GS_EMULATED_avx2)
                               | bit(Target::avx2)
#endif
#if defined(GS_EMULATED_avx512)
                               | bit(Target::avx512)
#endif
#if defined(GS_EMULATED_avx512_bf16)
                               | bit(Target::avx512_bf16)
#endif
    ;

bool cpu_supports(Target target) {
  using enum CpuFeature;
  const CpuInfo& cpu = cpu_info();
  switch (target) {
    case Target::reference:
    case Target::scalar:
      return true;
    case Target::neon:
      return cpu.has(CpuFeature::neon);
    case Target::avx2:
      return cpu.has(CpuFeature::avx2) && cpu.has(fma) && cpu.has(f16c);
    case Target::avx512:
      return cpu.has(CpuFeature::avx2) && cpu.has(fma) && cpu.has(f16c) && cpu.has(avx512f) &&
             cpu.has(avx512bw) && cpu.has(avx512dq) && cpu.has(avx512vl);
    case Target::avx512_bf16:
      return cpu_supports(Target::avx512) && cpu.has(CpuFeature::avx512_bf16);
  }
  return false;
}

// Whether dot products of bfloat16 do more a second here than float32's multiply-adds: some cores
// run them at half the rate. Both give the same bits, so a clock may decide. Some 20 microseconds.
bool dot_products_pay() {
  static const bool pay = [] {
    using Clock = std::chrono::steady_clock;
    double best[2] = {};  // operations a nanosecond of avx512, avx512_bf16
    for (int round = 0; round < 5; ++round) {
      for (int i = 0; i < 2; ++i) {
        alignas(64) float out[kPeakElements];
        const Target target = i ? Target::avx512_bf16 : Target::avx512;
        const auto start = Clock::now();
        const auto operations = peak_fma.fn[int(DType::bf16)][int(target)]({out, 500});
        const std::chrono::duration<double, std::nano> time = Clock::now() - start;
        best[i] = std::max(best[i], double(operations) / std::max(time.count(), 1.0));
      }
    }
    return best[1] > best[0];
  }();
  return pay;
}

std::string allowed_targets() {
  std::string names = "auto";
  for (Target target : supported_targets()) names += std::string(", ") + name(target);
  return names;
}

Target parse_target(const std::string& text, const char* where) {
  if (text == "auto") {
    const Target best = best_target();
    GS_CHECK_STATE(best != Target::reference,
                   "{}: this build has no kernels that this CPU can run; it offers {}", where,
                   allowed_targets());
    return best;
  }
  for (int t = 0; t < kTargets; ++t) {
    if (text != kNames[t]) continue;
    GS_CHECK(kCompiled & bit(Target(t)), "{}: this build has no target '{}'; allowed here: {}",
             where, text, allowed_targets());
    GS_CHECK(target_supported(Target(t)), "{}: this CPU ({}) does not support '{}'; allowed: {}",
             where, cpu_info().brand, text, allowed_targets());
    return Target(t);
  }
  fail(ErrorKind::value, "{}: unknown target '{}'; allowed here: {}", where, text,
       allowed_targets());
}

std::mutex& target_mutex() {
  static std::mutex* mutex = new std::mutex;
  return *mutex;
}
std::exception_ptr& pending_error() {
  static std::exception_ptr* error = new std::exception_ptr;
  return *error;
}

// One row. Rows come in ascending order of target, so a later target's hole keeps what a lower one
// put there; the reference never fills a hole. Inlined a thousand times it would take the compiler
// half a minute.
template <class Fn>
[[gnu::noinline]] void add_row(Kernel<Fn>& op, DType dtype, Target target, Fn* fn) {
  auto& row = op.fn[int(dtype)];
  row[int(target)] = fn;
  op.own[int(dtype)] = std::uint8_t(op.own[int(dtype)] | bit(target));
  if (target == Target::reference) return;
  for (int t = int(target) + 1; t < kTargets; ++t) row[t] = fn;
}

void fill_tables() {
#define GS_ROW(op, dtype) add_row(op, DType::dtype, Target::reference, reference::op##_##dtype);
#include "kernels/all.inc"
#undef GS_ROW
#if defined(GS_HAVE_scalar)
#define GS_ROW(op, dtype) add_row(op, DType::dtype, Target::scalar, scalar::op##_##dtype);
#include "kernels/all.inc"
#undef GS_ROW
#endif
#if defined(GS_HAVE_neon)
#define GS_ROW(op, dtype) add_row(op, DType::dtype, Target::neon, neon::op##_##dtype);
#include "kernels/all.inc"
#undef GS_ROW
#endif
#if defined(GS_HAVE_avx2)
#define GS_ROW(op, dtype) add_row(op, DType::dtype, Target::avx2, avx2::op##_##dtype);
#include "kernels/all.inc"
#undef GS_ROW
#endif
#if defined(GS_HAVE_avx512)
#define GS_ROW(op, dtype) add_row(op, DType::dtype, Target::avx512, avx512::op##_##dtype);
#include "kernels/all.inc"
#undef GS_ROW
#endif
#if defined(GS_HAVE_avx512_bf16)
#define GS_ROW(op, dtype) add_row(op, DType::dtype, Target::avx512_bf16, avx512_bf16::op##_##dtype);
#include "kernels/bf16_rows.inc"
#undef GS_ROW
#endif
}

// Runs when the library is loaded. Kernel tables are constinit, so no initialiser of another file
// can reset them afterwards; initialisers must not pick kernels themselves.
[[maybe_unused]] const bool loaded = [] {
  fill_tables();
  Target target = best_target();
  try {
    target = parse_target(env_string("GRADSMITH_TARGET", "auto"), "GRADSMITH_TARGET");
  } catch (...) {
    pending_error() = std::current_exception();
  }
  detail::active_target.store(std::uint8_t(target), std::memory_order_relaxed);
  return true;
}();

}  // namespace

namespace detail {
constinit std::atomic<std::uint8_t> active_target{std::uint8_t(Target::reference)};

void throw_no_kernel(const char* op, DType dtype) {
  fail(ErrorKind::type, "{}: no kernel for {} on target {}", op, gradsmith::name(dtype),
       kernels::name(kernels::active_target()));
}
}  // namespace detail

const char* name(Target target) { return kNames[int(target)]; }

bool target_emulated(Target target) { return kEmulated & bit(target); }

bool target_compiled(Target target) { return kCompiled & bit(target); }

bool target_supported(Target target) {
  if (!target_compiled(target)) return false;
  if (!target_emulated(target)) return cpu_supports(target);
  return target != Target::avx512_bf16 || target_supported(Target::avx512);  // for its other rows
}

std::vector<Target> supported_targets() {
  std::vector<Target> targets;
  for (int t = kTargets - 1; t >= 0; --t)
    if (target_supported(Target(t))) targets.push_back(Target(t));
  return targets;
}

// Only a build without a usable native target falls back on the oracle.
Target best_target() {
  for (int t = kTargets - 1; t > int(Target::reference); --t) {
    if (!target_supported(Target(t)) || target_emulated(Target(t))) continue;
    if (Target(t) == Target::avx512_bf16 && !dot_products_pay()) continue;
    return Target(t);
  }
  return Target::reference;
}

void set_target(const std::string& text) {
  const Target target = parse_target(text, "set_target");
  const std::lock_guard lock(target_mutex());
  pending_error() = nullptr;
  detail::active_target.store(std::uint8_t(target), std::memory_order_relaxed);
}

void ensure_target() {
  const std::lock_guard lock(target_mutex());
  if (pending_error()) std::rethrow_exception(pending_error());
}

std::vector<KernelInfo> list_kernels() {
  std::vector<KernelInfo> kernels;
  [[maybe_unused]] std::string family;
  [[maybe_unused]] const auto list_row = [&](const char* op, DType dtype, unsigned own) {
    std::vector<Target> targets;
    for (Target target : supported_targets())
      if (own & bit(target)) targets.push_back(target);
    kernels.push_back({family, op, dtype, std::move(targets)});
  };
#undef GS_FAMILY
#define GS_FAMILY(name) family = #name;
#define GS_ROW(op, dtype) list_row(#op, DType::dtype, op.own[int(DType::dtype)]);
#include "kernels/all.inc"
#undef GS_ROW
#undef GS_FAMILY
  return kernels;
}

}  // namespace gradsmith::kernels
