// How one run of elements is walked, for the *.simd.cpp files of this family.
#pragma once
#include "kernels/elementwise/elementwise.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// Elements per buffer when strided operands are packed: a few KB, in L1.
inline constexpr int kPack = 256;

template <class T>
GS_INLINE const T* pack(T* buffer, const T* x, std::int64_t step, int n) {
  if (step == 1) return x;
  for (int i = 0; i < n; ++i) buffer[i] = x[i * step];
  return buffer;
}
template <class T>
GS_INLINE void unpack(T* y, std::int64_t step, const T* buffer, int n) {
  if (step == 1) return;
  for (int i = 0; i < n; ++i) y[i * step] = buffer[i];
}
GS_INLINE int pack_size(std::int64_t left) { return left < kPack ? int(left) : kPack; }

// The part of y that `y_step` 1 and `stream` ask for: fill(i, n, buffer) makes elements i to i + n,
// which go from the buffer to memory in whole lines. A small buffer, so that the processor sees the
// loads of the next piece while the stores of this one wait: with 256 floats 22.6 GB/s are copied,
// with 1024 20.5, by ordinary stores 12 (Emerald Rapids, 16 M floats, 2026-11-26); a product runs
// at 39 GB/s, with 1024 at 30, by ordinary stores 23 (Zen 4, 2026-11-27).
template <class Y, class Fill>
GS_INLINE void stream_run(std::int64_t n, Y* y, Fill fill) {
  constexpr std::size_t kLine = 64;
  alignas(kLine) Y buffer[kPack];
  for (std::int64_t i = 0; i < n;) {
    char* const to = reinterpret_cast<char*>(y + i);
    const std::size_t off = reinterpret_cast<std::uintptr_t>(to) % kLine;
    const int to_line = int((kLine - off) / sizeof(Y));
    const int count = off && to_line < n - i ? to_line : pack_size(n - i);
    fill(i, count, buffer);
    const std::size_t bytes = std::size_t(count) * sizeof(Y);
    const char* const from = reinterpret_cast<const char*>(buffer);
    std::size_t at = 0;
    for (; !off && at + kLine <= bytes; at += kLine) stream_line(to + at, from + at);
    if (at < bytes) __builtin_memcpy(to + at, from + at, bytes - at);
    i += count;
  }
  stream_fence();
}
// Asks for the piece of x that is read 4 KiB after this one.
template <class X>
GS_INLINE void ask_ahead(const X* x, int n) {
  const char* const ahead = reinterpret_cast<const char*>(x) + 4096;
  for (std::size_t at = 0; at < std::size_t(n) * sizeof(X); at += 64) {
    __builtin_prefetch(ahead + at);
  }
}

// y[i] = f(x[i]) on vectors.
template <class T, class F>
__attribute__((noinline)) void map_vectors(std::int64_t n, T* y, const T* x, F f) {
  constexpr int N = Vec<T>::N;
  std::int64_t i = 0;
  for (; i + N <= n; i += N) store(y + i, f(load(x + i)));
  if (i < n) store_n(y + i, f(load_n(x + i, int(n - i))), int(n - i));
}
// The same element by element, for the compiler to vectorise.
template <class Y, class X, class F>
__attribute__((noinline)) void map_elements(std::int64_t n, Y* y, const X* x, F f) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
}

template <class Y, class X, class Map>
GS_INLINE void run_unary(const UnaryRun& run, Map map) {
  Y* y = static_cast<Y*>(run.y);
  const X* x = static_cast<const X*>(run.x);
  if (run.y_step == 1 && run.x_step == 1) {
    if (!run.stream) return map(run.n, y, x);
    return stream_run(run.n, y, [&](std::int64_t i, int n, Y* buffer) {
      if (run.ahead) ask_ahead(x + i, n);
      map(n, buffer, x + i);
    });
  }
  X x_buffer[kPack];
  Y y_buffer[kPack];
  for (std::int64_t i = 0; i < run.n; i += kPack) {
    const int n = pack_size(run.n - i);
    Y* to = y + i * run.y_step;
    map(n, run.y_step == 1 ? to : y_buffer, pack(x_buffer, x + i * run.x_step, run.x_step, n));
    unpack(to, run.y_step, y_buffer, n);
  }
}

// y[i] = f(a[i], b[i]) on vectors; an operand that is kOne is the same everywhere.
template <bool kOneA, bool kOneB, class T, class F>
__attribute__((noinline)) void map_vectors(std::int64_t n, T* y, const T* a, const T* b, F f) {
  using V = Vec<T>;
  std::int64_t i = 0;
  const V one = kOneA ? V(*a) : kOneB ? V(*b) : V(T(0));
  for (; i + V::N <= n; i += V::N) {
    store(y + i, f(kOneA ? one : load(a + i), kOneB ? one : load(b + i)));
  }
  if (i < n) {
    const int rest = int(n - i);
    store_n(y + i, f(kOneA ? one : load_n(a + i, rest), kOneB ? one : load_n(b + i, rest)), rest);
  }
}
template <bool kOneA, bool kOneB, class Y, class X, class F>
__attribute__((noinline)) void map_elements(std::int64_t n, Y* y, const X* a, const X* b, F f) {
  const X one = kOneA ? *a : *b;
  for (std::int64_t i = 0; i < n; ++i) y[i] = f(kOneA ? one : a[i], kOneB ? one : b[i]);
}

template <class Y, class X, class Map>
GS_INLINE void run_binary(const BinaryRun& run, Map map) {
  Y* y = static_cast<Y*>(run.y);
  const X* a = static_cast<const X*>(run.a);
  const X* b = static_cast<const X*>(run.b);
  if (run.n <= 0) return;
  const auto dense = [&]<bool kOneA, bool kOneB>() {
    if (!run.stream) return map.template operator()<kOneA, kOneB>(run.n, y, a, b);
    stream_run(run.n, y, [&](std::int64_t i, int n, Y* buffer) {
      if (!kOneA && run.ahead) ask_ahead(a + i, n);
      if (!kOneB && run.ahead) ask_ahead(b + i, n);
      map.template operator()<kOneA, kOneB>(n, buffer, kOneA ? a : a + i, kOneB ? b : b + i);
    });
  };
  if (run.y_step == 1) {
    if (run.a_step == 1 && run.b_step == 1) return dense.template operator()<false, false>();
    if (run.a_step == 1 && run.b_step == 0) return dense.template operator()<false, true>();
    if (run.a_step == 0 && run.b_step == 1) return dense.template operator()<true, false>();
  }
  X a_buffer[kPack], b_buffer[kPack];
  Y y_buffer[kPack];
  for (std::int64_t i = 0; i < run.n; i += kPack) {
    const int n = pack_size(run.n - i);
    Y* to = y + i * run.y_step;
    map.template operator()<false, false>(n, run.y_step == 1 ? to : y_buffer,
                                          pack(a_buffer, a + i * run.a_step, run.a_step, n),
                                          pack(b_buffer, b + i * run.b_step, run.b_step, n));
    unpack(to, run.y_step, y_buffer, n);
  }
}

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
