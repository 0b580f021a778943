// What a Tensor points to. Only core and the binding look inside.
#pragma once
#include <atomic>
#include <memory>

#include "core/autograd/node.h"
#include "core/storage.h"

namespace gradsmith {

// Present only on tensors that take part in autograd.
struct AutogradMeta {
  bool requires_grad = false;  // of a leaf
  std::int32_t output_index = 0;
  Ref<Node> grad_fn;             // node that computed this tensor; null for a leaf
  Ref<Node> accumulator;         // of a leaf that requires grad: the node that adds into grad
  std::shared_ptr<Tensor> grad;  // shared with the accumulator or a retain_grad hook
};

struct GS_API TensorImpl {
  std::atomic<std::int32_t> refs{1};
  DType dtype = DType::f32;
  bool contiguous = true;
  bool wrapped_number = false;     // made from a Python number: weak in type promotion
  std::uint32_t version_base = 0;  // added to the storage's, see Tensor::version()
  Ref<Storage> storage;
  void* data = nullptr;
  std::int64_t numel = 0;
  Dims shape, strides;
  std::unique_ptr<AutogradMeta> meta;
  void* py_object = nullptr;  // the Python object that wraps this tensor now, if any (borrowed)

  AutogradMeta& require_meta() {
    if (!meta) meta = std::make_unique<AutogradMeta>();
    return *meta;
  }
  static void* operator new(std::size_t bytes);
  static void operator delete(void* p, std::size_t bytes) noexcept;
};

// A new tensor over the same storage, off the tape.
GS_API Tensor alias(const Tensor& x, const Dims& shape, const Dims& strides,
                    std::int64_t offset_elements);
// Of a tensor that requires grad: where its gradient goes.
GS_API Edge gradient_edge(const Tensor& x);

}  // namespace gradsmith
