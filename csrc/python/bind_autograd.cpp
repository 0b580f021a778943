// Running the tape from Python, hooks, and ops whose rule is written in Python.
#include <pybind11/stl.h>

#include <set>
#include <string>

#include "core/autograd/record.h"
#include "core/tensor_impl.h"
#include "gradsmith/autocast.h"
#include "gradsmith/autograd.h"
#include "gradsmith/ops.h"
#include "python/bindings.h"
#include "python/def_op.h"

namespace py = pybind11;

namespace gradsmith::python {

namespace {

std::vector<Tensor> tensors_or_none(const py::object& o, const char* argument) {
  if (o.is_none()) return {};
  if (is_tensor(o.ptr())) return {tensor_of(o.ptr())};
  return FromPy<std::vector<Tensor>>::get(py::tuple(o).ptr(), {"autograd", argument});
}

void run_backward(const py::object& tensors, const py::object& grads, std::optional<bool> retain,
                  bool create_graph) {
  const auto outputs = tensors_or_none(tensors, "tensors");
  const auto seeds = tensors_or_none(grads, "grad_tensors");
  GilRelease release(true);
  backward(outputs, seeds, {retain.value_or(create_graph), create_graph});
}

py::tuple run_grad(const py::object& outputs, const py::object& inputs, const py::object& seeds,
                   std::optional<bool> retain, bool create_graph, bool allow_unused) {
  const auto outs = tensors_or_none(outputs, "outputs");
  const auto ins = tensors_or_none(inputs, "inputs");
  const auto given = tensors_or_none(seeds, "grad_outputs");
  std::vector<Tensor> result;
  {
    GilRelease release(true);
    result = grad(outs, ins, given, {retain.value_or(create_graph), create_graph}, allow_unused);
  }
  return py::reinterpret_steal<py::tuple>(to_py(result));
}

// A Python callable kept by C++: destroyed with the GIL held.
std::shared_ptr<PyObject> keep(py::handle fn) {
  return {fn.inc_ref().ptr(), [](PyObject* o) {
            if (!Py_IsInitialized()) return;
            const GilAcquire gil;
            or_stay([o] { Py_DECREF(o); });
          }};
}

py::object call(PyObject* fn, const py::tuple& args) {
  PyObject* result = or_stay([&] { return PyObject_Call(fn, args.ptr(), nullptr); });
  if (!result) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

std::int64_t add_hook(const Tensor& x, const py::function& fn) {
  return register_hook(x, [fn = keep(fn)](const Tensor& g) {
    const GilAcquire gil;
    py::tuple args(1);
    args[0] = py::reinterpret_steal<py::object>(wrap(g));
    const py::object result = call(fn.get(), args);
    return result.is_none() ? Tensor()
                            : FromPy<Tensor>::get(result.ptr(), {"hook", "returned gradient"});
  });
}

// autograd.Function: the rule is `rule(outputs, *grads)`, with the outputs that were `saved`.
py::tuple record_function(const std::string& name, const std::vector<Tensor>& outputs,
                          const std::vector<Tensor>& inputs, const py::function& rule,
                          const std::vector<std::int64_t>& saved) {
  // Names of nodes are literals elsewhere; a Python class may go away, so its name is kept.
  static auto* const names = new std::set<std::string>;  // under the GIL
  const char* op = names->insert(name).first->c_str();
  struct PythonRule {
    std::shared_ptr<PyObject> fn;
    std::size_t inputs;
    // Python must not keep them: output -> node -> rule -> output is a cycle that nobody sees.
    std::vector<SavedOutput> saved;
    TensorList operator()(const Grads& g) const {
      const GilAcquire gil;
      py::tuple args(g.size() + 1), outputs(saved.size());
      for (std::size_t i = 0; i < saved.size(); ++i)
        outputs[i] = py::reinterpret_steal<py::object>(wrap(saved[i].unpack(g)));
      args[0] = outputs;
      for (std::size_t i = 0; i < g.size(); ++i)
        args[i + 1] = py::reinterpret_steal<py::object>(wrap(grad_or_zeros(g, i)));
      py::object result = call(fn.get(), args);
      if (!py::isinstance<py::tuple>(result)) result = py::make_tuple(result);
      const auto values =
          FromPy<std::vector<Tensor>>::get(result.ptr(), {g.node().name, "backward's result"});
      GS_CHECK(values.size() == inputs, "{}: backward returned {} gradients for {} inputs",
               g.node().name, values.size(), inputs);
      TensorList list;
      for (const Tensor& t : values) list.push_back(t);
      return list;
    }
    std::vector<bool> present;  // forward may return None among its outputs
    Tensor grad_or_zeros(const Grads& g, std::size_t i) const {
      if (g[i].defined() || !present[i]) return g[i];
      const OutputInfo& info = g.node().outputs[i];
      return ops::zeros(info.shape, info.dtype, info.device);
    }
  };
  std::vector<bool> present;
  for (const Tensor& y : outputs) present.push_back(y.defined());
  std::vector<SavedOutput> kept;
  for (const std::int64_t i : saved) kept.push_back(save_output(outputs[std::size_t(i)], int(i)));
  auto node = Ref<Node>::adopt(new gradsmith::detail::RuleNode<PythonRule>(
      op, PythonRule{keep(rule), inputs.size(), std::move(kept), std::move(present)}));
  for (const Tensor& x : inputs) gradsmith::detail::add_edge(*node, x);
  std::vector<Tensor> recorded;
  for (const Tensor& y : outputs) {
    if (y.defined()) {
      recorded.push_back(y.detach());
      gradsmith::detail::set_history(recorded.back(), node.get());
      if (anomaly_enabled()) gradsmith::detail::check_anomaly(op, recorded.back());
    } else {
      recorded.emplace_back();
      node->outputs.push_back(OutputInfo{});
    }
  }
  return py::reinterpret_steal<py::tuple>(to_py(recorded));
}

Tensor detach(const Tensor& x) { return x.detach(); }
Tensor requires_grad_(const Tensor& x, bool on) { return x.set_requires_grad(on); }

}  // namespace

void bind_autograd(py::module_& m, Binder& b) {
  b.method<&detach>("detach", "input", "The same memory, off the tape.");
  b.method<&requires_grad_>("requires_grad_", "input, requires_grad=True",
                            "Ask for gradients of this leaf (or stop); returns the tensor.");
  b.method<&retain_grad>("retain_grad", "input", "Let backward fill .grad of a non-leaf too.");
  m.def("backward", &run_backward, py::arg("tensors"), py::arg("grad_tensors") = py::none(),
        py::arg("retain_graph") = py::none(), py::arg("create_graph") = false,
        "Add the gradients of `tensors` to the `grad` of the leaves; see `autograd.backward`.");
  m.def("grad", &run_grad, py::arg("outputs"), py::arg("inputs"),
        py::arg("grad_outputs") = py::none(), py::arg("retain_graph") = py::none(),
        py::arg("create_graph") = false, py::arg("allow_unused") = false,
        "Gradients of `outputs` with respect to `inputs`; see `autograd.grad`.");
  m.def("add_hook", &add_hook, py::arg("tensor"), py::arg("hook"),
        "Number of a new hook; see `Tensor.register_hook`.");
  m.def("remove_hook", &remove_hook, py::arg("tensor"), py::arg("number"),
        "Remove the hook that `add_hook` numbered.");
  m.def(
      "record_function",
      [](const std::string& name, const py::tuple& outputs, const py::tuple& inputs,
         const py::function& rule, const std::vector<std::int64_t>& saved) {
        const Where where{"Function", "tensors"};
        return record_function(name, FromPy<std::vector<Tensor>>::get(outputs.ptr(), where),
                               FromPy<std::vector<Tensor>>::get(inputs.ptr(), where), rule, saved);
      },
      py::arg("name"), py::arg("outputs"), py::arg("inputs"), py::arg("rule"), py::arg("saved"),
      "Put `outputs` on the tape with a rule in Python; see `autograd.Function`.");
  m.def("is_grad_enabled", &grad_enabled, "Whether ops are recorded in this thread.");
  m.def("set_grad_enabled", &set_grad_enabled, py::arg("mode"),
        "Switch recording on or off in this thread; see `autograd.set_grad_enabled`.");
  const auto device_type = [](bool cuda) { return cuda ? DeviceType::cuda : DeviceType::cpu; };
  m.def(
      "is_autocast_enabled", [=](bool cuda) { return autocast_enabled(device_type(cuda)); },
      py::arg("cuda") = false, "Whether `autocast` is on in this thread, for CUDA or the CPU.");
  m.def(
      "set_autocast_enabled",
      [=](bool mode, bool cuda) { set_autocast_enabled(mode, device_type(cuda)); }, py::arg("mode"),
      py::arg("cuda") = false, "Switch `autocast` on or off in this thread, for CUDA or the CPU.");
  m.def("is_anomaly_enabled", &anomaly_enabled,
        "Whether `autograd.detect_anomaly` is on in this thread.");
  m.def("set_anomaly_enabled", &set_anomaly_enabled, py::arg("mode"),
        "Switch `autograd.detect_anomaly` on or off in this thread.");
}

}  // namespace gradsmith::python
