// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a
// counter-based generator, so element i of a stream is the same on every target, device and
// thread count.
#pragma once
#include <cstddef>
#include <cstdint>

#include "gradsmith/export.h"

#if defined(__CUDACC__)
#define GS_HOST_DEVICE __host__ __device__
#else
#define GS_HOST_DEVICE
#endif

namespace gradsmith {

struct PhiloxState {
  std::uint64_t seed;
  std::uint64_t offset;  // counter of the first block of four numbers
};

struct PhiloxBlock {
  std::uint32_t word[4];
  GS_HOST_DEVICE std::uint32_t operator[](std::size_t i) const { return word[i]; }
};

GS_HOST_DEVICE inline PhiloxBlock philox4x32(std::uint64_t seed, std::uint64_t counter,
                                             std::uint64_t stream = 0) {
  std::uint32_t c0 = std::uint32_t(counter), c1 = std::uint32_t(counter >> 32);
  std::uint32_t c2 = std::uint32_t(stream), c3 = std::uint32_t(stream >> 32);
  std::uint32_t k0 = std::uint32_t(seed), k1 = std::uint32_t(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t(0xD2511F53u) * c0;
    const std::uint64_t p1 = std::uint64_t(0xCD9E8D57u) * c2;
    const std::uint32_t n0 = std::uint32_t(p1 >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = std::uint32_t(p0 >> 32) ^ c3 ^ k1;
    c1 = std::uint32_t(p1);
    c3 = std::uint32_t(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Uniform in [0, 1) with 24 bits: the float nearest below is always representable.
GS_HOST_DEVICE inline float uniform24(std::uint32_t u) {
  return float(u >> 8) * 5.9604644775390625e-8f;
}

// The process-wide default generator.
GS_API void manual_seed(std::uint64_t seed);
GS_API PhiloxState generator_state();
GS_API void set_generator_state(PhiloxState state);
// Reserves `blocks` counters for one call and returns where they start.
GS_API PhiloxState reserve_random(std::uint64_t blocks);

}  // namespace gradsmith
