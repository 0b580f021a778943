// How an op puts itself on the tape:
//
//   if (!tracked(x)) return y;
//   return record("softmax", y, {x}, [y = save_output(y), dim](const Grads& g) {
//     return grads(softmax_backward(g[0], y.unpack(g), dim));
//   });
//
// The rule returns one gradient per input, in order; an undefined Tensor where g.needs(i) is
// false. Rules are written with public ops, so with create_graph they are recorded themselves.
// The engine sums a gradient over broadcast dimensions and casts it to the input's dtype.
#pragma once
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <type_traits>

#include "base/check.h"
#include "core/tensor_impl.h"
#include "gradsmith/grad_mode.h"

namespace gradsmith {

inline bool wants_grad(const Tensor& x) {
  return x.defined() && x.impl()->meta && x.requires_grad() && is_floating(x.dtype());
}
template <class... Ts>
bool tracked(const Ts&... inputs) {
  return (wants_grad(inputs) || ...) && grad_enabled();
}

// An input (or any earlier tensor) kept for the rule. Changing it in place before backward is an
// error that names the op.
class SavedTensor {
 public:
  SavedTensor() = default;
  explicit SavedTensor(Tensor x) : x_(std::move(x)), version_(x_.defined() ? x_.version() : 0) {}
  const Tensor& unpack(const Grads& g) const {
    if (x_.defined() && x_.version() != version_) [[unlikely]]
      changed(g);
    return x_;
  }

 private:
  [[noreturn]] GS_API void changed(const Grads& g) const;
  Tensor x_;
  std::uint32_t version_ = 0;
};
inline SavedTensor save(Tensor x) { return SavedTensor(std::move(x)); }

// The op's own output. Kept as a detached alias (no reference cycle) that unpack() puts back on
// the tape when gradients of gradients are recorded.
class SavedOutput {
 public:
  explicit SavedOutput(const Tensor& y, int index = 0) : y_(y.detach()), index_(index) {}
  GS_API Tensor unpack(const Grads& g) const;

 private:
  SavedTensor y_;
  int index_;
};
inline SavedOutput save_output(const Tensor& y, int index = 0) { return SavedOutput(y, index); }

template <class... Ts>
TensorList grads(Ts&&... values) {
  TensorList list;
  list.reserve(sizeof...(values));
  (list.push_back(Tensor(std::forward<Ts>(values))), ...);
  return list;
}

namespace detail {
GS_API void add_edge(Node& node, const Tensor& input);
GS_API void set_history(const Tensor& out, Node* node);  // adopts nothing; appends an output
GS_API void check_anomaly(const char* op, const Tensor& out);
[[noreturn]] GS_API void throw_second_backward(const char* op);

// Several threads may run backward over one node. The rule, with what it saved, is freed by the
// last one that uses it after drop_saved(); whoever comes later is told that it is gone.
template <class Rule>
struct RuleNode final : Node {
  RuleNode(const char* op, Rule&& r) : Node(op), rule_(std::move(r)) {}
  TensorList apply(const Grads& g) override {
    const bool dropped = state_.fetch_add(1, std::memory_order_acq_rel) & kDropped;
    const struct Leave {
      RuleNode& node;
      ~Leave() {
        if (node.state_.fetch_sub(1, std::memory_order_acq_rel) == (kDropped | 1u)) node.free();
      }
    } leave{*this};
    if (dropped) throw_second_backward(name);
    return (*rule_)(g);
  }
  void drop_saved() override {
    if (state_.fetch_or(kDropped, std::memory_order_acq_rel) == 0) free();
  }

 private:
  static constexpr std::uint32_t kDropped = 1u << 31, kFreed = 1u << 30;
  void free() {
    if (!(state_.fetch_or(kFreed, std::memory_order_acq_rel) & kFreed)) rule_.reset();
  }
  std::atomic<std::uint32_t> state_{0};  // the two bits, and how many are inside apply()
  std::optional<Rule> rule_;
};
}  // namespace detail

using Inputs = std::initializer_list<std::reference_wrapper<const Tensor>>;

// Several outputs, in the order in which the rule sees their gradients.
template <class List, class Rule>
void record_all(const char* op, Inputs outputs, const List& inputs, Rule&& rule) {
  using Plain = std::decay_t<Rule>;
  auto node = Ref<Node>::adopt(new detail::RuleNode<Plain>(op, Plain(std::forward<Rule>(rule))));
  node->edges.reserve(std::size(inputs));
  for (const Tensor& x : inputs) detail::add_edge(*node, x);
  for (const Tensor& y : outputs) detail::set_history(y, node.get());
  if (anomaly_enabled()) [[unlikely]]
    for (const Tensor& y : outputs) detail::check_anomaly(op, y);
}
template <class Rule>
Tensor record(const char* op, Tensor out, Inputs inputs, Rule&& rule) {
  record_all(op, {out}, inputs, std::forward<Rule>(rule));
  return out;
}

}  // namespace gradsmith
