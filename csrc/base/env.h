// Environment variables. Every one the library reads starts with GRADSMITH_ and is named in
// ARCHITECTURE.md. A value that makes no sense is an error that says what is allowed.
#pragma once
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/check.h"

namespace gradsmith {

// The variable's text, or `fallback` where it is unset or empty.
inline std::string env_string(const char* name, const char* fallback = "") {
  const char* text = std::getenv(name);
  return text && *text ? text : fallback;
}

// The variable as a whole number in [low, high], or `fallback` where it is unset or empty.
inline std::int64_t env_int(const char* name, std::int64_t fallback, std::int64_t low,
                            std::int64_t high) {
  const char* text = std::getenv(name);
  if (!text || !*text) return fallback;
  char* end = nullptr;
  errno = 0;
  const long long value = std::strtoll(text, &end, 10);
  GS_CHECK(*end == '\0' && errno == 0 && value >= low && value <= high,
           "{} is '{}'; it must be a whole number from {} to {}", name, text, low, high);
  return value;
}

}  // namespace gradsmith
