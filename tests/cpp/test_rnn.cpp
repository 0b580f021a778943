// LSTM, GRU and plain RNN: whole sequences against plain loops in double; gradients against finite
// differences; layouts, directions, packed batches, projections; the same bits for any number of
// threads, with and without memory for the backward pass, alone and in a batch.
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

// One layer with everything that goes in and comes out.
template <class T>
struct Layer {
  RnnShape s;
  std::int64_t rows, gates;
  bool with_bias, with_state;
  std::vector<std::int64_t> lengths, batch_sizes;  // batch_sizes: of a packed batch
  std::vector<T> x, w_ih, w_hh, b_ih, b_hh, w_hr, h0, c0;
  std::vector<T> dy, dhT, dcT;  // the loss is their product with the outputs
  std::vector<T> y, hT, cT, reserve;
  std::vector<T> dx, dw_ih, dw_hh, db_ih, db_hh, dw_hr, dh0, dc0;
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
    const std::int64_t states = s.batch * s.outputs(), cells = s.batch * s.hidden;
    x = draw(rows * x_row(), 1, 1);
    w_ih = draw(gates * s.input, 2, scale);
    w_hh = draw(gates * s.outputs(), 3, scale);
    w_hr = draw(s.projection * s.hidden, 12, scale);
    b_ih = draw(gates, 4, scale);
    b_hh = draw(gates, 5, scale);
    h0 = draw(states, 6, 1);
    c0 = draw(cells, 7, 1);
    dy = draw(rows * y_row(), 8, 1);
    dhT = draw(states, 9, 1);
    dcT = draw(cells, 10, 1);
  }
  std::int64_t x_row() const { return s.input + kPad; }
  std::int64_t y_row() const { return s.outputs() + kPad; }
  RnnShape shape() const {
    RnnShape copy = s;
    copy.batch_sizes = batch_sizes.empty() ? nullptr : batch_sizes.data();
    return copy;
  }

  void forward(bool keep) {
    const T nan = std::numeric_limits<T>::quiet_NaN();
    y.assign(std::size_t(rows * y_row()), nan);
    hT.assign(h0.size(), nan);
    cT.assign(c0.size(), nan);
    const RnnShape now = shape();
    if (keep) reserve.assign(rnn_reserve_bytes(dtype_of<T>, now) / sizeof(T), nan);
    rnn_forward(dtype_of<T>, {.shape = now,
                              .x = x.data(),
                              .x_row = x_row(),
                              .w_ih = w_ih.data(),
                              .w_hh = w_hh.data(),
                              .b_ih = with_bias ? b_ih.data() : nullptr,
                              .b_hh = with_bias ? b_hh.data() : nullptr,
                              .w_hr = s.projection ? w_hr.data() : nullptr,
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
    dw_hr.assign(w_hr.size(), nan);
    dh0.assign(h0.size(), nan);
    dc0.assign(c0.size(), nan);
    rnn_backward(dtype_of<T>, {.shape = shape(),
                               .x = x.data(),
                               .x_row = x_row(),
                               .w_ih = w_ih.data(),
                               .w_hh = w_hh.data(),
                               .w_hr = s.projection ? w_hr.data() : nullptr,
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
                               .dw_hr = s.projection ? dw_hr.data() : nullptr,
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
    const std::int64_t H = s.hidden, P = s.outputs();
    out_y.assign(y.size() ? y.size() : std::size_t(rows * y_row()), 0.0);
    out_h.assign(std::size_t(s.batch * P), 0.0);
    out_c.assign(std::size_t(s.batch * H), 0.0);
    double loss = 0;
    for (std::int64_t b = 0; b < s.batch; ++b) {
      std::vector<double> h(std::size_t(P), 0.0), c(std::size_t(H), 0.0);
      if (with_state) {
        std::copy_n(h0.begin() + b * P, P, h.begin());
        std::copy_n(c0.begin() + b * H, H, c.begin());
      }
      const std::int64_t length = lengths[std::size_t(b)];
      for (std::int64_t step = 0; step < length; ++step) {
        const std::int64_t t = s.reverse ? length - 1 - step : step;
        std::vector<double> in(std::size_t(gates), 0.0), rec = in;
        std::vector<double> next = h, raw(std::size_t(H), 0.0);
        for (std::int64_t g = 0; g < gates; ++g) {
          double a = with_bias ? b_ih[std::size_t(g)] : 0, r = with_bias ? b_hh[std::size_t(g)] : 0;
          for (std::int64_t i = 0; i < s.input; ++i) {
            a += double(w_ih[std::size_t(g * s.input + i)]) *
                 x[std::size_t(row(t, b) * x_row() + i)];
          }
          for (std::int64_t j = 0; j < P; ++j) {
            r += double(w_hh[std::size_t(g * P + j)]) * h[std::size_t(j)];
          }
          in[std::size_t(g)] = a;
          rec[std::size_t(g)] = r;
        }
        for (std::int64_t j = 0; j < H; ++j) {
          const auto at = [&](int k) { return std::size_t(k * H + j); };
          const auto sum = [&](int k) { return in[at(k)] + rec[at(k)]; };
          double& cell = c[std::size_t(j)];
          double& out = (s.projection ? raw : next)[std::size_t(j)];
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
        }
        for (std::int64_t p = 0; p < s.projection; ++p) {
          next[std::size_t(p)] = 0;
          for (std::int64_t j = 0; j < H; ++j) {
            next[std::size_t(p)] += double(w_hr[std::size_t(p * H + j)]) * raw[std::size_t(j)];
          }
        }
        h = next;
        for (std::int64_t p = 0; p < P; ++p) {
          const auto i = std::size_t(row(t, b) * y_row() + p);
          out_y[i] = h[std::size_t(p)];
          loss += out_y[i] * dy[i];
        }
      }
      for (std::size_t p = 0; p < h.size(); ++p) {
        const std::size_t i = std::size_t(b * P) + p;
        out_h[i] = h[p];
        loss += h[p] * dhT[i];
      }
      for (std::size_t j = 0; j < c.size(); ++j) {
        const std::size_t i = std::size_t(b * H) + j;
        out_c[i] = c[j];
        if (s.kind == RnnKind::lstm) loss += c[j] * dcT[i];
      }
    }
    return loss;
  }
};

struct Size {
  std::int64_t steps, batch, input, hidden;
};
const Size kSizes[] = {
    {1, 1, 1, 1},  {3, 7, 17, 33}, {7, 3, 33, 17}, {17, 1, 3, 7},
    {1, 33, 7, 3}, {33, 3, 1, 1},  {19, 7, 9, 5}};  // so many rows join the weight gradients

std::string describe(const RnnShape& s, int options) {
  return std::string(name_of(s.kind)) + " T,B,I,H " + std::to_string(s.steps) + "," +
         std::to_string(s.batch) + "," + std::to_string(s.input) + "," + std::to_string(s.hidden) +
         " options " + std::to_string(options);
}

// options: 1 batch_first, 2 reverse, 4 packed (and not batch_first), 8 no bias, 16 no initial
// state, 32 a projection (LSTM)
constexpr int kOptions = 32;
int options_of(RnnKind kind) { return kind == RnnKind::lstm ? 2 * kOptions : kOptions; }
template <class T>
Layer<T> make_layer(RnnKind kind, Size size, int options) {
  const std::int64_t projection = options & 32 ? (size.hidden + 1) / 2 : 0;
  RnnShape shape{kind,        size.steps, size.batch,         size.input,
                 size.hidden, projection, (options & 5) == 1, (options & 2) != 0};
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
      for (int options = 0; options < options_of(kind); ++options) {
        auto layer = make_layer<T>(kind, size, options);
        const std::string what = describe(layer.s, options) + " " + target;
        layer.forward(false);
        const auto y = layer.y, hT = layer.hT, cT = layer.cT;
        std::vector<double> want_y, want_h, want_c;
        layer.plain(want_y, want_h, want_c);
        for (std::int64_t r = 0; r < layer.rows; ++r) {
          for (std::int64_t j = 0; j < layer.y_row(); ++j) {
            const auto i = std::size_t(r * layer.y_row() + j);
            if (j >= layer.s.outputs()) {
              report(std::isnan(y[i]), what + ": wrote between rows of y");
            } else {
              report(std::fabs(y[i] - want_y[i]) <= kTolerance<T> * 4, what + ": y");
            }
          }
        }
        for (std::size_t i = 0; i < hT.size(); ++i) {
          report(std::fabs(hT[i] - want_h[i]) <= kTolerance<T> * 4, what + ": hT");
        }
        for (std::size_t i = 0; i < cT.size(); ++i) {
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
      for (int options = 0; options < options_of(kind); ++options) {
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
        if (layer.s.projection) check(layer.w_hr, layer.dw_hr, 1, 1, "w_hr");
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
      for (int options : {0, 1, 4, 6, 20, 22, 32, 38}) {
        if (options >= options_of(kind)) continue;
        std::vector<T> first;
        for (int threads : {1, 2, 3}) {
          set_num_threads(threads);
          auto layer = make_layer<T>(kind, size, options);
          layer.forward(true);
          layer.backward();
          std::vector<T> all;
          for (const auto* part : {&layer.y, &layer.hT, &layer.dx, &layer.dw_ih, &layer.dw_hh,
                                   &layer.db_ih, &layer.db_hh, &layer.dw_hr, &layer.dh0}) {
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

// Threads that divide a packed batch, without memory for the backward pass, in different chunks.
template <class T>
void check_chunks(const std::string& target) {
  for (RnnKind kind : kKinds) {
    for (int options : {4, 6, 38}) {
      if (options >= options_of(kind)) continue;
      std::vector<T> y, hT;
      for (int threads : {1, 2, 3, 2, 3}) {
        set_num_threads(threads);
        auto layer = make_layer<T>(kind, {70, 130, 9, 30}, options);
        layer.forward(false);
        if (y.empty()) y = layer.y, hT = layer.hT;
        report(std::memcmp(layer.y.data(), y.data(), y.size() * sizeof(T)) == 0 &&
                   std::memcmp(layer.hT.data(), hT.data(), hT.size() * sizeof(T)) == 0,
               describe(layer.s, options) + " " + target + ": other bits in evaluation with " +
                   std::to_string(threads) + " threads");
      }
    }
  }
  set_num_threads(1);
}

// Each batch element alone gives the bits it gives among others, also of other lengths.
void check_alone(const std::string& target) {
  for (RnnKind kind : kKinds) {
    for (int options : {0, 1, 2, 4, 6, 22, 32, 38}) {
      if (options >= options_of(kind)) continue;
      auto layer = make_layer<float>(kind, {5, 9, 17, 33}, options);
      layer.forward(false);
      const std::int64_t width = layer.s.input, hidden = layer.s.hidden;
      const std::int64_t outputs = layer.s.outputs();
      for (std::int64_t b = 0; b < layer.s.batch; ++b) {
        const std::int64_t length = layer.lengths[std::size_t(b)];
        auto alone = make_layer<float>(kind, {length, 1, width, hidden}, options & 50);
        for (std::int64_t t = 0; t < length; ++t) {
          std::copy_n(layer.x.begin() + layer.row(t, b) * layer.x_row(), width,
                      alone.x.begin() + t * alone.x_row());
        }
        std::copy_n(layer.h0.begin() + b * outputs, outputs, alone.h0.begin());
        std::copy_n(layer.c0.begin() + b * hidden, hidden, alone.c0.begin());
        alone.forward(false);
        const auto same = [&](const float* among, const float* one, std::int64_t n) {
          report(std::memcmp(among, one, std::size_t(n) * sizeof(float)) == 0,
                 describe(layer.s, options) + " alone " + target);
        };
        for (std::int64_t t = 0; t < length; ++t) {
          same(&layer.y[std::size_t(layer.row(t, b) * layer.y_row())],
               &alone.y[std::size_t(t * alone.y_row())], outputs);
        }
        same(&layer.hT[std::size_t(b * outputs)], alone.hT.data(), outputs);
        if (kind == RnnKind::lstm)
          same(&layer.cT[std::size_t(b * hidden)], alone.cT.data(), hidden);
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

}  // namespace

int main() {
  for_each_target([](const std::string& target) {
    check_forward<float>(target);
    check_forward<double>(target);
    check_backward(target);
    check_threads<float>(target);
    check_threads<double>(target);
    check_chunks<float>(target);
    check_chunks<double>(target);
    check_alone(target);
  });
  check_empty();
  return finish("test_rnn");
}
