// The parts of the tape that hold state: modes, nodes, and a tensor's place on it.
#include <cmath>

#include "base/check.h"
#include "core/autograd/record.h"
#include "gradsmith/autocast.h"
#include "gradsmith/ops.h"
#include "runtime/memory.h"

namespace gradsmith {

namespace {
thread_local bool grad_mode = true;
thread_local bool autocast_modes[2] = {false, false};  // by DeviceType
std::atomic<bool> anomaly_mode{false};
std::atomic<std::uint64_t> next_sequence{1};
}  // namespace

bool grad_enabled() { return grad_mode; }
void set_grad_enabled(bool on) { grad_mode = on; }
bool autocast_enabled(DeviceType device) { return autocast_modes[int(device)]; }
void set_autocast_enabled(bool on, DeviceType device) { autocast_modes[int(device)] = on; }
bool anomaly_enabled() { return anomaly_mode.load(std::memory_order_relaxed); }
void set_anomaly_enabled(bool on) { anomaly_mode.store(on, std::memory_order_relaxed); }

// ---- nodes ----

Node::Node(const char* op)
    : sequence(next_sequence.fetch_add(1, std::memory_order_relaxed)), name(op) {}
void* Node::operator new(std::size_t bytes) { return allocate(bytes); }
void Node::operator delete(void* p, std::size_t bytes) noexcept { deallocate(p, bytes); }

std::mutex& hooks_mutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
}

// A long chain of nodes must not be destroyed by recursion: the outermost release() works off a
// list that the inner ones only append to.
void Node::release() {
  if (refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  thread_local std::vector<Node*>* pending = nullptr;
  if (pending) {
    pending->push_back(this);
    return;
  }
  std::vector<Node*> list{this};
  pending = &list;
  while (!list.empty()) {
    Node* node = list.back();
    list.pop_back();
    delete node;
  }
  pending = nullptr;
}

AccumulateGrad::AccumulateGrad(const Tensor& leaf) : Node("accumulate_grad") {
  sequence = 0;  // after everything else
  auto& meta = leaf.impl()->require_meta();
  if (!meta.grad) meta.grad = std::make_shared<Tensor>();
  grad = meta.grad;
  outputs.push_back({leaf.shape(), leaf.dtype(), leaf.device()});
}
TensorList AccumulateGrad::apply(const Grads&) { return {}; }

Edge gradient_edge(const Tensor& x) {
  AutogradMeta& meta = *x.impl()->meta;
  return meta.grad_fn ? Edge{meta.grad_fn, meta.output_index} : Edge{meta.accumulator, 0};
}

// ---- a tensor's place on the tape ----

bool Tensor::requires_grad() const {
  const auto& meta = impl_->meta;
  return meta && (meta->requires_grad || meta->grad_fn);
}
bool Tensor::is_leaf() const { return !impl_->meta || !impl_->meta->grad_fn; }

const Tensor& Tensor::set_requires_grad(bool on) const {
  GS_CHECK_TYPE(!on || is_floating(dtype()),
                "requires_grad: only floating point tensors can require gradients, got {}",
                dtype());
  GS_CHECK_STATE(is_leaf() || on, "requires_grad: can be turned off only on a leaf; use detach()");
  if (!is_leaf() || !(on || impl_->meta)) return *this;
  AutogradMeta& meta = impl_->require_meta();
  // Here and not at first use, which may be in several threads at once.
  if (on && !meta.accumulator) meta.accumulator = Ref<Node>::adopt(new AccumulateGrad(*this));
  meta.requires_grad = on;
  return *this;
}

Tensor Tensor::grad() const {
  const auto& meta = impl_->meta;
  return meta && meta->grad ? *meta->grad : Tensor();
}
void Tensor::set_grad(Tensor g) const {
  if (g.defined()) {
    GS_CHECK(g.shape() == shape(), "grad: shape {} differs from the tensor's {}", g.shape(),
             shape());
    GS_CHECK_TYPE(g.dtype() == dtype(), "grad: dtype {} differs from the tensor's {}", g.dtype(),
                  dtype());
    GS_CHECK(g.device() == device(), "grad: is on {}, the tensor on {}", g.device(), device());
  }
  if (!g.defined() && !impl_->meta) return;
  auto& meta = impl_->require_meta();
  if (!meta.grad) meta.grad = std::make_shared<Tensor>();
  *meta.grad = std::move(g);
}
Tensor Tensor::detach() const { return alias(*this, shape(), strides(), 0); }

// ---- saved tensors ----

void SavedTensor::changed(const Grads& g) const {
  fail(ErrorKind::state,
       "backward of {}: a saved tensor of shape {} was changed in place (it is at version {}, "
       "version {} was saved)",
       g.node().name, x_.shape(), x_.version(), version_);
}

Tensor SavedOutput::unpack(const Grads& g) const {
  const Tensor& y = y_.unpack(g);
  if (!grad_enabled()) return y;
  Tensor again = y.detach();
  auto& meta = again.impl()->require_meta();
  meta.grad_fn = Ref<Node>(&g.node());
  meta.output_index = index_;
  return again;
}

namespace detail {

void add_edge(Node& node, const Tensor& input) {
  node.edges.push_back(wants_grad(input) ? gradient_edge(input) : Edge{});
}

void set_history(const Tensor& out, Node* node) {
  const auto index = std::int32_t(node->outputs.size());
  node->outputs.push_back({out.shape(), out.dtype(), out.device()});
  if (!is_floating(out.dtype())) return;  // indices and masks carry no gradient
  auto& meta = out.impl()->require_meta();
  meta.grad_fn = Ref<Node>(node);
  meta.output_index = index;
}

void check_anomaly(const char* op, const Tensor& out) {
  if (!out.defined() || !is_floating(out.dtype())) return;
  const bool half = out.dtype() != DType::f32 && out.dtype() != DType::f64;
  if (half || !out.is_contiguous() || out.device().type != DeviceType::cpu) {
    const Tensor here = ops::to_device(out.detach(), {});
    return check_anomaly(op, ops::contiguous(half ? ops::to_dtype(here, DType::f32) : here));
  }
  const auto scan = [&]<class T>(const T* p) {
    for (std::int64_t i = 0; i < out.numel(); ++i)
      if (std::isnan(double(p[i])))
        fail(ErrorKind::state, "detect_anomaly: {} produced NaN at element {} of shape {}", op, i,
             out.shape());
  };
  if (out.dtype() == DType::f32) scan(out.data_as<float>());
  if (out.dtype() == DType::f64) scan(out.data_as<double>());
}

void throw_second_backward(const char* op) {
  fail(ErrorKind::state,
       "backward of {}: the graph was already used and its saved tensors are freed; pass "
       "retain_graph=True to the first backward",
       op);
}

}  // namespace detail
}  // namespace gradsmith
