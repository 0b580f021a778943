// How a kernel family declares its kernels. A family header (softmax.h) defines a POD argument
// struct and then, in namespace gradsmith::kernels,
//
//     GS_KERNEL(softmax_rows, void(const SoftmaxRows& args));
//
// and softmax.inc lists the rows that exist, `GS_ROW(softmax_rows, f32)`. Each row promises a
// function `softmax_rows_f32` in namespace gradsmith::kernels::reference (reference.cpp) and in
// gradsmith::kernels::<isa> for every ISA that *.simd.cpp is compiled for. A missing or mistyped
// one is a link error.
//
// Seen from a *.simd.cpp (GS_ISA defined) the macro is only the function type; seen from anywhere
// else it is also the dispatch table, so that `softmax_rows.pick(dtype)(args)` runs the best row.
#pragma once
#include "gradsmith/dtype.h"

#if defined(GS_ISA)
#define GS_KERNEL(op, ...) using op##_fn = __VA_ARGS__
#else
#include "kernels/registry.h"
#define GS_KERNEL(op, ...)     \
  using op##_fn = __VA_ARGS__; \
  inline constinit Kernel<op##_fn> op { #op }
#endif
