// What the gemm driver chose, in words.
#include "kernels/trace.h"

#include "kernels/gemm/blocking.h"
#include "runtime/parallel.h"

namespace gradsmith::kernels {

namespace {

const char* path_of(const GemmShape& shape, const Gemm& g, const GemmPlan& plan) {
  if (lanes_pay(shape, g)) return "entries of the batch as lanes";
  if (g.k == 0 || g.alpha == 0) return "nothing to multiply";
  if (plan.vectors) return "vectors times lines in place (gemv_dot)";
  if (plan.stream) return "few rows: B in place, read once by rows";
  return "blocks";
}

}  // namespace

void trace_gemm(Trace& trace, DType dtype, Target target, const GemmShape& shape, const Gemm& g,
                bool transposed) {
  const std::size_t depth_bytes = shape.pair ? 2 * std::size_t(shape.pair) : itemsize(dtype);
  GemmPlan plan = plan_gemm(shape, depth_bytes, g);
  if (g.batch > 1) {
    if (const int entries = threads_for_entries(g)) plan.threads = entries;
  }
  const double item = double(itemsize(dtype == DType::bf16 ? g.source : dtype));
  const double c_item = dtype == DType::bf16 ? 4.0 : item;
  const double m = double(g.m), n = double(g.n), k = double(g.k), batch = double(g.batch);
  TraceEntry e;
  e.op = "gemm";
  e.path = path_of(shape, g, plan);
  e.target = target;
  e.threads = plan.threads;
  e.flops = 2 * m * n * k * batch;
  e.bytes = batch * (item * (m * k + k * n) + c_item * m * n);
  e.sizes = {{"m", g.m},
             {"n", g.n},
             {"k", g.k},
             {"batch", g.batch},
             {"tile_rows", plan.mr},
             {"tile_columns", shape.nr},
             {"block_rows", plan.mc},
             {"block_columns", plan.nc},
             {"block_depth", plan.kc},
             {"depth_step", plan.depth_step},
             {"packs_a", plan.pack_a},
             {"packs_b", plan.pack_b}};
  const auto because = [&](const char* text) { e.reasons.emplace_back(text); };
  if (transposed) because("computed as C^T = B^T A^T: the operands are read in order that way");
  if (!plan.vectors && !plan.stream) {
    if (shape.pair) {
      because("bfloat16: both operands are packed, in pairs of depths");
    } else if (g.b.packed || g.b.pack || g.b.cs != 1) {
      because("not streamed: B is not rows in memory");
    } else if (g.m > stream_rows(shape, depth_bytes)) {
      because("not streamed: with so many rows packing B is repaid");
    } else {
      because("not streamed: B fits the cache, or its rows compete for one set of it");
    }
  }
  if (g.b.packed || g.a.packed) because("an operand was packed before");
  if (plan.threads == 1 && get_num_threads() > 1) {
    because("one thread: too little work to be worth waking another");
  }
  trace.entries.push_back(std::move(e));
}

}  // namespace gradsmith::kernels
