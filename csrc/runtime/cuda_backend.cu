// libgradsmith_cuda: devices, memory, and the table of functions. Static cudart, no libcuda: the
// library loads on a machine without a driver and then reports no device.
#include <cstdio>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"
#include "runtime/size_class.h"

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

// ---- Memory -------------------------------------------------------------------------------------

// Free blocks by size class and by the stream whose work may still use them: work queued on that
// stream later comes after it, so the block can be handed out again there without waiting. Blocks
// up to 1 MB are cut from segments of 2 MB.
class Heap {
 public:
  static constexpr std::size_t kSmallest = 512, kSegmentBlock = 1 << 20, kSegment = 2 << 20;

  int allocate(std::size_t bytes, void* stream, void** out) {
    if (bytes > kMaxBytes) return out_of_memory(bytes);
    const int k = size_class(bytes < kSmallest ? kSmallest : bytes);
    const std::lock_guard lock(mutex_);
    auto& list = free_[{stream, k}];
    if (!list.empty()) {
      *out = list.back();
      list.pop_back();
      info_.cached_bytes -= std::int64_t(class_bytes(k));
    } else if (class_bytes(k) <= kSegmentBlock) {
      if (const int status = cut(k, stream, out)) return status;
    } else if (const int status = from_system(class_bytes(k), bytes, out)) {
      return status;
    }
    info_.in_use_bytes += std::int64_t(class_bytes(k));
    if (info_.in_use_bytes > info_.peak_bytes) info_.peak_bytes = info_.in_use_bytes;
    return kOk;
  }

  int deallocate(void* p, std::size_t bytes, void* stream) {
    const int k = size_class(bytes < kSmallest ? kSmallest : bytes);
    const std::lock_guard lock(mutex_);
    free_[{stream, k}].push_back(p);
    info_.in_use_bytes -= std::int64_t(class_bytes(k));
    info_.cached_bytes += std::int64_t(class_bytes(k));
    return kOk;
  }

  MemoryInfo info() {
    const std::lock_guard lock(mutex_);
    return info_;
  }

  int empty() {
    const std::lock_guard lock(mutex_);
    return release_cached();
  }

 private:
  // What is left of a segment stays with the stream that began it: no other work can be using it.
  struct Segment {
    char *at = nullptr, *end = nullptr;
  };

  int cut(int k, void* stream, void** out) {
    Segment& segment = segments_[stream];
    const std::size_t bytes = (class_bytes(k) + kSmallest - 1) / kSmallest * kSmallest;
    if (std::size_t(segment.end - segment.at) < bytes) {
      void* fresh = nullptr;
      if (const int status = from_system(kSegment, bytes, &fresh)) return status;
      segment.at = static_cast<char*>(fresh);
      segment.end = segment.at + kSegment;
    }
    *out = std::exchange(segment.at, segment.at + bytes);
    return kOk;
  }

  int from_system(std::size_t bytes, std::size_t wanted, void** out) {
    ++info_.system_allocations;
    cudaError_t error = cudaMalloc(out, bytes);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      if (const int status = release_cached()) return status;
      error = cudaMalloc(out, bytes);
    }
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      return out_of_memory(wanted);
    }
    return check("cudaMalloc", error);
  }

  int release_cached() {
    if (const int status = check("cudaDeviceSynchronize", cudaDeviceSynchronize())) return status;
    for (auto& [key, list] : free_) {
      const std::size_t bytes = class_bytes(key.second);
      if (bytes <= kSegmentBlock) continue;
      for (void* p : list) {
        info_.cached_bytes -= std::int64_t(bytes);
        if (const int status = check("cudaFree", cudaFree(p))) return status;
      }
      list.clear();
    }
    return kOk;
  }

  int out_of_memory(std::size_t bytes) const {
    return fail(kOutOfMemory, "cannot allocate " + std::to_string(bytes) + " bytes; " +
                                  std::to_string(info_.in_use_bytes) + " bytes are in use");
  }

  std::mutex mutex_;
  std::map<std::pair<void*, int>, std::vector<void*>> free_;
  std::map<void*, Segment> segments_;
  MemoryInfo info_{};
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

Heap& heap(int device) {
  static auto* heaps = new std::vector<Heap>(std::size_t(device_count()));
  return (*heaps)[std::size_t(device)];
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
               void* stream) {
  if (bytes == 0) return kOk;
  return with_device(device, [&] {
    const auto s = static_cast<cudaStream_t>(stream);
    const int status =
        check("cudaMemcpyAsync", cudaMemcpyAsync(dst, src, bytes, cudaMemcpyKind(kind), s));
    if (status || kind == CopyKind::device_to_device) return status;
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
    .deallocate = [](int device, void* p, std::size_t bytes,
                     void* stream) { return heap(device).deallocate(p, bytes, stream); },
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

int Scratch::allocate(std::size_t bytes) {
  if (const int status = check("cudaGetDevice", cudaGetDevice(&device_))) return status;
  bytes_ = bytes;
  return heap(device_).allocate(bytes, stream_, &data_);
}
Scratch::~Scratch() {
  if (data_) heap(device_).deallocate(data_, bytes_, stream_);
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
