// The ops of ops_nn.h, one line each.
#include "gradsmith/ops.h"
#include "python/bindings.h"
#include "python/def_op.h"

namespace gradsmith::python {

void bind_ops_nn([[maybe_unused]] Binder& b) {}

}  // namespace gradsmith::python
