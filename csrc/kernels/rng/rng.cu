// Random fills and dropout: the numbers of the CPU, word for word.
//
// Contract    see cuda_abi_index.h and rng.h. All but `normal` give the CPU's bits; `normal`
// differs
//             by a few ulp (CUDA's logarithm).
// Floor       The output once; dropout reads x and writes y and a byte of mask an element.
// Algorithm   A thread makes one block of four words, hence four float32 or two float64 values, and
//             writes them in one transaction where the output is aligned: an element's number
//             depends on its position only, and no thread has a state.
#include <math.h>

#include <cmath>

#include "kernels/elementwise/elementwise.cuh"
#include "runtime/philox.h"

namespace gradsmith::cuda {
namespace {

inline __device__ float add_rounded(float x, float y) { return __fadd_rn(x, y); }
inline __device__ double add_rounded(double x, double y) { return __dadd_rn(x, y); }
inline __device__ float mul_rounded(float x, float y) { return __fmul_rn(x, y); }
inline __device__ double mul_rounded(double x, double y) { return __dmul_rn(x, y); }

inline __device__ double unit53(std::uint32_t high, std::uint32_t low) {
  return (double(high >> 5) * 67108864.0 + double(low >> 6)) * (1.0 / 9007199254740992.0);
}
inline __device__ void unit(const PhiloxBlock& w, float (&u)[4]) {
  GS_UNROLL
  for (int i = 0; i < 4; ++i) u[i] = uniform24(w.word[i]);
}
inline __device__ void unit(const PhiloxBlock& w, double (&u)[2]) {
  u[0] = unit53(w.word[0], w.word[1]);
  u[1] = unit53(w.word[2], w.word[3]);
}

// sin and cos of 2 pi x, x in [0, 1), as in rng.simd.cpp: the quarter turn is exact, then Taylor.
template <class T>
__device__ void sincos_turn(T x, T& sine, T& cosine) {
  constexpr int kTerms = sizeof(T) == 4 ? 4 : 8;
  const T quarter = ::rint(x * T(4));
  const T t = ::fma(quarter, T(-0.25), x) * T(6.283185307179586476925286766559);
  const T t2 = t * t;
  T c[kTerms + 1], s[kTerms + 1];
  double factorial = 1;
  GS_UNROLL
  for (int k = 0; k <= kTerms; ++k) {
    c[k] = T((k % 2 ? -1 : 1) / factorial);
    factorial *= 2 * k + 1;
    s[k] = T((k % 2 ? -1 : 1) / factorial);
    factorial *= 2 * k + 2;
  }
  T pc = c[kTerms], ps = s[kTerms];
  GS_UNROLL
  for (int k = kTerms - 1; k >= 0; --k) {
    pc = ::fma(pc, t2, c[k]);
    ps = ::fma(ps, t2, s[k]);
  }
  ps *= t;
  const int q = int(quarter) & 3;
  sine = q % 2 ? pc : ps;
  cosine = q % 2 ? ps : pc;
  if (q >= 2) sine = -sine;
  if (q == 1 || q == 2) cosine = -cosine;
}

// The pair of normals that u in (0, 1] and v give.
template <class T>
__device__ void box_muller(T u, T v, T mean, T deviation, T* out) {
  const T r = ::sqrt(T(-2) * ::log(u));
  T s, c;
  sincos_turn(v, s, c);
  out[0] = ::fma(deviation, r * c, mean);
  out[1] = ::fma(deviation, r * s, mean);
}
inline __device__ void normals(const PhiloxBlock& w, float mean, float deviation, float (&out)[4]) {
  GS_UNROLL
  for (int h = 0; h < 2; ++h) {
    const float half = float(std::int32_t(w.word[2 * h] >> 1));
    const float u =
        __fadd_rn(__fmul_rn(half, 4.656612873077392578125e-10f), 2.3283064365386962890625e-10f);
    box_muller(u, uniform24(w.word[2 * h + 1]), mean, deviation, out + 2 * h);
  }
}
inline __device__ void normals(const PhiloxBlock& w, double mean, double deviation,
                               double (&out)[2]) {
  const double u = unit53(w.word[0], w.word[1]) + 1.0 / 9007199254740992.0;
  box_muller(u, unit53(w.word[2], w.word[3]), mean, deviation, out);
}

template <class T, int V>
__device__ void write(T* out, std::int64_t first, std::int64_t count, bool packed,
                      const T (&values)[V]) {
  if (packed && first + V <= count) {
    Pack<T, V> pack;
    GS_UNROLL
    for (int v = 0; v < V; ++v) pack.v[v] = values[v];
    *reinterpret_cast<Pack<T, V>*>(out + first) = pack;
    return;
  }
  GS_UNROLL
  for (int v = 0; v < V; ++v)
    if (first + v < count) out[first + v] = values[v];
}

struct Stream {
  std::int64_t count;
  std::uint64_t seed, block;
  const std::uint64_t* generator;  // as RandomArgs has it
  bool packed;

  __device__ std::int64_t mine() const { return std::int64_t(blockIdx.x) * kThreads + threadIdx.x; }
  __device__ PhiloxBlock draw() const {
    const std::uint64_t at = block + std::uint64_t(mine());
    return generator ? philox4x32(generator[0], generator[1] + at) : philox4x32(seed, at);
  }
};

template <class T>
__global__ void uniform_kernel(Stream stream, T* out, T low, T span, T last) {
  constexpr int V = 16 / int(sizeof(T));
  const std::int64_t first = stream.mine() * V;
  if (first >= stream.count) return;
  T u[V];
  unit(stream.draw(), u);
  GS_UNROLL
  for (int i = 0; i < V; ++i) {
    const T v = add_rounded(low, mul_rounded(u[i], span));
    u[i] = v < last ? v : last;
  }
  write(out, first, stream.count, stream.packed, u);
}

template <class T>
__global__ void normal_kernel(Stream stream, T* out, T mean, T deviation) {
  constexpr int V = 16 / int(sizeof(T));
  const std::int64_t first = stream.mine() * V;
  if (first >= stream.count) return;
  T values[V];
  normals(stream.draw(), mean, deviation, values);
  write(out, first, stream.count, stream.packed, values);
}

__global__ void bernoulli_kernel(Stream stream, std::uint8_t* out, std::uint32_t threshold) {
  const std::int64_t first = stream.mine() * 4;
  if (first >= stream.count) return;
  const PhiloxBlock w = stream.draw();
  std::uint8_t on[4];
  GS_UNROLL
  for (int i = 0; i < 4; ++i) on[i] = (w.word[i] >> 8) < threshold;
  write(out, first, stream.count, stream.packed, on);
}

__global__ void integers_kernel(Stream stream, std::int64_t* out, std::int64_t low,
                                std::uint64_t range) {
  const std::int64_t first = stream.mine() * 2;
  if (first >= stream.count) return;
  const PhiloxBlock w = stream.draw();
  std::int64_t values[2];
  GS_UNROLL
  for (int i = 0; i < 2; ++i) {
    const std::uint64_t bits = std::uint64_t(w.word[2 * i]) << 32 | w.word[2 * i + 1];
    const std::uint64_t product =
        std::uint64_t((static_cast<unsigned __int128>(bits) * range) >> 64);
    values[i] = std::int64_t(std::uint64_t(low) + (range ? product : bits));
  }
  write(out, first, stream.count, stream.packed, values);
}

template <class T, bool kBackward>
__global__ void dropout_kernel(Stream stream, T* y, std::uint8_t* mask, const T* x,
                               std::uint32_t threshold, T scale) {
  const std::int64_t first = stream.mine() * 4;
  if (first >= stream.count) return;
  PhiloxBlock w{};
  if constexpr (!kBackward) w = stream.draw();
  if (stream.packed && first + 4 <= stream.count) {
    Pack<T, 4> values = *reinterpret_cast<const Pack<T, 4>*>(x + first);
    Pack<std::uint8_t, 4> kept{};
    if constexpr (kBackward) kept = *reinterpret_cast<const Pack<std::uint8_t, 4>*>(mask + first);
    GS_UNROLL
    for (int i = 0; i < 4; ++i) {
      if constexpr (!kBackward) kept.v[i] = (w.word[i] >> 8) >= threshold;
      values.v[i] *= kept.v[i] ? scale : T(0);
    }
    if constexpr (!kBackward) *reinterpret_cast<Pack<std::uint8_t, 4>*>(mask + first) = kept;
    *reinterpret_cast<Pack<T, 4>*>(y + first) = values;
    return;
  }
  GS_UNROLL
  for (int i = 0; i < 4; ++i) {
    if (first + i >= stream.count) continue;
    if constexpr (!kBackward) mask[first + i] = (w.word[i] >> 8) >= threshold;
    y[first + i] = x[first + i] * (mask[first + i] ? scale : T(0));
  }
}

// u24 < p is, in integers, u24 < ceil(p * 2^24).
std::uint32_t threshold24(double p) {
  const double scaled = std::ceil(p * 16777216.0);
  return scaled > 0 ? (scaled < 16777216.0 ? std::uint32_t(scaled) : 16777216u) : 0;
}

template <class Kernel, class... Args>
int launch_stream(const char* what, Kernel kernel, int per_thread, const Stream& stream,
                  void* queue, const Args&... args) {
  if (stream.count == 0) return kOk;
  const std::int64_t blocks = blocks_for(stream.count, per_thread);
  if (blocks > kMaxGridX)
    return fail(kFailed,
                std::string(what) + ": " + std::to_string(stream.count) + " elements are too many");
  return launch(what, kernel, dim3(unsigned(blocks)), dim3(kThreads), 0, queue, stream, args...);
}

template <class T>
int launch_floats(const RandomArgs& a, const Stream& s, void* stream) {
  constexpr int V = 16 / int(sizeof(T));
  T* const out = static_cast<T*>(a.out);
  if (a.op == RandomOp::normal)
    return launch_stream("normal", normal_kernel<T>, V, s, stream, out, T(a.a), T(a.b));
  return launch_stream("uniform", uniform_kernel<T>, V, s, stream, out, T(a.a), T(a.b - a.a),
                       std::nextafter(T(a.b), T(a.a)));
}

template <class T>
int launch_dropout(const DropoutArgs& a, void* stream) {
  const bool packed = aligned16(a.y) && aligned16(a.x) && aligned16(a.mask);
  const Stream s{a.count, a.seed, a.block, a.generator, packed};
  const T scale = a.p < 1 ? T(1 / (1 - a.p)) : T(0);
  return launch_stream("dropout", a.backward ? dropout_kernel<T, true> : dropout_kernel<T, false>,
                       4, s, stream, static_cast<T*>(a.y), a.mask, static_cast<const T*>(a.x),
                       threshold24(a.p), scale);
}

}  // namespace

int random(const RandomArgs& a, void* stream) {
  const Stream s{a.count, a.seed, a.block, a.generator, aligned16(a.out)};
  if (a.op == RandomOp::bernoulli)
    return launch_stream("bernoulli", bernoulli_kernel, 4, s, stream,
                         static_cast<std::uint8_t*>(a.out), threshold24(a.a));
  if (a.op == RandomOp::integers)
    return launch_stream("integers", integers_kernel, 2, s, stream,
                         static_cast<std::int64_t*>(a.out), a.low, a.range);
  return a.dtype == DType::f64 ? launch_floats<double>(a, s, stream)
                               : launch_floats<float>(a, s, stream);
}

int dropout(const DropoutArgs& a, void* stream) {
  return a.dtype == DType::f64 ? launch_dropout<double>(a, stream)
                               : launch_dropout<float>(a, stream);
}

}  // namespace gradsmith::cuda
