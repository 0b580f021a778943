// Errors. GS_CHECK(cond, "softmax: dim {} out of range for rank {}", dim, rank) throws an Error
// whose kind decides the Python exception. Messages name the op, the argument and the values.
#pragma once
#include <sstream>
#include <string>
#include <string_view>

#include "gradsmith/error.h"

namespace gradsmith {
namespace detail {
inline void format_rest(std::ostringstream& out, std::string_view text) { out << text; }
template <class T, class... Rest>
void format_rest(std::ostringstream& out, std::string_view text, const T& first,
                 const Rest&... rest) {
  const auto at = text.find("{}");
  out << text.substr(0, at);
  if (at == std::string_view::npos) return;
  out << first;
  format_rest(out, text.substr(at + 2), rest...);
}
}  // namespace detail

// Replaces each {} with the next argument (anything with operator<<).
template <class... Args>
std::string format(std::string_view text, const Args&... args) {
  std::ostringstream out;
  out << std::boolalpha;
  detail::format_rest(out, text, args...);
  return out.str();
}

template <class... Args>
[[noreturn, gnu::cold, gnu::noinline]] void fail(ErrorKind kind, std::string_view text,
                                                 const Args&... args) {
  throw Error(kind, format(text, args...));
}

}  // namespace gradsmith

#define GS_CHECK_KIND(kind, cond, ...)                              \
  do {                                                              \
    if (!(cond)) [[unlikely]]                                       \
      ::gradsmith::fail(::gradsmith::ErrorKind::kind, __VA_ARGS__); \
  } while (0)
#define GS_CHECK(cond, ...) GS_CHECK_KIND(value, cond, __VA_ARGS__)        // ValueError
#define GS_CHECK_TYPE(cond, ...) GS_CHECK_KIND(type, cond, __VA_ARGS__)    // TypeError
#define GS_CHECK_INDEX(cond, ...) GS_CHECK_KIND(index, cond, __VA_ARGS__)  // IndexError
#define GS_CHECK_STATE(cond, ...) GS_CHECK_KIND(state, cond, __VA_ARGS__)  // RuntimeError
