#include <cmath>

#include "kernels/peak/peak.h"

namespace gradsmith::kernels::reference {
namespace {

template <class T>
std::int64_t peak_fma(const PeakFma& args) {
  auto* x = static_cast<T*>(args.out);
  for (int c = 0; c < kPeakChains; ++c) {
    T value = T(c);
    for (std::int64_t r = 0; r < args.rounds; ++r) value = std::fma(value, T(0.5), T(1));
    x[c] = value;
  }
  return 2 * kPeakChains * args.rounds;
}

}  // namespace

std::int64_t peak_fma_f32(const PeakFma& args) { return peak_fma<float>(args); }
std::int64_t peak_fma_bf16(const PeakFma& args) { return peak_fma<float>(args); }
std::int64_t peak_fma_f64(const PeakFma& args) { return peak_fma<double>(args); }

}  // namespace gradsmith::kernels::reference
