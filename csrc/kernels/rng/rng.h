// Random fills and dropout from Philox 4x32-10 (runtime/philox.h).
//
// Formula: word j of a stream is lane j % 4 of the block with counter `block + j / 4`, hence a pure
// function of (seed, block, j).
//   uniform    f32 element i: word i, 24 bits;  f64: words 2i (upper 27 bits) and 2i + 1 (26 bits)
//              low + u * (high - low), never high itself
//   normal     Box-Muller: words (2i, 2i + 1) of f32 give element 2i, r cos(t), and the one after
//              it, r sin(t); f64 takes four words for the two; r = sqrt(-2 ln u) with u in (0, 1]
//              and t = 2 pi v
//   bernoulli  element i is 1 where the 24-bit uniform of word i is below p
//   integers   low + the upper half of the 128-bit product of words (2i, 2i + 1) and the range;
//              a value's probability is off by less than 2^-64
//   dropout    keeps where the 24-bit uniform of word i is at least p, and scales by 1 / (1 - p)
// Contract: contiguous arrays of any alignment. Leaves start at word 0 of their block, so a driver
// splits at multiples of four words. All but `normal` give the same bits on every target; `normal`
// differs by a few ulp between targets (fused or separate multiply-add in log, sin, cos), and by
// nothing between thread counts.
// Idea: a counter-based generator has no state to carry, so 16 blocks run side by side in vector
// lanes; the loops are written over arrays and vectorised by the compiler, because the vector
// vocabulary has no integers and 32 x 32 -> 64 multiplication needs none.
// Measured on 2^20 float32 values, ns each and against torch 2.13: uniform 2.6 (1.4), normal 3.6
// (1.4), dropout 3.2 (4.6); one thread of a loaded AMD Zen 3 (AVX2), 2026-11-23.
#pragma once
#include <cstdint>

#include "kernels/kernel.h"

namespace gradsmith::kernels {

struct RandomFill {
  void* out;
  std::int64_t count;
  std::uint64_t seed, block;
  double a = 0, b = 1;  // uniform: low and high; normal: mean and deviation; bernoulli: p in a
};

struct RandomIntegers {
  std::int64_t* out;
  std::int64_t count;
  std::uint64_t seed, block;
  std::int64_t low;
  std::uint64_t range;  // values low ... low + range - 1; 0 stands for 2^64
};

// p in [0, 1]. mask[i] is 1 where x[i] was kept.
struct DropoutForward {
  void* y;  // may be x
  std::uint8_t* mask;
  const void* x;
  std::int64_t count;
  std::uint64_t seed, block;
  double p;
};

// dx = dy * mask / (1 - p). dx may be dy.
struct DropoutBackward {
  void* dx;
  const void* dy;
  const std::uint8_t* mask;
  std::int64_t count;
  double p;
};

GS_KERNEL(random_uniform, void(const RandomFill& args));
GS_KERNEL(random_normal, void(const RandomFill& args));
GS_KERNEL(random_bernoulli, void(const RandomFill& args));  // rows u8 and b8
GS_KERNEL(random_integers, void(const RandomIntegers& args));
GS_KERNEL(dropout_forward, void(const DropoutForward& args));
GS_KERNEL(dropout_backward, void(const DropoutBackward& args));

// Counters that a call uses up; reserve_random() takes them. 32-bit words per element: 1 for
// float32 fills, bernoulli and dropout, 2 for float64 fills and integers.
constexpr std::uint64_t random_blocks(std::int64_t count, int words_per_element) {
  return (std::uint64_t(count) * std::uint64_t(words_per_element) + 3) / 4;
}
constexpr int random_words(DType dtype) { return dtype == DType::f64 ? 2 : 1; }

#if !defined(GS_ISA)
// Each splits its work over the threads; args.block counts from the whole call's first block.
GS_API void fill_uniform(DType dtype, const RandomFill& args);
GS_API void fill_normal(DType dtype, const RandomFill& args);
GS_API void fill_bernoulli(const RandomFill& args);  // bytes 0 and 1
GS_API void fill_integers(const RandomIntegers& args);
GS_API void dropout(DType dtype, const DropoutForward& args);
GS_API void dropout_grad(DType dtype, const DropoutBackward& args);
// A uniformly drawn permutation of 0 ... count - 1 (Fisher-Yates, sequential; 2 words an element).
GS_API void fill_permutation(std::int64_t* out, std::int64_t count, std::uint64_t seed,
                             std::uint64_t block);
#endif

}  // namespace gradsmith::kernels
