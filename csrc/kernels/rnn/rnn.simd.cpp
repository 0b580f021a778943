// The gate arithmetic of one step, vectorised across hidden units. Five transcendental functions an
// element of LSTM make it compute bound; everything it reads was just written by the GEMM.
#include "kernels/rnn/rnn.h"
#include "kernels/simd/math.h"
#include "kernels/simd/sweep.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// A null pointer reads as zeros.
template <class T, class Part>
GS_INLINE Vec<T> maybe(const T* p, std::int64_t at, Part part) {
  return p ? get(p + at, part) : Vec<T>::zero();
}

template <class T>
inline T* at(void* p, std::int64_t i) {
  return static_cast<T*>(p) + i;
}
template <class T>
inline const T* at(const void* p, std::int64_t i) {
  return p ? static_cast<const T*>(p) + i : nullptr;
}

// ---- LSTM ----

template <class T>
void lstm(const RnnCell& a) {
  using V = Vec<T>;
  for (std::int64_t b = 0; b < a.rows; ++b) {
    T* const pi = at<T>(a.gates, b * a.gates_row);
    T *const pf = pi + a.gate, *const pg = pf + a.gate, *const po = pg + a.gate;
    const T* const c_prev = at<T>(a.c_prev, b * a.c_prev_row);
    T *const c = at<T>(a.c, b * a.c_row), *const h = at<T>(a.h, b * a.h_row);
    T* const y = at<T>(a.y, b * a.y_row);
    sweep<V>(a.width, [=](Index j, auto part) {
      const V i = sigmoid(get(pi + j, part)), f = sigmoid(get(pf + j, part));
      const V g = tanh(get(pg + j, part)), o = sigmoid(get(po + j, part));
      const V cell = fma(f, maybe(c_prev, j, part), i * g);
      const V out = o * tanh(cell);
      put(pi + j, i, part);
      put(pf + j, f, part);
      put(pg + j, g, part);
      put(po + j, o, part);
      put(c + j, cell, part);
      put(h + j, out, part);
      put(y + j, out, part);
    });
  }
}

template <class T>
void lstm_backward(const RnnCellBackward& a) {
  using V = Vec<T>;
  for (std::int64_t b = 0; b < a.rows; ++b) {
    const T* const pi = at<T>(a.gates, b * a.gates_row);
    const T *const pf = pi + a.gate, *const pg = pf + a.gate, *const po = pg + a.gate;
    const T* const c_prev = at<T>(a.c_prev, b * a.c_prev_row);
    const T* const c = at<T>(a.c, b * a.c_row);
    const T* const dy = at<T>(a.dy, b * a.dy_row);
    T *const dh = at<T>(a.dh, b * a.dh_row), *const dc = at<T>(a.dc, b * a.dc_row);
    T* const di = at<T>(a.dgates, b * a.dgates_row);
    T *const df = di + a.gate, *const dg = df + a.gate, *const d_o = dg + a.gate;
    sweep<V>(a.width, [=](Index j, auto part) {
      const V one = V::set(T(1));
      const V i = get(pi + j, part), f = get(pf + j, part), g = get(pg + j, part);
      const V o = get(po + j, part), squashed = tanh(get(c + j, part));
      const V out = get(dh + j, part) + maybe(dy, j, part);
      const V cell = fma(out * o, fnma(squashed, squashed, one), get(dc + j, part));
      put(di + j, cell * g * (i * (one - i)), part);
      put(df + j, cell * maybe(c_prev, j, part) * (f * (one - f)), part);
      put(dg + j, cell * i * fnma(g, g, one), part);
      put(d_o + j, out * squashed * (o * (one - o)), part);
      put(dc + j, cell * f, part);
      put(dh + j, V::zero(), part);
    });
  }
}

// ---- GRU ----

template <class T>
void gru(const RnnCell& a) {
  using V = Vec<T>;
  for (std::int64_t b = 0; b < a.rows; ++b) {
    T* const pr = at<T>(a.gates, b * a.gates_row);
    T *const pz = pr + a.gate, *const pn = pz + a.gate, *const pm = pn + a.gate;
    const T* const h_prev = at<T>(a.h_prev, b * a.h_prev_row);
    T *const h = at<T>(a.h, b * a.h_row), *const y = at<T>(a.y, b * a.y_row);
    sweep<V>(a.width, [=](Index j, auto part) {
      const V r = sigmoid(get(pr + j, part)), z = sigmoid(get(pz + j, part));
      const V n = tanh(fma(r, get(pm + j, part), get(pn + j, part)));
      const V out = fma(z, maybe(h_prev, j, part) - n, n);
      put(pr + j, r, part);
      put(pz + j, z, part);
      put(pn + j, n, part);
      put(h + j, out, part);
      put(y + j, out, part);
    });
  }
}

template <class T>
void gru_backward(const RnnCellBackward& a) {
  using V = Vec<T>;
  for (std::int64_t b = 0; b < a.rows; ++b) {
    const T* const pr = at<T>(a.gates, b * a.gates_row);
    const T *const pz = pr + a.gate, *const pn = pz + a.gate, *const pm = pn + a.gate;
    const T* const h_prev = at<T>(a.h_prev, b * a.h_prev_row);
    const T* const dy = at<T>(a.dy, b * a.dy_row);
    T* const dh = at<T>(a.dh, b * a.dh_row);
    T* const dr = at<T>(a.dgates, b * a.dgates_row);
    T *const dz = dr + a.gate, *const dn = dz + a.gate, *const dm = dn + a.gate;
    sweep<V>(a.width, [=](Index j, auto part) {
      const V one = V::set(T(1));
      const V r = get(pr + j, part), z = get(pz + j, part), n = get(pn + j, part);
      const V out = get(dh + j, part) + maybe(dy, j, part);
      const V inner = out * (one - z) * fnma(n, n, one);
      put(dr + j, inner * get(pm + j, part) * (r * (one - r)), part);
      put(dz + j, out * (maybe(h_prev, j, part) - n) * (z * (one - z)), part);
      put(dn + j, inner, part);
      put(dm + j, inner * r, part);
      put(dh + j, out * z, part);
    });
  }
}

// ---- Plain RNN ----

struct Tanh {
  template <class V>
  V value(V x) const {
    return tanh(x);
  }
  template <class V>
  V slope(V y) const {
    return fnma(y, y, V::set(1));
  }
};
struct Relu {  // NaN stays NaN
  template <class V>
  V value(V x) const {
    return select(lt(x, V::zero()), V::zero(), x);
  }
  template <class V>
  V slope(V y) const {
    return select(gt(y, V::zero()), V::set(1), V::zero());
  }
};

template <class T, class F>
void plain(const RnnCell& a, F function) {
  using V = Vec<T>;
  for (std::int64_t b = 0; b < a.rows; ++b) {
    T* const gate = at<T>(a.gates, b * a.gates_row);
    T *const h = at<T>(a.h, b * a.h_row), *const y = at<T>(a.y, b * a.y_row);
    sweep<V>(a.width, [=](Index j, auto part) {
      const V out = function.value(get(gate + j, part));
      put(gate + j, out, part);
      put(h + j, out, part);
      put(y + j, out, part);
    });
  }
}

template <class T, class F>
void plain_backward(const RnnCellBackward& a, F function) {
  using V = Vec<T>;
  for (std::int64_t b = 0; b < a.rows; ++b) {
    const T* const gate = at<T>(a.gates, b * a.gates_row);
    const T* const dy = at<T>(a.dy, b * a.dy_row);
    T *const dh = at<T>(a.dh, b * a.dh_row), *const d = at<T>(a.dgates, b * a.dgates_row);
    sweep<V>(a.width, [=](Index j, auto part) {
      const V out = get(dh + j, part) + maybe(dy, j, part);
      put(d + j, out * function.slope(get(gate + j, part)), part);
      put(dh + j, V::zero(), part);
    });
  }
}

// Four vectors of columns at a time, so that the adds of a row do not wait for each other.
template <class V, int vectors>
inline void sum_strip(const ColumnSum& a, std::int64_t j) {
  using T = typename V::T;
  constexpr std::int64_t kBlock = 64;
  const T* const x = at<T>(a.x, j);
  T* const out = at<T>(a.out, j);
  const int n = a.columns - j < V::N ? int(a.columns - j) : V::N;
  V total[vectors];
  for (int v = 0; v < vectors; ++v) total[v] = V::zero();
  for (std::int64_t begin = 0; begin < a.rows; begin += kBlock) {
    const std::int64_t end = a.rows - begin < kBlock ? a.rows : begin + kBlock;
    V block[vectors];
    for (int v = 0; v < vectors; ++v) block[v] = V::zero();
    for (std::int64_t i = begin; i < end; ++i) {
      const T* const row = x + i * a.x_row;
      if constexpr (vectors == 1) {
        block[0] = block[0] + load_n(row, n);
      } else {
        for (int v = 0; v < vectors; ++v) block[v] = block[v] + load(row + v * V::N);
      }
    }
    for (int v = 0; v < vectors; ++v) total[v] = total[v] + block[v];
  }
  if constexpr (vectors == 1) {
    store_n(out, total[0], n);
  } else {
    for (int v = 0; v < vectors; ++v) store(out + v * V::N, total[v]);
  }
}

template <class T>
void sum_columns(const ColumnSum& a) {
  using V = Vec<T>;
  std::int64_t j = 0;
  for (; j + 4 * V::N <= a.columns; j += 4 * V::N) sum_strip<V, 4>(a, j);
  for (; j < a.columns; j += V::N) sum_strip<V, 1>(a, j);
}

}  // namespace

#define GS_RNN(tag, T)                                                                          \
  void lstm_cell_##tag(const RnnCell& a) { lstm<T>(a); }                                        \
  void gru_cell_##tag(const RnnCell& a) { gru<T>(a); }                                          \
  void rnn_tanh_cell_##tag(const RnnCell& a) { plain<T>(a, Tanh{}); }                           \
  void rnn_relu_cell_##tag(const RnnCell& a) { plain<T>(a, Relu{}); }                           \
  void lstm_cell_backward_##tag(const RnnCellBackward& a) { lstm_backward<T>(a); }              \
  void gru_cell_backward_##tag(const RnnCellBackward& a) { gru_backward<T>(a); }                \
  void rnn_tanh_cell_backward_##tag(const RnnCellBackward& a) { plain_backward<T>(a, Tanh{}); } \
  void rnn_relu_cell_backward_##tag(const RnnCellBackward& a) { plain_backward<T>(a, Relu{}); } \
  void column_sum_##tag(const ColumnSum& a) { sum_columns<T>(a); }
GS_RNN(f32, float)
GS_RNN(f64, double)
#undef GS_RNN

}  // namespace gradsmith::kernels::GS_ISA
