// Streams, events and graphs of libgradsmith_cuda.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"
#include "runtime/cuda_heap.h"

namespace gradsmith::cuda {
namespace {

cudaStream_t typed(void* stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t event_of(void* event) { return static_cast<cudaEvent_t>(event); }

int done_unless_not_ready(const char* what, cudaError_t state, bool* done) {
  *done = state == cudaSuccess;
  if (state != cudaErrorNotReady) return check(what, state);
  cudaGetLastError();
  return kOk;
}

// Its address also names the owner of the memory that was allocated while it was recorded.
struct Graph {
  cudaGraphExec_t executable = nullptr;
};
thread_local Graph* recorded = nullptr;

__global__ void store_kernel(const __grid_constant__ StoreArgs args) {
  if (threadIdx.x < args.count)
    static_cast<std::uint64_t*>(args.out)[threadIdx.x] = args.words[threadIdx.x];
}

}  // namespace

int store(const StoreArgs& args, void* stream) {
  return launch("store", store_kernel, dim3(1), dim3(kStoreWords), 0, stream, args);
}

int stream_create(void** out) {
  // Not in step with the default stream.
  return check("cudaStreamCreate", cudaStreamCreateWithFlags(reinterpret_cast<cudaStream_t*>(out),
                                                             cudaStreamNonBlocking));
}
int stream_synchronize(void* stream) {
  return check("cudaStreamSynchronize", cudaStreamSynchronize(typed(stream)));
}
int stream_query(void* stream, bool* done) {
  return done_unless_not_ready("cudaStreamQuery", cudaStreamQuery(typed(stream)), done);
}

int event_create(bool timing, void** out) {
  return check("cudaEventCreate",
               cudaEventCreateWithFlags(reinterpret_cast<cudaEvent_t*>(out),
                                        timing ? cudaEventDefault : cudaEventDisableTiming));
}
int event_destroy(void* event) {
  return check("cudaEventDestroy", cudaEventDestroy(event_of(event)));
}
int event_record(void* event, void* stream) {
  return check("cudaEventRecord", cudaEventRecord(event_of(event), typed(stream)));
}
int event_wait(void* event, void* stream) {
  return check("cudaStreamWaitEvent", cudaStreamWaitEvent(typed(stream), event_of(event), 0));
}
int event_synchronize(void* event) {
  return check("cudaEventSynchronize", cudaEventSynchronize(event_of(event)));
}
int event_query(void* event, bool* done) {
  return done_unless_not_ready("cudaEventQuery", cudaEventQuery(event_of(event)), done);
}
int event_elapsed(void* start, void* end, float* ms) {
  return check("cudaEventElapsedTime", cudaEventElapsedTime(ms, event_of(start), event_of(end)));
}

int capture_begin(int device, void* stream) {
  // Relaxed: the allocator asks the driver for memory meanwhile.
  const int status = check("cudaStreamBeginCapture",
                           cudaStreamBeginCapture(typed(stream), cudaStreamCaptureModeRelaxed));
  if (status) return status;
  recorded = new Graph;
  heap(device).begin_capture(stream, recorded);
  return kOk;
}

int capture_end(int device, void* stream, void** out) {
  Graph* const graph = std::exchange(recorded, nullptr);
  if (!graph) return fail(kFailed, "this thread is not recording a graph");
  *out = graph;
  heap(device).end_capture(stream);
  cudaGraph_t nodes = nullptr;
  int status = check("cudaStreamEndCapture", cudaStreamEndCapture(typed(stream), &nodes));
  if (status == kOk) {
    status = check("cudaGraphInstantiate", cudaGraphInstantiate(&graph->executable, nodes, 0));
    cudaGraphDestroy(nodes);
  }
  if (status) {
    heap(device).inherit(graph, stream);
    delete graph;
    *out = nullptr;
  }
  return status;
}

int graph_launch(void* graph, void* stream) {
  return check("cudaGraphLaunch",
               cudaGraphLaunch(static_cast<Graph*>(graph)->executable, typed(stream)));
}

int graph_destroy(int device, void* graph, void* stream) {
  auto* const g = static_cast<Graph*>(graph);
  int status = check("cudaDeviceSynchronize", cudaDeviceSynchronize());  // its launches are done
  if (status == kOk) status = check("cudaGraphExecDestroy", cudaGraphExecDestroy(g->executable));
  heap(device).inherit(graph, stream);
  delete g;
  return status;
}

}  // namespace gradsmith::cuda
