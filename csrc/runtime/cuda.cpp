// Finds and loads libgradsmith_cuda, which lies beside libgradsmith.
#include "runtime/cuda.h"

#include <vector>

#include "base/check.h"
#include "base/env.h"

#if !defined(_WIN32)
#include <dlfcn.h>
#include <unistd.h>
#endif

namespace gradsmith {
namespace {

struct Backend {
  const cuda::Api* api = nullptr;
  int devices = 0;
  std::string reason;
  long process = 0;
};

#if !defined(_WIN32)

// GRADSMITH_CUDA_LIBRARY names another library, such as the emulator's, for tests.
std::string library_path() {
  const std::string named = env_string("GRADSMITH_CUDA_LIBRARY");
  if (!named.empty()) return named;
  Dl_info here;
  if (!dladdr(reinterpret_cast<void*>(&library_path), &here) || !here.dli_fname) return "";
  const std::string path = here.dli_fname;
  const auto slash = path.find_last_of('/');
  return (slash == std::string::npos ? "" : path.substr(0, slash + 1)) + "libgradsmith_cuda.so";
}

Backend load() {
  Backend backend;
  backend.process = getpid();
  const std::string path = library_path();
  if (path.empty() || access(path.c_str(), F_OK) != 0) {
    backend.reason = "gradsmith was built without CUDA (no " + path + ")";
    return backend;
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* why = dlerror();
    backend.reason = "cannot load " + path + ": " + (why ? why : "unknown error");
    return backend;
  }
  auto* entry = reinterpret_cast<cuda::ApiFn*>(dlsym(library, "gradsmith_cuda_api"));
  const cuda::Api* api = entry ? entry() : nullptr;
  if (!api || api->version != cuda::kAbiVersion) {
    backend.reason = path + " belongs to another version of gradsmith";
    return backend;
  }
  backend.api = api;
  backend.devices = api->device_count();
  if (backend.devices == 0) backend.reason = api->last_error();
  return backend;
}

bool forked(const Backend& backend) { return backend.devices > 0 && backend.process != getpid(); }

#else

Backend load() {
  Backend backend;
  backend.reason = "gradsmith has no CUDA backend for this system";
  return backend;
}
bool forked(const Backend&) { return false; }

#endif

const Backend& backend() {
  static const Backend* loaded = new Backend(load());  // outlives every static destructor
  return *loaded;
}

constexpr const char* kForked =
    "CUDA was in use before this process was forked and cannot be used in it; start it with the "
    "'spawn' method";

// The table, if `device` can be used.
const cuda::Api& api_for(int device) {
  const Backend& b = backend();
  GS_CHECK_KIND(device, b.devices > 0, "cuda: no device: {}", b.reason);
  GS_CHECK_KIND(device, !forked(b), "cuda: {}", kForked);
  GS_CHECK_KIND(device, device >= 0 && device < b.devices,
                "cuda: device index {} out of range; this machine has {}", device, b.devices);
  return *b.api;
}

void check(const cuda::Api& api, int status, const char* what) {
  if (status == 0) [[likely]]
    return;
  fail(status == 2 ? ErrorKind::memory : ErrorKind::device, "cuda {}: {}", what, api.last_error());
}

}  // namespace

bool cuda_available() { return cuda_device_count() > 0; }

int cuda_device_count() { return forked(backend()) ? 0 : backend().devices; }

std::string cuda_reason() { return forked(backend()) ? kForked : backend().reason; }

namespace cuda {

DeviceInfo device_info(int device) {
  const Api& api = api_for(device);
  DeviceInfo info{};
  check(api, api.device_info(device, &info), "device_info");
  return info;
}

namespace {
thread_local std::vector<void*> current_streams;  // by device
}  // namespace

void* current_stream(int device) {
  const auto at = std::size_t(device);
  return at < current_streams.size() ? current_streams[at] : nullptr;
}

void set_current_stream(int device, void* stream) {
  api_for(device);
  if (current_streams.size() <= std::size_t(device))
    current_streams.resize(std::size_t(device) + 1);
  current_streams[std::size_t(device)] = stream;
}

void* allocate(int device, std::size_t bytes) {
  const Api& api = api_for(device);
  void* p = nullptr;
  check(api, api.allocate(device, bytes, current_stream(device), &p), "allocate");
  return p;
}

void deallocate(int device, void* p) noexcept {
  const Backend& b = backend();
  if (p && b.api && !forked(b)) b.api->deallocate(device, p);
}

void use_on(int device, void* p, void* stream) {
  const Api& api = api_for(device);
  check(api, api.use_on(device, p, stream), "record_stream");
}

void* allocate_pinned(std::size_t bytes) {
  const Api& api = api_for(0);
  void* p = nullptr;
  check(api, api.allocate_pinned(0, bytes, &p), "allocate_pinned");
  return p;
}

void deallocate_pinned(void* p) noexcept {
  const Backend& b = backend();
  if (p && b.api && !forked(b)) b.api->deallocate_pinned(0, p);
}

MemoryInfo memory_info(int device) {
  const Api& api = api_for(device);
  MemoryInfo info{};
  check(api, api.memory_info(device, &info), "memory_info");
  return info;
}

void empty_cache(int device) {
  const Api& api = api_for(device);
  check(api, api.empty_cache(device), "empty_cache");
}

void copy_bytes(int device, void* dst, const void* src, std::size_t bytes, CopyKind kind,
                void* pinned) {
  const Api& api = api_for(device);
  check(api, api.copy_bytes(device, dst, src, bytes, kind, pinned, current_stream(device)), "copy");
}

void synchronize(int device) {
  const Api& api = api_for(device);
  check(api, api.synchronize(device), "synchronize");
}

// ---- Streams, events, graphs ----

void* create_stream(int device) {
  const Api& api = api_for(device);
  void* stream = nullptr;
  check(api, api.stream_create(device, &stream), "stream");
  return stream;
}
void synchronize_stream(int device, void* stream) {
  const Api& api = api_for(device);
  check(api, api.stream_synchronize(device, stream), "synchronize");
}
bool stream_done(int device, void* stream) {
  const Api& api = api_for(device);
  bool done = false;
  check(api, api.stream_query(device, stream, &done), "query");
  return done;
}

void* create_event(int device, bool timing) {
  const Api& api = api_for(device);
  void* event = nullptr;
  check(api, api.event_create(device, timing, &event), "event");
  return event;
}
void destroy_event(int device, void* event) noexcept {
  const Backend& b = backend();
  if (event && b.api && !forked(b)) b.api->event_destroy(device, event);
}
void record_event(int device, void* event, void* stream) {
  const Api& api = api_for(device);
  check(api, api.event_record(device, event, stream), "record");
}
void wait_event(int device, void* event, void* stream) {
  const Api& api = api_for(device);
  check(api, api.event_wait(device, event, stream), "wait");
}
void synchronize_event(int device, void* event) {
  const Api& api = api_for(device);
  check(api, api.event_synchronize(device, event), "synchronize");
}
bool event_done(int device, void* event) {
  const Api& api = api_for(device);
  bool done = false;
  check(api, api.event_query(device, event, &done), "query");
  return done;
}
double elapsed_ms(int device, void* start, void* end) {
  const Api& api = api_for(device);
  float ms = 0;
  check(api, api.event_elapsed(device, start, end, &ms), "elapsed_time");
  return double(ms);
}

void begin_capture(int device) {
  const Api& api = api_for(device);
  check(api, api.capture_begin(device, current_stream(device)), "graph");
}
void* end_capture(int device, void* stream) {
  const Api& api = api_for(device);
  void* graph = nullptr;
  check(api, api.capture_end(device, stream, &graph), "graph");
  return graph;
}
void launch_graph(int device, void* graph) {
  const Api& api = api_for(device);
  check(api, api.graph_launch(device, graph, current_stream(device)), "graph");
}
void destroy_graph(int device, void* graph, void* stream) noexcept {
  const Backend& b = backend();
  if (graph && b.api && !forked(b)) b.api->graph_destroy(device, graph, stream);
}

#define GS_DEFINE(name, Args)                                           \
  void name(int device, const Args& args) {                             \
    const Api& api = api_for(device);                                   \
    check(api, api.name(device, &args, current_stream(device)), #name); \
  }
GS_DEFINE(unary, UnaryArgs)
GS_DEFINE(binary, BinaryArgs)
GS_DEFINE(copy, CopyArgs)
GS_DEFINE(gemm, GemmArgs)
GS_DEFINE(store, StoreArgs)
GS_CUDA_ROWS_FUNCTIONS(GS_DEFINE)
GS_CUDA_INDEX_FUNCTIONS(GS_DEFINE)
#undef GS_DEFINE

}  // namespace cuda
}  // namespace gradsmith
