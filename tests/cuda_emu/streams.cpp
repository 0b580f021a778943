// Streams, events and graphs of the emulator. A stream is a queue; an event a place in one.
#include "cuda_emu/streams.h"

#include <chrono>
#include <deque>
#include <set>
#include <utility>
#include <vector>

using Work = std::function<void()>;

struct EmulatedGraph {
  std::vector<Work> nodes;
};
struct EmulatedStream {
  std::deque<Work> queue;
  std::size_t done = 0;  // of all work that was ever queued
  EmulatedGraph* recorded = nullptr;

  std::size_t given() const { return done + queue.size(); }
  void advance(std::size_t to) {
    while (done < to && !queue.empty()) {
      const Work work = std::move(queue.front());
      queue.pop_front();
      ++done;
      work();
    }
  }
};
struct EmulatedEvent {
  EmulatedStream* stream = nullptr;  // null: what was there is done
  std::size_t place = 0;
  bool timing = false;
  std::chrono::steady_clock::time_point time{};
};

namespace {

std::set<EmulatedStream*>& streams() {
  static auto* all = new std::set<EmulatedStream*>;
  return *all;
}
bool anything_recorded() {
  for (const EmulatedStream* s : streams())
    if (s->recorded) return true;
  return false;
}

}  // namespace

namespace cuda_emu {

cudaError_t submit(cudaStream_t stream, Work work) {
  const auto on_device = [work = std::move(work)] { work_on_device(work); };
  if (!stream) {
    if (anything_recorded()) return cudaErrorStreamCaptureImplicit;
    on_device();
  } else if (stream->recorded) {
    stream->recorded->nodes.push_back(on_device);
  } else {
    stream->queue.push_back(on_device);
  }
  return cudaSuccess;
}

}  // namespace cuda_emu

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  streams().insert(*stream = new EmulatedStream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (!stream) return anything_recorded() ? cudaErrorStreamCaptureImplicit : cudaSuccess;
  if (stream->recorded) return cudaErrorStreamCaptureUnsupported;
  stream->advance(stream->given());
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  if (anything_recorded()) return cudaErrorStreamCaptureUnsupported;
  for (EmulatedStream* s : streams()) s->advance(s->given());
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (stream && stream->recorded) return cudaErrorStreamCaptureUnsupported;
  return !stream || stream->queue.empty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  EmulatedStream* const other = event->stream;
  if (!other || other == stream || (stream && stream->recorded)) return cudaSuccess;
  const Work wait = [other, place = event->place] { other->advance(place); };
  if (stream)
    stream->queue.push_back(wait);
  else
    wait();
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new EmulatedEvent;
  (*event)->timing = flags != cudaEventDisableTiming;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->stream = stream;
  event->place = stream ? stream->given() : 0;
  event->time = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->stream) event->stream->advance(event->place);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return !event->stream || event->stream->done >= event->place ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  if (!start->timing || !end->timing) return cudaErrorInvalidValue;
  if (cudaEventQuery(start) != cudaSuccess || cudaEventQuery(end) != cudaSuccess)
    return cudaErrorNotReady;
  *ms = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (!stream || stream->recorded) return cudaErrorStreamCaptureUnsupported;
  stream->recorded = new EmulatedGraph;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = std::exchange(stream->recorded, nullptr);
  return *graph ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned) {
  *executable = new EmulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  for (const Work& node : executable->nodes) {
    if (stream)
      stream->queue.push_back(node);
    else
      node();
  }
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
