// The emulator finds bugs: kernels with one planted in each (planted.cmake) give other results, or
// stop with a message, in at least one schedule. Each runs in a process of its own.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "cpp/check.h"
#include "kernels/cuda/status.h"
#include "runtime/cuda_abi.h"

namespace gradsmith::cuda {

int fail(Status status, std::string) { return status; }
int check(const char*, cudaError_t error) { return error == cudaSuccess ? kOk : kFailed; }

using Wgmma = int(const GemmArgs& g, bool only_if_worth_it, bool* done, void* stream);
using Mma = int(const GemmArgs& g, void* stream);
// The numbers in planted.cmake. 0 is the kernel as it is.
// clang-format off
#define GS_PLANTED_WGMMA(X) \
  X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17)
#define GS_PLANTED_MMA(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6)
// clang-format on
#define GS_DECLARE(number) Wgmma gemm_wgmma_planted_##number;
GS_PLANTED_WGMMA(GS_DECLARE)
#undef GS_DECLARE
#define GS_DECLARE(number) Mma gemm_bf16_planted_##number;
GS_PLANTED_MMA(GS_DECLARE)
#undef GS_DECLARE

}  // namespace gradsmith::cuda

using namespace gradsmith;
using namespace gradsmith::cuda;

namespace {

// Factors have NaN behind them.
constexpr std::int64_t kM = 200, kN = 72, kK = 392, kTail = 64;

struct Data {
  std::vector<std::uint16_t> a, b;
  std::vector<float> y;

  Data() : a(kM * kK + kTail, 0x7fff), b(kK * kN + kTail, 0x7fff), y(kM * kN) {
    std::uint32_t state = 1;
    const auto fill = [&](std::vector<std::uint16_t>& values, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) {
        state = state * 1664525 + 1013904223;
        values[std::size_t(i)] = BFloat16(float(state >> 8) * 0x1p-23f - 1).bits;
      }
    };
    fill(a, kM * kK);
    fill(b, kK * kN);
  }
  GemmArgs args(std::int64_t k) {
    return {kM,
            kN,
            k,
            1,
            {a.data(), kK, 1, 0},
            {b.data(), 1, kK, 0},
            {y.data(), kN, 1, 0},
            {},
            {},
            1,
            0,
            Activation::none,
            0,
            DType::bf16,
            DType::f32,
            Float32Math::fma,
            GemmKernel::tile64};
  }
};
Data data;

int run(Wgmma* kernel) {
  bool done = false;
  GemmArgs g = data.args(kK);
  return kernel(g, false, &done, nullptr) + !done;
}
// Not all of k: what lies behind the end of a row is not zero.
int run(Mma* kernel) { return kernel(data.args(kK - 3), nullptr); }

template <class Kernel>
bool goes_wrong(Kernel* kernel, const std::vector<float>& right) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    if (!std::freopen("/dev/null", "w", stderr)) _exit(1);
    alarm(60);
    for (const cuda_emu::Schedule schedule : cuda_emu::kSchedules) {
      cuda_emu::options().schedule = schedule;
      std::fill(data.y.begin(), data.y.end(), NAN);
      if (run(kernel) != 0 ||
          std::memcmp(data.y.data(), right.data(), right.size() * sizeof(float)) != 0)
        _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

template <class Kernel>
void check_planted(const char* name, const std::vector<Kernel*>& kernels) {
  CHECK(run(kernels[0]) == 0);
  const std::vector<float> right = data.y;
  CHECK(!goes_wrong(kernels[0], right));
  for (std::size_t i = 1; i < kernels.size(); ++i)
    if (!goes_wrong(kernels[i], right))
      gs_test::report(__FILE__, __LINE__,
                      std::string(name) + ": planted bug " + std::to_string(i) + " not found");
}

}  // namespace

int main() {
  cuda_emu::options().major = 9;
#define GS_NAME(number) gemm_wgmma_planted_##number,
  check_planted<Wgmma>("wgmma", {GS_PLANTED_WGMMA(GS_NAME)});
#undef GS_NAME
#define GS_NAME(number) gemm_bf16_planted_##number,
  check_planted<Mma>("mma", {GS_PLANTED_MMA(GS_NAME)});
#undef GS_NAME
  return gs_test::result();
}
