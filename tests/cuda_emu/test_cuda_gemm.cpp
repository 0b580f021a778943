// CUDA GEMM, the backend's memory and copies, and the emulator itself.
#include "cuda_testing.h"

namespace {

// ---- GEMM ---------------------------------------------------------------------------------------

double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x < 0 ? 0 : x;
    case Activation::leaky_relu:
      return x < 0 ? 0.25 * x : x;
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
    case Activation::gelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::silu:
      return x / (1 + std::exp(-x));
  }
  return x;
}

struct GemmCase {
  std::int64_t m, n, k, batch;
  bool a_transposed, b_transposed;
  float alpha, beta;
  Activation activation;
  bool bias, residual;
};

void check_gemm(const GemmCase& c) {
  const auto floats = [](std::int64_t n) { return std::size_t(n) * 4; };
  Buffer a(floats(c.batch * c.m * c.k)), b(floats(c.batch * c.k * c.n));
  Buffer out(floats(c.batch * c.m * c.n)), bias(floats(c.n)), residual(floats(c.batch * c.m * c.n));
  for (Buffer* buffer : {&a, &b, &bias, &residual})
    for (std::size_t i = 0; i < buffer->bytes / 4; ++i)
      static_cast<float*>(buffer->p)[i] = float(uniform(-1, 1));
  std::vector<unsigned char> start(out.bytes, 0xff);  // beta 0 must not read it
  if (c.beta != 0)
    for (std::size_t i = 0; i < out.bytes / 4; ++i) {
      const float v = float(uniform(-1, 1));
      std::memcpy(start.data() + 4 * i, &v, 4);
    }
  const auto matrix = [](const Buffer& buffer, std::int64_t rows, std::int64_t columns, bool t) {
    return Matrix{static_cast<float*>(buffer.p), t ? 1 : columns, t ? rows : 1, rows * columns};
  };
  GemmArgs args{c.m,
                c.n,
                c.k,
                c.batch,
                matrix(a, c.m, c.k, c.a_transposed),
                matrix(b, c.k, c.n, c.b_transposed),
                matrix(out, c.m, c.n, false),
                {},
                {},
                c.alpha,
                c.beta,
                c.activation,
                0.25f};
  if (c.bias) args.bias = {static_cast<float*>(bias.p), 0, 1, 0};
  if (c.residual) args.residual = matrix(residual, c.m, c.n, false);
  const std::string what = "gemm " + std::to_string(c.m) + "x" + std::to_string(c.n) + "x" +
                           std::to_string(c.k) + " batch " + std::to_string(c.batch);
  in_all_schedules(what, out, start, [&] { return api.gemm(0, &args, nullptr); });
  const auto at = [](const Matrix& x, std::int64_t z, std::int64_t i, std::int64_t j) {
    return double(static_cast<float*>(x.data)[z * x.batch + i * x.rs + j * x.cs]);
  };
  double worst = 0;
  for (std::int64_t z = 0; z < c.batch; ++z)
    for (std::int64_t i = 0; i < c.m; ++i)
      for (std::int64_t j = 0; j < c.n; ++j) {
        double sum = 0;
        for (std::int64_t p = 0; p < c.k && c.alpha != 0; ++p)
          sum += at(args.a, z, i, p) * at(args.b, z, p, j);
        double want = c.alpha * sum;
        float before;
        std::memcpy(&before, start.data() + 4 * ((z * c.m + i) * c.n + j), 4);
        if (c.beta != 0) want += c.beta * before;
        if (c.bias) want += static_cast<float*>(bias.p)[j];
        if (c.residual) want += at(args.residual, z, i, j);
        const double error = std::abs(at(args.c, z, i, j) - activate(c.activation, want));
        worst = std::isnan(error) ? 1e9 : std::max(worst, error);
      }
  if (worst > 3e-6 * std::sqrt(double(c.k) + 1))
    gs_test::report(__FILE__, __LINE__, what + ": error " + std::to_string(worst));
}

void test_gemm() {
  using enum Activation;
  for (bool a_t : {false, true})
    for (bool b_t : {false, true}) {
      for (std::int64_t size : {1, 17, 63, 64, 65})
        check_gemm({size, 66 - size, size / 2 + 1, 1, a_t, b_t, 1, 0, none, false, false});
      check_gemm({70, 5, 40, 3, a_t, b_t, 0.5f, 2.0f, none, true, true});
    }
  for (Activation act : {relu, leaky_relu, sigmoid, tanh, gelu, gelu_tanh, silu})
    check_gemm({33, 65, 20, 2, false, true, 1, 0, act, true, false});
  check_gemm({8, 9, 0, 2, false, false, 1, 0, none, true, false});
  check_gemm({8, 9, 5, 1, false, false, 0, 1, none, false, false});
  check_gemm({0, 9, 5, 1, false, false, 1, 0, none, false, false});

  // Enough batch entries for the large tile; the bits must be those of the small one.
  constexpr std::int64_t m = 130, n = 9, k = 21, batch = 128;
  Buffer a(m * k * 4), b(k * n * 4), one(m * n * 4), many(batch * m * n * 4);
  for (Buffer* buffer : {&a, &b})
    for (std::size_t i = 0; i < buffer->bytes / 4; ++i)
      static_cast<float*>(buffer->p)[i] = float(uniform(-1, 1));
  GemmArgs args{m,
                n,
                k,
                1,
                {static_cast<float*>(a.p), k, 1, 0},
                {static_cast<float*>(b.p), n, 1, 0},
                {static_cast<float*>(one.p), n, 1, m * n},
                {},
                {},
                1,
                0,
                none,
                0};
  CHECK(api.gemm(0, &args, nullptr) == 0);
  args.batch = batch;
  args.c.data = static_cast<float*>(many.p);
  for (const auto schedule : {cuda_emu::Schedule::random, cuda_emu::Schedule::warp_by_warp}) {
    cuda_emu::options().schedule = schedule;
    CHECK(api.gemm(0, &args, nullptr) == 0);
    for (std::int64_t z = 0; z < batch; ++z)
      CHECK(std::memcmp(static_cast<char*>(many.p) + z * m * n * 4, one.p, m * n * 4) == 0);
  }
  cuda_emu::options() = {};
}

// ---- Runtime ------------------------------------------------------------------------------------

void test_runtime() {
  CHECK(api.version == kAbiVersion && api.device_count() == 1);
  DeviceInfo info{};
  CHECK(api.device_info(0, &info) == 0 && std::string(info.name) == "emulated device");
  void *p = nullptr, *q = nullptr, *stream = nullptr;
  CHECK(api.stream_create(0, &stream) == 0);
  for (std::size_t bytes :
       {std::size_t(0), std::size_t(5), std::size_t(5000), std::size_t(3) << 20}) {
    CHECK(api.allocate(0, bytes, nullptr, &p) == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(p) % 16 == 0);
    CHECK(api.deallocate(0, p) == 0);
    CHECK(api.allocate(0, bytes, stream, &q) == 0 && q != p);  // another stream: not the same
    CHECK(api.deallocate(0, q) == 0);
    CHECK(api.allocate(0, bytes, nullptr, &q) == 0 && q == p);
    if (bytes == 0) {
      CHECK(api.deallocate(0, q) == 0);
      continue;
    }
    // Used by a stream that has work to do: kept until that is done.
    CHECK(api.use_on(0, q, stream) == 0);
    CHECK(api.copy_bytes(0, q, q, bytes, CopyKind::device_to_device, nullptr, stream) == 0);
    CHECK(api.deallocate(0, q) == 0);
    CHECK(api.allocate(0, bytes, nullptr, &p) == 0 && p != q);
    CHECK(api.stream_synchronize(0, stream) == 0);
    void* again = nullptr;
    CHECK(api.allocate(0, bytes, nullptr, &again) == 0 && again == q);
    CHECK(api.deallocate(0, p) == 0 && api.deallocate(0, again) == 0);
  }
  MemoryInfo memory{};
  CHECK(api.memory_info(0, &memory) == 0 && memory.in_use_bytes == 0 && memory.cached_bytes > 0);
  CHECK(memory.peak_bytes >= 3 << 20);
  CHECK(api.empty_cache(0) == 0 && api.memory_info(0, &memory) == 0);
  CHECK(memory.cached_bytes < 1 << 20);
  CHECK(api.allocate(0, std::size_t(1) << 40, nullptr, &p) == 2);
  CHECK(std::string(api.last_error()).find("cannot allocate 1099511627776 bytes") == 0);
  CHECK(api.synchronize(1) != 0);

  float host[3] = {1, 2, 3}, back[3] = {};
  CHECK(api.allocate(0, sizeof(host), nullptr, &p) == 0);
  CHECK(api.copy_bytes(0, p, host, sizeof(host), CopyKind::host_to_device, nullptr, nullptr) == 0);
  CHECK(api.copy_bytes(0, back, p, sizeof(host), CopyKind::device_to_host, nullptr, nullptr) == 0);
  CHECK(std::memcmp(host, back, sizeof(host)) == 0);
  CHECK(api.deallocate(0, p) == 0);
  CHECK(api.empty_cache(0) == 0);
}

// ---- The emulator itself ------------------------------------------------------------------------

void test_emulator() {
  // A barrier and shuffles: a block's sum.
  struct Shared {
    float sums[4];
  };
  for (unsigned threads : {32u, 100u, 128u}) {
    std::vector<float> result(threads);
    const int status = cuda_emu::launch(nullptr, dim3(2), dim3(threads), sizeof(Shared), [&] {
      auto& s = *static_cast<Shared*>(cuda_emu::shared_memory(sizeof(Shared)));
      const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
      float v = float(threadIdx.x);
      const unsigned active = std::min(32u, threads - warp * 32);
      for (unsigned step = 16; step; step /= 2) {
        const float other = __shfl_down_sync(0xffffffffu, v, step);
        if (lane + step < active) v += other;
      }
      if (lane == 0) s.sums[warp] = v;
      __syncthreads();
      float sum = 0;
      for (unsigned w = 0; w < (threads + 31) / 32; ++w) sum += s.sums[w];
      result[threadIdx.x] = sum;
    });
    CHECK(status == 0);
    for (float r : result) CHECK(r == float(threads * (threads - 1) / 2));
  }
  CHECK(cuda_emu::launch(nullptr, dim3(1), dim3(2048), 0, [] {}) == cudaErrorInvalidConfiguration);
}

}  // namespace

int main() {
  test_emulator();
  test_runtime();
  test_gemm();
  return gs_test::result();
}
