#include "gradsmith/tensor.h"

#include <memory>
#include <mutex>

#include "base/check.h"
#include "core/shape.h"
#include "core/tensor_impl.h"
#include "runtime/cuda.h"
#include "runtime/memory.h"

namespace gradsmith {

// ---- storage ----

namespace {
constexpr std::size_t kHeader = 128;  // Storage itself; keeps the data behind it 64-byte aligned
static_assert(sizeof(Storage) <= kHeader && kHeader % kAlignment == 0);
}  // namespace

Ref<Storage> Storage::create(std::size_t bytes, Device device) {
  if (device.type == DeviceType::cuda) {
    void* data = cuda::allocate(device.index, bytes);  // throws where there is no such device
    return wrap(data, bytes, device, nullptr, nullptr);
  }
  GS_CHECK_KIND(memory, bytes <= SIZE_MAX - kHeader, "{} bytes cannot be allocated", bytes);
  auto* block = static_cast<char*>(allocate(kHeader + bytes));
  auto* s = new (block) Storage;
  s->data = block + kHeader;
  s->bytes = bytes;
  s->device = device;
  return Ref<Storage>::adopt(s);
}

Ref<Storage> Storage::wrap(void* data, std::size_t bytes, Device device, void (*release_fn)(void*),
                           void* owner) {
  auto* s = new (allocate(kHeader)) Storage;
  s->data = data;
  s->bytes = bytes;
  s->device = device;
  s->release_fn = release_fn;
  s->owner = owner;
  return Ref<Storage>::adopt(s);
}

void Storage::destroy() {
  const bool on_cuda = device.type == DeviceType::cuda;
  const std::size_t block = kHeader + (release_fn || on_cuda ? 0 : bytes);
  if (release_fn) {
    release_fn(owner);
  } else if (on_cuda) {
    cuda::deallocate(device.index, data);
  }
  this->~Storage();
  deallocate(this, block);
}

std::shared_ptr<Kept> Storage::kept() {
  const std::lock_guard lock(kept_mutex());
  if (release_fn || device.type != DeviceType::cpu || exports.load()) return nullptr;
  if (!kept_) kept_ = std::make_shared<Kept>();
  keeps_.store(true);
  return kept_;
}

void Storage::drop_kept() {
  std::shared_ptr<Kept> old;  // freed outside of the lock
  const std::lock_guard lock(kept_mutex());
  old.swap(kept_);
  keeps_.store(false);
}

// ---- tensor ----

void* TensorImpl::operator new(std::size_t bytes) { return allocate(bytes); }
void TensorImpl::operator delete(void* p, std::size_t bytes) noexcept { deallocate(p, bytes); }

Tensor::Tensor(const Tensor& other) : impl_(other.impl_) {
  if (impl_) impl_->refs.fetch_add(1, std::memory_order_relaxed);
}
Tensor::~Tensor() {
  if (impl_ && impl_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete impl_;
}

DType Tensor::dtype() const { return impl_->dtype; }
Device Tensor::device() const { return impl_->storage->device; }
int Tensor::dim() const { return impl_->shape.size(); }
std::int64_t Tensor::numel() const { return impl_->numel; }
const Dims& Tensor::shape() const { return impl_->shape; }
const Dims& Tensor::strides() const { return impl_->strides; }
std::int64_t Tensor::size(int d) const {
  GS_CHECK_INDEX(dim() > 0, "size: a tensor of rank 0 has no dim {}", d);
  return impl_->shape[check_dim("size", d, dim())];
}
bool Tensor::is_contiguous() const { return impl_->contiguous; }
void* Tensor::data() const { return impl_->data; }
NdView Tensor::view() const {
  return {impl_->data, impl_->dtype, dim(), impl_->shape.data(), impl_->strides.data()};
}

std::uint32_t Tensor::version() const { return impl_->storage->version + impl_->version_base; }
void Tensor::bump_version() const {
  ++impl_->storage->version;
  impl_->storage->forget();
}

namespace {
Tensor make(Ref<Storage> storage, void* data, const Dims& shape, const Dims& strides, DType dtype) {
  auto* impl = new TensorImpl;
  impl->dtype = dtype;
  impl->storage = std::move(storage);
  impl->data = data;
  impl->shape = shape;
  impl->strides = strides;
  impl->numel = shape.product();
  impl->contiguous = is_contiguous(shape, strides);
  return Tensor::adopt(impl);
}
template <class T>
Tensor number(T value, DType dtype) {
  Tensor t = empty({}, dtype);
  *t.data_as<T>() = value;
  t.impl()->wrapped_number = true;
  return t;
}
}  // namespace

Operand::Operand(double value) : Tensor(number(value, DType::f64)) {}
Operand::Operand(std::int64_t value) : Tensor(number(value, DType::i64)) {}
Operand::Operand(bool value) : Tensor(number(value, DType::b8)) {}

Tensor empty(const Dims& shape, DType dtype, Device device) {
  auto storage = Storage::create(checked_bytes(shape, dtype), device);
  void* data = storage->data;
  return make(std::move(storage), data, shape, contiguous_strides(shape), dtype);
}
Tensor empty_like(const Tensor& x) { return empty(x.shape(), x.dtype(), x.device()); }

Tensor from_blob(void* data, const Dims& shape, const Dims& strides, DType dtype, Device device,
                 void (*release)(void*), void* owner, bool read_only) {
  auto storage = Storage::wrap(data, checked_bytes(shape, dtype), device, release, owner);
  storage->read_only = read_only;
  return make(std::move(storage), data, shape, strides, dtype);
}

Tensor alias(const Tensor& x, const Dims& shape, const Dims& strides, std::int64_t offset) {
  auto* data = static_cast<char*>(x.data()) + offset * std::int64_t(itemsize(x.dtype()));
  return make(x.impl()->storage, data, shape, strides, x.dtype());
}

// ---- devices and names ----

std::ostream& operator<<(std::ostream& out, Device device) {
  if (device.type == DeviceType::cpu) return out << "cpu";
  return out << "cuda:" << int(device.index);
}
std::ostream& operator<<(std::ostream& out, DType dtype) { return out << name(dtype); }

Device parse_device(const std::string& text) {
  if (text == "cpu" || text == "cpu:0") return {};
  if (text == "cuda") return {DeviceType::cuda, 0};
  if (text.size() == 6 && text.starts_with("cuda:") && text[5] >= '0' && text[5] <= '9')
    return {DeviceType::cuda, std::int8_t(text[5] - '0')};
  fail(ErrorKind::value, "device: got '{}', allowed are 'cpu', 'cuda' and 'cuda:N'", text);
}

}  // namespace gradsmith
