// The emulator finds bugs: kernels with one planted in each (planted.cmake) give other results, or
// stop with a message, in at least one schedule. Each runs in a process of its own.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <utility>
#include <vector>

#include "cpp/check.h"
#include "kernels/cuda/status.h"
#include "runtime/cuda_abi.h"

namespace gradsmith::cuda {

int fail(Status status, std::string) { return status; }
int check(const char*, cudaError_t error) { return error == cudaSuccess ? kOk : kFailed; }

using Wgmma = int(const GemmArgs& g, bool only_if_worth_it, bool* done, void* stream);
using Mma = int(const GemmArgs& g, void* stream);
template <int kNumber>
Wgmma* planted_wgmma();
template <int kNumber>
Mma* planted_mma();

#define GS_PLANTED(number)              \
  Wgmma gemm_wgmma_planted_##number;    \
  template <>                           \
  Wgmma* planted_wgmma<number>() {      \
    return gemm_wgmma_planted_##number; \
  }
GS_PLANTED(0)
GS_PLANTED(1) GS_PLANTED(2) GS_PLANTED(3) GS_PLANTED(4) GS_PLANTED(5) GS_PLANTED(6) GS_PLANTED(7)
    GS_PLANTED(8) GS_PLANTED(9) GS_PLANTED(10) GS_PLANTED(11) GS_PLANTED(12) GS_PLANTED(13)
        GS_PLANTED(14) GS_PLANTED(15) GS_PLANTED(16) GS_PLANTED(17)
#undef GS_PLANTED
#define GS_PLANTED(number)             \
  Mma gemm_bf16_planted_##number;      \
  template <>                          \
  Mma* planted_mma<number>() {         \
    return gemm_bf16_planted_##number; \
  }
            GS_PLANTED(0) GS_PLANTED(1) GS_PLANTED(2) GS_PLANTED(3) GS_PLANTED(4) GS_PLANTED(5)
                GS_PLANTED(6)
#undef GS_PLANTED

}  // namespace gradsmith::cuda

using namespace gradsmith;
using namespace gradsmith::cuda;

namespace {

// Memory that ends where a page does that nobody may touch would be better; NaN behind it has to
// do.
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
void check_planted(const char* name, Kernel* right, const std::vector<Kernel*>& planted) {
  CHECK(run(right) == 0);
  const std::vector<float> expected = data.y;
  CHECK(!goes_wrong(right, expected));
  for (std::size_t i = 0; i < planted.size(); ++i)
    if (!goes_wrong(planted[i], expected))
      gs_test::report(__FILE__, __LINE__,
                      std::string(name) + ": planted bug " + std::to_string(i + 1) + " not found");
}

template <int... kNumbers>
std::vector<Wgmma*> all_wgmma(std::integer_sequence<int, kNumbers...>) {
  return {planted_wgmma<kNumbers + 1>()...};
}
template <int... kNumbers>
std::vector<Mma*> all_mma(std::integer_sequence<int, kNumbers...>) {
  return {planted_mma<kNumbers + 1>()...};
}

}  // namespace

int main() {
  cuda_emu::options().major = 9;
  check_planted("wgmma", planted_wgmma<0>(), all_wgmma(std::make_integer_sequence<int, 17>()));
  check_planted("mma", planted_mma<0>(), all_mma(std::make_integer_sequence<int, 6>()));
  return gs_test::result();
}
