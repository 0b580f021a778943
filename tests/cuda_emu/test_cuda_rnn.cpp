// Recurrent layers on CUDA, run by the emulator, against the cells of the CPU's reference with
// plain loops for the products: as one launch, and as one a step.
#include <algorithm>

#include "cuda_testing.h"
#include "kernels/rnn/rnn.h"

namespace gradsmith::kernels::reference {
#define GS_DECLARE(name)                  \
  void name##_cell_f64(const RnnCell& a); \
  void name##_cell_backward_f64(const RnnCellBackward& a);
GS_DECLARE(lstm)
GS_DECLARE(gru)
GS_DECLARE(rnn_tanh)
GS_DECLARE(rnn_relu)
#undef GS_DECLARE
}  // namespace gradsmith::kernels::reference

namespace {

namespace ref = gradsmith::kernels::reference;
using gradsmith::cuda::RnnKind;
using std::int64_t;
using Values = std::vector<double>;

struct Problem {
  RnnKind kind;
  DType dtype;
  int64_t batch, hidden;
  std::vector<int64_t> sizes;  // of each step
  bool reverse, packed;

  int64_t steps() const { return int64_t(sizes.size()); }
  int64_t gates() const { return kind == RnnKind::lstm ? 4 : kind == RnnKind::gru ? 3 : 1; }
  int64_t saved() const { return kind == RnnKind::lstm || kind == RnnKind::gru ? 4 : 1; }
  int64_t time(int64_t position) const { return reverse ? steps() - 1 - position : position; }
  int64_t size(int64_t position) const {
    return position < 0 || position >= steps() ? 0 : sizes[std::size_t(time(position))];
  }
  int64_t row(int64_t position, int64_t b) const {
    int64_t rows = b;
    for (int64_t t = 0; t < time(position); ++t) rows += sizes[std::size_t(t)];
    return rows;
  }
  int64_t rows() const { return reverse ? row(0, sizes.back()) : row(steps() - 1, sizes.back()); }
  std::string name() const {
    return "rnn " + std::to_string(int(kind)) + " of " + std::to_string(hidden) + ", batch " +
           std::to_string(batch) + ", " + std::to_string(steps()) + " steps" +
           (reverse ? ", reverse" : "") + (packed ? ", packed" : "");
  }
};

// Arrays one behind the other in device memory, and the same numbers as doubles.
struct Arrays {
  DType dtype;
  std::vector<Values> values;
  std::vector<std::size_t> offsets;
  std::size_t bytes = 0;

  Values& add(int64_t count, double low, double high) {
    offsets.push_back(bytes);
    bytes += (std::size_t(count) * itemsize(dtype) + 15) / 16 * 16;
    std::vector<unsigned char> element(8);
    Values v;
    for (int64_t i = 0; i < count; ++i) {
      set(element.data(), dtype, 0, uniform(low, high));
      v.push_back(get(element.data(), dtype, 0));
    }
    values.push_back(v);
    return values.back();
  }
  std::vector<unsigned char> image() const {
    std::vector<unsigned char> out(bytes, 0xff);
    for (std::size_t a = 0; a < values.size(); ++a)
      for (std::size_t i = 0; i < values[a].size(); ++i)
        set(out.data() + offsets[a], dtype, int64_t(i), values[a][i]);
    return out;
  }
};

void step(RnnKind kind, const kernels::RnnCell& a) {
  switch (kind) {
    case RnnKind::lstm:
      return ref::lstm_cell_f64(a);
    case RnnKind::gru:
      return ref::gru_cell_f64(a);
    case RnnKind::rnn_tanh:
      return ref::rnn_tanh_cell_f64(a);
    default:
      return ref::rnn_relu_cell_f64(a);
  }
}
void step_backward(RnnKind kind, const kernels::RnnCellBackward& a) {
  switch (kind) {
    case RnnKind::lstm:
      return ref::lstm_cell_backward_f64(a);
    case RnnKind::gru:
      return ref::gru_cell_backward_f64(a);
    case RnnKind::rnn_tanh:
      return ref::rnn_tanh_cell_backward_f64(a);
    default:
      return ref::rnn_relu_cell_backward_f64(a);
  }
}

enum Array : std::size_t { gates, y, cells, c, w_hh, b_hh, h0, c0, dy, d_in, d_hidden, dh, dc };

void forward(const Problem& p, std::vector<Values>& v) {
  const int64_t n = p.hidden, saved = p.saved() * n;
  for (int64_t position = 0; position < p.steps(); ++position)
    for (int64_t b = 0; b < p.size(position); ++b) {
      const int64_t row = p.row(position, b);
      const double* h = b < p.size(position - 1) ? &v[y][std::size_t(p.row(position - 1, b) * n)]
                                                 : &v[h0][std::size_t(b * n)];
      for (int64_t r = 0; r < p.gates() * n; ++r) {
        double sum = v[b_hh][std::size_t(r)];
        for (int64_t k = 0; k < n; ++k) sum += v[w_hh][std::size_t(r * n + k)] * h[k];
        const bool apart = p.kind == RnnKind::gru && r >= 2 * n;
        double& gate = v[gates][std::size_t(row * saved + r + (apart ? n : 0))];
        gate = apart ? sum : gate + sum;
      }
      kernels::RnnCell a{};
      a.rows = 1;
      a.width = a.gate = n;
      a.gates = &v[gates][std::size_t(row * saved)];
      a.h_prev = h;
      Values now(static_cast<std::size_t>(n));
      a.h = now.data();
      a.y = &v[y][std::size_t(row * n)];
      a.c_prev = a.c = &v[c][std::size_t(b * n)];
      step(p.kind, a);
      std::copy_n(&v[c][std::size_t(b * n)], n, &v[cells][std::size_t(row * n)]);
    }
}

void backward(const Problem& p, std::vector<Values>& v) {
  const int64_t n = p.hidden, saved = p.saved() * n, width = p.gates() * n;
  for (int64_t position = p.steps() - 1; position >= -1; --position) {
    const int64_t here = p.size(position), after = p.size(position + 1);
    for (int64_t b = 0; b < std::max(here, after); ++b) {
      double* const carried = &v[dh][std::size_t(b * n)];
      for (int64_t j = 0; b < after && j < n; ++j)
        for (int64_t r = 0; r < width; ++r)
          carried[j] += v[w_hh][std::size_t(r * n + j)] *
                        v[d_hidden][std::size_t(p.row(position + 1, b) * width + r)];
      if (b >= here) continue;
      const int64_t row = p.row(position, b);
      const bool first = b >= p.size(position - 1);
      const auto old = [&](Array states, Array start) {
        return first ? &v[start][std::size_t(b * n)]
                     : &v[states][std::size_t(p.row(position - 1, b) * n)];
      };
      Values slopes(std::size_t(saved), 0.0);
      kernels::RnnCellBackward a{};
      a.rows = 1;
      a.width = a.gate = n;
      a.gates = &v[gates][std::size_t(row * saved)];
      a.h_prev = old(y, h0);
      a.c_prev = old(cells, c0);
      a.c = &v[cells][std::size_t(row * n)];
      a.dy = &v[dy][std::size_t(row * n)];
      a.dh = carried;
      a.dc = &v[dc][std::size_t(b * n)];
      a.dgates = slopes.data();
      step_backward(p.kind, a);
      for (int64_t r = 0; r < width; ++r) {
        const bool apart = p.kind == RnnKind::gru && r >= 2 * n;
        v[d_in][std::size_t(row * width + r)] = slopes[std::size_t(r)];
        v[d_hidden][std::size_t(row * width + r)] = slopes[std::size_t(r + (apart ? n : 0))];
      }
    }
  }
}

void compare(const Problem& p, const Arrays& arrays, const Buffer& out, const char* pass,
             std::initializer_list<Array> which) {
  const double bound = p.dtype == DType::f32 ? 2e-5 : 1e-12;
  for (Array array : which)
    for (std::size_t i = 0; i < arrays.values[array].size(); ++i) {
      const double want = arrays.values[array][i];
      const double got =
          get(static_cast<char*>(out.p) + arrays.offsets[array], p.dtype, int64_t(i));
      if (std::abs(got - want) <= bound * (1 + std::abs(want))) continue;
      return gs_test::report(__FILE__, __LINE__,
                             p.name() + " " + pass + ": array " + std::to_string(array) + " at " +
                                 std::to_string(i) + ": " + std::to_string(got) + ", want " +
                                 std::to_string(want));
    }
}

void check_rnn(const Problem& p) {
  const int64_t n = p.hidden, rows = p.rows(), state = p.batch * n, width = p.gates() * n;
  const bool is_lstm = p.kind == RnnKind::lstm, is_gru = p.kind == RnnKind::gru;
  Arrays arrays{p.dtype, {}, {}, 0};
  const double bound = 1 / std::sqrt(double(n));
  arrays.add(rows * p.saved() * n, -1, 1);
  arrays.add(rows * n, -1, 1);
  arrays.add(rows * n, -1, 1);
  arrays.add(state, -1, 1);
  arrays.add(width * n, -bound, bound);
  arrays.add(width, -bound, bound);
  arrays.add(state, -1, 1);
  arrays.add(state, -1, 1);
  arrays.values[c0] = arrays.values[c];
  arrays.add(rows * n, -1, 1);
  arrays.add(rows * width, -1, 1);
  arrays.add(rows * width, -1, 1);
  arrays.add(state, -1, 1);
  arrays.add(state, -1, 1);

  Buffer out(arrays.bytes), starts(std::size_t(p.steps() + 1) * 8);
  auto* const start = static_cast<int64_t*>(starts.p);
  start[0] = 0;
  for (int64_t t = 0; t < p.steps(); ++t) start[t + 1] = start[t] + p.sizes[std::size_t(t)];
  const auto at = [&](Array array) {
    return static_cast<void*>(static_cast<char*>(out.p) + arrays.offsets[array]);
  };
  RnnArgs args{};
  args.kind = p.kind;
  args.dtype = p.dtype;
  args.reverse = p.reverse;
  args.steps = p.steps();
  args.batch = p.batch;
  args.hidden = n;
  args.starts = p.packed ? start : nullptr;
  args.w_hh = at(w_hh);
  args.b_hh = at(b_hh);
  args.h0 = at(h0);
  args.gates = at(gates);
  args.y = at(y);
  args.cells = is_lstm ? at(cells) : nullptr;
  args.c = is_lstm ? at(c) : nullptr;
  const auto call = [&] { return api.rnn(0, &args, nullptr); };
  in_all_schedules(p.name(), out, arrays.image(), call);
  forward(p, arrays.values);
  compare(p, arrays, out, "forward", {gates, y});
  if (is_lstm) compare(p, arrays, out, "forward", {cells, c});

  args.backward = true;
  args.c0 = is_lstm ? at(c0) : nullptr;
  args.dy = at(dy);
  args.d_in = at(d_in);
  args.d_hidden = is_gru ? at(d_hidden) : at(d_in);
  args.dh = at(dh);
  args.dc = is_lstm ? at(dc) : nullptr;
  in_all_schedules(p.name() + " backward", out, arrays.image(), call);
  backward(p, arrays.values);
  compare(p, arrays, out, "backward", {d_in, dh});
  if (is_gru) compare(p, arrays, out, "backward", {d_hidden});
  if (is_lstm) compare(p, arrays, out, "backward", {dc});
}

}  // namespace

int main() {
  constexpr RnnKind kKinds[] = {RnnKind::lstm, RnnKind::gru, RnnKind::rnn_tanh, RnnKind::rnn_relu};
  for (int resident : {8, 0}) {  // one launch; one a step
    cuda_emu::options().resident_blocks = resident;
    for (RnnKind kind : kKinds)
      for (bool reverse : {false, true}) {
        check_rnn({kind, DType::f32, 3, 11, {3, 3, 3}, reverse, false});
        check_rnn({kind, DType::f64, 11, 12, {11, 9, 9, 2}, reverse, true});
      }
    check_rnn({RnnKind::lstm, DType::f32, 1, 1, {1}, false, false});
    check_rnn({RnnKind::gru, DType::f32, 25, 8, {25, 25}, false, false});
  }
  cuda_emu::options().resident_blocks = 20;
  check_rnn({RnnKind::lstm, DType::f32, 2, 140, {2, 1}, false, true});  // several chunks
  cuda_emu::options().resident_blocks = 0;
  check_rnn({RnnKind::gru, DType::f64, 2, 100, {2, 2}, true, false});
  return gs_test::result();
}
