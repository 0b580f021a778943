// Denormal numbers count as zero, as operands and as results, between flush_denormals() and
// restore_denormals() of what it returned: what the processors' bfloat16 dot products do whatever
// the mode. Two functions, for an object with a destructor would need tables for exceptions.
#pragma once
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

#if defined(__SSE__)
GS_INLINE std::uint64_t flush_denormals() {
  const unsigned before = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(before | 0x8040u);  // flush to zero, denormals are zero
  return before;
}
GS_INLINE void restore_denormals(std::uint64_t mode) { __builtin_ia32_ldmxcsr(unsigned(mode)); }
#elif defined(__aarch64__)
GS_INLINE std::uint64_t flush_denormals() {
  std::uint64_t before;
  asm volatile("mrs %0, fpcr" : "=r"(before));
  asm volatile("msr fpcr, %0" ::"r"(before | (1ull << 24)));
  return before;
}
GS_INLINE void restore_denormals(std::uint64_t mode) { asm volatile("msr fpcr, %0" ::"r"(mode)); }
#else
GS_INLINE std::uint64_t flush_denormals() { return 0; }
GS_INLINE void restore_denormals(std::uint64_t) {}
#endif

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
