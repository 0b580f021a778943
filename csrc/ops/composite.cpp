#include "gradsmith/autograd.h"
#include "ops/common.h"

namespace gradsmith::ops {

TensorList through_composite(
    const Grads& g, const std::vector<Tensor>& inputs,
    const std::function<std::vector<Tensor>(const std::vector<Tensor>&)>& forward) {
  // Each input is seen through a view of its own: the gradient of the view is the partial
  // derivative, without what reaches the input along other paths.
  std::vector<Tensor> shadows = inputs, wanted;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!g.needs(i)) continue;
    shadows[i] = view(inputs[i], inputs[i].shape());
    wanted.push_back(shadows[i]);
  }
  const std::vector<Tensor> all = forward(shadows);
  std::vector<Tensor> outputs, seeds;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!g[i].defined()) continue;
    outputs.push_back(all[i]);
    seeds.push_back(g[i]);
  }
  const std::vector<Tensor> found = grad(outputs, wanted, seeds, {.create_graph = true}, true);
  TensorList result;
  std::size_t next = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    result.push_back(g.needs(i) ? found[next++] : Tensor());
  return result;
}

}  // namespace gradsmith::ops
