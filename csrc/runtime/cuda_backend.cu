// libgradsmith_cuda: devices, memory, and the table of functions. Static cudart, no libcuda: the
// library loads on a machine without a driver and then reports no device.
#include <cstdio>
#include <utility>
#include <vector>

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"
#include "runtime/cuda_heap.h"

namespace gradsmith::cuda {
namespace {

thread_local std::string last_message;

// Sets the current device for a scope, as other libraries in the process may use another.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    status_ = check("cudaGetDevice", cudaGetDevice(&before_));
    if (status_ == kOk && before_ != device) {
      status_ = check("cudaSetDevice", cudaSetDevice(device));
      restore_ = status_ == kOk;
    }
  }
  ~OnDevice() {
    if (restore_) cudaSetDevice(before_);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  int status() const { return status_; }

 private:
  int before_ = 0, status_ = kOk;
  bool restore_ = false;
};

// ---- Devices ------------------------------------------------------------------------------------

int count_devices() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return count;
  cudaGetLastError();
  int driver = 0;
  cudaDriverGetVersion(&driver);
  if (error == cudaErrorInsufficientDriver && driver == 0) {
    fail(kFailed, "there is no NVIDIA driver on this machine");
  } else if (error == cudaErrorInsufficientDriver) {
    fail(kFailed, "the NVIDIA driver is too old: it supports CUDA " +
                      std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10) +
                      ", gradsmith was built with CUDA " + std::to_string(CUDART_VERSION / 1000) +
                      "." + std::to_string(CUDART_VERSION % 1000 / 10));
  } else if (error == cudaSuccess || error == cudaErrorNoDevice) {
    fail(kFailed, "the NVIDIA driver sees no GPU");
  } else {
    check("the NVIDIA driver cannot be used", error);
  }
  return 0;
}

int device_count() {
  static const int count = count_devices();
  if (count == 0 && last_message.empty()) return count_devices();  // the message of this thread
  return count;
}

int device_info(int device, DeviceInfo* info) {
  cudaDeviceProp properties;
  if (const int s = check("cudaGetDeviceProperties", cudaGetDeviceProperties(&properties, device)))
    return s;
  std::snprintf(info->name, sizeof(info->name), "%.127s", properties.name);
  info->major = properties.major;
  info->minor = properties.minor;
  info->multiprocessors = properties.multiProcessorCount;
  info->total_bytes = std::int64_t(properties.totalGlobalMem);
  return kOk;
}

template <class F>
int with_device(int device, F call) {
  const OnDevice on(device);
  return on.status() ? on.status() : call();
}

int copy_bytes(int device, void* dst, const void* src, std::size_t bytes, CopyKind kind,
               void* pinned, void* stream) {
  if (bytes == 0) return kOk;
  return with_device(device, [&] {
    const auto s = static_cast<cudaStream_t>(stream);
    const int status =
        check("cudaMemcpyAsync", cudaMemcpyAsync(dst, src, bytes, cudaMemcpyKind(kind), s));
    if (status || kind == CopyKind::device_to_device) return status;
    if (pinned) return pinned_heap().use_on(pinned, stream);
    return check("cudaStreamSynchronize", cudaStreamSynchronize(s));
  });
}

constexpr Api kApi{
    .version = kAbiVersion,
    .last_error = [] { return last_message.c_str(); },
    .device_count = device_count,
    .device_info = device_info,
    .allocate =
        [](int device, std::size_t bytes, void* stream, void** out) {
          return with_device(device, [&] { return heap(device).allocate(bytes, stream, out); });
        },
    .deallocate =
        [](int device, void* p) {
          return with_device(device, [&] { return heap(device).deallocate(p); });
        },
    .use_on = [](int device, void* p, void* stream) { return heap(device).use_on(p, stream); },
    .allocate_pinned =
        [](int device, std::size_t bytes, void** out) {
          return with_device(device, [&] { return pinned_heap().allocate(bytes, nullptr, out); });
        },
    .deallocate_pinned =
        [](int device, void* p) {
          return with_device(device, [&] { return pinned_heap().deallocate(p); });
        },
    .memory_info =
        [](int device, MemoryInfo* info) {
          *info = heap(device).info();
          return int(kOk);
        },
    .empty_cache =
        [](int device) { return with_device(device, [&] { return heap(device).empty(); }); },
    .copy_bytes = copy_bytes,
    .synchronize =
        [](int device) {
          return with_device(
              device, [] { return check("cudaDeviceSynchronize", cudaDeviceSynchronize()); });
        },
    .stream_create =
        [](int device, void** out) {
          return with_device(device, [&] { return stream_create(out); });
        },
    .stream_synchronize =
        [](int device, void* stream) {
          return with_device(device, [&] { return stream_synchronize(stream); });
        },
    .stream_query =
        [](int device, void* stream, bool* done) {
          return with_device(device, [&] { return stream_query(stream, done); });
        },
    .event_create =
        [](int device, bool timing, void** out) {
          return with_device(device, [&] { return event_create(timing, out); });
        },
    .event_destroy =
        [](int device, void* event) {
          return with_device(device, [&] { return event_destroy(event); });
        },
    .event_record =
        [](int device, void* event, void* stream) {
          return with_device(device, [&] { return event_record(event, stream); });
        },
    .event_wait =
        [](int device, void* event, void* stream) {
          return with_device(device, [&] { return event_wait(event, stream); });
        },
    .event_synchronize =
        [](int device, void* event) {
          return with_device(device, [&] { return event_synchronize(event); });
        },
    .event_query =
        [](int device, void* event, bool* done) {
          return with_device(device, [&] { return event_query(event, done); });
        },
    .event_elapsed =
        [](int device, void* start, void* end, float* ms) {
          return with_device(device, [&] { return event_elapsed(start, end, ms); });
        },
    .capture_begin =
        [](int device, void* stream) {
          return with_device(device, [&] { return capture_begin(device, stream); });
        },
    .capture_end =
        [](int device, void* stream, void** graph) {
          return with_device(device, [&] { return capture_end(device, stream, graph); });
        },
    .graph_launch =
        [](int device, void* graph, void* stream) {
          return with_device(device, [&] { return graph_launch(graph, stream); });
        },
    .graph_destroy =
        [](int device, void* graph, void* stream) {
          return with_device(device, [&] { return graph_destroy(device, graph, stream); });
        },
    .store = [](int device, const StoreArgs* args,
                void* stream) { return with_device(device, [&] { return store(*args, stream); }); },
    .unary = [](int device, const UnaryArgs* args,
                void* stream) { return with_device(device, [&] { return unary(*args, stream); }); },
    .binary =
        [](int device, const BinaryArgs* args, void* stream) {
          return with_device(device, [&] { return binary(*args, stream); });
        },
    .copy = [](int device, const CopyArgs* args,
               void* stream) { return with_device(device, [&] { return copy(*args, stream); }); },
    .gemm = [](int device, const GemmArgs* args,
               void* stream) { return with_device(device, [&] { return gemm(*args, stream); }); },
#define GS_ENTRY(name, Args)                                         \
  .name = [](int device, const Args* args, void* stream) {           \
    return with_device(device, [&] { return name(*args, stream); }); \
  },
    GS_CUDA_ROWS_FUNCTIONS(GS_ENTRY) GS_CUDA_INDEX_FUNCTIONS(GS_ENTRY)
#undef GS_ENTRY
};

}  // namespace

Heap& heap(int device) {
  static auto* heaps = new std::vector<Heap>(std::size_t(device_count()));
  return (*heaps)[std::size_t(device)];
}

Heap& pinned_heap() {
  static auto* pinned = new Heap(true);
  return *pinned;
}

int Scratch::allocate(std::size_t bytes) {
  if (const int status = check("cudaGetDevice", cudaGetDevice(&device_))) return status;
  return heap(device_).allocate(bytes, stream_, &data_);
}
Scratch::~Scratch() {
  if (data_) heap(device_).deallocate(data_);
}

int fail(Status status, std::string message) {
  last_message = std::move(message);
  return status;
}

int check(const char* what, cudaError_t error) {
  if (error == cudaSuccess) return kOk;
  cudaGetLastError();  // an error that does not stick is gone now
  return fail(kFailed, std::string(what) + ": " + cudaGetErrorString(error) + " (" +
                           cudaGetErrorName(error) + ")");
}

}  // namespace gradsmith::cuda

extern "C" __attribute__((visibility("default"))) const gradsmith::cuda::Api* gradsmith_cuda_api() {
  return &gradsmith::cuda::kApi;
}
