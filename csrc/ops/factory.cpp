// Tensors from nothing: constants, sequences, random numbers.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "ops/dispatch_index.h"
#include "runtime/philox.h"

namespace gradsmith::ops {

namespace {

// Calls fn with a value of the C++ type of `dtype`.
template <class F>
void with_type(DType dtype, F&& fn) {
  switch (dtype) {
#define GS_CASE(tag, T) \
  case DType::tag:      \
    fn(T());            \
    break;
    GS_DTYPES(GS_CASE)
#undef GS_CASE
  }
}

template <class T>
T from_double(double v) {
  if constexpr (std::is_same_v<T, BFloat16> || std::is_same_v<T, Float16>) {
    return T(float(v));
  } else {
    return static_cast<T>(v);
  }
}

// That v, cut to a whole number, is one of an integer dtype's values.
template <class T>
void check_fits(const char* op, const char* argument, T v, DType dtype) {
  if (is_floating(dtype) || dtype == DType::b8) return;
  const std::int64_t low = dtype == DType::u8 ? 0 : dtype == DType::i32 ? INT32_MIN : INT64_MIN;
  const std::int64_t high = dtype == DType::u8 ? 255 : dtype == DType::i32 ? INT32_MAX : INT64_MAX;
  bool fits = false;
  if constexpr (std::is_floating_point_v<T>) {
    fits = std::trunc(v) >= double(low) && std::trunc(v) < double(high) + 1;
  } else {
    fits = v >= low && v <= high;
  }
  GS_CHECK(fits, "{}: argument '{}' is {}, which {} cannot hold ({} to {})", op, argument, v, dtype,
           low, high);
}

// A contiguous place to fill: x itself, or a scratch tensor that is copied into x afterwards.
template <class Fill>
Tensor fill_contiguous(const char* op, const Tensor& x, Fill&& fill) {
  check_writable(op, x);
  const bool compute = x.dtype() == DType::f32 || x.dtype() == DType::f64;
  GS_CHECK_TYPE(is_floating(x.dtype()), "{}: must be a floating point tensor, got {}", op,
                x.dtype());
  if (compute && x.is_contiguous()) {
    fill(x);
    return written(x);
  }
  Tensor scratch = empty(x.shape(), compute ? x.dtype() : DType::f32, x.device());
  fill(scratch);
  return copy_(x, scratch);
}

void fill_zero(const Tensor& x) {
  constexpr std::uint64_t zero = 0;
  dispatch::fill(x, &zero);
}

void check_finite(const char* op, const char* argument, double v) {
  GS_CHECK(std::isfinite(v), "{}: argument '{}' must be finite, got {}", op, argument, v);
}

}  // namespace

Tensor element_of(const char* op, const char* argument, const Operand& value, DType dtype) {
  check_untracked(op, argument, value);
  GS_CHECK(value.dim() == 0, "{}: argument '{}' must be a number, got shape {}", op, argument,
           value.shape());
  const Tensor from = to_device(value.detach(), {});
  if (is_floating(from.dtype())) {
    check_fits(op, argument, *to_dtype(from, DType::f64).data_as<double>(), dtype);
  } else {
    check_fits(op, argument, *to_dtype(from, DType::i64).data_as<std::int64_t>(), dtype);
  }
  return to_dtype(from, dtype);
}

Tensor full(const Dims& shape, const Operand& value, DType dtype, Device device) {
  const Tensor element = element_of("full", "fill_value", value, dtype);
  Tensor x = empty(shape, dtype, device);
  dispatch::fill(x, element.data());
  return x;
}
Tensor zeros(const Dims& shape, DType dtype, Device device) {
  Tensor x = empty(shape, dtype, device);
  fill_zero(x);
  return x;
}
Tensor ones(const Dims& shape, DType dtype, Device device) { return full(shape, 1, dtype, device); }
Tensor zeros_like(const Tensor& x) {
  check_defined("zeros_like", "input", x);
  return zeros(x.shape(), x.dtype(), x.device());
}
Tensor ones_like(const Tensor& x) {
  check_defined("ones_like", "input", x);
  return ones(x.shape(), x.dtype(), x.device());
}

Tensor arange(double start, double end, double step, DType dtype, Device device) {
  check_finite("arange", "start", start);
  check_finite("arange", "end", end);
  GS_CHECK(std::isfinite(step) && step != 0, "arange: step must be finite and not 0, got {}", step);
  GS_CHECK(dtype != DType::b8, "arange: dtype bool is not supported");
  constexpr double kExact = 9007199254740992;  // 2^53: further out not every integer is a double
  GS_CHECK(is_floating(dtype) || (std::abs(start) <= kExact && std::abs(end) <= kExact),
           "arange: integers must be within 2^53 of 0, got start {} and end {}", start, end);
  const double count = std::ceil((end - start) / step);
  GS_CHECK_KIND(memory, count < 9e18, "arange: {} elements do not fit in memory", count);
  if (count > 0 && !is_floating(dtype)) {
    check_fits("arange", "start", std::int64_t(start), dtype);
    check_fits("arange", "end - step", std::int64_t(start + (count - 1) * step), dtype);
  }
  Tensor x = empty({count > 0 ? std::int64_t(count) : 0}, dtype, device);
  if (!on_cpu(x)) {
    dispatch::sequence(x, start, step, 0, x.numel());
    return x;
  }
  with_type(dtype, [&]<class T>(T) {
    T* p = x.data_as<T>();
    for (std::int64_t i = 0; i < x.numel(); ++i) p[i] = from_double<T>(start + double(i) * step);
  });
  return x;
}

Tensor linspace(double start, double end, std::int64_t steps, DType dtype, Device device) {
  GS_CHECK(steps >= 0, "linspace: steps must not be negative, got {}", steps);
  check_fits("linspace", "start", start, dtype);
  check_fits("linspace", "end", end, dtype);
  Tensor x = empty({steps}, dtype, device);
  const double step = steps > 1 ? (end - start) / double(steps - 1) : 0;
  const std::int64_t forward = steps == 1 ? 1 : steps / 2;
  if (!on_cpu(x)) {
    dispatch::sequence(x, start, step, end, forward);
    return x;
  }
  with_type(dtype, [&]<class T>(T) {
    T* p = x.data_as<T>();
    // From both ends, so that the last value is exactly `end`.
    for (std::int64_t i = 0; i < steps; ++i)
      p[i] = from_double<T>(i < forward ? start + double(i) * step
                                        : end - double(steps - 1 - i) * step);
  });
  return x;
}

Tensor eye(std::int64_t n, std::optional<std::int64_t> m, DType dtype, Device device) {
  Tensor x = zeros({n, m.value_or(n)}, dtype, device);
  fill_(diagonal(x, 0, 0, 1), 1);
  return x;
}

Tensor fill_(const Tensor& x, const Operand& value) {
  check_writable("fill_", x);
  const Tensor element = element_of("fill_", "value", value, x.dtype());
  dispatch::fill(x, element.data());
  return written(x);
}
Tensor zero_(const Tensor& x) {
  check_writable("zero_", x);
  fill_zero(x);
  return written(x);
}

Tensor uniform_(const Tensor& x, double from, double to) {
  check_finite("uniform_", "from", from);
  const double widest = x.defined() && x.dtype() == DType::f64 ? DBL_MAX : FLT_MAX;
  GS_CHECK(to - from <= widest, "uniform_: from {} to {} is further than {} can hold", from, to,
           x.dtype());
  GS_CHECK(std::isfinite(to) && to >= from,
           "uniform_: argument 'to' must be finite and at least {}, got {}", from, to);
  return fill_contiguous("uniform_", x, [&](const Tensor& y) {
    const auto blocks = kernels::random_blocks(y.numel(), kernels::random_words(y.dtype()));
    const PhiloxState s = reserve_random(blocks);
    dispatch::fill_uniform(y, {y.data(), y.numel(), s.seed, s.offset, from, to});
  });
}

Tensor normal_(const Tensor& x, double mean, double std) {
  check_finite("normal_", "mean", mean);
  GS_CHECK(std::isfinite(std) && std >= 0,
           "normal_: argument 'std' must be finite and not negative, got {}", std);
  return fill_contiguous("normal_", x, [&](const Tensor& y) {
    const auto blocks = kernels::random_blocks(y.numel(), kernels::random_words(y.dtype()));
    const PhiloxState s = reserve_random(blocks);
    dispatch::fill_normal(y, {y.data(), y.numel(), s.seed, s.offset, mean, std});
  });
}

Tensor bernoulli_(const Tensor& x, double p) {
  check_writable("bernoulli_", x);
  GS_CHECK(p >= 0 && p <= 1, "bernoulli_: argument 'p' must be in [0, 1], got {}", p);
  Tensor mask = empty(x.shape(), DType::b8, x.device());
  const PhiloxState s = reserve_random(kernels::random_blocks(x.numel(), 1));
  dispatch::fill_bernoulli(mask, {mask.data(), mask.numel(), s.seed, s.offset, p, 0});
  return copy_(x, mask);
}

Tensor rand(const Dims& shape, DType dtype, Device device) {
  return uniform_(empty(shape, dtype, device));
}
Tensor randn(const Dims& shape, DType dtype, Device device) {
  return normal_(empty(shape, dtype, device));
}

Tensor randint(std::int64_t low, std::int64_t high, const Dims& shape, DType dtype, Device device) {
  GS_CHECK(low < high, "randint: low must be below high, got {} and {}", low, high);
  check_fits("randint", "low", low, dtype);
  check_fits("randint", "high - 1", high - 1, dtype);
  Tensor x = empty(shape, DType::i64, device);
  const PhiloxState s = reserve_random(kernels::random_blocks(x.numel(), 2));
  dispatch::fill_integers(x, {x.data_as<std::int64_t>(), x.numel(), s.seed, s.offset, low,
                              std::uint64_t(high) - std::uint64_t(low)});
  return to_dtype(x, dtype);
}

// On the CPU for every device: each swap depends on those before.
Tensor randperm(std::int64_t n, DType dtype, Device device) {
  GS_CHECK(n >= 0, "randperm: n must not be negative, got {}", n);
  check_fits("randperm", "n - 1", std::max<std::int64_t>(n - 1, 0), dtype);
  Tensor x = empty({n}, DType::i64);
  const PhiloxState s = reserve_random(kernels::random_blocks(n, 2));
  kernels::fill_permutation(x.data_as<std::int64_t>(), n, s.seed, s.offset);
  return to_device(to_dtype(x, dtype), device);
}

}  // namespace gradsmith::ops
