#include "runtime/cuda_graph.h"

#include <cstring>

#include "base/check.h"

namespace gradsmith::cuda {

namespace {
thread_local Graph *recorded = nullptr, *refreshed = nullptr;

constexpr std::size_t kMostSteps = 64;  // of optimizers: groups of parameters in one graph
constexpr std::size_t kWord = sizeof(std::uint64_t);
static_assert(sizeof(StepNumbers) % kWord == 0 && sizeof(StepNumbers) <= kWord * kStoreWords);

void release(int device, std::uint64_t* generator, const std::vector<StepNumbers*>& numbers) {
  deallocate(device, generator);
  for (StepNumbers* each : numbers) deallocate(device, each);
}

}  // namespace

Graph* Graph::recording() { return recorded; }
Graph* Graph::refreshing() { return refreshed; }

Graph::Graph(int device) : device_(device), stream_(current_stream(device)) {
  GS_CHECK_STATE(!recorded, "graph: this thread is recording one already");
  GS_CHECK_STATE(stream_, "graph: the default stream cannot be recorded; use another");
  // Allocated before, for what is allocated meanwhile may share memory with intermediate results.
  generator_ = static_cast<std::uint64_t*>(allocate(device, 2 * kWord));
  start_ = generator_state();
  try {
    while (numbers_.size() < kMostSteps)
      numbers_.push_back(static_cast<StepNumbers*>(allocate(device, sizeof(StepNumbers))));
    begin_capture(device);
  } catch (...) {
    release(device, generator_, numbers_);
    throw;
  }
  recorded = this;
}

Graph::~Graph() {
  if (recorded == this) abandon();
  if (refreshed == this) refreshed = nullptr;
  destroy_graph(device_, graph_, stream_);  // waits for launches, which read the numbers
  release(device_, generator_, numbers_);
}

void Graph::finish() {
  GS_CHECK_STATE(recorded == this, "graph: is not being recorded");
  recorded = nullptr;
  blocks_ = generator_state().offset - start_.offset;
  set_generator_state(start_);
  for (; numbers_.size() > next_; numbers_.pop_back()) deallocate(device_, numbers_.back());
  next_ = 0;
  const bool elsewhere = current_stream(device_) != stream_;
  graph_ = end_capture(device_, stream_);
  GS_CHECK_STATE(!elsewhere, "graph: the step left another stream set than the one it began on");
}

void Graph::abandon() {
  try {
    finish();
  } catch (const Error&) {  // the error that led here says more
  }
}

void Graph::launch() {
  GS_CHECK_STATE(graph_, "graph: nothing has been recorded");
  GS_CHECK_STATE(!recorded, "graph: cannot be launched while another one is recorded");
  GS_CHECK_STATE(next_ == numbers_.size(),
                 "graph: {} optimizer steps were recorded, but {} were made before this launch",
                 numbers_.size(), next_);
  if (blocks_ > 0) {
    const PhiloxState now = reserve_random(blocks_);
    const std::uint64_t words[] = {now.seed, now.offset};
    store(generator_, words, sizeof(words));
  }
  launch_graph(device_, graph_);
}

void Graph::refresh(bool on) {
  GS_CHECK_STATE(!on || !refreshed, "graph: this thread refreshes another one");
  refreshed = on ? this : nullptr;
  if (on) next_ = 0;
}

const StepNumbers* Graph::next_numbers(const StepNumbers& numbers) {
  GS_CHECK_STATE(next_ < numbers_.size(), "graph: more than {} optimizer steps{}", numbers_.size(),
                 recorded == this ? "" : ", which were recorded, are made before a launch");
  if (recorded == this) return numbers_[next_++];
  store(numbers_[next_], &numbers, sizeof(numbers));
  return numbers_[next_++];
}

void Graph::store(void* out, const void* words, std::size_t bytes) {
  StoreArgs args{};
  args.out = out;
  args.count = std::uint32_t(bytes / kWord);
  std::memcpy(args.words, words, bytes);
  cuda::store(device_, args);
}

void check_not_recording(const char* what) {
  GS_CHECK_STATE(!recorded,
                 "{}: values cannot go between the host and a CUDA device while a graph is "
                 "recorded, for nothing is computed yet",
                 what);
}

}  // namespace gradsmith::cuda
