// The elementwise CUDA kernels, run by the emulator, against plain loops in float64.
#include "cuda_testing.h"
#include "kernels/elementwise/elementwise.h"

namespace gradsmith::kernels::reference {
#define GS_DECLARE(name) void name##_f64(const UnaryRun& run);
GS_CUDA_UNARY_OPS(GS_DECLARE)
#undef GS_DECLARE
#define GS_DECLARE(name) void name##_f64(const BinaryRun& run);
GS_CUDA_SLOPE_OPS(GS_DECLARE)
GS_DECLARE(remainder)
GS_DECLARE(floor_divide)
#undef GS_DECLARE
}  // namespace gradsmith::kernels::reference

namespace {

using std::int64_t;

// ---- Layouts of an operand ----------------------------------------------------------------------

// A layout over a shape: strides, and where the element at index 0 lies.
struct Layout {
  const char* name;
  std::vector<std::int64_t> strides;
  std::int64_t origin, length;
};

Layout layout(const char* name, const std::vector<std::int64_t>& shape) {
  const std::string kind = name;
  const int n = int(shape.size());
  Layout l{name, std::vector<std::int64_t>(shape.size()), 0, 1};
  std::int64_t step = kind == "step" ? 3 : 1;
  for (int i = 0; i < n; ++i) {
    const int d = kind == "transposed" ? i : n - 1 - i;
    l.strides[std::size_t(d)] = step;
    step *= shape[std::size_t(d)];
  }
  l.length = step;
  if (kind == "shifted") {  // not 16-byte aligned
    l.origin = 1;
    l.length += 1;
  }
  if (kind == "reversed")
    for (int d = 0; d < n; ++d) {
      l.origin += (shape[std::size_t(d)] - 1) * l.strides[std::size_t(d)];
      l.strides[std::size_t(d)] *= -1;
    }
  if (kind == "row" || kind == "column")
    for (int d = 0; d < n; ++d)
      if ((d < n - 1) == (kind == "row")) l.strides[std::size_t(d)] = 0;
  return l;
}

struct Array {
  DType dtype;
  Layout l;
  Buffer memory;
  Array(DType d, const Layout& lay)
      : dtype(d), l(lay), memory(std::size_t(lay.length) * itemsize(d)) {
    if (d == DType::b8) std::memset(memory.p, 0, memory.bytes);
  }
  template <class F>
  void fill(F value) {
    for (std::int64_t i = 0; i < l.length; ++i) set(memory.p, dtype, i, value());
  }
  Operand operand() const {
    Operand o{static_cast<char*>(memory.p) + std::size_t(l.origin) * itemsize(dtype), dtype, {}};
    for (std::size_t d = 0; d < l.strides.size(); ++d) o.strides[d] = l.strides[d];
    return o;
  }
  double at(const std::vector<std::int64_t>& index) const {
    std::int64_t i = l.origin;
    for (std::size_t d = 0; d < index.size(); ++d) i += index[d] * l.strides[d];
    return get(memory.p, dtype, i);
  }
};

template <class F>
void for_each_index(const std::vector<std::int64_t>& shape, F f) {
  std::int64_t numel = 1;
  for (std::int64_t s : shape) numel *= s;
  std::vector<std::int64_t> index(shape.size());
  for (std::int64_t linear = 0; linear < numel; ++linear) {
    std::int64_t rest = linear;
    for (std::size_t d = shape.size(); d-- > 0; rest /= shape[d]) index[d] = rest % shape[d];
    f(index);
  }
}

const std::vector<std::vector<std::int64_t>> kShapes = {
    {}, {1}, {3}, {255}, {1024}, {1025}, {7, 33}, {2, 1, 5, 3}, {0}, {4, 0, 2}};

// ---- Elementwise --------------------------------------------------------------------------------

// The CPU's reference kernel, in double.
double unary_reference(UnaryOp op, double x, double a, double b) {
  namespace k = gradsmith::kernels;
  double y = 0;
  switch (op) {
#define GS_CASE(name)                                    \
  case UnaryOp::name:                                    \
    k::reference::name##_f64({1, &y, &x, 1, 1, {a, b}}); \
    break;
    GS_CUDA_UNARY_OPS(GS_CASE)
#undef GS_CASE
  }
  return y;
}

void check_unary(UnaryOp op, const char* name, DType dtype, const std::vector<std::int64_t>& shape,
                 const char* out_layout, const char* x_layout, double low, double high) {
  Array x(dtype, layout(x_layout, shape)), out(dtype, layout(out_layout, shape));
  x.fill([&] { return uniform(low, high); });
  UnaryArgs args{op, int(shape.size()), {}, out.operand(), x.operand(), 0.25, 3.0};
  if (op == UnaryOp::clamp && !is_floating(dtype)) args.a = 1;
  std::copy(shape.begin(), shape.end(), args.shape);
  const std::string what = std::string(name) + " " + gradsmith::name(dtype) + " " + x_layout;
  in_all_schedules(what, out.memory, [&] { return api.unary(0, &args, nullptr); });
  for_each_index(shape, [&](const auto& index) {
    double want = unary_reference(op, x.at(index), args.a, args.b);
    if (dtype == DType::u8 && want < 0) want += 256;  // wraps, as in NumPy
    if (!close(out.at(index), want, tolerance(dtype) * 4))
      gs_test::report(__FILE__, __LINE__,
                      what + " of " + std::to_string(x.at(index)) + ": " +
                          std::to_string(out.at(index)) + ", want " + std::to_string(want));
  });
}

void test_unary() {
  const auto every = [](auto f) {
#define GS_CALL(op) f(UnaryOp::op, #op);
    GS_CUDA_UNARY_OPS(GS_CALL)
#undef GS_CALL
  };
  every([](UnaryOp op, const char* name) {
    const bool positive = (op >= UnaryOp::sqrt && op <= UnaryOp::reciprocal) ||
                          (op >= UnaryOp::log && op <= UnaryOp::log10);
    const bool unit = op == UnaryOp::asin || op == UnaryOp::acos || op == UnaryOp::tan;
    // Not where the slightest rounding is a large part of the result.
    const double low = positive ? 0.1 : unit ? -1 : op == UnaryOp::hardswish ? -2 : -4;
    const double high = unit ? 1 : op == UnaryOp::erfc ? 2 : 4;
    for (DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16})
      check_unary(op, name, dtype, {259}, "plain", "plain", low, high);
    check_unary(op, name, DType::f32, {5, 13}, "plain", "transposed", low, high);
    if (op <= UnaryOp::clamp)
      for (DType dtype : {DType::i64, DType::i32, DType::u8})
        check_unary(op, name, dtype, {77}, "plain", "plain", dtype == DType::u8 ? 0 : -9, 9);
  });
  for (const auto& shape : kShapes)
    for (const char* x_layout : {"plain", "shifted", "step", "reversed", "transposed", "row"})
      for (const char* out_layout : {"plain", "shifted", "step"})
        check_unary(UnaryOp::exp, "exp", DType::f32, shape, out_layout, x_layout, -2, 2);

  // Special values through every op: no NaN where there is none, infinities where they belong.
  every([](UnaryOp op, const char* name) {
    const double inf = std::numeric_limits<double>::infinity();
    const double values[] = {0, inf, -inf, NAN, 100, -100, 1e-30, 3e38};
    Array x(DType::f32, layout("plain", {8})), out(DType::f32, layout("plain", {8}));
    for (int i = 0; i < 8; ++i) set(x.memory.p, DType::f32, i, values[i]);
    UnaryArgs args{op, 1, {8}, out.operand(), x.operand(), 0.5, 20.0};
    CHECK(api.unary(0, &args, nullptr) == 0);
    for (std::int64_t i = 0; i < 8; ++i) {
      const double value = x.at({i});
      double want = double(float(unary_reference(op, value, args.a, args.b)));
      if ((op >= UnaryOp::sin && op <= UnaryOp::tan) && value > 1e30) continue;
      if (!close(out.at({i}), want, 4e-6))
        gs_test::report(__FILE__, __LINE__,
                        std::string(name) + " of " + std::to_string(value) + ": " +
                            std::to_string(out.at({i})) + ", want " + std::to_string(want));
    }
  });

  // In place.
  Array x(DType::f32, layout("plain", {500}));
  x.fill([] { return 2.0; });
  UnaryArgs args{UnaryOp::square, 1, {500}, x.operand(), x.operand(), 0, 0};
  CHECK(api.unary(0, &args, nullptr) == 0 && x.at({0}) == 4 && x.at({499}) == 4);
  args.op = UnaryOp::exp;
  args.out.dtype = args.x.dtype = DType::i32;
  CHECK(api.unary(0, &args, nullptr) == 1);
  CHECK(std::string(api.last_error()) == "unary: no CUDA kernel for int32");
}

double binary_reference(BinaryOp op, double x, double y, bool whole) {
  double slope = 0;
  switch (op) {
#define GS_CASE(name)                                                                    \
  case BinaryOp::name:                                                                   \
    gradsmith::kernels::reference::name##_f64({1, &slope, &x, &y, 1, 1, 1, {0.5, 2.0}}); \
    return slope;
    GS_CUDA_SLOPE_OPS(GS_CASE)
#undef GS_CASE
    case BinaryOp::add:
      return x + y;
    case BinaryOp::sub:
      return x - y;
    case BinaryOp::mul:
      return x * y;
    case BinaryOp::div:
      return x / y;
    case BinaryOp::maximum:
      return std::isnan(x) || std::isnan(y) ? NAN : std::max(x, y);
    case BinaryOp::minimum:
      return std::isnan(x) || std::isnan(y) ? NAN : std::min(x, y);
    case BinaryOp::pow:
      return std::pow(x, y);
    case BinaryOp::fmod:
      return whole && y == 0 ? 0 : std::fmod(x, y);
    case BinaryOp::remainder:
    case BinaryOp::floor_divide: {
      if (whole && y == 0) return 0;
      double want = 0;
      const gradsmith::kernels::BinaryRun run{1, &want, &x, &y, 1, 1, 1, {}};
      namespace ref = gradsmith::kernels::reference;
      op == BinaryOp::remainder ? ref::remainder_f64(run) : ref::floor_divide_f64(run);
      return want;
    }
    case BinaryOp::bitwise_and:
      return double(int64_t(x) & int64_t(y));
    case BinaryOp::bitwise_or:
      return double(int64_t(x) | int64_t(y));
    case BinaryOp::bitwise_xor:
      return double(int64_t(x) ^ int64_t(y));
    case BinaryOp::atan2:
      return std::atan2(x, y);
    case BinaryOp::eq:
      return x == y;
    case BinaryOp::ne:
      return x != y;
    case BinaryOp::lt:
      return x < y;
    case BinaryOp::le:
      return x <= y;
    case BinaryOp::gt:
      return x > y;
    case BinaryOp::ge:
      return x >= y;
    case BinaryOp::logical_and:
      return x != 0 && y != 0;
    case BinaryOp::logical_or:
      return x != 0 || y != 0;
    case BinaryOp::logical_xor:
      return (x != 0) != (y != 0);
  }
  return 0;
}

void check_binary(BinaryOp op, const char* name, DType dtype,
                  const std::vector<std::int64_t>& shape, const char* x_layout,
                  const char* y_layout, bool number = false) {
  const bool comparison = op >= BinaryOp::eq;
  Array x(dtype, layout(x_layout, shape)), y(dtype, layout(y_layout, shape));
  Array out(comparison ? DType::b8 : dtype, layout("plain", shape));
  const bool whole = !is_floating(dtype) || comparison;
  const double low = dtype == DType::u8 || dtype == DType::b8 || op == BinaryOp::pow ? 0 : -3;
  const auto value = [&] {
    const double v = uniform(low, 4);
    return whole ? std::floor(v) : v + (v < 0 ? -0.1 : 0.1);
  };
  x.fill(value);
  y.fill(value);
  if (op == BinaryOp::sub && dtype == DType::u8) x.fill([] { return 9.0; });
  if (is_floating(dtype) && x.l.length > 2) set(x.memory.p, dtype, 1, NAN);
  BinaryArgs args{op, int(shape.size()), {}, out.operand(), x.operand(), y.operand(), 0, 0, 0.5, 2};
  if (number) {
    args.y.data = nullptr;
    args.y_value = value();
  }
  std::copy(shape.begin(), shape.end(), args.shape);
  const std::string what =
      std::string(name) + " " + gradsmith::name(dtype) + " " + x_layout + " " + y_layout;
  in_all_schedules(what, out.memory, [&] { return api.binary(0, &args, nullptr); });
  for_each_index(shape, [&](const auto& index) {
    const double right = number ? get(&args.y_value, DType::f64, 0) : y.at(index);
    double rounded = right;
    if (number && dtype == DType::f32) rounded = double(float(right));
    const double want = binary_reference(op, x.at(index), rounded, !is_floating(dtype));
    // A slope near 0 is a difference: its roundings are small beside the gradient that comes in.
    const bool slope = op >= BinaryOp::remainder && op < BinaryOp::eq;
    const double room = slope ? tolerance(dtype) * 4 * std::abs(x.at(index)) : 0;
    if (!close(out.at(index), want, tolerance(out.dtype) * 4) &&
        !(std::abs(out.at(index) - want) <= room))
      gs_test::report(__FILE__, __LINE__,
                      what + " of " + std::to_string(x.at(index)) + ", " + std::to_string(right) +
                          ": " + std::to_string(out.at(index)) + ", want " + std::to_string(want));
  });
}

// By zero, and of the least integer by -1.
void test_integer_quotients() {
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  const int64_t left[] = {7, -7, kLeast, kLeast, 0}, right[] = {0, 0, -1, 3, -2};
  const int64_t quotients[] = {0, 0, kLeast, -3074457345618258603, 0};
  const int64_t remainders[] = {0, 0, 0, 1, 0};
  Array x(DType::i64, layout("plain", {5})), y(DType::i64, layout("plain", {5})),
      out(DType::i64, layout("plain", {5}));
  std::memcpy(x.memory.p, left, sizeof(left));
  std::memcpy(y.memory.p, right, sizeof(right));
  BinaryArgs args{
      BinaryOp::floor_divide, 1, {5}, out.operand(), x.operand(), y.operand(), 0, 0, 0, 0};
  CHECK(api.binary(0, &args, nullptr) == 0);
  CHECK(std::memcmp(out.memory.p, quotients, sizeof(quotients)) == 0);
  args.op = BinaryOp::remainder;
  CHECK(api.binary(0, &args, nullptr) == 0);
  CHECK(std::memcmp(out.memory.p, remainders, sizeof(remainders)) == 0);
}

void test_binary() {
  const auto every = [](auto f) {
#define GS_CALL(op) f(BinaryOp::op, #op);
    GS_CUDA_BINARY_OPS(GS_CALL)
#undef GS_CALL
  };
  every([](BinaryOp op, const char* name) {
    for (DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i64, DType::i32,
                        DType::u8, DType::b8}) {
      if (dtype == DType::b8 && op < BinaryOp::eq) continue;
      const bool bits = op >= BinaryOp::bitwise_and && op <= BinaryOp::bitwise_xor;
      const bool fraction = op == BinaryOp::div || (op >= BinaryOp::atan2 && op < BinaryOp::eq);
      if (is_floating(dtype) ? bits : fraction) continue;
      check_binary(op, name, dtype, {523}, "plain", "plain");
      check_binary(op, name, dtype, {3, 21}, "transposed", "row");
    }
    const bool bits = op >= BinaryOp::bitwise_and && op <= BinaryOp::bitwise_xor;
    check_binary(op, name, bits ? DType::i32 : DType::f32, {517}, "plain", "plain", true);
  });
  test_integer_quotients();
  for (const auto& shape : kShapes)
    for (const char* x_layout : {"plain", "shifted", "reversed", "column"})
      for (const char* y_layout : {"plain", "step", "row", "transposed"})
        check_binary(BinaryOp::add, "add", DType::f32, shape, x_layout, y_layout);
}

void test_copy() {
  const DType all[] = {DType::f32, DType::f64, DType::bf16, DType::f16,
                       DType::i64, DType::i32, DType::u8,   DType::b8};
  for (DType from : all)
    for (DType to : all)
      for (const char* x_layout : {"plain", "transposed", "shifted"}) {
        const std::vector<std::int64_t> shape = {6, 43};
        Array x(from, layout(x_layout, shape)), out(to, layout("plain", shape));
        const bool whole = !is_floating(from) || !is_floating(to);
        x.fill([&] { return whole ? std::floor(uniform(0, 100)) : uniform(-5, 5); });
        CopyArgs args{2, {6, 43}, out.operand(), x.operand(), 0};
        in_all_schedules("copy", out.memory, [&] { return api.copy(0, &args, nullptr); });
        for_each_index(shape, [&](const auto& index) {
          double want = 0;
          alignas(8) unsigned char cell[8];
          set(cell, to, 0, x.at(index));
          want = get(cell, to, 0);
          CHECK(out.at(index) == want);
        });
      }
  Array big(DType::i64, layout("plain", {3})), wide(DType::i64, layout("plain", {3}));
  static_cast<std::int64_t*>(big.memory.p)[0] = (std::int64_t(1) << 53) + 1;
  CopyArgs exact{1, {1}, wide.operand(), big.operand(), 0};
  CHECK(api.copy(0, &exact, nullptr) == 0);
  CHECK(static_cast<std::int64_t*>(wide.memory.p)[0] == (std::int64_t(1) << 53) + 1);
  for (DType to : all)
    for (double value : {0.0, 1.0, 7.0}) {
      const double want = to == DType::b8 ? value != 0 : value;
      for (const char* y_layout : {"step", "plain"}) {
        Array out(to, layout(y_layout, {2, 301}));
        CopyArgs args{2, {2, 301}, out.operand(), {}, 0};
        set(reinterpret_cast<unsigned char*>(&args.element), to, 0, value);
        in_all_schedules("fill", out.memory, [&] { return api.copy(0, &args, nullptr); });
        for_each_index({2, 301}, [&](const auto& index) { CHECK(out.at(index) == want); });
      }
    }
}

}  // namespace

int main() {
  test_unary();
  test_binary();
  test_copy();
  return gs_test::result();
}
