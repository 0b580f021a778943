// Random fills: the published Philox vectors, the same bits on every target (normal: within a few
// ulp), for any number of threads and however a fill is cut; moments; dropout.
#include "kernel_testing.h"
#include "kernels/rng/rng.h"
#include "runtime/parallel.h"
#include "runtime/philox.h"

namespace {

using namespace gradsmith;
using namespace gradsmith::kernels;
using namespace gradsmith::testing;

constexpr std::uint64_t kSeed = 0x1234567890abcdefu;
constexpr std::uint64_t kBlock = 0xffffffffu - 3;  // the counter's low word overflows on the way
const std::int64_t kSizes[] = {0, 1, 2, 3, 7, 17, 31, 33, 63, 64, 65, 127, 129, 1000};

template <class Fn>
Fn* reference_of(const Kernel<Fn>& op, DType dtype) {
  return op.fn[int(dtype)][int(Target::reference)];
}

void check_known_answers() {  // Random123's known answer test
  const auto zero = philox4x32(0, 0);
  report(zero[0] == 0x6627e8d5u && zero[1] == 0xe169c58du && zero[2] == 0xbc57ac4cu &&
             zero[3] == 0x9b00dbd8u,
         "philox of zeros");
  const auto ones = philox4x32(~0ull, ~0ull, ~0ull);
  report(ones[0] == 0x408f276du && ones[1] == 0x41c83b0eu && ones[2] == 0xa20bc7c6u &&
             ones[3] == 0x6d5451fdu,
         "philox of ones");
}

template <class T>
void check_fills(const std::string& target) {
  constexpr DType dtype = dtype_of<T>;
  for (std::int64_t n : kSizes) {
    const std::string what = target + " n=" + std::to_string(n);
    Poisoned<T> got(n), want(n);
    RandomFill fill{.out = got.data(), .count = n, .seed = kSeed, .block = kBlock, .a = -1, .b = 3};
    RandomFill oracle = fill;
    oracle.out = want.data();
    random_uniform.pick(dtype)(fill);
    reference_of(random_uniform, dtype)(oracle);
    report(same_bits(got, want) && got.frame_intact(), "uniform " + what);

    random_normal.pick(dtype)(fill);
    reference_of(random_normal, dtype)(oracle);
    report(got.frame_intact(), "normal wrote outside " + what);
    for (std::int64_t i = 0; i < n; ++i) {
      const double tolerance = sizeof(T) == 4 ? 4e-6 : 8e-15;
      report(std::fabs(got[i] - want[i]) <= tolerance, "normal " + what);
    }
  }
  // u = 1 - 2^-24 would round up to high.
  std::vector<T> tight(1 << 14);
  random_uniform.pick(dtype)({.out = tight.data(),
                              .count = 1 << 14,
                              .seed = 1,
                              .block = 0,
                              .a = 1,
                              .b = 1 + 8 * double(std::numeric_limits<T>::epsilon())});
  for (T v : tight) {
    report(v >= 1 && v < T(1 + 8 * double(std::numeric_limits<T>::epsilon())), "uniform at high");
  }
}

void check_integers(const std::string& target) {
  for (std::uint64_t range :
       {std::uint64_t(1), std::uint64_t(10), std::uint64_t(1) << 63, std::uint64_t(0)}) {
    for (std::int64_t n : kSizes) {
      Poisoned<std::int64_t> got(n), want(n);
      RandomIntegers fill{got.data(), n, kSeed, kBlock, -5, range};
      random_integers.pick(DType::i64)(fill);
      fill.out = want.data();
      reference_of(random_integers, DType::i64)(fill);
      report(same_bits(got, want) && got.frame_intact(), "integers " + target);
      if (range == 10) {
        for (std::int64_t i = 0; i < n; ++i) report(got[i] >= -5 && got[i] < 5, "integers range");
      }
    }
  }
}

template <class T>
void check_dropout(const std::string& target) {
  constexpr DType dtype = dtype_of<T>;
  for (double p : {0.0, 0.3, 0.5, 1.0}) {
    for (std::int64_t n : kSizes) {
      const std::string what = target + " p=" + std::to_string(p) + " n=" + std::to_string(n);
      const auto x = random_values<T>(n, 5);
      Poisoned<T> y(n), want(n), dx(n);
      Poisoned<std::uint8_t> mask(n), want_mask(n);
      DropoutForward forward{y.data(), mask.data(), x.data(), n, kSeed, kBlock, p};
      dropout_forward.pick(dtype)(forward);
      forward.y = want.data();
      forward.mask = want_mask.data();
      reference_of(dropout_forward, dtype)(forward);
      report(same_bits(y, want) && same_bits(mask, want_mask), "dropout " + what);
      report(y.frame_intact() && mask.frame_intact(), "dropout wrote outside " + what);
      dropout_backward.pick(dtype)({dx.data(), x.data(), mask.data(), n, p});
      report(same_bits(dx, y) && dx.frame_intact(), "dropout backward " + what);

      Poisoned<std::uint8_t> drawn(n);
      random_bernoulli.pick(DType::b8)(
          {.out = drawn.data(), .count = n, .seed = kSeed, .block = kBlock, .a = p});
      for (std::int64_t i = 0; i < n; ++i) {
        report(drawn[i] + mask[i] == 1, "bernoulli is the complement of dropout's mask " + what);
      }
      report(drawn.frame_intact(), "bernoulli wrote outside " + what);
    }
  }
}

template <class T>
void check_driver_and_moments() {
  constexpr DType dtype = dtype_of<T>;
  const std::int64_t n = 300001;
  std::vector<T> first, now(std::size_t(n), T(0));
  for (int threads : {1, 2, 3}) {
    set_num_threads(threads);
    fill_normal(dtype, {.out = now.data(), .count = n, .seed = 42, .block = 7, .a = 2, .b = 3});
    if (threads == 1) first = now;
    report(now == first, "normal: other bits with more threads");
  }
  // A piece from element 4096 on is that part of the whole.
  fill_normal(dtype, {.out = now.data(),
                      .count = 1000,
                      .seed = 42,
                      .block = 7 + random_blocks(4096, random_words(dtype)),
                      .a = 2,
                      .b = 3});
  bool same = true;
  for (std::size_t i = 0; i < 1000; ++i) same = same && now[i] == first[4096 + i];
  report(same, "normal: a piece differs from the whole");

  double mean = 0, square = 0, fourth = 0;
  for (T v : first) mean += (v - 2.0) / 3;
  for (T v : first) square += std::pow((v - 2.0) / 3, 2);
  for (T v : first) fourth += std::pow((v - 2.0) / 3, 4);
  report(std::fabs(mean / n) < 0.01, "normal mean");
  report(std::fabs(square / n - 1) < 0.01, "normal variance");
  report(std::fabs(fourth / n - 3) < 0.1, "normal fourth moment");

  fill_uniform(dtype, {.out = now.data(), .count = n, .seed = 9, .block = 0, .a = 0, .b = 1});
  double sum = 0;
  bool inside = true;
  for (T v : now) {
    sum += v;
    inside = inside && v >= 0 && v < 1;
  }
  report(inside && std::fabs(sum / n - 0.5) < 0.005, "uniform mean");
  set_num_threads(1);
}

void check_permutation() {
  for (std::int64_t n : {0, 1, 2, 7, 1000}) {
    std::vector<std::int64_t> p(std::size_t(n), -1);
    fill_permutation(p.data(), n, 3, 0);
    std::vector<bool> seen(std::size_t(n), false);
    for (std::int64_t v : p) {
      report(v >= 0 && v < n && !seen[std::size_t(v)], "permutation");
      if (v >= 0 && v < n) seen[std::size_t(v)] = true;
    }
  }
  int counts[6] = {};  // all orders of three elements come up equally often
  for (std::uint64_t seed = 0; seed < 6000; ++seed) {
    std::int64_t p[3];
    fill_permutation(p, 3, seed, 0);
    ++counts[2 * p[0] + (p[1] > p[2])];
  }
  for (int c : counts) report(c > 850 && c < 1150, "permutation is not uniform");
}

}  // namespace

int main() {
  check_known_answers();
  for_each_target([](const std::string& target) {
    check_fills<float>(target);
    check_fills<double>(target);
    check_integers(target);
    check_dropout<float>(target);
    check_dropout<double>(target);
    check_driver_and_moments<float>();
    check_driver_and_moments<double>();
  });
  check_permutation();
  return finish("test_rng");
}
