// Finds and loads libgradsmith_cuda, which lies beside libgradsmith.
#include "runtime/cuda.h"

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

void* allocate(int device, std::size_t bytes, void* stream) {
  const Api& api = api_for(device);
  void* p = nullptr;
  check(api, api.allocate(device, bytes, stream, &p), "allocate");
  return p;
}

void deallocate(int device, void* p, std::size_t bytes, void* stream) noexcept {
  const Backend& b = backend();
  if (p && b.api && !forked(b)) b.api->deallocate(device, p, bytes, stream);
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
                void* stream) {
  const Api& api = api_for(device);
  check(api, api.copy_bytes(device, dst, src, bytes, kind, stream), "copy");
}

void synchronize(int device) {
  const Api& api = api_for(device);
  check(api, api.synchronize(device), "synchronize");
}

void unary(int device, const UnaryArgs& args, void* stream) {
  const Api& api = api_for(device);
  check(api, api.unary(device, &args, stream), "unary");
}

void binary(int device, const BinaryArgs& args, void* stream) {
  const Api& api = api_for(device);
  check(api, api.binary(device, &args, stream), "binary");
}

void copy(int device, const CopyArgs& args, void* stream) {
  const Api& api = api_for(device);
  check(api, api.copy(device, &args, stream), "copy");
}

void gemm(int device, const GemmArgs& args, void* stream) {
  const Api& api = api_for(device);
  check(api, api.gemm(device, &args, stream), "gemm");
}

#define GS_DEFINE(name, Args)                             \
  void name(int device, const Args& args, void* stream) { \
    const Api& api = api_for(device);                     \
    check(api, api.name(device, &args, stream), #name);   \
  }
GS_CUDA_ROWS_FUNCTIONS(GS_DEFINE)
GS_CUDA_INDEX_FUNCTIONS(GS_DEFINE)
#undef GS_DEFINE

}  // namespace cuda
}  // namespace gradsmith
