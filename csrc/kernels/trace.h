// What a driver chose, for whoever asks (`gradsmith.kernels.explain`). Drivers describe themselves
// where a trace is on; that costs a load and a branch where none is.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/registry.h"

namespace gradsmith::kernels {

struct TraceEntry {
  std::string op, path;
  Target target = Target::scalar;
  int threads = 1;
  double flops = 0, bytes = 0;  // that the problem cannot do without
  std::vector<std::pair<const char*, std::int64_t>> sizes;
  std::vector<std::string> reasons;  // why not another way
};

// Collects the entries of the calling thread between its construction and its end. Drivers that run
// inside another driver are not asked.
class GS_API Trace {
 public:
  Trace();
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;
  std::vector<TraceEntry> entries;

  // The trace that a driver called here should write to, or null.
  static Trace* current();

 private:
  Trace* before_;
  friend class TraceInside;
};

// Holds while a driver runs others.
class TraceInside {
 public:
  TraceInside();
  ~TraceInside();
  TraceInside(const TraceInside&) = delete;
  TraceInside& operator=(const TraceInside&) = delete;

 private:
  Trace* before_;
};

}  // namespace gradsmith::kernels
