// Twins of kernels/cuda/mma.cuh: asynchronous copies to shared memory, ldmatrix, and products of
// small matrices as the tensor cores round them.
#pragma once
#include <cstddef>
#include <cstdint>

namespace cuda_emu {

// A model of the sums of tensor cores, after published experiments (Fasi et al. 2021, Khattak and
// Mikaitis 2025): products are exact; they and the sum so far are aligned to the largest of them
// and cut off (`kExtraBits` below float32's last place), added exactly, and the result is rounded
// toward zero. mma.sync takes 8 products of 16-bit numbers or 4 of tf32 at a time, wgmma twice as
// many. A card may keep other bits than this.
inline constexpr int kExtraBits = 1;
float fused_sum(float sum, const double* products, int n);
// d[2 i + j] (+)= line i of a times line j of b, of two lines of 16 depths each.
void add_products(float* d, const double* a, const double* b, bool add);

enum class Kind { bf16, f16, tf32 };
inline constexpr int depth_of(Kind kind) { return kind == Kind::tf32 ? 8 : 16; }
double decode(Kind kind, std::uint32_t bits);  // tf32: without the 13 bits that are not looked at

// d += a b, by the whole warp: m16n8k16, of tf32 m16n8k8.
void mma(Kind kind, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]);
// Lane l names row l % 8 of matrix l / 8, 16 bytes; it gets words l of the four 8x8 matrices.
void load_matrices(std::uint32_t (&words)[4], const void* row, bool transposed);

// 16 bytes to shared memory, the first `bytes` of them from global memory and the others zero.
void copy_async(void* shared, const void* global, int bytes);
void copy_async_commit();
void copy_async_wait(int groups_left);

float round_to_tf32(float x);  // to nearest, ties away from zero

}  // namespace cuda_emu
