// Runs CUDA kernels on the CPU: the .cu files of the library are compiled against this header
// instead of the CUDA toolkit. For tests, under sanitizers and in several schedules.
//
// One fiber per CUDA thread, blocks one after the other but for clusters and cooperative launches.
// A thread runs until it waits at a barrier or exchanges values with its warp; which one runs next
// is decided by `schedule`. A missing barrier shows as results that differ between schedules, or as
// NaN: shared memory starts as NaN, and so does memory from cudaMalloc, which is exactly as long as
// asked for, so that AddressSanitizer sees what lies outside. Everything is sequentially
// consistent: missing memory fences do not show.
//
// The default stream does its work at once. Another stream does nothing until somebody waits for
// it, so that what is read without waiting is not there yet.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>

#include "gradsmith/dtype.h"

// ---- The language -------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static_assert(false, "take shared memory with GS_SHARED");

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorNotReady = 600,
  cudaErrorCooperativeLaunchTooLarge = 720,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureImplicit = 906
};
using cudaStream_t = struct EmulatedStream*;
using cudaEvent_t = struct EmulatedEvent*;
using cudaGraph_t = struct EmulatedGraph*;
using cudaGraphExec_t = struct EmulatedGraph*;

namespace cuda_emu {

// What is asynchronous happens as late as it may in `ascending` and `warp_by_warp`, at once in the
// descending ones, and either way in `random`.
enum class Schedule { ascending, descending, random, warp_by_warp, warp_by_warp_descending };
inline constexpr Schedule kSchedules[] = {Schedule::ascending, Schedule::descending,
                                          Schedule::random, Schedule::warp_by_warp,
                                          Schedule::warp_by_warp_descending};
struct Options {
  Schedule schedule = Schedule::ascending;
  unsigned seed = 1;
  int resident_blocks = 8;  // of a cooperative launch, on all multiprocessors
  int major = 8;            // compute capability; kernels for 9.0 run, and are chosen, with 9
};
Options& options();

struct Thread {
  uint3 index;
  unsigned linear;
};
struct Launch {
  dim3 grid, block;
  uint3 block_index;
  unsigned cluster;  // blocks beside each other in x that run together
};
const Thread& thread();
const Launch& current_launch();
void* shared_memory(std::size_t bytes);  // aborts where the launch asked for less

// Queues a kernel's body, to be run for every thread. Blocks of a cluster take turns, and all of a
// launch that is `together`.
cudaError_t launch(cudaStream_t stream, dim3 grid, dim3 block, std::size_t shared_bytes,
                   std::function<void()> body, unsigned cluster = 1, bool together = false);
void yield();  // lets all others run first: for a thread that waits for memory to change

void barrier(int line);  // __syncthreads; aborts where threads wait at different ones
void cluster_barrier();
void warp_barrier(std::uint32_t mask);
// Leaves `bytes` of `mine`, up to 32, for the threads of the warp in mask, and meets them; they may
// be read until the next meeting.
const struct Warp& deposit(std::uint32_t mask, const void* mine, std::size_t bytes);
// Deposits `bytes` of `mine`, meets the warp's threads in mask, and copies lane `source`'s deposit.
void exchange(std::uint32_t mask, const void* mine, void* theirs, std::size_t bytes,
              unsigned source);

template <class T>
T shuffle(std::uint32_t mask, T value, unsigned source) {
  static_assert(sizeof(T) <= 16);
  T result;
  exchange(mask, &value, &result, sizeof(T), source);
  return result;
}

}  // namespace cuda_emu

#define threadIdx (cuda_emu::thread().index)
#define blockIdx (cuda_emu::current_launch().block_index)
#define blockDim (cuda_emu::current_launch().block)
#define gridDim (cuda_emu::current_launch().grid)
#define warpSize 32
#define __syncthreads() cuda_emu::barrier(__LINE__)
inline void __syncwarp(std::uint32_t mask = 0xffffffffu) { cuda_emu::warp_barrier(mask); }

// Shuffles over the whole warp (width 32).
template <class T>
T __shfl_sync(std::uint32_t mask, T value, int lane) {
  return cuda_emu::shuffle(mask, value, unsigned(lane) & 31);
}
template <class T>
T __shfl_xor_sync(std::uint32_t mask, T value, int lanes) {
  return cuda_emu::shuffle(mask, value, (cuda_emu::thread().linear & 31) ^ unsigned(lanes));
}
template <class T>
T __shfl_down_sync(std::uint32_t mask, T value, unsigned lanes) {
  const unsigned me = cuda_emu::thread().linear & 31;
  return cuda_emu::shuffle(mask, value, me + lanes < 32 ? me + lanes : me);
}

// ---- Arithmetic ---------------------------------------------------------------------------------

inline float __uint_as_float(std::uint32_t u) {
  float x;
  std::memcpy(&x, &u, 4);
  return x;
}
inline std::uint32_t __float_as_uint(float x) {
  std::uint32_t u;
  std::memcpy(&u, &x, 4);
  return u;
}
using __half = gradsmith::Float16;
inline __half __ushort_as_half(std::uint16_t bits) {
  __half h;
  h.bits = bits;
  return h;
}
inline std::uint16_t __half_as_ushort(__half h) { return h.bits; }
inline float __half2float(__half h) { return float(h); }
inline __half __float2half_rn(float x) { return __half(x); }

// Threads take turns, so a plain change is atomic. Integers only: sums of floats would depend on
// the order.
inline int atomicAdd(int* p, int v) {
  const int before = *p;
  *p += v;
  return before;
}
inline unsigned atomicAdd(unsigned* p, unsigned v) {
  const unsigned before = *p;
  *p += v;
  return before;
}
inline unsigned long long atomicMin(unsigned long long* p, unsigned long long v) {
  const unsigned long long before = *p;
  if (v < before) *p = v;
  return before;
}

inline void __threadfence() {}
template <class T>
T __ldcg(const T* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}
struct alignas(16) int4 {
  int x, y, z, w;
};

// Never fused with what comes after.
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }

// ---- The runtime --------------------------------------------------------------------------------

enum cudaMemcpyKind {
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3
};
struct cudaDeviceProp {
  char name[256];
  int major, minor, multiProcessorCount;
  std::size_t totalGlobalMem;
};
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
#define CUDART_VERSION 13000

cudaError_t cudaMalloc(void** p, std::size_t bytes);
cudaError_t cudaFree(void* p);
cudaError_t cudaMemcpyAsync(void* dst, const void* src, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream);
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel,
                                                          int threads, std::size_t shared_bytes);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
const char* cudaGetErrorString(cudaError_t error);
inline const char* cudaGetErrorName(cudaError_t error) { return cudaGetErrorString(error); }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaHostAlloc(void** p, std::size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* p);

inline constexpr unsigned cudaHostAllocPortable = 1, cudaStreamNonBlocking = 1,
                          cudaEventDefault = 0, cudaEventDisableTiming = 2;
enum cudaStreamCaptureMode { cudaStreamCaptureModeRelaxed = 2 };
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return cudaGraphDestroy(executable);
}
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : cudaErrorInvalidValue;
}
inline cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
inline cudaError_t cudaDriverGetVersion(int* version) {
  return *version = CUDART_VERSION, cudaSuccess;
}
