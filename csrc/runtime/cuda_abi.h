// What libgradsmith and libgradsmith_cuda say to each other: plain structs and one table of C
// functions, so that the CUDA library is loaded only when a CUDA device is asked for.
//
// Functions return 0, or another number after which last_error() has the message. Device memory is
// given as plain pointers. A stream is a cudaStream_t; null is the default stream. Strides count
// elements. Nothing here synchronises with the host unless it says so.
#pragma once
#include <cstddef>
#include <cstdint>

#include "gradsmith/dtype.h"
#include "gradsmith/view.h"

namespace gradsmith::cuda {

inline constexpr std::uint32_t kAbiVersion = 6;  // raise with every change in these files

// ---- Elementwise --------------------------------------------------------------------------------

// Floating types; the first line integers as well. a and b are the op's parameters.
// clang-format off
#define GS_CUDA_UNARY_OPS(X)                                                                      \
  X(neg)                                                                                          \
  X(abs) X(sign) X(square) X(relu) X(clamp /* a, b: bounds */) X(sqrt) X(rsqrt) X(reciprocal)     \
      X(exp) X(exp2) X(expm1) X(log) X(log1p) X(log2) X(log10) X(sin) X(cos) X(tan) X(sinh)       \
          X(cosh) X(tanh) X(asin) X(acos) X(atan) X(erf) X(erfc) X(sigmoid) X(log_sigmoid)        \
              X(floor) X(ceil) X(round) X(trunc) X(silu) X(gelu) X(gelu_tanh) X(mish) X(softsign) \
                  X(hardsigmoid) X(hardswish) X(leaky_relu /* a: slope */) X(elu /* a: alpha */)  \
                      X(softplus /* a: beta, b: threshold */)
// clang-format on
// Slopes of activations: the gradient before, from the one after, x, and the activation's input or
// result, y. Floating types only; a and b are the activation's parameters.
// clang-format off
#define GS_CUDA_SLOPE_OPS(X)                                                                   \
  X(relu_backward_y) X(sigmoid_backward_y) X(tanh_backward_y) X(leaky_relu_backward_x)         \
      X(elu_backward_x) X(gelu_backward_x) X(gelu_tanh_backward_x) X(silu_backward_x)          \
          X(softplus_backward_x) X(log_sigmoid_backward_x) X(mish_backward_x)                  \
              X(clamp_backward_x) X(hardsigmoid_backward_x) X(hardswish_backward_x)
// clang-format on
// From the first to atan2's slopes they give the operands' dtype (div, and from atan2 on: floating
// types only; bitwise_*: integers only), the others bool.
// clang-format off
#define GS_CUDA_BINARY_OPS(X)                                                           \
  X(add)                                                                                \
  X(sub) X(mul) X(div) X(maximum) X(minimum) X(pow) X(remainder) X(fmod)                \
      X(floor_divide) X(bitwise_and) X(bitwise_or) X(bitwise_xor) X(atan2) GS_CUDA_SLOPE_OPS(X)         \
          X(eq) X(ne) X(lt) X(le) X(gt) X(ge) X(logical_and) X(logical_or) X(logical_xor)
// clang-format on

enum class UnaryOp : std::int32_t {
#define GS_ENUM(op) op,
  GS_CUDA_UNARY_OPS(GS_ENUM)
#undef GS_ENUM
};
enum class BinaryOp : std::int32_t {
#define GS_ENUM(op) op,
  GS_CUDA_BINARY_OPS(GS_ENUM)
#undef GS_ENUM
};

// An operand over the shape of the output; strides may be 0 (broadcast) or negative, the output's
// elements must not overlap each other. An input may be the output itself (same strides).
struct Operand {
  void* data;
  DType dtype;
  std::int64_t strides[kMaxDims];
};

struct UnaryArgs {
  UnaryOp op;
  std::int32_t ndim;
  std::int64_t shape[kMaxDims];
  Operand out, x;  // of one dtype
  double a, b;
};

struct BinaryArgs {
  BinaryOp op;
  std::int32_t ndim;
  std::int64_t shape[kMaxDims];
  Operand out, x, y;        // x and y of one dtype
  double x_value, y_value;  // stand for x or y where its data is null; dtype is set all the same
  double a, b;
};

// out = cast(x), any two dtypes; x.data null: a fill with one element of out's dtype.
struct CopyArgs {
  std::int32_t ndim;
  std::int64_t shape[kMaxDims];
  Operand out, x;
  std::uint64_t element;  // its bits, from the first byte on
};

// ---- GEMM ---------------------------------------------------------------------------------------

// Element (i, j) of batch entry z is data[z * batch + i * rs + j * cs].
struct Matrix {
  void* data;
  std::int64_t rs, cs, batch;
};

enum class Activation : std::int32_t {  // in the order of kernels::Activation
  none,
  relu,
  leaky_relu,
  sigmoid,
  tanh,
  gelu,
  gelu_tanh,
  silu
};

// How float32 factors are multiplied. Sums are float32 in any case.
enum class Float32Math : std::int32_t {
  fma,     // fused multiply-adds
  tf32x3,  // on tensor cores, each factor in two parts of 11 bits: as accurate as fma
  tf32     // on tensor cores, rounded to 11 bits
};

// The kernel that computes a product; tests and measurements name one. What cannot compute the
// product is an error.
enum class GemmKernel : std::int32_t { automatic, tile64, tile128, wgmma };

// C = act(alpha * A B + beta * C + bias + residual). A and B are of `dtype` (f32, bf16, f16), C,
// bias and residual of `out` (f32 or dtype). Any strides are right; with a unit stride in each of A
// and B (the four layouts), 16-byte aligned rows and C in rows all loads and stores are wide.
// beta == 0 never reads C. An element's bits depend on its row of A, its column of B, k and the
// device's kernel alone; with Float32Math::fma it is one chain of fused multiply-adds in the order
// of k.
struct GemmArgs {
  std::int64_t m, n, k, batch;
  Matrix a, b, c;
  Matrix bias, residual;  // data null: none; bias rs = 0: per column, cs = 0: per row
  float alpha, beta;
  Activation activation;
  float slope;  // leaky_relu's
  DType dtype = DType::f32, out = DType::f32;
  Float32Math math = Float32Math::fma;
  GemmKernel kernel = GemmKernel::automatic;
};

}  // namespace gradsmith::cuda

#include "runtime/cuda_abi_index.h"
#include "runtime/cuda_abi_rows.h"

namespace gradsmith::cuda {

// ---- The table ----------------------------------------------------------------------------------

struct DeviceInfo {
  char name[128];
  std::int32_t major, minor;  // compute capability
  std::int32_t multiprocessors;
  std::int64_t total_bytes;
};

struct MemoryInfo {
  std::int64_t in_use_bytes, peak_bytes, cached_bytes, system_allocations;
};

// words[0 ... count) to device memory, from the arguments.
inline constexpr int kStoreWords = 32;
struct StoreArgs {
  void* out;
  std::uint32_t count;
  std::uint64_t words[kStoreWords];
};

enum class CopyKind : std::int32_t { host_to_device = 1, device_to_host = 2, device_to_device = 3 };

struct Api {
  std::uint32_t version;
  const char* (*last_error)();  // of the calling thread
  // 0 devices: last_error() says why. Never fails.
  int (*device_count)();
  int (*device_info)(int device, DeviceInfo* info);
  // Stream-ordered: a block that is released may be handed out again on the stream it was allocated
  // on at once; where others use it, after what they had been given. Status 2: out of memory.
  int (*allocate)(int device, std::size_t bytes, void* stream, void** out);
  int (*deallocate)(int device, void* p);
  int (*use_on)(int device, void* p, void* stream);
  int (*allocate_pinned)(int device, std::size_t bytes, void** out);
  int (*deallocate_pinned)(int device, void* p);
  int (*memory_info)(int device, MemoryInfo* info);
  int (*empty_cache)(int device);  // synchronises
  // Copies from and to host memory return when the host memory may be used again; pinned, the block
  // that allocate_pinned() gave for it: at once.
  int (*copy_bytes)(int device, void* dst, const void* src, std::size_t bytes, CopyKind kind,
                    void* pinned, void* stream);
  int (*synchronize)(int device);
  int (*stream_create)(int device, void** out);
  int (*stream_synchronize)(int device, void* stream);
  int (*stream_query)(int device, void* stream, bool* done);
  int (*event_create)(int device, bool timing, void** out);
  int (*event_destroy)(int device, void* event);
  int (*event_record)(int device, void* event, void* stream);
  int (*event_wait)(int device, void* event, void* stream);
  int (*event_synchronize)(int device, void* event);
  int (*event_query)(int device, void* event, bool* done);
  int (*event_elapsed)(int device, void* start, void* end, float* ms);
  // Of one stream, by one thread at a time. What is allocated meanwhile belongs to the graph.
  int (*capture_begin)(int device, void* stream);
  int (*capture_end)(int device, void* stream, void** graph);
  int (*graph_launch)(int device, void* graph, void* stream);
  int (*graph_destroy)(int device, void* graph, void* stream);  // synchronises
  int (*store)(int device, const StoreArgs* args, void* stream);
  int (*unary)(int device, const UnaryArgs* args, void* stream);
  int (*binary)(int device, const BinaryArgs* args, void* stream);
  int (*copy)(int device, const CopyArgs* args, void* stream);
  int (*gemm)(int device, const GemmArgs* args, void* stream);
#define GS_MEMBER(name, Args) int (*name)(int device, const Args* args, void* stream);
  GS_CUDA_ROWS_FUNCTIONS(GS_MEMBER)
  GS_CUDA_INDEX_FUNCTIONS(GS_MEMBER)
#undef GS_MEMBER
};

using ApiFn = const Api*();  // extern "C" gradsmith_cuda_api

}  // namespace gradsmith::cuda
