// CUDA devices. Every function loads the CUDA library at its first call.
#include "python/bindings.h"
#include "python/gil.h"
#include "runtime/cuda.h"

namespace py = pybind11;

namespace gradsmith::python {

void bind_cuda(py::module_& m) {
  const py::call_guard<GilRelease> unlocked;
  m.def("cuda_device_count", &cuda_device_count, unlocked);
  m.def("cuda_reason", &cuda_reason, unlocked);
  m.def("cuda_device_info", [](int device) {
    const cuda::DeviceInfo info = cuda::device_info(device);
    py::dict d;
    d["name"] = info.name;
    d["capability"] = py::make_tuple(info.major, info.minor);
    d["multiprocessors"] = info.multiprocessors;
    d["total_bytes"] = info.total_bytes;
    return d;
  });
  m.def("cuda_memory_info", [](int device) {
    const cuda::MemoryInfo info = cuda::memory_info(device);
    py::dict d;
    d["in_use_bytes"] = info.in_use_bytes;
    d["peak_bytes"] = info.peak_bytes;
    d["cached_bytes"] = info.cached_bytes;
    d["system_allocations"] = info.system_allocations;
    return d;
  });
  m.def("cuda_synchronize", &cuda::synchronize, unlocked);
  m.def("cuda_empty_cache", &cuda::empty_cache, unlocked);
}

}  // namespace gradsmith::python
