// One step of each recurrent cell as its formulas read, in double.
#include <cmath>

#include "kernels/rnn/rnn.h"

namespace gradsmith::kernels::reference {
namespace {

double logistic(double x) { return 1 / (1 + std::exp(-x)); }
double square(double x) { return x * x; }

template <class T>
T* at(void* p, std::int64_t i) {
  return static_cast<T*>(p) + i;
}
template <class T>
double read(const void* p, std::int64_t i) {
  return p ? double(static_cast<const T*>(p)[i]) : 0.0;
}

template <class Args, class Step>
void each(const Args& a, const Step& step) {
  for (std::int64_t b = 0; b < a.rows; ++b) {
    for (std::int64_t j = 0; j < a.width; ++j) step(b, j);
  }
}

template <class T>
void put_output(const RnnCell& a, std::int64_t b, std::int64_t j, double h) {
  *at<T>(a.h, b * a.h_row + j) = *at<T>(a.y, b * a.y_row + j) = T(h);
}

template <class T>
void lstm(const RnnCell& a) {
  each(a, [&](std::int64_t b, std::int64_t j) {
    T* gate = at<T>(a.gates, b * a.gates_row + j);
    const double i = logistic(gate[0]), f = logistic(gate[a.gate]);
    const double g = std::tanh(double(gate[2 * a.gate])), o = logistic(gate[3 * a.gate]);
    const double c = f * read<T>(a.c_prev, b * a.c_prev_row + j) + i * g;
    gate[0] = T(i);
    gate[a.gate] = T(f);
    gate[2 * a.gate] = T(g);
    gate[3 * a.gate] = T(o);
    *at<T>(a.c, b * a.c_row + j) = T(c);
    put_output<T>(a, b, j, o * std::tanh(c));
  });
}

template <class T>
void lstm_backward(const RnnCellBackward& a) {
  each(a, [&](std::int64_t b, std::int64_t j) {
    const std::int64_t gate = b * a.gates_row + j;
    const double i = read<T>(a.gates, gate), f = read<T>(a.gates, gate + a.gate);
    const double g = read<T>(a.gates, gate + 2 * a.gate);
    const double o = read<T>(a.gates, gate + 3 * a.gate);
    const double squashed = std::tanh(read<T>(a.c, b * a.c_row + j));
    T &dh = *at<T>(a.dh, b * a.dh_row + j), &dc = *at<T>(a.dc, b * a.dc_row + j);
    const double out = dh + read<T>(a.dy, b * a.dy_row + j);
    const double cell = dc + out * o * (1 - square(squashed));
    T* d = at<T>(a.dgates, b * a.dgates_row + j);
    d[0] = T(cell * g * i * (1 - i));
    d[a.gate] = T(cell * read<T>(a.c_prev, b * a.c_prev_row + j) * f * (1 - f));
    d[2 * a.gate] = T(cell * i * (1 - square(g)));
    d[3 * a.gate] = T(out * squashed * o * (1 - o));
    dc = T(cell * f);
    dh = 0;
  });
}

template <class T>
void gru(const RnnCell& a) {
  each(a, [&](std::int64_t b, std::int64_t j) {
    T* gate = at<T>(a.gates, b * a.gates_row + j);
    const double r = logistic(gate[0]), z = logistic(gate[a.gate]);
    const double n = std::tanh(gate[2 * a.gate] + r * gate[3 * a.gate]);
    gate[0] = T(r);
    gate[a.gate] = T(z);
    gate[2 * a.gate] = T(n);
    put_output<T>(a, b, j, (1 - z) * n + z * read<T>(a.h_prev, b * a.h_prev_row + j));
  });
}

template <class T>
void gru_backward(const RnnCellBackward& a) {
  each(a, [&](std::int64_t b, std::int64_t j) {
    const std::int64_t gate = b * a.gates_row + j;
    const double r = read<T>(a.gates, gate), z = read<T>(a.gates, gate + a.gate);
    const double n = read<T>(a.gates, gate + 2 * a.gate);
    const double m = read<T>(a.gates, gate + 3 * a.gate);
    T& dh = *at<T>(a.dh, b * a.dh_row + j);
    const double out = dh + read<T>(a.dy, b * a.dy_row + j);
    const double inner = out * (1 - z) * (1 - square(n));
    T* d = at<T>(a.dgates, b * a.dgates_row + j);
    d[0] = T(inner * m * r * (1 - r));
    d[a.gate] = T(out * (read<T>(a.h_prev, b * a.h_prev_row + j) - n) * z * (1 - z));
    d[2 * a.gate] = T(inner);
    d[3 * a.gate] = T(inner * r);
    dh = T(out * z);
  });
}

template <class T, class F>
void plain(const RnnCell& a, const F& function) {
  each(a, [&](std::int64_t b, std::int64_t j) {
    T& gate = *at<T>(a.gates, b * a.gates_row + j);
    gate = T(function(double(gate)));
    put_output<T>(a, b, j, gate);
  });
}

template <class T, class F>
void plain_backward(const RnnCellBackward& a, const F& slope) {
  each(a, [&](std::int64_t b, std::int64_t j) {
    T& dh = *at<T>(a.dh, b * a.dh_row + j);
    const double out = dh + read<T>(a.dy, b * a.dy_row + j);
    *at<T>(a.dgates, b * a.dgates_row + j) = T(out * slope(read<T>(a.gates, b * a.gates_row + j)));
    dh = 0;
  });
}

double tanh_value(double x) { return std::tanh(x); }
double tanh_slope(double y) { return 1 - y * y; }
double relu_value(double x) { return x < 0 ? 0 : x; }
double relu_slope(double y) { return y > 0 ? 1 : 0; }

template <class T>
void sum_columns(const ColumnSum& a) {
  for (std::int64_t j = 0; j < a.columns; ++j) {
    double sum = 0;
    for (std::int64_t i = 0; i < a.rows; ++i) sum += read<T>(a.x, i * a.x_row + j);
    *at<T>(a.out, j) = T(sum);
  }
}

}  // namespace

#define GS_RNN(tag, T)                                                             \
  void lstm_cell_##tag(const RnnCell& a) { lstm<T>(a); }                           \
  void gru_cell_##tag(const RnnCell& a) { gru<T>(a); }                             \
  void rnn_tanh_cell_##tag(const RnnCell& a) { plain<T>(a, tanh_value); }          \
  void rnn_relu_cell_##tag(const RnnCell& a) { plain<T>(a, relu_value); }          \
  void lstm_cell_backward_##tag(const RnnCellBackward& a) { lstm_backward<T>(a); } \
  void gru_cell_backward_##tag(const RnnCellBackward& a) { gru_backward<T>(a); }   \
  void rnn_tanh_cell_backward_##tag(const RnnCellBackward& a) {                    \
    plain_backward<T>(a, tanh_slope);                                              \
  }                                                                                \
  void rnn_relu_cell_backward_##tag(const RnnCellBackward& a) {                    \
    plain_backward<T>(a, relu_slope);                                              \
  }                                                                                \
  void column_sum_##tag(const ColumnSum& a) { sum_columns<T>(a); }
GS_RNN(f32, float)
GS_RNN(f64, double)
#undef GS_RNN

}  // namespace gradsmith::kernels::reference
