// Tensor: a counted reference to a typed, strided array with an optional place on the tape.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gradsmith/dims.h"
#include "gradsmith/dtype.h"
#include "gradsmith/export.h"
#include "gradsmith/view.h"

namespace gradsmith {

enum class DeviceType : std::uint8_t { cpu, cuda };
struct Device {
  DeviceType type = DeviceType::cpu;
  std::int8_t index = 0;
  friend bool operator==(const Device&, const Device&) = default;
};
GS_API std::ostream& operator<<(std::ostream& out, Device device);  // cpu, cuda:0
GS_API std::ostream& operator<<(std::ostream& out, DType dtype);
GS_API Device parse_device(const std::string& text);

struct GS_API TensorImpl;

class GS_API Tensor {
 public:
  Tensor() = default;
  Tensor(const Tensor& other);
  Tensor(Tensor&& other) noexcept : impl_(other.impl_) { other.impl_ = nullptr; }
  Tensor& operator=(Tensor other) noexcept {
    std::swap(impl_, other.impl_);
    return *this;
  }
  ~Tensor();
  static Tensor adopt(TensorImpl* impl) {  // takes over one reference
    Tensor t;
    t.impl_ = impl;
    return t;
  }

  bool defined() const { return impl_ != nullptr; }
  DType dtype() const;
  Device device() const;
  int dim() const;
  std::int64_t numel() const;
  const Dims& shape() const;
  const Dims& strides() const;     // in elements
  std::int64_t size(int d) const;  // negative d counts from the back; throws Error(index)
  bool is_contiguous() const;
  void* data() const;
  template <class T>
  T* data_as() const {
    return static_cast<T*>(data());
  }
  NdView view() const;

  bool requires_grad() const;  // a leaf that wants a gradient, or computed from one
  const Tensor& set_requires_grad(bool on) const;
  bool is_leaf() const;
  Tensor grad() const;  // undefined where none has been accumulated
  void set_grad(Tensor grad) const;
  Tensor detach() const;  // same memory, off the tape
  std::uint32_t version() const;
  void bump_version() const;  // call after writing into the memory

  TensorImpl* impl() const { return impl_; }
  bool is(const Tensor& other) const { return impl_ == other.impl_; }

 private:
  TensorImpl* impl_ = nullptr;
};

// A tensor or a number. A number takes part in type promotion only by its kind (bool < int <
// float), as in PyTorch: float32 * 2.5 stays float32.
class GS_API Operand : public Tensor {
 public:
  Operand(const Tensor& t) : Tensor(t) {}
  Operand(Tensor&& t) : Tensor(std::move(t)) {}
  Operand(double value);
  Operand(int value) : Operand(std::int64_t(value)) {}
  Operand(std::int64_t value);
  Operand(bool value);
};

// Uninitialised memory. Sizes must not be negative; the total must fit in 63 bits.
GS_API Tensor empty(const Dims& shape, DType dtype = DType::f32, Device device = {});
GS_API Tensor empty_like(const Tensor& x);  // contiguous
// Memory of somebody else: `release(owner)` runs when the last view of it is gone.
GS_API Tensor from_blob(void* data, const Dims& shape, const Dims& strides, DType dtype,
                        Device device, void (*release)(void* owner), void* owner,
                        bool read_only = false);

}  // namespace gradsmith
