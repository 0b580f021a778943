// gemm: every layout, tile edge, path and epilogue against sums in double, on every target and for
// several numbers of threads. The bound is the a-priori one: with u the unit roundoff,
// |error| <= gamma_(k + 8) (|alpha| |A| |B| + |beta C| + |bias| + |residual|).
#include "kernels/gemm/gemm.h"

#include <algorithm>
#include <cstring>

#include "kernel_testing.h"
#include "runtime/parallel.h"

namespace {

using namespace gradsmith;
using namespace gradsmith::kernels;
using testing::report;
using Index = std::int64_t;

std::mt19937 engine(7);
Index pick(Index low, Index high) {
  return std::uniform_int_distribution<Index>(low, high)(engine);
}
template <class T>
T pick_from(std::initializer_list<T> values) {
  return values.begin()[pick(0, Index(values.size()) - 1)];
}

enum class Layout { rows, columns, padded_rows, padded_columns, scattered, reversed, repeated };
constexpr const char* kLayouts[] = {"rows",      "columns",  "padded_rows", "padded_columns",
                                    "scattered", "reversed", "repeated"};

// A matrix with its memory. Everything that is not an element is a mark that must survive.
template <class T>
struct Matrix {
  Index m, n, rs, cs, origin, batch;
  std::vector<T> memory;

  static T mark() { return T(-12345.5); }

  Matrix(Index rows, Index columns, Layout layout, Index entries = 1, bool shared = false)
      : m(rows), n(columns) {
    const Index pad = layout == Layout::padded_rows || layout == Layout::padded_columns ? 5 : 0;
    const bool by_columns = layout == Layout::columns || layout == Layout::padded_columns;
    const Index step = layout == Layout::scattered ? 2 : 1;
    cs = by_columns ? m + pad : step;
    rs = by_columns ? step : n * step + pad;
    origin = 8;
    Index span = m * n * step + (by_columns ? n : m) * pad + 16;
    if (layout == Layout::reversed) {
      origin += m * rs;
      rs = -rs;
      span += m * n;
    }
    if (layout == Layout::repeated) rs = 0;
    batch = shared ? 0 : span;
    memory.assign(std::size_t(span * (shared ? 1 : entries)), mark());
    for (Index z = 0; z < (shared ? 1 : entries); ++z) {
      for (Index i = 0; i < m; ++i)
        for (Index j = 0; j < n; ++j) at(z, i, j) = T(std::normal_distribution<double>()(engine));
    }
  }
  T* data() { return memory.data() + origin; }
  T& at(Index z, Index i, Index j) { return data()[z * batch + i * rs + j * cs]; }
};

double activate(double x, Activation activation, double slope) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x > 0 ? x : 0;
    case Activation::leaky_relu:
      return x > 0 ? x : slope * x;
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
    case Activation::gelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case Activation::silu:
      return x / (1 + std::exp(-x));
  }
  return x;
}

// im2col and the like: a pack function that computes the element from its coordinates.
template <class T>
struct Callback {
  Matrix<T>* matrix;
  bool by_rows;  // lines are rows
  static void fill(const void* context, const PackRequest& r) {
    const Callback& self = *static_cast<const Callback*>(context);
    T* dst = static_cast<T*>(r.dst);
    const Index panels = (r.lines + r.width - 1) / r.width;
    for (Index q = 0; q < panels; ++q)
      for (Index p = 0; p < r.depth; ++p)
        for (Index l = 0; l < r.width; ++l, ++dst) {
          const Index line = q * r.width + l, at = r.first + line, depth = r.depth0 + p;
          *dst = line >= r.lines ? T(0)
                 : self.by_rows  ? self.matrix->at(r.batch, at, depth)
                                 : self.matrix->at(r.batch, depth, at);
        }
  }
};

enum class Source { memory, callback, packed };

struct Spec {
  Index m, n, k, batch = 1;
  Layout a = Layout::rows, b = Layout::rows, c = Layout::rows;
  Source a_source = Source::memory, b_source = Source::memory;
  bool a_shared = false, b_shared = false;
  double alpha = 1, beta = 0;
  int bias = 0;  // 1: a column, 2: a row, 3: full
  bool residual = false;
  Activation activation = Activation::none;

  std::string text(const char* target, const char* dtype) const {
    std::string s = std::string(target) + " " + dtype + " " + std::to_string(m) + "x" +
                    std::to_string(n) + "x" + std::to_string(k) + " batch " +
                    std::to_string(batch) + " a " + kLayouts[int(a)] + " b " + kLayouts[int(b)] +
                    " c " + kLayouts[int(c)] + " sources " + std::to_string(int(a_source)) +
                    std::to_string(int(b_source)) + " alpha " + std::to_string(alpha) + " beta " +
                    std::to_string(beta) + " bias " + std::to_string(bias) + " residual " +
                    std::to_string(residual) + " activation " + std::to_string(int(activation));
    return s;
  }
};

template <class T>
void run(const Spec& s, const char* target) {
  const std::string what = s.text(target, sizeof(T) == 4 ? "f32" : "f64");
  Matrix<T> a(s.m, s.k, s.a, s.batch, s.a_shared), b(s.k, s.n, s.b, s.batch, s.b_shared);
  Matrix<T> c(s.m, s.n, s.c, s.batch), bias(s.m, s.n, Layout::rows), extra(s.m, s.n, s.c, s.batch);
  if (s.beta == 0) {  // must not be read
    for (Index z = 0; z < s.batch; ++z)
      for (Index i = 0; i < s.m; ++i)
        for (Index j = 0; j < s.n; ++j) c.at(z, i, j) = std::numeric_limits<T>::quiet_NaN();
  }
  Gemm g;
  g.m = s.m;
  g.n = s.n;
  g.k = s.k;
  g.batch = s.batch;
  g.a = {a.data(), a.rs, a.cs, a.batch};
  g.b = {b.data(), b.rs, b.cs, b.batch};
  g.c = {c.data(), c.rs, c.cs, c.batch};
  g.alpha = s.alpha;
  g.beta = s.beta;
  if (s.bias) g.epilogue.bias = {bias.data(), s.bias == 1 ? 0 : bias.rs, s.bias == 2 ? 0 : bias.cs};
  if (s.residual) g.epilogue.residual = {extra.data(), extra.rs, extra.cs, extra.batch};
  g.epilogue.activation = s.activation;
  g.epilogue.slope = 0.125;

  const DType dtype = dtype_of<T>;
  const Callback<T> a_pack{&a, true}, b_pack{&b, false};
  PackedOperand a_packed, b_packed;
  std::vector<T> a_memory, b_memory;
  const auto prepare = [&](Operand& operand, Source source, GemmSide side, const Callback<T>& pack,
                           PackedOperand& handle, std::vector<T>& memory, Index lines) {
    if (source == Source::callback) {
      operand = {};
      operand.pack = &Callback<T>::fill;
      operand.context = &pack;
    } else if (source == Source::packed) {
      const std::size_t count = packed_bytes(dtype, side, lines, s.k) / sizeof(T);
      memory.assign(count + 32, T(99));
      auto address = reinterpret_cast<std::uintptr_t>(memory.data());
      T* const aligned = memory.data() + ((address + 63) / 64 * 64 - address) / sizeof(T);
      handle = pack_operand(dtype, side, operand, lines, s.k, aligned);
      report(aligned[count] == T(99), what + ": packing wrote past its end");
      operand = {};
      operand.packed = &handle;
    }
  };
  prepare(g.a, s.a_source, GemmSide::a, a_pack, a_packed, a_memory, s.m);
  prepare(g.b, s.b_source, GemmSide::b, b_pack, b_packed, b_memory, s.n);

  const std::vector<T> before = c.memory;
  std::vector<T> first;
  for (int threads : {1, 2, 3}) {
    if (threads > 1 && s.m * s.n * s.k * s.batch < 1 << 20) break;
    set_num_threads(threads);
    c.memory = before;
    gemm(dtype, g);
    if (threads == 1) first = c.memory;
    report(
        first.empty() || std::memcmp(first.data(), c.memory.data(), first.size() * sizeof(T)) == 0,
        what + ": other bits with " + std::to_string(threads) + " threads");
  }
  set_num_threads(1);

  const double u = sizeof(T) == 4 ? std::ldexp(1.0, -24) : std::ldexp(1.0, -53);
  const double gamma = double(s.k + 8) * u / (1 - double(s.k + 8) * u);
  Matrix<T> old = c;
  old.memory = before;
  std::vector<bool> element(c.memory.size());
  for (Index z = 0; z < s.batch; ++z)
    for (Index i = 0; i < s.m; ++i)
      for (Index j = 0; j < s.n; ++j) {
        double sum = 0, size = 0;
        for (Index p = 0; p < s.k; ++p) {
          const double x = double(a.at(z, i, p)) * double(b.at(z, p, j));
          sum += x;
          size += std::abs(x);
        }
        double want = s.alpha * sum;
        size *= std::abs(s.alpha);
        const auto add = [&](double x) { want += x, size += std::abs(x); };
        if (s.beta != 0) add(s.beta * double(old.at(z, i, j)));
        if (s.bias) add(double(bias.at(0, s.bias == 1 ? 0 : i, s.bias == 2 ? 0 : j)));
        if (s.residual) add(double(extra.at(z, i, j)));
        // No activation is steeper than 1.13; each adds a few units of its own.
        double bound = gamma * size;
        if (s.activation != Activation::none) bound = 1.2 * bound + 8 * u * (1 + std::abs(want));
        want = activate(want, s.activation, 0.125);
        // The oracle's own error matters in double.
        if (sizeof(T) == 8) bound *= 2;
        const double got = double(c.at(z, i, j));
        if (!(std::abs(got - want) <= bound)) {
          report(false, what + ": (" + std::to_string(z) + ", " + std::to_string(i) + ", " +
                            std::to_string(j) + ") is " + std::to_string(got) + ", not " +
                            std::to_string(want) + ", bound " + std::to_string(bound));
          return;
        }
        element[std::size_t(&c.at(z, i, j) - c.memory.data())] = true;
      }
  for (std::size_t i = 0; i < element.size(); ++i) {
    if (!element[i] && c.memory[i] != Matrix<T>::mark()) {
      report(false, what + ": wrote outside C");
      return;
    }
  }
}

template <class T>
Spec random_spec(const GemmShape& shape) {
  const auto edge = [&](int tile) {
    return pick_from<Index>({1, 2, 3, tile - 1, tile, tile + 1, 2 * tile + 1, 4 * tile + 3, 7, 23});
  };
  const Layout any[] = {Layout::rows,           Layout::columns,   Layout::padded_rows,
                        Layout::padded_columns, Layout::scattered, Layout::reversed,
                        Layout::repeated};
  Spec s{std::max<Index>(edge(shape.mr), 1), std::max<Index>(edge(shape.nr), 1),
         pick_from<Index>({0, 1, 2, 7, 16, 31, 65})};
  s.a = any[pick(0, 6)];
  s.b = any[pick(0, 6)];
  s.c = any[pick(0, 5)];
  if (pick(0, 3) == 0) s.a_source = pick_from({Source::callback, Source::packed});
  if (pick(0, 3) == 0) s.b_source = pick_from({Source::callback, Source::packed});
  s.batch = pick(0, 4) == 0 ? 3 : 1;
  s.a_shared = s.a_source == Source::packed || pick(0, 3) == 0;
  s.b_shared = s.b_source == Source::packed || pick(0, 3) == 0;
  s.alpha = pick_from({1.0, 1.0, -0.5, 0.0});
  s.beta = pick_from({0.0, 0.0, 1.0, -1.5});
  if (pick(0, 1)) {
    s.bias = int(pick(0, 3));
    s.residual = pick(0, 1);
    s.activation = Activation(pick(0, 7));
  }
  return s;
}

template <class T>
void tiles_and_layouts(const char* target) {
  const GemmShape shape = gemm_shape_of(dtype_of<T>);
  for (Index m : {Index(1), Index(shape.mr - 1), Index(shape.mr), Index(shape.mr + 1),
                  Index(5 * shape.mr + 2)})
    for (Index n : {Index(1), Index(shape.nr - 1), Index(shape.nr), Index(shape.nr + 1),
                    Index(10 * shape.nr + 3)})
      for (Index k : {Index(1), Index(5), Index(32)})
        for (Layout a : {Layout::rows, Layout::columns})
          for (Layout b : {Layout::rows, Layout::columns}) run<T>({m, n, k, 1, a, b}, target);
  for (int i = 0; i < 600; ++i) run<T>(random_spec<T>(shape), target);
  // Several depth blocks, with the epilogue only in the last one.
  const Index kc = std::min<Index>(shape.kc, 1000);  // the reference has one block for any depth
  for (Index k : {kc - 1, kc, kc + 1, 2 * kc + 5}) {
    for (Index m : {1, 9}) {
      for (Index n : {1, 37}) {
        Spec s{m, n, k};
        s.beta = 0.5;
        s.bias = 1;
        s.activation = Activation::relu;
        run<T>(s, target);
        s.b = Layout::columns;
        run<T>(s, target);
        s.b_source = Source::packed;
        run<T>(s, target);
        s.a_source = Source::packed;
        s.b_source = Source::callback;
        run<T>(s, target);
      }
    }
  }
  // Few rows and a wide B, in place and by rows: steps of the depth, strips of columns, several
  // depth blocks, rows whose cache lines compete; and the transposed forms of the same.
  constexpr Index kWide[][2] = {{1, 1024}, {2, 301}, {7, 1024}, {25, 301}, {48, 1501}};
  for (const auto& [m, n] : kWide) {
    Spec s{m, n, m < 10 ? kc + 35 : 37};
    s.alpha = 0.5;
    s.beta = -1.5;
    s.bias = 3;
    s.residual = true;
    s.activation = Activation::relu;
    run<T>(s, target);
    s.b = Layout::padded_rows;
    run<T>(s, target);
    s.b = Layout::columns;
    run<T>(s, target);
    std::swap(s.m, s.n);
    s.a = Layout::columns;
    run<T>(s, target);
  }
  // Few columns of any number, A by columns: computed as C^T, which is finished by columns.
  for (Index n : {20, 100}) {
    Spec s{301, n, kc + 35, 1, Layout::columns};
    run<T>(s, target);
    s.beta = -1.5;
    run<T>(s, target);
    s.activation = Activation::relu;
    run<T>(s, target);
  }
  // A few vectors times lines in place, either way round: full and partial groups of lines, one and
  // several depth blocks, lines that share a set of the cache or do not.
  for (Index vectors : {1, 2, 3, 5, 8, 9}) {
    for (Index k : {Index(35), Index(1024), kc + 35}) {
      for (Layout layout : {Layout::rows, Layout::padded_rows}) {
        const Layout lines = layout == Layout::rows ? Layout::columns : Layout::padded_columns;
        Spec s{vectors, 67, k, 1, Layout::rows, lines};
        s.alpha = -0.5;
        s.beta = 1;
        s.bias = 3;
        s.residual = true;
        s.activation = Activation::relu;
        run<T>(s, target);
        s.a = Layout::columns;
        run<T>(s, target);
        run<T>({67, vectors, k, 1, layout, Layout::columns}, target);
        run<T>({67, vectors, k, 3, layout, Layout::scattered}, target);
      }
    }
  }
  run<T>({3, 9001, 701, 1, Layout::rows, Layout::columns}, target);
  // Few columns and rows of A in place, with strides that compete for a set of the cache or do not.
  for (Index k : {Index(1024), Index(333)}) run<T>({47, 19, k}, target);
  // Large enough for teams, in shapes whose grids are rows, columns and both.
  for (Layout b : {Layout::rows, Layout::columns}) {
    run<T>({203, 251, 350, 1, Layout::rows, b}, target);
    run<T>({11, 1201, 331, 1, Layout::rows, b}, target);
    run<T>({1203, 9, 331, 1, Layout::columns, b}, target);
    run<T>({1, 2003, 701, 1, Layout::columns, b}, target);
    run<T>({2003, 1, 701, 1, b, Layout::columns}, target);
    run<T>({33, 35, 31, 40, Layout::rows, b}, target);
  }
  Spec packed{150, 300, 340};
  packed.a_source = packed.b_source = Source::packed;
  run<T>(packed, target);
  packed.a_source = packed.b_source = Source::callback;
  run<T>(packed, target);
  for (Spec s : {Spec{0, 5, 3}, Spec{5, 0, 3}, Spec{5, 4, 0}, Spec{5, 4, 3, 0}}) run<T>(s, target);
}

// A row has the same bits alone, in any batch, through any path; and so has a column.
template <class T>
void same_bits(const char* target) {
  const Index m = 101, n = 1003, k = 700;
  for (Layout layout : {Layout::rows, Layout::columns}) {
    Matrix<T> a(m, k, Layout::rows), b(k, n, layout), c(m, n, Layout::rows);
    std::vector<T> out(std::size_t(m * n));
    Gemm g{m, n, k, {a.data(), a.rs, a.cs}, {b.data(), b.rs, b.cs}, {c.data(), c.rs, c.cs}};
    gemm(dtype_of<T>, g);
    for (Index rows : {1, 2, 3, 5, 7, 20, 40, 60}) {
      g.m = rows;
      g.c = {out.data(), n, 1};
      gemm(dtype_of<T>, g);
      bool same = true;
      for (Index i = 0; i < rows; ++i)
        for (Index j = 0; j < n; ++j) same = same && out[std::size_t(i * n + j)] == c.at(0, i, j);
      report(same, std::string(target) + ": rows alone differ, m = " + std::to_string(rows));
    }
    g.m = m;
    for (Index columns : {1, 2, 9, 17, 100}) {
      g.n = columns;
      g.c = {out.data(), 1, m};  // and stored by columns
      gemm(dtype_of<T>, g);
      bool same = true;
      for (Index i = 0; i < m; ++i)
        for (Index j = 0; j < columns; ++j)
          same = same && out[std::size_t(j * m + i)] == c.at(0, i, j);
      report(same, std::string(target) + ": columns alone differ, n = " + std::to_string(columns));
    }
  }
}

// Tiny products of a batch, whose entries may be lanes: partly filled registers of entries, factors
// that all entries share, and the bits that an entry has alone.
template <class T>
void tiny_batches(const char* target) {
  const Index lanes = std::max(gemm_shape_of(dtype_of<T>).vector, 4);
  for (int i = 0; i < 300; ++i) {
    const auto size = [] { return pick_from<Index>({1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17}); };
    Spec s{size(), size(), size(), pick_from<Index>({lanes - 1, lanes, lanes + 1, 3 * lanes + 2})};
    s.a = pick_from({Layout::rows, Layout::columns, Layout::rows, Layout::padded_rows});
    s.b = pick_from({Layout::rows, Layout::columns, Layout::rows, Layout::scattered});
    s.c = pick_from({Layout::rows, Layout::rows, Layout::columns, Layout::reversed});
    s.a_shared = pick(0, 5) == 0;
    s.b_shared = pick(0, 5) == 0;
    s.alpha = pick_from({1.0, -0.5});
    s.beta = pick_from({0.0, 1.0, -1.5});
    if (pick(0, 9) == 0) s.bias = 1;
    run<T>(s, target);

    Matrix<T> a(s.m, s.k, s.a, s.batch), b(s.k, s.n, s.b, s.batch);
    Matrix<T> c(s.m, s.n, Layout::rows, s.batch), alone(s.m, s.n, Layout::rows);
    Gemm g{s.m, s.n, s.k, {a.data(), a.rs, a.cs, a.batch}, {b.data(), b.rs, b.cs, b.batch}};
    g.c = {c.data(), c.rs, c.cs, c.batch};
    g.batch = s.batch;
    gemm(dtype_of<T>, g);
    g.batch = 1;
    bool same = true;
    for (Index z = 0; z < s.batch; ++z) {
      g.a.data = a.data() + z * a.batch;
      g.b.data = b.data() + z * b.batch;
      g.c.data = alone.data();
      gemm(dtype_of<T>, g);
      same = same && std::equal(alone.data(), alone.data() + s.m * s.n, c.data() + z * c.batch);
    }
    report(same, s.text(target, "") + ": other bits alone");
  }
  run<T>({4, 4, 4, 20011}, target);  // on several threads
}

// C as an NCHW tensor: channels x (image, pixel), column blocks of one image each.
template <class T>
void column_blocks(const char* target) {
  const Index channels = 13, images = 5, k = 29;
  for (Index pixels : {1, 7, 49, 64}) {
    const Index n = images * pixels;
    Matrix<T> a(channels, k, Layout::rows), b(k, n, Layout::rows), plain(channels, n, Layout::rows);
    Matrix<T> skip(images * channels, pixels, Layout::rows);
    testing::Poisoned<T> out(images * channels * pixels);
    Gemm g{channels, n, k, {a.data(), a.rs, a.cs}, {b.data(), b.rs, b.cs}, {plain.data(), n, 1}};
    gemm(dtype_of<T>, g);
    g.c = {out.data(), pixels, 1, 0, pixels, channels * pixels};
    g.epilogue.residual = {skip.data(), pixels, 1, 0, pixels, channels * pixels};
    g.epilogue.activation = Activation::relu;
    gemm(dtype_of<T>, g);
    bool same = true;
    for (Index image = 0; image < images; ++image)
      for (Index o = 0; o < channels; ++o)
        for (Index p = 0; p < pixels; ++p) {
          const T x = plain.at(0, o, image * pixels + p), y = skip.at(0, image * channels + o, p);
          const double error = out[(image * channels + o) * pixels + p] - std::max(x + y, T(0));
          same = same &&
                 std::abs(error) <= std::numeric_limits<T>::epsilon() * (std::abs(x) + std::abs(y));
        }
    report(same && out.frame_intact(), std::string(target) + ": column blocks");
  }
}

// An infinity or a NaN must come through, and padding must not make one.
template <class T>
void special_values(const char* target) {
  const T inf = std::numeric_limits<T>::infinity();
  Matrix<T> a(7, 9, Layout::rows), b(9, 5, Layout::columns), c(7, 5, Layout::rows);
  for (Index j = 0; j < 5; ++j) b.at(0, 3, j) = T(1);
  a.at(0, 2, 3) = inf;
  a.at(0, 4, 3) = std::numeric_limits<T>::quiet_NaN();
  Gemm g{7, 5, 9, {a.data(), a.rs, a.cs}, {b.data(), b.rs, b.cs}, {c.data(), c.rs, c.cs}};
  g.epilogue.activation = Activation::relu;
  gemm(dtype_of<T>, g);
  bool good = true;
  for (Index i = 0; i < 7; ++i)
    for (Index j = 0; j < 5; ++j) {
      const T x = c.at(0, i, j);
      good = good && (i == 2 ? x == inf : i == 4 ? x != x : std::isfinite(x));
    }
  report(good, std::string(target) + ": infinities and NaN");
}

}  // namespace

int main() {
  const auto all = [](const char* target) {
    const auto both = [&](auto zero) {
      using T = decltype(zero);
      tiles_and_layouts<T>(target);
      special_values<T>(target);
      column_blocks<T>(target);
      tiny_batches<T>(target);
      if (std::string(target) != "reference") same_bits<T>(target);
    };
    both(0.0f);
    both(0.0);
  };
  gradsmith::testing::for_each_target(all);
  set_target("reference");
  all("reference");
  return gradsmith::testing::finish("gemm");
}
