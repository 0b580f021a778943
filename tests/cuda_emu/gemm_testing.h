// What the tests of the products on tensor cores share.
#pragma once
#include "cuda_emu/tensor_core.h"
#include "cuda_testing.h"

struct Kind {
  const char* name;
  DType dtype;
  Float32Math math;
};
inline constexpr Kind kBf16{"bf16", DType::bf16, Float32Math::fma};
inline constexpr Kind kF16{"f16", DType::f16, Float32Math::fma};
inline constexpr Kind kTf32{"tf32", DType::f32, Float32Math::tf32};
inline constexpr Kind kTf32x3{"tf32x3", DType::f32, Float32Math::tf32x3};
inline constexpr Kind kFma{"fma", DType::f32, Float32Math::fma};

// A view of `rows` x `columns`, a batch of them, in a buffer with room for gaps between the lines.
struct Tensor {
  Buffer buffer;
  DType dtype;
  Matrix view;
  std::int64_t rows, columns, batch;

  Tensor(DType type, std::int64_t rows_, std::int64_t columns_, std::int64_t batch_,
         bool transposed, std::int64_t gap, std::int64_t step = 1)
      : buffer(std::size_t(batch_ * (rows_ + gap) * (columns_ + gap) * step) * itemsize(type)),
        dtype(type),
        rows(rows_),
        columns(columns_),
        batch(batch_) {
    const std::int64_t pitch = ((transposed ? rows : columns) + gap) * step;
    view = {buffer.p, transposed ? step : pitch, transposed ? pitch : step,
            (rows + gap) * (columns + gap) * step};
  }
  double at(std::int64_t z, std::int64_t i, std::int64_t j) const {
    return get(buffer.p, dtype, z * view.batch + i * view.rs + j * view.cs);
  }
  template <class F>
  void fill(F value) {
    for (std::int64_t z = 0; z < batch; ++z)
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < columns; ++j)
          set(buffer.p, dtype, z * view.batch + i * view.rs + j * view.cs, value());
  }
};

struct Case {
  Kind kind;
  std::int64_t m, n, k, batch = 1;
  bool a_transposed = false, b_transposed = false;
  GemmKernel kernel = GemmKernel::automatic;
  std::int64_t gap = 0, step = 1;
  bool narrow = false;  // C of the factors' dtype
  bool c_transposed = false;
  float alpha = 1, beta = 0;
  Activation activation = Activation::none;
  bool bias = false, residual = false;
};

inline std::string text(const Case& c) {
  return std::string(c.kind.name) + " " + std::to_string(c.m) + "x" + std::to_string(c.n) + "x" +
         std::to_string(c.k) + (c.a_transposed ? " T" : " N") + (c.b_transposed ? "T" : "N") +
         " batch " + std::to_string(c.batch) + " kernel " + std::to_string(int(c.kernel));
}

inline double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::relu:
      return x < 0 ? 0 : x;
    case Activation::gelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::silu:
      return x / (1 + std::exp(-x));
    default:
      return x;
  }
}

// A factor as the kernel takes it.
inline double taken(const Kind& kind, double x) {
  return kind.dtype == DType::f32 && kind.math == Float32Math::tf32
             ? double(cuda_emu::round_to_tf32(float(x)))
             : x;
}

inline void check_product(const Case& c) {
  const DType out = c.narrow ? c.kind.dtype : DType::f32;
  Tensor a(c.kind.dtype, c.m, c.k, c.batch, c.a_transposed, c.gap, c.step);
  Tensor b(c.kind.dtype, c.k, c.n, c.batch, c.b_transposed, c.gap, c.step);
  Tensor y(out, c.m, c.n, c.batch, c.c_transposed, c.gap);
  Tensor bias(out, 1, c.n, 1, false, 0), residual(out, c.m, c.n, c.batch, false, c.gap);
  for (Tensor* t : {&a, &b, &bias, &residual, &y}) t->fill([] { return uniform(-1, 1); });
  Tensor before(out, c.m, c.n, c.batch, c.c_transposed, c.gap);
  std::memcpy(before.buffer.p, y.buffer.p, y.buffer.bytes);
  std::vector<unsigned char> start(y.buffer.bytes, 0xff);  // beta 0 must not read it
  if (c.beta != 0) std::memcpy(start.data(), y.buffer.p, start.size());
  GemmArgs args{c.m,    c.n,          c.k, c.batch,     a.view,  b.view,
                y.view, {},           {},  c.alpha,     c.beta,  c.activation,
                0.25f,  c.kind.dtype, out, c.kind.math, c.kernel};
  if (c.bias) args.bias = {bias.buffer.p, 0, 1, 0};
  if (c.residual) args.residual = residual.view;
  in_all_schedules(text(c), y.buffer, start, [&] { return api.gemm(0, &args, nullptr); });

  // float32's sums, cut off: a unit in the last place for each group of four products.
  const double per_group = c.kind.math == Float32Math::fma ? 0x1p-22 : 0x1p-21;
  double worst = 0;
  for (std::int64_t z = 0; z < c.batch; ++z)
    for (std::int64_t i = 0; i < c.m; ++i)
      for (std::int64_t j = 0; j < c.n; ++j) {
        double sum = 0, size = 1;
        for (std::int64_t p = 0; p < c.k && c.alpha != 0; ++p) {
          const double product = taken(c.kind, a.at(z, i, p)) * taken(c.kind, b.at(z, p, j));
          sum += product;
          size += std::abs(product);
        }
        double want = c.alpha * sum;
        if (c.beta != 0) want += c.beta * before.at(z, i, j);
        if (c.bias) want += bias.at(0, 0, j);
        if (c.residual) want += residual.at(z, i, j);
        want = activate(c.activation, want);
        double bound = per_group * size * (double(c.k) / 8 + 4);
        if (c.narrow) bound += std::abs(want) * (c.kind.dtype == DType::bf16 ? 0x1p-8 : 0x1p-11);
        const double error = std::abs(y.at(z, i, j) - want) / bound;
        worst = std::isnan(error) ? 1e9 : std::max(worst, error);
      }
  if (worst > 1)
    gs_test::report(__FILE__, __LINE__, text(c) + ": error " + std::to_string(worst) + " bounds");
  // Nothing between the rows of C is touched.
  for (std::int64_t i = 0; c.gap && i < c.m; ++i)
    for (std::int64_t j = c.n; j < c.n + c.gap && !c.c_transposed; ++j)
      CHECK(std::memcmp(static_cast<char*>(y.buffer.p) + (i * y.view.rs + j) * itemsize(out),
                        start.data() + (i * y.view.rs + j) * itemsize(out), itemsize(out)) == 0);
}
