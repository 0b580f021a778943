// Largest errors of kernels/simd/math.h, in units in the last place of the exact result, against
// the C library in double (for float) or long double (for double).
//
//   math_check_<target> [stride] [name]    stride 1 visits all 2^32 floats; the default is a prime
//                                          that takes seconds. Exits 1 over a function's bound.
#include "kernels/simd/math.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>

namespace gradsmith::kernels::GS_ISA {
namespace {

template <class T>
double ulps(T got, long double want) {
  using L = std::numeric_limits<T>;
  const T rounded = T(want);
  if (std::isnan(want)) return std::isnan(got) ? 0 : 1e30;
  if (got == rounded) {  // a zero's sign counts where the result is zero, not where it underflows
    return want == 0 && std::signbit(got) != std::signbit(want) ? 1e29 : 0.5;
  }
  if (std::isinf(rounded) || std::isinf(got)) {
    // The last finite number and infinity are neighbours.
    if (std::isinf(want) || std::isnan(got)) return 1e30;
    if (std::isinf(got) && std::fabs(want) < L::max()) return 1e30;
  }
  int e;
  std::frexp(want, &e);
  const long double unit = std::ldexp(1.0L, std::max(e - L::digits, L::min_exponent - L::digits));
  return double(std::fabs((long double)got - want) / unit);
}

struct Row {
  const char* name;
  void (*f32)(const float*, float*);
  void (*f64)(const double*, double*);
  double (*near)(double);             // exact enough for float
  long double (*exact)(long double);  // exact enough for double
  double bound32, bound64;
};

template <class T, Vec<T> (*fn)(Vec<T>)>
void apply(const T* x, T* y) {
  store(y, fn(load(x)));
}

template <class R>
R exact_sigmoid(R x) {
  return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
}
template <class R>
R exact_silu(R x) {
  return std::isinf(x) && x < 0 ? -R(0) : x * exact_sigmoid(x);
}
template <class R>
R exact_gelu(R x) {
  return std::isinf(x) && x < 0 ? -R(0) : x * std::erfc(-x * std::sqrt(R(0.5))) / 2;
}
template <class R>
R exact_gelu_tanh(R x) {
  const R twice_u = 2 * std::sqrt(2 / std::acos(R(-1))) * (x + R(0.044715L) * x * x * x);
  return std::isinf(x) && x < 0 ? -R(0) : x * exact_sigmoid(twice_u);
}
template <class R>
R exact_softplus(R x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}
template <class R>
R exact_rsqrt(R x) {
  return 1 / std::sqrt(x);
}

#define ROW(name, reference, bound32, bound64)                                      \
  Row {                                                                             \
    #name, apply<float, static_cast<F32 (*)(F32)>(name)>,                           \
        apply<double, static_cast<F64 (*)(F64)>(name)>,                             \
        [](double x) { return double(reference(x)); },                              \
        [](long double x) { return (long double)(reference(x)); }, bound32, bound64 \
  }
const Row rows[] = {
    ROW(exp, std::exp, 1, 1),          ROW(expm1, std::expm1, 2, 2),
    ROW(log, std::log, 1.5, 1),        ROW(log1p, std::log1p, 2, 2),
    ROW(log2, std::log2, 1, 1),        ROW(log10, std::log10, 1, 1),
    ROW(tanh, std::tanh, 2, 2.6),      ROW(sigmoid, exact_sigmoid, 1.7, 1.7),
    ROW(erf, std::erf, 1.4, 1.5),      ROW(erfc, std::erfc, 2, 10),
    ROW(gelu, exact_gelu, 2, 10),      ROW(gelu_tanh, exact_gelu_tanh, 2, 2),
    ROW(silu, exact_silu, 2, 2),       ROW(softplus, exact_softplus, 2, 2),
    ROW(sin, std::sin, 1.6, 1.8),      ROW(cos, std::cos, 1.6, 1.8),
    ROW(rsqrt, exact_rsqrt, 1.5, 1.5), ROW(sqrt, std::sqrt, 0.5, 0.5),
};
#undef ROW

// Where a function may treat its argument apart; N of them at a time.
const double special[] = {0.0,    INFINITY, NAN,     1.0,      2.0,    1e-300, 1e-45, 1e-40,
                          5e-324, 1e-8,     1.2e-38, 2.3e-308, 3.4e38, 1e300,  88.8,  710.0};

int failures = 0;

void report(const char* name, const char* type, double worst, double at, double bound) {
  const bool bad = !(worst <= bound);
  failures += bad;
  std::printf("%-10s %s %.3f ulp at %a%s\n", name, type, worst, at, bad ? "  OVER" : "");
  std::fflush(stdout);
}

void sweep_float(const Row& row, std::uint64_t stride) {
  constexpr int N = F32::N;
  double worst = 0;
  float at = 0, x[N], y[N];
  const auto first = std::uint64_t(-32) * stride;  // before 0: the special values
  for (std::uint64_t base = first; std::int64_t(base) < (1ll << 32); base += N * stride) {
    for (int i = 0; i < N; ++i) {
      const std::uint32_t u = std::uint32_t(base + i * stride);
      std::memcpy(&x[i], &u, 4);
      const std::uint64_t k = base / stride + i - first / stride;
      if (std::int64_t(base) < 0) x[i] = float(special[k % 16]) * (k / 16 % 2 ? -1.0f : 1.0f);
    }
    row.f32(x, y);
    for (int i = 0; i < N; ++i) {
      const double want = row.near(double(x[i]));
      if (y[i] == float(want) && y[i] != 0) continue;
      const double error = ulps(y[i], want);
      if (error > worst) worst = error, at = x[i];
    }
  }
  report(row.name, "float ", worst, at, row.bound32);
}

void sample_double(const Row& row, int count) {
  constexpr int N = F64::N;
  std::mt19937_64 random(1);
  double worst = 0, at = 0, x[N], y[N];
  for (int k = 0; k < count; ++k) {
    for (int i = 0; i < N; ++i) {
      const std::uint64_t u = random();
      if (k * N + i < 32) {
        x[i] = special[(k * N + i) % 16] * (k * N + i < 16 ? 1.0 : -1.0);
      } else if (k % 4 == 0) {
        std::memcpy(&x[i], &u, 8);  // any double
      } else {
        const double unit = double(std::int64_t(u)) * 0x1p-63;  // in [-1, 1)
        x[i] = unit * (k % 4 == 1 ? 1 : k % 4 == 2 ? 40 : 800);
      }
    }
    row.f64(x, y);
    for (int i = 0; i < N; ++i) {
      const double error = ulps(y[i], row.exact(x[i]));
      if (error > worst) worst = error, at = x[i];
    }
  }
  report(row.name, "double", worst, at, row.bound64);
}

void check_pow(int count) {
  constexpr int N = F32::N;
  const float values[] = {0.0f, 0.5f, 1.0f, 2.0f, 3.0f, 1e-40f, INFINITY, NAN, 1e38f, 16777217.f};
  std::mt19937_64 random(2);
  double worst = 0;
  float at = 0, x[N], y[N], z[N];
  for (int k = 0; k < count; ++k) {
    for (int i = 0; i < N; ++i) {
      const std::uint64_t u = random();
      const auto high = std::uint32_t(u >> 32), low = std::uint32_t(u);
      std::memcpy(&x[i], &low, 4);
      if (k % 4) x[i] = std::fabs(x[i]);
      y[i] = float(std::int32_t(high)) * (k % 3 ? 0x1p-26f : 0x1p-30f);
      if (k % 8 == 0) x[i] = values[low % 10] * (low & 1024 ? -1.f : 1.f);
      if (k % 16 < 3) y[i] = values[high % 10] * (high & 1024 ? -1.f : 1.f);
    }
    store(z, pow(load(x), load(y)));
    for (int i = 0; i < N; ++i) {
      const double error = ulps(z[i], std::pow(double(x[i]), double(y[i])));
      if (error > worst) worst = error, at = x[i];
    }
  }
  report("pow", "float ", worst, at, 0.6);
}

int run(int argc, char** argv) {
  const std::uint64_t stride = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 4099;
  const char* only = argc > 2 ? argv[2] : nullptr;
  for (const Row& row : rows) {
    if (only && std::strcmp(only, row.name)) continue;
    sweep_float(row, stride);
    if (!only || stride > 1) sample_double(row, 100000);
  }
  if (!only) check_pow(100000);
  return failures != 0;
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA

#include "simd_main.h"
