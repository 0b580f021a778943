// A test is a program that returns 0. CHECK prints what failed and goes on; main() ends with
// `return gs_test::result();`.
#pragma once
#include <atomic>
#include <cstdio>
#include <exception>
#include <string>

namespace gs_test {

inline std::atomic<int> failures{0};

inline int result() {
  if (failures) std::fprintf(stderr, "%d check(s) failed\n", failures.load());
  return failures ? 1 : 0;
}

inline void report(const char* file, int line, const std::string& what) {
  ++failures;
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
}

// The message of the exception that fn throws, or "" where it throws none.
template <class F>
std::string message_of(F&& fn) {
  try {
    fn();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace gs_test

#define CHECK(cond)                                                     \
  do {                                                                  \
    if (!(cond)) gs_test::report(__FILE__, __LINE__, "failed: " #cond); \
  } while (0)

// The expression throws an exception whose message contains `text`.
#define CHECK_THROWS(expr, text)                                                              \
  do {                                                                                        \
    const std::string message = gs_test::message_of([&] { expr; });                           \
    if (message.empty() || message.find(text) == std::string::npos)                           \
      gs_test::report(__FILE__, __LINE__,                                                     \
                      "expected an error with '" + std::string(text) + "', got '" + message + \
                          "' from " #expr);                                                   \
  } while (0)
