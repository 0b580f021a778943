// C = act(alpha A B + beta C + bias + residual): chooses a path and runs the five loops around the
// register tile.
//
//   jc  columns of C in blocks of nc              B block in the third-level cache
//    pc  depth in blocks of kc                    pack B: kc x nc
//     ic  rows of C in blocks of mc               pack A: mc x kc, second-level cache
//      jr  columns of the block, nr at a time     panel of B in the first-level cache \ gemm_block
//       ir  rows of the block, mr at a time       tile of C in registers                /
#include <algorithm>
#include <atomic>
#include <new>

#include "kernels/gemm/blocking.h"
#include "kernels/gemm/gemm.h"
#include "kernels/trace.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace gradsmith::kernels {
namespace {

// The leaf kernels of one dtype on one target.
struct Leaves {
  gemm_pack_fn* pack;
  gemm_block_fn* block;
  gemm_finish_fn* finish;
  gemv_dot_fn* dot;
  gemm_lanes_fn* lanes;
  GemmShape shape;
  std::size_t item;         // of C, and of a packed element
  std::size_t source_item;  // of A and B
  DType source;

  Leaves(DType dtype, Target target, DType operands)
      : pack(gemm_pack.fn[int(dtype)][int(target)]),
        block(gemm_block.fn[int(dtype)][int(target)]),
        finish(gemm_finish.fn[int(result_of(dtype))][int(target)]),
        dot(gemv_dot.fn[int(dtype)][int(target)]),
        lanes(gemm_lanes.fn[int(dtype)][int(target)]),
        item(itemsize(result_of(dtype))),
        source_item(itemsize(dtype == DType::bf16 ? operands : dtype)),
        source(operands) {
    if (!block) detail::throw_no_kernel("gemm", dtype);
    gemm_shape.fn[int(dtype)][int(target)](shape);
  }
  static DType result_of(DType dtype) { return dtype == DType::bf16 ? DType::f32 : dtype; }
  // Bytes of a packed line's depth, for the caches.
  std::size_t depth_bytes() const { return shape.pair ? item * shape.pair / 2 : item; }
  const void* entry(const Operand& operand, std::int64_t z) const {
    return static_cast<const char*>(operand.data) + z * operand.batch * std::int64_t(source_item);
  }
  const void* at(const void* p, std::int64_t elements) const {
    return static_cast<const char*>(p) + elements * std::int64_t(item);
  }
  void* at(void* p, std::int64_t elements) const {
    return static_cast<char*>(p) + elements * std::int64_t(item);
  }
  void* scratch(Workspace& ws, std::int64_t elements) const {
    return ws.get<char>(elements * std::int64_t(item));
  }
};

// Fills panels of an operand whose lines and depths have these strides.
void fill_panels(const Leaves& leaf, const Operand& operand, std::int64_t line, std::int64_t depth,
                 const PackRequest& request) {
  if (operand.pack) {
    operand.pack(operand.context, request);
  } else {
    leaf.pack({leaf.entry(operand, request.batch), line, depth, request, leaf.source});
  }
}

// C^T = B^T A^T.
Gemm transposed(const Gemm& g) {
  Gemm t = g;
  t.m = g.n;
  t.n = g.m;
  t.a = g.b;
  t.b = g.a;
  const auto flip = [](auto& view) {
    const std::int64_t rs = view.rs;
    view.rs = view.cs;
    view.cs = rs;
  };
  flip(t.a);
  flip(t.b);
  flip(t.c);
  flip(t.epilogue.bias);
  flip(t.epilogue.residual);
  return t;
}

// What the threads of one column of the grid know of one block of B. Work is dealt by counters, and
// nobody waits for a thread that has not taken any: one that wakes late, or never, holds nobody up.
struct alignas(64) SharedBlock {
  std::atomic<std::int64_t> next_column{0}, columns_packed{0}, next_row{0}, rows_done{0};
};

// The next piece of [0, total), cut at multiples of `unit`. Large pieces first, so that A and B are
// read as seldom as possible, small ones at the end, so that the threads end together however fast
// each core happens to be.
Range take(std::atomic<std::int64_t>& next, std::int64_t total, std::int64_t unit,
           std::int64_t most, int threads) {
  std::int64_t begin = next.load(std::memory_order_relaxed), end;
  do {
    const std::int64_t fair = round_up(ceil_div(total - begin, 2 * threads), unit);
    end = std::min(total, begin + std::min(most, fair));
  } while (begin < total && !next.compare_exchange_weak(begin, end, std::memory_order_relaxed));
  return {begin, end};
}

// A product, one batch entry after another. run() is seen by all threads that it starts.
class Product {
 public:
  Product(const Leaves& leaves, const Gemm& problem)
      : leaf(leaves),
        g(problem),
        epilogue(problem.epilogue),
        has_epilogue(epilogue.bias.data || epilogue.residual.data ||
                     epilogue.activation != Activation::none),
        c(problem.c),
        plan(plan_gemm(leaves.shape, leaves.depth_bytes(), problem)) {}

  void run(std::int64_t entry) {
    z = entry;
    c.data = leaf.at(g.c.data, z * c.batch);
    if (g.epilogue.bias.data) {
      epilogue.bias.data = leaf.at(g.epilogue.bias.data, z * epilogue.bias.batch);
    }
    if (g.epilogue.residual.data) {
      epilogue.residual.data = leaf.at(g.epilogue.residual.data, z * epilogue.residual.batch);
    }
    if (g.k == 0 || g.alpha == 0) return run_empty();
    if (plan.vectors) return run_vectors();
    if (plan.stream) {
      run_stream();
    } else if (plan.threads == 1) {
      Workspace ws;
      void* const a_buffer = leaf.scratch(ws, a_elements());
      void* const b_buffer = plan.pack_b ? leaf.scratch(ws, b_elements(1)) : nullptr;
      five_loops({0, g.n}, a_buffer, b_buffer, 1, nullptr);
    } else {
      run_team();
    }
  }

  // Entries [begin, end). Small ones in place are one call for all.
  void run(std::int64_t begin, std::int64_t end) {
    const bool in_place = !plan.pack_a && !plan.pack_b && !g.a.packed && !g.b.packed &&
                          !plan.stream && plan.kc == g.k && !has_epilogue && g.alpha != 0;
    if (!in_place || g.m > plan.mc || g.n > plan.nc || plan.vectors) {
      for (std::int64_t entry = begin; entry < end; ++entry) run(entry);
      return;
    }
    GemmBlock block{};
    z = begin;
    set_a(block, nullptr, 0, g.m, 0, g.k);
    block.b = leaf.at(g.b.data, begin * g.b.batch);
    block.b_panel = leaf.shape.nr;
    block.b_depth = g.b.rs;
    block.m = g.m;
    block.n = g.n;
    block.k = block.depth_step = g.k;
    block.mr = plan.mr;
    c.data = leaf.at(g.c.data, begin * c.batch);
    block.target = target(0, 0, 0, g.k);
    block.entries = end - begin;
    block.a_entry = g.a.batch;
    block.b_entry = g.b.batch;
    leaf.block(block);
  }

 private:
  const Leaves& leaf;
  const Gemm& g;
  Epilogue epilogue;  // of the entry
  const bool has_epilogue;
  MatView c;
  const GemmPlan plan;
  std::int64_t z = 0;

  // The first depth block takes beta, the last one the epilogue.
  GemmTarget target(std::int64_t row, std::int64_t column, std::int64_t pc, std::int64_t kc) const {
    return {c,
            row,
            column,
            g.alpha,
            pc == 0 ? g.beta : 1.0,
            has_epilogue && pc + kc >= g.k ? &epilogue : nullptr};
  }

  void run_empty() {
    leaf.finish({g.m, g.n, nullptr, 0, {c, 0, 0, 0.0, g.beta, has_epilogue ? &epilogue : nullptr}});
  }

  void run_vectors() {
    Workspace ws;
    const void* x = leaf.at(g.a.data, z * g.a.batch);
    std::int64_t x_rs = g.a.rs;
    if (g.a.cs != 1) {
      void* const copy = leaf.scratch(ws, g.m * g.k);
      leaf.pack({x, g.a.rs, g.a.cs, {copy, z, 0, g.m, 0, g.k, 1}, leaf.source});
      x = copy;
      x_rs = g.k;
    }
    const void* const b = leaf.at(g.b.data, z * g.b.batch);
    const std::int64_t kc = depth_block(g.k, leaf.shape.kc);
    const bool once = !share_cache(leaf.shape.vector, g.b.cs * std::int64_t(leaf.item));
    const auto piece = [&](std::int64_t first, std::int64_t end) {
      Workspace mine;
      const std::int64_t count = end - first;
      void* const y = leaf.scratch(mine, ceil_div(g.k, kc) * g.m * count);
      leaf.dot(
          {count, g.k, kc, leaf.at(b, first * g.b.cs), g.b.cs, x, x_rs, int(g.m), y, count, once});
      for (std::int64_t pc = 0; pc < g.k; pc += kc) {
        leaf.finish(
            {g.m, count, leaf.at(y, pc / kc * g.m * count), count, target(0, first, pc, kc)});
      }
    };
    // Sums wait in the cache for the last depth.
    const auto lines = [&](std::int64_t begin, std::int64_t end) {
      constexpr std::int64_t kPiece = 4096;
      for (; begin < end; begin += kPiece) piece(begin, smaller(begin + kPiece, end));
    };
    // 2^17 elements are read in some 20 us.
    const std::int64_t grain = round_up(ceil_div(std::int64_t(1) << 17, g.k), 64);
    if (g.n <= grain) return lines(0, g.n);
    parallel_for(g.n, grain, lines);
  }

  // Few rows and a wide B: every thread has columns of its own.
  void run_stream() {
    // 2^17 elements are read in some 20 us, and a multiply-add for up to 8 rows is hidden behind
    // it.
    const std::int64_t work = g.k * std::max<std::int64_t>(1, g.m / 8);
    const std::int64_t grain = round_up(ceil_div(std::int64_t(1) << 17, work), 64);
    const auto columns = [&](std::int64_t begin, std::int64_t end) {
      Workspace ws;
      five_loops({begin, end}, leaf.scratch(ws, a_elements()), leaf.scratch(ws, plan.nc * g.m), 1,
                 nullptr);
    };
    if (g.n <= grain) return columns(0, g.n);
    parallel_for(g.n, grain, columns);
  }

  // Elements of what one thread packs for itself, a block of A.
  std::int64_t a_elements() const {
    return plan.pack_a ? leaf.shape.packed(plan.kc) * smaller(plan.mc, round_up(g.m, plan.mr)) : 0;
  }

  // Elements of the packed blocks of B: one for each column of the grid, two if they are shared,
  // so that one can be packed while threads still read the other.
  std::int64_t b_elements(int threads) const {
    const std::int64_t nr = leaf.shape.nr;
    const std::int64_t columns = round_up(g.n, nr) + (threads - 1) * nr;
    const std::int64_t most = plan.nc * threads;
    return (threads > 1 ? 2 : 1) * leaf.shape.packed(plan.kc) * (columns < most ? columns : most);
  }

  void run_team() {
    Workspace ws;
    const Grid grid = grid_for(leaf.shape, g.m, g.n, plan.threads);
    // Memory for all, here: a thread that got none would leave the others waiting for its piece.
    const std::int64_t a_stride = round_up(a_elements(), 16);
    void* const a_buffers = leaf.scratch(ws, a_stride * plan.threads);
    void* const b_buffer = plan.pack_b ? leaf.scratch(ws, b_elements(plan.threads)) : nullptr;
    const std::int64_t most = round_up(ceil_div(g.n, grid.columns), leaf.shape.nr);
    const std::int64_t b_stride = 2 * leaf.shape.packed(plan.kc) * smaller(most, plan.nc);
    const std::int64_t blocks = ceil_div(most, plan.nc) * ceil_div(g.k, plan.kc);
    auto* const shared = ws.get<SharedBlock>(grid.columns * blocks);
    for (std::int64_t i = 0; i < grid.columns * blocks; ++i) new (shared + i) SharedBlock;
    parallel_team(plan.threads, [&](int thread, int) {
      for (int i = 0; i < grid.columns; ++i) {  // its own column first, then whatever is left
        const int j = (thread / grid.rows + i) % grid.columns;
        five_loops(share(g.n, leaf.shape.nr, j, grid.columns),
                   leaf.at(a_buffers, thread * a_stride), leaf.at(b_buffer, j * b_stride),
                   grid.rows, shared + j * blocks);
      }
    });
  }

  // All rows of some columns of C. `shared` has an entry for each block of B where `threads` work
  // on them together, else it is null. C takes the blocks one after another: nobody begins with
  // one before all rows of the last are done. So two buffers are enough to pack ahead.
  void five_loops(Range columns, void* a_buffer, void* b_buffer, int threads,
                  SharedBlock* shared) const {
    const std::int64_t nr = leaf.shape.nr;
    const std::int64_t nc_most = smaller(plan.nc, round_up(columns.end - columns.begin, nr));
    const SharedBlock* before = nullptr;
    bool second = false;
    for (std::int64_t jc = columns.begin; jc < columns.end; jc += plan.nc) {
      const std::int64_t nc = smaller(plan.nc, columns.end - jc);
      for (std::int64_t pc = 0; pc < g.k; pc += plan.kc) {
        const std::int64_t kc = smaller(plan.kc, g.k - pc);
        GemmBlock block{};
        const std::int64_t packed = leaf.shape.packed(kc);
        block.k = packed;
        block.depth_step = plan.stream ? plan.depth_step : packed;
        block.sums = b_buffer;
        block.mr = plan.mr;
        block.entries = 1;
        if (plan.pack_b) {
          void* const panels = leaf.at(b_buffer, second ? leaf.shape.packed(plan.kc) * nc_most : 0);
          const auto piece = [&](std::int64_t from) {
            return shared ? take(shared->next_column, nc, nr, nc, threads) : Range{from, nc};
          };
          for (Range now = piece(0); now.begin < now.end; now = piece(now.end)) {
            fill_panels(leaf, g.b, g.b.cs, g.b.rs,
                        {leaf.at(panels, now.begin * packed), z, jc + now.begin,
                         now.end - now.begin, pc, kc, int(nr)});
            if (shared) shared->columns_packed.fetch_add(now.end - now.begin);
          }
          if (shared) wait_for(shared->columns_packed, nc);
          block.b = panels;
          block.b_panel = nr * packed;
          block.b_depth = nr;
        } else if (g.b.packed) {
          const PackedOperand& p = *g.b.packed;
          block.b = leaf.at(
              p.data, z * p.batch + leaf.shape.packed(pc) * round_up(p.lines, nr) + jc * packed);
          block.b_panel = nr * packed;
          block.b_depth = nr;
        } else {
          block.b = leaf.at(g.b.data, z * g.b.batch + pc * g.b.rs + jc);
          block.b_panel = nr;
          block.b_depth = g.b.rs;
        }
        if (before) wait_for(before->rows_done, g.m);
        const auto piece = [&](std::int64_t from) {
          return shared ? take(shared->next_row, g.m, plan.mr, plan.mc, threads)
                        : Range{from, smaller(from + plan.mc, g.m)};
        };
        for (Range now = piece(0); now.begin < now.end; now = piece(now.end)) {
          const std::int64_t ic = now.begin, mc = now.end - now.begin;
          set_a(block, a_buffer, ic, mc, pc, kc);
          block.m = mc;
          block.n = nc;
          block.target = target(ic, jc, pc, plan.kc);
          leaf.block(block);
          if (shared) shared->rows_done.fetch_add(mc);
        }
        if (shared) {
          before = shared++;
          second = !second;
        }
      }
    }
  }

  void set_a(GemmBlock& block, void* a_buffer, std::int64_t ic, std::int64_t mc, std::int64_t pc,
             std::int64_t kc) const {
    const std::int64_t packed = leaf.shape.packed(kc);
    if (plan.pack_a) {
      fill_panels(leaf, g.a, g.a.rs, g.a.cs, {a_buffer, z, ic, mc, pc, kc, plan.mr});
      block.a = a_buffer;
    } else if (g.a.packed) {
      const PackedOperand& p = *g.a.packed;
      block.a = leaf.at(
          p.data, z * p.batch + leaf.shape.packed(pc) * round_up(p.lines, p.width) + ic * packed);
    } else {
      block.a = leaf.at(g.a.data, z * g.a.batch + ic * g.a.rs + pc * g.a.cs);
      block.a_panel = plan.mr * g.a.rs;
      block.a_line = g.m == 1 ? 1 : g.a.rs;
      block.a_depth = g.a.cs;
      return;
    }
    block.a_panel = plan.mr * packed;
    block.a_line = 1;
    block.a_depth = plan.mr;
  }

  static std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
};

// Entries [begin, end) of a batch that lanes_pay() is for.
void run_lanes(const Leaves& leaf, const Gemm& g, std::int64_t begin, std::int64_t end) {
  Workspace ws;
  const std::int64_t elements = g.m * g.k + g.k * g.n + g.m * g.n;
  const auto view = [&](const auto& operand) {
    return ConstMatView{leaf.entry(operand, begin), operand.rs, operand.cs, operand.batch};
  };
  MatView c = g.c;
  c.data = leaf.at(c.data, begin * c.batch);
  leaf.lanes({g.m, g.n, g.k, end - begin, view(g.a), view(g.b), c, g.alpha, g.beta,
              leaf.scratch(ws, elements * leaf.shape.vector)});
}

}  // namespace

void gemm(DType dtype, const Gemm& problem) {
  if (problem.m <= 0 || problem.n <= 0 || problem.batch <= 0) return;
  const PackedOperand* const packed = problem.a.packed ? problem.a.packed : problem.b.packed;
  const Leaves leaf(dtype, packed ? packed->target : active_target(), problem.source);

  // The kernels store rows. A C that is stored by columns, and a column vector, are transposed.
  const bool by_columns = problem.c.rs == 1 && problem.c.cs != 1 && problem.n > 1;
  const bool column_vector = problem.n == 1 && problem.m > 1 && !problem.a.pack && !problem.b.pack;
  const bool can_flip = !packed && problem.c.block == 0 && problem.epilogue.bias.block == 0 &&
                        problem.epilogue.residual.block == 0;
  const bool flip = by_columns || column_vector;
  Gemm flipped;
  if (can_flip && (flip != better_transposed(leaf.shape, leaf.depth_bytes(),
                                             flip ? transposed(problem) : problem))) {
    flipped = transposed(problem);
  }
  const Gemm& g = flipped.m ? flipped : problem;
  if (Trace* const trace = Trace::current()) {
    trace_gemm(*trace, dtype, packed ? packed->target : active_target(), leaf.shape, g,
               flipped.m > 0);
  }

  if (g.batch == 1) return Product(leaf, g).run(0);
  // Large entries are run one after another by all threads, small ones by one thread each.
  const int shares = threads_for_entries(g);
  if (shares == 0) {
    Product product(leaf, g);
    for (std::int64_t z = 0; z < g.batch; ++z) product.run(z);
    return;
  }
  const bool lanes = lanes_pay(leaf.shape, g);
  const auto entries = [&](std::int64_t begin, std::int64_t end) {
    if (lanes) return run_lanes(leaf, g, begin, end);
    Product(leaf, g).run(begin, end);
  };
  if (shares == 1) return entries(0, g.batch);
  parallel_for(g.batch, ceil_div(g.batch, shares), entries);
}

GemmShape gemm_shape_of(DType dtype) { return Leaves(dtype, active_target(), dtype).shape; }

std::size_t packed_bytes(DType dtype, GemmSide side, std::int64_t lines, std::int64_t depth) {
  const GemmShape shape = gemm_shape_of(dtype);
  const std::int64_t padded = round_up(lines, side == GemmSide::a ? shape.mr : shape.nr);
  return std::size_t(padded * shape.packed(depth)) * itemsize(Leaves::result_of(dtype));
}

PackedOperand pack_operand(DType dtype, GemmSide side, const Operand& operand, std::int64_t lines,
                           std::int64_t depth, void* dst, DType source) {
  const Target target = active_target();
  const Leaves leaf(dtype, target, source);
  const bool is_a = side == GemmSide::a;
  const int width = is_a ? leaf.shape.mr : leaf.shape.nr;
  const std::int64_t padded = round_up(lines, width);
  const std::int64_t kc = depth_block(depth, leaf.shape.kc);
  for (std::int64_t pc = 0; pc < depth; pc += kc) {
    const std::int64_t now = depth - pc < kc ? depth - pc : kc;
    const auto panels = [&](std::int64_t begin, std::int64_t end) {
      fill_panels(leaf, operand, is_a ? operand.rs : operand.cs, is_a ? operand.cs : operand.rs,
                  {leaf.at(dst, leaf.shape.packed(pc) * padded + begin * leaf.shape.packed(now)), 0,
                   begin, end - begin, pc, now, width});
    };
    if (lines > 0) {
      parallel_for(lines, round_up(ceil_div(std::int64_t(1) << 16, now), width), panels);
    }
  }
  return {dst, target, width, lines, depth, 0};
}

}  // namespace gradsmith::kernels
