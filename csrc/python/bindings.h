// What module.cpp puts together; one function per bind_*.cpp.
#pragma once
#include <pybind11/pybind11.h>

namespace gradsmith::python {

class Binder;

void bind_types(pybind11::module_& m);  // dtype, device
void bind_ops(Binder& b);               // ops.h
void bind_ops_nn(Binder& b);            // ops_nn.h
void bind_tensor(Binder& b);            // methods that are not ops: numpy, item, backward, ...
void bind_autograd(pybind11::module_& m, Binder& b);
void bind_kernels(pybind11::module_& m);  // raw kernels on arrays
void bind_runtime(pybind11::module_& m);  // threads, memory, random state, targets, info
void bind_cuda(pybind11::module_& m);     // what gradsmith.cuda shows

}  // namespace gradsmith::python
