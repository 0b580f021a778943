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
  std::size_t bytes_ = 0;
  int device_ = 0;
};

}  // namespace gradsmith::cuda
