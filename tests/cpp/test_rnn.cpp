// LSTM, GRU and plain RNN: cells of every target against the reference; whole sequences against
// plain loops in double; gradients against finite differences; layouts, directions, lengths; the
// same bits for any number of threads, with and without memory for the backward pass.
#include <algorithm>
#include <cstring>

#include "kernel_testing.h"
#include "kernels/rnn/rnn.h"
#include "runtime/parallel.h"

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

// ---- Cells ----

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

// ---- Whole sequences ----

// One layer with everything that goes in and comes out.
template <class T>
struct Layer {
  RnnShape s;
  std::int64_t rows, gates;
  bool with_bias, with_state;
  std::vector<std::int64_t> lengths, batch_sizes;  // batch_sizes: of a packed batch
  std::vector<T> x, w_ih, w_hh, b_ih, b_hh, h0, c0;
  std::vector<T> dy, dhT, dcT;  // the loss is their product with the outputs
  std::vector<T> y, hT, cT, reserve;
  std::vector<T> dx, dw_ih, dw_hh, db_ih, db_hh, dh0, dc0;
  static constexpr std::int64_t kPad = 2;  // columns between rows of x and y, never touched

  Layer(RnnShape shape, bool bias, bool state, std::vector<std::int64_t> element_lengths = {})
      : s(shape),
        rows(s.steps * s.batch),
        gates(rnn_gates(s.kind) * s.hidden),
        with_bias(bias),
        with_state(state),
        lengths(std::move(element_lengths)) {
    if (lengths.empty()) {
      lengths.assign(std::size_t(s.batch), s.steps);
    } else {
      rows = 0;
      for (std::int64_t t = 0; t < s.steps; ++t) {
        const auto runs = [t](std::int64_t length) { return length > t; };
        batch_sizes.push_back(std::count_if(lengths.begin(), lengths.end(), runs));
        rows += batch_sizes.back();
      }
    }
    const auto draw = [](std::int64_t n, unsigned seed, double scale) {
      const auto values = random_values<double>(n, seed);
      std::vector<T> out(values.size());
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = T(scale * values[i]);
      return out;
    };
    const double scale = 1 / std::sqrt(double(s.hidden));
    const std::int64_t states = s.batch * s.hidden;
    x = draw(rows * x_row(), 1, 1);
    w_ih = draw(gates * s.input, 2, scale);
    w_hh = draw(gates * s.hidden, 3, scale);
    b_ih = draw(gates, 4, scale);
    b_hh = draw(gates, 5, scale);
    h0 = draw(states, 6, 1);
    c0 = draw(states, 7, 1);
    dy = draw(rows * y_row(), 8, 1);
    dhT = draw(states, 9, 1);
    dcT = draw(states, 10, 1);
  }
  std::int64_t x_row() const { return s.input + kPad; }
  std::int64_t y_row() const { return s.hidden + kPad; }
  RnnShape shape() const {
    RnnShape copy = s;
    copy.batch_sizes = batch_sizes.empty() ? nullptr : batch_sizes.data();
    return copy;
  }

  void forward(bool keep) {
    const T nan = std::numeric_limits<T>::quiet_NaN();
    const auto states = std::size_t(s.batch * s.hidden);
    y.assign(std::size_t(rows * y_row()), nan);
    hT.assign(states, nan);
    cT.assign(states, nan);
    const RnnShape now = shape();
    if (keep) reserve.assign(rnn_reserve_bytes(dtype_of<T>, now) / sizeof(T), nan);
    rnn_forward(dtype_of<T>, {.shape = now,
                              .x = x.data(),
                              .x_row = x_row(),
                              .w_ih = w_ih.data(),
                              .w_hh = w_hh.data(),
                              .b_ih = with_bias ? b_ih.data() : nullptr,
                              .b_hh = with_bias ? b_hh.data() : nullptr,
                              .h0 = with_state ? h0.data() : nullptr,
                              .c0 = with_state ? c0.data() : nullptr,
                              .y = y.data(),
                              .y_row = y_row(),
                              .hT = hT.data(),
                              .cT = s.kind == RnnKind::lstm ? cT.data() : nullptr,
                              .reserve = keep ? reserve.data() : nullptr});
  }

  void backward() {
    const T nan = std::numeric_limits<T>::quiet_NaN();
    dx.assign(x.size(), nan);
    dw_ih.assign(w_ih.size(), nan);
    dw_hh.assign(w_hh.size(), nan);
    db_ih.assign(b_ih.size(), nan);
    db_hh.assign(b_hh.size(), nan);
    dh0.assign(h0.size(), nan);
    dc0.assign(c0.size(), nan);
    rnn_backward(dtype_of<T>, {.shape = shape(),
                               .x = x.data(),
                               .x_row = x_row(),
                               .w_ih = w_ih.data(),
                               .w_hh = w_hh.data(),
                               .h0 = with_state ? h0.data() : nullptr,
                               .c0 = with_state ? c0.data() : nullptr,
                               .y = y.data(),
                               .y_row = y_row(),
                               .reserve = reserve.data(),
                               .dy = dy.data(),
                               .dy_row = y_row(),
                               .dhT = dhT.data(),
                               .dcT = dcT.data(),
                               .dx = dx.data(),
                               .dx_row = x_row(),
                               .dw_ih = dw_ih.data(),
                               .dw_hh = dw_hh.data(),
                               .db_ih = db_ih.data(),
                               .db_hh = db_hh.data(),
                               .dh0 = dh0.data(),
                               .dc0 = dc0.data()});
  }

  std::int64_t row(std::int64_t t, std::int64_t b) const {
    if (batch_sizes.empty()) return s.batch_first ? b * s.steps + t : t * s.batch + b;
    for (std::int64_t i = 0; i < t; ++i) b += batch_sizes[std::size_t(i)];
    return b;
  }

  // The formulas, one number after the other. Returns the loss.
  double plain(std::vector<double>& out_y, std::vector<double>& out_h, std::vector<double>& out_c) {
    const auto logistic = [](double v) { return 1 / (1 + std::exp(-v)); };
    const std::int64_t H = s.hidden;
    out_y.assign(y.size() ? y.size() : std::size_t(rows * y_row()), 0.0);
    out_h.assign(std::size_t(s.batch * H), 0.0);
    out_c = out_h;
    double loss = 0;
    for (std::int64_t b = 0; b < s.batch; ++b) {
      std::vector<double> h(std::size_t(H), 0.0), c = h;
      for (std::size_t j = 0; with_state && j < h.size(); ++j) {
        h[j] = h0[std::size_t(b * H) + j];
        c[j] = c0[std::size_t(b * H) + j];
      }
      const std::int64_t length = lengths[std::size_t(b)];
      for (std::int64_t step = 0; step < length; ++step) {
        const std::int64_t t = s.reverse ? length - 1 - step : step;
        std::vector<double> in(std::size_t(gates), 0.0), rec = in, next = h;
        for (std::int64_t g = 0; g < gates; ++g) {
          double a = with_bias ? b_ih[std::size_t(g)] : 0, r = with_bias ? b_hh[std::size_t(g)] : 0;
          for (std::int64_t i = 0; i < s.input; ++i) {
            a += double(w_ih[std::size_t(g * s.input + i)]) *
                 x[std::size_t(row(t, b) * x_row() + i)];
          }
          for (std::int64_t j = 0; j < H; ++j) {
            r += double(w_hh[std::size_t(g * H + j)]) * h[std::size_t(j)];
          }
          in[std::size_t(g)] = a;
          rec[std::size_t(g)] = r;
        }
        for (std::int64_t j = 0; j < H; ++j) {
          const auto at = [&](int k) { return std::size_t(k * H + j); };
          const auto sum = [&](int k) { return in[at(k)] + rec[at(k)]; };
          double& cell = c[std::size_t(j)];
          double& out = next[std::size_t(j)];
          if (s.kind == RnnKind::lstm) {
            cell = logistic(sum(1)) * cell + logistic(sum(0)) * std::tanh(sum(2));
            out = logistic(sum(3)) * std::tanh(cell);
          } else if (s.kind == RnnKind::gru) {
            const double z = logistic(sum(1));
            const double n = std::tanh(in[at(2)] + logistic(sum(0)) * rec[at(2)]);
            out = (1 - z) * n + z * out;
          } else {
            out = s.kind == RnnKind::rnn_tanh ? std::tanh(sum(0)) : std::max(0.0, sum(0));
          }
          const auto i = std::size_t(row(t, b) * y_row() + j);
          out_y[i] = out;
          loss += out * dy[i];
        }
        h = next;
      }
      for (std::size_t j = 0; j < h.size(); ++j) {
        const std::size_t i = std::size_t(b * H) + j;
        out_h[i] = h[j];
        out_c[i] = c[j];
        loss += h[j] * dhT[i];
        if (s.kind == RnnKind::lstm) loss += c[j] * dcT[i];
      }
    }
    return loss;
  }
};

struct Size {
  std::int64_t steps, batch, input, hidden;
};
const Size kSizes[] = {{1, 1, 1, 1},  {3, 7, 17, 33}, {7, 3, 33, 17},
                       {17, 1, 3, 7}, {1, 33, 7, 3},  {33, 3, 1, 1}};

std::string describe(const RnnShape& s, int options) {
  return std::string(name_of(s.kind)) + " T,B,I,H " + std::to_string(s.steps) + "," +
         std::to_string(s.batch) + "," + std::to_string(s.input) + "," + std::to_string(s.hidden) +
         " options " + std::to_string(options);
}

// options: 1 batch_first, 2 reverse, 4 packed (and not batch_first), 8 no bias, 16 no initial state
template <class T>
Layer<T> make_layer(RnnKind kind, Size size, int options) {
  RnnShape shape{kind,        size.steps,         size.batch,        size.input,
                 size.hidden, (options & 5) == 1, (options & 2) != 0};
  std::vector<std::int64_t> lengths;
  for (std::int64_t b = 0; options & 4 && b < size.batch; ++b) {
    lengths.push_back((b * 7 + 3) % (size.steps + 1));
  }
  std::sort(lengths.rbegin(), lengths.rend());
  return Layer<T>(shape, !(options & 8), !(options & 16), lengths);
}

template <class T>
void check_forward(const std::string& target) {
  for (RnnKind kind : kKinds) {
    for (const Size& size : kSizes) {
      for (int options = 0; options < 32; ++options) {
        auto layer = make_layer<T>(kind, size, options);
        const std::string what = describe(layer.s, options) + " " + target;
        layer.forward(false);
        const auto y = layer.y, hT = layer.hT, cT = layer.cT;
        std::vector<double> want_y, want_h, want_c;
        layer.plain(want_y, want_h, want_c);
        for (std::int64_t r = 0; r < layer.rows; ++r) {
          for (std::int64_t j = 0; j < layer.y_row(); ++j) {
            const auto i = std::size_t(r * layer.y_row() + j);
            if (j >= size.hidden) {
              report(std::isnan(y[i]), what + ": wrote between rows of y");
            } else {
              report(std::fabs(y[i] - want_y[i]) <= kTolerance<T> * 4, what + ": y");
            }
          }
        }
        for (std::size_t i = 0; i < hT.size(); ++i) {
          report(std::fabs(hT[i] - want_h[i]) <= kTolerance<T> * 4, what + ": hT");
          report(kind != RnnKind::lstm || std::fabs(cT[i] - want_c[i]) <= kTolerance<T> * 4,
                 what + ": cT");
        }
        layer.forward(true);
        report(std::memcmp(layer.y.data(), y.data(), y.size() * sizeof(T)) == 0 && layer.hT == hT,
               what + ": keeping the reserve changes bits");
      }
    }
  }
}

// Central difference of the loss along a random direction of one input, in double.
double slope(Layer<double>& layer, std::vector<double>& input,
             const std::vector<double>& direction) {
  constexpr double kStep = 1e-7;  // relu's kink is then not crossed
  std::vector<double> y, h, c;
  const auto before = input;
  double loss[2];
  for (int side = 0; side < 2; ++side) {
    for (std::size_t i = 0; i < input.size(); ++i) {
      input[i] = before[i] + (side ? kStep : -kStep) * direction[i];
    }
    loss[side] = layer.plain(y, h, c);
  }
  input = before;
  return (loss[1] - loss[0]) / (2 * kStep);
}

void check_backward(const std::string& target) {
  for (RnnKind kind : kKinds) {
    for (const Size& size : kSizes) {
      for (int options = 0; options < 32; ++options) {
        auto layer = make_layer<double>(kind, size, options);
        const std::string what = describe(layer.s, options) + " " + target;
        layer.forward(true);
        layer.backward();
        const auto check = [&](std::vector<double>& input, const std::vector<double>& gradient,
                               std::int64_t width, std::int64_t row, const char* of) {
          const auto direction = random_values<double>(std::int64_t(input.size()), 11);
          double product = 0;
          for (std::size_t i = 0; i < input.size(); ++i) {
            if (std::int64_t(i) % row >= width) {
              report(std::isnan(gradient[i]), what + ": wrote between rows of d" + of);
            } else {
              product += gradient[i] * direction[i];
            }
          }
          const double want = slope(layer, input, direction);
          report(std::fabs(product - want) <= 2e-6 * (1 + std::fabs(want)),
                 what + ": gradient of " + of + " " + std::to_string(product) + " for " +
                     std::to_string(want));
        };
        check(layer.x, layer.dx, size.input, layer.x_row(), "x");
        check(layer.w_ih, layer.dw_ih, 1, 1, "w_ih");
        check(layer.w_hh, layer.dw_hh, 1, 1, "w_hh");
        if (layer.with_bias) check(layer.b_ih, layer.db_ih, 1, 1, "b_ih");
        if (layer.with_bias) check(layer.b_hh, layer.db_hh, 1, 1, "b_hh");
        if (layer.with_state) check(layer.h0, layer.dh0, 1, 1, "h0");
        if (layer.with_state && kind == RnnKind::lstm) check(layer.c0, layer.dc0, 1, 1, "c0");

        // float32 follows.
        auto single = make_layer<float>(kind, size, options);
        if (kind == RnnKind::rnn_relu) continue;  // a kink may be crossed
        single.forward(true);
        single.backward();
        const auto follow = [&](const std::vector<float>& got, const std::vector<double>& want,
                                const char* of) {
          for (std::size_t i = 0; i < got.size(); ++i) {
            if (std::isnan(want[i]) && std::isnan(got[i])) continue;
            report(std::fabs(got[i] - want[i]) <= 1e-4 * (1 + std::fabs(want[i])),
                   what + ": float32 gradient of " + of);
          }
        };
        follow(single.dx, layer.dx, "x");
        follow(single.dw_ih, layer.dw_ih, "w_ih");
        follow(single.dw_hh, layer.dw_hh, "w_hh");
        follow(single.db_ih, layer.db_ih, "b_ih");
        follow(single.dh0, layer.dh0, "h0");
      }
    }
  }
}

// Layers large enough for a team: with a small batch it divides hidden units, with a large one
// batch elements.
template <class T>
void check_threads(const std::string& target) {
  for (RnnKind kind : kKinds) {
    for (const Size& size : {Size{5, 3, 40, 150}, Size{4, 1, 33, 201}, Size{3, 130, 17, 33}}) {
      for (int options : {0, 1, 4, 6, 20, 22}) {
        std::vector<T> first;
        for (int threads : {1, 2, 3}) {
          set_num_threads(threads);
          auto layer = make_layer<T>(kind, size, options);
          layer.forward(true);
          layer.backward();
          std::vector<T> all;
          for (const auto* part : {&layer.y, &layer.hT, &layer.dx, &layer.dw_ih, &layer.dw_hh,
                                   &layer.db_ih, &layer.db_hh, &layer.dh0}) {
            all.insert(all.end(), part->begin(), part->end());
          }
          if (threads == 1) first = all;
          report(std::memcmp(all.data(), first.data(), all.size() * sizeof(T)) == 0,
                 describe(layer.s, options) + " " + target + ": other bits with " +
                     std::to_string(threads) + " threads");
        }
      }
    }
  }
  set_num_threads(1);
}

// Each batch element alone gives the bits it gives among others, also of other lengths.
void check_alone(const std::string& target) {
  for (RnnKind kind : kKinds) {
    for (int options : {0, 1, 2, 4, 6, 22}) {
      auto layer = make_layer<float>(kind, {5, 9, 17, 33}, options);
      layer.forward(false);
      const std::int64_t width = layer.s.input, hidden = layer.s.hidden;
      for (std::int64_t b = 0; b < layer.s.batch; ++b) {
        const std::int64_t length = layer.lengths[std::size_t(b)];
        auto alone = make_layer<float>(kind, {length, 1, width, hidden}, options & 18);
        alone.w_ih = layer.w_ih;
        for (std::int64_t t = 0; t < length; ++t) {
          std::copy_n(layer.x.begin() + layer.row(t, b) * layer.x_row(), width,
                      alone.x.begin() + t * alone.x_row());
        }
        std::copy_n(layer.h0.begin() + b * hidden, hidden, alone.h0.begin());
        std::copy_n(layer.c0.begin() + b * hidden, hidden, alone.c0.begin());
        alone.forward(false);
        const auto same = [&](const float* among, const float* one) {
          report(std::memcmp(among, one, std::size_t(hidden) * sizeof(float)) == 0,
                 describe(layer.s, options) + " alone " + target);
        };
        for (std::int64_t t = 0; t < length; ++t) {
          same(&layer.y[std::size_t(layer.row(t, b) * layer.y_row())],
               &alone.y[std::size_t(t * alone.y_row())]);
        }
        same(&layer.hT[std::size_t(b * hidden)], alone.hT.data());
        if (kind == RnnKind::lstm) same(&layer.cT[std::size_t(b * hidden)], alone.cT.data());
      }
    }
  }
}

// No steps: the states pass through and weight gradients are zero.
void check_empty() {
  auto layer = make_layer<float>(RnnKind::lstm, {0, 3, 5, 7}, 0);
  layer.forward(true);
  layer.backward();
  report(layer.hT == layer.h0 && layer.cT == layer.c0, "empty: states");
  report(layer.dh0 == layer.dhT && layer.dc0 == layer.dcT, "empty: state gradients");
  for (float v : layer.dw_hh) report(v == 0, "empty: weight gradient");
  for (float v : layer.db_ih) report(v == 0, "empty: bias gradient");
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
    check_forward<float>(target);
    check_forward<double>(target);
    check_backward(target);
    check_threads<float>(target);
    check_threads<double>(target);
    check_alone(target);
  });
  check_empty();
  return finish("test_rnn");
}
