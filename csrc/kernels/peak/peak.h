// The machine's arithmetic limit: as many independent fused multiply-adds as the core can start.
//
// Formula: lanes of kPeakChains vectors, each x = x * a + b, `rounds` times.
// Contract: out has room for kPeakElements elements; the result is
// the number of floating point operations (a fused multiply-add counts as two).
// Idea: no memory traffic inside the loop, and enough chains to hide the latency of one.
// Constants: 12 chains hide 4 to 5 cycles on two units and leave 4 of 16 registers free.
// Measured: on one EPYC Zen 3 core (AVX2, 2026-11-23) it agrees with 2 FMA units * 8 lanes * clock;
// docs/benchmarks.md has the figures that use it.
#pragma once
#include <cstdint>

#include "kernels/kernel.h"

namespace gradsmith::kernels {

inline constexpr int kPeakChains = 12;
inline constexpr int kPeakElements = kPeakChains * 16;  // the widest vector has 16 lanes

struct PeakFma {
  void* out;  // kPeakElements; keeps the arithmetic from being optimised away
  std::int64_t rounds;
};
GS_KERNEL(peak_fma, std::int64_t(const PeakFma& args));

#if !defined(GS_ISA)
// Runs on `threads` threads at once; returns the operations of all of them together.
GS_API std::int64_t peak_fma_operations(DType dtype, std::int64_t rounds, int threads);
#endif

}  // namespace gradsmith::kernels
