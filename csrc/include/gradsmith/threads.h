// How many threads an op may use. After an op they wait for the next one, and soon go to sleep.
#pragma once
#include "gradsmith/export.h"

namespace gradsmith {

inline constexpr int kMaxThreads = 1024;

// GRADSMITH_NUM_THREADS, else the CPUs this process may use, until set_num_threads is called.
GS_API int get_num_threads();
GS_API void set_num_threads(int n);  // 1 <= n <= kMaxThreads, or Error(value)

}  // namespace gradsmith
