// How the types of ops are written in stubs. _Size, _Number, _DType and _Device are aliases in
// tools/core_head.pyi; _int and so on are Python's own, which ops of the same name hide.
#pragma once
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <variant>
#include <vector>

#include "gradsmith/tensor.h"

namespace gradsmith::python {

template <class T>
struct TypeName {
  static std::string parameter() { return "Any"; }
  static std::string result() { return "Any"; }
};

template <class T>
std::string parameter_type() {
  return TypeName<T>::parameter();
}
template <class T>
std::string result_type() {
  if constexpr (std::is_void_v<T>)
    return "None";
  else
    return TypeName<T>::result();
}

#define GS_TYPE_NAME(type, as_parameter, as_result)         \
  template <>                                               \
  struct TypeName<type> {                                   \
    static std::string parameter() { return as_parameter; } \
    static std::string result() { return as_result; }       \
  };
GS_TYPE_NAME(Tensor, "Tensor", "Tensor")
GS_TYPE_NAME(Operand, "Tensor | _Number", "Tensor")
GS_TYPE_NAME(bool, "_bool", "_bool")
GS_TYPE_NAME(std::int64_t, "_int", "_int")
GS_TYPE_NAME(double, "_float", "_float")
GS_TYPE_NAME(std::string, "_str", "_str")
GS_TYPE_NAME(Dims, "_Size", "tuple[_int, ...]")
GS_TYPE_NAME(DType, "_DType", "_dtype")
GS_TYPE_NAME(Device, "_Device", "_device")
#undef GS_TYPE_NAME

template <class T>
struct TypeName<std::optional<T>> {
  static std::string parameter() { return TypeName<T>::parameter() + " | None"; }
  static std::string result() { return TypeName<T>::result() + " | None"; }
};
template <class T>
struct TypeName<std::vector<T>> {
  static std::string parameter() { return "Sequence[" + TypeName<T>::parameter() + "]"; }
  static std::string result() { return "tuple[" + TypeName<T>::result() + ", ...]"; }
};
template <class First, class... Rest>
struct TypeName<std::tuple<First, Rest...>> {
  static std::string result() {
    return "tuple[" + (TypeName<First>::result() + ... + (", " + TypeName<Rest>::result())) + "]";
  }
};
template <class First, class... Rest>
struct TypeName<std::variant<First, Rest...>> {
  static std::string parameter() {
    return (TypeName<First>::parameter() + ... + (" | " + TypeName<Rest>::parameter()));
  }
  static std::string result() {
    return (TypeName<First>::result() + ... + (" | " + TypeName<Rest>::result()));
  }
};

}  // namespace gradsmith::python
