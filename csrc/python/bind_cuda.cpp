// CUDA devices. Every function loads the CUDA library at its first call. Streams and events are
// passed as integers: gradsmith.cuda makes objects of them.
#include "core/tensor_impl.h"
#include "python/bindings.h"
#include "python/gil.h"
#include "python/py_tensor.h"
#include "runtime/cuda_graph.h"

namespace py = pybind11;

namespace gradsmith::python {

namespace {

using Handle = std::uintptr_t;

void* pointer(Handle handle) { return reinterpret_cast<void*>(handle); }
Handle handle(void* pointer) { return reinterpret_cast<Handle>(pointer); }

void bind_streams(py::module_& m) {
  const py::call_guard<GilRelease> unlocked;
  const py::arg device("device"), stream("stream"), event("event");
  m.def(
      "cuda_current_stream", [](int d) { return handle(cuda::current_stream(d)); }, device,
      "Handle of the stream that ops of this thread go to; 0 is the default stream.");
  m.def(
      "cuda_set_current_stream", [](int d, Handle s) { cuda::set_current_stream(d, pointer(s)); },
      device, stream, "Send the ops of this thread to a stream.");
  m.def(
      "cuda_create_stream", [](int d) { return handle(cuda::create_stream(d)); }, device,
      "Make a stream, which lives as long as the process.");
  m.def(
      "cuda_synchronize_stream", [](int d, Handle s) { cuda::synchronize_stream(d, pointer(s)); },
      unlocked, device, stream, "Wait until a stream has finished its work.");
  m.def(
      "cuda_stream_done", [](int d, Handle s) { return cuda::stream_done(d, pointer(s)); }, device,
      stream, "Whether a stream has finished its work.");
  m.def(
      "cuda_create_event", [](int d, bool timing) { return handle(cuda::create_event(d, timing)); },
      device, py::arg("timing"), "Make an event, which takes the time if it is to.");
  m.def(
      "cuda_destroy_event", [](int d, Handle e) { cuda::destroy_event(d, pointer(e)); }, device,
      event, "Destroy an event.");
  m.def(
      "cuda_record_event",
      [](int d, Handle e, Handle s) { cuda::record_event(d, pointer(e), pointer(s)); }, device,
      event, stream, "Let an event stand for what a stream has been given so far.");
  m.def(
      "cuda_wait_event",
      [](int d, Handle e, Handle s) { cuda::wait_event(d, pointer(e), pointer(s)); }, device, event,
      stream, "Let a stream wait for an event.");
  m.def(
      "cuda_synchronize_event", [](int d, Handle e) { cuda::synchronize_event(d, pointer(e)); },
      unlocked, device, event, "Wait for an event.");
  m.def(
      "cuda_event_done", [](int d, Handle e) { return cuda::event_done(d, pointer(e)); }, device,
      event, "Whether what an event stands for is done.");
  m.def(
      "cuda_elapsed_ms",
      [](int d, Handle start, Handle end) {
        return cuda::elapsed_ms(d, pointer(start), pointer(end));
      },
      device, py::arg("start"), py::arg("end"), "Milliseconds from one event to another.");
  m.def(
      "cuda_use_on",
      [](py::handle tensor, Handle s) {
        const Tensor& x = tensor_of(tensor.ptr());
        const Storage& storage = *x.impl()->storage;
        if (x.device().type == DeviceType::cuda && !storage.release_fn)
          cuda::use_on(x.device().index, storage.data, pointer(s));
      },
      py::arg("tensor"), stream,
      "Keep a tensor's memory, once it is released, until a stream has come as far as now.");
}

}  // namespace

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
  bind_streams(m);
  py::class_<cuda::Graph>(m, "CudaGraph", "What `gradsmith.cuda.Graph` records and launches.")
      .def(py::init<int>())
      .def("finish", &cuda::Graph::finish)
      .def("abandon", &cuda::Graph::abandon)
      .def("launch", &cuda::Graph::launch)
      .def("refresh", &cuda::Graph::refresh)
      .def_static("recording", [] { return cuda::Graph::recording() != nullptr; });
}

}  // namespace gradsmith::python
