// Indexing as its formulas read.
#include "kernels/embedding/embedding.h"

namespace gradsmith::kernels::reference {
namespace {

std::int64_t wrap(std::int64_t index, std::int64_t size) {
  return index < 0 ? index + size : index;
}

template <class T>
void take(const TakeRows& a) {
  for (std::int64_t i = 0; i < a.rows; ++i) {
    for (std::int64_t j = 0; j < a.columns; ++j) {
      static_cast<T*>(a.out)[i * a.out_row + j] =
          static_cast<const T*>(a.src)[wrap(a.index[i], a.src_rows) * a.src_row + j];
    }
  }
}

template <class T>
void add(const AddRows& a) {
  for (std::int64_t i = 0; i < a.rows; ++i) {
    const std::int64_t row = wrap(a.index[i], a.dst_rows);
    if (row < a.first || row >= a.last || row == a.skip) continue;
    for (std::int64_t j = 0; j < a.columns; ++j) {
      static_cast<T*>(a.dst)[row * a.dst_row + j] +=
          static_cast<const T*>(a.src)[i * a.src_row + j];
    }
  }
}

template <class Visit>
void walk(const IndexWalk& a, const Visit& visit) {
  for (std::int64_t i = 0; i < a.rows; ++i) {
    for (std::int64_t j = 0; j < a.columns; ++j) {
      const std::int64_t index = a.index[i * a.index_row + j * a.index_column];
      visit(i * a.out_row + j * a.out_column, i * a.src_row + j * a.src_column,
            wrap(index, a.axis_size) * a.axis_stride);
    }
  }
}

template <class T>
void gather(const IndexWalk& a) {
  walk(a, [&](std::int64_t o, std::int64_t s, std::int64_t offset) {
    static_cast<T*>(a.out)[o] = static_cast<const T*>(a.src)[s + offset];
  });
}
template <class T>
void scatter(const IndexWalk& a) {
  walk(a, [&](std::int64_t o, std::int64_t s, std::int64_t offset) {
    static_cast<T*>(a.out)[o + offset] = static_cast<const T*>(a.src)[s];
  });
}
template <class T>
void scatter_add(const IndexWalk& a) {
  walk(a, [&](std::int64_t o, std::int64_t s, std::int64_t offset) {
    static_cast<T*>(a.out)[o + offset] += static_cast<const T*>(a.src)[s];
  });
}

}  // namespace

#define GS_MOVE(tag, T)                                            \
  void take_rows_##tag(const TakeRows& a) { take<T>(a); }          \
  void gather_elements_##tag(const IndexWalk& a) { gather<T>(a); } \
  void scatter_elements_##tag(const IndexWalk& a) { scatter<T>(a); }
GS_DTYPES(GS_MOVE)
#undef GS_MOVE

#define GS_ADD(tag, T)                                 \
  void add_rows_##tag(const AddRows& a) { add<T>(a); } \
  void scatter_add_elements_##tag(const IndexWalk& a) { scatter_add<T>(a); }
GS_ADD(f32, float)
GS_ADD(f64, double)
GS_ADD(i64, std::int64_t)
#undef GS_ADD

std::int64_t find_bad_index_i64(const std::int64_t* index, std::int64_t count, std::int64_t size) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (index[i] < -size || index[i] >= size) return i;
  }
  return -1;
}

}  // namespace gradsmith::kernels::reference
