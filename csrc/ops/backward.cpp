// The engine: works off nodes from the youngest to the oldest. A node's consumers are always
// younger than it, so its gradient is complete when its turn comes.
#include <algorithm>
#include <functional>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "base/check.h"
#include "core/autograd/record.h"
#include "gradsmith/autograd.h"
#include "gradsmith/ops.h"

namespace gradsmith {
namespace {

// Where the gradient of one requested input is put; several inputs may share a node.
struct Capture {
  std::int32_t output_index;
  std::size_t slot;
};

class Engine {
 public:
  explicit Engine(BackwardOptions options) : options_(options) {}

  void seed(const Tensor& output, Tensor gradient) {
    add(gradient_edge(output), std::move(gradient));
  }
  void capture(const Tensor& input, std::size_t slot) {
    const Edge edge = gradient_edge(input);
    captures_[edge.node.get()].push_back({edge.output_index, slot});
  }
  std::vector<Tensor> run(std::size_t slots);

 private:
  void add(const Edge& edge, Tensor gradient);
  void find_needed();
  void run_node(Node& node, TensorList gradients);
  void run_hooks(Node& node, TensorList& gradients);
  void accumulate(AccumulateGrad& leaf, Tensor gradient);
  bool only_captures() const { return !captures_.empty(); }

  struct Younger {
    bool operator()(const Ref<Node>& a, const Ref<Node>& b) const {
      return a->sequence != b->sequence ? a->sequence > b->sequence
                                        : std::less<Node*>()(b.get(), a.get());
    }
  };
  const BackwardOptions options_;
  std::map<Ref<Node>, TensorList, Younger> waiting_;  // gradients that have arrived so far
  std::unordered_map<Node*, std::vector<Capture>> captures_;
  std::unordered_set<Node*> needed_;  // with captures: the nodes on a path to one
  std::vector<Tensor> captured_;
};

// Rules may return a gradient in a broadcast shape, another floating dtype, or (of a number on the
// CPU) on another device; here, in one place, it gets those of the tensor that it belongs to.
Tensor fit(Tensor gradient, const OutputInfo& info, const char* op) {
  if (!(gradient.shape() == info.shape)) gradient = ops::sum_to_size(gradient, info.shape);
  if (gradient.dtype() != info.dtype) gradient = ops::to_dtype(gradient, info.dtype);
  if (!(gradient.device() == info.device)) gradient = ops::to_device(gradient, info.device);
  if (anomaly_enabled()) [[unlikely]]
    detail::check_anomaly(format("the backward of {}", op).c_str(), gradient);
  return gradient;
}

void Engine::add(const Edge& edge, Tensor gradient) {
  const auto [it, fresh] = waiting_.try_emplace(edge.node);
  TensorList& list = it->second;
  if (fresh) list.resize(edge.node->outputs.size());
  Tensor& slot = list[std::size_t(edge.output_index)];
  slot = slot.defined() ? ops::add(slot, gradient) : std::move(gradient);
}

// Depth first over the graph, remembering which nodes reach a captured one.
void Engine::find_needed() {
  std::unordered_set<Node*> seen;
  std::vector<std::pair<Node*, std::size_t>> stack;
  const auto enter = [&](Node* node) {
    if (!seen.insert(node).second) return false;
    if (captures_.contains(node)) needed_.insert(node);
    stack.push_back({node, 0});
    return true;
  };
  for (const auto& root : waiting_) {
    enter(root.first.get());
    while (!stack.empty()) {
      Node* node = stack.back().first;
      if (stack.back().second < node->edges.size()) {
        Node* child = node->edges[stack.back().second++].node.get();
        if (child && !enter(child) && needed_.contains(child)) needed_.insert(node);
        continue;
      }
      stack.pop_back();
      if (!stack.empty() && needed_.contains(node)) needed_.insert(stack.back().first);
    }
  }
}

void Engine::run_hooks(Node& node, TensorList& gradients) {
  std::vector<NodeHook> hooks;  // copies: a hook may add hooks, or remove itself
  std::vector<RetainedGrad> retained;
  {
    const std::lock_guard lock(hooks_mutex());
    hooks = node.hooks;
    retained = node.retained;
  }
  for (const NodeHook& hook : hooks) {
    Tensor& g = gradients[std::size_t(hook.output_index)];
    if (!g.defined()) continue;
    Tensor changed = hook.fn(g);
    if (!changed.defined()) continue;
    GS_CHECK(changed.shape() == g.shape(), "hook: returned shape {}, the gradient has {}",
             changed.shape(), g.shape());
    GS_CHECK(changed.device() == g.device(), "hook: returned a tensor on {}, the gradient is on {}",
             changed.device(), g.device());
    g = std::move(changed);
  }
  for (const RetainedGrad& r : retained) {
    const Tensor& g = gradients[std::size_t(r.output_index)];
    if (g.defined()) *r.slot = r.slot->defined() ? ops::add(*r.slot, g) : g;
  }
}

void Engine::accumulate(AccumulateGrad& leaf, Tensor gradient) {
  const std::lock_guard lock(leaf.mutex);
  Tensor& grad = *leaf.grad;
  if (options_.create_graph) {
    grad = grad.defined() ? ops::add(grad, gradient) : gradient;
  } else if (grad.defined()) {
    ops::add_(grad, gradient);
  } else {
    // Take the buffer over when nobody else can see it.
    const bool mine = gradient.impl()->refs.load() == 1 &&
                      gradient.impl()->storage->refs.load() == 1 && gradient.is_contiguous();
    grad = mine ? std::move(gradient) : ops::clone(gradient);
  }
}

void Engine::run_node(Node& node, TensorList gradients) {
  if (node.has_hooks.load(std::memory_order_acquire)) run_hooks(node, gradients);
  if (only_captures()) {
    const auto found = captures_.find(&node);
    if (found != captures_.end())
      for (const Capture& c : found->second)
        captured_[c.slot] = gradients[std::size_t(c.output_index)];
  }
  if (node.edges.empty()) {
    auto* leaf = dynamic_cast<AccumulateGrad*>(&node);
    if (leaf && !only_captures()) accumulate(*leaf, std::move(gradients[0]));
    return;
  }
  std::vector<bool> wanted;  // empty: every input that has an edge
  if (only_captures()) {
    for (const Edge& edge : node.edges)
      wanted.push_back(edge.node && needed_.contains(edge.node.get()));
    if (std::find(wanted.begin(), wanted.end(), true) == wanted.end()) return;
  }
  TensorList results = node.apply(Grads(node, gradients, wanted.empty() ? nullptr : &wanted));
  GS_CHECK_STATE(results.size() == node.edges.size(),
                 "backward of {}: the rule returned {} gradients for {} inputs", node.name,
                 results.size(), node.edges.size());
  if (!options_.retain_graph && !options_.create_graph) node.drop_saved();
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Edge& edge = node.edges[i];
    if (!edge.node || !results[i].defined() || (!wanted.empty() && !wanted[i])) continue;
    const OutputInfo& info = edge.node->outputs[std::size_t(edge.output_index)];
    add(edge, fit(std::move(results[i]), info, node.name));
  }
}

std::vector<Tensor> Engine::run(std::size_t slots) {
  GradModeGuard guard(options_.create_graph);
  captured_.resize(slots);
  if (only_captures()) find_needed();
  while (!waiting_.empty()) {
    auto entry = waiting_.extract(waiting_.begin());
    Node& node = *entry.key();
    if (only_captures() && !needed_.contains(&node)) continue;
    run_node(node, std::move(entry.mapped()));
  }
  return std::move(captured_);
}

void seed_all(Engine& engine, const std::vector<Tensor>& outputs,
              const std::vector<Tensor>& grad_outputs) {
  GS_CHECK(grad_outputs.empty() || grad_outputs.size() == outputs.size(),
           "backward: got {} grad_outputs for {} outputs", grad_outputs.size(), outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& y = outputs[i];
    GS_CHECK_TYPE(y.defined(), "backward: output {} must be a Tensor, got None", i);
    GS_CHECK_STATE(y.requires_grad(),
                   "backward: output {} of shape {} does not require grad and has no graph", i,
                   y.shape());
    Tensor g = grad_outputs.empty() ? Tensor() : grad_outputs[i];
    if (!g.defined()) {
      GS_CHECK_STATE(y.numel() == 1,
                     "backward: a gradient must be given for an output of shape {}; only for one "
                     "element it defaults to 1",
                     y.shape());
      g = ops::full(y.shape(), 1.0, y.dtype(), y.device());
    }
    GS_CHECK(g.shape() == y.shape(), "backward: gradient has shape {}, the output {}", g.shape(),
             y.shape());
    GS_CHECK_TYPE(g.dtype() == y.dtype(), "backward: gradient has dtype {}, the output {}",
                  g.dtype(), y.dtype());
    GS_CHECK(g.device() == y.device(), "backward: gradient is on {}, the output on {}", g.device(),
             y.device());
    engine.seed(y, std::move(g));
  }
}

}  // namespace

void backward(const std::vector<Tensor>& outputs, const std::vector<Tensor>& grad_outputs,
              BackwardOptions options) {
  Engine engine(options);
  seed_all(engine, outputs, grad_outputs);
  engine.run(0);
}

std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                         const std::vector<Tensor>& grad_outputs, BackwardOptions options,
                         bool allow_unused) {
  GS_CHECK(!inputs.empty(), "grad: inputs is empty");
  Engine engine(options);
  seed_all(engine, outputs, grad_outputs);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    GS_CHECK_TYPE(inputs[i].defined(), "grad: input {} must be a Tensor, got None", i);
    GS_CHECK_STATE(inputs[i].requires_grad(), "grad: input {} of shape {} does not require grad", i,
                   inputs[i].shape());
    engine.capture(inputs[i], i);
  }
  std::vector<Tensor> result = engine.run(inputs.size());
  for (std::size_t i = 0; i < result.size(); ++i)
    GS_CHECK_STATE(allow_unused || result[i].defined(),
                   "grad: the outputs do not depend on input {} of shape {}; pass "
                   "allow_unused=True to get None",
                   i, inputs[i].shape());
  return result;
}

std::int64_t register_hook(const Tensor& x, std::function<Tensor(const Tensor&)> fn) {
  GS_CHECK_STATE(x.requires_grad(), "register_hook: the tensor does not require grad");
  static std::atomic<std::int64_t> next{1};
  const std::int64_t id = next.fetch_add(1);
  const Edge edge = gradient_edge(x);
  const std::lock_guard lock(hooks_mutex());
  edge.node->hooks.push_back({id, edge.output_index, std::move(fn)});
  edge.node->has_hooks.store(true, std::memory_order_release);
  return id;
}

void remove_hook(const Tensor& x, std::int64_t id) {
  if (!x.requires_grad()) return;
  const Edge edge = gradient_edge(x);
  std::vector<NodeHook>& hooks = edge.node->hooks;
  NodeHook removed;  // destroyed after the lock is gone: it may be the last owner of anything
  const std::lock_guard lock(hooks_mutex());
  const auto at = std::find_if(hooks.begin(), hooks.end(), [id](auto& h) { return h.id == id; });
  if (at == hooks.end()) return;
  removed = std::move(*at);
  hooks.erase(at);
}

void retain_grad(const Tensor& x) {
  GS_CHECK_STATE(x.requires_grad(), "retain_grad: the tensor does not require grad");
  if (x.is_leaf()) return;
  auto& meta = *x.impl()->meta;
  if (!meta.grad) meta.grad = std::make_shared<Tensor>();
  const std::lock_guard lock(hooks_mutex());
  std::vector<RetainedGrad>& retained = meta.grad_fn->retained;
  for (const RetainedGrad& r : retained)
    if (r.slot == meta.grad) return;
  retained.push_back({meta.output_index, meta.grad});
  meta.grad_fn->has_hooks.store(true, std::memory_order_release);
}

}  // namespace gradsmith
