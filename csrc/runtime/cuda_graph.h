// A CUDA graph: what a thread queued on a stream, recorded once and launched often. What a launch
// takes from the host each time is not recorded but written to device memory before: where random
// numbers go on, and the numbers of optimizer steps (learning rate, bias corrections).
#pragma once
#include <cstdint>
#include <vector>

#include "runtime/cuda.h"
#include "runtime/philox.h"

namespace gradsmith::cuda {

class GS_API Graph {
 public:
  // Begins recording what this thread queues on the device's current stream, which must not be the
  // default one.
  explicit Graph(int device);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void finish();   // recording; nothing has been done yet, and the generator is where it was
  void abandon();  // the same after an error
  void launch();   // on the current stream
  // Between true and false, optimizer steps of this thread do nothing but give their numbers for
  // the next launch: those that were recorded, in the same order.
  void refresh(bool on);

  // For the launchers of random kernels while this records: a seed and a block in device memory.
  const std::uint64_t* generator() const { return generator_; }
  std::uint64_t relative(std::uint64_t block) const { return block - start_.offset; }
  // Where a step's numbers are, or, in refresh(), written now.
  const StepNumbers* next_numbers(const StepNumbers& numbers);

  static Graph* recording();   // by this thread; null: none
  static Graph* refreshing();  // likewise

 private:
  void store(void* out, const void* words, std::size_t bytes);

  int device_;
  void *stream_, *graph_ = nullptr;
  std::uint64_t* generator_ = nullptr;
  PhiloxState start_;
  std::uint64_t blocks_ = 0;  // that a launch draws
  std::vector<StepNumbers*> numbers_;
  std::size_t next_ = 0;
};

// Before host and device exchange values: not possible while the device only takes notes.
GS_API void check_not_recording(const char* what);

}  // namespace gradsmith::cuda
