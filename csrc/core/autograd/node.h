// The tape. A Node is one recorded op; its edges lead to the nodes that made its inputs.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/ref.h"
#include "base/small_vec.h"
#include "gradsmith/tensor.h"

namespace gradsmith {

struct Node;

struct Edge {
  Ref<Node> node;  // null: this input needs no gradient
  std::int32_t output_index = 0;
};

using TensorList = SmallVec<Tensor, 4>;

// What a rule is given: gradients of the outputs (undefined where none arrived) and which inputs
// need one.
class Grads {
 public:
  Grads(Node& node, TensorList& values, const std::vector<bool>* wanted)
      : node_(node), values_(values), wanted_(wanted) {}
  const Tensor& operator[](std::size_t i) const { return values_[i]; }
  std::size_t size() const { return values_.size(); }
  bool needs(std::size_t input) const;
  Node& node() const { return node_; }

 private:
  Node& node_;
  TensorList& values_;
  const std::vector<bool>* wanted_;
};

struct OutputInfo {
  Dims shape;
  DType dtype = DType::f32;
  Device device;
};

using TensorHook = std::function<Tensor(const Tensor& grad)>;  // undefined result: keep the grad
struct NodeHook {
  std::int64_t id;
  std::int32_t output_index;
  TensorHook fn;
};

struct RetainedGrad {  // of a tensor that is no leaf
  std::int32_t output_index;
  std::shared_ptr<Tensor> slot;
};

struct GS_API Node {
  std::atomic<std::int32_t> refs{1};
  std::uint64_t sequence;  // grows; a node's consumers always have a larger one
  const char* name;
  SmallVec<Edge, 3> edges;
  SmallVec<OutputInfo, 1> outputs;
  // Run on the gradient of an output before the rule; then those that are retained are stored.
  // Both are changed and read under hooks_mutex(), where `has_hooks` says that there are any.
  std::atomic<bool> has_hooks{false};
  std::vector<NodeHook> hooks;
  std::vector<RetainedGrad> retained;

  explicit Node(const char* op);
  virtual ~Node() = default;
  virtual TensorList apply(const Grads& grads) = 0;
  virtual void drop_saved() = 0;  // frees what the rule captured; apply() then throws

  void add_ref() { refs.fetch_add(1, std::memory_order_relaxed); }
  void release();
  static void* operator new(std::size_t bytes);
  static void operator delete(void* p, std::size_t bytes) noexcept;
};

std::mutex& hooks_mutex();

// The sink of a leaf: adds what arrives into its grad. Graphs of several threads may share it.
struct AccumulateGrad final : Node {
  std::shared_ptr<Tensor> grad;
  std::mutex mutex;
  explicit AccumulateGrad(const Tensor& leaf);
  TensorList apply(const Grads& grads) override;  // never called: the engine accumulates
  void drop_saved() override {}
};

inline bool Grads::needs(std::size_t input) const {
  return wanted_ ? bool((*wanted_)[input]) : bool(node_.edges[input].node);
}

}  // namespace gradsmith
