// The caching allocator of libgradsmith_cuda, for the memory of a device or for page-locked memory
// of the host.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/cuda/status.h"
#include "runtime/cuda_abi.h"
#include "runtime/size_class.h"

namespace gradsmith::cuda {

// Free blocks by size class and by owner: the stream whose work may still use them, or a graph.
// Work queued on that stream later comes after it, so the block can be handed out again there
// without waiting. A block that other streams use as well waits for what they had been given when
// it was released. Blocks up to 1 MB are cut from segments of 2 MB.
class Heap {
 public:
  static constexpr std::size_t kSmallest = 512, kSegmentBlock = 1 << 20, kSegment = 2 << 20;

  explicit Heap(bool of_host = false) : of_host_(of_host) {}

  int allocate(std::size_t bytes, void* stream, void** out) {
    if (bytes > kMaxBytes) return out_of_memory(bytes);
    const int k = size_class(bytes < kSmallest ? kSmallest : bytes);
    const std::lock_guard lock(mutex_);
    if (const int status = collect(false)) return status;
    const auto captured = graphs_.find(stream);
    void* const owner = captured == graphs_.end() ? stream : captured->second;
    auto& list = free_[{owner, k}];
    if (!list.empty()) {
      *out = list.back();
      list.pop_back();
      info_.cached_bytes -= std::int64_t(class_bytes(k));
    } else if (class_bytes(k) <= kSegmentBlock) {
      if (const int status = cut(k, owner, out)) return status;
    } else if (const int status = from_system(class_bytes(k), bytes, out)) {
      return status;
    }
    live_[*out] = {k, owner, {}};
    info_.in_use_bytes += std::int64_t(class_bytes(k));
    if (info_.in_use_bytes > info_.peak_bytes) info_.peak_bytes = info_.in_use_bytes;
    return kOk;
  }

  int deallocate(void* p) {
    const std::lock_guard lock(mutex_);
    const auto found = live_.find(p);
    if (found == live_.end()) return fail(kFailed, "deallocate: unknown memory");
    const Block block = std::move(found->second);
    live_.erase(found);
    info_.in_use_bytes -= std::int64_t(class_bytes(block.k));
    if (block.others.empty()) return put_back(p, block), int(kOk);
    Waiting waiting{p, block, {}};
    for (void* stream : block.others) {
      cudaEvent_t event;
      if (const int status =
              check("cudaEventCreate", cudaEventCreateWithFlags(&event, cudaEventDisableTiming)))
        return status;
      waiting.events.push_back(event);
      if (const int status =
              check("cudaEventRecord", cudaEventRecord(event, static_cast<cudaStream_t>(stream))))
        return status;
    }
    waiting_.push_back(std::move(waiting));
    return kOk;
  }

  // `stream`, which is not the owner, uses the block too.
  int use_on(void* p, void* stream) {
    const std::lock_guard lock(mutex_);
    const auto found = live_.find(p);
    if (found == live_.end()) return fail(kFailed, "record_stream: unknown memory");
    auto& others = found->second.others;
    if (stream == found->second.owner && !of_host_) return kOk;
    for (void* known : others)
      if (known == stream) return kOk;
    others.push_back(stream);
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

  // Between these two, what `stream` allocates belongs to `graph`.
  void begin_capture(void* stream, void* graph) {
    const std::lock_guard lock(mutex_);
    graphs_[stream] = graph;
    owners_.insert(graph);
  }
  void end_capture(void* stream) {
    const std::lock_guard lock(mutex_);
    graphs_.erase(stream);
  }
  // The graph is gone and its last launch done: `stream` inherits its memory.
  void inherit(void* graph, void* stream) {
    const std::lock_guard lock(mutex_);
    for (auto& [p, block] : live_)
      if (block.owner == graph) block.owner = stream;
    for (Waiting& waiting : waiting_)
      if (waiting.block.owner == graph) waiting.block.owner = stream;
    for (auto it = free_.lower_bound({graph, 0}); it != free_.end() && it->first.first == graph;) {
      auto& list = free_[{stream, it->first.second}];
      list.insert(list.end(), it->second.begin(), it->second.end());
      it = free_.erase(it);
    }
    segments_.erase(graph);
    owners_.erase(graph);
  }

 private:
  struct Block {
    int k;
    void* owner;
    std::vector<void*> others;
  };
  struct Waiting {
    void* p;
    Block block;
    std::vector<cudaEvent_t> events;
  };
  // What is left of a segment stays with the owner that began it: no other work can be using it.
  struct Segment {
    char *at = nullptr, *end = nullptr;
  };

  void put_back(void* p, const Block& block) {
    free_[{block.owner, block.k}].push_back(p);
    info_.cached_bytes += std::int64_t(class_bytes(block.k));
  }

  // Puts back the blocks whose other streams are done; of all, where the device is.
  int collect(bool all) {
    for (std::size_t i = 0; i < waiting_.size();) {
      Waiting& waiting = waiting_[i];
      while (!waiting.events.empty()) {
        const cudaError_t state = all ? cudaSuccess : cudaEventQuery(waiting.events.back());
        if (state == cudaErrorNotReady) break;
        if (const int status = check("cudaEventQuery", state)) return status;
        cudaEventDestroy(waiting.events.back());
        waiting.events.pop_back();
      }
      if (!waiting.events.empty()) {
        ++i;
        continue;
      }
      put_back(waiting.p, waiting.block);
      std::swap(waiting, waiting_.back());
      waiting_.pop_back();
    }
    return kOk;
  }

  int cut(int k, void* owner, void** out) {
    Segment& segment = segments_[owner];
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

  cudaError_t system_allocate(void** out, std::size_t bytes) const {
    return of_host_ ? cudaHostAlloc(out, bytes, cudaHostAllocPortable) : cudaMalloc(out, bytes);
  }

  int from_system(std::size_t bytes, std::size_t wanted, void** out) {
    ++info_.system_allocations;
    cudaError_t error = system_allocate(out, bytes);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      if (const int status = release_cached()) return status;
      error = system_allocate(out, bytes);
    }
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      return out_of_memory(wanted);
    }
    return check(of_host_ ? "cudaHostAlloc" : "cudaMalloc", error);
  }

  int release_cached() {
    if (!graphs_.empty()) return kOk;  // while a graph is recorded the device cannot be waited for
    if (const int status = check("cudaDeviceSynchronize", cudaDeviceSynchronize())) return status;
    if (const int status = collect(true)) return status;
    for (auto& [key, list] : free_) {
      const std::size_t bytes = class_bytes(key.second);
      if (bytes <= kSegmentBlock || owners_.count(key.first)) continue;
      for (void* p : list) {
        info_.cached_bytes -= std::int64_t(bytes);
        const int status =
            of_host_ ? check("cudaFreeHost", cudaFreeHost(p)) : check("cudaFree", cudaFree(p));
        if (status) return status;
      }
      list.clear();
    }
    return kOk;
  }

  int out_of_memory(std::size_t bytes) const {
    return fail(kOutOfMemory, "cannot allocate " + std::to_string(bytes) + " bytes; " +
                                  std::to_string(info_.in_use_bytes) + " bytes are in use");
  }

  const bool of_host_;
  std::mutex mutex_;
  std::map<std::pair<void*, int>, std::vector<void*>> free_;
  std::unordered_map<void*, Block> live_;
  std::vector<Waiting> waiting_;
  std::map<void*, Segment> segments_;
  std::map<void*, void*> graphs_;  // by the stream that is recorded
  std::set<void*> owners_;         // graphs, whose free blocks their launches still use
  MemoryInfo info_{};
};

Heap& heap(int device);
Heap& pinned_heap();

}  // namespace gradsmith::cuda
