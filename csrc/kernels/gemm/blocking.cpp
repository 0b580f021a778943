// Formulas, with what they give for float32 on two CPUs:
//                         Zen 3 (32K, 512K, 32M)     Emerald Rapids (48K, 2M, 260M)
//   kernel                avx2 6 x 16                avx512 6 x 64 (two panels)
//   kc (k = 1024)         512                        512
//   panel of B, kc x nr   32 KiB                     64 KiB
//   mc: mc * kc in L2     at most 126 (half of it)   at most 636 (5/8)
//   nc: kc * nc <= L3/8   2048                       16640
#include "kernels/gemm/blocking.h"

#include <algorithm>

#include "base/cpu.h"
#include "runtime/parallel.h"

namespace gradsmith::kernels {

namespace {

struct CacheSizes {
  std::int64_t l1, l2, l3;  // bytes of a core's own first and second level, and of the last level
};
CacheSizes cache_sizes() {
  const CpuInfo& cpu = cpu_info();
  const auto known = [](std::int64_t bytes, std::int64_t fallback) {
    return bytes > 0 ? bytes : fallback;
  };
  return {known(cpu.l1d_bytes, 32 << 10), known(cpu.l2_bytes, 512 << 10) / cpu.l2_shared_by,
          known(cpu.l3_bytes, 8 << 20)};
}

// Depths of a step. Each is a stream for the prefetcher, so few rows take few; many rows take more,
// for the sums come from memory once a step.
std::int64_t stream_step(std::int64_t m) { return m <= 12 ? 8 : m <= 24 ? 16 : 32; }

// Where B is read once from memory: 2^17 elements take some 20 us, behind which the multiply-adds
// of up to 8 rows are hidden.
int threads_to_read(std::int64_t n, std::int64_t k, std::int64_t m) {
  const std::int64_t worth = n * k * std::max<std::int64_t>(1, m / 8) >> 17;
  return int(std::clamp<std::int64_t>(worth, 1, get_num_threads()));
}

// Rows that gemv_dot takes at once. Each square of a matrix is transposed in registers for all of
// them, where a tile of so few columns multiplies every element by a register that is mostly empty.
bool few_vectors(const GemmShape& shape, std::size_t item, std::int64_t rows, std::int64_t lines,
                 std::int64_t depth) {
  if (rows == 1) return true;
  const bool wide = wide_registers(shape, item);
  return rows <= (wide ? kMaxVectors : 2) && shape.vector > 4 && lines >= 2 * shape.vector &&
         depth >= 2 * shape.vector;
}

}  // namespace

bool share_cache(std::int64_t rows, std::int64_t stride) {
  constexpr std::int64_t kWay = 4096, kWays = 8;
  if (stride == 0) return true;
  const std::int64_t apart = std::min(stride & -stride, kWay);  // power of two in the stride
  return rows <= kWays * (kWay / apart);
}

// Thresholds measured where arithmetic is twice as fast and caches are not.
bool wide_registers(const GemmShape& shape, std::size_t item) {
  return shape.vector * (shape.pair ? 4 : std::int64_t(item)) >= 64;
}
int threads_for_entries(const Gemm& g) {
  const std::int64_t work = g.m * g.n * (g.k + 8);
  return work > (std::int64_t(1) << 24) ? 0 : threads_for(g.batch * work);
}

std::int64_t stream_rows(const GemmShape& shape, std::size_t item) {
  return wide_registers(shape, item) ? 32 : 48;
}

std::int64_t depth_block(std::int64_t k, std::int64_t kc) {
  if (k <= kc) return std::max<std::int64_t>(k, 1);
  return std::min(kc, round_up(ceil_div(k, ceil_div(k, kc)), 8));
}

int threads_for(std::int64_t multiply_adds) {
  // 2^20 multiply-adds take some 20 us on one core, as long as waking a thread takes. One that
  // still waits for work takes it up within a microsecond, but shares the packing with the others:
  // with vectors twice as wide a product of 128 cubed is slower on two threads (34 against 28 us).
  const bool wide = active_target() >= Target::avx512;
  if (multiply_adds >> (wide ? 21 : 19) == 0) return 1;
  const std::int64_t worth = multiply_adds >> (wide ? 21 : workers_awake() ? 18 : 20);
  if (worth <= 1) return 1;
  return int(std::min<std::int64_t>(get_num_threads(), worth));
}

GemmPlan plan_gemm(const GemmShape& shape, std::size_t item, const Gemm& g) {
  const CacheSizes cache = cache_sizes();
  const auto bytes = std::int64_t(item);
  GemmPlan plan;
  plan.kc = depth_block(g.k, shape.kc);
  plan.threads = threads_for(g.m * g.n * g.k);

  // Tall tiles for few columns, unless their rows' lines share a set of the cache where they lie.
  // Tiles of equal height where there are few: 8 rows are 4 + 4, not 6 + 2.
  const bool tall = g.n <= 2 * shape.vector && (g.a.packed || g.a.pack || g.a.cs != 1 ||
                                                share_cache(shape.tall, g.a.rs * bytes));
  const int tallest = tall ? shape.tall : shape.mr;
  const std::int64_t tiles = ceil_div(g.m, tallest);
  plan.mr = tiles <= 4 ? int(ceil_div(g.m, tiles)) : tallest;
  if (g.a.packed) plan.mr = g.a.packed->width;

  // Packing B pays where more than two tiles read each panel and the block leaves the first-level
  // cache; packing A where many panels read each tile.
  const bool b_direct = !g.b.packed && !g.b.pack && g.b.cs == 1;
  const std::int64_t narrow = (wide_registers(shape, item) ? 2 : 1) * shape.nr;
  const bool dense = g.n <= narrow && g.b.rs <= narrow;  // as good as a panel
  plan.pack_b = !g.b.packed && (!b_direct || shape.pair ||
                                (tiles > 2 && !dense && plan.kc * g.n * bytes > cache.l1 / 2));
  const bool a_direct = !g.a.packed && !g.a.pack;
  plan.vectors = !shape.pair && a_direct && !g.b.packed && !g.b.pack && g.b.rs == 1 &&
                 g.b.cs != 1 && few_vectors(shape, item, g.m, g.n, g.k);

  // Few rows meet a wide B: its rows are read in order while the sums wait in the second-level
  // cache, in half of it.
  const std::int64_t step = stream_step(g.m);
  plan.stream = b_direct && !shape.pair && g.m <= stream_rows(shape, item) &&
                plan.kc * g.n * bytes > cache.l1 / 2 && share_cache(step, g.b.rs * bytes);
  plan.depth_step = plan.stream ? step : plan.kc;
  if (plan.vectors || plan.stream) plan.threads = threads_to_read(g.n, g.k, g.m);
  if (plan.stream) {
    // B passes once for each tile of rows, from farther away than the sums: tall tiles.
    if (!g.a.packed) plan.mr = int(ceil_div(g.m, ceil_div(g.m, shape.tall)));
    plan.pack_b = false;
    plan.pack_a = !g.a.packed && (g.m > 1 || !a_direct || g.a.cs != 1);
    plan.mc = round_up(g.m, plan.mr);
    plan.nc = std::max<std::int64_t>(cache.l2 / 2 / bytes / g.m / (4 * shape.nr), 1) * 4 * shape.nr;
    return plan;
  }
  plan.pack_a = !g.a.packed && (!a_direct || shape.pair || (tiles > 1 && g.n > 8 * narrow));

  // Few rows: the block of B is read too seldom to be worth a trip to the third level.
  const std::int64_t few = wide_registers(shape, item) ? 160 : 4 * shape.mr;
  const std::int64_t b_bytes = g.m <= few ? cache.l2 / 2 : cache.l3 / 8;
  // Blocks of A of equal height: a low one would read all of B for little.
  const std::int64_t a_bytes = cache.l2 >= 1 << 20 ? cache.l2 * 5 / 8 : cache.l2 / 2;
  const std::int64_t most = std::max<std::int64_t>(a_bytes / (plan.kc * bytes) / plan.mr, 1);
  const std::int64_t blocks = ceil_div(ceil_div(g.m, plan.mr), most);
  plan.mc = round_up(ceil_div(g.m, blocks), plan.mr);
  plan.nc = std::max<std::int64_t>(b_bytes / (plan.kc * bytes) / shape.nr, 1) * shape.nr;
  if (!plan.pack_a && g.n <= shape.nr) plan.mc = round_up(g.m, plan.mr);
  if (!plan.pack_b) plan.nc = round_up(g.n, shape.nr);
  return plan;
}

bool lanes_pay(const GemmShape& shape, const Gemm& g) {
  const auto dense = [](const auto& view, std::int64_t rows, std::int64_t columns) {
    return ((view.cs == 1 || columns == 1) && (view.rs == columns || rows == 1)) ||
           ((view.rs == 1 || rows == 1) && (view.cs == rows || columns == 1));
  };
  const auto plain = [](const Operand& operand) { return !operand.pack && !operand.packed; };
  const Epilogue& e = g.epilogue;
  // Three squares of that side: beyond, transposing costs more than empty lanes and short loops,
  // and more than packing every entry's B, or dot products as short as its lines, twice that side.
  const bool by_lines = g.n == 1 || g.b.cs != 1;
  const std::int64_t lanes = shape.vector;
  const std::int64_t side = std::min<std::int64_t>(lanes, 8) * (by_lines ? 2 : 1);
  return lanes > 1 && !shape.pair && g.batch >= lanes && g.k > 0 && g.alpha != 0 &&
         g.m * g.k + g.k * g.n + g.m * g.n <= 3 * side * side && plain(g.a) && plain(g.b) &&
         g.c.block == 0 && !e.bias.data && !e.residual.data && e.activation == Activation::none &&
         dense(g.a, g.m, g.k) && dense(g.b, g.k, g.n) && dense(g.c, g.m, g.n);
}

bool better_transposed(const GemmShape& shape, std::size_t item, const Gemm& g) {
  const bool plain = !g.a.pack && !g.b.pack;
  const bool a_by_columns = g.a.rs == 1 && g.a.cs != 1, b_by_columns = g.b.rs == 1 && g.b.cs != 1;
  if (!plain || shape.pair || g.k < 32) return false;
  if (b_by_columns && few_vectors(shape, item, g.m, g.n, g.k)) return false;
  if (g.a.cs == 1 && g.a.rs != 1 && g.n < g.m && few_vectors(shape, item, g.n, g.m, g.k)) {
    return true;
  }
  // Few rows: then B's lines are read as rows of A, in place. Few columns: then A is the B whose
  // rows are copied or streamed, many neighbours at a time, and C by columns is the small matrix.
  const std::int64_t lines = wide_registers(shape, item) ? 128 : 40;
  constexpr std::int64_t kColumns = 256;
  // Flipped, m * k elements are spared the slow packing and m * n are written by columns.
  const bool worth = g.n <= kColumns || (g.n <= g.k && 2 * g.n <= g.m);
  return (g.m > 1 && g.m <= lines && g.m < g.n && b_by_columns) ||
         (worth && g.n < g.m && a_by_columns);
}

Grid grid_for(const GemmShape& shape, std::int64_t m, std::int64_t n, int threads) {
  const std::int64_t row_tiles = ceil_div(m, shape.mr), column_tiles = ceil_div(n, shape.nr);
  Grid best{1, threads};
  double best_cost = 0;
  for (int rows = 1; rows <= threads; ++rows) {
    if (threads % rows) continue;
    const int columns = threads / rows;
    // Per depth: multiply-adds of the largest share in cycles, and elements packed at about 4 a
    // cycle; B is packed by all threads of a column together.
    const double r = double(ceil_div(row_tiles, rows) * shape.mr);
    const double c = double(ceil_div(column_tiles, columns) * shape.nr);
    const double cost = r * c / (2 * shape.vector) + r / 4 + c / rows / 4;
    if (rows == 1 || cost < best_cost) best = {rows, columns}, best_cost = cost;
  }
  return best;
}

Range share(std::int64_t total, std::int64_t unit, int i, int parts) {
  const std::int64_t units = ceil_div(total, unit);
  return {std::min(total, units * i / parts * unit),
          std::min(total, units * (i + 1) / parts * unit)};
}

}  // namespace gradsmith::kernels
