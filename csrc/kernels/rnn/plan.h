// What the forward and the backward driver share: how the gates of a kind map to products, how the
// rows of a sequence lie in memory, and how a team of threads divides a layer.
#pragma once
#include <cstdint>
#include <cstring>
#include <new>

#include "kernels/gemm/gemm.h"
#include "kernels/rnn/rnn.h"
#include "runtime/kept.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace gradsmith::kernels {

// Neighbouring gates that one product computes: rows weight_gate * hidden ... of a weight matrix,
// and the same number of columns from gate_column * hidden on in the buffer of gates.
struct GateBlock {
  int weight_gate, gate_column, gates;
  bool adds;  // onto the input's part; otherwise it overwrites and brings its own bias
};
struct GateBlocks {
  int count;
  GateBlock block[2];
};

inline GateBlocks input_blocks(RnnKind kind) { return {1, {{0, 0, rnn_gates(kind), false}, {}}}; }

// GRU multiplies W_hn h + b_hn by r before it joins the input's part: it has a column of its own.
inline GateBlocks recurrent_blocks(RnnKind kind) {
  if (kind == RnnKind::gru) return {2, {{0, 0, 2, true}, {2, 3, 1, false}}};
  return {1, {{0, 0, rnn_gates(kind), true}, {}}};
}

// The steps in the order in which they run, and the rows that they have in x, y and what is saved.
struct Steps {
  const RnnShape& s;
  std::int64_t b_rows;            // between neighbouring batch elements
  std::int64_t* begin = nullptr;  // packed: the first row of each step, and the end

  Steps(const RnnShape& shape, Workspace& ws)
      : s(shape), b_rows(shape.batch_first ? shape.steps : 1) {
    if (!s.batch_sizes) return;
    begin = ws.get<std::int64_t>(s.steps + 1);
    begin[0] = 0;
    for (std::int64_t t = 0; t < s.steps; ++t) begin[t + 1] = begin[t] + s.batch_sizes[t];
  }
  std::int64_t time(std::int64_t step) const { return s.reverse ? s.steps - 1 - step : step; }
  // The time before t in the order of the steps, or -1.
  std::int64_t before(std::int64_t t) const {
    if (!s.reverse) return t - 1;
    return t + 1 < s.steps ? t + 1 : -1;
  }
  // How many batch elements take part; none at time -1.
  std::int64_t size(std::int64_t t) const {
    if (t < 0) return 0;
    return s.batch_sizes ? s.batch_sizes[t] : s.batch;
  }
  // Rows of all times before t.
  std::int64_t rows_before(std::int64_t t) const { return begin ? begin[t] : t * s.batch; }
  std::int64_t rows() const { return rows_before(s.steps); }
  std::int64_t row(std::int64_t t, std::int64_t b) const {
    return s.batch_first ? b * s.steps + t : rows_before(t) + b;
  }
};

// Calls f(b, length) for batch elements [b_begin, b_end).
template <class F>
void each_length(const Steps& steps, std::int64_t b_begin, std::int64_t b_end, F&& f) {
  std::int64_t length = steps.s.steps;
  for (std::int64_t b = b_begin; b < b_end; ++b) {
    while (length > 0 && steps.size(length - 1) <= b) --length;
    f(b, length);
  }
}

// The part of a layer that one thread computes, in every step.
struct Tile {
  std::int64_t b_begin, b_end;  // batch elements
  std::int64_t j_begin, j_end;  // hidden units
  void* gates = nullptr;        // see Forward::with_own_gates
  const std::int64_t* gates_begin = nullptr;
  std::int64_t rows() const { return b_end - b_begin; }
  std::int64_t width() const { return j_end - j_begin; }
};

// How many batch elements of the tile take part at time t.
inline std::int64_t rows_at(const Steps& steps, const Tile& tile, std::int64_t t) {
  const std::int64_t end = steps.size(t) < tile.b_end ? steps.size(t) : tile.b_end;
  return end > tile.b_begin ? end - tile.b_begin : 0;
}

// Element arithmetic on untyped pointers.
struct Elements {
  std::int64_t bytes;
  explicit Elements(DType dtype) : bytes(std::int64_t(itemsize(dtype))) {}
  const void* at(const void* p, std::int64_t i) const {
    return p ? static_cast<const char*>(p) + i * bytes : nullptr;
  }
  void* at(void* p, std::int64_t i) const {
    return p ? static_cast<char*>(p) + i * bytes : nullptr;
  }
  void* get(Workspace& ws, std::int64_t count) const { return ws.get<char>(count * bytes); }
  void zero(void* p, std::int64_t count) const { std::memset(p, 0, std::size_t(count * bytes)); }
  void copy(void* dst, const void* src, std::int64_t count) const {
    std::memcpy(dst, src, std::size_t(count * bytes));
  }
  // A null source stands for zeros.
  void copy_or_zero(void* dst, const void* src, std::int64_t count) const {
    if (src) {
      copy(dst, src, count);
    } else {
      zero(dst, count);
    }
  }
};

// How many threads, and what they divide. Batch elements do not depend on each other, so threads
// that own some never wait; but each then reads all weights, and few rows fill a register tile
// badly. With a small batch they own hidden units instead: each reads its part of the weights, and
// all meet once a step, when the new state is complete.
struct Division {
  const Steps& steps;
  int threads;
  bool by_hidden;
  std::int64_t granule;  // of hidden units

  Division(DType dtype, const Steps& all) : steps(all) {
    const RnnShape& s = steps.s;
    constexpr std::int64_t kStepWork = 1 << 16;  // multiply-adds: some 3 us, several barriers
    const GemmShape shape = gemm_shape_of(dtype);
    const std::int64_t most = in_parallel_region() ? 1 : get_num_threads();
    const std::int64_t all_steps =
        steps.rows() * s.hidden * rnn_gates(s.kind) * (s.outputs() + s.input);
    // A projection needs all hidden units of a step: its batch is always what is divided.
    by_hidden = !s.projection && s.batch < 3 * shape.mr * most;
    granule = shape.nr;
    const std::int64_t work = by_hidden ? all_steps / (s.steps > 0 ? s.steps : 1) : all_steps;
    const std::int64_t units = by_hidden ? (s.hidden + granule - 1) / granule : s.batch;
    std::int64_t n = most < units ? most : units;
    if (n > 1 + work / kStepWork) n = 1 + work / kStepWork;
    threads = int(n < 1 ? 1 : n);
    if (threads == 1) by_hidden = false;
  }
  Tile tile(int thread, int team) const {
    const RnnShape& s = steps.s;
    if (by_hidden) return {0, s.batch, hidden_part(thread, team), hidden_part(thread + 1, team)};
    return {batch_part(thread, team), batch_part(thread + 1, team), 0, s.hidden};
  }

 private:
  std::int64_t hidden_part(int i, int parts) const {
    const std::int64_t n = steps.s.hidden;
    const std::int64_t at = (n + granule - 1) / granule * i / parts * granule;
    return at < n ? at : n;
  }
  // Elements that have i of `parts` of the rows.
  std::int64_t batch_part(int i, int parts) const {
    const std::int64_t n = steps.s.batch;
    if (!steps.begin || i == parts) return n * i / parts;
    std::int64_t at = 0, rows = 0;
    each_length(steps, 0, n, [&](std::int64_t, std::int64_t length) {
      if (rows * parts < steps.rows() * i) ++at;
      rows += length;
    });
    return at;
  }
};

// Barriers for every size that a team may turn out to have.
struct Barriers {
  Barrier* barrier;
  Barriers(Workspace& ws, int most) : barrier(ws.get<Barrier>(most)) {
    for (int i = 0; i < most; ++i) new (barrier + i) Barrier(i + 1);
  }
  // False where a member has failed: the others must leave too.
  bool wait(int team) const { return team == 1 || barrier[team - 1].wait(); }
  // Runs a member's part. It may throw.
  template <class F>
  void run(int team, F&& part) const {
    try {
      part();
    } catch (...) {
      barrier[team - 1].abandon();
      throw;
    }
  }
};

// rounded: in bfloat16, see RnnForward.
inline void rnn_gemm(DType dtype, bool rounded, Gemm product) {
  product.source = dtype;
  gemm(rounded ? DType::bf16 : dtype, product);
}

// A weight matrix, or some of its rows and columns, as operand B of the products of every step.
struct WeightOperand {
  Operand operand;
  PackedOperand packed;
  std::int64_t lines, depth, column;
  bool adds;

  // lines x depth elements of the matrix `whole`, from element `offset` on; in memory a line step
  // and a depth step apart. keep: a packed copy that is kept is used, whatever `pack` says.
  void set(DType dtype, bool rounded, Workspace& ws, const void* whole, std::int64_t offset,
           std::int64_t line_step, std::int64_t depth_step, bool pack, bool keep) {
    const Target target = active_target();
    const DType compute = rounded ? DType::bf16 : dtype;
    const void* const data =
        static_cast<const char*>(whole) + offset * std::int64_t(itemsize(dtype));
    operand = Operand{.data = data, .rs = depth_step, .cs = line_step};
    if (lines == 0 || depth == 0) return;
    const std::size_t bytes = packed_bytes(compute, GemmSide::b, lines, depth);
    const auto make = [&](void* to) {
      pack_operand(compute, GemmSide::b, operand, lines, depth, to, dtype);
    };
    constexpr std::int64_t kRecurrent = 512;  // no kind of a convolution's
    const KeptKey key{
        kRecurrent, std::int64_t(compute), std::int64_t(target), offset, lines, depth, line_step,
        depth_step};
    KeptScope* const scope = keep ? KeptScope::for_memory(whole) : nullptr;
    const void* panels = scope ? scope->get(key, bytes, make) : nullptr;
    if (!panels) {
      if (!pack) return;
      void* const here = ws.get<char>(std::int64_t(bytes));
      make(here);
      panels = here;
    }
    packed = {panels, target, gemm_shape_of(compute).nr, lines, depth, 0};
    operand.packed = &packed;
  }
};

}  // namespace gradsmith::kernels
