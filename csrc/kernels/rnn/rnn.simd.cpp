// The gate arithmetic of one step, vectorised across hidden units. Five transcendental functions an
// element of LSTM make it compute bound; everything it reads was just written by the GEMM.
#include "kernels/rnn/rnn.h"
#include "kernels/simd/math.h"
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

// A whole vector, and the last n lanes. A null pointer reads as zeros where `maybe` is used.
template <class V>
struct Whole {
  using T = typename V::T;
  V get(const T* p) const { return load(p); }
  V maybe(const T* p, std::int64_t at) const { return p ? load(p + at) : V::zero(); }
  void put(T* p, V v) const { store(p, v); }
};
template <class V>
struct Tail {
  using T = typename V::T;
  int n;
  V get(const T* p) const { return load_n(p, n); }
  V maybe(const T* p, std::int64_t at) const { return p ? load_n(p + at, n) : V::zero(); }
  void put(T* p, V v) const { store_n(p, v, n); }
};

template <class V, class Body>
inline void each_vector(std::int64_t width, const Body& body) {
  std::int64_t j = 0;
  for (; j + V::N <= width; j += V::N) body(j, Whole<V>{});
  if (j < width) body(j, Tail<V>{int(width - j)});
}

template <class T>
inline T* at(void* p, std::int64_t i) {
  return static_cast<T*>(p) + i;
}
template <class T>
inline const T* at(const void* p, std::int64_t i) {
  return p ? static_cast<const T*>(p) + i : nullptr;
}

template <class Args>
inline bool takes_part(const Args& a, std::int64_t b) {
  return !a.lengths || a.t < a.lengths[b];
}

// State of a row that does not take part: handed on.
template <class T>
inline void hand_on(const RnnCell& a, std::int64_t b, int gates) {
  const T* h_prev = at<T>(a.h_prev, b * a.h_prev_row);
  const T* c_prev = at<T>(a.c_prev, b * a.c_prev_row);
  for (std::int64_t j = 0; j < a.width; ++j) {
    for (int k = 0; k < gates; ++k) at<T>(a.gates, b * a.gates_row + k * a.gate)[j] = 0;
    at<T>(a.h, b * a.h_row)[j] = h_prev ? h_prev[j] : T(0);
    if (a.c) at<T>(a.c, b * a.c_row)[j] = c_prev ? c_prev[j] : T(0);
    at<T>(a.y, b * a.y_row)[j] = 0;
  }
}

// The row of dgates of a batch element that does not take part.
template <class T>
inline void no_gradient(const RnnCellBackward& a, std::int64_t b, int gates) {
  for (int k = 0; k < gates; ++k) {
    T* d = at<T>(a.dgates, b * a.dgates_row + k * a.gate);
    for (std::int64_t j = 0; j < a.width; ++j) d[j] = 0;
  }
}

// ---- LSTM ----

template <class T>
void lstm(const RnnCell& a) {
  using V = Vec<T>;
  for (std::int64_t b = 0; b < a.rows; ++b) {
    if (!takes_part(a, b)) {
      hand_on<T>(a, b, 4);
      continue;
    }
    T* const pi = at<T>(a.gates, b * a.gates_row);
    T *const pf = pi + a.gate, *const pg = pf + a.gate, *const po = pg + a.gate;
    const T* const c_prev = at<T>(a.c_prev, b * a.c_prev_row);
    T *const c = at<T>(a.c, b * a.c_row), *const h = at<T>(a.h, b * a.h_row);
    T* const y = at<T>(a.y, b * a.y_row);
    each_vector<V>(a.width, [=](std::int64_t j, auto lanes) {
      const V i = sigmoid(lanes.get(pi + j)), f = sigmoid(lanes.get(pf + j));
      const V g = tanh(lanes.get(pg + j)), o = sigmoid(lanes.get(po + j));
      const V cell = fma(f, lanes.maybe(c_prev, j), i * g);
      const V out = o * tanh(cell);
      lanes.put(pi + j, i);
      lanes.put(pf + j, f);
      lanes.put(pg + j, g);
      lanes.put(po + j, o);
      lanes.put(c + j, cell);
      lanes.put(h + j, out);
      lanes.put(y + j, out);
    });
  }
}

template <class T>
void lstm_backward(const RnnCellBackward& a) {
  using V = Vec<T>;
  for (std::int64_t b = 0; b < a.rows; ++b) {
    if (!takes_part(a, b)) {
      no_gradient<T>(a, b, 4);
      continue;
    }
    const T* const pi = at<T>(a.gates, b * a.gates_row);
    const T *const pf = pi + a.gate, *const pg = pf + a.gate, *const po = pg + a.gate;
    const T* const c_prev = at<T>(a.c_prev, b * a.c_prev_row);
    const T* const c = at<T>(a.c, b * a.c_row);
    const T* const dy = at<T>(a.dy, b * a.dy_row);
    T *const dh = at<T>(a.dh, b * a.dh_row), *const dc = at<T>(a.dc, b * a.dc_row);
    T* const di = at<T>(a.dgates, b * a.dgates_row);
    T *const df = di + a.gate, *const dg = df + a.gate, *const d_o = dg + a.gate;
    each_vector<V>(a.width, [=](std::int64_t j, auto lanes) {
      const V one = V::set(T(1));
      const V i = lanes.get(pi + j), f = lanes.get(pf + j), g = lanes.get(pg + j);
      const V o = lanes.get(po + j), squashed = tanh(lanes.get(c + j));
      const V out = lanes.get(dh + j) + lanes.maybe(dy, j);
      const V cell = fma(out * o, fnma(squashed, squashed, one), lanes.get(dc + j));
      lanes.put(di + j, cell * g * (i * (one - i)));
      lanes.put(df + j, cell * lanes.maybe(c_prev, j) * (f * (one - f)));
      lanes.put(dg + j, cell * i * fnma(g, g, one));
      lanes.put(d_o + j, out * squashed * (o * (one - o)));
      lanes.put(dc + j, cell * f);
      lanes.put(dh + j, V::zero());
    });
  }
}

// ---- GRU ----

template <class T>
void gru(const RnnCell& a) {
  using V = Vec<T>;
  for (std::int64_t b = 0; b < a.rows; ++b) {
    if (!takes_part(a, b)) {
      hand_on<T>(a, b, 4);
      continue;
    }
    T* const pr = at<T>(a.gates, b * a.gates_row);
    T *const pz = pr + a.gate, *const pn = pz + a.gate, *const pm = pn + a.gate;
    const T* const h_prev = at<T>(a.h_prev, b * a.h_prev_row);
    T *const h = at<T>(a.h, b * a.h_row), *const y = at<T>(a.y, b * a.y_row);
    each_vector<V>(a.width, [=](std::int64_t j, auto lanes) {
      const V r = sigmoid(lanes.get(pr + j)), z = sigmoid(lanes.get(pz + j));
      const V n = tanh(fma(r, lanes.get(pm + j), lanes.get(pn + j)));
      const V out = fma(z, lanes.maybe(h_prev, j) - n, n);
      lanes.put(pr + j, r);
      lanes.put(pz + j, z);
      lanes.put(pn + j, n);
      lanes.put(h + j, out);
      lanes.put(y + j, out);
    });
  }
}

template <class T>
void gru_backward(const RnnCellBackward& a) {
  using V = Vec<T>;
  for (std::int64_t b = 0; b < a.rows; ++b) {
    if (!takes_part(a, b)) {
      no_gradient<T>(a, b, 4);
      continue;
    }
    const T* const pr = at<T>(a.gates, b * a.gates_row);
    const T *const pz = pr + a.gate, *const pn = pz + a.gate, *const pm = pn + a.gate;
    const T* const h_prev = at<T>(a.h_prev, b * a.h_prev_row);
    const T* const dy = at<T>(a.dy, b * a.dy_row);
    T* const dh = at<T>(a.dh, b * a.dh_row);
    T* const dr = at<T>(a.dgates, b * a.dgates_row);
    T *const dz = dr + a.gate, *const dn = dz + a.gate, *const dm = dn + a.gate;
    each_vector<V>(a.width, [=](std::int64_t j, auto lanes) {
      const V one = V::set(T(1));
      const V r = lanes.get(pr + j), z = lanes.get(pz + j), n = lanes.get(pn + j);
      const V out = lanes.get(dh + j) + lanes.maybe(dy, j);
      const V inner = out * (one - z) * fnma(n, n, one);
      lanes.put(dr + j, inner * lanes.get(pm + j) * (r * (one - r)));
      lanes.put(dz + j, out * (lanes.maybe(h_prev, j) - n) * (z * (one - z)));
      lanes.put(dn + j, inner);
      lanes.put(dm + j, inner * r);
      lanes.put(dh + j, out * z);
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
    if (!takes_part(a, b)) {
      hand_on<T>(a, b, 1);
      continue;
    }
    T* const gate = at<T>(a.gates, b * a.gates_row);
    T *const h = at<T>(a.h, b * a.h_row), *const y = at<T>(a.y, b * a.y_row);
    each_vector<V>(a.width, [=](std::int64_t j, auto lanes) {
      const V out = function.value(lanes.get(gate + j));
      lanes.put(gate + j, out);
      lanes.put(h + j, out);
      lanes.put(y + j, out);
    });
  }
}

template <class T, class F>
void plain_backward(const RnnCellBackward& a, F function) {
  using V = Vec<T>;
  for (std::int64_t b = 0; b < a.rows; ++b) {
    if (!takes_part(a, b)) {
      no_gradient<T>(a, b, 1);
      continue;
    }
    const T* const gate = at<T>(a.gates, b * a.gates_row);
    const T* const dy = at<T>(a.dy, b * a.dy_row);
    T *const dh = at<T>(a.dh, b * a.dh_row), *const d = at<T>(a.dgates, b * a.dgates_row);
    each_vector<V>(a.width, [=](std::int64_t j, auto lanes) {
      const V out = lanes.get(dh + j) + lanes.maybe(dy, j);
      lanes.put(d + j, out * function.slope(lanes.get(gate + j)));
      lanes.put(dh + j, V::zero());
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
