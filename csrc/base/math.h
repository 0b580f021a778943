// Small integer arithmetic.
#pragma once
#include <cstdint>

namespace gradsmith {

// Of a, at least 0, in parts of b: how many there are.
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace gradsmith
