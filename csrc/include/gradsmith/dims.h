// Dims: a shape, a list of strides or of dimensions; at most kMaxDims long, never allocates.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>

#include "gradsmith/export.h"
#include "gradsmith/view.h"

namespace gradsmith {

class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<std::int64_t> values) {
    for (auto v : values) push_back(v);
  }
  Dims(const std::int64_t* values, int n) {
    for (int i = 0; i < n; ++i) push_back(values[i]);
  }
  static Dims filled(int n, std::int64_t value) {
    Dims d;
    for (int i = 0; i < n; ++i) d.push_back(value);
    return d;
  }

  int size() const { return n_; }
  bool empty() const { return n_ == 0; }
  std::int64_t& operator[](int i) { return d_[i]; }
  std::int64_t operator[](int i) const { return d_[i]; }
  std::int64_t back() const { return d_[n_ - 1]; }
  std::int64_t* begin() { return d_; }
  std::int64_t* end() { return d_ + n_; }
  const std::int64_t* begin() const { return d_; }
  const std::int64_t* end() const { return d_ + n_; }
  const std::int64_t* data() const { return d_; }

  void push_back(std::int64_t v) {
    if (n_ == kMaxDims) too_long();
    d_[n_++] = v;
  }
  void pop_back() { --n_; }
  void insert(int at, std::int64_t v) {
    push_back(v);
    for (int i = n_ - 1; i > at; --i) d_[i] = d_[i - 1];
    d_[at] = v;
  }
  void erase(int at) {
    for (int i = at; i + 1 < n_; ++i) d_[i] = d_[i + 1];
    --n_;
  }
  std::int64_t product() const {
    std::int64_t p = 1;
    for (auto v : *this) p *= v;
    return p;
  }
  bool contains(std::int64_t v) const {
    for (auto x : *this)
      if (x == v) return true;
    return false;
  }
  friend bool operator==(const Dims& a, const Dims& b) {
    if (a.n_ != b.n_) return false;
    for (int i = 0; i < a.n_; ++i)
      if (a.d_[i] != b.d_[i]) return false;
    return true;
  }

 private:
  [[noreturn]] GS_API static void too_long();
  std::int64_t d_[kMaxDims];
  int n_ = 0;
};

GS_API std::ostream& operator<<(std::ostream& out, const Dims& dims);  // (2, 3) and (2,)

}  // namespace gradsmith
