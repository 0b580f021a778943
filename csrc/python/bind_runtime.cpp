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
      py::arg("requires_grad") = false,
      "A new tensor of the values of numbers, nested sequences, an array or a tensor, copied; "
      "Python's floats become float32, its integers int64.");
  m.def(
      "from_numpy", [](py::handle array) { return from_any_array(array.ptr(), "from_numpy"); },
      py::arg("array"),
      "A tensor on the memory of an array, shared with it; what is read-only stays so.");
  m.def(
      "from_dlpack", [](py::handle source) { return from_dlpack(source.ptr()); }, py::arg("source"),
      "A tensor on the memory of an object with `__dlpack__`, shared, not copied.");

  m.def("get_num_threads", &get_num_threads, "Number of threads that kernels may use.");
  m.def("set_num_threads", &set_num_threads, py::arg("threads"),
        "Let kernels of the whole process use this many threads; results do not depend on it.");
  m.def(
      "memory_stats",
      [] {
        const MemoryStats s = memory_stats();
        py::dict d;
        d["in_use_bytes"] = s.in_use_bytes;
        d["peak_bytes"] = s.peak_bytes;
        d["cached_bytes"] = s.cached_bytes;
        d["system_allocations"] = s.system_allocations;
        d["cache_hits"] = s.cache_hits;
        return d;
      },
      "Bytes in use, their peak, bytes cached, and how often the system and the cache were asked.");
  m.def("empty_cache", &empty_cache, "Give cached memory that no tensor holds back to the system.");

  m.def(
      "manual_seed", [](std::uint64_t seed) { manual_seed(seed); }, py::arg("seed"),
      "Start the generator afresh; `gradsmith.manual_seed` takes any integer.");
  m.def(
      "get_rng_state",
      [] {
        const PhiloxState s = generator_state();
        return py::make_tuple(s.seed, s.offset);
      },
      "Seed and position of the generator.");
  m.def(
      "set_rng_state",
      [](const std::pair<std::uint64_t, std::uint64_t>& s) {
        set_generator_state({s.first, s.second});
      },
      py::arg("state"), "Go back to what `get_rng_state` returned.");

  m.def("set_target", &kernels::set_target, py::arg("name"),
        "Run all kernels of the process on a target; \"auto\" is the best one.");
  m.def(
      "trace",
      [](const py::function& call) {
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
      },
      py::arg("call"),
      "What the drivers chose while `call` ran, as dictionaries; see `kernels.explain`.");
  m.def("set_winograd", &kernels::set_winograd_enabled, py::arg("enabled"),
        "Allow Winograd's method for convolutions (the default) or forbid it.");
  m.def("get_winograd", &kernels::winograd_enabled,
        "Whether convolutions may use Winograd's method.");
  m.def(
      "get_target", [] { return std::string(kernels::name(kernels::active_target())); },
      "The target in use.");
  m.def(
      "best_target", [] { return std::string(kernels::name(kernels::best_target())); },
      "The target that \"auto\" stands for on this CPU.");
  m.def(
      "supported_targets",
      [] {
        std::vector<std::string> names;
        for (auto t : kernels::supported_targets()) names.push_back(kernels::name(t));
        return names;
      },
      "Targets that this build has and this CPU can run, best first.");
  m.def(
      "list_targets",
      [] {
        std::vector<std::tuple<std::string, bool, bool>> rows;
        for (int t = kernels::kTargets - 1; t >= 0; --t) {
          const auto target = kernels::Target(t);
          rows.emplace_back(kernels::name(target), kernels::target_compiled(target),
                            kernels::target_supported(target));
        }
        return rows;
      },
      "All targets, best first: name, whether compiled in, whether the CPU supports it.");
  m.def(
      "cpu_info",
      [] {
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
      },
      "Name, instruction sets, cores and caches of the CPU.");
  m.def(
      "list_kernels",
      [] {
        py::list rows;
        for (const auto& k : kernels::list_kernels()) {
          std::vector<std::string> targets;
          for (auto t : k.targets) targets.push_back(kernels::name(t));
          rows.append(py::make_tuple(k.family, k.op, name(k.dtype), targets));
        }
        return rows;
      },
      "All kernels: family, op, dtype, targets with code of their own; see `kernels.list`.");
}

}  // namespace gradsmith::python
