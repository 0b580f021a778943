// Random numbers and pooling on CUDA, run by the emulator, against the CPU's reference kernels.
#include "cuda_testing.h"
#include "kernels/pool/pool.h"
#include "kernels/rng/rng.h"

namespace gradsmith::kernels::reference {
#define GS_DECLARE(name, Args)       \
  void name##_f32(const Args& args); \
  void name##_f64(const Args& args);
GS_DECLARE(random_uniform, RandomFill)
GS_DECLARE(random_normal, RandomFill)
GS_DECLARE(dropout_forward, DropoutForward)
GS_DECLARE(dropout_backward, DropoutBackward)
GS_DECLARE(max_pool, MaxPool)
GS_DECLARE(avg_pool, AvgPool)
GS_DECLARE(avg_pool_backward, AvgPoolBackward)
GS_DECLARE(adaptive_max_pool, AdaptivePool)
GS_DECLARE(adaptive_avg_pool, AdaptivePool)
GS_DECLARE(adaptive_avg_pool_backward, AdaptivePoolBackward)
GS_DECLARE(pool_scatter, PoolScatter)
#undef GS_DECLARE
void random_bernoulli_u8(const RandomFill& args);
void random_integers_i64(const RandomIntegers& args);
}  // namespace gradsmith::kernels::reference

namespace {

namespace k = gradsmith::kernels;
namespace ref = gradsmith::kernels::reference;
#define GS_REFERENCE(dtype, name, ...) \
  (dtype == DType::f32 ? ref::name##_f32 __VA_ARGS__ : ref::name##_f64 __VA_ARGS__)

void compare(const char* what, const Buffer& got, const Buffer& want, DType dtype, double rtol,
             double atol = 0) {
  for (std::int64_t i = 0; i < std::int64_t(got.bytes / itemsize(dtype)); ++i) {
    const double a = get(got.p, dtype, i), b = get(want.p, dtype, i);
    if (std::abs(a - b) <= atol || close(a, b, rtol)) continue;
    return gs_test::report(
        __FILE__, __LINE__,
        std::string(what) + ": " + std::to_string(a) + " for " + std::to_string(b));
  }
}

void test_random() {
  for (std::int64_t n : {0, 1, 5, 1024, 2051})
    for (DType dtype : {DType::f32, DType::f64}) {
      const std::uint64_t seed = 0x123456789abcdefull, block = 0xfffffffffull;
      Buffer out(std::size_t(n) * itemsize(dtype)), want(out.bytes);
      for (RandomOp op : {RandomOp::uniform, RandomOp::normal}) {
        in_all_schedules("random", out, [&] {
          const RandomArgs a{op, dtype, out.p, n, seed, block, -3, 5, 0, 0};
          return api.random(0, &a, nullptr);
        });
        const k::RandomFill fill{want.p, n, seed, block, -3, 5};
        if (op == RandomOp::uniform) {
          GS_REFERENCE(dtype, random_uniform, (fill));
          CHECK(std::memcmp(out.p, want.p, out.bytes) == 0);
        } else {
          GS_REFERENCE(dtype, random_normal, (fill));
          compare("normal", out, want, dtype, dtype == DType::f32 ? 1e-6 : 1e-14,
                  dtype == DType::f32 ? 2e-6 : 1e-14);
        }
      }
      Buffer bytes{std::size_t(n)}, bits{std::size_t(n)};
      for (double p : {0.0, 0.3, 1.0}) {
        in_all_schedules("bernoulli", bytes, [&] {
          const RandomArgs a{RandomOp::bernoulli, DType::b8, bytes.p, n, seed, block, p, 0, 0, 0};
          return api.random(0, &a, nullptr);
        });
        ref::random_bernoulli_u8({bits.p, n, seed, block, p, 0});
        CHECK(std::memcmp(bytes.p, bits.p, bytes.bytes) == 0);
        Buffer x(out.bytes), y(out.bytes);
        for (std::int64_t i = 0; i < n; ++i) set(x.p, dtype, i, uniform(-9, 9));
        auto* mask = static_cast<std::uint8_t*>(bytes.p);
        in_all_schedules("dropout", y, [&] {
          const DropoutArgs a{dtype, false, y.p, mask, x.p, n, seed, block, p};
          return api.dropout(0, &a, nullptr);
        });
        const double kept = 1 / (1 - std::min(p, 0.5));
        for (std::int64_t i = 0; i < n; ++i) {
          CHECK(mask[i] == 1 - static_cast<std::uint8_t*>(bits.p)[i]);
          if (p < 1 && mask[i])
            CHECK(close(get(y.p, dtype, i), get(x.p, dtype, i) * kept, tolerance(dtype)));
          else
            CHECK(get(y.p, dtype, i) == 0);
        }
        in_all_schedules("dropout_backward", out, [&] {
          const DropoutArgs a{dtype, true, out.p, mask, x.p, n, 0, 0, p};
          return api.dropout(0, &a, nullptr);
        });
        CHECK(std::memcmp(out.p, y.p, out.bytes) == 0);
      }
      if (dtype == DType::f32) continue;
      for (std::uint64_t range : {std::uint64_t(1), std::uint64_t(1000003), std::uint64_t(0)}) {
        in_all_schedules("integers", out, [&] {
          const RandomArgs a{
              RandomOp::integers, DType::i64, out.p, n, seed, block, 0, 0, -7, range};
          return api.random(0, &a, nullptr);
        });
        ref::random_integers_i64({static_cast<std::int64_t*>(want.p), n, seed, block, -7, range});
        CHECK(std::memcmp(out.p, want.p, out.bytes) == 0);
      }
    }
}

void test_pool(const k::PoolShape& s, bool adaptive, DType dtype) {
  const std::int64_t in = s.planes * s.h * s.w, out = s.planes * s.out_h * s.out_w;
  const std::size_t item = itemsize(dtype);
  Buffer x(std::size_t(in) * item), y(std::size_t(out) * item), want(y.bytes);
  Buffer index(std::size_t(out) * 8), want_index(index.bytes);
  for (std::int64_t i = 0; i < in; ++i) set(x.p, dtype, i, std::floor(uniform(-5, 5)));  // ties
  if (in > 9) set(x.p, dtype, 9, std::nan(""));
  auto* at = static_cast<std::int64_t*>(index.p);
  auto* want_at = static_cast<std::int64_t*>(want_index.p);
  const auto args = [&](PoolOp op, void* to, std::int64_t* i, const void* from, bool padding,
                        std::int64_t divisor) {
    return PoolArgs{op,      dtype,        s.planes,     s.h,        s.w,        s.out_h,
                    s.out_w, s.kernel_h,   s.kernel_w,   s.stride_h, s.stride_w, s.pad_h,
                    s.pad_w, s.dilation_h, s.dilation_w, adaptive,   to,         i,
                    from,    padding,      divisor};
  };
  in_all_schedules("max", index, [&] {
    const PoolArgs a = args(PoolOp::max, y.p, at, x.p, true, 0);
    return api.pool(0, &a, nullptr);
  });
  const k::AdaptivePool shape{s.planes, s.h, s.w, s.out_h, s.out_w, want.p, want_at, x.p};
  if (adaptive)
    GS_REFERENCE(dtype, adaptive_max_pool, (shape));
  else
    GS_REFERENCE(dtype, max_pool, ({s, want.p, want_at, x.p}));
  CHECK(std::memcmp(index.p, want_index.p, index.bytes) == 0);
  compare("max", y, want, dtype, 0);
  if (in > 9) set(x.p, dtype, 9, 1);

  Buffer dy(y.bytes), dx(x.bytes), want_dx(x.bytes);
  for (std::int64_t i = 0; i < out; ++i) set(dy.p, dtype, i, uniform(-1, 1));
  in_all_schedules("unpick", dx, [&] {
    const PoolArgs a = args(PoolOp::unpick, dx.p, at, dy.p, true, 0);
    return api.pool(0, &a, nullptr);
  });
  GS_REFERENCE(dtype, pool_scatter,
               ({s.planes, s.h * s.w, s.out_h * s.out_w, want_dx.p, at, dy.p}));
  CHECK(std::memcmp(dx.p, want_dx.p, dx.bytes) == 0);
  in_all_schedules("pick", y, [&] {
    const PoolArgs a = args(PoolOp::pick, y.p, at, dx.p, true, 0);
    return api.pool(0, &a, nullptr);
  });
  for (std::int64_t i = 0; i < out; ++i)
    CHECK(get(y.p, dtype, i) == get(dx.p, dtype, i / (s.out_h * s.out_w) * s.h * s.w + at[i]));

  if (s.dilation_h != 1 || s.dilation_w != 1) return;
  for (bool padding : {true, false})
    for (std::int64_t divisor : {0, 3}) {
      if (adaptive && (divisor || !padding)) continue;
      in_all_schedules("average", y, [&] {
        const PoolArgs a = args(PoolOp::average, y.p, nullptr, x.p, padding, divisor);
        return api.pool(0, &a, nullptr);
      });
      in_all_schedules("average_backward", dx, [&] {
        const PoolArgs a = args(PoolOp::average_backward, dx.p, nullptr, dy.p, padding, divisor);
        return api.pool(0, &a, nullptr);
      });
      const k::AdaptivePoolBackward back{s.planes, s.h, s.w, s.out_h, s.out_w, want_dx.p, dy.p};
      if (adaptive) {
        GS_REFERENCE(dtype, adaptive_avg_pool, (shape));
        GS_REFERENCE(dtype, adaptive_avg_pool_backward, (back));
      } else {
        GS_REFERENCE(dtype, avg_pool, ({s, want.p, x.p, padding, divisor}));
        GS_REFERENCE(dtype, avg_pool_backward, ({s, want_dx.p, dy.p, padding, divisor}));
      }
      const double rtol = dtype == DType::f32 ? 2e-6 : 1e-14;
      compare("average", y, want, dtype, rtol, 4 * rtol);
      compare("average_backward", dx, want_dx, dtype, rtol, 4 * rtol);
    }
}

void test_pools() {
  for (DType dtype : {DType::f32, DType::f64}) {
    for (std::int64_t h : {1, 5, 14})
      for (std::int64_t kernel : {1, 2, 3})
        for (std::int64_t stride : {1, 2, 5})
          for (std::int64_t dilation : {1, 2})
            for (bool ceil_mode : {false, true}) {
              k::PoolShape s{.planes = 3, .h = h, .w = h + 6};
              s.kernel_h = kernel;
              s.kernel_w = 3;
              s.stride_h = stride;
              s.stride_w = 2;
              s.pad_h = kernel / 2;
              s.pad_w = 1;
              s.dilation_h = dilation;
              s.out_h = k::pool_output_size(s.h, kernel, stride, s.pad_h, dilation, ceil_mode);
              s.out_w = k::pool_output_size(s.w, 3, 2, 1, 1, ceil_mode);
              if (s.out_h >= 1 &&
                  k::pool_windows_meet(s.h, s.out_h, kernel, stride, s.pad_h, dilation))
                test_pool(s, false, dtype);
            }
    for (std::int64_t out : {1, 2, 3, 7, 9}) {
      k::PoolShape s{.planes = 2, .h = 7, .w = 5, .out_h = out, .out_w = 3};
      test_pool(s, true, dtype);
      s.planes = 0;
      test_pool(s, true, dtype);
    }
  }
}

}  // namespace

int main() {
  test_random();
  test_pools();
  return gs_test::result();
}
