// Matrix products on tensor cores: every kind of factors, layout and tile, against float64 and
// against the model of the tensor cores, bit for bit.
#include "gemm_testing.h"

namespace {

void test_products() {
  for (const Kind& kind : {kBf16, kF16, kTf32, kTf32x3})
    for (bool a_t : {false, true})
      for (bool b_t : {false, true}) {
        const auto base = Case{kind, 1, 1, 1, 1, a_t, b_t};
        const auto with = [&](auto change) {
          Case c = base;
          change(c);
          check_product(c);
        };
        // tile - 1, tile, tile + 1, primes; aligned rows and rows that are not; deep enough that
        // the ring of slots is used again.
        with([](Case& c) { c.m = 64, c.n = 64, c.k = 200, c.gap = 0; });
        with([](Case& c) { c.m = 63, c.n = 65, c.k = 33, c.gap = 0, c.narrow = true; });
        with([](Case& c) { c.m = 17, c.n = 7, c.k = 31, c.gap = 3, c.c_transposed = true; });
        with([](Case& c) { c.m = 1, c.n = 3, c.k = 1, c.step = 2; });
        with([](Case& c) {
          c.m = 40, c.n = 24, c.k = 24, c.batch = 3, c.gap = 8, c.alpha = 0.5f, c.beta = 2;
          c.bias = c.residual = c.narrow = true, c.activation = Activation::silu;
        });
        with([](Case& c) {
          c.m = 130, c.n = 72, c.k = 96, c.kernel = GemmKernel::tile128, c.bias = true;
          c.activation = Activation::relu;
        });
      }
  check_product({kBf16, 9, 8, 0, 2, false, false, GemmKernel::automatic, 0, 1, false, false, 1, 0,
                 Activation::gelu, true});
  check_product({kBf16, 9, 8, 5, 1, false, false, GemmKernel::automatic, 0, 1, true, false, 0, 1});
  check_product({kTf32x3, 0, 8, 5});
}

// The order of the sums is that of k, in groups of 8 (of tf32, 4), whatever the tile.
void test_bits() {
  constexpr std::int64_t m = 19, n = 10, k = 70;
  for (const Kind& kind : {kBf16, kF16, kTf32}) {
    Tensor a(kind.dtype, m, k, 1, false, 2), b(kind.dtype, k, n, 1, true, 2);
    Tensor y(DType::f32, m, n, 1, false, 0);
    for (Tensor* t : {&a, &b})
      t->fill([] { return std::ldexp(uniform(-1, 1), int(uniform(-9, 9))); });
    for (GemmKernel kernel : {GemmKernel::tile64, GemmKernel::tile128}) {
      const GemmArgs args{m,      n,          k,          1,         a.view, b.view,
                          y.view, {},         {},         1,         0,      Activation::none,
                          0,      kind.dtype, DType::f32, kind.math, kernel};
      CHECK(api.gemm(0, &args, nullptr) == 0);
      const int group = kind.dtype == DType::f32 ? 4 : 8;
      for (std::int64_t i = 0; i < m; ++i)
        for (std::int64_t j = 0; j < n; ++j) {
          float sum = 0;
          for (std::int64_t p = 0; p < k; p += group) {
            double products[8] = {};
            for (std::int64_t q = p; q < std::min(p + group, k); ++q)
              products[q - p] = taken(kind, a.at(0, i, q)) * taken(kind, b.at(0, q, j));
            sum = cuda_emu::fused_sum(sum, products, group);
          }
          if (float(y.at(0, i, j)) != sum)
            return gs_test::report(__FILE__, __LINE__, std::string(kind.name) + ": other bits");
        }
    }
  }
}

// 3xTF32: the bound of mma_tf32x3.cu holds, and errors are no larger than those of float32.
void test_accuracy() {
  struct Data {
    const char* name;
    double (*value)();
  };
  const Data kinds[] = {
      {"uniform", [] { return uniform(-1, 1); }},
      {"positive", [] { return uniform(0, 1); }},
      {"wide", [] { return std::ldexp(uniform(-1, 1), int(uniform(-30, 30))); }},
      {"nearly a power of two", [] { return 1 + uniform(-1, 1) * 0x1p-11; }},
      {"small", [] { return uniform(-1, 1) * 0x1p-50; }},
  };
  constexpr std::int64_t m = 24, n = 16;
  for (const Data& data : kinds)
    for (std::int64_t k : {std::int64_t(16), std::int64_t(120), std::int64_t(2000)}) {
      Tensor a(DType::f32, m, k, 1, false, 0), b(DType::f32, k, n, 1, false, 0);
      Tensor y(DType::f32, m, n, 1, false, 0);
      a.fill(data.value);
      b.fill(data.value);
      double squares[2] = {}, worst = 0;
      for (const Kind& kind : {kFma, kTf32x3}) {
        const GemmArgs args{m,
                            n,
                            k,
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
                            kind.dtype,
                            DType::f32,
                            kind.math,
                            GemmKernel::tile64};
        CHECK(api.gemm(0, &args, nullptr) == 0);
        const bool tensor_cores = kind.math == Float32Math::tf32x3;
        for (std::int64_t i = 0; i < m; ++i)
          for (std::int64_t j = 0; j < n; ++j) {
            double sum = 0, size = 0;
            for (std::int64_t p = 0; p < k; ++p) {
              sum += a.at(0, i, p) * b.at(0, p, j);
              size += std::abs(a.at(0, i, p) * b.at(0, p, j));
            }
            const double error = std::abs(y.at(0, i, j) - sum) / size;
            squares[tensor_cores] += error * error;
            const double bound = double(96 + (k + 15) / 16) * 0x1p-24;
            if (tensor_cores) worst = std::max(worst, std::isnan(error) ? 1e9 : error / bound);
          }
      }
      const double ratio = std::sqrt(squares[1] / squares[0]);
      if (worst > 1 || ratio > (k < 100 ? 4 : 1.5))
        gs_test::report(__FILE__, __LINE__,
                        std::string("tf32x3 ") + data.name + " k " + std::to_string(k) + ": " +
                            std::to_string(worst) + " bounds, " + std::to_string(ratio));
    }
}

void test_model() {
  const auto sum = [](float start, std::initializer_list<double> products) {
    return cuda_emu::fused_sum(start, products.begin(), int(products.size()));
  };
  CHECK(sum(1, {2, 3, -6}) == 0 && sum(0, {0, 0}) == 0 && sum(-2.5f, {}) == -2.5f);
  CHECK(sum(1, {0x1p-24, 0x1p-24}) == 1 + 0x1p-23f);  // each in the extra bit, together a bit
  CHECK(sum(1, {0x1p-25, 0x1p-25, 0x1p-25, 0x1p-25}) == 1);    // each cut off
  CHECK(sum(1, {0x1p-24}) == 1 && sum(-1, {-0x1p-24}) == -1);  // toward zero
  CHECK(sum(0x1p-149f, {0x1p-149}) == 0x1p-148f);
  CHECK(std::isnan(sum(1, {INFINITY, -INFINITY})) && std::isinf(sum(1, {INFINITY})));
  CHECK(cuda_emu::round_to_tf32(1 + 0x1p-11f) == 1 + 0x1p-10f);
  CHECK(std::isnan(cuda_emu::round_to_tf32(NAN)) && std::isinf(cuda_emu::round_to_tf32(INFINITY)));
}

void test_errors() {
  GemmArgs args{1, 1, 1, 1, {}, {}, {}, {}, {}, 1, 0, Activation::none, 0, DType::f64};
  CHECK(api.gemm(0, &args, nullptr) != 0);
  args.dtype = DType::bf16, args.out = DType::f16;
  CHECK(api.gemm(0, &args, nullptr) != 0);
  CHECK(std::string(api.last_error()).find("not float16") != std::string::npos);
}

}  // namespace

int main() {
  test_model();
  test_errors();
  test_products();
  test_bits();
  test_accuracy();
  return gs_test::result();
}
