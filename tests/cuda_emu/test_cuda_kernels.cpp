// The CUDA kernels, run by the emulator, against plain loops in float64. Every case runs in all
// schedules, which must agree bit for bit.
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "cpp/check.h"
#include "cuda_emu/emulator.h"
#include "runtime/cuda_abi.h"

extern "C" const gradsmith::cuda::Api* gradsmith_cuda_api();

using namespace gradsmith;
using namespace gradsmith::cuda;

namespace {

const Api& api = *gradsmith_cuda_api();
std::mt19937 rng(5);

double uniform(double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(rng);
}

// Device memory: exactly as long as asked for, poisoned.
struct Buffer {
  void* p = nullptr;
  std::size_t bytes;
  explicit Buffer(std::size_t n) : bytes(n) { CHECK(cudaMalloc(&p, n) == cudaSuccess); }
  ~Buffer() { cudaFree(p); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
};

double get(const void* p, DType dtype, std::int64_t i) {
  switch (dtype) {
    case DType::f32:
      return static_cast<const float*>(p)[i];
    case DType::f64:
      return static_cast<const double*>(p)[i];
    case DType::bf16:
      return double(float(static_cast<const BFloat16*>(p)[i]));
    case DType::f16:
      return double(float(static_cast<const Float16*>(p)[i]));
    case DType::i64:
      return double(static_cast<const std::int64_t*>(p)[i]);
    case DType::i32:
      return static_cast<const std::int32_t*>(p)[i];
    default:
      return static_cast<const std::uint8_t*>(p)[i];
  }
}
void set(void* p, DType dtype, std::int64_t i, double v) {
  switch (dtype) {
    case DType::f32:
      static_cast<float*>(p)[i] = float(v);
      break;
    case DType::f64:
      static_cast<double*>(p)[i] = v;
      break;
    case DType::bf16:
      static_cast<BFloat16*>(p)[i] = BFloat16(float(v));
      break;
    case DType::f16:
      static_cast<Float16*>(p)[i] = Float16(float(v));
      break;
    case DType::i64:
      static_cast<std::int64_t*>(p)[i] = std::int64_t(v);
      break;
    case DType::i32:
      static_cast<std::int32_t*>(p)[i] = std::int32_t(v);
      break;
    case DType::u8:
      static_cast<std::uint8_t*>(p)[i] = std::uint8_t(v);
      break;
    case DType::b8:
      static_cast<std::uint8_t*>(p)[i] = v != 0;
      break;
  }
}
double tolerance(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return 1e-6;
    case DType::f64:
      return 1e-14;
    case DType::bf16:
      return 1.0 / 128;
    case DType::f16:
      return 1.0 / 1000;
    default:
      return 0;
  }
}
bool close(double got, double want, double tol) {
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want)) return got == want;
  return std::abs(got - want) <= tol * std::max(1.0, std::abs(want));
}

// Runs `call` in every schedule with the output poisoned before; the bits must agree.
void in_all_schedules(const std::string& what, Buffer& out, const std::vector<unsigned char>& start,
                      const std::function<int()>& call) {
  std::vector<unsigned char> first;
  using cuda_emu::Schedule;
  for (Schedule schedule :
       {Schedule::ascending, Schedule::descending, Schedule::random, Schedule::warp_by_warp}) {
    cuda_emu::options() = {schedule, 17};
    if (out.bytes) std::memcpy(out.p, start.data(), out.bytes);
    if (call() != 0) return gs_test::report(__FILE__, __LINE__, what + ": " + api.last_error());
    const auto* bytes = static_cast<unsigned char*>(out.p);
    if (out.bytes == 0) continue;
    if (first.empty()) first.assign(bytes, bytes + out.bytes);
    if (std::memcmp(first.data(), bytes, out.bytes) != 0)
      gs_test::report(__FILE__, __LINE__, what + ": schedules disagree");
  }
  cuda_emu::options() = {};
}
void in_all_schedules(const std::string& what, Buffer& out, const std::function<int()>& call) {
  in_all_schedules(what, out, std::vector<unsigned char>(out.bytes, 0xff), call);
}

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

double unary_reference(UnaryOp op, double x, double a, double b) {
  const double s = 1 / (1 + std::exp(-x));
  switch (op) {
    case UnaryOp::neg:
      return -x;
    case UnaryOp::abs:
      return std::abs(x);
    case UnaryOp::sign:
      return x > 0 ? 1 : x < 0 ? -1 : x;
    case UnaryOp::square:
      return x * x;
    case UnaryOp::relu:
      return x < 0 ? 0 : x;
    case UnaryOp::clamp:
      return x < a ? a : x > b ? b : x;
    case UnaryOp::sqrt:
      return std::sqrt(x);
    case UnaryOp::rsqrt:
      return 1 / std::sqrt(x);
    case UnaryOp::reciprocal:
      return 1 / x;
    case UnaryOp::exp:
      return std::exp(x);
    case UnaryOp::exp2:
      return std::exp2(x);
    case UnaryOp::expm1:
      return std::expm1(x);
    case UnaryOp::log:
      return std::log(x);
    case UnaryOp::log1p:
      return std::log1p(x);
    case UnaryOp::log2:
      return std::log2(x);
    case UnaryOp::log10:
      return std::log10(x);
    case UnaryOp::sin:
      return std::sin(x);
    case UnaryOp::cos:
      return std::cos(x);
    case UnaryOp::tan:
      return std::tan(x);
    case UnaryOp::sinh:
      return std::sinh(x);
    case UnaryOp::cosh:
      return std::cosh(x);
    case UnaryOp::tanh:
      return std::tanh(x);
    case UnaryOp::asin:
      return std::asin(x);
    case UnaryOp::acos:
      return std::acos(x);
    case UnaryOp::atan:
      return std::atan(x);
    case UnaryOp::erf:
      return std::erf(x);
    case UnaryOp::sigmoid:
      return s;
    case UnaryOp::log_sigmoid:
      return x < -700 ? x : -std::log1p(std::exp(-x));
    case UnaryOp::floor:
      return std::floor(x);
    case UnaryOp::ceil:
      return std::ceil(x);
    case UnaryOp::round:
      return std::nearbyint(x);
    case UnaryOp::trunc:
      return std::trunc(x);
    case UnaryOp::relu6:
      return x < 0 ? 0 : x > 6 ? 6 : x;
    case UnaryOp::silu:
      return std::isinf(x) ? (x > 0 ? x : NAN) : x * s;
    case UnaryOp::gelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case UnaryOp::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case UnaryOp::mish:
      return x * std::tanh(x > 700 ? x : std::log1p(std::exp(x)));
    case UnaryOp::softsign:
      return x / (1 + std::abs(x));
    case UnaryOp::hardsigmoid:
      return std::isnan(x) ? x : std::min(1.0, std::max(0.0, x / 6 + 0.5));
    case UnaryOp::hardswish:
      return x * (std::isnan(x) ? x : std::min(1.0, std::max(0.0, x / 6 + 0.5)));
    case UnaryOp::leaky_relu:
      return x < 0 ? a * x : x;
    case UnaryOp::elu:
      return x > 0 ? x : a * std::expm1(x);
    case UnaryOp::softplus:
      return x * a > b ? x : std::log1p(std::exp(x * a)) / a;
  }
  return x;
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
    const double low = positive ? 0.1 : unit ? -1 : -4, high = unit ? 1 : 4;
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
      if (op == UnaryOp::gelu_tanh && value > 1e30) want = value;
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

double binary_reference(BinaryOp op, double x, double y) {
  switch (op) {
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
  BinaryArgs args{op, int(shape.size()), {}, out.operand(), x.operand(), y.operand(), 0, 0};
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
    const double want = binary_reference(op, x.at(index), rounded);
    if (!close(out.at(index), want, tolerance(out.dtype) * 4))
      gs_test::report(__FILE__, __LINE__,
                      what + " of " + std::to_string(x.at(index)) + ", " + std::to_string(right) +
                          ": " + std::to_string(out.at(index)) + ", want " + std::to_string(want));
  });
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
      if (op == BinaryOp::div && !is_floating(dtype)) continue;
      check_binary(op, name, dtype, {523}, "plain", "plain");
      check_binary(op, name, dtype, {3, 21}, "transposed", "row");
    }
    check_binary(op, name, DType::f32, {517}, "plain", "plain", true);
  });
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
      Array out(to, layout("step", {2, 301}));
      CopyArgs args{2, {2, 301}, out.operand(), {}, value};
      in_all_schedules("fill", out.memory, [&] { return api.copy(0, &args, nullptr); });
      CHECK(out.at({0, 0}) == (to == DType::b8 ? value != 0 : value));
      CHECK(out.at({1, 300}) == (to == DType::b8 ? value != 0 : value));
    }
}

// ---- GEMM ---------------------------------------------------------------------------------------

double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::relu:
      return unary_reference(UnaryOp::relu, x, 0, 0);
    case Activation::leaky_relu:
      return x < 0 ? 0.25 * x : x;
    case Activation::sigmoid:
      return unary_reference(UnaryOp::sigmoid, x, 0, 0);
    case Activation::tanh:
      return std::tanh(x);
    case Activation::gelu:
      return unary_reference(UnaryOp::gelu, x, 0, 0);
    case Activation::gelu_tanh:
      return unary_reference(UnaryOp::gelu_tanh, x, 0, 0);
    case Activation::silu:
      return unary_reference(UnaryOp::silu, x, 0, 0);
    case Activation::none:
      break;
  }
  return x;
}

struct GemmCase {
  std::int64_t m, n, k, batch;
  bool a_transposed, b_transposed;
  float alpha, beta;
  Activation activation;
  bool bias, residual;
};

void check_gemm(const GemmCase& c) {
  const auto floats = [](std::int64_t n) { return std::size_t(n) * 4; };
  Buffer a(floats(c.batch * c.m * c.k)), b(floats(c.batch * c.k * c.n));
  Buffer out(floats(c.batch * c.m * c.n)), bias(floats(c.n)), residual(floats(c.batch * c.m * c.n));
  for (Buffer* buffer : {&a, &b, &bias, &residual})
    for (std::size_t i = 0; i < buffer->bytes / 4; ++i)
      static_cast<float*>(buffer->p)[i] = float(uniform(-1, 1));
  std::vector<unsigned char> start(out.bytes, 0xff);  // beta 0 must not read it
  if (c.beta != 0)
    for (std::size_t i = 0; i < out.bytes / 4; ++i) {
      const float v = float(uniform(-1, 1));
      std::memcpy(start.data() + 4 * i, &v, 4);
    }
  const auto matrix = [](const Buffer& buffer, std::int64_t rows, std::int64_t columns, bool t) {
    return Matrix{static_cast<float*>(buffer.p), t ? 1 : columns, t ? rows : 1, rows * columns};
  };
  GemmArgs args{c.m,
                c.n,
                c.k,
                c.batch,
                matrix(a, c.m, c.k, c.a_transposed),
                matrix(b, c.k, c.n, c.b_transposed),
                matrix(out, c.m, c.n, false),
                {},
                {},
                c.alpha,
                c.beta,
                c.activation,
                0.25f};
  if (c.bias) args.bias = {static_cast<float*>(bias.p), 0, 1, 0};
  if (c.residual) args.residual = matrix(residual, c.m, c.n, false);
  const std::string what = "gemm " + std::to_string(c.m) + "x" + std::to_string(c.n) + "x" +
                           std::to_string(c.k) + " batch " + std::to_string(c.batch);
  in_all_schedules(what, out, start, [&] { return api.gemm(0, &args, nullptr); });
  const auto at = [](const Matrix& x, std::int64_t z, std::int64_t i, std::int64_t j) {
    return double(x.data[z * x.batch + i * x.rs + j * x.cs]);
  };
  double worst = 0;
  for (std::int64_t z = 0; z < c.batch; ++z)
    for (std::int64_t i = 0; i < c.m; ++i)
      for (std::int64_t j = 0; j < c.n; ++j) {
        double sum = 0;
        for (std::int64_t p = 0; p < c.k && c.alpha != 0; ++p)
          sum += at(args.a, z, i, p) * at(args.b, z, p, j);
        double want = c.alpha * sum;
        float before;
        std::memcpy(&before, start.data() + 4 * ((z * c.m + i) * c.n + j), 4);
        if (c.beta != 0) want += c.beta * before;
        if (c.bias) want += static_cast<float*>(bias.p)[j];
        if (c.residual) want += at(args.residual, z, i, j);
        const double error = std::abs(at(args.c, z, i, j) - activate(c.activation, want));
        worst = std::isnan(error) ? 1e9 : std::max(worst, error);
      }
  if (worst > 3e-6 * std::sqrt(double(c.k) + 1))
    gs_test::report(__FILE__, __LINE__, what + ": error " + std::to_string(worst));
}

void test_gemm() {
  using enum Activation;
  for (bool a_t : {false, true})
    for (bool b_t : {false, true}) {
      for (std::int64_t size : {1, 17, 63, 64, 65})
        check_gemm({size, 66 - size, size / 2 + 1, 1, a_t, b_t, 1, 0, none, false, false});
      check_gemm({70, 5, 40, 3, a_t, b_t, 0.5f, 2.0f, none, true, true});
    }
  for (Activation act : {relu, leaky_relu, sigmoid, tanh, gelu, gelu_tanh, silu})
    check_gemm({33, 65, 20, 2, false, true, 1, 0, act, true, false});
  check_gemm({8, 9, 0, 2, false, false, 1, 0, none, true, false});
  check_gemm({8, 9, 5, 1, false, false, 0, 1, none, false, false});
  check_gemm({0, 9, 5, 1, false, false, 1, 0, none, false, false});

  // Enough batch entries for the large tile; the bits must be those of the small one.
  constexpr std::int64_t m = 130, n = 9, k = 21, batch = 128;
  Buffer a(m * k * 4), b(k * n * 4), one(m * n * 4), many(batch * m * n * 4);
  for (Buffer* buffer : {&a, &b})
    for (std::size_t i = 0; i < buffer->bytes / 4; ++i)
      static_cast<float*>(buffer->p)[i] = float(uniform(-1, 1));
  GemmArgs args{m,
                n,
                k,
                1,
                {static_cast<float*>(a.p), k, 1, 0},
                {static_cast<float*>(b.p), n, 1, 0},
                {static_cast<float*>(one.p), n, 1, m * n},
                {},
                {},
                1,
                0,
                none,
                0};
  CHECK(api.gemm(0, &args, nullptr) == 0);
  args.batch = batch;
  args.c.data = static_cast<float*>(many.p);
  for (const auto schedule : {cuda_emu::Schedule::random, cuda_emu::Schedule::warp_by_warp}) {
    cuda_emu::options().schedule = schedule;
    CHECK(api.gemm(0, &args, nullptr) == 0);
    for (std::int64_t z = 0; z < batch; ++z)
      CHECK(std::memcmp(static_cast<char*>(many.p) + z * m * n * 4, one.p, m * n * 4) == 0);
  }
  cuda_emu::options() = {};
}

// ---- Runtime ------------------------------------------------------------------------------------

void test_runtime() {
  CHECK(api.version == kAbiVersion && api.device_count() == 1);
  DeviceInfo info{};
  CHECK(api.device_info(0, &info) == 0 && std::string(info.name) == "emulated device");
  int streams[2];
  void *p = nullptr, *q = nullptr;
  for (std::size_t bytes :
       {std::size_t(0), std::size_t(5), std::size_t(5000), std::size_t(3) << 20}) {
    CHECK(api.allocate(0, bytes, nullptr, &p) == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(p) % 16 == 0);
    CHECK(api.deallocate(0, p, bytes, nullptr) == 0);
    CHECK(api.allocate(0, bytes, &streams[0], &q) == 0 && q != p);  // another stream: not the same
    CHECK(api.deallocate(0, q, bytes, &streams[0]) == 0);
    CHECK(api.allocate(0, bytes, nullptr, &q) == 0 && q == p);
    CHECK(api.deallocate(0, q, bytes, nullptr) == 0);
  }
  MemoryInfo memory{};
  CHECK(api.memory_info(0, &memory) == 0 && memory.in_use_bytes == 0 && memory.cached_bytes > 0);
  CHECK(memory.peak_bytes >= 3 << 20);
  CHECK(api.empty_cache(0) == 0 && api.memory_info(0, &memory) == 0);
  CHECK(memory.cached_bytes < 1 << 20);
  CHECK(api.allocate(0, std::size_t(1) << 40, nullptr, &p) == 2);
  CHECK(std::string(api.last_error()).find("cannot allocate 1099511627776 bytes") == 0);
  CHECK(api.synchronize(1) != 0);

  float host[3] = {1, 2, 3}, back[3] = {};
  CHECK(api.allocate(0, sizeof(host), nullptr, &p) == 0);
  CHECK(api.copy_bytes(0, p, host, sizeof(host), CopyKind::host_to_device, nullptr) == 0);
  CHECK(api.copy_bytes(0, back, p, sizeof(host), CopyKind::device_to_host, nullptr) == 0);
  CHECK(std::memcmp(host, back, sizeof(host)) == 0);
  CHECK(api.deallocate(0, p, sizeof(host), nullptr) == 0);
  CHECK(api.empty_cache(0) == 0);
}

// ---- The emulator itself ------------------------------------------------------------------------

void test_emulator() {
  // A barrier and shuffles: a block's sum.
  struct Shared {
    float sums[4];
  };
  for (unsigned threads : {32u, 100u, 128u}) {
    std::vector<float> result(threads);
    const int status = cuda_emu::run(dim3(2), dim3(threads), sizeof(Shared), [&] {
      auto& s = *static_cast<Shared*>(cuda_emu::shared_memory(sizeof(Shared)));
      const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
      float v = float(threadIdx.x);
      const unsigned active = std::min(32u, threads - warp * 32);
      for (unsigned step = 16; step; step /= 2) {
        const float other = __shfl_down_sync(0xffffffffu, v, step);
        if (lane + step < active) v += other;
      }
      if (lane == 0) s.sums[warp] = v;
      __syncthreads();
      float sum = 0;
      for (unsigned w = 0; w < (threads + 31) / 32; ++w) sum += s.sums[w];
      result[threadIdx.x] = sum;
    });
    CHECK(status == 0);
    for (float r : result) CHECK(r == float(threads * (threads - 1) / 2));
  }
  CHECK(cuda_emu::run(dim3(1), dim3(2048), 0, [] {}) == cudaErrorInvalidConfiguration);
}

}  // namespace

int main() {
  test_emulator();
  test_runtime();
  test_unary();
  test_binary();
  test_copy();
  test_gemm();
  return gs_test::result();
}
