// Products of bfloat16: against sums in double of the rounded factors, and bit for bit against the
// definition (bf16.simd.cpp) in scalar arithmetic; every layout, both kinds of memory, packed
// operands, any number of threads, denormal numbers.
#include <algorithm>
#include <cstring>

#include "kernel_testing.h"
#include "kernels/gemm/blocking.h"
#include "kernels/gemm/gemm.h"
#include "runtime/parallel.h"

namespace {

using namespace gradsmith;
using namespace gradsmith::kernels;
using testing::report;
using Index = std::int64_t;

std::mt19937 engine(11);
Index pick(Index low, Index high) {
  return std::uniform_int_distribution<Index>(low, high)(engine);
}

float from_bits(std::uint32_t u) {
  float x;
  std::memcpy(&x, &u, sizeof x);
  return x;
}
std::uint32_t to_bits(float x) {
  std::uint32_t u;
  std::memcpy(&u, &x, sizeof u);
  return u;
}
float flushed(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }
std::uint16_t half_of(float x) {
  const std::uint32_t u = to_bits(x);
  return std::uint16_t((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}
float value_of(std::uint16_t h) { return from_bits(std::uint32_t(h) << 16); }

// Rows, columns, every second element, and each padded or reversed.
struct Layout {
  Index rs, cs, origin, span;
};
Layout layout_of(Index m, Index n, int kind) {
  const Index pad = kind % 2 ? 3 : 0;
  switch (kind / 2) {
    case 0:
      return {n + pad, 1, 4, m * (n + pad) + 8};
    case 1:
      return {1, m + pad, 4, n * (m + pad) + 8};
    case 2:
      return {2 * n + pad, 2, 4, m * (2 * n + pad) + 8};
    default:
      return {-(n + pad), 1, 4 + m * (n + pad), m * (n + pad) + n + 8};
  }
}
constexpr int kLayouts = 8;

template <class T>
struct Matrix {
  Layout at;
  std::vector<T> memory;
  Matrix(Index m, Index n, int kind, double scale) : at(layout_of(m, n, kind)) {
    std::normal_distribution<double> normal;
    for (Index i = 0; i < at.span; ++i) memory.push_back(element(float(normal(engine) * scale)));
  }
  static T element(float x) {
    if constexpr (sizeof(T) == 2) {
      return half_of(x);
    } else {
      return x;
    }
  }
  const T* data() const { return memory.data() + at.origin; }
  float get(Index i, Index j) const {  // as the product sees it
    const T x = data()[i * at.rs + j * at.cs];
    if constexpr (sizeof(T) == 2) {
      return flushed(value_of(x));
    } else {
      return flushed(value_of(half_of(x)));
    }
  }
  Operand operand() const { return {.data = data(), .rs = at.rs, .cs = at.cs}; }
};

// The sum as VDPBF16PS forms it, block by block.
template <class T>
float exact(const Matrix<T>& a, const Matrix<T>& b, Index i, Index j, Index k, Index kc) {
  float total = 0;
  for (Index pc = 0; pc < k; pc += kc) {
    float sum = 0;
    for (Index p = pc; p < std::min(k, pc + kc); p += 2) {
      const bool both = p + 1 < std::min(k, pc + kc);
      sum = flushed(std::fma(both ? a.get(i, p + 1) : 0.0f, both ? b.get(p + 1, j) : 0.0f, sum));
      sum = flushed(std::fma(a.get(i, p), b.get(p, j), sum));
    }
    total = pc == 0 ? sum : flushed(total + sum);
  }
  return total;
}

template <class T>
void run(Index m, Index n, Index k, int a_kind, int b_kind, bool epilogue, const char* target,
         double scale = 1) {
  const std::string what = std::string(target) + (sizeof(T) == 2 ? " bf16 " : " f32 ") +
                           std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) +
                           " layouts " + std::to_string(a_kind) + " " + std::to_string(b_kind);
  const Matrix<T> a(m, k, a_kind, scale), b(k, n, b_kind, 1);
  const auto bias = testing::random_values<float>(n + 1, 5);
  Gemm g;
  g.m = m;
  g.n = n;
  g.k = k;
  g.a = a.operand();
  g.b = b.operand();
  g.source = sizeof(T) == 2 ? DType::bf16 : DType::f32;
  if (epilogue) {
    g.alpha = 0.5;
    g.epilogue.bias = {.data = bias.data(), .rs = 0, .cs = 1};
    g.epilogue.activation = Activation::relu;
  }
  testing::Poisoned<float> c(m * n);
  g.c = {.data = c.data(), .rs = n, .cs = 1};
  gemm(DType::bf16, g);
  report(c.frame_intact(), what + ": wrote outside C");

  const bool fused = std::string(target) != "reference" && std::string(target) != "scalar";
  const Index kc = depth_block(k, gemm_shape_of(DType::bf16).kc);
  const double u = std::ldexp(1.0, -24);
  for (Index i = 0; i < m; ++i)
    for (Index j = 0; j < n; ++j) {
      double want = 0, size = 0;
      for (Index p = 0; p < k; ++p) {
        const double x = double(a.get(i, p)) * double(b.get(p, j));
        want += x;
        size += std::abs(x);
      }
      if (epilogue) {
        want = std::max(0.0, 0.5 * want + double(bias[std::size_t(j)]));
        size = size / 2 + std::abs(double(bias[std::size_t(j)]));
      }
      // Each of the k + 8 roundings may also flush a denormal number.
      const double bound = double(k + 8) * (u * size * 1.01 + std::ldexp(1.0, -126));
      const float got = c[i * n + j];
      bool good = std::abs(double(got) - want) <= bound;
      if (fused && !epilogue) good = good && to_bits(got) == to_bits(exact(a, b, i, j, k, kc));
      if (!good) {
        report(false, what + ": (" + std::to_string(i) + ", " + std::to_string(j) + ") is " +
                          std::to_string(got) + ", not " + std::to_string(want));
        return;
      }
    }

  testing::Poisoned<float> again(m * n);
  const auto same = [&](const std::string& how) {
    again = testing::Poisoned<float>(m * n);
    g.c.data = again.data();
    gemm(DType::bf16, g);
    report(testing::same_bits(again, c), what + ": other bits " + how);
  };
  for (int threads : {2, 3}) {
    set_num_threads(threads);
    same("with " + std::to_string(threads) + " threads");
  }
  set_num_threads(1);
  if (std::string(target) == "reference") return;
  const auto pack = [&](Operand& operand, GemmSide side, Index lines, PackedOperand& handle,
                        std::vector<float>& memory) {
    const std::size_t count = packed_bytes(DType::bf16, side, lines, k) / sizeof(float);
    memory.assign(count + 32, 99.0f);
    const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
    float* const aligned = memory.data() + ((address + 63) / 64 * 64 - address) / sizeof(float);
    handle = pack_operand(DType::bf16, side, operand, lines, k, aligned, g.source);
    report(aligned[count] == 99.0f, what + ": packing wrote past its end");
    operand = {};
    operand.packed = &handle;
  };
  PackedOperand a_packed, b_packed;
  std::vector<float> a_memory, b_memory;
  pack(g.b, GemmSide::b, n, b_packed, b_memory);
  same("with B packed before");
  pack(g.a, GemmSide::a, m, a_packed, a_memory);
  same("with both packed before");
}

template <class T>
void all(const char* target) {
  const GemmShape shape = gemm_shape_of(DType::bf16);
  for (Index m : {Index(1), Index(shape.mr), Index(shape.mr + 1), Index(3 * shape.mr - 1)})
    for (Index n : {Index(1), Index(shape.nr - 1), Index(2 * shape.nr + 1)})
      for (Index k : {1, 2, 7, 33})
        for (int a : {0, 3})
          for (int b : {0, 3}) run<T>(m, n, k, a, b, false, target);
  for (int i = 0; i < 200; ++i) {
    run<T>(pick(1, 40), pick(1, 80), pick(1, 90), int(pick(0, kLayouts - 1)),
           int(pick(0, kLayouts - 1)), pick(0, 2) == 0, target);
  }
  for (Index k : {511, 512, 513, 1031}) run<T>(9, 37, k, 0, 2, false, target);
  run<T>(203, 251, 350, 0, 0, false, target);  // teams of threads
  run<T>(203, 251, 351, 2, 2, true, target);
  // Denormal factors, products and sums.
  for (double scale : {1e-38, 1e-39, 1e-40}) run<T>(7, 33, 21, 0, 0, false, target, scale);
  run<T>(0, 5, 3, 0, 0, false, target);
  run<T>(5, 4, 0, 0, 0, true, target);
}

void special_values(const char* target) {
  Matrix<float> a(7, 9, 0, 1), b(9, 5, 0, 1);
  for (Index j = 0; j < 5; ++j) b.memory[std::size_t(b.at.origin + 3 * b.at.rs + j)] = 1;
  a.memory[std::size_t(a.at.origin + 2 * a.at.rs + 3)] = std::numeric_limits<float>::infinity();
  a.memory[std::size_t(a.at.origin + 4 * a.at.rs + 3)] = from_bits(0x7f800001u);
  a.memory[std::size_t(a.at.origin + 5 * a.at.rs + 3)] = std::numeric_limits<float>::max();
  testing::Poisoned<float> c(35);
  Gemm g{7, 5, 9, a.operand(), b.operand(), {c.data(), 5, 1}};
  g.source = DType::f32;
  gemm(DType::bf16, g);
  bool good = true;
  for (Index i = 0; i < 7; ++i)
    for (Index j = 0; j < 5; ++j) {
      const float x = c[i * 5 + j];
      good = good && (i == 2 || i == 5 ? std::isinf(x) : i == 4 ? std::isnan(x) : std::isfinite(x));
    }
  report(good, std::string(target) + ": infinities and NaN");
  // The mode is the caller's again.
  volatile float tiny = 1e-38f;
  report(tiny * 0.1f != 0, std::string(target) + ": denormal numbers are still flushed");
}

}  // namespace

int main() {
  const auto every = [](const char* target) {
    all<float>(target);
    all<std::uint16_t>(target);
    special_values(target);
  };
  testing::for_each_target(every);
  set_target("reference");
  every("reference");
  return testing::finish("gemm_bf16");
}
