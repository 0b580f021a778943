// main() of a test that is compiled once per target: exits with 77 where the CPU lacks the target.
#pragma once

#if defined(GS_EMULATED) || defined(GS_ISA_IS_scalar) || defined(GS_ISA_IS_neon)
#define GS_CPU_HAS_TARGET true
#elif defined(GS_ISA_IS_avx512)
#define GS_CPU_HAS_TARGET                                                     \
  (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && \
   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
#else
#define GS_CPU_HAS_TARGET (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#endif

int main(int argc, char** argv) {
  return GS_CPU_HAS_TARGET ? gradsmith::kernels::GS_ISA::run(argc, argv) : 77;
}
