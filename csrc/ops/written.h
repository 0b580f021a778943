// Memory that optimizer steps and clipping write in place.
#pragma once
#include "ops/dispatch_index.h"

namespace gradsmith::ops {

// Dense memory for something a step writes: the tensor's own, or a copy that finish() puts back.
// Used while nothing is recorded.
class Written {
 public:
  Written(const char* op, const Tensor& x) : target_(x) {
    check_float(op, "params", x);
    GS_CHECK(!x.impl()->storage->read_only, "{}: the memory of a tensor is read-only", op);
    dense_ = contiguous(x);
  }
  void* data() const { return dense_.data(); }
  void finish() const {
    if (dense_.data() != target_.data()) {
      copy_(target_, dense_);
    } else {
      target_.bump_version();
    }
  }

 private:
  Tensor target_, dense_;
};

}  // namespace gradsmith::ops
