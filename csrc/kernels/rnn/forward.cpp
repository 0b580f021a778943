// rnn_forward. Steps are taken in chunks: one product with the inputs of a chunk, then its steps,
// while the pre-activations are still in the cache.
#include "kernels/rnn/plan.h"

namespace gradsmith::kernels {
namespace {

constexpr std::int64_t kChunkRows = 192;  // enough to reuse the packed weights of the input product

// What all threads share.
struct Forward {
  DType dtype;
  const RnnForward& args;
  const RnnShape& s;
  Elements el;
  RowOrder row;
  std::int64_t gates, chunk;
  void *gate_base, *cell_base, *state[2], *bias;
  std::int64_t gate_t, gate_b, cell_t, cell_b;  // distances in elements
  bool keeps;                                   // gates and cells, for the backward pass
  lstm_cell_fn* cell;

  Forward(DType type, const RnnForward& a) : dtype(type), args(a), s(a.shape), el(type), row(s) {
    gates = rnn_saved_gates(s.kind) * s.hidden;
    chunk = (kChunkRows + s.batch - 1) / s.batch;
    if (chunk > s.steps) chunk = s.steps;
    keeps = a.reserve != nullptr;
    switch (s.kind) {
      case RnnKind::lstm:
        cell = lstm_cell.pick(dtype);
        break;
      case RnnKind::gru:
        cell = gru_cell.pick(dtype);
        break;
      case RnnKind::rnn_tanh:
        cell = rnn_tanh_cell.pick(dtype);
        break;
      case RnnKind::rnn_relu:
        cell = rnn_relu_cell.pick(dtype);
        break;
    }
  }

  void take_memory(Workspace& ws) {
    const std::int64_t states = s.batch * s.hidden;
    for (void*& p : state) p = el.get(ws, states);
    el.zero(state[1], states);
    bias = el.get(ws, rnn_gates(s.kind) * s.hidden);
    const bool has_cells = s.kind == RnnKind::lstm;
    if (keeps) {
      gate_base = args.reserve;
      gate_t = row.t_rows * gates;
      gate_b = row.b_rows * gates;
      cell_base = has_cells ? el.at(args.reserve, s.steps * s.batch * gates) : nullptr;
      cell_t = row.t_rows * s.hidden;
      cell_b = row.b_rows * s.hidden;
    } else {
      gate_base = el.get(ws, chunk * s.batch * gates);
      gate_t = s.batch * gates;
      gate_b = gates;
      cell_base = has_cells ? el.get(ws, states) : nullptr;
      cell_t = 0;
      cell_b = s.hidden;
    }
  }

  std::int64_t time(std::int64_t step) const { return s.reverse ? s.steps - 1 - step : step; }
  // `first` is the earliest time in the chunk.
  void* gates_at(std::int64_t t, std::int64_t first, std::int64_t b, std::int64_t column) const {
    return el.at(gate_base, (keeps ? t : t - first) * gate_t + b * gate_b + column);
  }
  void* cells_at(std::int64_t t, std::int64_t b, std::int64_t j) const {
    return el.at(cell_base, t * cell_t + b * cell_b + j);
  }
};

// The bias of the input product: both biases, but for the n rows of GRU.
template <class T>
void join_biases(const RnnForward& a, void* out) {
  const std::int64_t n = rnn_gates(a.shape.kind) * a.shape.hidden;
  const std::int64_t joined = a.shape.kind == RnnKind::gru ? 2 * a.shape.hidden : n;
  const T *b_ih = static_cast<const T*>(a.b_ih), *b_hh = static_cast<const T*>(a.b_hh);
  for (std::int64_t j = 0; j < n; ++j) {
    const T own = b_ih ? b_ih[j] : T(0);
    static_cast<T*>(out)[j] = b_hh && j < joined ? own + b_hh[j] : own;
  }
}

// The weights of a tile, as one operand per block of gates, or per gate where the tile has only
// some hidden units.
struct TileWeights {
  WeightOperand operand[4];
  int count = 0;

  void set(const Forward& f, Workspace& ws, const GateBlocks& blocks, const Tile& tile,
           const void* weight, std::int64_t depth, bool pack) {
    const std::int64_t hidden = f.s.hidden;
    const bool whole = tile.width() == hidden;
    for (int i = 0; i < blocks.count; ++i) {
      const GateBlock& block = blocks.block[i];
      for (int k = 0; k < (whole ? 1 : block.gates); ++k) {
        WeightOperand& w = operand[count++];
        w.lines = whole ? block.gates * hidden : tile.width();
        w.depth = depth;
        w.column = (block.gate_column + k) * hidden + tile.j_begin;
        w.adds = block.adds;
        const std::int64_t line = (block.weight_gate + k) * hidden + tile.j_begin;
        w.set(f.dtype, ws, f.el.at(weight, line * depth), depth, 1, pack);
      }
    }
  }
};

// Pre-activations of times [first, end) from the inputs.
void input_product(const Forward& f, const Tile& tile, const TileWeights& weights,
                   std::int64_t first, std::int64_t end) {
  const RnnShape& s = f.s;
  for (int i = 0; i < weights.count; ++i) {
    const WeightOperand& w = weights.operand[i];
    // `m` rows from (t, b) on, `inner` apart, repeated `batch` times `outer` apart.
    const auto run = [&](std::int64_t t, std::int64_t b, std::int64_t m, bool over_time,
                         std::int64_t batch) {
      const std::int64_t t_x = f.row.t_rows * f.args.x_row, b_x = f.row.b_rows * f.args.x_row;
      gemm(f.dtype, {.m = m,
                     .n = w.lines,
                     .k = s.input,
                     .a = {.data = f.el.at(f.args.x, f.row(t, b) * f.args.x_row),
                           .rs = over_time ? t_x : b_x,
                           .cs = 1,
                           .batch = over_time ? b_x : t_x},
                     .b = w.operand,
                     .c = {.data = f.gates_at(t, first, b, w.column),
                           .rs = over_time ? f.gate_t : f.gate_b,
                           .cs = 1,
                           .batch = over_time ? f.gate_b : f.gate_t},
                     .epilogue = {.bias = {.data = f.el.at(f.bias, w.column), .rs = 0, .cs = 1},
                                  .residual = {}},
                     .batch = batch});
    };
    if (s.lengths && !s.batch_first) {
      for (std::int64_t t = first; t < end; ++t) {
        run(t, tile.b_begin, active_end(s, tile, t) - tile.b_begin, false, 1);
      }
    } else if (s.lengths) {
      for (std::int64_t b = tile.b_begin; b < tile.b_end; ++b) {
        const std::int64_t stop = s.lengths[b] < end ? s.lengths[b] : end;
        run(first, b, stop - first, true, 1);
      }
    } else if (s.batch_first) {
      run(first, tile.b_begin, end - first, true, tile.rows());
    } else if (tile.rows() == s.batch && f.gate_t == s.batch * f.gate_b) {
      run(first, 0, (end - first) * s.batch, false, 1);  // rows follow each other across steps
    } else {
      run(first, tile.b_begin, tile.rows(), false, end - first);
    }
  }
}

// gates += h W_hh^T for the elements that take part. Rows without a previous state are skipped
// where the product only adds.
void recurrent_product(const Forward& f, const Tile& tile, const TileWeights& weights,
                       const void* h, std::int64_t t, std::int64_t first, bool zero_state) {
  const std::int64_t rows = active_end(f.s, tile, t) - tile.b_begin;
  for (int i = 0; i < weights.count; ++i) {
    const WeightOperand& w = weights.operand[i];
    if (zero_state && w.adds) continue;
    Gemm product{
        .m = rows,
        .n = w.lines,
        .k = f.s.hidden,
        .a = {.data = f.el.at(h, tile.b_begin * f.s.hidden), .rs = f.s.hidden, .cs = 1},
        .b = w.operand,
        .c = {.data = f.gates_at(t, first, tile.b_begin, w.column), .rs = f.gate_b, .cs = 1},
        .beta = w.adds ? 1.0 : 0.0,
        .epilogue = {}};
    if (!w.adds && f.args.b_hh) {  // W_hn h + b_hn: weight rows 2 * hidden on, buffer column 3
      product.epilogue.bias = {
          .data = f.el.at(f.args.b_hh, w.column - f.s.hidden), .rs = 0, .cs = 1};
    }
    gemm(f.dtype, product);
  }
}

void run_tile(const Forward& f, const Tile& tile, const TileWeights& input,
              const TileWeights& recurrent, const Barriers* barriers, int team) {
  const RnnShape& s = f.s;
  const Elements& el = f.el;
  const std::int64_t H = s.hidden, at_state = tile.b_begin * H + tile.j_begin;
  const void* h_prev = f.args.h0 ? f.args.h0 : f.state[1];
  const void* c_prev = el.at(f.args.c0, at_state);
  std::int64_t c_prev_row = H;

  for (std::int64_t begin = 0; begin < s.steps; begin += f.chunk) {
    const std::int64_t end = begin + f.chunk < s.steps ? begin + f.chunk : s.steps;
    const std::int64_t first = s.reverse ? f.time(end - 1) : begin;
    input_product(f, tile, input, first, first + (end - begin));
    for (std::int64_t step = begin; step < end; ++step) {
      const std::int64_t t = f.time(step);
      recurrent_product(f, tile, recurrent, h_prev, t, first, step == 0 && !f.args.h0);
      void* const h = f.state[step % 2];
      void* const c = f.cells_at(t, tile.b_begin, tile.j_begin);
      f.cell({.rows = tile.rows(),
              .width = tile.width(),
              .gates = f.gates_at(t, first, tile.b_begin, tile.j_begin),
              .gates_row = f.gate_b,
              .gate = H,
              .h_prev = el.at(h_prev, at_state),
              .h_prev_row = H,
              .c_prev = c_prev,
              .c_prev_row = c_prev_row,
              .c = c,
              .c_row = f.cell_b,
              .h = el.at(h, at_state),
              .h_row = H,
              .y = el.at(f.args.y, f.row(t, tile.b_begin) * f.args.y_row + tile.j_begin),
              .y_row = f.row.b_rows * f.args.y_row,
              .lengths = s.lengths ? s.lengths + tile.b_begin : nullptr,
              .t = t});
      c_prev = c;
      c_prev_row = f.cell_b;
      h_prev = h;
      // The next step reads all of h. Its own h goes to the other buffer, which everybody has
      // finished reading by now.
      if (barriers && !barriers->wait(team)) return;
    }
  }
  for (std::int64_t b = 0; b < tile.rows(); ++b) {
    const std::int64_t i = at_state + b * H;
    if (f.args.hT) el.copy(el.at(f.args.hT, i), el.at(h_prev, i), tile.width());
    if (!f.args.cT) continue;
    void* const cT = el.at(f.args.cT, i);
    if (c_prev) {
      el.copy(cT, el.at(c_prev, b * c_prev_row), tile.width());
    } else {
      el.zero(cT, tile.width());
    }
  }
}

}  // namespace

std::size_t rnn_reserve_bytes(DType dtype, const RnnShape& s) {
  const std::int64_t values = rnn_saved_gates(s.kind) + (s.kind == RnnKind::lstm ? 1 : 0);
  return std::size_t(s.steps * s.batch * s.hidden * values) * itemsize(dtype);
}

void rnn_forward(DType dtype, const RnnForward& args) {
  const RnnShape& s = args.shape;
  if (s.batch == 0 || s.hidden == 0) return;
  Workspace ws;
  Forward f(dtype, args);
  f.take_memory(ws);
  if (dtype == DType::f64) {
    join_biases<double>(args, f.bias);
  } else {
    join_biases<float>(args, f.bias);
  }
  const Division division(dtype, s);
  // Packing pays when it is used again; a single row is a matrix-vector product, which reads the
  // weights as they are.
  const auto set_weights = [&](TileWeights& input, TileWeights& recurrent, Workspace& memory,
                               const Tile& tile) {
    const bool many_chunks = f.chunk < s.steps;
    input.set(f, memory, input_blocks(s.kind), tile, args.w_ih, s.input,
              many_chunks && s.input > 0);
    recurrent.set(f, memory, recurrent_blocks(s.kind), tile, args.w_hh, s.hidden,
                  s.steps > (s.batch > 1 ? 2 : 8));
  };
  if (!division.by_hidden) {
    TileWeights input, recurrent;
    set_weights(input, recurrent, ws, {0, s.batch, 0, s.hidden});
    parallel_team(division.threads, [&](int thread, int team) {
      run_tile(f, division.tile(s, thread, team), input, recurrent, nullptr, 1);
    });
    return;
  }
  const Barriers barriers(ws, division.threads);
  parallel_team(division.threads, [&](int thread, int team) {
    barriers.run(team, [&] {
      Workspace mine;
      const Tile tile = division.tile(s, thread, team);
      TileWeights input, recurrent;
      set_weights(input, recurrent, mine, tile);
      run_tile(f, tile, input, recurrent, &barriers, team);
    });
  });
}

}  // namespace gradsmith::kernels
