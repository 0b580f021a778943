// Copies, selection and transposition of elements of 1, 2, 4 and 8 bytes, and ramps.
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/run.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

template <int bytes>
struct Element;
template <>
struct Element<1> {
  using type = std::uint8_t;
};
template <>
struct Element<2> {
  using type = std::uint16_t;
};
template <>
struct Element<4> {
  using type = std::uint32_t;
};
template <>
struct Element<8> {
  using type = std::uint64_t;
};

using Index = std::int64_t;

void stream_copy(char* y, const char* x, Index bytes) {
  constexpr Index kLine = 64, kAhead = 4096;
  Index i = Index(-reinterpret_cast<std::uintptr_t>(y) % kLine);
  if (i > bytes) i = bytes;
  __builtin_memcpy(y, x, std::size_t(i));
  for (; i + kLine <= bytes; i += kLine) {
    __builtin_prefetch(x + i + kAhead);
    stream_line(y + i, x + i);
  }
  __builtin_memcpy(y + i, x + i, std::size_t(bytes - i));
  stream_fence();
}

template <class Value>
void copy_elements_of(const UnaryRun& run) {
  using T = typename Element<sizeof(Value)>::type;
  T* y = static_cast<T*>(run.y);
  const T* x = static_cast<const T*>(run.x);
  const std::int64_t n = run.n;
  if (n <= 0) return;
  if (run.y_step == 1 && run.x_step == 0 && run.stream) {
    const T value = *x;
    stream_run(n, y, [&](std::int64_t, int count, T* buffer) {
      for (int i = 0; i < count; ++i) buffer[i] = value;
    });
  } else if (run.y_step == 1 && run.x_step == 1 && run.stream) {
    stream_copy(reinterpret_cast<char*>(y), reinterpret_cast<const char*>(x), n * Index(sizeof(T)));
  } else if (run.y_step == 1 && run.x_step == 1) {
    __builtin_memmove(y, x, std::size_t(n) * sizeof(T));
  } else if (run.y_step == 1 && run.x_step == 0) {
    const T value = *x;
    for (std::int64_t i = 0; i < n; ++i) y[i] = value;
  } else if (run.y_step == 1 && run.x_step == 2) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = x[2 * i];
  } else {
    for (std::int64_t i = 0; i < n; ++i) y[i * run.y_step] = x[i * run.x_step];
  }
}

template <class Value>
void where_elements_of(const WhereRun& run) {
  using T = typename Element<sizeof(Value)>::type;
  T* y = static_cast<T*>(run.y);
  const std::uint8_t* c = run.condition;
  const T* a = static_cast<const T*>(run.a);
  const T* b = static_cast<const T*>(run.b);
  const std::int64_t n = run.n;
  if (n <= 0) return;
  if (run.y_step == 1 && run.condition_step == 1) {
    if (run.a_step == 1 && run.b_step == 1) {
      for (std::int64_t i = 0; i < n; ++i) {
        const T s = a[i], t = b[i];
        y[i] = c[i] ? s : t;
      }
      return;
    }
    if (run.a_step == 1 && run.b_step == 0) {
      const T t = *b;
      for (std::int64_t i = 0; i < n; ++i) {
        const T s = a[i];
        y[i] = c[i] ? s : t;
      }
      return;
    }
    if (run.a_step == 0 && run.b_step == 1) {
      const T s = *a;
      for (std::int64_t i = 0; i < n; ++i) {
        const T t = b[i];
        y[i] = c[i] ? s : t;
      }
      return;
    }
  }
  for (std::int64_t i = 0; i < n; ++i) {
    y[i * run.y_step] = c[i * run.condition_step] ? a[i * run.a_step] : b[i * run.b_step];
  }
}

// A 4x4 block of 4-byte elements in registers, a 2x2 block of 8-byte ones.
GS_INLINE void transpose_block(std::uint32_t* y, std::int64_t y_row, const std::uint32_t* x,
                               std::int64_t x_column) {
  typedef std::uint32_t Four __attribute__((vector_size(16)));
  Four c[4];
  for (int j = 0; j < 4; ++j) __builtin_memcpy(&c[j], x + j * x_column, 16);
  const Four low02 = __builtin_shufflevector(c[0], c[2], 0, 4, 1, 5);
  const Four low13 = __builtin_shufflevector(c[1], c[3], 0, 4, 1, 5);
  const Four high02 = __builtin_shufflevector(c[0], c[2], 2, 6, 3, 7);
  const Four high13 = __builtin_shufflevector(c[1], c[3], 2, 6, 3, 7);
  const Four rows[4] = {__builtin_shufflevector(low02, low13, 0, 4, 1, 5),
                        __builtin_shufflevector(low02, low13, 2, 6, 3, 7),
                        __builtin_shufflevector(high02, high13, 0, 4, 1, 5),
                        __builtin_shufflevector(high02, high13, 2, 6, 3, 7)};
  for (int i = 0; i < 4; ++i) __builtin_memcpy(y + i * y_row, &rows[i], 16);
}
GS_INLINE void transpose_block(std::uint64_t* y, std::int64_t y_row, const std::uint64_t* x,
                               std::int64_t x_column) {
  typedef std::uint64_t Two __attribute__((vector_size(16)));
  Two c[2];
  for (int j = 0; j < 2; ++j) __builtin_memcpy(&c[j], x + j * x_column, 16);
  const Two rows[2] = {__builtin_shufflevector(c[0], c[1], 0, 2),
                       __builtin_shufflevector(c[0], c[1], 1, 3)};
  for (int i = 0; i < 2; ++i) __builtin_memcpy(y + i * y_row, &rows[i], 16);
}
template <class T>
GS_INLINE void transpose_block(T* y, std::int64_t, const T* x, std::int64_t) {
  *y = *x;
}

// In squares of one cache line each way, so that every line read or written is used whole.
template <class Value>
void transpose_tile_of(const TransposeTile& tile) {
  using T = typename Element<sizeof(Value)>::type;
  constexpr std::int64_t kSquare = 64 / sizeof(T), kBlock = sizeof(T) == 8   ? 2
                                                            : sizeof(T) == 4 ? 4
                                                                             : 1;
  T* y = static_cast<T*>(tile.y);
  const T* x = static_cast<const T*>(tile.x);
  const std::int64_t y_row = tile.y_row, x_column = tile.x_column;
  for (std::int64_t i0 = 0; i0 < tile.rows; i0 += kSquare) {
    const std::int64_t i1 = i0 + kSquare < tile.rows ? i0 + kSquare : tile.rows;
    for (std::int64_t j0 = 0; j0 < tile.columns; j0 += kSquare) {
      const std::int64_t j1 = j0 + kSquare < tile.columns ? j0 + kSquare : tile.columns;
      std::int64_t i = i0;
      for (; i + kBlock <= i1; i += kBlock) {
        std::int64_t j = j0;
        for (; j + kBlock <= j1; j += kBlock) {
          transpose_block(y + i * y_row + j, y_row, x + i + j * x_column, x_column);
        }
        for (; j < j1; ++j) {
          for (int k = 0; k < kBlock; ++k) y[(i + k) * y_row + j] = x[i + k + j * x_column];
        }
      }
      for (; i < i1; ++i) {
        for (std::int64_t j = j0; j < j1; ++j) y[i * y_row + j] = x[i + j * x_column];
      }
    }
  }
}

template <class T>
void ramp_of(const UnaryRun& run) {
  using Number = decltype(T(0) + std::int64_t(0));  // int64 for integers
  T* y = static_cast<T*>(run.y);
  if constexpr (T(0.5) != T(0)) {
    for (std::int64_t i = 0; i < run.n; ++i) {
      y[i * run.y_step] = T(run.params.p + double(i) * run.params.q);
    }
  } else {
    const Number start = Number(run.params.p), step = Number(run.params.q);
    for (std::int64_t i = 0; i < run.n; ++i) y[i * run.y_step] = T(start + i * step);
  }
}

template <class Fn>
struct Argument;
template <class A>
struct Argument<void(const A&)> {
  using type = A;
};

}  // namespace

// Moving a float is moving its bits; only a ramp computes.
#define GS_ROW(op, dtype)                                 \
  void op##_##dtype(const Argument<op##_fn>::type& run) { \
    using T = CppType<DType::dtype>;                      \
    op##_of<T>(run);                                      \
  }
#include "kernels/elementwise/move.inc"
#undef GS_ROW

}  // namespace gradsmith::kernels::GS_ISA
