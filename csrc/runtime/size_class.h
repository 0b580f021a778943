// Size classes of the caching allocators: every 64 bytes up to 1 KB, then eight per power of two,
// so that at most 12.5 % of a block is lost.
#pragma once
#include <array>
#include <bit>
#include <cstddef>

namespace gradsmith {

inline constexpr int kLinearClasses = 16, kStepsLog2 = 3, kSteps = 1 << kStepsLog2;
inline constexpr int kMinLog2 = 10, kMaxLog2 = 47;
inline constexpr int kClasses = kLinearClasses + (kMaxLog2 - kMinLog2) * kSteps;
inline constexpr std::size_t kMaxBytes = std::size_t(1) << kMaxLog2;  // of one block

// The smallest class that holds `bytes` (at most kMaxBytes).
constexpr int size_class(std::size_t bytes) {
  if (bytes <= 1024) return bytes == 0 ? 0 : int((bytes - 1) / 64);
  const std::size_t last = bytes - 1;
  const int log2 = std::bit_width(last) - 1;
  return kLinearClasses + (log2 - kMinLog2) * kSteps +
         int(last >> (log2 - kStepsLog2) & (kSteps - 1));
}

inline constexpr auto kClassBytes = [] {
  std::array<std::size_t, kClasses> bytes{};
  for (int k = 0; k < kLinearClasses; ++k) bytes[std::size_t(k)] = std::size_t(k + 1) * 64;
  for (int k = kLinearClasses; k < kClasses; ++k) {
    const int log2 = kMinLog2 + (k - kLinearClasses) / kSteps;
    const int step = (k - kLinearClasses) % kSteps + 1;
    bytes[std::size_t(k)] = (std::size_t(1) << log2) + (std::size_t(step) << (log2 - kStepsLog2));
  }
  return bytes;
}();
constexpr std::size_t class_bytes(int k) { return kClassBytes[std::size_t(k)]; }

}  // namespace gradsmith
