// The launchers of libgradsmith_cuda, one per entry of cuda::Api; the current device is set.
#pragma once
#include "runtime/cuda_abi.h"

namespace gradsmith::cuda {

int unary(const UnaryArgs& args, void* stream);
int binary(const BinaryArgs& args, void* stream);
int copy(const CopyArgs& args, void* stream);
int gemm(const GemmArgs& args, void* stream);
#define GS_DECLARE(name, Args) int name(const Args& args, void* stream);
GS_CUDA_ROWS_FUNCTIONS(GS_DECLARE)
GS_CUDA_INDEX_FUNCTIONS(GS_DECLARE)
#undef GS_DECLARE

// In runtime/cuda_streams.cu.
int store(const StoreArgs& args, void* stream);
int stream_create(void** out);
int stream_synchronize(void* stream);
int stream_query(void* stream, bool* done);
int event_create(bool timing, void** out);
int event_destroy(void* event);
int event_record(void* event, void* stream);
int event_wait(void* event, void* stream);
int event_synchronize(void* event);
int event_query(void* event, bool* done);
int event_elapsed(void* start, void* end, float* ms);
int capture_begin(int device, void* stream);
int capture_end(int device, void* stream, void** graph);
int graph_launch(void* graph, void* stream);
int graph_destroy(int device, void* graph, void* stream);

// Memory of the current device for what a launcher queues next on `stream`: given back when the
// scope ends, and used again only by work that is queued later.
class Scratch {
 public:
  explicit Scratch(void* stream) : stream_(stream) {}
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  int allocate(std::size_t bytes);  // once
  void* data() const { return data_; }

 private:
  void* stream_;
  void* data_ = nullptr;
  int device_ = 0;
};

}  // namespace gradsmith::cuda
