#include "kernels/peak/peak.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

template <class V>
std::int64_t run(const PeakFma& args) {
  using T = typename V::T;
  const V a = V::set(T(0.5)), b = V::set(T(1));
  V x[kPeakChains];
#pragma GCC unroll 16
  for (int c = 0; c < kPeakChains; ++c) x[c] = V::set(T(c));
  for (std::int64_t r = 0; r < args.rounds; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < kPeakChains; ++c) x[c] = fma(x[c], a, b);
  }
#pragma GCC unroll 16
  for (int c = 0; c < kPeakChains; ++c) store(static_cast<T*>(args.out) + c * V::N, x[c]);
  return 2 * kPeakChains * V::N * args.rounds;
}

#if defined(GS_ISA_IS_avx512_bf16)
// x = x + a * b for two pairs a lane.
std::int64_t run_pairs(const PeakFma& args) {
  const F32 a = as_float(Int<float>::set(0x3f003f00u)), b = a;  // 0.5 and 0.5
  F32 x[kPeakChains];
#pragma GCC unroll 16
  for (int c = 0; c < kPeakChains; ++c) x[c] = F32::set(float(c));
  for (std::int64_t r = 0; r < args.rounds; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < kPeakChains; ++c) x[c] = dot_pairs(a, b, x[c]);
  }
#pragma GCC unroll 16
  for (int c = 0; c < kPeakChains; ++c) store(static_cast<float*>(args.out) + c * F32::N, x[c]);
  return 4 * kPeakChains * F32::N * args.rounds;
}
#endif

}  // namespace

#if defined(GS_ISA_IS_avx512_bf16)
std::int64_t peak_fma_bf16(const PeakFma& args) { return run_pairs(args); }
#else
// Without a dot product a product of bfloat16 is one of float32.
std::int64_t peak_fma_bf16(const PeakFma& args) { return run<F32>(args); }
#endif
std::int64_t peak_fma_f32(const PeakFma& args) { return run<Vec<float>>(args); }
std::int64_t peak_fma_f64(const PeakFma& args) { return run<Vec<double>>(args); }

}  // namespace gradsmith::kernels::GS_ISA
