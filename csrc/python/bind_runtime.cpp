// Threads, memory, random state, targets, and conversions that make tensors.
#include <pybind11/stl.h>

#include "base/cpu.h"
#include "kernels/conv/conv.h"
#include "kernels/registry.h"
#include "kernels/trace.h"
#include "python/bindings.h"
#include "python/convert.h"
#include "python/dlpack.h"
#include "runtime/memory.h"
#include "runtime/parallel.h"
#include "runtime/philox.h"

namespace py = pybind11;

namespace gradsmith::python {

void bind_runtime(py::module_& m) {
  m.def(
      "tensor",
      [](py::handle data, py::handle dtype, py::handle device, bool requires_grad) {
        Tensor t = tensor_from_data(data.ptr(), dtype.ptr(), device.ptr());
        if (requires_grad) t.set_requires_grad(true);
        return t;
      },
      py::arg("data"), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
      py::arg("requires_grad") = false);
  m.def("from_numpy", [](py::handle array) { return from_any_array(array.ptr(), "from_numpy"); });
  m.def("from_dlpack", [](py::handle o) { return from_dlpack(o.ptr()); });

  m.def("get_num_threads", &get_num_threads);
  m.def("set_num_threads", &set_num_threads);
  m.def("memory_stats", [] {
    const MemoryStats s = memory_stats();
    py::dict d;
    d["in_use_bytes"] = s.in_use_bytes;
    d["peak_bytes"] = s.peak_bytes;
    d["cached_bytes"] = s.cached_bytes;
    d["system_allocations"] = s.system_allocations;
    d["cache_hits"] = s.cache_hits;
    return d;
  });
  m.def("empty_cache", &empty_cache);

  m.def("manual_seed", [](std::uint64_t seed) { manual_seed(seed); });
  m.def("get_rng_state", [] {
    const PhiloxState s = generator_state();
    return py::make_tuple(s.seed, s.offset);
  });
  m.def("set_rng_state", [](const std::pair<std::uint64_t, std::uint64_t>& s) {
    set_generator_state({s.first, s.second});
  });

  m.def("set_target", &kernels::set_target);
  // What the drivers chose while `call` ran, as dictionaries.
  m.def("trace", [](const py::function& call) {
    kernels::Trace trace;
    call();
    py::list entries;
    for (const kernels::TraceEntry& e : trace.entries) {
      py::dict sizes;
      for (const auto& [name, value] : e.sizes) sizes[name] = value;
      py::dict entry;
      entry["op"] = e.op;
      entry["path"] = e.path;
      entry["target"] = kernels::name(e.target);
      entry["threads"] = e.threads;
      entry["flops"] = e.flops;
      entry["bytes"] = e.bytes;
      entry["sizes"] = sizes;
      entry["reasons"] = e.reasons;
      entries.append(entry);
    }
    return entries;
  });
  m.def("set_winograd", &kernels::set_winograd_enabled);
  m.def("get_winograd", &kernels::winograd_enabled);
  m.def("get_target", [] { return std::string(kernels::name(kernels::active_target())); });
  m.def("best_target", [] { return std::string(kernels::name(kernels::best_target())); });
  m.def("supported_targets", [] {
    std::vector<std::string> names;
    for (auto t : kernels::supported_targets()) names.push_back(kernels::name(t));
    return names;
  });
  // (name, compiled in, supported by this CPU), best first.
  m.def("list_targets", [] {
    std::vector<std::tuple<std::string, bool, bool>> rows;
    for (int t = kernels::kTargets - 1; t >= 0; --t) {
      const auto target = kernels::Target(t);
      rows.emplace_back(kernels::name(target), kernels::target_compiled(target),
                        kernels::target_supported(target));
    }
    return rows;
  });
  m.def("cpu_info", [] {
    const CpuInfo& c = cpu_info();
    py::dict d;
    d["brand"] = c.brand;
    d["features"] = c.feature_names();
    d["physical_cores"] = c.physical_cores;
    d["logical_cpus"] = c.logical_cpus;
    d["usable_cpus"] = usable_cpus();
    d["virtual_machine"] = c.virtual_machine;
    d["l1d_bytes"] = c.l1d_bytes;
    d["l2_bytes"] = c.l2_bytes;
    d["l3_bytes"] = c.l3_bytes;
    d["l2_shared_by"] = c.l2_shared_by;
    d["l3_shared_by"] = c.l3_shared_by;
    return d;
  });
  m.def("list_kernels", [] {
    py::list rows;
    for (const auto& k : kernels::list_kernels()) {
      std::vector<std::string> targets;
      for (auto t : k.targets) targets.push_back(kernels::name(t));
      rows.append(py::make_tuple(k.family, k.op, name(k.dtype), targets));
    }
    return rows;
  });
}

}  // namespace gradsmith::python
