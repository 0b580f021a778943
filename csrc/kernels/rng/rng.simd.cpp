// Philox over 16 counters at a time. Integer work is plain loops over arrays of 16, which the
// compiler turns into vectors; Box-Muller uses the vector vocabulary.
#include "kernels/rng/rng.h"
#include "kernels/simd/math.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

constexpr int kBlocks = 16;          // counters side by side
constexpr int kWords = 4 * kBlocks;  // random words per round trip

// word(j) of the 64 words that start at `block`: lane j % 4 of block j / 4.
struct Words {
  alignas(64) u32 lane[4][kBlocks];
  u32 operator[](int j) const { return lane[j % 4][j / 4]; }
};

inline void philox(Words& w, u64 seed, u64 block) {
  u32 *c0 = w.lane[0], *c1 = w.lane[1], *c2 = w.lane[2], *c3 = w.lane[3];
  for (int i = 0; i < kBlocks; ++i) {
    const u64 counter = block + u64(i);
    c0[i] = u32(counter);
    c1[i] = u32(counter >> 32);
    c2[i] = 0;
    c3[i] = 0;
  }
  u32 k0 = u32(seed), k1 = u32(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kBlocks; ++i) {
      const u64 p0 = u64(0xD2511F53u) * c0[i];
      const u64 p1 = u64(0xCD9E8D57u) * c2[i];
      const u32 n0 = u32(p1 >> 32) ^ c1[i] ^ k0;
      const u32 n2 = u32(p0 >> 32) ^ c3[i] ^ k1;
      c1[i] = u32(p1);
      c3[i] = u32(p0);
      c0[i] = n0;
      c2[i] = n2;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// Values of one round trip: 64 floats or 32 doubles.
template <class T>
constexpr int kBatch = kWords / int(sizeof(T) / 4);

// Uniform in [0, 1): 24 bits for float, 53 for double.
inline void unit(float* u, const Words& w) {
  for (int b = 0; b < kBlocks; ++b) {
    for (int l = 0; l < 4; ++l) {
      u[4 * b + l] = float(std::int32_t(w.lane[l][b] >> 8)) * 5.9604644775390625e-8f;
    }
  }
}
inline double unit53(u32 high, u32 low) {
  return (double(std::int32_t(high >> 5)) * 67108864.0 + double(std::int32_t(low >> 6))) *
         (1.0 / 9007199254740992.0);
}
inline void unit(double* u, const Words& w) {
  for (int b = 0; b < kBlocks; ++b) {
    u[2 * b] = unit53(w.lane[0][b], w.lane[1][b]);
    u[2 * b + 1] = unit53(w.lane[2][b], w.lane[3][b]);
  }
}

// make(batch, words) fills a batch; whole batches go straight to `out`.
template <class T, class Make>
inline void each_batch(T* out, std::int64_t count, u64 seed, u64 block, int batch,
                       const Make& make) {
  Words w;
  std::int64_t i = 0;
  for (; i + batch <= count; i += batch, block += kBlocks) {
    philox(w, seed, block);
    make(out + i, w);
  }
  if (i == count) return;
  T last[kWords];
  philox(w, seed, block);
  make(last, w);
  for (int j = 0; j < int(count - i); ++j) out[i + j] = last[j];
}

// The next value from `high` towards `low`, by its bits; high and low finite.
template <class T, class Bits>
inline T below(T high, T low) {
  if (high == low) return high;
  Bits bits;
  __builtin_memcpy(&bits, &high, sizeof bits);
  if (high == 0) {
    bits = (Bits(1) << (8 * sizeof bits - 1)) | 1;  // the smallest negative number
  } else {
    bits += (high > 0) == (high > low) ? Bits(-1) : Bits(1);
  }
  T v;
  __builtin_memcpy(&v, &bits, sizeof v);
  return v;
}

template <class T, class Bits>
void uniform(const RandomFill& a) {
  const T low = T(a.a), span = T(a.b - a.a), last = below<T, Bits>(T(a.b), T(a.a));
  each_batch(static_cast<T*>(a.out), a.count, a.seed, a.block, kBatch<T>,
             [=](T* out, const Words& w) {
               unit(out, w);
               for (int j = 0; j < kBatch<T>; ++j) {
                 const T v = low + out[j] * span;
                 out[j] = v < last ? v : last;
               }
             });
}

// sin and cos of 2 pi x, x in [0, 1): the quarter turn is split off exactly, the rest is a Taylor
// series on [-pi/4, pi/4], whose next term is below half an ulp.
template <class V>
inline void sincos_turn(V x, V& sine, V& cosine) {
  using T = typename V::T;
  constexpr int kTerms = sizeof(T) == 4 ? 4 : 8;
  const V quarter = round(x * V::set(T(4)));
  const V t = fnma(quarter, V::set(T(0.25)), x) * V::set(T(6.283185307179586476925286766559));
  const V t2 = t * t;
  T c[kTerms + 1], s[kTerms + 1];  // (-1)^k / (2k)! and / (2k + 1)!, folded by the compiler
  double factorial = 1;
  for (int k = 0; k <= kTerms; ++k) {
    c[k] = T((k % 2 ? -1 : 1) / factorial);
    factorial *= 2 * k + 1;
    s[k] = T((k % 2 ? -1 : 1) / factorial);
    factorial *= 2 * k + 2;
  }
  V pc = V::set(c[kTerms]), ps = V::set(s[kTerms]);
  for (int k = kTerms - 1; k >= 0; --k) {
    pc = fma(pc, t2, V::set(c[k]));
    ps = fma(ps, t2, V::set(s[k]));
  }
  ps = ps * t;
  const auto one = eq(quarter, V::set(T(1))), two = eq(quarter, V::set(T(2)));
  const auto three = eq(quarter, V::set(T(3)));
  const auto odd = one | three;
  sine = select(odd, pc, ps);
  cosine = select(odd, ps, pc);
  sine = select(two | three, -sine, sine);
  cosine = select(one | two, -cosine, cosine);
}

// The two uniforms of every pair of normals, u in (0, 1].
inline void pairs(float* u, float* v, const Words& w) {
  for (int b = 0; b < kBlocks; ++b) {
    for (int h = 0; h < 2; ++h) {
      const float half = float(std::int32_t(w.lane[2 * h][b] >> 1));
      u[2 * b + h] = half * 4.656612873077392578125e-10f + 2.3283064365386962890625e-10f;
      v[2 * b + h] = float(std::int32_t(w.lane[2 * h + 1][b] >> 8)) * 5.9604644775390625e-8f;
    }
  }
}
inline void pairs(double* u, double* v, const Words& w) {
  for (int b = 0; b < kBlocks; ++b) {
    u[b] = unit53(w.lane[0][b], w.lane[1][b]) + 1.0 / 9007199254740992.0;
    v[b] = unit53(w.lane[2][b], w.lane[3][b]);
  }
}

template <class T>
void normal(const RandomFill& a) {
  using V = Vec<T>;
  constexpr int kPairs = kBatch<T> / 2;
  const V mean = V::set(T(a.a)), deviation = V::set(T(a.b));
  each_batch(static_cast<T*>(a.out), a.count, a.seed, a.block, kBatch<T>,
             [=](T* out, const Words& w) {
               alignas(64) T u[kPairs], v[kPairs];
               pairs(u, v, w);
               for (int j = 0; j < kPairs; j += V::N) {
                 const V r = sqrt(log(load(u + j)) * V::set(T(-2)));
                 V s, c;
                 sincos_turn(load(v + j), s, c);
                 store(u + j, fma(deviation, r * c, mean));
                 store(v + j, fma(deviation, r * s, mean));
               }
               for (int j = 0; j < kPairs; ++j) {
                 out[2 * j] = u[j];
                 out[2 * j + 1] = v[j];
               }
             });
}

// u24 < p is, in integers, u24 < ceil(p * 2^24).
inline u32 threshold24(double p) {
  const double scaled = p * 16777216.0;
  if (!(scaled > 0)) return 0;
  if (scaled >= 16777216.0) return 16777216;
  const u32 whole = u32(scaled);
  return whole + (double(whole) < scaled);
}

inline void below_threshold(std::uint8_t* out, const Words& w, u32 threshold) {
  for (int b = 0; b < kBlocks; ++b) {
    for (int l = 0; l < 4; ++l) out[4 * b + l] = (w.lane[l][b] >> 8) < threshold;
  }
}

void bernoulli(const RandomFill& a) {
  const u32 threshold = threshold24(a.a);
  each_batch(static_cast<std::uint8_t*>(a.out), a.count, a.seed, a.block, kWords,
             [=](std::uint8_t* out, const Words& w) { below_threshold(out, w, threshold); });
}

template <class T>
void forward(const DropoutForward& a) {
  const T scale = a.p < 1 ? T(1 / (1 - a.p)) : T(0);
  const u32 threshold = threshold24(a.p);
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  Words w;
  std::uint8_t drop[kWords];
  u64 block = a.block;
  for (std::int64_t i = 0; i < a.count; i += kWords, block += kBlocks) {
    philox(w, a.seed, block);
    below_threshold(drop, w, threshold);
    const int n = a.count - i < kWords ? int(a.count - i) : kWords;
    for (int j = 0; j < n; ++j) a.mask[i + j] = drop[j] ^ 1;
    for (int j = 0; j < n; ++j) y[i + j] = x[i + j] * (drop[j] ? T(0) : scale);
  }
}

template <class T>
void backward(const DropoutBackward& a) {
  const T scale = a.p < 1 ? T(1 / (1 - a.p)) : T(0);
  const T* dy = static_cast<const T*>(a.dy);
  T* dx = static_cast<T*>(a.dx);
  for (std::int64_t i = 0; i < a.count; ++i) dx[i] = dy[i] * (a.mask[i] ? scale : T(0));
}

}  // namespace

void random_uniform_f32(const RandomFill& a) { uniform<float, u32>(a); }
void random_uniform_f64(const RandomFill& a) { uniform<double, u64>(a); }
void random_normal_f32(const RandomFill& a) { normal<float>(a); }
void random_normal_f64(const RandomFill& a) { normal<double>(a); }
void random_bernoulli_u8(const RandomFill& a) { bernoulli(a); }
void random_bernoulli_b8(const RandomFill& a) { bernoulli(a); }
void random_integers_i64(const RandomIntegers& a) {
  each_batch(a.out, a.count, a.seed, a.block, kWords / 2, [&](std::int64_t* out, const Words& w) {
    for (int j = 0; j < kWords / 2; ++j) {
      const u64 bits = u64(w[2 * j]) << 32 | w[2 * j + 1];
      const u64 product = u64((static_cast<unsigned __int128>(bits) * a.range) >> 64);
      out[j] = std::int64_t(u64(a.low) + (a.range ? product : bits));
    }
  });
}
void dropout_forward_f32(const DropoutForward& a) { forward<float>(a); }
void dropout_forward_f64(const DropoutForward& a) { forward<double>(a); }
void dropout_backward_f32(const DropoutBackward& a) { backward<float>(a); }
void dropout_backward_f64(const DropoutBackward& a) { backward<double>(a); }

}  // namespace gradsmith::kernels::GS_ISA
