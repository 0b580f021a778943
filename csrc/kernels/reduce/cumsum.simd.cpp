// Cumulative sums. Contract: reduce.h.
//
// A row is a chain of additions, one rounding each in double: latency is the limit, 4 cycles an
// element, and four rows are run side by side to fill the gaps. Columns are independent of each
// other and vectorise by themselves.
#include "kernels/reduce/reduce.h"
#include "kernels/simd/sweep.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

template <class T, class Acc, class Out>
void rows(const CumsumRows& a) {
  const T* x = static_cast<const T*>(a.x);
  Out* y = static_cast<Out*>(a.y);
  const Index xs = a.x_stride, ys = a.y_stride;
  Index r = 0;
  for (; r + 4 <= a.rows; r += 4, x += 4 * xs, y += 4 * ys) {
    Acc s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (Index i = 0; i < a.n; ++i) {
      y[i] = Out(s0 = Acc(s0 + Acc(x[i])));
      y[ys + i] = Out(s1 = Acc(s1 + Acc(x[xs + i])));
      y[2 * ys + i] = Out(s2 = Acc(s2 + Acc(x[2 * xs + i])));
      y[3 * ys + i] = Out(s3 = Acc(s3 + Acc(x[3 * xs + i])));
    }
  }
  for (; r < a.rows; ++r, x += xs, y += ys) {
    Acc sum = 0;
    for (Index i = 0; i < a.n; ++i) y[i] = Out(sum = Acc(sum + Acc(x[i])));
  }
}

template <class T, class Acc, class Out>
void cols(const CumsumCols& a) {
  Acc* carry = static_cast<Acc*>(a.carry);
  for (Index c = 0; c < a.cols; ++c) carry[c] = 0;
  for (Index i = 0; i < a.n; ++i) {
    const T* x = static_cast<const T*>(a.x) + i * a.x_stride;
    Out* y = static_cast<Out*>(a.y) + i * a.y_stride;
    for (Index c = 0; c < a.cols; ++c) {
      carry[c] = Acc(carry[c] + Acc(x[c]));
      y[c] = Out(carry[c]);
    }
  }
}

}  // namespace

// Integers wrap around: unsigned arithmetic, same bits.
#define GS_DEFINE(T, Acc, Out, dtype)                                     \
  void cumsum_rows_##dtype(const CumsumRows& a) { rows<T, Acc, Out>(a); } \
  void cumsum_cols_##dtype(const CumsumCols& a) { cols<T, Acc, Out>(a); }
GS_DEFINE(float, double, float, f32)
GS_DEFINE(double, double, double, f64)
GS_DEFINE(std::int64_t, std::uint64_t, std::int64_t, i64)
GS_DEFINE(std::int32_t, std::uint64_t, std::int64_t, i32)
GS_DEFINE(std::uint8_t, std::uint64_t, std::int64_t, u8)
GS_DEFINE(std::uint8_t, std::uint64_t, std::int64_t, b8)
#undef GS_DEFINE

}  // namespace gradsmith::kernels::GS_ISA
