// rnn_backward. The steps backward carry dh and dc and write the gradients of all pre-activations;
// the weight and input gradients are then large products over all steps at once.
#include "kernels/rnn/plan.h"

#include "kernels/elementwise/elementwise.h"

namespace gradsmith::kernels {
namespace {

// From so many rows on, both weight gradients come from one product, see joined_gradient.
constexpr std::int64_t kJoinedRows = 64;

struct Backward {
  DType dtype;
  const RnnBackward& args;
  const RnnShape& s;
  Elements el;
  Steps steps;
  std::int64_t rows, gates;          // gates: columns of dgates
  std::int64_t outputs;              // of h
  std::int64_t h_prev_row;           // between rows of h_prev
  const void *cell_base, *raw_base;  // LSTM
  void *dgates, *h_prev, *dh, *dc;
  void* joined;             // rows of x beside those of h_prev, or null
  void *dprojected, *draw;  // with a projection: the gradients of h [rows], and of what it projects
  lstm_cell_backward_fn* cell;

  Backward(DType type, const RnnBackward& a, Workspace& ws)
      : dtype(type), args(a), s(a.shape), el(type), steps(s, ws) {
    rows = steps.rows();
    gates = rnn_saved_gates(s.kind) * s.hidden;
    const bool has_cells = s.kind == RnnKind::lstm;
    cell_base = has_cells ? el.at(a.reserve, rows * gates) : nullptr;
    outputs = s.outputs();
    dgates = el.get(ws, rows * gates);
    const bool join = a.dw_ih && a.dw_hh && rows >= kJoinedRows;
    h_prev_row = (join ? s.input : 0) + outputs;
    void* const right = el.get(ws, rows * h_prev_row);
    joined = join ? right : nullptr;
    h_prev = el.at(right, join ? s.input : 0);
    dh = state(ws, a.dhT, outputs);
    dc = has_cells ? state(ws, a.dcT, s.hidden) : nullptr;
    raw_base = s.projection ? el.at(a.reserve, rows * (gates + s.hidden)) : nullptr;
    dprojected = s.projection ? el.get(ws, rows * outputs) : nullptr;
    draw = s.projection ? el.get(ws, s.batch * s.hidden) : nullptr;
    switch (s.kind) {
      case RnnKind::lstm:
        cell = lstm_cell_backward.pick(dtype);
        break;
      case RnnKind::gru:
        cell = gru_cell_backward.pick(dtype);
        break;
      case RnnKind::rnn_tanh:
        cell = rnn_tanh_cell_backward.pick(dtype);
        break;
      case RnnKind::rnn_relu:
        cell = rnn_relu_cell_backward.pick(dtype);
        break;
    }
  }

  void* state(Workspace& ws, const void* last, std::int64_t features) const {
    void* const p = el.get(ws, s.batch * features);
    el.copy_or_zero(p, last, s.batch * features);
    return p;
  }
};

// The state that each step started from, row by row: the recurrent weight gradient is one product
// with it, and where y is a half of a wider matrix or batch_first, y shifted would not do. The
// inputs beside it, if both are to be one matrix.
void collect_states(const Backward& f) {
  const RnnShape& s = f.s;
  const std::int64_t H = f.outputs;
  parallel_for(s.steps, 1 + 65536 / (s.batch * H), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t from = f.steps.before(t);
      for (std::int64_t b = 0; b < f.steps.size(t); ++b) {
        const void* const h = b < f.steps.size(from)
                                  ? f.el.at(f.args.y, f.steps.row(from, b) * f.args.y_row)
                                  : f.el.at(f.args.h0, b * H);
        const std::int64_t r = f.steps.row(t, b);
        f.el.copy_or_zero(f.el.at(f.h_prev, r * f.h_prev_row), h, H);
        if (!f.joined) continue;
        f.el.copy(f.el.at(f.joined, r * f.h_prev_row), f.el.at(f.args.x, r * f.args.x_row),
                  s.input);
      }
    }
  });
}

// W_hh as it is multiplied from the right: depth runs over the gates of a block, lines over the
// hidden units of the tile.
struct TileWeights {
  WeightOperand operand[2], projection;
  int count = 0;

  void set(const Backward& f, Workspace& ws, const Tile& tile, bool pack) {
    const std::int64_t H = f.s.hidden;
    const GateBlocks blocks = recurrent_blocks(f.s.kind);
    for (int i = 0; i < blocks.count; ++i) {
      const GateBlock& block = blocks.block[i];
      WeightOperand& w = operand[count++];
      w.lines = f.s.projection ? f.outputs : tile.width();
      w.depth = block.gates * H;
      w.column = block.gate_column * H;
      const std::int64_t line = block.weight_gate * H * f.outputs + tile.j_begin;
      w.set(f.dtype, f.args.rounded, ws, f.args.w_hh, line, 1, f.outputs, pack, false);
    }
    if (!f.s.projection) return;
    projection.lines = H;
    projection.depth = f.outputs;
    projection.set(f.dtype, f.args.rounded, ws, f.args.w_hr, 0, 1, H, pack, false);
  }
};

// The arithmetic of batch elements [begin, end) of the tile at time t, from cells c_prev.
void run_cells(const Backward& f, const Tile& tile, std::int64_t t, std::int64_t begin,
               std::int64_t end, const void* c_prev, std::int64_t c_prev_row) {
  if (begin == end) return;
  const Elements& el = f.el;
  const std::int64_t H = f.s.hidden, b = tile.b_begin + begin, at_state = b * H + tile.j_begin;
  const std::int64_t r = f.steps.row(t, b), b_rows = f.steps.b_rows;
  f.cell({.rows = end - begin,
          .width = tile.width(),
          .gates = el.at(f.args.reserve, r * f.gates + tile.j_begin),
          .gates_row = b_rows * f.gates,
          .gate = H,
          .h_prev = el.at(f.h_prev, r * f.h_prev_row + tile.j_begin),
          .h_prev_row = b_rows * f.h_prev_row,
          .c_prev = c_prev,
          .c_prev_row = c_prev_row,
          .c = el.at(f.cell_base, r * H + tile.j_begin),
          .c_row = b_rows * H,
          .dy = f.draw ? nullptr : el.at(f.args.dy, r * f.args.dy_row + tile.j_begin),
          .dy_row = b_rows * f.args.dy_row,
          .dh = el.at(f.draw ? f.draw : f.dh, at_state),
          .dh_row = H,
          .dc = el.at(f.dc, at_state),
          .dc_row = H,
          .dgates = el.at(f.dgates, r * f.gates + tile.j_begin),
          .dgates_row = b_rows * f.gates});
}

// A null dy stands for zeros.
template <class T>
void add_rows(void* sum, const void* dh, const void* dy, std::int64_t n) {
  for (std::int64_t j = 0; j < n; ++j) {
    const T more = dy ? static_cast<const T*>(dy)[j] : T(0);
    static_cast<T*>(sum)[j] = static_cast<const T*>(dh)[j] + more;
  }
}

// The gradient of h at time t, kept for the gradient of w_hr, and what it is before the projection.
void through_projection(const Backward& f, const Tile& tile, const WeightOperand& w, std::int64_t t,
                        std::int64_t rows) {
  const Elements& el = f.el;
  const std::int64_t P = f.outputs, b_rows = f.steps.b_rows, r = f.steps.row(t, tile.b_begin);
  for (std::int64_t i = 0; i < rows; ++i) {
    const void* const dh = el.at(f.dh, (tile.b_begin + i) * P);
    const void* const dy = el.at(f.args.dy, (r + i * b_rows) * f.args.dy_row);
    void* const sum = el.at(f.dprojected, (r + i * b_rows) * P);
    if (f.dtype == DType::f64) {
      add_rows<double>(sum, dh, dy, P);
    } else {
      add_rows<float>(sum, dh, dy, P);
    }
  }
  rnn_gemm(f.dtype, f.args.rounded,
           {.m = rows,
            .n = f.s.hidden,
            .k = P,
            .a = {.data = el.at(f.dprojected, r * P), .rs = b_rows * P, .cs = 1},
            .b = w.operand,
            .c = {.data = el.at(f.draw, tile.b_begin * f.s.hidden), .rs = f.s.hidden, .cs = 1},
            .epilogue = {}});
}

void run_tile(const Backward& f, const Tile& tile, const TileWeights& weights,
              const Barriers* barriers, int team) {
  const Steps& steps = f.steps;
  const Elements& el = f.el;
  const std::int64_t H = f.s.hidden, at_state = tile.b_begin * H + tile.j_begin;
  for (std::int64_t step = f.s.steps - 1; step >= 0; --step) {
    const std::int64_t t = steps.time(step), from = steps.before(t);
    const std::int64_t rows = rows_at(steps, tile, t), before = rows_at(steps, tile, from);
    const std::int64_t old = before < rows ? before : rows;  // the others started at t
    const void* const c_prev =
        old ? el.at(f.cell_base, steps.row(from, tile.b_begin) * H + tile.j_begin) : nullptr;
    if (f.draw) through_projection(f, tile, weights.projection, t, rows);
    run_cells(f, tile, t, 0, old, c_prev, steps.b_rows * H);
    run_cells(f, tile, t, old, rows, el.at(f.args.c0, at_state + old * H), H);
    // The product reads the gates of all hidden units; nobody writes this step's again.
    if (barriers && !barriers->wait(team)) return;
    for (int i = 0; i < weights.count; ++i) {
      const WeightOperand& w = weights.operand[i];
      rnn_gemm(f.dtype, f.args.rounded,
               {.m = f.args.dh0 ? rows : old,
                .n = w.lines,
                .k = w.depth,
                .a = {.data = el.at(f.dgates, steps.row(t, tile.b_begin) * f.gates + w.column),
                      .rs = steps.b_rows * f.gates,
                      .cs = 1},
                .b = w.operand,
                .c = {.data = el.at(f.dh, tile.b_begin * f.outputs + tile.j_begin),
                      .rs = f.outputs,
                      .cs = 1},
                .beta = f.draw ? 0.0 : 1.0,
                .epilogue = {}});
    }
  }
  for (std::int64_t b = 0; b < tile.rows(); ++b) {
    const std::int64_t i = at_state + b * H;
    const std::int64_t k = (tile.b_begin + b) * f.outputs + tile.j_begin;
    if (f.args.dh0)
      el.copy(el.at(f.args.dh0, k), el.at(f.dh, k), f.draw ? f.outputs : tile.width());
    if (f.args.dc0 && f.dc) el.copy(el.at(f.args.dc0, i), el.at(f.dc, i), tile.width());
  }
}

void run_steps(const Backward& f, Workspace& ws) {
  const RnnShape& s = f.s;
  const Division division(f.dtype, f.steps);
  const bool pack = s.steps > (s.batch > 1 ? 2 : 8);
  if (!division.by_hidden) {
    TileWeights weights;
    weights.set(f, ws, {0, s.batch, 0, s.hidden}, pack);
    parallel_team(division.threads, [&](int thread, int team) {
      run_tile(f, division.tile(thread, team), weights, nullptr, 1);
    });
    return;
  }
  const Barriers barriers(ws, division.threads);
  parallel_team(division.threads, [&](int thread, int team) {
    barriers.run(team, [&] {
      Workspace mine;
      const Tile tile = division.tile(thread, team);
      TileWeights weights;
      weights.set(f, mine, tile, pack);
      run_tile(f, tile, weights, &barriers, team);
    });
  });
}

// dW rows of a block of gates = dgates^T times a matrix of `columns` columns.
void weight_gradient(const Backward& f, const GateBlocks& blocks, void* dw, const void* right,
                     std::int64_t right_row, std::int64_t columns) {
  for (int i = 0; i < blocks.count; ++i) {
    const GateBlock& block = blocks.block[i];
    const std::int64_t H = f.s.hidden;
    rnn_gemm(f.dtype, f.args.rounded,
             {.m = block.gates * H,
              .n = columns,
              .k = f.rows,
              .a = {.data = f.el.at(f.dgates, block.gate_column * H), .rs = 1, .cs = f.gates},
              .b = {.data = right, .rs = right_row, .cs = 1},
              .c = {.data = f.el.at(dw, block.weight_gate * H * columns), .rs = columns, .cs = 1},
              .epilogue = {}});
  }
}

// Rows of the gradients of both weight matrices, or of one, for a block of gates:
// [x | h]^T dgates, so that dgates, the largest matrix, is packed once and line by line.
void joined_gradient(const Backward& f, const GateBlock& block, bool of_input, bool of_state) {
  const std::int64_t H = f.s.hidden, n = block.gates * H;
  const std::int64_t first = of_input ? 0 : f.s.input;
  const std::int64_t features = (of_state ? f.h_prev_row : f.s.input) - first;
  Workspace ws;
  void* const sums = f.el.get(ws, features * n);
  rnn_gemm(f.dtype, f.args.rounded,
           {.m = features,
            .n = n,
            .k = f.rows,
            .a = {.data = f.el.at(f.joined, first), .rs = 1, .cs = f.h_prev_row},
            .b = {.data = f.el.at(f.dgates, block.gate_column * H), .rs = f.gates, .cs = 1},
            .c = {.data = sums, .rs = n, .cs = 1},
            .epilogue = {}});
  const auto put = [&](void* dw, std::int64_t from, std::int64_t columns) {
    const std::int64_t shape[] = {n, columns}, rows[] = {columns, 1}, lines[] = {1, n};
    copy({f.el.at(dw, block.weight_gate * H * columns), f.dtype, 2, shape, rows},
         {f.el.at(sums, from * n), f.dtype, 2, shape, lines});
  };
  if (of_input) put(f.args.dw_ih, 0, f.s.input);
  if (of_state) put(f.args.dw_hh, f.s.input - first, f.outputs);
}

void weight_gradients(const Backward& f) {
  const GateBlocks input = input_blocks(f.s.kind), recurrent = recurrent_blocks(f.s.kind);
  if (!f.joined) {
    if (f.args.dw_ih) weight_gradient(f, input, f.args.dw_ih, f.args.x, f.args.x_row, f.s.input);
    if (f.args.dw_hh)
      weight_gradient(f, recurrent, f.args.dw_hh, f.h_prev, f.h_prev_row, f.outputs);
    return;
  }
  joined_gradient(f, recurrent.block[0], true, true);
  if (recurrent.count == 1) return;
  joined_gradient(f, {2, 2, 1, false}, true, false);  // GRU's n: a column for each product
  joined_gradient(f, recurrent.block[1], false, true);
}

void bias_gradient(const Backward& f, const GateBlocks& blocks, void* db) {
  const auto leaf = column_sum.pick(f.dtype);
  for (int i = 0; i < blocks.count; ++i) {
    const GateBlock& block = blocks.block[i];
    const std::int64_t H = f.s.hidden;
    parallel_for(block.gates * H, 64 * (1 + 1024 / (f.rows + 1)),
                 [&](std::int64_t begin, std::int64_t end) {
                   leaf({.out = f.el.at(db, block.weight_gate * H + begin),
                         .x = f.el.at(f.dgates, block.gate_column * H + begin),
                         .rows = f.rows,
                         .columns = end - begin,
                         .x_row = f.gates});
                 });
  }
}

}  // namespace

void rnn_backward(DType dtype, const RnnBackward& args) {
  const RnnShape& s = args.shape;
  Workspace ws;
  const Backward f(dtype, args, ws);
  const GateBlocks input = input_blocks(s.kind), recurrent = recurrent_blocks(s.kind);
  if (s.batch > 0 && s.hidden > 0) {
    collect_states(f);
    run_steps(f, ws);
  }
  weight_gradients(f);
  if (args.dw_hr) {
    rnn_gemm(dtype, args.rounded,
             {.m = f.outputs,
              .n = s.hidden,
              .k = f.rows,
              .a = {.data = f.dprojected, .rs = 1, .cs = f.outputs},
              .b = {.data = f.raw_base, .rs = s.hidden, .cs = 1},
              .c = {.data = args.dw_hr, .rs = s.hidden, .cs = 1},
              .epilogue = {}});
  }
  if (args.db_ih) bias_gradient(f, input, args.db_ih);
  if (args.db_hh) {
    if (s.kind != RnnKind::gru && args.db_ih) {
      f.el.copy(args.db_hh, args.db_ih, rnn_gates(s.kind) * s.hidden);
    } else {
      bias_gradient(f, recurrent, args.db_hh);
    }
  }
  if (args.dx) {
    rnn_gemm(dtype, args.rounded,
             {.m = f.rows,
              .n = s.input,
              .k = rnn_gates(s.kind) * s.hidden,
              .a = {.data = f.dgates, .rs = f.gates, .cs = 1},
              .b = {.data = args.w_ih, .rs = s.input, .cs = 1},
              .c = {.data = args.dx, .rs = args.dx_row, .cs = 1},
              .epilogue = {}});
  }
}

}  // namespace gradsmith::kernels
