// Every word of the vector vocabulary against plain arithmetic. Compiled once per target; run
// directly, or under an emulator for a foreign one.
#include "kernels/simd/vec.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <vector>

#include "gradsmith/dtype.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

int failures = 0;

template <class T>
bool same(T a, T b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b && std::signbit(a) == std::signbit(b);
}

template <class T>
struct Check {
  using V = Vec<T>;
  static constexpr int N = V::N;
  std::vector<T> values;
  T a[N], b[N], c[N], got[N];

  void expect(const char* word, V v, T (*fn)(T, T, T)) {
    store(got, v);
    for (int i = 0; i < N; ++i) {
      const T want = fn(a[i], b[i], c[i]);
      if (same(got[i], want)) continue;
      if (++failures < 20) {
        std::printf("%s<%zu>: %a %a %a -> %a, expected %a\n", word, sizeof(T), double(a[i]),
                    double(b[i]), double(c[i]), double(got[i]), double(want));
      }
    }
  }
  void expect(const char* word, Mask<T> m, bool (*fn)(T, T)) {
    unsigned want = 0;
    for (int i = 0; i < N; ++i) want |= unsigned(fn(a[i], b[i])) << i;
    const bool wrong = bits(m) != want || any(m) != (want != 0) || all(m) != (want + 1 == 1u << N);
    store(got, select(m, load(a), load(b)));
    bool wrong_select = false;
    for (int i = 0; i < N; ++i) wrong_select |= !same(got[i], (want >> i & 1u) ? a[i] : b[i]);
    if ((wrong || wrong_select) && ++failures < 20) std::printf("mask %s<%zu>\n", word, sizeof(T));
  }
  void expect(const char* word, T have, T want) {
    if (!same(have, want) && ++failures < 20) {
      std::printf("%s<%zu>: %a, expected %a\n", word, sizeof(T), double(have), double(want));
    }
  }

  void words() {
    const V x = load(a), y = load(b), z = load(c);
    expect("+", x + y, [](T p, T q, T) { return p + q; });
    expect("-", x - y, [](T p, T q, T) { return p - q; });
    expect("*", x * y, [](T p, T q, T) { return p * q; });
    expect("/", x / y, [](T p, T q, T) { return p / q; });
    expect("neg", -x, [](T p, T, T) { return -p; });
    expect("fma", fma(x, y, z),
           [](T p, T q, T r) { return kFusedFma ? std::fma(p, q, r) : p * q + r; });
    T read[N], set[N];
    store(read, fma_element(a, y, z));
    store(set, fma(V::set(a[0]), y, z));
    for (int i = 0; i < N; ++i) expect("fma_element", read[i], set[i]);
    expect("fnma", fnma(x, y, z),
           [](T p, T q, T r) { return kFusedFma ? std::fma(-p, q, r) : r - p * q; });
    expect("min", min(x, y), [](T p, T q, T) { return p < q ? p : q; });
    expect("max", max(x, y), [](T p, T q, T) { return p > q ? p : q; });
    expect("min_nan", min_nan(x, y), [](T p, T q, T) { return p < q || p != p ? p : q; });
    expect("max_nan", max_nan(x, y), [](T p, T q, T) { return p > q || p != p ? p : q; });
    expect("abs", abs(x), [](T p, T, T) { return std::abs(p); });
    expect("sqrt", sqrt(x), [](T p, T, T) { return std::sqrt(p); });
    expect("round", round(x), [](T p, T, T) { return std::nearbyint(p); });
    expect("floor", floor(x), [](T p, T, T) { return std::floor(p); });
    expect("ceil", ceil(x), [](T p, T, T) { return std::ceil(p); });
    expect("trunc", trunc(x), [](T p, T, T) { return std::trunc(p); });
    expect("copysign", copysign(x, y), [](T p, T q, T) { return std::copysign(p, q); });
    expect("lt", lt(x, y), [](T p, T q) { return p < q; });
    expect("le", le(x, y), [](T p, T q) { return p <= q; });
    expect("gt", gt(x, y), [](T p, T q) { return p > q; });
    expect("ge", ge(x, y), [](T p, T q) { return p >= q; });
    expect("eq", eq(x, y), [](T p, T q) { return p == q; });
    expect("ne", ne(x, y), [](T p, T q) { return p != q; });
    expect("is_nan", is_nan(x), [](T p, T) { return p != p; });
  }

  void run() {
    using L = std::numeric_limits<T>;
    for (T v : {T(0), T(0.3), T(0.5), T(1), T(1.5), T(2.5), T(3.7), T(1e5), L::min(), L::max(),
                L::denorm_min(), L::infinity(), L::quiet_NaN(), FloatBits<T>::kInteger,
                FloatBits<T>::kInteger / 2 + T(0.5), FloatBits<T>::kInteger - T(0.5)}) {
      values.push_back(v);
      values.push_back(-v);
    }
    const std::size_t n = values.size();
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; j += 1) {
        for (int k = 0; k < N; ++k) {
          a[k] = values[(i + k) % n];
          b[k] = values[(j + 3 * k) % n];
          c[k] = values[(i + j + 5 * k) % n];
        }
        const int before = failures;
        words();
        if (failures > before + 10) return;
      }
    }
    tails();
    reductions();
    powers();
  }

  void tails() {
    T memory[3 * N];
    for (int n = 0; n <= N; ++n) {
      for (int i = 0; i < 3 * N; ++i) memory[i] = T(i + 1);
      store(got, load_n(memory, n, T(-7)));
      for (int i = 0; i < N; ++i) expect("load_n", got[i], i < n ? T(i + 1) : T(-7));
      store(got, load_n(memory, n));
      for (int i = 0; i < N; ++i) expect("load_n", got[i], i < n ? T(i + 1) : T(0));
      for (int k = 0; k <= n; ++k) {
        store(got, load_where(memory, V::M::first(n) & !V::M::first(k)));
        for (int i = 0; i < N; ++i) expect("load_where", got[i], i >= k && i < n ? T(i + 1) : T(0));
      }
      store_n(memory + N, V::set(T(-1)), n);
      for (int i = 0; i < 3 * N; ++i) {
        expect("store_n", memory[i], i >= N && i < N + n ? T(-1) : T(i + 1));
      }
      if (bits(V::M::first(n)) != (1u << n) - 1u) ++failures, std::printf("first\n");
    }
  }

  void reductions() {
    for (int i = 0; i < N; ++i) a[i] = T(1) / T(i + 3) * (i % 3 ? T(1) : T(-1));
    T sum[N], largest = a[0];
    for (int i = 0; i < N; ++i) {
      sum[i] = a[i];
      largest = std::max(largest, a[i]);
    }
    for (int half = N / 2; half; half /= 2) {
      for (int i = 0; i < half; ++i) sum[i] += sum[i + half];
    }
    expect("hsum", hsum(load(a)), sum[0]);
    expect("hmax", hmax(load(a)), largest);
  }

  void powers() {
    const int low = sizeof(T) == 4 ? -252 : -2044, normal = sizeof(T) == 4 ? -126 : -1022;
    for (int n = low; n <= -low; ++n) {
      for (T x : {T(1), T(1.37), T(-0.7), T(1.99999), std::numeric_limits<T>::denorm_min()}) {
        store(got, scale2(V::set(x), V::set(T(n))));
        expect("scale2", got[0], std::ldexp(x, n));
        if (n >= normal && n <= -normal + 1) {
          store(got, pow2(V::set(T(n))));
          expect("pow2", got[0], std::ldexp(T(1), n));
          const T v = std::ldexp(T(1.5), n);
          store(got, exponent(V::set(v)));
          expect("exponent", got[0], T(n));
          store(got, mantissa(V::set(v)));
          expect("mantissa", got[0], T(1.5));
        }
      }
    }
  }
};

void halves() {
  constexpr int N = F32::N;
  for (std::uint32_t base = 0; base < 0x10000; base += N) {
    std::uint16_t in[N], out[N];
    float x[N];
    for (int i = 0; i < N; ++i) in[i] = std::uint16_t(base + i);
    auto check = [&](const char* word, float have, float want) {
      if (!same(have, want) && ++failures < 20) std::printf("%s: %a %a\n", word, have, want);
    };
    store(x, load_bf16(in));
    for (int i = 0; i < N; ++i) {
      BFloat16 h;
      h.bits = in[i];
      check("load_bf16", x[i], float(h));
    }
    store(x, load_f16(in));
    for (int i = 0; i < N; ++i) {
      Float16 h;
      h.bits = in[i];
      check("load_f16", x[i], float(h));
    }
    // Every float16 and bfloat16, the midpoint above it, and the midpoint's neighbours.
    for (int format = 0; format < 2; ++format) {
      for (std::uint32_t offset : {0u, 0x7fffu, 0x8000u, 0x8001u, 0xfffu, 0x1000u, 0x1001u}) {
        for (int i = 0; i < N; ++i) {
          Float16 h;
          h.bits = in[i];
          std::uint32_t u = std::uint32_t(in[i]) << 16;
          if (format == 1) u = __builtin_bit_cast(std::uint32_t, float(h));
          x[i] = __builtin_bit_cast(float, u + offset);
        }
        store_bf16(out, load(x));
        for (int i = 0; i < N; ++i) {
          BFloat16 want(x[i]), have;
          have.bits = out[i];
          check("store_bf16", float(have), float(want));
        }
        store_f16(out, load(x));
        for (int i = 0; i < N; ++i) {
          Float16 want(x[i]), have;
          have.bits = out[i];
          check("store_f16", float(have), float(want));
        }
      }
    }
  }
  float x[N], back[N];
  for (int i = 0; i < N; ++i) x[i] = 1.0f / float(i + 3);
  const F32 v = load(x);
  double wide[N];
  store(wide, widen_lo(v));
  store(wide + N / 2, widen_hi(v));
  store(back, narrow(widen_lo(v), widen_hi(v)));
  for (int i = 0; i < N; ++i) {
    if (wide[i] != double(x[i]) || back[i] != x[i]) ++failures, std::printf("widen, narrow\n");
  }
  std::uint16_t h[N + 1] = {}, h2[N + 1];
  for (int n = 0; n <= N; ++n) {
    std::memset(h2, 0x11, sizeof h2);
    store_bf16_n(h2, F32(1.0f), n);
    store_f16_n(h, F32(1.0f), n);
    for (int i = 0; i <= N; ++i) {
      if (h2[i] != (i < n ? 0x3f80 : 0x1111)) ++failures, std::printf("store_bf16_n\n");
      if (h[i] != (i < n ? 0x3c00 : 0)) ++failures, std::printf("store_f16_n\n");
    }
    store(x, load_bf16_n(h2, n));
    store(back, load_f16_n(h, n));
    for (int i = 0; i < N; ++i) {
      const float want = i < n ? 1.0f : 0.0f;
      if (x[i] != want || back[i] != want) ++failures, std::printf("load_bf16_n, load_f16_n\n");
    }
  }
}

void lines() {
  alignas(64) unsigned char y[3 * 64];
  unsigned char x[65];
  for (int i = 0; i < 65; ++i) x[i] = (unsigned char)(i * 3 + 1);
  std::memset(y, 0, sizeof y);
  stream_line(y + 64, x + 1);
  stream_fence();
  for (int i = 0; i < 192; ++i) {
    if (y[i] != (i / 64 == 1 ? x[1 + i % 64] : 0)) ++failures, std::printf("stream_line\n");
  }
}

int run(int, char**) {
  Check<float>().run();
  Check<double>().run();
  halves();
  lines();
  std::printf("%d x float: %d failures\n", F32::N, failures);
  return failures != 0;
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA

#include "simd_main.h"
