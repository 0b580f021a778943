// Products by warp groups (9.0): every layout against float64, on two clusters of emulated
// multiprocessors that work on several tiles each, so that rings and phases go round.
#include "gemm_testing.h"

namespace {

void test_products() {
  for (const Kind& kind : {kBf16, kF16})
    for (bool a_t : {false, true})
      for (bool b_t : {false, true}) {
        const auto with = [&](auto change) {
          Case c{kind, 1, 1, 1, 1, a_t, b_t, GemmKernel::wgmma};
          change(c);
          check_product(c);
        };
        with([](Case& c) { c.m = 264, c.n = 296, c.k = 88, c.gap = 8; });
        if (kind.dtype == DType::bf16)
          with([](Case& c) {
            c.m = 24, c.n = 40, c.k = 328, c.batch = 3, c.alpha = 0.5f, c.beta = 2;
            c.bias = c.residual = c.narrow = true, c.activation = Activation::silu;
          });
      }
}

// Rows that copies of tiles cannot read, and devices without them.
void test_what_is_not_taken() {
  Tensor a(DType::bf16, 8, 12, 1, false, 0), b(DType::bf16, 12, 8, 1, false, 0);
  Tensor y(DType::f32, 8, 8, 1, false, 0);
  for (Tensor* t : {&a, &b}) t->fill([] { return uniform(-1, 1); });
  GemmArgs args{8,
                8,
                12,
                1,
                a.view,
                b.view,
                y.view,
                {},
                {},
                1,
                0,
                Activation::none,
                0,
                DType::bf16,
                DType::f32,
                Float32Math::fma,
                GemmKernel::wgmma};
  CHECK(api.gemm(0, &args, nullptr) != 0);
  CHECK(std::string(api.last_error()).find("rows on 16 bytes") != std::string::npos);
  args.kernel = GemmKernel::automatic;
  CHECK(api.gemm(0, &args, nullptr) == 0);
  cuda_emu::options().major = 8;
  Tensor wide(DType::bf16, 8, 16, 1, false, 0);
  wide.fill([] { return uniform(-1, 1); });
  args.a = wide.view;
  args.kernel = GemmKernel::wgmma;
  CHECK(api.gemm(0, &args, nullptr) != 0);
  cuda_emu::options().major = 9;
}

}  // namespace

int main() {
  cuda_emu::options().major = 9;
  test_products();
  test_what_is_not_taken();
  return gs_test::result();
}
