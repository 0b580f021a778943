// The CUDA kernels of indexing, run by the emulator, against plain loops.
#include <algorithm>

#include "cuda_testing.h"

namespace {

using Ints = std::vector<std::int64_t>;

std::int64_t wrapped(std::int64_t i, std::int64_t size) { return i < 0 ? i + size : i; }

struct Index {
  Buffer memory;
  explicit Index(const Ints& values) : memory(values.size() * 8) {
    if (!values.empty()) std::memcpy(memory.p, values.data(), memory.bytes);
  }
  std::int64_t* p() const { return static_cast<std::int64_t*>(memory.p); }
};

Ints random_index(std::int64_t n, std::int64_t low, std::int64_t high) {
  Ints v(std::size_t(n), 0);
  for (auto& i : v) i = std::uniform_int_distribution<std::int64_t>(low, high - 1)(rng);
  return v;
}

Buffer& fill(Buffer& b, DType dtype) {
  const auto n = std::int64_t(b.bytes / itemsize(dtype));
  for (std::int64_t i = 0; i < n; ++i)
    set(b.p, dtype, i,
        dtype == DType::f32 || dtype == DType::f64 ? uniform(-9, 9) : std::floor(uniform(0, 99)));
  return b;
}
std::vector<unsigned char> bytes_of(const Buffer& b) {
  const auto* p = static_cast<const unsigned char*>(b.p);
  return {p, p + b.bytes};
}

void test_take_rows() {
  for (DType dtype : {DType::f32, DType::f64, DType::bf16, DType::u8})
    for (std::int64_t columns : {1, 3, 4, 16, 33})
      for (std::int64_t rows : {0, 1, 7, 300}) {
        const std::int64_t size = 11, item = std::int64_t(itemsize(dtype));
        Buffer src(std::size_t(size * columns * item)), out(std::size_t(rows * columns * item));
        fill(src, dtype);
        const Index index(random_index(rows, -size, size));
        in_all_schedules("take_rows", out, [&] {
          const TakeRowsArgs a{out.p, src.p, index.p(), rows, columns, size, std::int32_t(item)};
          return api.take_rows(0, &a, nullptr);
        });
        for (std::int64_t i = 0; i < rows * columns; ++i)
          CHECK(get(out.p, dtype, i) ==
                get(src.p, dtype, wrapped(index.p()[i / columns], size) * columns + i % columns));
      }
}

// gather and scatter_add along the middle of three dimensions, index transposed in memory.
void test_gather_and_scatter_add() {
  const std::int64_t a = 3, n = 37, b = 5, size = 8;
  Operand index_view{}, dense{}, indexed{};
  const Index index(random_index(a * n * b, -size, size));
  index_view = {index.p(), DType::i64, {1, a, a * n}};
  const auto at = [&](std::int64_t i, std::int64_t j, std::int64_t k) {
    return wrapped(index.p()[i + j * a + k * a * n], size);
  };
  for (DType dtype : {DType::f32, DType::f64, DType::i64}) {
    const std::size_t item = itemsize(dtype);
    Buffer big(std::size_t(a * size * b) * item), values(std::size_t(a * n * b) * item);
    fill(big, dtype);
    dense = {values.p, dtype, {n * b, b, 1}};
    indexed = {big.p, dtype, {size * b, b, 1}};
    in_all_schedules("gather", values, [&] {
      const GatherArgs g{3, 1, {a, n, b}, dense, indexed, index_view, size};
      return api.gather(0, &g, nullptr);
    });
    for (std::int64_t i = 0; i < a; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        for (std::int64_t k = 0; k < b; ++k)
          CHECK(get(values.p, dtype, (i * n + j) * b + k) ==
                get(big.p, dtype, (i * size + at(i, j, k)) * b + k));
    fill(values, dtype);
    const auto before = bytes_of(big);
    in_all_schedules("scatter_add", big, before, [&] {
      const ScatterAddArgs s{3, 1, {a, n, b}, indexed, dense, index_view, size};
      return api.scatter_add(0, &s, nullptr);
    });
    Buffer want(big.bytes);
    std::memcpy(want.p, before.data(), big.bytes);
    for (std::int64_t i = 0; i < a; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        for (std::int64_t k = 0; k < b; ++k) {
          const std::int64_t to = (i * size + at(i, j, k)) * b + k;
          const double v = get(values.p, dtype, (i * n + j) * b + k);
          set(want.p, dtype, to, get(want.p, dtype, to) + v);
        }
    CHECK(std::memcmp(want.p, big.p, big.bytes) == 0);
    // The same by keys.
    Buffer keys(index.memory.bytes);
    in_all_schedules("index_keys", keys, [&] {
      const IndexKeysArgs args{
          static_cast<std::int64_t*>(keys.p), 3, 1, {a, n, b}, {size * b, b, 1}, index_view, size};
      return api.index_keys(0, &args, nullptr);
    });
    for (std::int64_t i = 0; i < a; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        for (std::int64_t k = 0; k < b; ++k)
          CHECK(static_cast<std::int64_t*>(keys.p)[(i * n + j) * b + k] ==
                (i * size + at(i, j, k)) * b + k);
  }
}

void test_sort_and_scatter_sorted() {
  for (std::int64_t n : {1, 2, 255, 2048, 2049, 4500})
    for (std::int64_t bound : {1, 2, 16, 17, 1000, 1 << 30}) {
      const Index keys(random_index(n, 0, bound)), spare(Ints(std::size_t(n), 0)),
          spare2(Ints(std::size_t(n), 0)), counts(Ints(std::size_t(sort_counts(n)), 0));
      Buffer result(std::size_t(n) * 16);
      auto* sorted = static_cast<std::int64_t*>(result.p);
      std::int64_t* const order = sorted + n;
      in_all_schedules("sort", result, [&] {
        const SortKeysArgs a{keys.p(), sorted, order, spare.p(), spare2.p(), counts.p(), n, bound};
        return api.sort_keys(0, &a, nullptr);
      });
      Ints want(std::size_t(n), 0);
      for (std::int64_t i = 0; i < n; ++i) want[std::size_t(i)] = i;
      std::stable_sort(want.begin(), want.end(),
                       [&](std::int64_t i, std::int64_t j) { return keys.p()[i] < keys.p()[j]; });
      for (std::int64_t i = 0; i < n; ++i) {
        CHECK(order[i] == want[std::size_t(i)]);
        CHECK(sorted[i] == keys.p()[want[std::size_t(i)]]);
      }
      if (bound > 1000 || n > 2100) continue;
      const std::int64_t width = 3;
      for (DType dtype : {DType::f32, DType::f64, DType::i64, DType::u8})
        for (bool add : {true, false}) {
          if (add && dtype == DType::u8) continue;
          const std::size_t item = itemsize(dtype);
          Buffer dst(std::size_t(bound * width) * item), src(std::size_t(n * width) * item);
          fill(dst, dtype);
          fill(src, dtype);
          const auto before = bytes_of(dst);
          in_all_schedules("scatter_sorted", dst, before, [&] {
            const ScatterSortedArgs a{
                1, {width}, {dst.p, dtype, {bound}}, {src.p, dtype, {1}}, 1, width, sorted, order,
                n, add};  // dst lies transposed
            return api.scatter_sorted(0, &a, nullptr);
          });
          Buffer expected(dst.bytes);
          std::memcpy(expected.p, before.data(), dst.bytes);
          for (std::int64_t i = 0; i < n; ++i)
            for (std::int64_t c = 0; c < width; ++c) {
              const std::int64_t to = keys.p()[i] + c * bound;
              const double v = get(src.p, dtype, i * width + c);
              set(expected.p, dtype, to, add ? get(expected.p, dtype, to) + v : v);
            }
          CHECK(std::memcmp(expected.p, dst.p, dst.bytes) == 0);
        }
    }
}

void test_check_index() {
  for (std::int64_t n : {1, 100, 3000})
    for (std::int64_t bad : {std::int64_t(-1), std::int64_t(0), n / 2, n - 1}) {
      Ints values = random_index(n, -5, 7);
      if (bad >= 0) values[std::size_t(bad)] = bad % 2 ? 7 : -6;
      if (bad >= 0 && bad + 1 < n) values[std::size_t(n - 1)] = 99;
      const Index index(values);
      Buffer first(8);
      in_all_schedules("check_index", first, [&] {
        const CheckIndexArgs a{static_cast<std::int64_t*>(first.p), 1,  {n},
                               {index.p(), DType::i64, {1}},        -5, 7};
        return api.check_index(0, &a, nullptr);
      });
      CHECK(*static_cast<std::int64_t*>(first.p) == bad);
    }
}

void test_nonzero() {
  for (std::int64_t n : {0, 1, 2048, 2049, 6000})
    for (double part : {0.0, 0.3, 1.0}) {
      Buffer mask{std::size_t(n)};
      Ints want;
      for (std::int64_t i = 0; i < n; ++i) {
        const bool on = uniform(0, 1) < part;
        set(mask.p, DType::b8, i, on);
        if (on) want.push_back(i);
      }
      const auto* m = static_cast<const std::uint8_t*>(mask.p);
      Buffer starts(std::size_t(nonzero_tiles(n) + 1) * 8);
      auto* first = static_cast<std::int64_t*>(starts.p);
      in_all_schedules("nonzero_count", starts, [&] {
        const NonzeroCountArgs a{m, n, first};
        return api.nonzero_count(0, &a, nullptr);
      });
      CHECK(first[nonzero_tiles(n)] == std::int64_t(want.size()));
      Buffer out(want.size() * 16);
      in_all_schedules("nonzero_write", out, [&] {
        const NonzeroWriteArgs a{m, n, first, 2, {n / 3 + 1, 3}, static_cast<std::int64_t*>(out.p)};
        return api.nonzero_write(0, &a, nullptr);
      });
      for (std::size_t i = 0; i < want.size(); ++i) {
        CHECK(static_cast<std::int64_t*>(out.p)[2 * i] == want[i] / 3);
        CHECK(static_cast<std::int64_t*>(out.p)[2 * i + 1] == want[i] % 3);
      }
    }
}

void test_where() {
  for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::u8})
    for (std::int64_t n : {0, 1, 1023, 1025}) {
      const std::size_t item = itemsize(dtype);
      Buffer out(std::size_t(n) * item), x(std::size_t(n) * item), on { std::size_t(n) };
      fill(x, dtype);
      for (std::int64_t i = 0; i < n; ++i) set(on.p, DType::b8, i, uniform(0, 1) < 0.5);
      std::uint64_t two = 0;
      set(&two, dtype, 0, 2);
      in_all_schedules("where", out, [&] {
        const WhereArgs a{1,
                          {n},
                          {out.p, dtype, {1}},
                          {on.p, DType::b8, {1}},
                          {x.p, dtype, {1}},
                          {nullptr, dtype, {}},
                          0,
                          two};
        return api.where(0, &a, nullptr);
      });
      for (std::int64_t i = 0; i < n; ++i)
        CHECK(get(out.p, dtype, i) == (get(on.p, DType::b8, i) != 0 ? get(x.p, dtype, i) : 2.0));
    }
}

}  // namespace

int main() {
  test_take_rows();
  test_gather_and_scatter_add();
  test_sort_and_scatter_sorted();
  test_check_index();
  test_nonzero();
  test_where();
  return gs_test::result();
}
