// What this machine offers: instruction sets, caches, cores, and how many of them we may use.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "gradsmith/export.h"

namespace gradsmith {

// Instruction sets that both the CPU and the operating system support (register state included).
// clang-format off
#define GS_CPU_FEATURES(X)                                                                    \
  X(sse42)                                                                                    \
  X(avx) X(f16c) X(fma) X(avx2) X(avx512f) X(avx512bw) X(avx512dq) X(avx512vl) X(avx512_vnni) \
      X(avx512_bf16) X(avx512_fp16) X(amx_tile) X(amx_bf16) X(amx_int8) X(neon) X(neon_fp16)  \
          X(neon_dotprod) X(neon_bf16) X(sve) X(sve2)
// clang-format on

enum class CpuFeature : std::uint8_t {
#define GS_ENUM(feature) feature,
  GS_CPU_FEATURES(GS_ENUM)
#undef GS_ENUM
};

struct GS_API CpuInfo {
  std::string brand;           // as the CPU reports it, "unknown" where it does not
  std::uint32_t feature_bits;  // bit per CpuFeature
  // Sizes as the operating system reports them; 0 where it does not say.
  std::int64_t l1d_bytes, l2_bytes, l3_bytes;
  int l2_shared_by, l3_shared_by;    // logical CPUs that share one such cache; at least 1
  int physical_cores, logical_cpus;  // of the machine
  bool virtual_machine;              // as far as the CPU says; false where it cannot

  bool has(CpuFeature feature) const { return feature_bits >> int(feature) & 1; }
  std::vector<std::string> feature_names() const;
};

GS_API const CpuInfo& cpu_info();  // detected once

// CPUs this process may use now: the affinity mask, cut to the cgroup's CPU quota (rounded up).
GS_API int usable_cpus();

// The cgroup quota in CPUs (v2 cpu.max or v1 cfs_quota_us, the least of the process's group and
// its parents), 0 for none. `proc_cgroup` and `mount` are parameters for the tests.
GS_API double cgroup_cpu_quota(const std::string& proc_cgroup = "/proc/self/cgroup",
                               const std::string& mount = "/sys/fs/cgroup");

}  // namespace gradsmith
