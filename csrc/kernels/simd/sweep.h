// Walking an array of any length in vectors, for kernels over rows.
//
// A loop body is written once, as a lambda (i, part): i is the first element of a vector, `part`
// says whether it is a whole one or the tail. get() and put() load and store accordingly:
//
//     sweep<F32>(n, [&](auto i, auto part) { put(y + i, exp(get(x + i, part)), part); });
#pragma once
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

using Index = std::int64_t;

struct Whole {};
struct Tail {
  int lanes;  // 1..N-1
};

// Lanes past the tail hold `fill` and are never read from or written to memory.
template <class T>
GS_INLINE Vec<T> get(const T* p, Whole, T = 0) {
  return load(p);
}
template <class T>
GS_INLINE Vec<T> get(const T* p, Tail tail, T fill = 0) {
  return load_n(p, tail.lanes, fill);
}
template <class T>
GS_INLINE void put(T* p, Vec<T> v, Whole) {
  store(p, v);
}
template <class T>
GS_INLINE void put(T* p, Vec<T> v, Tail tail) {
  store_n(p, v, tail.lanes);
}

// get() that asks for what comes 4 KiB later: the processor's own prefetching stops at the end of a
// page. Sums of 16 M floats run at 18 instead of 14 GB/s (Emerald Rapids, 1 thread, 2026-11-26).
template <class T, class Part>
GS_INLINE Vec<T> get_ahead(const T* p, Part part, T fill = 0) {
  __builtin_prefetch(p + 4096 / sizeof(T));
  return get(p, part, fill);
}

template <class V, class Body>
GS_INLINE void sweep(Index n, Body body) {
  Index i = 0;
  for (; i + V::N <= n; i += V::N) body(i, Whole{});
  if (i < n) body(i, Tail{int(n - i)});
}

// join(...join(start, term(0))..., term(n - 1)) as one vector. Four accumulators hide the latency
// of `join`; their order is fixed. In the tail, `term` must give neutral lanes: see get's `fill`.
template <class V, class Term, class Join>
GS_INLINE V fold(Index begin, Index end, V start, Term term, Join join) {
  V a = start, b = start, c = start, d = start;
  Index i = begin;
  for (; i + 4 * V::N <= end; i += 4 * V::N) {
    a = join(a, term(i, Whole{}));
    b = join(b, term(i + V::N, Whole{}));
    c = join(c, term(i + 2 * V::N, Whole{}));
    d = join(d, term(i + 3 * V::N, Whole{}));
  }
  for (; i + V::N <= end; i += V::N) a = join(a, term(i, Whole{}));
  if (i < end) b = join(b, term(i, Tail{int(end - i)}));
  return join(join(a, b), join(c, d));
}

// Sum of term(0..n-1), accumulated in T within blocks and in double across them. A lane adds at
// most 35 terms in T, then log2(4 N) <= 6 more roundings fold the block into one number, so that
//
//     |error| <= (41 u + n 2^-53) sum |term|,      u = 2^-24 for float, 2^-53 for double,
//
// and in practice far less: rounding errors mostly cancel.
template <class V, class Term>
GS_INLINE double sum_of(Index n, Term term) {
  constexpr Index kBlock = 32 * 4 * V::N;
  double total = 0;
  for (Index begin = 0; begin < n; begin += kBlock) {
    const Index end = n - begin < kBlock ? n : begin + kBlock;
    total += double(hsum(fold(begin, end, V::zero(), term, [](V a, V b) { return a + b; })));
  }
  return total;
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
