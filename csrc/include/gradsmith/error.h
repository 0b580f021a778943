// What every function of the library throws on bad input; what() names the op, the argument, what
// was given and what is allowed.
#pragma once
#include <exception>
#include <string>
#include <utility>

#include "gradsmith/export.h"

namespace gradsmith {

enum class ErrorKind { value, type, index, state, memory, device };

class GS_API Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}
  ErrorKind kind() const { return kind_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  ErrorKind kind_;
  std::string message_;
};

}  // namespace gradsmith
