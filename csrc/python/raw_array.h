// Arrays of gradsmith.kernels: memory of NumPy arrays, tensors of ours and whatever else speaks
// DLPack, used where it lies. Nothing is copied but an input at an address that is not a multiple
// of its element size, which no kernel can read.
#pragma once
#include <initializer_list>

#include "python/def_op.h"

namespace gradsmith::python {

struct RawArray {
  Tensor tensor;               // undefined: None
  PyObject* object = nullptr;  // borrowed from the call
  bool numpy = false;          // came through the buffer protocol
  bool copied = false;         // had to be copied, see above

  explicit operator bool() const { return tensor.defined(); }
};
template <>
struct FromPy<RawArray> {
  static RawArray get(PyObject* o, Where where);
};
inline std::int64_t work(const RawArray& a) { return detail::work(a.tensor); }

// A result: the caller's own `out` object, or a new array of the kind of the first input.
struct RawResult {
  Tensor tensor;
  PyObject* object = nullptr;
  bool numpy = false;
};
PyObject* to_py(RawResult result);

// ---- checks: every message names op, argument, what was given and what is allowed ----

// On the CPU and float32 or float64.
void check_raw_float(const char* op, const char* argument, const RawArray& a);
void check_raw_dense(const char* op, const char* argument, const RawArray& a);
void check_raw_shape(const char* op, const char* argument, const RawArray& a, const Dims& shape);
void check_raw_dtype(const char* op, const char* argument, const RawArray& a, DType dtype);
// Dense, of this dtype and shape; None passes.
void check_raw_operand(const char* op, const char* argument, const RawArray& a, const Dims& shape,
                       DType dtype);

enum class Overlap { forbidden, in_place };  // in_place: out may be exactly an input
struct OutputSpec {
  const char* op;
  const char* argument = "out";
  Dims shape;
  DType dtype;
  Overlap overlap = Overlap::forbidden;
  bool dense = true;
};
// The array to write to: `out` if it is given and passes the checks, a new one otherwise.
Tensor raw_output(const OutputSpec& spec, const RawArray& out,
                  std::initializer_list<const RawArray*> inputs);
RawResult raw_result(Tensor tensor, const RawArray& out, const RawArray& first_input);

}  // namespace gradsmith::python
