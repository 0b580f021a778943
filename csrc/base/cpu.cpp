#include "base/cpu.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>
#include <utility>

#if defined(__linux__)
#include <sched.h>
#include <unistd.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace gradsmith {
namespace {

constexpr std::uint32_t bit(CpuFeature feature) { return 1u << int(feature); }

#if defined(__x86_64__)

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  if (!__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d)) return {};
  return r;
}

// Which register states the operating system saves on a context switch (XCR0).
std::uint64_t saved_states() {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t(high) << 32 | low;
}

std::uint32_t detect_features() {
  using enum CpuFeature;
  const Registers one = cpuid(1), seven = cpuid(7), seven1 = cpuid(7, 1);
  std::uint32_t bits = 0;
  const auto add = [&bits](bool present, CpuFeature feature) {
    if (present) bits |= bit(feature);
  };
  add(one.c >> 20 & 1, sse42);
  const std::uint64_t states = one.c >> 27 & 1 ? saved_states() : 0;
  if ((states & 0x6) == 0x6 && one.c >> 28 & 1) {  // XMM and YMM
    add(true, avx);
    add(one.c >> 29 & 1, f16c);
    add(one.c >> 12 & 1, fma);
    add(seven.b >> 5 & 1, avx2);
    if ((states & 0xe6) == 0xe6 && seven.b >> 16 & 1) {  // and opmask, ZMM
      add(true, avx512f);
      add(seven.b >> 30 & 1, avx512bw);
      add(seven.b >> 17 & 1, avx512dq);
      add(seven.b >> 31 & 1, avx512vl);
      add(seven.c >> 11 & 1, avx512_vnni);
      add(seven1.a >> 5 & 1, avx512_bf16);
      add(seven.d >> 23 & 1, avx512_fp16);
    }
  }
  if ((states & 0x60000) == 0x60000) {  // tile configuration and data
    add(seven.d >> 24 & 1, amx_tile);
    add(seven.d >> 22 & 1, amx_bf16);
    add(seven.d >> 25 & 1, amx_int8);
  }
  return bits;
}

bool detect_hypervisor() { return cpuid(1).c >> 31 & 1; }

std::string detect_brand() {
  char text[49] = {};
  if (cpuid(0x80000000u).a < 0x80000004u) return "";
  for (unsigned i = 0; i < 3; ++i) {
    const Registers r = cpuid(0x80000002u + i);
    std::memcpy(text + 16 * i, &r, 16);
  }
  return text;
}

#elif defined(__aarch64__)

std::uint32_t detect_features() {
  using enum CpuFeature;
  std::uint32_t bits = bit(neon);  // part of the base architecture
#if defined(__linux__)
  // Bit numbers of the kernel's arm64 <asm/hwcap.h>.
  const unsigned long hwcap = getauxval(AT_HWCAP), hwcap2 = getauxval(AT_HWCAP2);
  if (hwcap >> 10 & 1) bits |= bit(neon_fp16);
  if (hwcap >> 20 & 1) bits |= bit(neon_dotprod);
  if (hwcap2 >> 14 & 1) bits |= bit(neon_bf16);
  if (hwcap >> 22 & 1) bits |= bit(sve);
  if (hwcap2 >> 1 & 1) bits |= bit(sve2);
#endif
  return bits;
}

bool detect_hypervisor() { return false; }
std::string detect_brand() { return ""; }

#else

std::uint32_t detect_features() { return 0; }
bool detect_hypervisor() { return false; }
std::string detect_brand() { return ""; }

#endif

std::string read_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string trim(const std::string& s) {
  const auto first = s.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return s.substr(first, s.find_last_not_of(" \t") - first + 1);
}

// "512K", "32M" or plain bytes.
std::int64_t parse_size(const std::string& s) {
  std::istringstream in(s);
  std::int64_t value = 0;
  char unit = 0;
  in >> value >> unit;
  return unit == 'K' ? value << 10 : unit == 'M' ? value << 20 : unit == 'G' ? value << 30 : value;
}

// CPUs in a list such as "0-3,8,10-11".
std::vector<int> parse_cpu_list(const std::string& s) {
  std::vector<int> cpus;
  std::istringstream in(s);
  for (std::string part; std::getline(in, part, ',');) {
    int first = 0, last = -1;
    char dash = 0;
    std::istringstream range(part);
    if (!(range >> first)) continue;
    if (!(range >> dash >> last)) last = first;
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

#if defined(__linux__)

std::vector<int> allowed_cpus() {
  for (int size = 1024; size <= 1 << 20; size *= 4) {
    cpu_set_t* set = CPU_ALLOC(size);
    if (!set) break;
    std::vector<int> cpus;
    const bool ok = sched_getaffinity(0, CPU_ALLOC_SIZE(size), set) == 0;
    for (int cpu = 0; ok && cpu < size; ++cpu)
      if (CPU_ISSET_S(cpu, CPU_ALLOC_SIZE(size), set)) cpus.push_back(cpu);
    CPU_FREE(set);
    if (ok) return cpus;
  }
  return {};
}

void detect_caches(CpuInfo& info) {
  const auto allowed = allowed_cpus();
  const std::string cpu = "/sys/devices/system/cpu/cpu" +
                          std::to_string(allowed.empty() ? 0 : allowed.front()) + "/cache/index";
  for (int index = 0; index < 8; ++index) {
    const std::string at = cpu + std::to_string(index);
    const std::string level = read_line(at + "/level"), type = read_line(at + "/type");
    if (level.empty() || type == "Instruction") continue;
    const std::int64_t bytes = parse_size(read_line(at + "/size"));
    const int shared =
        std::max<int>(1, int(parse_cpu_list(read_line(at + "/shared_cpu_list")).size()));
    if (level == "1") info.l1d_bytes = bytes;
    if (level == "2") info.l2_bytes = bytes, info.l2_shared_by = shared;
    if (level == "3") info.l3_bytes = bytes, info.l3_shared_by = shared;
  }
#if defined(_SC_LEVEL1_DCACHE_SIZE)
  const auto fill = [](std::int64_t& bytes, int name) {
    if (bytes == 0) bytes = std::max(0L, sysconf(name));
  };
  fill(info.l1d_bytes, _SC_LEVEL1_DCACHE_SIZE);
  fill(info.l2_bytes, _SC_LEVEL2_CACHE_SIZE);
  fill(info.l3_bytes, _SC_LEVEL3_CACHE_SIZE);
#endif
}

void detect_cores(CpuInfo& info) {
  const std::string root = "/sys/devices/system/cpu/";
  const auto online = parse_cpu_list(read_line(root + "online"));
  std::set<std::pair<std::string, std::string>> cores;
  for (int cpu : online) {
    const std::string topology = root + "cpu" + std::to_string(cpu) + "/topology/";
    cores.emplace(read_line(topology + "physical_package_id"), read_line(topology + "core_id"));
  }
  info.logical_cpus = online.empty() ? int(sysconf(_SC_NPROCESSORS_ONLN)) : int(online.size());
  info.physical_cores = cores.empty() ? info.logical_cpus : int(cores.size());
}

std::string brand_from_os() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = trim(line.substr(0, colon));
    if (key == "model name" || key == "Model" || key == "Hardware")
      return trim(line.substr(colon + 1));
  }
  return "";
}

#elif defined(__APPLE__)

std::int64_t sysctl_number(const char* name) {
  std::int64_t value = 0;
  std::size_t size = sizeof(value);
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}

void detect_caches(CpuInfo& info) {  // of the performance cores where there are two kinds
  const auto pick = [](const char* fast, const char* any) {
    const std::int64_t bytes = sysctl_number(fast);
    return bytes ? bytes : sysctl_number(any);
  };
  info.l1d_bytes = pick("hw.perflevel0.l1dcachesize", "hw.l1dcachesize");
  info.l2_bytes = pick("hw.perflevel0.l2cachesize", "hw.l2cachesize");
  info.l3_bytes = sysctl_number("hw.l3cachesize");
  info.l2_shared_by = std::max(1, int(sysctl_number("hw.perflevel0.cpusperl2")));
}

void detect_cores(CpuInfo& info) {
  info.physical_cores = int(sysctl_number("hw.physicalcpu"));
  info.logical_cpus = int(sysctl_number("hw.logicalcpu"));
}

std::string brand_from_os() {
  char text[256] = {};
  std::size_t size = sizeof(text) - 1;
  return sysctlbyname("machdep.cpu.brand_string", text, &size, nullptr, 0) == 0 ? text : "";
}

#else

void detect_caches(CpuInfo&) {}
void detect_cores(CpuInfo& info) {
  info.logical_cpus = info.physical_cores = int(std::thread::hardware_concurrency());
}
std::string brand_from_os() { return ""; }

#endif

CpuInfo detect() {
  CpuInfo info{};
  info.brand = trim(detect_brand());
  if (info.brand.empty()) info.brand = brand_from_os();
  if (info.brand.empty()) info.brand = "unknown";
  info.feature_bits = detect_features();
  info.virtual_machine = detect_hypervisor();
  info.l2_shared_by = info.l3_shared_by = 1;
  detect_caches(info);
  detect_cores(info);
  info.logical_cpus = std::max(1, info.logical_cpus);
  info.physical_cores = std::clamp(info.physical_cores, 1, info.logical_cpus);
  return info;
}

// One group's limit in CPUs; 0 where there is none.
double quota_at(const std::string& folder) {
  double quota = 0, period = 0;
  if (std::ifstream v2(folder + "/cpu.max"); v2 >> quota >> period && quota > 0 && period > 0)
    return quota / period;  // the text "max" fails to parse, as it should
  std::ifstream v1_quota(folder + "/cpu.cfs_quota_us"), v1_period(folder + "/cpu.cfs_period_us");
  if (v1_quota >> quota && v1_period >> period && quota > 0 && period > 0) return quota / period;
  return 0;
}

bool lists_cpu(const std::string& controllers) {
  std::istringstream in(controllers);
  for (std::string name; std::getline(in, name, ',');)
    if (name == "cpu") return true;
  return false;
}

}  // namespace

std::vector<std::string> CpuInfo::feature_names() const {
  static constexpr const char* names[] = {
#define GS_NAME(feature) #feature,
      GS_CPU_FEATURES(GS_NAME)
#undef GS_NAME
  };
  std::vector<std::string> present;
  for (std::size_t i = 0; i < std::size(names); ++i)
    if (feature_bits >> i & 1) present.emplace_back(names[i]);
  return present;
}

const CpuInfo& cpu_info() {
  static const CpuInfo* info = new CpuInfo(detect());  // outlives every static destructor
  return *info;
}

double cgroup_cpu_quota(const std::string& proc_cgroup, const std::string& mount) {
  double least = 0;
  const auto visit = [&least](const std::string& root, std::string path) {
    for (;;) {  // the group itself, then its parents up to the mount
      const double quota = quota_at(root + path);
      if (quota > 0 && (least == 0 || quota < least)) least = quota;
      const auto slash = path.find_last_of('/');
      if (path.empty() || slash == std::string::npos) return;
      path.resize(slash);
    }
  };
  // Lines are id:controllers:path; v2 has the id 0 and no controllers. Inside a container the path
  // may name a folder of the host that is not mounted here: its parents' files are simply absent.
  std::ifstream in(proc_cgroup);
  for (std::string line; std::getline(in, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path == "/") path.clear();
    if (controllers.empty()) {
      visit(mount, path);
      visit(mount + "/unified", path);
    } else if (lists_cpu(controllers)) {
      visit(mount + "/cpu", path);
      if (controllers != "cpu") visit(mount + "/" + controllers, path);
    }
  }
  return least;
}

int usable_cpus() {
#if defined(__linux__)
  int cpus = int(allowed_cpus().size());
#else
  int cpus = 0;
#endif
  if (cpus < 1) cpus = cpu_info().logical_cpus;
  const double quota = cgroup_cpu_quota();
  if (quota > 0) cpus = std::min(cpus, int(std::ceil(quota)));
  return std::max(1, cpus);
}

}  // namespace gradsmith
