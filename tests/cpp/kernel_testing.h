// Small tools for tests of kernel families: a failure counter, poisoned arrays between guard
// zones, random data, and every target x dtype in turn.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/registry.h"
#include "runtime/workspace.h"

namespace gradsmith::testing {

inline int failures = 0;

inline void report(bool ok, const std::string& what) {
  if (ok) return;
  if (++failures <= 20) std::fprintf(stderr, "FAILED %s\n", what.c_str());
}

inline int finish(const char* suite) {
  std::printf("%s: %s (%d failures)\n", suite, failures ? "FAILED" : "ok", failures);
  return failures ? 1 : 0;
}

// Output memory: filled with NaN (or -1 for integers) and framed by zones that must survive.
template <class T>
class Poisoned {
 public:
  explicit Poisoned(std::int64_t n) : n_(n), values_(std::size_t(n + 2 * kGuard), poison()) {
    for (int i = 0; i < kGuard; ++i)
      values_[std::size_t(i)] = values_[std::size_t(n + kGuard + i)] = T(kMark);
  }
  T* data() { return values_.data() + kGuard; }
  std::int64_t size() const { return n_; }
  const T* begin() const { return values_.data() + kGuard; }
  T operator[](std::int64_t i) const { return values_[std::size_t(i + kGuard)]; }
  bool frame_intact() const {
    for (int i = 0; i < kGuard; ++i)
      if (values_[std::size_t(i)] != T(kMark) || values_[std::size_t(n_ + kGuard + i)] != T(kMark))
        return false;
    return true;
  }

 private:
  static constexpr int kGuard = 32, kMark = 77;
  static T poison() {
    if constexpr (std::is_floating_point_v<T>) {
      return std::numeric_limits<T>::quiet_NaN();
    } else {
      return T(-1);
    }
  }
  std::int64_t n_;
  std::vector<T> values_;
};

template <class T>
std::vector<T> random_values(std::int64_t n, std::uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal;
  std::vector<T> values(std::size_t(n), T(0));  // NOLINT: resized once
  for (T& v : values) v = T(normal(engine));
  return values;
}

// Fills the calling thread's scratch memory: results must not depend on what lies there. Bytes of
// 0xff are NaN.
inline void fill_scratch(unsigned char byte) {
  constexpr std::int64_t kBytes = 4 << 20;
  Workspace ws;
  std::memset(ws.get<char>(kBytes), byte, std::size_t(kBytes));
}

template <class T>
bool same_bits(const Poisoned<T>& a, const Poisoned<T>& b) {
  for (std::int64_t i = 0; i < a.size(); ++i) {
    const bool both_nan = a[i] != a[i] && b[i] != b[i];
    if (!both_nan && !(a[i] == b[i] && std::signbit(double(a[i])) == std::signbit(double(b[i]))))
      return false;
  }
  return a.size() == b.size();
}

// fn(target name) with every target this machine can run, the reference excepted.
template <class F>
void for_each_target(F&& fn) {
  for (kernels::Target target : kernels::supported_targets()) {
    if (target == kernels::Target::reference) continue;
    kernels::set_target(kernels::name(target));
    fill_scratch(0xff);
    fn(kernels::name(target));
  }
  kernels::set_target("auto");
}

}  // namespace gradsmith::testing
