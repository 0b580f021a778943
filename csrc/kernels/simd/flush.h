// Denormal numbers count as zero, as operands and as results, while an object of this class lives:
// what the processors' bfloat16 dot products do whatever the mode.
#pragma once
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

class FlushDenormals {
 public:
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
#if defined(__SSE__)
  FlushDenormals() : before(__builtin_ia32_stmxcsr()) {
    __builtin_ia32_ldmxcsr(before | 0x8040u);  // flush to zero, denormals are zero
  }
  ~FlushDenormals() { __builtin_ia32_ldmxcsr(before); }

 private:
  const unsigned before;
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before));
    asm volatile("msr fpcr, %0" ::"r"(before | (1ull << 24)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before)); }

 private:
  unsigned long long before;
#else
  FlushDenormals() {}
  ~FlushDenormals() {}
#endif
};

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
