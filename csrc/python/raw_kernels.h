// What the two files that bind raw kernels share.
#pragma once
#include <string>

#include "kernels/gemm/gemm.h"
#include "python/def_op.h"

namespace gradsmith::python {

kernels::Activation activation_of(const char* op, const std::string& name);
void bind_nn_kernels(Binder& b);  // bind_nn_kernels.cpp: convolution to optimizers

}  // namespace gradsmith::python
