// Attributes of gradsmith.Tensor (tensor_members.cpp).
#pragma once
#include "python/py_tensor.h"

namespace gradsmith::python {

PyGetSetDef* tensor_getset();
PyObject* item(const Tensor& x);  // the one element as a Python number

}  // namespace gradsmith::python
