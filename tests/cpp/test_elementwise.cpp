// Every elementwise row of every target against the reference, and the drivers against plain
// indexing.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernel_testing.h"
#include "kernels/elementwise/elementwise.h"

namespace k = gradsmith::kernels;
using gradsmith::BFloat16;
using gradsmith::CppType;
using gradsmith::DType;
using gradsmith::Float16;
using gradsmith::kMaxDims;
using gradsmith::NdView;
using gradsmith::testing::report;

namespace {

template <class T>
double number(T x) {
  if constexpr (std::is_same_v<T, BFloat16> || std::is_same_v<T, Float16>) {
    return double(float(x));
  } else {
    return double(x);
  }
}

// Random numbers of several magnitudes; `special` mixes in what floats and integers have at their
// ends.
template <class T>
std::vector<T> inputs(std::int64_t n, unsigned seed, bool special) {
  std::mt19937_64 random(seed);
  // Not vector<T>, because vector<bool> is no array.
  std::vector<T> x;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint64_t u = random();
    const double unit = double(std::int64_t(u)) * 0x1p-63;
    const double value = unit * (u % 3 == 0 ? 1 : u % 3 == 1 ? 5 : 60);
    if constexpr (std::is_same_v<T, bool>) {
      x.push_back(u % 2);
    } else if constexpr (std::is_integral_v<T>) {
      using L = std::numeric_limits<T>;
      const T ends[] = {L::min(), L::max(), T(0), T(1), T(-1)};
      x.push_back(special && u % 8 == 0 ? ends[u / 8 % 5] : T(std::int64_t(value)));
    } else {
      const double ends[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e-42, -1e-42, 3e4, -3e4, 3.0};
      x.push_back(T(special && u % 8 == 0 ? float(ends[u / 8 % 10]) : float(value)));
    }
  }
  return x;
}
template <class T>
struct Array {  // n elements as an array, also of bool
  std::vector<unsigned char> bytes;
  explicit Array(const std::vector<T>& x) : bytes(x.size() * sizeof(T) + 1) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const T value = x[i];
      std::memcpy(&bytes[i * sizeof(T)], &value, sizeof(T));
    }
  }
  explicit Array(std::size_t n) : bytes(n * sizeof(T) + 1, 0x5a) {
    if (std::is_same_v<T, bool>) std::fill(bytes.begin(), bytes.end(), 1);
  }
  T* data() { return reinterpret_cast<T*>(bytes.data()); }
  T operator[](std::int64_t i) const { return reinterpret_cast<const T*>(bytes.data())[i]; }
};

template <class T>
bool close(T got, T want, double scale) {
  const double g = number(got), w = number(want);
  if (g == w || (std::isnan(g) && std::isnan(w))) return true;
  if constexpr (std::is_floating_point_v<T>) {
    using L = std::numeric_limits<T>;
    if (std::isinf(w) || std::isinf(g)) return false;
    return std::fabs(g - w) <= 16 * double(L::epsilon()) * scale + 4 * double(L::denorm_min());
  }
  return false;
}
double finite(double x) { return std::isfinite(x) ? std::fabs(x) : 0; }

constexpr std::int64_t kSizes[] = {0, 1, 3, 7, 8, 15, 16, 17, 33, 255, 257, 600};

template <class Y, class X>
void check_unary(const k::Kernel<k::unary_kernel>& op, DType dtype, k::Params params,
                 bool special) {
  const auto reference = op.fn[int(dtype)][int(k::Target::reference)];
  const auto kernel = op.pick(dtype);
  constexpr std::int64_t kSteps[][2] = {{1, 1}, {1, 0}, {1, 2}, {1, -1}, {3, 1}, {-2, 5}};
  for (std::int64_t n : kSizes) {
    for (const auto& [y_step, x_step] : kSteps) {
      const std::int64_t span = 5 * n + 40;
      Array<X> x(inputs<X>(span + 1, unsigned(n + 1), special));
      Array<Y> y(std::size_t(span + 1)), want(std::size_t(span + 1));
      const auto run = [&](auto* fn, Array<Y>& out, bool stream) {
        fn({n, out.data() + (y_step < 0 ? span - 20 : 20), x.data() + (x_step < 0 ? span - 20 : 20),
            y_step, x_step, params, stream});
      };
      run(reference, want, false);
      run(kernel, y, false);
      Array<Y> streamed(std::size_t(span + 1));
      run(kernel, streamed, true);
      report(streamed.bytes == y.bytes, std::string(op.name) + " streamed");
      for (std::int64_t i = 0; i <= span; ++i) {
        if (close(y[i], want[i], finite(number(want[i])))) continue;
        report(false, std::string(op.name) + " " + name(dtype) + " n " + std::to_string(n) +
                          " step " + std::to_string(x_step) + ": " + std::to_string(number(y[i])) +
                          ", expected " + std::to_string(number(want[i])));
        return;
      }
    }
  }
}

template <class Y, class X>
void check_binary(const k::Kernel<k::binary_kernel>& op, DType dtype, k::Params params) {
  const auto reference = op.fn[int(dtype)][int(k::Target::reference)];
  const auto kernel = op.pick(dtype);
  constexpr std::int64_t kSteps[][3] = {{1, 1, 1}, {1, 0, 1}, {1, 1, 0}, {1, 0, 0},
                                        {2, 1, 3}, {1, 4, 1}, {1, -1, 2}};
  const bool backward = std::strstr(op.name, "backward");
  for (std::int64_t n : kSizes) {
    for (const auto& [y_step, a_step, b_step] : kSteps) {
      const std::int64_t span = 5 * n + 40;
      Array<X> a(inputs<X>(span + 1, unsigned(n + 1), !backward));
      Array<X> b(inputs<X>(span + 1, unsigned(n + 7), true));
      Array<Y> y(std::size_t(span + 1)), want(std::size_t(span + 1));
      const X* from_a = a.data() + (a_step < 0 ? span - 20 : 20);
      const auto run = [&](auto* fn, Array<Y>& out, bool stream) {
        fn({n, out.data() + 20, from_a, b.data() + 20, y_step, a_step, b_step, params, stream});
      };
      run(reference, want, false);
      run(kernel, y, false);
      Array<Y> streamed(std::size_t(span + 1));
      run(kernel, streamed, true);
      report(streamed.bytes == y.bytes, std::string(op.name) + " streamed");
      for (std::int64_t i = 0; i <= span; ++i) {
        const std::int64_t at = (i - 20) / y_step;
        double scale = finite(number(want[i]));
        if (backward && at >= 0 && at < n) scale += finite(number(from_a[at * a_step]));
        if (close(y[i], want[i], scale)) continue;
        const auto text = [](auto v) { return std::to_string(number(v)) + " "; };
        report(false, std::string(op.name) + " " + name(dtype) + ": " + text(y[i]) + "expected " +
                          text(want[i]) + "of " + text(from_a[at * a_step]) +
                          text(b.data()[20 + at * b_step]));
        return;
      }
    }
  }
}

k::Params params_of(const std::string& op) {
  if (op.starts_with("leaky_relu")) return {0.01};
  if (op.starts_with("elu")) return {1.3};
  if (op.starts_with("softplus")) return {1.0, 20.0};
  return {-2, 3};  // clamp
}

void check_rows() {
#define GS_ROW(op, dtype)                                                                        \
  check_unary<CppType<DType::dtype>, CppType<DType::dtype>>(k::op, DType::dtype, params_of(#op), \
                                                            true);
#include "kernels/elementwise/unary_float.inc"
#include "kernels/elementwise/unary_int.inc"
#undef GS_ROW
#define GS_ROW(op, dtype) check_unary<bool, CppType<DType::dtype>>(k::op, DType::dtype, {}, true);
#include "kernels/elementwise/predicate.inc"
#undef GS_ROW
#define GS_ROW(op, dtype) \
  check_binary<CppType<DType::dtype>, CppType<DType::dtype>>(k::op, DType::dtype, params_of(#op));
#include "kernels/elementwise/binary_float.inc"
#include "kernels/elementwise/binary_int.inc"
#undef GS_ROW
#define GS_ROW(op, dtype) check_binary<bool, CppType<DType::dtype>>(k::op, DType::dtype, {});
#include "kernels/elementwise/compare.inc"
#undef GS_ROW
  using cast_to_f32 = float;
  using cast_to_f64 = double;
  using cast_to_bf16 = BFloat16;
  using cast_to_f16 = Float16;
  using cast_to_i64 = std::int64_t;
  using cast_to_i32 = std::int32_t;
  using cast_to_u8 = std::uint8_t;
  using cast_to_b8 = bool;
#define GS_ROW(op, dtype) \
  check_unary<op, CppType<DType::dtype>>(k::op, DType::dtype, {}, !std::is_integral_v<op>);
#include "kernels/elementwise/cast.inc"
#undef GS_ROW
  check_unary<double, double>(k::copy_elements, DType::f64, {}, false);
  check_unary<float, float>(k::copy_elements, DType::f32, {}, false);
  check_unary<BFloat16, BFloat16>(k::copy_elements, DType::bf16, {}, false);
  check_unary<std::uint8_t, std::uint8_t>(k::copy_elements, DType::u8, {}, false);
}

// ---- drivers ----

template <class T>
struct Strided {
  Array<T> memory;
  std::int64_t shape[kMaxDims], strides[kMaxDims];
  std::int64_t origin = 0;
  int ndim;
  NdView view() { return {memory.data() + origin, gradsmith::dtype_of<T>, ndim, shape, strides}; }
};
// A random view of the given shape: permuted, with gaps, reversed; an input may be broadcast.
template <class T>
Strided<T> random_view(const std::vector<std::int64_t>& shape, std::mt19937& random, bool output) {
  Strided<T> v{Array<T>(std::size_t(0)), {}, {}, 0, int(shape.size())};
  std::vector<int> order(shape.size());
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  std::int64_t size = 1;
  for (int d : order) {
    v.shape[d] = shape[std::size_t(d)];
    const bool broadcast = !output && random() % 4 == 0;
    v.strides[d] = broadcast ? 0 : size;
    if (!broadcast) size *= std::max<std::int64_t>(v.shape[d], 1);
    if (!broadcast && random() % 5 == 0) {
      v.origin += v.strides[d] * std::max<std::int64_t>(v.shape[d] - 1, 0);
      v.strides[d] = -v.strides[d];
    }
    if (random() % 4 == 0) size += 3;
  }
  v.memory = Array<T>(inputs<T>(size + 8, unsigned(random()), false));
  return v;
}
template <class F>
void each_index(const NdView& y, F fn) {
  std::int64_t at[kMaxDims] = {};
  for (std::int64_t i = 0, n = y.numel(); i < n; ++i) {
    fn(at);
    for (int d = y.ndim - 1; d >= 0 && ++at[d] == y.shape[d]; --d) at[d] = 0;
  }
}
template <class T>
T& element(const NdView& v, const std::int64_t* at) {
  std::int64_t offset = 0;
  for (int d = 0; d < v.ndim; ++d) offset += at[d] * v.strides[d];
  return static_cast<T*>(v.data)[offset];
}

// Outputs so large that they are written past the caches, at any place within a line.
void check_large() {
  const std::int64_t n = (std::int64_t(16) << 20) / 4 + 21, stride = 1;
  const auto x = inputs<float>(n, 3, false);
  std::vector<float> y(std::size_t(n) + 40);
  for (std::int64_t at : {0, 1, 19}) {
    std::fill(y.begin(), y.end(), 7.0f);
    const NdView to{y.data() + at, DType::f32, 1, &n, &stride};
    const NdView from{const_cast<float*>(x.data()), DType::f32, 1, &n, &stride};
    const auto check = [&](const char* what, auto&& f) {
      bool ok = true;
      for (std::int64_t i = 0; i < n; ++i) ok &= y[std::size_t(at + i)] == f(x[std::size_t(i)]);
      for (std::int64_t i = 0; i < at; ++i) ok &= y[std::size_t(i)] == 7.0f;
      for (std::int64_t i = at + n; i < n + 40; ++i) ok &= y[std::size_t(i)] == 7.0f;
      report(ok, std::string(what) + ", large");
    };
    k::copy(to, from);
    check("copy", [](float v) { return v; });
    k::unary(k::neg, to, from);
    check("unary", [](float v) { return -v; });
    k::binary(k::mul, to, from, from);
    check("binary", [](float v) { return v * v; });
    k::unary(k::neg, to, to);
    check("in place", [](float v) { return -(v * v); });
    const float one = 1;
    k::fill(to, &one);
    check("fill", [](float) { return 1.0f; });
  }
}

template <class T>
void check_drivers(const std::vector<std::int64_t>& shape, std::mt19937& random) {
  auto y = random_view<T>(shape, random, true);
  auto a = random_view<T>(shape, random, false), b = random_view<T>(shape, random, false);
  auto c = random_view<bool>(shape, random, false);
  const NdView to = y.view(), from_a = a.view(), from_b = b.view(), condition = c.view();
  bool ok = true;
  k::copy(to, from_a);
  each_index(to, [&](auto at) { ok &= element<T>(to, at) == element<T>(from_a, at); });
  report(ok, "copy");
  k::where(to, condition, from_a, from_b);
  each_index(to, [&](auto at) {
    ok &= element<T>(to, at) ==
          (element<bool>(condition, at) ? element<T>(from_a, at) : element<T>(from_b, at));
  });
  report(ok, "where");
  if constexpr (!std::is_same_v<T, bool> && !std::is_same_v<T, std::int16_t>) {
    k::binary(k::add, to, from_a, from_b);
    each_index(to, [&](auto at) {
      ok &= element<T>(to, at) == T(element<T>(from_a, at) + element<T>(from_b, at));
    });
    report(ok, "binary");
    k::unary(k::neg, to, from_a);
    each_index(to, [&](auto at) { ok &= element<T>(to, at) == T(-element<T>(from_a, at)); });
    report(ok, "unary");
    k::unary(k::neg, to, to);  // in place
    each_index(to, [&](auto at) { ok &= element<T>(to, at) == element<T>(from_a, at); });
    report(ok, "in place");
  }
  const T one = T(1);
  k::fill(to, &one);
  each_index(to, [&](auto at) { ok &= element<T>(to, at) == T(1); });
  report(ok, "fill");
  std::int64_t stride = 2, size = 9;
  auto line = inputs<float>(20, 1, false);
  k::iota({line.data(), DType::f32, 1, &size, &stride}, 3, 0.5);
  for (int i = 0; i < 9; ++i) report(line[std::size_t(2 * i)] == 3 + 0.5f * float(i), "iota");
}

}  // namespace

int main() {
  gradsmith::testing::for_each_target([&](const char*) {
    check_rows();
    check_large();
    std::mt19937 random(1);
    const std::vector<std::vector<std::int64_t>> shapes = {{},
                                                           {0},
                                                           {1},
                                                           {5},
                                                           {37, 41},
                                                           {64, 128},
                                                           {3, 1, 5},
                                                           {2, 0, 3},
                                                           {4, 3, 17, 9},
                                                           {2, 3, 4, 5, 6},
                                                           {300, 257},
                                                           {1, 70, 1, 33},
                                                           {7, 16, 3},
                                                           {2, 2, 2, 2, 2, 2}};
    for (const auto& shape : shapes) {
      for (int trial = 0; trial < 6; ++trial) {
        check_drivers<float>(shape, random);
        check_drivers<double>(shape, random);
        check_drivers<std::int64_t>(shape, random);
        check_drivers<std::uint8_t>(shape, random);
        check_drivers<bool>(shape, random);
      }
    }
  });
  return gradsmith::testing::finish("elementwise");
}
