// The end of a product: C = act(alpha * sums + beta * C + bias + residual) for a block of sums in
// memory, usually a register tile that the micro-kernel has just put on its stack.
//
// Contract: gemm.h, GemmFinish. Every view may have any strides and column blocks.
// Column by column of registers, because whether a register's columns are neighbours in memory is
// then asked once for all rows.
#include "kernels/simd/activate.h"
#include "kernels/simd/transpose.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// The columns [first, first + count) of a view, count <= V::N.
template <class T>
struct Columns {
  T* data;  // null: there is no such matrix
  std::int64_t rs;
  std::int64_t offset[64 / sizeof(T)];  // of each column, if they are not neighbours
  int count;
  enum { unit, same, scattered } kind;
};

template <class T, class Pointer>
Columns<T> columns_of(const MatViewOf<Pointer>& view, std::int64_t first, int count) {
  Columns<T> c;
  c.data = static_cast<T*>(view.data);
  c.rs = view.rs;
  c.count = count;
  c.kind = Columns<T>::unit;
  if (!c.data) return c;
  if (view.block == 0) {
    c.data += first * view.cs;
    if (view.cs == 1) return c;
    c.kind = view.cs == 0 ? Columns<T>::same : Columns<T>::scattered;
    for (int j = 0; j < count; ++j) c.offset[j] = j * view.cs;
    return c;
  }
  std::int64_t block = first / view.block, inside = first % view.block;
  if (view.cs == 1 && inside + count <= view.block) {
    c.data += block * view.block_stride + inside;
    return c;
  }
  c.kind = Columns<T>::scattered;
  for (int j = 0; j < count; ++j) {
    c.offset[j] = block * view.block_stride + inside * view.cs;
    if (++inside == view.block) inside = 0, ++block;
  }
  return c;
}

template <class V, class T>
GS_INLINE V read(const Columns<T>& c, std::int64_t row) {
  using Element = typename V::T;
  const Element* p = c.data + row * c.rs;
  if (c.kind == Columns<T>::unit) return c.count == V::N ? load(p) : load_n(p, c.count);
  if (c.kind == Columns<T>::same) return V::set(*p);
  Element lanes[V::N] = {};
  for (int j = 0; j < c.count; ++j) lanes[j] = p[c.offset[j]];
  return load(lanes);
}

template <class V, class T>
GS_INLINE void write(const Columns<T>& c, std::int64_t row, V value) {
  T* p = c.data + row * c.rs;
  if (c.kind == Columns<T>::unit) {
    if (c.count == V::N) {
      store(p, value);
    } else {
      store_n(p, value, c.count);
    }
    return;
  }
  T lanes[V::N];
  store(lanes, value);
  if (c.kind == Columns<T>::same) {
    *p = lanes[0];  // one column with stride 0
    return;
  }
  for (int j = 0; j < c.count; ++j) p[c.offset[j]] = lanes[j];
}

#if defined(GS_ISA_IS_avx512)
constexpr bool kCheapMasks = true;
#else
constexpr bool kCheapMasks = false;
#endif

// C by columns: a square of sums at a time is transposed, and columns are stored in one piece.
template <class V>
GS_INLINE void finish_columns(const GemmFinish& args) {
  using T = typename V::T;
  const GemmTarget& target = args.target;
  const V alpha = V::set(T(target.alpha)), beta = V::set(T(target.beta));
  const int rows = int(args.m);
  T* c = static_cast<T*>(target.c.data) + target.row + target.column * target.c.cs;
  for (std::int64_t jr = 0; jr < args.n; jr += V::N) {
    const int count = args.n - jr < V::N ? int(args.n - jr) : V::N;
    const T* const sums = static_cast<const T*>(args.sums) + jr;
    V square[V::N];
    for (int i = 0; i < V::N; ++i) {
      square[i] = i < rows ? load_n(sums + i * args.sums_rs, count) : V::zero();
    }
    transpose(square);
    for (int j = 0; j < count; ++j, c += target.c.cs) {
      V value = alpha * square[j];
      if (target.beta != 0) value = fma(beta, load_n(c, rows), value);
      store_n(c, value, rows);
    }
  }
}

template <class V>
GS_INLINE void finish(const GemmFinish& args) {
  using T = typename V::T;
  const GemmTarget& target = args.target;
  if (kCheapMasks && args.sums && !target.epilogue && args.m <= V::N && target.c.rs == 1 &&
      target.c.cs != 1 && target.c.block == 0) {
    return finish_columns<V>(args);
  }
  const Epilogue none;
  const Epilogue& epilogue = target.epilogue ? *target.epilogue : none;
  const V alpha = V::set(T(target.alpha)), beta = V::set(T(target.beta));
  const bool overwrite = target.beta == 0;
  for (std::int64_t jr = 0; jr < args.n; jr += V::N) {
    const int count = args.n - jr < V::N ? int(args.n - jr) : V::N;
    const std::int64_t column = target.column + jr;
    const Columns<T> c = columns_of<T>(target.c, column, count);
    const Columns<const T> bias = columns_of<const T>(epilogue.bias, column, count);
    const Columns<const T> residual = columns_of<const T>(epilogue.residual, column, count);
    const T* sums = static_cast<const T*>(args.sums) + (args.sums ? jr : 0);
    for (std::int64_t ir = 0; ir < args.m; ++ir) {
      const std::int64_t row = target.row + ir;
      V value = V::zero();
      if (args.sums) {
        const T* p = sums + ir * args.sums_rs;
        value = alpha * (count == V::N ? load(p) : load_n(p, count));
      }
      if (!overwrite) value = fma(beta, read<V>(c, row), value);
      if (bias.data) value = value + read<V>(bias, row);
      if (residual.data) value = value + read<V>(residual, row);
      write(c, row, activate(value, epilogue.activation, T(epilogue.slope)));
    }
  }
}

}  // namespace

void gemm_finish_f32(const GemmFinish& args) { finish<F32>(args); }
void gemm_finish_f64(const GemmFinish& args) { finish<F64>(args); }

}  // namespace gradsmith::kernels::GS_ISA
