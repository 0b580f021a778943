// What happens to a finished tile of C: out of the registers of a warp, through shared memory, so
// that every access to C, bias and residual is as wide as their layout allows.
#pragma once
#include <math.h>

#include "kernels/cuda/elements.cuh"
#include "runtime/cuda_abi.h"

namespace gradsmith::cuda {

inline __device__ float logistic(float x) {
  const float e = ::expf(-::fabsf(x));  // never overflows
  return (x < 0 ? e : 1.0f) / (1.0f + e);
}

inline __device__ float activate(Activation activation, float x, float slope) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x < 0 ? 0.0f : x;
    case Activation::leaky_relu:
      return x < 0 ? slope * x : x;
    case Activation::sigmoid:
      return logistic(x);
    case Activation::tanh:
      return ::tanhf(x);
    case Activation::gelu:
      return 0.5f * x * ::erfcf(x * -0.70710678f);
    case Activation::gelu_tanh:
      return x * logistic(1.5957691f * (x + 0.044715f * x * x * x));
    case Activation::silu:
      return x * logistic(x);
  }
  return x;
}

// Blocks that are launched after each other share rows of A and columns of B in the second-level
// cache: tiles go down `kGroup` rows before the next column.
struct TileOrder {
  static constexpr int kGroup = 8;
  std::int64_t rows, columns;  // tiles

  __device__ void place(std::int64_t tile, std::int64_t& row, std::int64_t& column) const {
    const std::int64_t group = tile / (kGroup * columns),
                       in_group = tile - group * kGroup * columns;
    const std::int64_t left = rows - group * kGroup, height = left < kGroup ? left : kGroup;
    row = group * kGroup + in_group % height;
    column = in_group / height;
  }
};

// Elements of C, bias and residual.
struct OutputType {
  bool narrow, bf16;  // 16 bits

  __device__ float load(const Matrix& x, std::int64_t at) const {
    return narrow ? decode(static_cast<const Half16*>(x.data)[at], bf16)
                  : static_cast<const float*>(x.data)[at];
  }
  __device__ void store(const Matrix& x, std::int64_t at, float value) const {
    if (narrow)
      static_cast<Half16*>(x.data)[at] = encode<Half16>(value, bf16);
    else
      static_cast<float*>(x.data)[at] = value;
  }
};

inline constexpr int kRun = 4;  // columns that a lane finishes at a time
inline constexpr int kFinishPad =
    8;  // floats between rows: fragments are written without conflicts

// The warp finishes kRows x kColumns sums that lie in shared memory, rows kColumns + kFinishPad
// floats apart, and belong at (row0, column0) of batch entry z.
template <int kRows, int kColumns>
__device__ void finish_tile(const GemmArgs& g, float* sums, std::int64_t z, std::int64_t row0,
                            std::int64_t column0) {
  constexpr int kPitch = kColumns + kFinishPad, kLanes = kColumns / kRun, kStep = 32 / kLanes;
  const OutputType type{g.out != DType::f32, g.out == DType::bf16};
  const int lane = int(threadIdx.x) % 32;
  const std::int64_t column = column0 + lane % kLanes * kRun;
  const std::int64_t size = type.narrow ? 2 : 4;
  const bool wide = g.c.cs == 1 && column + kRun <= g.n && g.c.rs % kRun == 0 &&
                    g.c.batch % kRun == 0 &&
                    reinterpret_cast<std::uintptr_t>(g.c.data) % (size * kRun) == 0;
  const bool plain = g.beta == 0.0f && !g.bias.data && !g.residual.data;
  GS_NO_UNROLL
  for (int r = lane / kLanes; r < kRows; r += kStep) {
    const std::int64_t row = row0 + r;
    if (row >= g.m) break;
    float* const run = sums + r * kPitch + lane % kLanes * kRun;
    const std::int64_t at = z * g.c.batch + row * g.c.rs + column * g.c.cs;
    Pack<float, kRun> values = *reinterpret_cast<const Pack<float, kRun>*>(run);
    GS_UNROLL
    for (int i = 0; i < kRun; ++i) values.v[i] *= g.alpha;
    if (!plain) {
      GS_UNROLL
      for (int i = 0; i < kRun; ++i) {
        const std::int64_t c = column + i;
        if (c >= g.n) continue;
        float& value = values.v[i];
        if (g.beta != 0.0f) value = ::fmaf(g.beta, type.load(g.c, at + i * g.c.cs), value);
        if (g.bias.data)
          value += type.load(g.bias, z * g.bias.batch + row * g.bias.rs + c * g.bias.cs);
        if (g.residual.data)
          value +=
              type.load(g.residual, z * g.residual.batch + row * g.residual.rs + c * g.residual.cs);
      }
    }
    if (g.activation == Activation::relu) {
      GS_UNROLL
      for (int i = 0; i < kRun; ++i) values.v[i] = values.v[i] < 0 ? 0.0f : values.v[i];
    } else if (g.activation != Activation::none) {
      // By way of memory: a loop that is not unrolled holds erf and its like once.
      *reinterpret_cast<Pack<float, kRun>*>(run) = values;
      GS_NO_UNROLL
      for (int i = 0; i < kRun; ++i) run[i] = activate(g.activation, run[i], g.slope);
      values = *reinterpret_cast<const Pack<float, kRun>*>(run);
    }
    if (wide && type.narrow) {
      Pack<Half16, kRun> out;
      GS_UNROLL
      for (int i = 0; i < kRun; ++i) out.v[i] = encode<Half16>(values.v[i], type.bf16);
      *reinterpret_cast<Pack<Half16, kRun>*>(static_cast<Half16*>(g.c.data) + at) = out;
    } else if (wide) {
      *reinterpret_cast<Pack<float, kRun>*>(static_cast<float*>(g.c.data) + at) = values;
    } else {
      GS_UNROLL
      for (int i = 0; i < kRun; ++i)
        if (column + i < g.n) type.store(g.c, at + i * g.c.cs, values.v[i]);
    }
  }
}

}  // namespace gradsmith::cuda
