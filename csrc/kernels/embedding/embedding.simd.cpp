// Rows are moved with memcpy in one piece and added in vectors; the strided walks are plain loops
// whose cost is the cache misses of the indexed operand.
#include "kernels/embedding/embedding.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

inline std::int64_t wrap(std::int64_t index, std::int64_t size) {
  return index < 0 ? index + size : index;
}

template <class T>
void take(const TakeRows& a) {
  T* out = static_cast<T*>(a.out);
  const T* src = static_cast<const T*>(a.src);
  for (std::int64_t i = 0; i < a.rows; ++i) {
    __builtin_memcpy(out + i * a.out_row, src + wrap(a.index[i], a.src_rows) * a.src_row,
                     std::size_t(a.columns) * sizeof(T));
  }
}

inline void add_row(std::int64_t* dst, const std::int64_t* src, std::int64_t n) {
  for (std::int64_t j = 0; j < n; ++j) {
    dst[j] = std::int64_t(std::uint64_t(dst[j]) + std::uint64_t(src[j]));  // wraps
  }
}
template <class T>
inline void add_row(T* dst, const T* src, std::int64_t n) {
  using V = Vec<T>;
  std::int64_t j = 0;
  for (; j + V::N <= n; j += V::N) store(dst + j, load(dst + j) + load(src + j));
  for (; j < n; ++j) dst[j] = dst[j] + src[j];
}

template <class T>
void add(const AddRows& a) {
  T* dst = static_cast<T*>(a.dst);
  const T* src = static_cast<const T*>(a.src);
  for (std::int64_t i = 0; i < a.rows; ++i) {
    const std::int64_t row = wrap(a.index[i], a.dst_rows);
    if (row < a.first || row >= a.last || row == a.skip) continue;
    add_row(dst + row * a.dst_row, src + i * a.src_row, a.columns);
  }
}

// visit(out position, src position, axis offset) for every element of the walk. The index is read
// once per row where it does not change along it.
template <class Visit>
inline void walk(const IndexWalk& a, const Visit& visit) {
  for (std::int64_t i = 0; i < a.rows; ++i) {
    const std::int64_t* index = a.index + i * a.index_row;
    std::int64_t out = i * a.out_row, src = i * a.src_row;
    if (a.index_column == 0) {
      const std::int64_t offset = wrap(*index, a.axis_size) * a.axis_stride;
      if (a.out_column == 1 && a.src_column == 1) {  // rows move or add as vectors
        for (std::int64_t j = 0; j < a.columns; ++j) visit(out + j, src + j, offset);
        continue;
      }
      for (std::int64_t j = 0; j < a.columns; ++j, out += a.out_column, src += a.src_column) {
        visit(out, src, offset);
      }
      continue;
    }
    for (std::int64_t j = 0; j < a.columns; ++j, out += a.out_column, src += a.src_column) {
      visit(out, src, wrap(index[j * a.index_column], a.axis_size) * a.axis_stride);
    }
  }
}

template <class T>
void gather(const IndexWalk& a) {
  T* out = static_cast<T*>(a.out);
  const T* src = static_cast<const T*>(a.src);
  walk(a, [=](std::int64_t o, std::int64_t s, std::int64_t offset) { out[o] = src[s + offset]; });
}

template <class T>
void scatter(const IndexWalk& a) {
  T* out = static_cast<T*>(a.out);
  const T* src = static_cast<const T*>(a.src);
  walk(a, [=](std::int64_t o, std::int64_t s, std::int64_t offset) { out[o + offset] = src[s]; });
}

inline std::int64_t plus(std::int64_t x, std::int64_t y) {
  return std::int64_t(std::uint64_t(x) + std::uint64_t(y));
}
template <class T>
inline T plus(T x, T y) {
  return x + y;
}

template <class T>
void scatter_add(const IndexWalk& a) {
  T* out = static_cast<T*>(a.out);
  const T* src = static_cast<const T*>(a.src);
  walk(a, [=](std::int64_t o, std::int64_t s, std::int64_t offset) {
    out[o + offset] = plus(out[o + offset], src[s]);
  });
}

}  // namespace

#define GS_MOVE(tag, T)                                            \
  void take_rows_##tag(const TakeRows& a) { take<T>(a); }          \
  void gather_elements_##tag(const IndexWalk& a) { gather<T>(a); } \
  void scatter_elements_##tag(const IndexWalk& a) { scatter<T>(a); }
GS_MOVE(f32, std::uint32_t)
GS_MOVE(f64, std::uint64_t)
GS_MOVE(bf16, std::uint16_t)
GS_MOVE(f16, std::uint16_t)
GS_MOVE(i64, std::uint64_t)
GS_MOVE(i32, std::uint32_t)
GS_MOVE(u8, std::uint8_t)
GS_MOVE(b8, std::uint8_t)
#undef GS_MOVE

#define GS_ADD(tag, T)                                 \
  void add_rows_##tag(const AddRows& a) { add<T>(a); } \
  void scatter_add_elements_##tag(const IndexWalk& a) { scatter_add<T>(a); }
GS_ADD(f32, float)
GS_ADD(f64, double)
GS_ADD(i64, std::int64_t)
#undef GS_ADD

std::int64_t find_bad_index_i64(const std::int64_t* index, std::int64_t count, std::int64_t size) {
  constexpr std::int64_t kBlock = 256;  // tested without a branch, so that it vectorises
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t end = count - begin < kBlock ? count : begin + kBlock;
    std::uint64_t bad = 0;
    for (std::int64_t i = begin; i < end; ++i) {
      bad |= std::uint64_t(index[i] < -size) | std::uint64_t(index[i] >= size);
    }
    if (!bad) continue;
    for (std::int64_t i = begin; i < end; ++i) {
      if (index[i] < -size || index[i] >= size) return i;
    }
  }
  return -1;
}

}  // namespace gradsmith::kernels::GS_ISA
