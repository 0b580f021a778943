#include "python/raw_array.h"

#include <cstdlib>

#include "core/tensor_impl.h"

namespace gradsmith::python {

RawArray FromPy<RawArray>::get(PyObject* o, Where where) {
  if (o == Py_None) return {};
  RawArray a;
  a.object = o;
  if (is_tensor(o)) {
    a.tensor = tensor_of(o);
  } else if (Tensor array = borrow_array(o); array.defined()) {
    a.numpy = true;
    a.tensor = std::move(array);
  } else if (PyObject_CheckBuffer(o)) {
    a.numpy = true;
    a.tensor = from_any_array(o, where.argument);
    a.copied = a.tensor.impl()->storage->release_fn == nullptr;
  } else if (PyObject_HasAttrString(o, "__dlpack__")) {
    a.tensor = from_any_array(o, where.argument);
  } else {
    wrong_type(where, "a NumPy array, a tensor or something with __dlpack__", o);
  }
  GS_CHECK_KIND(device, a.tensor.device().type == DeviceType::cpu,
                "{}: argument '{}' is on {}, raw kernels run on the CPU", where.op, where.argument,
                a.tensor.device());
  return a;
}

PyObject* to_py(RawResult result) {
  if (result.object) return Py_NewRef(result.object);
  return result.numpy ? to_numpy(result.tensor) : wrap(std::move(result.tensor));
}

namespace {

struct Bytes {
  const char *begin, *end;
};
Bytes bytes_of(const Tensor& t) {
  const auto item = std::int64_t(itemsize(t.dtype()));
  const char* p = static_cast<const char*>(t.data());
  Bytes b{p, p + item};
  for (int d = 0; d < t.dim(); ++d) {
    const std::int64_t reach = (t.shape()[d] - 1) * t.strides()[d] * item;
    (reach < 0 ? b.begin : b.end) += reach;
  }
  return b;
}
bool overlap(const Tensor& a, const Tensor& b) {
  if (a.numel() == 0 || b.numel() == 0) return false;
  const Bytes x = bytes_of(a), y = bytes_of(b);
  return x.begin < y.end && y.begin < x.end;
}
bool same_view(const Tensor& a, const Tensor& b) {
  return a.data() == b.data() && a.dtype() == b.dtype() && a.shape() == b.shape() &&
         a.strides() == b.strides();
}
// Two elements may have one address unless, taken by ascending stride, every dimension steps over
// all that the ones before it reach.
bool overlaps_itself(const Tensor& t) {
  std::int64_t reach = 0;
  unsigned done = 0;
  for (int round = 0; round < t.dim(); ++round) {
    int next = -1;
    for (int d = 0; d < t.dim(); ++d) {
      if (t.shape()[d] <= 1 || (done >> d & 1)) continue;
      if (next < 0 || std::abs(t.strides()[d]) < std::abs(t.strides()[next])) next = d;
    }
    if (next < 0) return false;
    const std::int64_t stride = std::abs(t.strides()[next]);
    if (stride <= reach) return true;
    reach += stride * (t.shape()[next] - 1);
    done |= 1u << next;
  }
  return false;
}

void check_writable(const char* op, const char* argument, const RawArray& a) {
  GS_CHECK(!a.copied,
           "{}: argument '{}' is not aligned to its {} byte elements, so it cannot be "
           "written in place",
           op, argument, itemsize(a.tensor.dtype()));
  GS_CHECK(!a.tensor.impl()->storage->read_only, "{}: argument '{}' is read-only", op, argument);
  GS_CHECK_STATE(!a.tensor.requires_grad(),
                 "{}: argument '{}' requires grad; raw kernels know no tape, pass {}.detach()", op,
                 argument, argument);
  GS_CHECK(a.tensor.numel() == 0 || !overlaps_itself(a.tensor),
           "{}: elements of argument '{}' share memory (shape {}, strides {})", op, argument,
           a.tensor.shape(), a.tensor.strides());
}

}  // namespace

void check_raw_float(const char* op, const char* argument, const RawArray& a) {
  GS_CHECK_TYPE(a, "{}: argument '{}' must be an array, got None", op, argument);
  GS_CHECK_TYPE(a.tensor.dtype() == DType::f32 || a.tensor.dtype() == DType::f64,
                "{}: argument '{}' must be float32 or float64, got {}", op, argument,
                a.tensor.dtype());
}
void check_raw_dense(const char* op, const char* argument, const RawArray& a) {
  GS_CHECK(a.tensor.is_contiguous(),
           "{}: argument '{}' must be C-contiguous, got shape {} with strides {} (in elements)", op,
           argument, a.tensor.shape(), a.tensor.strides());
}
void check_raw_shape(const char* op, const char* argument, const RawArray& a, const Dims& shape) {
  GS_CHECK(a.tensor.shape() == shape, "{}: argument '{}' must have shape {}, got {}", op, argument,
           shape, a.tensor.shape());
}
void check_raw_dtype(const char* op, const char* argument, const RawArray& a, DType dtype) {
  GS_CHECK_TYPE(a.tensor.dtype() == dtype, "{}: argument '{}' must be {}, got {}", op, argument,
                dtype, a.tensor.dtype());
}
void check_raw_operand(const char* op, const char* argument, const RawArray& a, const Dims& shape,
                       DType dtype) {
  if (!a) return;
  check_raw_dtype(op, argument, a, dtype);
  check_raw_shape(op, argument, a, shape);
  check_raw_dense(op, argument, a);
}

Tensor raw_output(const OutputSpec& spec, const RawArray& out,
                  std::initializer_list<const RawArray*> inputs) {
  if (!out) return empty(spec.shape, spec.dtype);
  check_raw_dtype(spec.op, spec.argument, out, spec.dtype);
  check_raw_shape(spec.op, spec.argument, out, spec.shape);
  if (spec.dense) check_raw_dense(spec.op, spec.argument, out);
  check_writable(spec.op, spec.argument, out);
  for (const RawArray* input : inputs) {
    if (!*input || !overlap(out.tensor, input->tensor)) continue;
    GS_CHECK(spec.overlap == Overlap::in_place && same_view(out.tensor, input->tensor),
             "{}: argument '{}' overlaps an input{}", spec.op, spec.argument,
             spec.overlap == Overlap::in_place ? " without being exactly it" : "");
  }
  out.tensor.bump_version();
  return out.tensor;
}

RawResult raw_result(Tensor tensor, const RawArray& out, const RawArray& first_input) {
  if (out) tensor.bump_version();
  return {std::move(tensor), out.object, first_input.numpy};
}

}  // namespace gradsmith::python
