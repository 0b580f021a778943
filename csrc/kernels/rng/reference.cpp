// Random fills one element at a time.
#include <cmath>

#include "kernels/rng/rng.h"
#include "runtime/philox.h"

namespace gradsmith::kernels::reference {
namespace {

std::uint32_t word(std::uint64_t seed, std::uint64_t block, std::int64_t j) {
  return philox4x32(seed, block + std::uint64_t(j) / 4)[std::size_t(j % 4)];
}

double uniform53(std::uint32_t high, std::uint32_t low) {
  return (double(high >> 5) * 67108864.0 + double(low >> 6)) * (1.0 / 9007199254740992.0);
}

template <class T>
T below(double high, double low) {  // the largest value that is not yet high
  return std::nextafter(T(high), T(low));
}

template <class T>
double uniform(const RandomFill& a, std::int64_t i) {
  if constexpr (sizeof(T) == 4) return double(uniform24(word(a.seed, a.block, i)));
  return uniform53(word(a.seed, a.block, 2 * i), word(a.seed, a.block, 2 * i + 1));
}

template <class T>
void uniform_fill(const RandomFill& a) {
  T* out = static_cast<T*>(a.out);
  const T low = T(a.a), span = T(a.b - a.a), last = below<T>(a.b, a.a);
  for (std::int64_t i = 0; i < a.count; ++i) {
    const T scaled = T(uniform<T>(a, i)) * span;
    const T v = low + scaled;
    out[i] = v < last ? v : last;
  }
}

template <class T>
void normal_fill(const RandomFill& a) {
  T* out = static_cast<T*>(a.out);
  for (std::int64_t i = 0; i < a.count; ++i) {
    const std::int64_t pair = i / 2;
    double u, v;
    if constexpr (sizeof(T) == 4) {
      const float half = float(std::int32_t(word(a.seed, a.block, 2 * pair) >> 1));
      const float scaled = half * 4.656612873077392578125e-10f;  // 2^-31
      u = double(scaled + 2.3283064365386962890625e-10f);        // 2^-32
      v = double(uniform24(word(a.seed, a.block, 2 * pair + 1)));
    } else {
      u = uniform53(word(a.seed, a.block, 4 * pair), word(a.seed, a.block, 4 * pair + 1));
      u += 1.0 / 9007199254740992.0;
      v = uniform53(word(a.seed, a.block, 4 * pair + 2), word(a.seed, a.block, 4 * pair + 3));
    }
    const double r = std::sqrt(-2 * std::log(u)), t = 6.283185307179586476925286766559 * v;
    out[i] = T(a.a + a.b * (r * (i % 2 == 0 ? std::cos(t) : std::sin(t))));
  }
}

void bernoulli(const RandomFill& a) {
  std::uint8_t* out = static_cast<std::uint8_t*>(a.out);
  for (std::int64_t i = 0; i < a.count; ++i) {
    out[i] = double(uniform24(word(a.seed, a.block, i))) < a.a;
  }
}

template <class T>
void forward(const DropoutForward& a) {
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  for (std::int64_t i = 0; i < a.count; ++i) {
    a.mask[i] = double(uniform24(word(a.seed, a.block, i))) >= a.p;
    y[i] = x[i] * (a.mask[i] ? T(1 / (1 - a.p)) : T(0));
  }
}

template <class T>
void backward(const DropoutBackward& a) {
  const T* dy = static_cast<const T*>(a.dy);
  T* dx = static_cast<T*>(a.dx);
  for (std::int64_t i = 0; i < a.count; ++i) {
    dx[i] = dy[i] * (a.mask[i] ? T(1 / (1 - a.p)) : T(0));
  }
}

}  // namespace

void random_uniform_f32(const RandomFill& a) { uniform_fill<float>(a); }
void random_uniform_f64(const RandomFill& a) { uniform_fill<double>(a); }
void random_normal_f32(const RandomFill& a) { normal_fill<float>(a); }
void random_normal_f64(const RandomFill& a) { normal_fill<double>(a); }
void random_bernoulli_u8(const RandomFill& a) { bernoulli(a); }
void random_bernoulli_b8(const RandomFill& a) { bernoulli(a); }
void random_integers_i64(const RandomIntegers& a) {
  for (std::int64_t i = 0; i < a.count; ++i) {
    const std::uint64_t bits =
        std::uint64_t(word(a.seed, a.block, 2 * i)) << 32 | word(a.seed, a.block, 2 * i + 1);
    const auto product = static_cast<unsigned __int128>(bits) * a.range;
    const std::uint64_t value = a.range ? std::uint64_t(product >> 64) : bits;
    a.out[i] = std::int64_t(std::uint64_t(a.low) + value);
  }
}
void dropout_forward_f32(const DropoutForward& a) { forward<float>(a); }
void dropout_forward_f64(const DropoutForward& a) { forward<double>(a); }
void dropout_backward_f32(const DropoutBackward& a) { backward<float>(a); }
void dropout_backward_f64(const DropoutBackward& a) { backward<double>(a); }

}  // namespace gradsmith::kernels::reference
