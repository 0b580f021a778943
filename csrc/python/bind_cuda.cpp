// CUDA devices. Every function loads the CUDA library at its first call.
#include "python/bindings.h"
#include "python/gil.h"
#include "runtime/cuda.h"

namespace py = pybind11;

namespace gradsmith::python {

void bind_cuda(py::module_& m) {
  const py::call_guard<GilRelease> unlocked;
  m.def("cuda_device_count", &cuda_device_count, unlocked, "Number of CUDA devices.");
  m.def("cuda_reason", &cuda_reason, unlocked,
        "Why there is no CUDA device; \"\" where there is one.");
  m.def(
      "cuda_device_info",
      [](int device) {
        const cuda::DeviceInfo info = cuda::device_info(device);
        py::dict d;
        d["name"] = info.name;
        d["capability"] = py::make_tuple(info.major, info.minor);
        d["multiprocessors"] = info.multiprocessors;
        d["total_bytes"] = info.total_bytes;
        return d;
      },
      py::arg("device"), "Name, compute capability, multiprocessors and memory of a device.");
  m.def(
      "cuda_memory_info",
      [](int device) {
        const cuda::MemoryInfo info = cuda::memory_info(device);
        py::dict d;
        d["in_use_bytes"] = info.in_use_bytes;
        d["peak_bytes"] = info.peak_bytes;
        d["cached_bytes"] = info.cached_bytes;
        d["system_allocations"] = info.system_allocations;
        return d;
      },
      py::arg("device"),
      "Bytes in use, their peak, bytes cached, and how often the driver was asked.");
  m.def("cuda_synchronize", &cuda::synchronize, unlocked, py::arg("device"),
        "Wait until a device has finished its work.");
  m.def("cuda_empty_cache", &cuda::empty_cache, unlocked, py::arg("device"),
        "Give cached memory of a device back to the driver.");
}

}  // namespace gradsmith::python
