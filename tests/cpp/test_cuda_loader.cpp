// Loading the CUDA backend: with the emulator's library named in GRADSMITH_CUDA_LIBRARY there is
// one device that works; with none, or without a driver or GPU, there is a reason and nothing
// breaks.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

#include "check.h"
#include "runtime/cuda.h"

using namespace gradsmith;

int main() {
  if (!cuda_available()) {
    CHECK(cuda_device_count() == 0 && !cuda_reason().empty());
    CHECK_THROWS(cuda::allocate(0, 100), "no device: " + cuda_reason());
    CHECK_THROWS(cuda::synchronize(0), "no device");
    cuda::deallocate(0, nullptr);
    std::printf("no CUDA device: %s\n", cuda_reason().c_str());
    return gs_test::result();
  }
  CHECK(cuda_reason().empty());
  CHECK_THROWS(cuda::allocate(99, 100), "device index 99 out of range");
  CHECK_THROWS(cuda::allocate(-1, 100), "device index -1 out of range");
  CHECK_THROWS(cuda::allocate(0, std::size_t(1) << 45), "cannot allocate 35184372088832 bytes");
  std::printf("%s\n", cuda::device_info(0).name);

  const std::vector<float> x = {1, 4, 9, 16};
  std::vector<float> y(4);
  const std::size_t bytes = 4 * sizeof(float);
  void* p = cuda::allocate(0, bytes);
  cuda::copy_bytes(0, p, x.data(), bytes, cuda::CopyKind::host_to_device);
  const cuda::Operand operand{p, DType::f32, {1}};
  cuda::unary(0, {cuda::UnaryOp::sqrt, 1, {4}, operand, operand, 0, 0});
  cuda::copy_bytes(0, y.data(), p, bytes, cuda::CopyKind::device_to_host);
  CHECK((y == std::vector<float>{1, 2, 3, 4}));
  const cuda::Operand wrong{p, DType::b8, {1}};
  CHECK_THROWS(cuda::unary(0, {cuda::UnaryOp::sqrt, 1, {4}, wrong, wrong, 0, 0}), "bool");
  cuda::deallocate(0, p);
  CHECK(cuda::memory_info(0).in_use_bytes == 0);
  cuda::empty_cache(0);

  const pid_t child = fork();  // a CUDA context does not survive a fork
  if (child == 0) {
    const std::string message = gs_test::message_of([] { cuda::synchronize(0); });
    _exit(!cuda_available() && message.find("spawn") != std::string::npos ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  return gs_test::result();
}
