// The reductions on CUDA, run by the emulator, against plain loops in float64.
#include <numeric>

#include "cuda_testing.h"

namespace {

using Shape = std::vector<std::int64_t>;

std::int64_t product(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t(1), std::multiplies<>());
}

// What `op` gives for the values of one output, in order.
double expected(ReduceOp op, const std::vector<double>& x, double correction) {
  const double n = double(x.size());
  double sum = 0, square = 0, size = 0, prod = 1, nonzero = 0, deviation = 0;
  std::size_t most = 0, least = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    sum += x[i], square += x[i] * x[i], size += std::abs(x[i]), prod *= x[i], nonzero += x[i] != 0;
    if (!std::isnan(x[most]) && (std::isnan(x[i]) || x[i] > x[most])) most = i;
    if (!std::isnan(x[least]) && (std::isnan(x[i]) || x[i] < x[least])) least = i;
  }
  for (double v : x) deviation += (v - sum / n) * (v - sum / n);
  const double variance = deviation / std::max(0.0, n - correction);
  switch (op) {
    case ReduceOp::sum:
      return sum;
    case ReduceOp::mean:
      return sum / n;
    case ReduceOp::prod:
      return prod;
    case ReduceOp::max:
      return x[most];
    case ReduceOp::min:
      return x[least];
    case ReduceOp::any:
      return nonzero > 0;
    case ReduceOp::all:
      return nonzero == n;
    case ReduceOp::count_nonzero:
      return nonzero;
    case ReduceOp::sumsq:
      return square;
    case ReduceOp::norm1:
      return size;
    case ReduceOp::norm2:
      return std::sqrt(square);
    case ReduceOp::var:
      return variance;
    case ReduceOp::std_dev:
      return std::sqrt(variance);
    case ReduceOp::argmax:
      return double(most);
    case ReduceOp::argmin:
      return double(least);
  }
  return 0;
}

bool floating_only(ReduceOp op) {
  return op == ReduceOp::mean || (op >= ReduceOp::sumsq && op <= ReduceOp::std_dev);
}
DType result_dtype(ReduceOp op, DType x) {
  if (op == ReduceOp::any || op == ReduceOp::all) return DType::b8;
  if (op == ReduceOp::count_nonzero || op >= ReduceOp::argmax) return DType::i64;
  if (op == ReduceOp::max || op == ReduceOp::min || is_floating(x)) return x;
  return DType::i64;
}

// `order`: the dimensions from the outermost in memory to the innermost.
struct Case {
  Shape shape;
  unsigned dims;
  std::vector<int> order = {};
  std::int64_t step = 1, shift = 0;
  bool reversed = false;
};

void check_reduce(ReduceOp op, DType dtype, const Case& c, double nan_at = -1) {
  const int n = int(c.shape.size());
  ReduceArgs args{};
  args.op = op;
  args.ndim = n;
  args.dims = c.dims;
  args.correction = 1;
  std::copy(c.shape.begin(), c.shape.end(), args.shape);
  std::int64_t step = c.step, origin = c.shift;
  for (int i = n - 1; i >= 0; --i) {
    const int d = c.order.empty() ? i : c.order[std::size_t(i)];
    args.x.strides[d] = step;
    step *= c.shape[std::size_t(d)];
  }
  if (c.reversed && product(c.shape) > 0)
    for (int d = 0; d < n; ++d) {
      origin += (args.shape[d] - 1) * args.x.strides[d];
      args.x.strides[d] *= -1;
    }
  Buffer memory(std::size_t(step + c.shift) * itemsize(dtype));
  for (std::int64_t i = 0; i < step + c.shift; ++i) {
    double v = uniform(-2, 2);
    if (op == ReduceOp::prod) v = uniform(0.9, 1.1);
    if (!is_floating(dtype)) v = std::floor(std::abs(v) * 2);
    if (op == ReduceOp::prod && !is_floating(dtype)) v = i % 37 == 0 ? 3 : 1;  // must not overflow
    if (op == ReduceOp::any) v = 0;
    if (op == ReduceOp::all) v = 1;
    set(memory.p, dtype, i, v);
  }
  if (nan_at >= 0) set(memory.p, dtype, std::int64_t(nan_at * double(step - 1)), NAN);
  args.x.data = static_cast<char*>(memory.p) + std::size_t(origin) * itemsize(dtype);
  args.x.dtype = dtype;

  std::vector<std::vector<double>> values(1);
  Shape kept;
  for (int d = 0; d < n; ++d)
    if (!(c.dims >> d & 1)) kept.push_back(c.shape[std::size_t(d)]);
  values.resize(std::size_t(product(kept)));
  for (std::int64_t i = 0; i < product(c.shape); ++i) {
    std::int64_t rest = i, at = 0, out = 0, out_step = 1;
    for (int d = n - 1; d >= 0; --d) {
      const std::int64_t index = rest % c.shape[std::size_t(d)];
      rest /= c.shape[std::size_t(d)];
      at += index * args.x.strides[d];
      if (c.dims >> d & 1) continue;
      out += index * out_step;
      out_step *= c.shape[std::size_t(d)];
    }
    values[std::size_t(out)].push_back(get(args.x.data, dtype, at));
  }

  const DType result = result_dtype(op, dtype);
  Buffer out(values.size() * itemsize(result));
  (op >= ReduceOp::argmax ? reinterpret_cast<void*&>(args.indices) : args.out) = out.p;
  const std::string what = "reduce " + std::to_string(int(op)) + " " + gradsmith::name(dtype) +
                           " of " + std::to_string(product(c.shape)) + " dims " +
                           std::to_string(c.dims);
  in_all_schedules(what, out, [&] { return api.reduce(0, &args, nullptr); });
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i].empty() && op >= ReduceOp::argmax) continue;
    const double want = expected(op, values[i], args.correction);
    const double got = get(out.p, result, std::int64_t(i));
    double room = 0;  // of float sums: what the terms could have lost
    if (is_floating(result) && (op == ReduceOp::sum || op == ReduceOp::mean))
      room = tolerance(result) * expected(ReduceOp::norm1, values[i], 0) /
             (op == ReduceOp::mean ? double(values[i].size()) : 1);
    if (!(close(got, want, tolerance(result) * 8) || std::abs(got - want) <= room)) {
      gs_test::report(__FILE__, __LINE__,
                      what + " output " + std::to_string(i) + ": " + std::to_string(got) +
                          ", want " + std::to_string(want));
      return;
    }
  }
}

constexpr ReduceOp kAll[] = {
    ReduceOp::sum,   ReduceOp::mean, ReduceOp::prod,          ReduceOp::max,    ReduceOp::min,
    ReduceOp::any,   ReduceOp::all,  ReduceOp::count_nonzero, ReduceOp::sumsq,  ReduceOp::norm1,
    ReduceOp::norm2, ReduceOp::var,  ReduceOp::std_dev,       ReduceOp::argmax, ReduceOp::argmin};

void test_reduce() {
  const std::vector<Case> cases = {{{1}, 1},
                                   {{7}, 1},
                                   {{31, 33}, 2},
                                   {{31, 33}, 1},
                                   {{33}, 0},
                                   {{257, 5}, 2},
                                   {{5, 1031}, 2},
                                   {{1031, 5}, 1},
                                   {{3, 40, 7}, 2},
                                   {{3, 40, 7}, 5},
                                   {{2, 3, 4, 5}, 10},
                                   {{6, 36, 4}, 4, {1, 0, 2}},
                                   {{17, 19}, 2, {1, 0}},
                                   {{17, 19}, 2, {}, 3},
                                   {{9, 64}, 2, {}, 1, 1},
                                   {{9, 21}, 3, {}, 1, 0, true}};
  for (ReduceOp op : kAll)
    for (DType dtype : {DType::f32, DType::f64, DType::i64, DType::i32, DType::u8}) {
      if (floating_only(op) && !is_floating(dtype)) continue;
      for (const Case& c : cases) {
        if (dtype != DType::f32 && c.shape.size() > 2) continue;
        check_reduce(op, dtype, c);
        if (is_floating(dtype) && op >= ReduceOp::max && op <= ReduceOp::min)
          check_reduce(op, dtype, c, 0.6);
        if (is_floating(dtype) && op >= ReduceOp::argmax) check_reduce(op, dtype, c, 0.6);
      }
    }
  // Cut into chunks.
  for (ReduceOp op : {ReduceOp::sum, ReduceOp::var, ReduceOp::argmax}) {
    check_reduce(op, DType::f32, {{40009}, 1});
    check_reduce(op, DType::f32, {{40009}, 1, {}, 1, 3});
    check_reduce(op, DType::f64, {{20003, 3}, 1});
    check_reduce(op, DType::f32, {{2, 30011}, 2});
  }
  for (ReduceOp op : {ReduceOp::sum, ReduceOp::mean, ReduceOp::prod, ReduceOp::var, ReduceOp::any,
                      ReduceOp::all}) {
    check_reduce(op, DType::f32, {{3, 0}, 2});
    check_reduce(op, DType::f32, {{0, 3}, 2});
  }
}

// The same values in the same order give the same bits, aligned or not and beside other rows or
// not.
void test_same_bits() {
  constexpr std::int64_t kN = 1000;
  Buffer x((3 * kN + 1) * 4), out(3 * 4), other(4);
  for (std::int64_t i = 0; i < kN; ++i) {
    const double v = uniform(-1, 1);
    for (int r = 0; r < 3; ++r) set(x.p, DType::f32, r * kN + i, v);
  }
  ReduceArgs args{};
  args.op = ReduceOp::sumsq;
  args.ndim = 2;
  args.dims = 2;
  args.shape[0] = 3;
  args.shape[1] = kN;
  args.x = {x.p, DType::f32, {kN, 1}};
  args.out = out.p;
  CHECK(api.reduce(0, &args, nullptr) == 0);
  CHECK(get(out.p, DType::f32, 0) == get(out.p, DType::f32, 2));
  std::memmove(static_cast<char*>(x.p) + 4, x.p, kN * 4);
  args.shape[0] = 1;
  args.x.data = static_cast<char*>(x.p) + 4;
  args.out = other.p;
  CHECK(api.reduce(0, &args, nullptr) == 0);
  CHECK(get(out.p, DType::f32, 0) == get(other.p, DType::f32, 0));
}

void check_cumsum(DType dtype, std::int64_t outer, std::int64_t n, std::int64_t inner) {
  const DType result = is_floating(dtype) ? dtype : DType::i64;
  const std::int64_t numel = outer * n * inner;
  Buffer x(std::size_t(numel) * itemsize(dtype)), y(std::size_t(numel) * itemsize(result));
  for (std::int64_t i = 0; i < numel; ++i) {
    const double v = uniform(0, 2);
    set(x.p, dtype, i, is_floating(dtype) ? v : std::floor(v));
  }
  const CumsumArgs args{dtype, y.p, x.p, outer, n, inner};
  in_all_schedules("cumsum", y, [&] { return api.cumsum(0, &args, nullptr); });
  for (std::int64_t c = 0; c < outer * inner; ++c) {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t at = (c / inner * n + i) * inner + c % inner;
      sum += get(x.p, dtype, at);
      CHECK(close(get(y.p, result, at), sum, tolerance(result)));
    }
  }
}

void test_cumsum() {
  for (DType dtype : {DType::f32, DType::f64, DType::i64, DType::i32, DType::u8, DType::b8})
    for (std::int64_t n : {1, 7, 257, 4099})
      for (std::int64_t inner : {1, 3}) check_cumsum(dtype, 2, n, inner);
  check_cumsum(DType::f32, 0, 3, 2);
  check_cumsum(DType::f32, 3, 0, 1);
  check_cumsum(DType::f32, 300, 2, 1);
}

}  // namespace

int main() {
  test_reduce();
  test_same_bits();
  test_cumsum();
  return gs_test::result();
}
