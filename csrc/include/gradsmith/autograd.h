// Running the tape backwards.
#pragma once
#include <functional>
#include <vector>

#include "gradsmith/tensor.h"

namespace gradsmith {

struct BackwardOptions {
  bool retain_graph = false;  // keep saved tensors for another backward
  bool create_graph = false;  // record the backward itself (implies retain_graph)
};

// Adds d(sum(outputs * grad_outputs))/d(leaf) to the grad of every leaf that the outputs depend on.
// An undefined grad_output is allowed for a one-element output and counts as 1.
GS_API void backward(const std::vector<Tensor>& outputs, const std::vector<Tensor>& grad_outputs,
                     BackwardOptions options = {});

// The gradients with respect to `inputs` (leaves or not); no grad is changed. An input that the
// outputs do not depend on gives an undefined Tensor when allow_unused, else Error(state).
GS_API std::vector<Tensor> grad(const std::vector<Tensor>& outputs,
                                const std::vector<Tensor>& inputs,
                                const std::vector<Tensor>& grad_outputs,
                                BackwardOptions options = {}, bool allow_unused = false);

// fn sees the gradient of x once it is complete and may return another one (undefined: keep).
// Returns an id for remove_hook.
GS_API std::int64_t register_hook(const Tensor& x, std::function<Tensor(const Tensor&)> fn);
GS_API void remove_hook(const Tensor& x, std::int64_t id);
GS_API void retain_grad(const Tensor& x);  // makes backward fill grad of a non-leaf too

}  // namespace gradsmith
