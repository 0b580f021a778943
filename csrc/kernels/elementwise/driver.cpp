// Brings operands of any shape down to runs of one dimension and shares them among threads.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/cpu.h"
#include "kernels/elementwise/elementwise.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace gradsmith::kernels {
namespace {

// Elements worth a thread: 128 KB of float32 take about as long as waking one up.
constexpr std::int64_t kGrain = 32768;

// Outputs of this size are not kept by a cache until they are read, and ordinary stores read a line
// before they write it. On a processor with 2 MiB of L2 and a large shared L3, copying gains from
// 2 MiB on, copying and reading the copy from 16 MiB on (Emerald Rapids, 2026-11-26).
constexpr std::int64_t kStreamBytes = 16 << 20;

// Zen 4 prefetches across pages, and asking disturbs it: without, in a prototype of the loop, 16 M
// products take 5.2 instead of 6.5 ms, relu 3.0 instead of 3.5. For Emerald Rapids see get_ahead.
bool asks_ahead() {
  static const bool asks = cpu_info().brand.find("AMD") == std::string::npos;
  return asks;
}

// The loop nest that `kOperands` views of one shape share. Operand 0 is the output; the innermost
// dimension comes last.
template <int kOperands>
struct Loops {
  int ndim = 0;
  std::int64_t shape[kMaxDims], total = 1;
  std::int64_t strides[kOperands][kMaxDims];
  char* base[kOperands];
  std::int64_t bytes[kOperands];

  explicit Loops(const NdView* const (&views)[kOperands]) {
    for (int k = 0; k < kOperands; ++k) {
      base[k] = static_cast<char*>(views[k]->data);
      bytes[k] = std::int64_t(itemsize(views[k]->dtype));
    }
    for (int d = 0; d < views[0]->ndim; ++d) {
      const std::int64_t size = views[0]->shape[d];
      total *= size;
      if (size != 1) insert(views, d, size);
    }
    merge();
    if (ndim == 0) {
      ndim = 1;
      shape[0] = 1;
      for (auto& s : strides) s[0] = 1;
    }
  }

  // Keeps dimensions in descending order of the output's stride, then of the inputs'.
  void insert(const NdView* const (&views)[kOperands], int d, std::int64_t size) {
    int at = ndim++;
    for (; at > 0 && before(views, d, at - 1); --at) {
      shape[at] = shape[at - 1];
      for (auto& s : strides) s[at] = s[at - 1];
    }
    shape[at] = size;
    for (int k = 0; k < kOperands; ++k) strides[k][at] = views[k]->strides[d];
  }
  bool before(const NdView* const (&views)[kOperands], int d, int at) const {
    for (int k = 0; k < kOperands; ++k) {
      const std::int64_t mine = std::abs(views[k]->strides[d]), other = std::abs(strides[k][at]);
      if (mine != other) return mine > other;
    }
    return false;
  }

  // Two neighbours are one dimension where every operand steps over the inner one exactly.
  void merge() {
    int last = 0;
    for (int d = 1; d < ndim; ++d) {
      bool one = true;
      for (auto& s : strides) one &= s[last] == s[d] * shape[d];
      if (one) {
        shape[last] *= shape[d];
      } else {
        shape[++last] = shape[d];
      }
      for (auto& s : strides) s[last] = s[d];
    }
    if (ndim) ndim = last + 1;
  }

  // fn(n, pointers) for runs along the innermost dimension that cover elements [begin, end).
  template <class F>
  void range(std::int64_t begin, std::int64_t end, F&& fn) const {
    const int inner = ndim - 1;
    std::int64_t at[kMaxDims], rest = begin;
    char* row[kOperands];
    for (int k = 0; k < kOperands; ++k) row[k] = base[k];
    for (int d = inner; d >= 0; --d) {
      at[d] = rest % shape[d];
      rest /= shape[d];
      if (d == inner) continue;
      for (int k = 0; k < kOperands; ++k) row[k] += at[d] * strides[k][d] * bytes[k];
    }
    while (begin < end) {
      const std::int64_t n = std::min(shape[inner] - at[inner], end - begin);
      char* p[kOperands];
      for (int k = 0; k < kOperands; ++k) p[k] = row[k] + at[inner] * strides[k][inner] * bytes[k];
      fn(n, p);
      begin += n;
      at[inner] = 0;
      for (int d = inner - 1; d >= 0; --d) {
        const bool carry = ++at[d] == shape[d];
        const std::int64_t steps = carry ? 1 - shape[d] : 1;
        for (int k = 0; k < kOperands; ++k) row[k] += steps * strides[k][d] * bytes[k];
        if (!carry) break;
        at[d] = 0;
      }
    }
  }

  template <class F>
  void run(F&& fn) const {
    if (total == 0) return;
    if (total <= kGrain) return range(0, total, fn);
    parallel_for(total, kGrain, [&](std::int64_t b, std::int64_t e) { range(b, e, fn); });
  }
  std::int64_t step(int operand) const { return strides[operand][ndim - 1]; }

  // Whether runs along the innermost dimension should be written past the caches: see kStreamBytes.
  // Short runs share lines with their neighbours, and who works in place has the lines at hand.
  bool stream() const {
    constexpr std::int64_t kLongRun = 8192;
    bool apart = total * bytes[0] >= kStreamBytes && step(0) == 1;
    for (int k = 1; k < kOperands; ++k) apart &= base[k] != base[0];
    return apart && shape[ndim - 1] * bytes[0] >= kLongRun;
  }
};

// Elements of a run that dense views of one shape make together; -1 where they do not, or where it
// is worth sharing. Small tensors are spared the loop nest.
template <class... Views>
std::int64_t short_dense_run(const NdView& y, const Views&... inputs) {
  std::int64_t n = 1;
  for (int d = y.ndim - 1; d >= 0; --d) {
    const std::int64_t stride = n;
    n *= y.shape[d];
    const auto steps = [&](const NdView& v) { return v.strides[d] == stride; };
    if (y.shape[d] != 1 && !(steps(y) && (steps(inputs) && ...))) return -1;
  }
  return n <= kGrain ? n : -1;
}

void map(unary_kernel* kernel, const NdView& y, const NdView& x, Params params) {
  if (const std::int64_t n = short_dense_run(y, x); n >= 0) {
    if (n > 0) kernel({n, y.data, x.data, 1, 1, params});
    return;
  }
  const Loops<2> loops({&y, &x});
  const bool stream = loops.stream();
  loops.run([&](std::int64_t n, char* const* p) {
    kernel({n, p[0], p[1], loops.step(0), loops.step(1), params, stream, asks_ahead()});
  });
}

// The dtype whose row moves elements of this size.
DType element_row(DType dtype) {
  switch (itemsize(dtype)) {
    case 8:
      return DType::f64;
    case 4:
      return DType::f32;
    case 2:
      return DType::bf16;
    default:
      return DType::u8;
  }
}

// Copies whose input is contiguous along another dimension than the output are transpositions of
// the two dimensions, once for every position in the others.
bool copy_transposed(const NdView& y, const NdView& x) {
  const Loops<2> loops({&y, &x});
  const int inner = loops.ndim - 1;
  if (loops.strides[0][inner] != 1 || loops.strides[1][inner] == 1) return false;
  int other = inner - 1;
  while (other >= 0 && loops.strides[1][other] != 1) --other;
  if (other < 0 || loops.shape[other] < 4 || loops.shape[inner] < 4) return false;
  const auto kernel = transpose_tile.pick(element_row(y.dtype));
  // Squares of both dimensions and the outer positions are shared among threads.
  const std::int64_t rows = loops.shape[other], columns = loops.shape[inner];
  const std::int64_t rows_per_tile = 64, tiles = (rows + rows_per_tile - 1) / rows_per_tile;
  const std::int64_t outer = loops.total / (rows * columns);
  const std::int64_t grain = kGrain / (rows_per_tile * columns) + 1;
  parallel_for(outer * tiles, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t first = t % tiles * rows_per_tile;
      char *to = loops.base[0], *from = loops.base[1];
      std::int64_t rest = t / tiles;
      const auto advance = [&](int d, std::int64_t count) {
        to += count * loops.strides[0][d] * loops.bytes[0];
        from += count * loops.strides[1][d] * loops.bytes[1];
      };
      for (int d = inner - 1; d >= 0; --d) {
        if (d == other) continue;
        advance(d, rest % loops.shape[d]);
        rest /= loops.shape[d];
      }
      advance(other, first);
      kernel({std::min(rows_per_tile, rows - first), columns, to, from, loops.strides[0][other],
              loops.strides[1][inner]});
    }
  });
  return true;
}

// A small operand that is the same for every index of the outermost dimension, a row added to a
// matrix or a value for every channel of images, while the others are dense: 1, 2 or, for none, 0.
// Where runs are long nothing is gained.
int repeated_operand(const Loops<3>& loops) {
  constexpr std::int64_t kLongRun = 256, kLargest = 1 << 15;
  const std::int64_t period = loops.total / std::max<std::int64_t>(loops.shape[0], 1);
  if (loops.ndim < 2 || loops.shape[loops.ndim - 1] >= kLongRun || loops.shape[0] < 4) return 0;
  if (period > kLargest || loops.total < kLongRun) return 0;
  const auto dense = [&](int k) {
    std::int64_t stride = 1;
    for (int d = loops.ndim - 1; d >= 0; stride *= loops.shape[d--])
      if (loops.strides[k][d] != stride) return false;
    return true;
  };
  if (!dense(0)) return 0;
  if (loops.strides[1][0] == 0 && dense(2)) return 1;
  return loops.strides[2][0] == 0 && dense(1) ? 2 : 0;
}

// The repeated operand is written out, once or until it makes a long run, and then all is dense.
void run_repeated(binary_kernel* kernel, const Loops<3>& loops, int k, DType dtype, Params params) {
  constexpr std::int64_t kRun = 2048;
  const std::int64_t period = loops.total / loops.shape[0], item = loops.bytes[k];
  const std::int64_t times = std::min(loops.shape[0], (kRun + period - 1) / period);
  const std::int64_t run = times * period;
  const bool stream = loops.total * loops.bytes[0] >= kStreamBytes &&
                      run * loops.bytes[0] % 64 == 0 && loops.base[0] != loops.base[3 - k];
  Workspace workspace;
  char* const written = workspace.get<char>(run * item);
  std::int64_t strides[kMaxDims], stride = 1;
  for (int d = loops.ndim - 1; d > 0; stride *= loops.shape[d--]) strides[d] = stride;
  copy({written, dtype, loops.ndim - 1, loops.shape + 1, strides + 1},
       {loops.base[k], dtype, loops.ndim - 1, loops.shape + 1, loops.strides[k] + 1});
  for (std::int64_t i = 1; i < times; ++i) {
    std::memcpy(written + i * period * item, written, std::size_t(period * item));
  }
  const auto range = [&](std::int64_t begin, std::int64_t end) {
    while (begin < end) {
      const std::int64_t inside = begin % run, n = std::min(run - inside, end - begin);
      const char* p[3];
      for (int i = 0; i < 3; ++i) p[i] = loops.base[i] + begin * loops.bytes[i];
      p[k] = written + inside * item;
      kernel({n, const_cast<char*>(p[0]), p[1], p[2], 1, 1, 1, params, stream, asks_ahead()});
      begin += n;
    }
  };
  if (loops.total <= kGrain) return range(0, loops.total);
  parallel_for(loops.total, kGrain, range);
}

const Kernel<unary_kernel>& cast_to(DType dtype) {
  static constexpr const Kernel<unary_kernel>* kCasts[kDTypes] = {
      &cast_to_f32, &cast_to_f64, &cast_to_bf16, &cast_to_f16,
      &cast_to_i64, &cast_to_i32, &cast_to_u8,   &cast_to_b8};
  return *kCasts[int(dtype)];
}

}  // namespace

void unary(const Kernel<unary_kernel>& op, const NdView& y, const NdView& x, Params params) {
  map(op.pick(x.dtype), y, x, params);
}

void binary(const Kernel<binary_kernel>& op, const NdView& y, const NdView& a, const NdView& b,
            Params params) {
  const auto kernel = op.pick(a.dtype);
  if (const std::int64_t n = short_dense_run(y, a, b); n >= 0) {
    if (n > 0) kernel({n, y.data, a.data, b.data, 1, 1, 1, params});
    return;
  }
  const Loops<3> loops({&y, &a, &b});
  if (const int k = repeated_operand(loops)) return run_repeated(kernel, loops, k, b.dtype, params);
  const bool stream = loops.stream();
  loops.run([&](std::int64_t n, char* const* p) {
    kernel({n, p[0], p[1], p[2], loops.step(0), loops.step(1), loops.step(2), params, stream,
            asks_ahead()});
  });
}

void where(const NdView& y, const NdView& condition, const NdView& a, const NdView& b) {
  const auto kernel = where_elements.pick(element_row(y.dtype));
  const Loops<4> loops({&y, &condition, &a, &b});
  loops.run([&](std::int64_t n, char* const* p) {
    kernel({n, p[0], reinterpret_cast<const std::uint8_t*>(p[1]), p[2], p[3], loops.step(0),
            loops.step(1), loops.step(2), loops.step(3)});
  });
}

void copy(const NdView& y, const NdView& x) {
  if (y.dtype != x.dtype) return map(cast_to(y.dtype).pick(x.dtype), y, x, {});
  if (y.ndim > 1 && copy_transposed(y, x)) return;
  map(copy_elements.pick(element_row(y.dtype)), y, x, {});
}

void fill(const NdView& y, const void* element) {
  const std::int64_t zeros[kMaxDims] = {};
  copy(y, {const_cast<void*>(element), y.dtype, y.ndim, y.shape, zeros});
}

void iota(const NdView& y, double start, double step) {
  if (y.numel() == 0) return;
  ramp.pick(y.dtype)({y.shape[0], y.data, nullptr, y.strides[0], 0, {start, step}});
}

}  // namespace gradsmith::kernels
