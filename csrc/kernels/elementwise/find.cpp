// Elementwise kernels by name, for callers outside the library, who cannot see the tables.
#include "kernels/elementwise/elementwise.h"

namespace gradsmith::kernels {

UnaryByName find_unary(std::string_view name) {
#define GS_ROW(op, dtype) \
  if (name == #op) return {&op, false};
#include "kernels/elementwise/unary_float.inc"
#include "kernels/elementwise/unary_int.inc"
#undef GS_ROW
#define GS_ROW(op, dtype) \
  if (name == #op) return {&op, true};
#include "kernels/elementwise/predicate.inc"
#undef GS_ROW
  return {};
}

BinaryByName find_binary(std::string_view name) {
#define GS_ROW(op, dtype) \
  if (name == #op) return {&op, false};
#include "kernels/elementwise/binary_float.inc"
#include "kernels/elementwise/binary_int.inc"
#undef GS_ROW
#define GS_ROW(op, dtype) \
  if (name == #op) return {&op, true};
#include "kernels/elementwise/compare.inc"
#undef GS_ROW
  return {};
}

}  // namespace gradsmith::kernels
