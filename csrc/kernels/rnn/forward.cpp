// rnn_forward. Steps are taken in chunks: one product with the inputs of a chunk, then its steps,
// while the pre-activations are still in the cache.
#include "kernels/rnn/plan.h"

namespace gradsmith::kernels {
namespace {

// Rows of a chunk: enough to reuse W_ih, which is read once a chunk. One that stays in the
// second-level cache with W_hh takes few, so that the pre-activations stay there as well.
constexpr std::int64_t kMostRows = 192, kFewRows = 64;
constexpr std::int64_t kChunkBytes = 256 << 10, kWeightBytes = 1 << 20;

// What all threads share.
struct Forward {
  DType dtype;
  const RnnForward& args;
  const RnnShape& s;
  Elements el;
  Steps steps;
  std::int64_t gates, outputs, chunk_rows;                   // outputs: of h
  void *gate_base, *cell_base, *raw_base, *state[2], *bias;  // raw: h before its projection
  std::int64_t gate_row, cell_row;                           // between neighbouring batch elements
  bool keeps;  // gates and cells, for the backward pass
  lstm_cell_fn* cell;

  Forward(DType type, const RnnForward& a, Workspace& ws)
      : dtype(type), args(a), s(a.shape), el(type), steps(s, ws) {
    gates = rnn_saved_gates(s.kind) * s.hidden;
    outputs = s.outputs();
    keeps = a.reserve != nullptr;
    const std::int64_t row = gates * el.bytes;
    chunk_rows = row * s.input > kWeightBytes ? kMostRows : kChunkBytes / row;
    chunk_rows = chunk_rows > kMostRows ? kMostRows : chunk_rows < kFewRows ? kFewRows : chunk_rows;
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
    take_memory(ws);
  }

  void take_memory(Workspace& ws) {
    const std::int64_t states = s.batch * outputs, cells = s.batch * s.hidden;
    for (void*& p : state) p = el.get(ws, states);
    el.copy_or_zero(state[1], args.h0, states);
    // Backwards, elements of a packed batch start in steps of either buffer.
    if (s.batch_sizes) el.copy_or_zero(state[0], args.h0, states);
    bias = el.get(ws, rnn_gates(s.kind) * s.hidden);
    const bool has_cells = s.kind == RnnKind::lstm;
    if (keeps) {
      gate_base = args.reserve;
      gate_row = steps.b_rows * gates;
      cell_base = has_cells ? el.at(args.reserve, steps.rows() * gates) : nullptr;
      cell_row = steps.b_rows * s.hidden;
      raw_base = s.projection ? el.at(args.reserve, steps.rows() * (gates + s.hidden)) : nullptr;
    } else {
      const std::int64_t all = steps.rows(), most = chunk_rows - 1 + s.batch;
      gate_base = el.get(ws, (all < most ? all : most) * gates);
      gate_row = gates;
      cell_base = has_cells ? el.get(ws, cells) : nullptr;
      raw_base = s.projection ? el.get(ws, cells) : nullptr;
      cell_row = s.hidden;
    }
  }

  // One past the last step of the chunk that starts with step `begin`.
  std::int64_t chunk_end(std::int64_t begin) const {
    std::int64_t end = begin, rows = 0;
    while (end < s.steps && rows < chunk_rows) rows += steps.size(steps.time(end++));
    return end;
  }
  // Threads that divide the batch need not be in the same chunk. Where a step's rows in the chunk
  // depend on what went before, as in a packed batch, each has rows of its own for the gates.
  Tile with_own_gates(Tile tile, Workspace& ws) const {
    if (keeps || !s.batch_sizes || tile.rows() == s.batch) return tile;
    std::int64_t* const begin = ws.get<std::int64_t>(s.steps + 1);
    begin[0] = 0;
    for (std::int64_t t = 0; t < s.steps; ++t) begin[t + 1] = begin[t] + rows_at(steps, tile, t);
    const std::int64_t all = begin[s.steps], most = chunk_rows - 1 + s.batch;
    tile.gates = el.get(ws, (all < most ? all : most) * gates);
    tile.gates_begin = begin;
    return tile;
  }
  // `first` is the earliest time in the chunk.
  void* gates_at(const Tile& tile, std::int64_t t, std::int64_t first, std::int64_t b,
                 std::int64_t column) const {
    if (tile.gates) {
      const std::int64_t row = tile.gates_begin[t] - tile.gates_begin[first] + b - tile.b_begin;
      return el.at(tile.gates, row * gates + column);
    }
    const std::int64_t row =
        keeps ? steps.row(t, b) : steps.rows_before(t) - steps.rows_before(first) + b;
    return el.at(gate_base, row * gates + column);
  }
  void* cells_at(std::int64_t t, std::int64_t b, std::int64_t j) const {
    return el.at(cell_base, (keeps ? steps.row(t, b) : b) * s.hidden + j);
  }
  void* raw_at(std::int64_t t, std::int64_t b) const {
    return el.at(raw_base, (keeps ? steps.row(t, b) : b) * s.hidden);
  }
  void* y_at(std::int64_t t, std::int64_t b, std::int64_t j) const {
    return el.at(args.y, steps.row(t, b) * args.y_row + j);
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
        w.set(f.dtype, f.args.rounded, ws, weight, line * depth, depth, 1, pack, whole);
      }
    }
  }
};

struct Weights {
  TileWeights input, recurrent;
  WeightOperand projection;
};

// Pre-activations of times [first, end) from the inputs.
void input_product(const Forward& f, const Tile& tile, const TileWeights& weights,
                   std::int64_t first, std::int64_t end) {
  const RnnShape& s = f.s;
  const Steps& steps = f.steps;
  // `m` rows from (t, b) on, repeated `count` times. Rows lie x_step and gate_step rows of
  // x and of gates apart, their repetitions x_repeat and gate_repeat.
  struct Run {
    std::int64_t t, b, m, count, x_step, x_repeat, gate_step, gate_repeat;
  };
  const auto multiply = [&](const Run& run) {
    for (int i = 0; i < weights.count; ++i) {
      const WeightOperand& w = weights.operand[i];
      rnn_gemm(f.dtype, f.args.rounded,
               {.m = run.m,
                .n = w.lines,
                .k = s.input,
                .a = {.data = f.el.at(f.args.x, steps.row(run.t, run.b) * f.args.x_row),
                      .rs = run.x_step * f.args.x_row,
                      .cs = 1,
                      .batch = run.x_repeat * f.args.x_row},
                .b = w.operand,
                .c = {.data = f.gates_at(tile, run.t, first, run.b, w.column),
                      .rs = run.gate_step * f.gates,
                      .cs = 1,
                      .batch = run.gate_repeat * f.gates},
                .epilogue = {.bias = {.data = f.el.at(f.bias, w.column), .rs = 0, .cs = 1},
                             .residual = {}},
                .batch = run.count});
    }
  };
  if (s.batch_first) {  // a batch element's steps follow each other in x
    const bool kept = f.keeps;
    multiply({first, tile.b_begin, end - first, tile.rows(), 1, s.steps, kept ? 1 : s.batch,
              kept ? s.steps : 1});
  } else if (tile.rows() == s.batch) {  // and here all rows do
    multiply({first, 0, steps.rows_before(end) - steps.rows_before(first), 1, 1, 0, 1, 0});
  } else {
    for (std::int64_t t = first, after; t < end; t = after) {
      const std::int64_t size = steps.size(t);
      for (after = t + 1; after < end && steps.size(after) == size;) ++after;
      const std::int64_t rows = rows_at(steps, tile, t);
      multiply({t, tile.b_begin, rows, after - t, 1, size, 1, tile.gates ? rows : size});
    }
  }
}

// gates += h W_hh^T for the tile's first `rows` batch elements, of which `running` have a state.
// Where the product only adds, the others need none.
void recurrent_product(const Forward& f, const Tile& tile, const TileWeights& weights,
                       const void* h, void* gates, std::int64_t rows, std::int64_t running) {
  for (int i = 0; i < weights.count; ++i) {
    const WeightOperand& w = weights.operand[i];
    Gemm product{.m = w.adds ? running : rows,
                 .n = w.lines,
                 .k = f.outputs,
                 .a = {.data = f.el.at(h, tile.b_begin * f.outputs), .rs = f.outputs, .cs = 1},
                 .b = w.operand,
                 .c = {.data = f.el.at(gates, w.column), .rs = f.gate_row, .cs = 1},
                 .beta = w.adds ? 1.0 : 0.0,
                 .epilogue = {}};
    if (!w.adds && f.args.b_hh) {  // W_hn h + b_hn: weight rows 2 * hidden on, buffer column 3
      product.epilogue.bias = {
          .data = f.el.at(f.args.b_hh, w.column - f.s.hidden), .rs = 0, .cs = 1};
    }
    rnn_gemm(f.dtype, f.args.rounded, product);
  }
}

// The arithmetic of batch elements [begin, end) of the tile at time t, from cells c_prev.
void run_cells(const Forward& f, const Tile& tile, std::int64_t t, std::int64_t first,
               std::int64_t begin, std::int64_t end, const void* h_prev, void* h,
               const void* c_prev, std::int64_t c_prev_row) {
  if (begin == end) return;
  const std::int64_t b = tile.b_begin + begin, at_state = b * f.outputs + tile.j_begin;
  const bool projects = f.s.projection != 0;
  f.cell({.rows = end - begin,
          .width = tile.width(),
          .gates = f.gates_at(tile, t, first, b, tile.j_begin),
          .gates_row = f.gate_row,
          .gate = f.s.hidden,
          .h_prev = f.el.at(h_prev, at_state),
          .h_prev_row = f.outputs,
          .c_prev = c_prev,
          .c_prev_row = c_prev_row,
          .c = f.cells_at(t, b, tile.j_begin),
          .c_row = f.cell_row,
          .h = projects ? f.raw_at(t, b) : f.el.at(h, at_state),
          .h_row = projects ? f.cell_row : f.s.hidden,
          .y = projects ? f.raw_at(t, b) : f.y_at(t, b, tile.j_begin),
          .y_row = projects ? f.cell_row : f.steps.b_rows * f.args.y_row});
}

// h and y of the tile's first `rows` batch elements at time t. The tile has all hidden units.
void project(const Forward& f, const Tile& tile, const WeightOperand& w, std::int64_t t,
             std::int64_t rows, void* h) {
  void* const to = f.el.at(h, tile.b_begin * f.outputs);
  rnn_gemm(f.dtype, f.args.rounded,
           {.m = rows,
            .n = f.outputs,
            .k = f.s.hidden,
            .a = {.data = f.raw_at(t, tile.b_begin), .rs = f.cell_row, .cs = 1},
            .b = w.operand,
            .c = {.data = to, .rs = f.outputs, .cs = 1},
            .epilogue = {}});
  for (std::int64_t i = 0; i < rows; ++i)
    f.el.copy(f.y_at(t, tile.b_begin + i, 0), f.el.at(to, i * f.outputs), f.outputs);
}

// Each batch element's states after its own last step.
void put_last_states(const Forward& f, const Tile& tile) {
  const Elements& el = f.el;
  const std::int64_t j = tile.j_begin, n = tile.width();
  each_length(f.steps, tile.b_begin, tile.b_end, [&](std::int64_t b, std::int64_t length) {
    const std::int64_t t = f.s.reverse ? 0 : length - 1;
    if (f.args.hT) {
      const std::int64_t i = b * f.outputs + j;
      const void* const h = length ? f.y_at(t, b, j) : el.at(f.args.h0, i);
      el.copy_or_zero(el.at(f.args.hT, i), h, f.s.projection ? f.outputs : n);
    }
    if (f.args.cT) {
      const std::int64_t i = b * f.s.hidden + j;
      const void* const c = length ? f.cells_at(t, b, j) : el.at(f.args.c0, i);
      el.copy_or_zero(el.at(f.args.cT, i), c, n);
    }
  });
}

void run_tile(const Forward& f, const Tile& tile, const Weights& weights, const Barriers* barriers,
              int team) {
  const Steps& steps = f.steps;
  for (std::int64_t begin = 0, end; begin < f.s.steps; begin = end) {
    end = f.chunk_end(begin);
    const std::int64_t first = steps.time(f.s.reverse ? end - 1 : begin);
    input_product(f, tile, weights.input, first, first + (end - begin));
    for (std::int64_t step = begin; step < end; ++step) {
      const std::int64_t t = steps.time(step), from = steps.before(t);
      const std::int64_t rows = rows_at(steps, tile, t), before = rows_at(steps, tile, from);
      const std::int64_t old = before < rows ? before : rows;  // the others start here
      const void* const h_prev = f.state[(step + 1) % 2];
      void* const h = f.state[step % 2];
      recurrent_product(f, tile, weights.recurrent, h_prev,
                        f.gates_at(tile, t, first, tile.b_begin, 0), rows, f.args.h0 ? rows : old);
      run_cells(f, tile, t, first, 0, old, h_prev, h,
                old ? f.cells_at(from, tile.b_begin, tile.j_begin) : nullptr, f.cell_row);
      run_cells(f, tile, t, first, old, rows, h_prev, h,
                f.el.at(f.args.c0, (tile.b_begin + old) * f.s.hidden + tile.j_begin), f.s.hidden);
      if (f.s.projection) project(f, tile, weights.projection, t, rows, h);
      // The next step reads all of h. Its own h goes to the other buffer, which everybody has
      // finished reading by now.
      if (barriers && !barriers->wait(team)) return;
    }
  }
  put_last_states(f, tile);
}

}  // namespace

std::size_t rnn_reserve_bytes(DType dtype, const RnnShape& s) {
  const std::int64_t values =
      rnn_saved_gates(s.kind) + (s.kind == RnnKind::lstm ? 1 : 0) + (s.projection ? 1 : 0);
  std::int64_t rows = s.steps * s.batch;
  if (s.batch_sizes) {
    rows = 0;
    for (std::int64_t t = 0; t < s.steps; ++t) rows += s.batch_sizes[t];
  }
  return std::size_t(rows * s.hidden * values) * itemsize(dtype);
}

void rnn_forward(DType dtype, const RnnForward& args) {
  const RnnShape& s = args.shape;
  if (s.batch == 0 || s.hidden == 0) return;
  Workspace ws;
  const Forward f(dtype, args, ws);
  if (dtype == DType::f64) {
    join_biases<double>(args, f.bias);
  } else {
    join_biases<float>(args, f.bias);
  }
  const Division division(dtype, f.steps);
  // Packing pays when it is used again; a single row is a matrix-vector product, which reads the
  // weights as they are.
  const auto set_weights = [&](Weights& weights, Workspace& memory, const Tile& tile) {
    const bool many_chunks = f.chunk_end(0) < s.steps;
    weights.input.set(f, memory, input_blocks(s.kind), tile, args.w_ih, s.input,
                      many_chunks && s.input > 0);
    const bool many_steps = s.steps > (s.batch > 1 ? 2 : 8);
    weights.recurrent.set(f, memory, recurrent_blocks(s.kind), tile, args.w_hh, f.outputs,
                          many_steps);
    if (!s.projection) return;
    weights.projection.lines = f.outputs;
    weights.projection.depth = s.hidden;
    weights.projection.set(dtype, args.rounded, memory, args.w_hr, 0, s.hidden, 1, many_steps,
                           true);
  };
  if (!division.by_hidden) {
    Weights weights;
    set_weights(weights, ws, {0, s.batch, 0, s.hidden});
    parallel_team(division.threads, [&](int thread, int team) {
      Workspace mine;
      run_tile(f, f.with_own_gates(division.tile(thread, team), mine), weights, nullptr, 1);
    });
    return;
  }
  const Barriers barriers(ws, division.threads);
  parallel_team(division.threads, [&](int thread, int team) {
    barriers.run(team, [&] {
      Workspace mine;
      const Tile tile = division.tile(thread, team);
      Weights weights;
      set_weights(weights, mine, tile);
      run_tile(f, tile, weights, &barriers, team);
    });
  });
}

}  // namespace gradsmith::kernels
