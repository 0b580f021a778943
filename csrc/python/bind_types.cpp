// gradsmith.dtype and gradsmith.device.
#include "python/bindings.h"
#include "python/convert.h"

namespace py = pybind11;

namespace gradsmith::python {

namespace {

struct PyDType {
  DType value;
};
PyObject* dtype_objects[kDTypes];

std::optional<DType> dtype_from_name(const std::string& text) {
  for (int i = 0; i < kDTypes; ++i)
    if (text == name(DType(i))) return DType(i);
  return std::nullopt;
}

}  // namespace

PyObject* wrap(DType dtype) { return Py_NewRef(dtype_objects[int(dtype)]); }
PyObject* wrap(Device device) { return py::cast(device).release().ptr(); }

// One of ours, its name, a NumPy dtype or scalar type, or Python's float, int and bool.
DType FromPy<DType>::get(PyObject* o, Where where) {
  for (int i = 0; i < kDTypes; ++i)
    if (o == dtype_objects[i]) return DType(i);
  if (o == reinterpret_cast<PyObject*>(&PyFloat_Type)) return DType::f32;
  if (o == reinterpret_cast<PyObject*>(&PyLong_Type)) return DType::i64;
  if (o == reinterpret_cast<PyObject*>(&PyBool_Type)) return DType::b8;
  py::handle h(o);
  std::string text;
  if (PyUnicode_Check(o)) {
    text = h.cast<std::string>();
  } else if (py::hasattr(h, "name") && PyUnicode_Check(h.attr("name").ptr())) {
    text = h.attr("name").cast<std::string>();
  } else if (PyType_Check(o)) {
    text = h.attr("__name__").cast<std::string>();
  }
  if (text == "bool_") text = "bool";
  if (const auto found = dtype_from_name(text)) return *found;
  wrong_type(where, "a dtype (float32, float64, bfloat16, float16, int64, int32, uint8 or bool)",
             o);
}

Device FromPy<Device>::get(PyObject* o, Where where) {
  if (PyUnicode_Check(o)) return parse_device(FromPy<std::string>::get(o, where));
  py::handle h(o);
  if (py::isinstance<Device>(h)) return h.cast<Device>();
  wrong_type(where, "a device ('cpu', 'cuda' or 'cuda:N')", o);
}

void bind_types(py::module_& m) {
  py::class_<PyDType> dtype(m, "dtype", "Element type of a tensor.");
  dtype
      .def_property_readonly(
          "name", [](const PyDType& d) { return name(d.value); }, "Its name, such as \"float32\".")
      .def_property_readonly(
          "itemsize", [](const PyDType& d) { return itemsize(d.value); }, "Bytes of one element.")
      .def_property_readonly(
          "is_floating_point", [](const PyDType& d) { return is_floating(d.value); },
          "Whether it is a floating-point type.")
      .def("__repr__", [](const PyDType& d) { return std::string("gradsmith.") + name(d.value); })
      .def("__reduce__", [](const PyDType& d) {
        return py::make_tuple(
            py::module_::import("builtins").attr("getattr"),
            py::make_tuple(py::module_::import("gradsmith._core"), name(d.value)));
      });
  for (int i = 0; i < kDTypes; ++i) {
    py::object o = py::cast(PyDType{DType(i)});
    dtype_objects[i] = o.inc_ref().ptr();
    m.attr(name(DType(i))) = o;
  }
  py::class_<Device>(m, "device", "Where a tensor's memory is: 'cpu', 'cuda' or 'cuda:N'.")
      .def(py::init([](const std::string& text) { return parse_device(text); }), py::arg("name"))
      .def(py::init([](const Device& d) { return d; }), py::arg("device"))
      .def_property_readonly(
          "type", [](const Device& d) { return d.type == DeviceType::cpu ? "cpu" : "cuda"; },
          "\"cpu\" or \"cuda\".")
      .def_property_readonly(
          "index", [](const Device& d) { return int(d.index); },
          "Which of the devices of its type.")
      .def("__eq__",
           [](const Device& a, py::object b) {
             if (py::isinstance<Device>(b)) return a == b.cast<Device>();
             return py::isinstance<py::str>(b) && a == parse_device(b.cast<std::string>());
           })
      .def("__hash__", [](const Device& d) { return int(d.type) * 256 + d.index; })
      .def("__str__", [](const Device& d) { return format("{}", d); })
      .def("__repr__", [](const Device& d) { return format("device('{}')", d); });
}

}  // namespace gradsmith::python
