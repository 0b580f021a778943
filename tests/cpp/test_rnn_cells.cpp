// The leaf kernels of LSTM, GRU and plain RNN, every target's against the reference.
#include "kernel_testing.h"
#include "kernels/rnn/rnn.h"

namespace {

using namespace gradsmith;
using namespace gradsmith::kernels;
using namespace gradsmith::testing;

template <class T>
constexpr double kTolerance = sizeof(T) == 4 ? 1e-5 : 1e-13;

constexpr RnnKind kKinds[] = {RnnKind::lstm, RnnKind::gru, RnnKind::rnn_tanh, RnnKind::rnn_relu};
const char* name_of(RnnKind kind) {
  const char* names[] = {"lstm", "gru", "rnn_tanh", "rnn_relu"};
  return names[int(kind)];
}

template <class Fn>
Fn* reference_of(const Kernel<Fn>& op, DType dtype) {
  return op.fn[int(dtype)][int(Target::reference)];
}

template <class T>
void near(const T* got, const T* want, std::int64_t n, double tolerance, const std::string& what) {
  for (std::int64_t i = 0; i < n; ++i) {
    const double g = got[i], w = want[i];
    report(
        std::fabs(g - w) <= tolerance * (1 + std::fabs(w)),
        what + "[" + std::to_string(i) + "]: " + std::to_string(g) + " for " + std::to_string(w));
  }
}

template <class T>
void fill(Poisoned<T>& p, const std::vector<T>& values) {
  for (std::int64_t i = 0; i < p.size(); ++i) p.data()[i] = values[std::size_t(i)];
}

template <class T>
void check_cells(const std::string& target) {
  constexpr DType dtype = dtype_of<T>;
  const Kernel<lstm_cell_fn>* forward[] = {&lstm_cell, &gru_cell, &rnn_tanh_cell, &rnn_relu_cell};
  const Kernel<lstm_cell_backward_fn>* backward[] = {
      &lstm_cell_backward, &gru_cell_backward, &rnn_tanh_cell_backward, &rnn_relu_cell_backward};
  for (RnnKind kind : kKinds) {
    for (std::int64_t width : {1, 3, 7, 8, 17, 33}) {
      for (const bool zero_state : {false, true}) {
        const std::int64_t rows = 3, gate = width + 1, wide = 4 * gate, n = rows * width;
        const auto values = random_values<T>(rows * wide, 1), h = random_values<T>(n, 2);
        const auto c = random_values<T>(n, 3), dy = random_values<T>(n, 4);
        const auto dh = random_values<T>(n, 5), dc = random_values<T>(n, 6);
        std::vector<Poisoned<T>> results[2];
        for (int side = 0; side < 2; ++side) {  // 0: the target, 1: the reference
          auto& out = results[side];
          for (int i = 0; i < 7; ++i) out.emplace_back(i == 0 || i == 4 ? rows * wide : n);
          fill(out[0], values);
          fill(out[5], dh);
          fill(out[6], dc);
          const bool lstm = kind == RnnKind::lstm;
          const RnnCell cell{.rows = rows,
                             .width = width,
                             .gates = out[0].data(),
                             .gates_row = wide,
                             .gate = gate,
                             .h_prev = zero_state ? nullptr : h.data(),
                             .h_prev_row = width,
                             .c_prev = zero_state ? nullptr : c.data(),
                             .c_prev_row = width,
                             .c = lstm ? out[1].data() : nullptr,
                             .c_row = width,
                             .h = out[2].data(),
                             .h_row = width,
                             .y = out[3].data(),
                             .y_row = width};
          const RnnCellBackward back{.rows = rows,
                                     .width = width,
                                     .gates = out[0].data(),
                                     .gates_row = wide,
                                     .gate = gate,
                                     .h_prev = cell.h_prev,
                                     .h_prev_row = width,
                                     .c_prev = cell.c_prev,
                                     .c_prev_row = width,
                                     .c = out[1].data(),
                                     .c_row = width,
                                     .dy = zero_state ? nullptr : dy.data(),
                                     .dy_row = width,
                                     .dh = out[5].data(),
                                     .dh_row = width,
                                     .dc = out[6].data(),
                                     .dc_row = width,
                                     .dgates = out[4].data(),
                                     .dgates_row = wide};
          const auto& op = *forward[int(kind)];
          const auto& op_back = *backward[int(kind)];
          (side ? reference_of(op, dtype) : op.pick(dtype))(cell);
          (side ? reference_of(op_back, dtype) : op_back.pick(dtype))(back);
        }
        for (int i = 0; i < 7; ++i) {
          const std::string what = std::string(name_of(kind)) + " cell array " + std::to_string(i) +
                                   " width " + std::to_string(width) +
                                   (zero_state ? " no state " : " ") + target;
          report(results[0][std::size_t(i)].frame_intact(), what + " wrote outside");
          const auto &got = results[0][std::size_t(i)], &want = results[1][std::size_t(i)];
          for (std::int64_t k = 0; k < got.size(); ++k) {
            const double g = got[k], w = want[k];
            const bool same = std::isnan(g)
                                  ? std::isnan(w)  // never written by either
                                  : std::fabs(g - w) <= kTolerance<T> * (1 + std::fabs(w));
            report(same, what + "[" + std::to_string(k) + "]: " + std::to_string(g) + " for " +
                             std::to_string(w));
          }
        }
      }
    }
  }
}

template <class T>
void check_column_sum(const std::string& target) {
  for (std::int64_t columns : {1, 3, 7, 17, 33, 100}) {
    for (std::int64_t rows : {0, 1, 63, 64, 65, 300}) {
      const auto x = random_values<T>(rows * (columns + 1), 1);
      Poisoned<T> got(columns), want(columns);
      column_sum.pick(dtype_of<T>)({got.data(), x.data(), rows, columns, columns + 1});
      reference_of(column_sum, dtype_of<T>)({want.data(), x.data(), rows, columns, columns + 1});
      near(got.data(), want.data(), columns, kTolerance<T> * 3, "column_sum " + target);
      report(got.frame_intact(), "column_sum wrote outside " + target);
    }
  }
}

}  // namespace

int main() {
  for_each_target([](const std::string& target) {
    check_cells<float>(target);
    check_cells<double>(target);
    check_column_sum<float>(target);
    check_column_sum<double>(target);
  });
  return finish("test_rnn_cells");
}
