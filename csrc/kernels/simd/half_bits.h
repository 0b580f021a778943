// bfloat16 and binary16 in integer arithmetic, one element at a time: for targets without an
// instruction. Written so that the compiler can vectorise a loop over it.
#pragma once
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

GS_INLINE std::uint32_t float_bits(float x) { return __builtin_bit_cast(std::uint32_t, x); }
GS_INLINE float bits_float(std::uint32_t u) { return __builtin_bit_cast(float, u); }

GS_INLINE float bf16_to_float(std::uint16_t h) { return bits_float(std::uint32_t(h) << 16); }
GS_INLINE std::uint16_t float_to_bf16(float x) {
  const std::uint32_t u = float_bits(x);
  const std::uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
  return std::uint16_t(nan ? (u >> 16) | 0x40u : rounded);
}

GS_INLINE float f16_to_float(std::uint16_t h) {
  const std::uint32_t sign = std::uint32_t(h & 0x8000u) << 16;
  const std::uint32_t magnitude = h & 0x7fffu;
  const std::uint32_t normal = (magnitude << 13) + 0x38000000u;
  const std::uint32_t special = 0x7f800000u | (magnitude << 13) | (magnitude > 0x7c00u) << 22;
  const std::uint32_t denormal = float_bits(float(int(magnitude)) * 5.9604644775390625e-8f);
  const std::uint32_t finite = magnitude >= 0x400u ? normal : denormal;
  return bits_float(sign | (magnitude >= 0x7c00u ? special : finite));
}
GS_INLINE std::uint16_t float_to_f16(float x) {
  const std::uint32_t u = float_bits(x);
  const std::uint32_t sign = (u >> 16) & 0x8000u;
  const std::uint32_t magnitude = u & 0x7fffffffu;
  const std::uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Below 2^-14, adding 0.5 makes the addition round at the denormal's last place.
  const std::uint32_t denormal = float_bits(bits_float(magnitude) + 0.5f) - 0x3f000000u;
  const std::uint32_t nan = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  const std::uint32_t infinite = magnitude > 0x7f800000u ? nan : 0x7c00u;
  const std::uint32_t finite = magnitude < 0x38800000u ? denormal : normal;
  return std::uint16_t(sign | (magnitude >= 0x47800000u ? infinite : finite));
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
