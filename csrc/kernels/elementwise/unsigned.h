// Unsigned<T>::type: in which the integers of T are computed.
#pragma once
#include <cstdint>

namespace gradsmith::kernels::GS_ISA {
namespace {

// Arithmetic happens in an unsigned type that is at least int: no overflow, no promotion surprises.
template <class T>
struct Unsigned {
  using type = std::uint64_t;
};
template <>
struct Unsigned<std::int32_t> {
  using type = std::uint32_t;
};
template <>
struct Unsigned<std::uint8_t> {
  using type = unsigned;
};

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
