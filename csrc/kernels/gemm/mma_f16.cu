// float16 products on tensor cores; see mma.cuh.
#include "kernels/gemm/mma.cuh"

namespace gradsmith::cuda {
namespace {

struct Math {
  using Element = Half16;
  static constexpr int kParts = 1;
  static constexpr bool kFresh = false;

  static __device__ void split(const std::uint32_t (&words)[4], std::uint32_t (&parts)[1][4]) {
    GS_UNROLL
    for (int w = 0; w < 4; ++w) parts[0][w] = words[w];
  }
  static __device__ void product(float (&d)[4], const std::uint32_t (&a)[1][4],
                                 const std::uint32_t (&b)[1][2]) {
    mma_f16(d, a[0], b[0]);
  }
};

}  // namespace

int gemm_f16(const GemmArgs& g, void* stream) { return gemm_mma<Math>(g, stream); }

}  // namespace gradsmith::cuda
