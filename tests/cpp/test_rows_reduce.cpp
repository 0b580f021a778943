// Reductions: every fold, dtype and kind of layout against a plain loop over the strided array;
// error bound, special values, thread counts, poisoned outputs.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernel_testing.h"
#include "kernels/reduce/reduce.h"
#include "runtime/parallel.h"

using namespace gradsmith;
using namespace gradsmith::kernels;
using namespace gradsmith::testing;

namespace {

struct Layout {
  const char* name;
  std::vector<std::int64_t> shape, strides;
  std::int64_t offset, size;  // of the first element, and of all memory
};

Layout dense(const char* name, std::vector<std::int64_t> shape) {
  Layout l{name, shape, std::vector<std::int64_t>(shape.size()), 0, 1};
  for (std::size_t d = shape.size(); d-- > 0;) {
    l.strides[d] = l.size;
    l.size *= shape[d];
  }
  return l;
}

std::vector<Layout> layouts() {
  std::vector<Layout> all;
  for (std::int64_t n : {1, 2, 7, 8, 9, 15, 17, 31, 127, 1025}) {
    all.push_back(dense("vector", {n}));
  }
  all.push_back(dense("scalar", {}));
  all.push_back(dense("long", {90001}));
  all.push_back(dense("rows", {37, 129}));
  all.push_back(dense("wide", {2, 40001}));
  all.push_back(dense("tall", {6007, 3}));
  all.push_back(dense("columns", {140, 1100}));
  all.push_back(dense("cube", {9, 11, 13}));
  all.push_back(dense("nchw", {4, 3, 17, 19}));
  all.push_back(dense("many", {2, 3, 1, 4, 5, 2}));
  all.push_back(dense("empty", {3, 0, 2}));
  all.push_back({"transposed", {129, 37}, {1, 129}, 0, 37 * 129});
  all.push_back({"step", {19, 33}, {132, 2}, 1, 19 * 132});
  all.push_back({"reversed", {19, 33}, {-40, -1}, 18 * 40 + 32, 19 * 40});
  all.push_back({"broadcast", {6, 50, 7}, {0, 7, 1}, 0, 350});
  all.push_back({"broadcast last", {50, 6}, {1, 0}, 0, 50});
  all.push_back({"permuted", {5, 7, 6}, {1, 30, 5}, 0, 210});
  all.push_back({"far", {3, 90}, {7, 21}, 0, 2000});
  return all;
}

// Every element of the view in row-major order, grouped by output.
template <class T>
std::vector<std::vector<T>> groups(const Layout& l, const T* memory, unsigned dims) {
  const int ndim = int(l.shape.size());
  std::int64_t outputs = 1, total = 1;
  for (int d = 0; d < ndim; ++d) {
    total *= l.shape[std::size_t(d)];
    if (!((dims >> d) & 1u)) outputs *= l.shape[std::size_t(d)];
  }
  std::vector<std::vector<T>> result{std::size_t(outputs)};
  for (std::int64_t i = 0; i < total; ++i) {
    std::int64_t rest = i, at = l.offset, out = 0, scale = 1;
    for (int d = ndim - 1; d >= 0; --d) {
      const std::int64_t size = l.shape[std::size_t(d)], k = rest % size;
      rest /= size;
      at += k * l.strides[std::size_t(d)];
      if (!((dims >> d) & 1u)) {
        out += k * scale;
        scale *= size;
      }
    }
    result[std::size_t(out)].push_back(memory[at]);
  }
  return result;
}

template <class T>
bool better(bool largest, T x, T best) {
  return best == best && (x != x || (largest ? x > best : x < best));
}

// The result in long double, and what its error may be.
struct Expected {
  long double value, tolerance;
};

template <class T>
Expected expect(ReduceOp op, const std::vector<T>& x, double correction) {
  using L = long double;
  const L n = L(x.size());
  const L u = std::is_same_v<T, float> ? 0x1p-24L : std::is_same_v<T, double> ? 0x1p-53L : 0;
  const L bound = 41 * u + n * 0x1p-53L;
  L sum = 0, asum = 0, square = 0, prod = 1, nonzero = 0;
  for (T v : x) {
    sum += L(v);
    asum += std::abs(L(v));
    square += L(v) * L(v);
    prod *= L(v);
    nonzero += v != T(0);
  }
  const auto rounded = [&](L value, L tolerance) {
    return Expected{value, tolerance + std::abs(value) * 2 * u};
  };
  switch (op) {
    case ReduceOp::sum:
      return rounded(sum, bound * asum);
    case ReduceOp::mean:
      return rounded(sum / n, bound * asum / n);
    case ReduceOp::prod:
      return rounded(prod,
                     std::abs(prod) * (2 * u + n * 0x1p-52L) + L(std::numeric_limits<T>::min()));
    case ReduceOp::norm1:
      return rounded(asum, bound * asum);
    case ReduceOp::sumsq:
      return rounded(square, (u + n * 0x1p-53L) * square);
    case ReduceOp::norm2:
      return rounded(std::sqrt(square), (u + n * 0x1p-53L) * std::sqrt(square));
    case ReduceOp::any:
      return {L(nonzero > 0), 0};
    case ReduceOp::all:
      return {L(nonzero == n), 0};
    case ReduceOp::count_nonzero:
      return {nonzero, 0};
    case ReduceOp::max:
    case ReduceOp::min: {
      T best = x[0];
      for (T v : x) best = better(op == ReduceOp::max, v, best) ? v : best;
      return {L(best), 0};
    }
    case ReduceOp::var:
    case ReduceOp::std_dev: {
      const L mean = sum / n;
      L m2 = 0;
      for (T v : x) m2 += (L(v) - mean) * (L(v) - mean);
      const L var = m2 / std::max(L(0), n - L(correction));
      const L value = op == ReduceOp::var ? var : std::sqrt(var);
      // Joining partial moments rounds the means, in double.
      const L joining = 0x1p-47L * std::abs(mean) * (op == ReduceOp::var ? std::sqrt(var) : 1);
      return rounded(value, value * (2 * bound + 16 * u) + joining);
    }
  }
  return {};
}

template <class T>
bool agrees(T got, const Expected& want) {
  if (want.value != want.value) return got != got;
  if (std::isinf(want.value)) return (long double)got == want.value;
  return std::abs((long double)got - want.value) <= want.tolerance;
}

template <class Out, class T>
void check(ReduceOp op, const Layout& l, const std::vector<T>& memory, unsigned dims,
           const std::vector<std::vector<T>>& values, const std::string& what) {
  const NdView view{const_cast<T*>(memory.data()) + l.offset, dtype_of<T>, int(l.shape.size()),
                    l.shape.data(), l.strides.data()};
  const double correction = dims % 3 == 0 ? 0 : 1;
  Poisoned<Out> first(std::int64_t(values.size()));
  for (int threads = 1; threads <= 3; ++threads) {
    set_num_threads(threads);
    Poisoned<Out> out(std::int64_t(values.size()));
    reduce(op, out.data(), view, dims, correction);
    report(out.frame_intact(), what + ": wrote outside");
    if (threads > 1) {
      report(same_bits(out, first), what + ": bits differ with threads");
      continue;
    }
    first = out;
    for (std::size_t o = 0; o < values.size(); ++o) {
      const Expected want = expect<T>(op, values[o], correction);
      if (!agrees(out[std::int64_t(o)], want)) {
        report(false, what + " output " + std::to_string(o) + ": got " +
                          std::to_string((long double)out[std::int64_t(o)]) + " want " +
                          std::to_string(want.value));
      }
    }
  }
}

template <class T>
void check_arg(bool largest, const Layout& l, const std::vector<T>& memory, unsigned dims,
               const std::vector<std::vector<T>>& values, const std::string& what) {
  const NdView view{const_cast<T*>(memory.data()) + l.offset, dtype_of<T>, int(l.shape.size()),
                    l.shape.data(), l.strides.data()};
  for (int threads = 1; threads <= 3; ++threads) {
    set_num_threads(threads);
    Poisoned<T> out(std::int64_t(values.size()));
    Poisoned<std::int64_t> index(out.size());
    arg_reduce(largest, out.data(), index.data(), view, dims);
    report(out.frame_intact() && index.frame_intact(), what + ": wrote outside");
    for (std::size_t o = 0; o < values.size(); ++o) {
      std::size_t best = 0;
      for (std::size_t i = 1; i < values[o].size(); ++i) {
        if (better(largest, values[o][i], values[o][best])) best = i;
      }
      const T want = values[o][best], got = out[std::int64_t(o)];
      report(index[std::int64_t(o)] == std::int64_t(best) && (got == want || want != want),
             what + " output " + std::to_string(o) + ": index " +
                 std::to_string(index[std::int64_t(o)]) + " want " + std::to_string(best));
    }
  }
}

enum class Data { normal, shifted, outliers, special, ties };

template <class T>
std::vector<T> make_data(Data kind, std::int64_t n) {
  std::vector<T> x(std::size_t(n), T(0));
  const std::vector<double> noise = random_values<double>(n, 7);
  for (std::size_t i = 0; i < x.size(); ++i) {
    double v = noise[i];
    if (kind == Data::shifted) v += 1000;
    if (kind == Data::outliers && i % 97 == 11) v *= std::is_same_v<T, float> ? 1e18 : 1e100;
    if (kind == Data::ties) v = std::round(v * 1.5);
    if constexpr (std::is_floating_point_v<T>) {
      const double inf = std::numeric_limits<double>::infinity();
      if (kind == Data::special && i % 31 == 5) v = i % 62 == 5 ? inf : -inf;
      if (kind == Data::special && i % 53 == 9) v = std::numeric_limits<double>::quiet_NaN();
      x[i] = T(v);
    } else if constexpr (std::is_unsigned_v<T>) {
      x[i] = T(std::abs(v) * 3);
    } else {
      x[i] = T(v * 10);
    }
  }
  return x;
}

template <class T>
void run(const char* target) {
  constexpr bool floating = std::is_floating_point_v<T>;
  using Wide = std::conditional_t<floating, T, std::int64_t>;
  for (const Layout& l : layouts()) {
    const int ndim = int(l.shape.size());
    for (Data kind : {Data::normal, Data::shifted, Data::outliers, Data::special, Data::ties}) {
      if (!floating && (kind == Data::shifted || kind == Data::outliers)) continue;
      const std::vector<T> memory = make_data<T>(kind, l.size);
      for (unsigned dims = 0; dims < (1u << ndim); ++dims) {
        const auto values = groups(l, memory.data(), dims);
        const std::string where = std::string(" of ") + name(dtype_of<T>) + " on " + target + ", " +
                                  l.name + " dims " + std::to_string(dims) + " data " +
                                  std::to_string(int(kind));
        const bool none = values.empty() || values[0].empty();
        if (kind != Data::special) {
          check<Wide>(ReduceOp::sum, l, memory, dims, values, "sum" + where);
          if (kind != Data::outliers && kind != Data::shifted) {
            if (floating) check<Wide>(ReduceOp::prod, l, memory, dims, values, "prod" + where);
          }
        }
        check<std::uint8_t>(ReduceOp::any, l, memory, dims, values, "any" + where);
        check<std::uint8_t>(ReduceOp::all, l, memory, dims, values, "all" + where);
        check<std::int64_t>(ReduceOp::count_nonzero, l, memory, dims, values, "nonzero" + where);
        if constexpr (floating) {
          if (kind != Data::special) {
            check<T>(ReduceOp::mean, l, memory, dims, values, "mean" + where);
            check<T>(ReduceOp::norm1, l, memory, dims, values, "norm1" + where);
            check<T>(ReduceOp::norm2, l, memory, dims, values, "norm2" + where);
            check<T>(ReduceOp::var, l, memory, dims, values, "var" + where);
            check<T>(ReduceOp::std_dev, l, memory, dims, values, "std" + where);
            if (kind != Data::outliers) {
              check<T>(ReduceOp::sumsq, l, memory, dims, values, "sumsq" + where);
            }
          }
        }
        if (none) continue;
        check<T>(ReduceOp::max, l, memory, dims, values, "max" + where);
        check<T>(ReduceOp::min, l, memory, dims, values, "min" + where);
        check_arg<T>(true, l, memory, dims, values, "argmax" + where);
        check_arg<T>(false, l, memory, dims, values, "argmin" + where);
      }
    }
  }
}

template <class T, class Out>
void test_cumsum(const char* target) {
  const std::int64_t shapes[][3] = {{1, 1, 1}, {3, 17, 1}, {5, 1000, 1}, {2, 33, 7}, {2, 9, 1500}};
  for (const auto& s : shapes) {
    const std::int64_t size = s[0] * s[1] * s[2];
    const std::vector<T> x = make_data<T>(Data::normal, size);
    Poisoned<Out> first(size);
    for (int threads = 1; threads <= 3; ++threads) {
      set_num_threads(threads);
      Poisoned<Out> y(size);
      cumsum(dtype_of<T>, y.data(), x.data(), s[0], s[1], s[2]);
      report(y.frame_intact(), "cumsum wrote outside");
      if (threads == 1) first = y;
      report(same_bits(y, first), "cumsum: bits differ with threads");
    }
    for (std::int64_t o = 0; o < s[0]; ++o) {
      for (std::int64_t c = 0; c < s[2]; ++c) {
        long double sum = 0;
        for (std::int64_t i = 0; i < s[1]; ++i) {
          const std::int64_t at = (o * s[1] + i) * s[2] + c;
          sum += (long double)x[std::size_t(at)];
          const long double tolerance =
              std::is_same_v<T, float> ? 1e-7L * std::abs(sum) + 1e-12L : 1e-12L;
          report(std::abs((long double)first[at] - sum) <= tolerance,
                 std::string("cumsum on ") + target);
        }
      }
    }
  }
}

}  // namespace

int main() {
  for_each_target([](const char* target) {
    run<float>(target);
    run<double>(target);
    run<std::int64_t>(target);
    run<std::int32_t>(target);
    run<std::uint8_t>(target);
    test_cumsum<float, float>(target);
    test_cumsum<double, double>(target);
    test_cumsum<std::int64_t, std::int64_t>(target);
    test_cumsum<std::int32_t, std::int64_t>(target);
    test_cumsum<std::uint8_t, std::int64_t>(target);
  });
  return finish("reduce");
}
