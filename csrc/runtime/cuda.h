// CUDA for the layers above: whether there is a device, its memory, and the kernels. The CUDA
// library is loaded by the first call; on a machine without it, without a driver or without a
// device, cuda_available() is false and cuda_reason() says why in one sentence.
#pragma once
#include <cstddef>
#include <string>

#include "gradsmith/export.h"
#include "runtime/cuda_abi.h"

namespace gradsmith {

GS_API bool cuda_available();
GS_API int cuda_device_count();
GS_API std::string cuda_reason();  // why there is no device; "" where there is one

namespace cuda {

// All throw Error(device) where there is no such device or a call fails, Error(memory) where memory
// runs out. A stream is a cudaStream_t; null is the device's default stream.
GS_API DeviceInfo device_info(int device);
GS_API MemoryInfo memory_info(int device);
GS_API void empty_cache(int device);
GS_API void synchronize(int device);  // waits for all work of the device

// What the calling thread's work is queued on: everything below without a stream of its own.
GS_API void* current_stream(int device);
GS_API void set_current_stream(int device, void* stream);

// Memory belongs to the stream that was current when it was allocated: once released, what is
// queued there later may get it. use_on(): not before what `stream` has been given so far is done.
GS_API void* allocate(int device, std::size_t bytes);
GS_API void deallocate(int device, void* p) noexcept;
GS_API void use_on(int device, void* p, void* stream);
// Page-locked memory of the host, which copies reach without the CPU.
GS_API void* allocate_pinned(std::size_t bytes);
GS_API void deallocate_pinned(void* p) noexcept;

// pinned: the block of host memory that the copy is from or to, if it was allocated above; then
// nobody waits for the copy.
GS_API void copy_bytes(int device, void* dst, const void* src, std::size_t bytes, CopyKind kind,
                       void* pinned = nullptr);

GS_API void* create_stream(int device);  // never destroyed
GS_API void synchronize_stream(int device, void* stream);
GS_API bool stream_done(int device, void* stream);
GS_API void* create_event(int device, bool timing);
GS_API void destroy_event(int device, void* event) noexcept;
GS_API void record_event(int device, void* event, void* stream);
GS_API void wait_event(int device, void* event, void* stream);  // the stream waits, not the host
GS_API void synchronize_event(int device, void* event);
GS_API bool event_done(int device, void* event);
GS_API double elapsed_ms(int device, void* start, void* end);

// Recording what is queued on the current stream instead of doing it. What is allocated there
// meanwhile is the graph's until it is destroyed, and then `stream`'s. See cuda_graph.h.
GS_API void begin_capture(int device);
GS_API void* end_capture(int device, void* stream);
GS_API void launch_graph(int device, void* graph);
GS_API void destroy_graph(int device, void* graph, void* stream) noexcept;

GS_API void unary(int device, const UnaryArgs& args);
GS_API void binary(int device, const BinaryArgs& args);
GS_API void copy(int device, const CopyArgs& args);
GS_API void gemm(int device, const GemmArgs& args);
GS_API void store(int device, const StoreArgs& args);
#define GS_DECLARE(name, Args) GS_API void name(int device, const Args& args);
GS_CUDA_ROWS_FUNCTIONS(GS_DECLARE)
GS_CUDA_INDEX_FUNCTIONS(GS_DECLARE)
#undef GS_DECLARE

}  // namespace cuda
}  // namespace gradsmith
