// gradsmith._core: everything that Python sees of libgradsmith.
#include <pybind11/stl.h>

#include "gradsmith/version.h"
#include "kernels/registry.h"
#include "python/bindings.h"
#include "python/def_op.h"

PYBIND11_MODULE(_core, m) {
  using namespace gradsmith::python;
  m.doc() = "The compiled core of gradsmith.";
  m.attr("__version__") = GRADSMITH_VERSION;
  pybind11::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const gradsmith::Error&) {
      translate_exception();
    }
  });
  gradsmith::kernels::ensure_target();  // a bad GRADSMITH_TARGET is an error of the import
  bind_types(m);
  make_tensor_type(m.ptr());
  Binder b(m.ptr());
  bind_ops(b);
  bind_ops_nn(b);
  bind_tensor(b);
  bind_autograd(m, b);
  bind_runtime(m);
  bind_kernels(m);
  bind_cuda(m);
  // (name, is a method, signature, types of parameters and result, doc) of every op.
  m.def("_describe_ops", [described = b.described()] {
    pybind11::list ops;
    for (const auto& op : described)
      ops.append(pybind11::make_tuple(op.spec->name, op.method, op.spec->signature, op.types(),
                                      op.spec->doc));
    return ops;
  });
}
