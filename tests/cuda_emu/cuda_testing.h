// What the tests of the CUDA kernels share: device memory, any dtype as double, the run in all
// schedules of the emulator, which must agree bit for bit.
#pragma once
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "cpp/check.h"
#include "cuda_emu/emulator.h"
#include "runtime/cuda_abi.h"

extern "C" const gradsmith::cuda::Api* gradsmith_cuda_api();

using namespace gradsmith;
using namespace gradsmith::cuda;

inline const Api& api = *gradsmith_cuda_api();
inline std::mt19937 rng(5);

inline double uniform(double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(rng);
}

// Device memory: exactly as long as asked for, poisoned.
struct Buffer {
  void* p = nullptr;
  std::size_t bytes;
  explicit Buffer(std::size_t n) : bytes(n) { CHECK(cudaMalloc(&p, n) == cudaSuccess); }
  ~Buffer() { cudaFree(p); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
};

inline double get(const void* p, DType dtype, std::int64_t i) {
  switch (dtype) {
    case DType::f32:
      return static_cast<const float*>(p)[i];
    case DType::f64:
      return static_cast<const double*>(p)[i];
    case DType::bf16:
      return double(float(static_cast<const BFloat16*>(p)[i]));
    case DType::f16:
      return double(float(static_cast<const Float16*>(p)[i]));
    case DType::i64:
      return double(static_cast<const std::int64_t*>(p)[i]);
    case DType::i32:
      return static_cast<const std::int32_t*>(p)[i];
    default:
      return static_cast<const std::uint8_t*>(p)[i];
  }
}
inline void set(void* p, DType dtype, std::int64_t i, double v) {
  switch (dtype) {
    case DType::f32:
      static_cast<float*>(p)[i] = float(v);
      break;
    case DType::f64:
      static_cast<double*>(p)[i] = v;
      break;
    case DType::bf16:
      static_cast<BFloat16*>(p)[i] = BFloat16(float(v));
      break;
    case DType::f16:
      static_cast<Float16*>(p)[i] = Float16(float(v));
      break;
    case DType::i64:
      static_cast<std::int64_t*>(p)[i] = std::int64_t(v);
      break;
    case DType::i32:
      static_cast<std::int32_t*>(p)[i] = std::int32_t(v);
      break;
    case DType::u8:
      static_cast<std::uint8_t*>(p)[i] = std::uint8_t(v);
      break;
    case DType::b8:
      static_cast<std::uint8_t*>(p)[i] = v != 0;
      break;
  }
}
inline double tolerance(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return 1e-6;
    case DType::f64:
      return 1e-14;
    case DType::bf16:
      return 1.0 / 128;
    case DType::f16:
      return 1.0 / 1000;
    default:
      return 0;
  }
}
inline bool close(double got, double want, double tol) {
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want)) return got == want;
  constexpr double kLeastNormal = 1e-38;  // float32 below it has fewer digits
  return std::abs(got - want) <= tol * std::abs(want) + kLeastNormal;
}

// Runs `call` in every schedule with the output poisoned before; the bits must agree.
inline void in_all_schedules(const std::string& what, Buffer& out,
                             const std::vector<unsigned char>& start,
                             const std::function<int()>& call) {
  std::vector<unsigned char> first;
  for (const cuda_emu::Schedule schedule : cuda_emu::kSchedules) {
    cuda_emu::options().schedule = schedule;
    cuda_emu::options().seed = 17;
    if (out.bytes) std::memcpy(out.p, start.data(), out.bytes);
    if (call() != 0) return gs_test::report(__FILE__, __LINE__, what + ": " + api.last_error());
    const auto* bytes = static_cast<unsigned char*>(out.p);
    if (out.bytes == 0) continue;
    if (first.empty()) first.assign(bytes, bytes + out.bytes);
    if (std::memcmp(first.data(), bytes, out.bytes) != 0)
      gs_test::report(__FILE__, __LINE__, what + ": schedules disagree");
  }
  cuda_emu::options().schedule = cuda_emu::Schedule::ascending;
}
inline void in_all_schedules(const std::string& what, Buffer& out,
                             const std::function<int()>& call) {
  in_all_schedules(what, out, std::vector<unsigned char>(out.bytes, 0xff), call);
}
