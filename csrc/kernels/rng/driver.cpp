// Splits fills over threads at multiples of kGrain elements, i.e. at block boundaries.
#include "kernels/rng/rng.h"
#include "runtime/parallel.h"
#include "runtime/philox.h"

namespace gradsmith::kernels {
namespace {

constexpr std::int64_t kGrain = 8192;  // about 10 us of one core

// leaf(args) on every part; out is moved by bytes, block by the words before the part.
template <class Args, class Leaf, class Move>
void split(const Args& args, int words, Leaf leaf, const Move& move) {
  parallel_for(args.count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    Args part = args;
    part.count = end - begin;
    if constexpr (requires { part.block; }) part.block += random_blocks(begin, words);
    move(part, begin);
    leaf(part);
  });
}

void* advance(void* p, std::int64_t bytes) { return static_cast<char*>(p) + bytes; }
const void* advance(const void* p, std::int64_t bytes) {
  return static_cast<const char*>(p) + bytes;
}

void split_fill(const RandomFill& args, int words, std::int64_t item_bytes,
                random_uniform_fn* leaf) {
  split(args, words, leaf, [&](RandomFill& part, std::int64_t begin) {
    part.out = advance(part.out, begin * item_bytes);
  });
}

}  // namespace

void fill_uniform(DType dtype, const RandomFill& args) {
  split_fill(args, random_words(dtype), std::int64_t(itemsize(dtype)), random_uniform.pick(dtype));
}

void fill_normal(DType dtype, const RandomFill& args) {
  split_fill(args, random_words(dtype), std::int64_t(itemsize(dtype)), random_normal.pick(dtype));
}

void fill_bernoulli(const RandomFill& args) {
  split_fill(args, 1, 1, random_bernoulli.pick(DType::u8));
}

void fill_integers(const RandomIntegers& args) {
  split(args, 2, random_integers.pick(DType::i64),
        [](RandomIntegers& part, std::int64_t begin) { part.out += begin; });
}

void dropout(DType dtype, const DropoutForward& args) {
  const std::int64_t item_bytes = std::int64_t(itemsize(dtype));
  split(args, 1, dropout_forward.pick(dtype), [&](DropoutForward& part, std::int64_t begin) {
    part.y = advance(part.y, begin * item_bytes);
    part.x = advance(part.x, begin * item_bytes);
    part.mask += begin;
  });
}

void dropout_grad(DType dtype, const DropoutBackward& args) {
  const std::int64_t item_bytes = std::int64_t(itemsize(dtype));
  split(args, 1, dropout_backward.pick(dtype), [&](DropoutBackward& part, std::int64_t begin) {
    part.dx = advance(part.dx, begin * item_bytes);
    part.dy = advance(part.dy, begin * item_bytes);
    part.mask += begin;
  });
}

void fill_permutation(std::int64_t* out, std::int64_t count, std::uint64_t seed,
                      std::uint64_t block) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = i;
  for (std::int64_t i = count - 1; i > 0; --i) {
    const auto words = philox4x32(seed, block + std::uint64_t(i) / 2);
    const std::size_t at = 2 * std::size_t(i % 2);
    const std::uint64_t bits = std::uint64_t(words[at]) << 32 | words[at + 1];
    const auto j =
        std::int64_t((static_cast<unsigned __int128>(bits) * (std::uint64_t(i) + 1)) >> 64);
    const std::int64_t held = out[i];
    out[i] = out[j];
    out[j] = held;
  }
}

}  // namespace gradsmith::kernels
