// Element types. bf16 and f16 are storage types: arithmetic on them happens in float32.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace gradsmith {

enum class DType : std::uint8_t { f32, f64, bf16, f16, i64, i32, u8, b8 };
inline constexpr int kDTypes = 8;

// Upper half of a float32, rounded to nearest even. NaN stays NaN.
struct BFloat16 {
  std::uint16_t bits;
  BFloat16() = default;
  explicit BFloat16(float x) {
    std::uint32_t u;
    std::memcpy(&u, &x, 4);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = nan ? std::uint16_t((u >> 16) | 0x40u)
               : std::uint16_t((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  explicit operator float() const {
    const std::uint32_t u = std::uint32_t(bits) << 16;
    float x;
    std::memcpy(&x, &u, 4);
    return x;
  }
};

// IEEE binary16, rounded to nearest even, with denormals, infinities and NaN.
struct Float16 {
  std::uint16_t bits;
  Float16() = default;
  explicit Float16(float x) {
    std::uint32_t u;
    std::memcpy(&u, &x, 4);
    const std::uint32_t sign = (u >> 16) & 0x8000u;
    const std::uint32_t mag = u & 0x7fffffffu;
    if (mag > 0x7f800000u) {
      bits = std::uint16_t(sign | 0x7e00u | ((mag >> 13) & 0x3ffu));
    } else if (mag >= 0x47800000u) {  // 65536 and above
      bits = std::uint16_t(sign | 0x7c00u);
    } else if (mag < 0x38800000u) {  // below 2^-14: adding 0.5 lets the FPU round the denormal
      float magnitude;
      std::memcpy(&magnitude, &mag, 4);
      const float shifted = magnitude + 0.5f;
      std::uint32_t s;
      std::memcpy(&s, &shifted, 4);
      bits = std::uint16_t(sign | (s - 0x3f000000u));
    } else {
      const std::uint32_t odd = (mag >> 13) & 1u;
      bits = std::uint16_t(sign | ((mag - 0x38000000u + 0xfffu + odd) >> 13));
    }
  }
  explicit operator float() const {
    const std::uint32_t sign = std::uint32_t(bits & 0x8000u) << 16;
    const std::uint32_t mag = bits & 0x7fffu;
    std::uint32_t u;
    if (mag >= 0x7c00u) {
      u = sign | 0x7f800000u | ((mag & 0x3ffu) << 13);
    } else if (mag >= 0x400u) {
      u = sign | ((mag << 13) + 0x38000000u);
    } else {
      const float x = float(mag) * 5.9604644775390625e-8f;  // 2^-24
      std::memcpy(&u, &x, 4);
      u |= sign;
    }
    float x;
    std::memcpy(&x, &u, 4);
    return x;
  }
};

constexpr std::size_t itemsize(DType t) {
  constexpr std::size_t bytes[kDTypes] = {4, 8, 2, 2, 8, 4, 1, 1};
  return bytes[int(t)];
}
constexpr const char* name(DType t) {
  constexpr const char* names[kDTypes] = {"float32", "float64", "bfloat16", "float16",
                                          "int64",   "int32",   "uint8",    "bool"};
  return names[int(t)];
}
constexpr bool is_floating(DType t) { return int(t) <= int(DType::f16); }

// C++ type of a dtype: CppType<DType::f32> is float; and back: dtype_of<float> is DType::f32.
template <DType>
struct CppTypeOf;
template <class T>
struct DTypeOf;
// clang-format off
#define GS_DTYPES(X) \
  X(f32, float) X(f64, double) X(bf16, BFloat16) X(f16, Float16) X(i64, std::int64_t) \
  X(i32, std::int32_t) X(u8, std::uint8_t) X(b8, bool)
// clang-format on
#define GS_MAP(tag, T)                         \
  template <>                                  \
  struct CppTypeOf<DType::tag> {               \
    using type = T;                            \
  };                                           \
  template <>                                  \
  struct DTypeOf<T> {                          \
    static constexpr DType value = DType::tag; \
  };
GS_DTYPES(GS_MAP)
#undef GS_MAP
template <DType D>
using CppType = typename CppTypeOf<D>::type;
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

}  // namespace gradsmith
