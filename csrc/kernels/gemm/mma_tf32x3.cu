// float32 products on tensor cores, as accurate as float32's own (3xTF32; Ootomo and Yokota 2022).
//
// Idea        x = big + small + r: big is x rounded to TF32's 11 bits, small the rest rounded to
//             11 bits, both differences exact. A product is three: small big, big small, big big.
// Bound       |r| <= 2^-22 |x|, and what is left out, small small, is <= 2^-22 |a b|: the factors
//             cost 3 2^-22 |a b|. Tensor cores cut sums off instead of rounding them, an error
//             that does not average out; so the products of a slice, 16 depths, are summed from
//             zero, and slices are added in ordinary float32. Four products and the sum before are
//             cut off 24 bits below the largest of them, and the result at 23: 7 2^-24 of a slice's
//             sum, 12 times a slice (two steps, three products, two groups of four). In all
//
//                 |error| <= (96 + ceil(k / 16)) 2^-24 sum |a b|
//
//             where float32's chain has k 2^-24 sum |a b|: the smaller bound from k = 103 on.
// Range       Factors from 2^128 - 2^115 on are rounded to infinity, and a product with an infinite
//             factor may be NaN where float32's is infinite. Where |a b| is below 2^-100 or so, or
//             a factor below 2^-110, the small parts are cut short by the end of float32's range.
// Cost        3 products for one of TF32, and 4 operations for each word of factors: 96 for the 48
//             products of a step.
#include "kernels/gemm/mma.cuh"

namespace gradsmith::cuda {
namespace {

struct Math {
  using Element = float;
  static constexpr int kParts = 2;
  static constexpr bool kFresh = true;

  static __device__ void split(const std::uint32_t (&words)[4], std::uint32_t (&parts)[2][4]) {
    GS_UNROLL
    for (int w = 0; w < 4; ++w) {
      const float x = __uint_as_float(words[w]), big = round_to_tf32(x);
      parts[0][w] = __float_as_uint(big);
      parts[1][w] = __float_as_uint(round_to_tf32(x - big));
    }
  }
  static __device__ void product(float (&d)[4], const std::uint32_t (&a)[2][4],
                                 const std::uint32_t (&b)[2][2]) {
    mma_tf32(d, a[1], b[0]);  // the small ones first, while the sum is small
    mma_tf32(d, a[0], b[1]);
    mma_tf32(d, a[0], b[0]);
  }
};

}  // namespace

int gemm_tf32x3(const GemmArgs& g, void* stream) { return gemm_mma<Math>(g, stream); }

}  // namespace gradsmith::cuda
