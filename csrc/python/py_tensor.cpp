#include "python/py_tensor.h"

#include <structmember.h>

#include <new>

#include "core/tensor_impl.h"
#include "gradsmith/grad_mode.h"
#include "gradsmith/ops.h"
#include "python/def_op.h"
#include "python/tensor_members.h"

namespace gradsmith::python {

PyTypeObject* tensor_type = nullptr;

// ---- wrapping ----

namespace {

// Dead wrappers kept for the next small op.
constexpr int kFreeListMax = 64;
PyTensor* free_list[kFreeListMax];
int free_count = 0;

PyTensor* fresh(PyTypeObject* type) {
  if (type == tensor_type && free_count > 0) {
    PyTensor* o = free_list[--free_count];
    _Py_NewReference(reinterpret_cast<PyObject*>(o));
    Py_INCREF(type);
    return o;
  }
  auto* o = reinterpret_cast<PyTensor*>(type->tp_alloc(type, 0));
  if (!o) throw pybind11::error_already_set();
  new (&o->tensor) Tensor();
  o->weakrefs = nullptr;
  return o;
}

void dealloc(PyObject* self) {
  auto* o = reinterpret_cast<PyTensor*>(self);
  PyTypeObject* type = Py_TYPE(self);
  TensorImpl* impl = o->tensor.impl();
  if (impl && impl->py_object == self) impl->py_object = nullptr;
  if (o->weakrefs) PyObject_ClearWeakRefs(self);
  o->tensor = Tensor();
  if (type == tensor_type && free_count < kFreeListMax) {
    free_list[free_count++] = o;
  } else {
    o->tensor.~Tensor();
    type->tp_free(self);
  }
  Py_DECREF(type);
}

PyObject* attach(PyTensor* o, Tensor t) {
  t.impl()->py_object = o;
  o->tensor = std::move(t);
  return reinterpret_cast<PyObject*>(o);
}

}  // namespace

PyObject* wrap(Tensor t) {
  if (!t.defined()) Py_RETURN_NONE;
  auto* const wrapper = static_cast<PyObject*>(t.impl()->py_object);
  // One without references is on its way out: a subclass's attributes are finalised before it.
  if (wrapper && Py_REFCNT(wrapper) > 0) return Py_NewRef(wrapper);
  PyTensor* o = fresh(tensor_type);
  return attach(o, std::move(t));
}

PyObject* wrap_as(PyTypeObject* type, Tensor t) { return attach(fresh(type), std::move(t)); }

PyObject* translate_exception() noexcept {
  try {
    throw;
  } catch (pybind11::error_already_set& e) {
    e.restore();
  } catch (const Error& e) {
    PyObject* const types[] = {PyExc_ValueError,   PyExc_TypeError,   PyExc_IndexError,
                               PyExc_RuntimeError, PyExc_MemoryError, PyExc_RuntimeError};
    PyErr_SetString(types[int(e.kind())], e.what());
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  } catch (...) {
    PyErr_SetString(PyExc_RuntimeError, "unknown C++ exception");
  }
  return nullptr;
}

// ---- number protocol ----

namespace {

using Unary = Tensor (*)(const Tensor&);
using Binary = Tensor (*)(const Operand&, const Operand&);

template <Unary Op>
PyObject* unary_slot(PyObject* a) {
  return guarded([&] { return wrap(Op(tensor_of(a))); }, static_cast<PyObject*>(nullptr));
}

// NumPy arrays count as constant tensors over the same memory.
bool is_array(PyObject* o) { return PyObject_CheckBuffer(o) && !PyBytes_Check(o); }
bool is_operand(PyObject* o) { return is_tensor(o) || is_number(o) || is_array(o); }
Operand operand(PyObject* o) {
  if (is_tensor(o)) return tensor_of(o);
  return is_number(o) ? operand_from_number(o) : Operand(from_any_array(o, "operand"));
}

// An operand for the length of a call. A tensor is borrowed from the argument, which outlives the
// call: counting references would cost a good part of a small op.
class Argument {
 public:
  explicit Argument(PyObject* o) : borrowed_(is_tensor(o)) {
    new (&value_) Operand(borrowed_ ? Operand(Tensor::adopt(tensor_of(o).impl())) : operand(o));
  }
  ~Argument() {
    if (!borrowed_) value_.~Operand();
  }
  Argument(const Argument&) = delete;
  const Operand& operator*() const { return value_; }

 private:
  union {
    Operand value_;
  };
  const bool borrowed_;
};

template <Binary Op>
PyObject* binary_slot(PyObject* a, PyObject* b) {
  if (!is_operand(a) || !is_operand(b)) Py_RETURN_NOTIMPLEMENTED;
  return guarded(
      [&] {
        const Argument x(a), y(b);
        if ((*x).numel() + (*y).numel() <= kReleaseGilElements) return wrap(Op(*x, *y));
        Tensor out;
        {
          GilRelease gil(true);
          out = Op(*x, *y);
        }
        return wrap(std::move(out));
      },
      static_cast<PyObject*>(nullptr));
}

PyObject* power_slot(PyObject* a, PyObject* b, PyObject* modulo) {
  if (modulo != Py_None) Py_RETURN_NOTIMPLEMENTED;
  return binary_slot<&ops::pow>(a, b);
}

PyObject* matmul_slot(PyObject* a, PyObject* b) {
  if (!(is_tensor(a) || is_array(a)) || !(is_tensor(b) || is_array(b))) Py_RETURN_NOTIMPLEMENTED;
  return guarded(
      [&] {
        const Tensor x = from_any_array(a, "operand"), y = from_any_array(b, "operand");
        std::optional<Tensor> out;
        {
          GilRelease gil(x.numel() + y.numel() > kReleaseGilElements);
          out.emplace(ops::matmul(x, y));
        }
        return wrap(std::move(*out));
      },
      static_cast<PyObject*>(nullptr));
}

// x += y writes into x; where x is on the tape (not a leaf) it becomes x = x + y, which the tape
// can record.
template <Binary Op, Tensor (*InPlace)(const Tensor&, const Operand&)>
PyObject* inplace_slot(PyObject* a, PyObject* b) {
  if (!is_tensor(a) || !is_operand(b)) Py_RETURN_NOTIMPLEMENTED;
  const Tensor& x = tensor_of(a);
  const bool on_tape =
      grad_enabled() &&
      (!x.is_leaf() || (is_tensor(b) && !x.requires_grad() && tensor_of(b).requires_grad()));
  if (on_tape) return binary_slot<Op>(a, b);
  return guarded([&] { return wrap(InPlace(x, operand(b))); }, static_cast<PyObject*>(nullptr));
}

PyObject* rich_compare(PyObject* a, PyObject* b, int op) {
  switch (op) {
    case Py_LT:
      return binary_slot<&ops::lt>(a, b);
    case Py_LE:
      return binary_slot<&ops::le>(a, b);
    case Py_EQ:
      return binary_slot<&ops::eq>(a, b);
    case Py_NE:
      return binary_slot<&ops::ne>(a, b);
    case Py_GT:
      return binary_slot<&ops::gt>(a, b);
    default:
      return binary_slot<&ops::ge>(a, b);
  }
}

PyObject* scalar_of(PyObject* self) {
  return guarded([&] { return item(tensor_of(self)); }, static_cast<PyObject*>(nullptr));
}
int to_bool(PyObject* self) {
  PyObject* value = scalar_of(self);
  if (!value) return -1;
  const int truth = PyObject_IsTrue(value);
  Py_DECREF(value);
  return truth;
}
template <PyObject* (*Convert)(PyObject*)>
PyObject* to_number(PyObject* self) {
  PyObject* value = scalar_of(self);
  if (!value) return nullptr;
  PyObject* number = Convert(value);
  Py_DECREF(value);
  return number;
}
PyObject* to_index(PyObject* self) {
  if (is_floating(tensor_of(self).dtype())) {
    PyErr_SetString(PyExc_TypeError, "only an integer tensor of one element can be an index");
    return nullptr;
  }
  return to_number<&PyNumber_Long>(self);
}

// ---- sequence and mapping ----

Py_ssize_t length(PyObject* self) {
  const Tensor& t = tensor_of(self);
  if (t.dim() == 0) {
    PyErr_SetString(PyExc_TypeError, "len() of a tensor of rank 0");
    return -1;
  }
  return Py_ssize_t(t.shape()[0]);
}
PyObject* subscript(PyObject* self, PyObject* index) {
  return guarded([&] { return wrap(get_item(tensor_of(self), index)); },
                 static_cast<PyObject*>(nullptr));
}
int assign_subscript(PyObject* self, PyObject* index, PyObject* value) {
  if (!value) {
    PyErr_SetString(PyExc_TypeError, "elements of a tensor cannot be deleted");
    return -1;
  }
  return guarded(
      [&] {
        set_item(tensor_of(self), index, value);
        return 0;
      },
      -1);
}
PyObject* sequence_item(PyObject* self, Py_ssize_t i) {
  const Tensor& t = tensor_of(self);
  if (t.dim() == 0 || i < 0 || i >= t.shape()[0]) {
    PyErr_SetString(PyExc_IndexError, "index out of range");
    return nullptr;
  }
  return guarded([&] { return wrap(ops::select(t, 0, i)); }, static_cast<PyObject*>(nullptr));
}
PyObject* iterate(PyObject* self) {
  if (tensor_of(self).dim() == 0) {
    PyErr_SetString(PyExc_TypeError, "iteration over a tensor of rank 0");
    return nullptr;
  }
  return PySeqIter_New(self);
}
Py_hash_t hash(PyObject* self) { return _Py_HashPointer(self); }

// The text comes from Python (gradsmith._format), where NumPy prints the numbers.
PyObject* repr(PyObject* self) {
  PyObject* module = PyImport_ImportModule("gradsmith._format");
  if (!module) return nullptr;
  PyObject* text = PyObject_CallMethod(module, "tensor_repr", "O", self);
  Py_DECREF(module);
  return text;
}

PyObject* new_tensor(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"data", "dtype", "device", "requires_grad", nullptr};
  PyObject *data = nullptr, *dtype = Py_None, *device = Py_None;
  int requires_grad = 0;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|OOp", const_cast<char**>(names), &data, &dtype,
                                   &device, &requires_grad))
    return nullptr;
  return guarded(
      [&] {
        Tensor t = tensor_from_data(data, dtype, device);
        if (requires_grad) t.set_requires_grad(true);
        return wrap_as(type, std::move(t));
      },
      static_cast<PyObject*>(nullptr));
}

template <class F>
void* slot(F* f) {
  return reinterpret_cast<void*>(f);
}

}  // namespace

void make_tensor_type(PyObject* module) {
  static PyMemberDef members[] = {
      {"__weaklistoffset__", T_PYSSIZET, offsetof(PyTensor, weakrefs), READONLY, nullptr},
      {nullptr, 0, 0, 0, nullptr}};
  static PyType_Slot slots[] = {
      {Py_tp_new, slot(&new_tensor)},
      {Py_tp_dealloc, slot(&dealloc)},
      {Py_tp_repr, slot(&repr)},
      {Py_tp_hash, slot(&hash)},
      {Py_tp_richcompare, slot(&rich_compare)},
      {Py_tp_iter, slot(&iterate)},
      {Py_tp_members, members},
      {Py_tp_getset, tensor_getset()},
      {Py_tp_doc, const_cast<char*>("An n-dimensional array on the tape.")},
      {Py_mp_length, slot(&length)},
      {Py_mp_subscript, slot(&subscript)},
      {Py_mp_ass_subscript, slot(&assign_subscript)},
      {Py_sq_length, slot(&length)},
      {Py_sq_item, slot(&sequence_item)},
      {Py_nb_add, slot(&binary_slot<&ops::add>)},
      {Py_nb_subtract, slot(&binary_slot<&ops::sub>)},
      {Py_nb_multiply, slot(&binary_slot<&ops::mul>)},
      {Py_nb_true_divide, slot(&binary_slot<&ops::div>)},
      {Py_nb_floor_divide, slot(&binary_slot<&ops::floor_divide>)},
      {Py_nb_remainder, slot(&binary_slot<&ops::remainder>)},
      {Py_nb_power, slot(&power_slot)},
      {Py_nb_matrix_multiply, slot(&matmul_slot)},
      {Py_nb_and, slot(&binary_slot<&ops::bitwise_and>)},
      {Py_nb_or, slot(&binary_slot<&ops::bitwise_or>)},
      {Py_nb_xor, slot(&binary_slot<&ops::bitwise_xor>)},
      {Py_nb_negative, slot(&unary_slot<&ops::neg>)},
      {Py_nb_absolute, slot(&unary_slot<&ops::abs>)},
      {Py_nb_invert, slot(&unary_slot<&ops::bitwise_not>)},
      {Py_nb_inplace_add, slot(&inplace_slot<&ops::add, &ops::add_>)},
      {Py_nb_inplace_subtract, slot(&inplace_slot<&ops::sub, &ops::sub_>)},
      {Py_nb_inplace_multiply, slot(&inplace_slot<&ops::mul, &ops::mul_>)},
      {Py_nb_inplace_true_divide, slot(&inplace_slot<&ops::div, &ops::div_>)},
      {Py_nb_bool, slot(&to_bool)},
      {Py_nb_float, slot(&to_number<&PyNumber_Float>)},
      {Py_nb_int, slot(&to_number<&PyNumber_Long>)},
      {Py_nb_index, slot(&to_index)},
      {0, nullptr}};
  static PyType_Spec spec = {"gradsmith.Tensor", sizeof(PyTensor), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
  tensor_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  if (!tensor_type ||
      PyModule_AddObjectRef(module, "Tensor", reinterpret_cast<PyObject*>(tensor_type)))
    throw pybind11::error_already_set();
}

}  // namespace gradsmith::python
