// The formulas of gemm.h in plain loops with sums in double.
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/gemm/activate_reference.h"

namespace gradsmith::kernels::reference {
namespace {

template <class T, class Pointer>
std::int64_t index_of(const MatViewOf<Pointer>& view, std::int64_t i, std::int64_t j) {
  if (view.block == 0) return i * view.rs + j * view.cs;
  return i * view.rs + j / view.block * view.block_stride + j % view.block * view.cs;
}

template <class T>
void put(const GemmTarget& t, std::int64_t ir, std::int64_t jr, double sum) {
  const std::int64_t i = t.row + ir, j = t.column + jr;
  T& c = static_cast<T*>(t.c.data)[index_of<T>(t.c, i, j)];
  double value = t.alpha * sum;
  if (t.beta != 0) value += t.beta * double(c);
  if (const Epilogue* e = t.epilogue) {
    if (e->bias.data)
      value += double(static_cast<const T*>(e->bias.data)[index_of<T>(e->bias, i, j)]);
    if (e->residual.data) {
      value += double(static_cast<const T*>(e->residual.data)[index_of<T>(e->residual, i, j)]);
    }
    value = activate(value, e->activation, e->slope);
  }
  c = T(value);
}

constexpr int kTile = 4;

template <class T>
void block(const GemmBlock& args) {
  GemmTarget target = args.target;
  for (std::int64_t z = 0; z < args.entries; ++z) {
    const T* a = static_cast<const T*>(args.a) + z * args.a_entry;
    const T* b = static_cast<const T*>(args.b) + z * args.b_entry;
    for (std::int64_t i = 0; i < args.m; ++i) {
      for (std::int64_t j = 0; j < args.n; ++j) {
        const T* row = a + i / args.mr * args.a_panel + i % args.mr * args.a_line;
        const T* column = b + j / kTile * args.b_panel + j % kTile;
        double sum = 0;
        for (std::int64_t p = 0; p < args.k; ++p) {
          sum += double(row[p * args.a_depth]) * double(column[p * args.b_depth]);
        }
        put<T>(target, i, j, sum);
      }
    }
    target.c.data = static_cast<T*>(target.c.data) + target.c.batch;
  }
}

template <class T>
void finish(const GemmFinish& args) {
  const T* sums = static_cast<const T*>(args.sums);
  for (std::int64_t i = 0; i < args.m; ++i) {
    for (std::int64_t j = 0; j < args.n; ++j) {
      put<T>(args.target, i, j, sums ? double(sums[i * args.sums_rs + j]) : 0.0);
    }
  }
}

template <class T>
void lanes(const GemmLanes& args) {
  const T* const a = static_cast<const T*>(args.a.data);
  const T* const b = static_cast<const T*>(args.b.data);
  GemmTarget target{args.c, 0, 0, args.alpha, args.beta, nullptr};
  for (std::int64_t z = 0; z < args.entries; ++z) {
    for (std::int64_t i = 0; i < args.m; ++i) {
      for (std::int64_t j = 0; j < args.n; ++j) {
        double sum = 0;
        for (std::int64_t p = 0; p < args.k; ++p) {
          sum += double(a[z * args.a.batch + i * args.a.rs + p * args.a.cs]) *
                 double(b[z * args.b.batch + p * args.b.rs + j * args.b.cs]);
        }
        put<T>(target, i, j, sum);
      }
    }
    target.c.data = static_cast<T*>(target.c.data) + target.c.batch;
  }
}

float rounded(float x) {
  std::uint32_t u;
  std::memcpy(&u, &x, sizeof u);
  u = std::isnan(x) ? u | 0x400000u : u + 0x7fffu + (u >> 16 & 1u);
  u &= 0xffff0000u;
  std::memcpy(&x, &u, sizeof x);
  return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
}
float value(std::uint16_t x) {
  const std::uint32_t u = std::uint32_t(x) << 16;
  float y;
  std::memcpy(&y, &u, sizeof y);
  return rounded(y);
}

// convert: from an element of the matrix to one of the panel; pair: GemmShape's.
template <class T, class Source, class Convert>
void pack(const GemmPack& args, int pair, Convert convert) {
  const PackRequest& r = args.request;
  const Source* src = static_cast<const Source*>(args.src);
  T* dst = static_cast<T*>(r.dst);
  const std::int64_t depth = pair ? (r.depth + 1) / 2 * pair : r.depth;
  for (std::int64_t panel = 0; panel * r.width < r.lines; ++panel) {
    for (std::int64_t p = 0; p < depth; ++p) {
      for (int l = 0; l < r.width; ++l) {
        const std::int64_t line = panel * r.width + l;
        dst[(panel * depth + p) * r.width + l] =
            line < r.lines && p < r.depth
                ? convert(src[(r.first + line) * args.line + (r.depth0 + p) * args.depth])
                : T(0);
      }
    }
  }
}

template <class T>
void gemv(const GemvBlocks& args) {
  const T* a = static_cast<const T*>(args.a);
  const T* x = static_cast<const T*>(args.x);
  T* y = static_cast<T*>(args.y);
  for (std::int64_t pc = 0; pc < args.k; pc += args.kc) {
    for (int v = 0; v < args.vectors; ++v, y += args.y_rs) {
      for (std::int64_t i = 0; i < args.lines; ++i) {
        double sum = 0;
        for (std::int64_t p = pc; p < args.k && p - pc < args.kc; ++p) {
          sum += double(a[i * args.stride + p]) * double(x[v * args.x_rs + p]);
        }
        y[i] = T(sum);
      }
    }
  }
}

}  // namespace

// One depth block, so that nothing is rounded before the end.
void gemm_shape_f32(GemmShape& shape) {
  shape = {kTile, kTile, 1, kTile, std::numeric_limits<std::int64_t>::max() / 64};
}
void gemm_shape_f64(GemmShape& shape) { gemm_shape_f32(shape); }
void gemm_shape_bf16(GemmShape& shape) {
  gemm_shape_f32(shape);
  shape.pair = 2;
}
void gemm_pack_f32(const GemmPack& args) {
  pack<float, float>(args, 0, [](float x) { return x; });
}
void gemm_pack_f64(const GemmPack& args) {
  pack<double, double>(args, 0, [](double x) { return x; });
}
void gemm_pack_bf16(const GemmPack& args) {
  if (args.source == DType::bf16) return pack<float, std::uint16_t>(args, 2, value);
  pack<float, float>(args, 2, rounded);
}
void gemm_block_f32(const GemmBlock& args) { block<float>(args); }
void gemm_block_f64(const GemmBlock& args) { block<double>(args); }
void gemm_block_bf16(const GemmBlock& args) { block<float>(args); }
void gemm_finish_f32(const GemmFinish& args) { finish<float>(args); }
void gemm_finish_f64(const GemmFinish& args) { finish<double>(args); }
void gemm_lanes_f32(const GemmLanes& args) { lanes<float>(args); }
void gemm_lanes_f64(const GemmLanes& args) { lanes<double>(args); }
void gemv_dot_f32(const GemvBlocks& args) { gemv<float>(args); }
void gemv_dot_f64(const GemvBlocks& args) { gemv<double>(args); }

}  // namespace gradsmith::kernels::reference
