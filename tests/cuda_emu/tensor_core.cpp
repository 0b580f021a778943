#include "cuda_emu/tensor_core.h"

#include <bit>

#include "cuda_emu/machine.h"

namespace cuda_emu {
namespace {

int exponent(double x) { return int(std::bit_cast<std::uint64_t>(x) >> 52 & 0x7ff); }
double power_of_two(int biased) { return std::bit_cast<double>(std::uint64_t(biased) << 52); }

float toward_zero(double x) {
  const float nearest = float(x);
  if (std::isinf(nearest) || std::abs(double(nearest)) <= std::abs(x)) return nearest;
  return std::nextafter(nearest, 0.0f);
}

// Float16's own conversion is too slow for the inner loop.
const double* half_table() {
  static const std::vector<double> table = [] {
    std::vector<double> t(65536);
    for (unsigned bits = 0; bits < 65536; ++bits)
      t[bits] = double(float(__ushort_as_half(std::uint16_t(bits))));
    return t;
  }();
  return table.data();
}

}  // namespace

float fused_sum(float sum, const double* products, int n) {
  int most = sum == 0 ? 0 : exponent(sum);
  for (int i = 0; i < n; ++i)
    if (products[i] != 0) most = std::max(most, exponent(products[i]));
  if (most == 0x7ff) {
    double all = sum;
    for (int i = 0; i < n; ++i) all += products[i];
    return float(all);
  }
  if (most == 0) return sum;
  const int place = 23 + kExtraBits;  // of the last bit that counts, below the largest exponent
  const double up = power_of_two(2 * 1023 - (most - place)), down = power_of_two(most - place);
  std::int64_t total = std::int64_t(double(sum) * up);
  for (int i = 0; i < n; ++i) total += std::int64_t(products[i] * up);
  return toward_zero(double(total) * down);
}

void add_products(float* d, const double* a, const double* b, bool add) {
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 2; ++j) {
      double products[16];
      for (int k = 0; k < 16; ++k) products[k] = a[i * 16 + k] * b[j * 16 + k];
      d[2 * i + j] = fused_sum(add ? d[2 * i + j] : 0.0f, products, 16);
    }
}

double decode(Kind kind, std::uint32_t bits) {
  switch (kind) {
    case Kind::bf16:
      return double(__uint_as_float(bits << 16));
    case Kind::f16:
      return half_table()[bits & 0xffff];
    case Kind::tf32:
      return double(__uint_as_float(bits & 0xffffe000u));
  }
  return 0;
}

void mma(Kind kind, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  struct Factors {
    std::uint32_t a[4], b[2];
  } mine;
  std::memcpy(mine.a, a, sizeof(a));
  std::memcpy(mine.b, b, sizeof(b));
  const Warp& warp = deposit(0xffffffffu, &mine, sizeof(mine));
  Factors all[32];
  for (int lane = 0; lane < 32; ++lane) std::memcpy(&all[lane], warp.slot[lane], sizeof(Factors));
  // Word w of a factor's line, in the quad of lanes that holds the line. A word of 16-bit numbers
  // is two depths.
  const int lane = int(thread().linear & 31), group = lane / 4, pair = lane % 4;
  const bool wide = kind == Kind::tf32;
  const int depth = depth_of(kind), block = depth / 2;
  const auto element = [&](std::uint32_t word, int i) {
    return decode(kind, wide ? word : word >> (i % 2 * 16) & 0xffff);
  };
  for (int e = 0; e < 4; ++e) {
    const int upper = e / 2, column = 2 * pair + e % 2;
    for (int first = 0; first < depth; first += block) {
      double products[8];
      for (int i = 0; i < block; ++i) {
        const int half = (first + i) / block, in_quad = wide ? i : i / 2;
        products[i] = element(all[group * 4 + in_quad].a[half * 2 + upper], i) *
                      element(all[column * 4 + in_quad].b[half], i);
      }
      d[e] = fused_sum(d[e], products, block);
    }
  }
  warp_barrier(0xffffffffu);
}

void load_matrices(std::uint32_t (&words)[4], const void* row, bool transposed) {
  if (shared_offset(row, 16) % 16) die("ldmatrix: a row is not 16-byte aligned");
  const Warp& warp = deposit(0xffffffffu, &row, sizeof(row));
  const int lane = int(thread().linear & 31);
  for (int matrix = 0; matrix < 4; ++matrix) {
    const auto half = [&](int r, int c) {
      const std::uint16_t* line;
      std::memcpy(&line, warp.slot[matrix * 8 + r], sizeof(line));
      return line[c];
    };
    const int r = lane / 4, c = lane % 4 * 2;
    const std::uint32_t low = transposed ? half(c, r) : half(r, c);
    const std::uint32_t high = transposed ? half(c + 1, r) : half(r, c + 1);
    words[matrix] = low | high << 16;
  }
  warp_barrier(0xffffffffu);
}

void copy_async(void* shared, const void* global, int bytes) {
  if (shared_offset(shared, 16) % 16 || reinterpret_cast<std::uintptr_t>(global) % 16)
    die("cp.async: an address is not 16-byte aligned");
  if (bytes < 0 || bytes > 16) die("cp.async: a copy has 0 to 16 bytes");
  start(machine.running->copies, [=] {
    std::memset(shared, 0, 16);
    if (bytes) std::memcpy(shared, global, std::size_t(bytes));
  });
}
void copy_async_commit() { commit(machine.running->copies); }
void copy_async_wait(int groups_left) { finish(machine.running->copies, std::size_t(groups_left)); }

float round_to_tf32(float x) {
  const std::uint32_t u = __float_as_uint(x);
  if ((u & 0x7fffffffu) >= 0x7f800000u) return x;
  return __uint_as_float((u + 0x1000u) & ~0x1fffu);
}

}  // namespace cuda_emu
