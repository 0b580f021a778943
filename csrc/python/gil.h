// The GIL, also while the interpreter exits. CPython before 3.14 then ends every other thread that
// asks for the GIL, by unwinding its stack (pthread_exit): a noexcept destructor on the way aborts
// the process, and others touch Python objects without the GIL. So whatever may ask runs inside
// `or_stay`, which stops such a thread where it is until the process is gone, as 3.14 does.
#pragma once
#include <Python.h>

#include <chrono>
#include <thread>
#if defined(__GLIBCXX__) || defined(__GLIBCPP__)
#include <cxxabi.h>
#endif

namespace gradsmith::python {

#if defined(__GLIBCXX__) || defined(__GLIBCPP__)
using ForcedUnwind = abi::__forced_unwind;
#else
struct ForcedUnwind {};
#endif

template <class F>
decltype(auto) or_stay(F&& f) {
  try {
    return f();
  } catch (ForcedUnwind&) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
}

// Lets the GIL go for a while.
class GilRelease {
 public:
  explicit GilRelease(bool on = true) : state_(on ? PyEval_SaveThread() : nullptr) {}
  ~GilRelease() {
    if (state_) or_stay([this] { PyEval_RestoreThread(state_); });
  }
  GilRelease(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

// Takes the GIL, on any thread.
class GilAcquire {
 public:
  GilAcquire() : state_(or_stay([] { return PyGILState_Ensure(); })) {}
  ~GilAcquire() { PyGILState_Release(state_); }
  GilAcquire(const GilAcquire&) = delete;

 private:
  PyGILState_STATE state_;
};

}  // namespace gradsmith::python
