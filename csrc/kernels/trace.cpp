#include "kernels/trace.h"

#include "runtime/parallel.h"

namespace gradsmith::kernels {
namespace {
thread_local Trace* active = nullptr;
}

Trace::Trace() : before_(active) { active = this; }
Trace::~Trace() { active = before_; }
Trace* Trace::current() { return active && !in_parallel_region() ? active : nullptr; }

TraceInside::TraceInside() : before_(active) { active = nullptr; }
TraceInside::~TraceInside() { active = before_; }

}  // namespace gradsmith::kernels
