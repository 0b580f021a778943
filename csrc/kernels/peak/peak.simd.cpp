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

}  // namespace

std::int64_t peak_fma_f32(const PeakFma& args) { return run<Vec<float>>(args); }
std::int64_t peak_fma_f64(const PeakFma& args) { return run<Vec<double>>(args); }

}  // namespace gradsmith::kernels::GS_ISA
