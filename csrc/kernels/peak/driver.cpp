#include <atomic>

#include "kernels/peak/peak.h"
#include "runtime/parallel.h"

namespace gradsmith::kernels {

std::int64_t peak_fma_operations(DType dtype, std::int64_t rounds, int threads) {
  const auto kernel = peak_fma.pick(dtype);
  std::atomic<std::int64_t> operations{0};
  parallel_team(threads, [&](int, int) {
    alignas(64) double out[kPeakElements];
    operations += kernel({out, rounds});
  });
  return operations;
}

}  // namespace gradsmith::kernels
