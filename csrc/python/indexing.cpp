// x[index] and x[index] = value with PyTorch's rules, which are NumPy's but that integers beside
// advanced indices select first: integers, slices, None and ... make views;
// integer and bool tensors, arrays and lists are advanced indexing and copy.
#include "gradsmith/grad_mode.h"
#include "gradsmith/ops.h"
#include "python/convert.h"

namespace py = pybind11;

namespace gradsmith::python {

namespace {

struct Parsed {
  Tensor view;                   // after the basic part
  std::vector<Tensor> advanced;  // one per dimension of `view`; undefined: the whole dimension
  bool has_advanced = false;
};

bool is_array_like(PyObject* o) {
  return is_tensor(o) || PyList_Check(o) || (PyObject_CheckBuffer(o) && !is_number(o));
}

// Lists and arrays of integers or bools.
Tensor to_index(PyObject* o) {
  Tensor t = is_tensor(o) ? tensor_of(o).detach() : tensor_from_data(o, Py_None, Py_None);
  if (t.numel() == 0 && is_floating(t.dtype()) && PyList_Check(o)) t = ops::to_dtype(t, DType::i64);
  GS_CHECK_TYPE(!is_floating(t.dtype()),
                "index: tensors used as indices must be integer or bool, got {}", t.dtype());
  GS_CHECK_TYPE(t.dtype() != DType::u8 || PyList_Check(o),
                "index: uint8 is a mask in PyTorch and numbers in NumPy; convert it with "
                ".to(gs.bool) for a mask or .to(gs.int64) for numbers");
  const bool mask = t.dtype() == DType::b8;
  return mask || t.dtype() == DType::i64 ? t : ops::to_dtype(t, DType::i64);
}

bool is_bool(PyObject* o) {
  const std::string_view type = Py_TYPE(o)->tp_name;
  return PyBool_Check(o) || type == "numpy.bool" || type == "numpy.bool_";
}

int dims_taken(PyObject* o) {
  if (o == Py_None || o == Py_Ellipsis || is_bool(o)) return 0;
  if (is_tensor(o) && tensor_of(o).dtype() == DType::b8) return tensor_of(o).dim();
  if (!is_tensor(o) && is_array_like(o)) {
    const Tensor t = to_index(o);
    return t.dtype() == DType::b8 ? t.dim() : 1;
  }
  return 1;
}

void apply_slice(Parsed& p, int at, PyObject* slice) {
  const std::int64_t n = p.view.size(at);
  Py_ssize_t start, stop, step;
  if (PySlice_Unpack(slice, &start, &stop, &step) < 0) throw py::error_already_set();
  const Py_ssize_t count = PySlice_AdjustIndices(Py_ssize_t(n), &start, &stop, step);
  if (step == 1 && start == 0 && count == n) return;
  if (step > 0) {
    p.view = ops::slice(p.view, at, start, count ? stop : start, step);
    return;
  }
  // Backwards: the same elements as a forward slice, then reversed.
  const Py_ssize_t last = start + (count - 1) * step;
  p.view = count ? ops::flip(ops::slice(p.view, at, last, start + 1, -step), {at})
                 : ops::slice(p.view, at, 0, 0, 1);
}

// A new dimension of size 1, kept or emptied.
void apply_bool(Parsed& p, int at, bool kept) {
  p.view = ops::slice(ops::unsqueeze(p.view, at), at, 0, kept, 1);
}

Parsed parse(const Tensor& x, PyObject* index) {
  PyObject* one[] = {index};
  PyObject** items = one;
  Py_ssize_t count = 1;
  if (PyTuple_Check(index)) {
    count = PyTuple_GET_SIZE(index);
    items = &PyTuple_GET_ITEM(index, 0);
  }
  int taken = 0, ellipses = 0;
  for (Py_ssize_t i = 0; i < count; ++i) {
    taken += dims_taken(items[i]);
    ellipses += items[i] == Py_Ellipsis;
  }
  GS_CHECK_INDEX(ellipses <= 1, "index: at most one ... is allowed");
  GS_CHECK_INDEX(taken <= x.dim(), "index: {} indices given for a tensor of shape {}", taken,
                 x.shape());

  Parsed p{x, {}, false};
  int at = 0;
  const auto advanced = [&](Tensor t) {
    p.advanced.resize(std::size_t(at));
    at += t.dtype() == DType::b8 ? t.dim() : 1;
    p.advanced.push_back(std::move(t));
    p.has_advanced = true;
  };
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* o = items[i];
    if (PySlice_Check(o)) {
      apply_slice(p, at++, o);
    } else if (o == Py_Ellipsis) {
      at += x.dim() - taken;
    } else if (o == Py_None) {
      p.view = ops::unsqueeze(p.view, at++);
    } else if (is_bool(o)) {
      apply_bool(p, at++, PyObject_IsTrue(o) == 1);
    } else if (is_array_like(o)) {
      Tensor t = to_index(o);
      if (t.dim() == 0 && t.dtype() == DType::i64) {
        const Tensor here = ops::to_device(t, {});
        p.view = ops::select(p.view, at, *here.data_as<std::int64_t>());
      } else if (t.dim() == 0) {
        apply_bool(p, at++, *ops::to_device(t, {}).data_as<bool>());
      } else {
        advanced(is_tensor(o) ? std::move(t) : ops::to_device(t, x.device()));
      }
    } else {
      p.view = ops::select(p.view, at, FromPy<std::int64_t>::get(o, {"Tensor", "index"}));
    }
  }
  return p;
}

}  // namespace

// A mask covers several dimensions with one entry; ops::index expects it that way.
Tensor get_item(const Tensor& x, PyObject* index) {
  if (PyLong_CheckExact(index))
    return ops::select(x, 0, FromPy<std::int64_t>::get(index, {"Tensor", "index"}));
  Parsed p = parse(x, index);
  if (p.has_advanced) return ops::index(p.view, p.advanced);
  return p.view.is(x) ? ops::view(x, x.shape()) : p.view;
}

void set_item(const Tensor& x, PyObject* index, PyObject* value) {
  GS_CHECK_STATE(!(grad_enabled() && x.requires_grad()),
                 "x[...] = value: in-place change of a tensor that requires grad; use no_grad()");
  const auto dtype = py::reinterpret_steal<py::object>(wrap(x.dtype()));
  Operand source =
      is_tensor(value) ? Operand(tensor_of(value))
      : is_number(value)
          ? operand_from_number(value)
          : Operand(ops::to_device(tensor_from_data(value, dtype.ptr(), Py_None), x.device()));
  GS_CHECK_STATE(
      !(grad_enabled() && source.requires_grad()),
      "x[...] = value: the value requires grad, but an assignment is not recorded; build "
      "the tensor with where(), cat() or scatter_add(), or detach() the value");
  if (is_number(value)) source = ops::element_of("x[...] = value", "value", source, x.dtype());
  Parsed p = parse(x, index);
  if (p.has_advanced) {
    ops::index_put_(p.view, p.advanced, source, false);
  } else {
    ops::copy_(p.view, source);
  }
}

}  // namespace gradsmith::python
