// Moving and adding by index: every target and dtype against the reference, strided walks against
// plain loops, repeated and negative indices, the same bits for any number of threads.
#include <algorithm>
#include <array>
#include <cstring>

#include "kernel_testing.h"
#include "kernels/embedding/embedding.h"
#include "runtime/parallel.h"

namespace {

using namespace gradsmith;
using namespace gradsmith::kernels;
using namespace gradsmith::testing;

template <class Fn>
Fn* reference_of(const Kernel<Fn>& op, DType dtype) {
  return op.fn[int(dtype)][int(Target::reference)];
}

std::vector<std::int64_t> random_indices(std::int64_t n, std::int64_t size, unsigned seed) {
  std::mt19937 engine(seed);
  std::vector<std::int64_t> index(std::size_t(n), 0);
  for (auto& v : index) v = std::int64_t(engine() % (2 * std::uint64_t(size))) - size;
  return index;
}

// Integer-valued, so that sums are exact and every dtype can hold them.
template <class T>
std::vector<T> small_values(std::int64_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::vector<T> values(std::size_t(n), T{});
  for (auto& v : values) v = T(int(engine() % 100));
  return values;
}

template <class T>
void check_take(const std::string& target) {
  for (std::int64_t columns : {0, 1, 3, 7, 17, 33}) {
    for (std::int64_t rows : {0, 1, 3, 17}) {
      const std::int64_t table = 7, src_row = columns + 2, out_row = columns + 1;
      const auto src = small_values<T>(table * src_row, 1);
      const auto index = random_indices(rows, table, 2);
      Poisoned<T> got(rows * out_row), want(rows * out_row);
      TakeRows args{got.data(), src.data(), index.data(), rows, columns, out_row, src_row, table};
      take_rows.pick(dtype_of<T>)(args);
      args.out = want.data();
      reference_of(take_rows, dtype_of<T>)(args);
      report(same_bits(got, want) && got.frame_intact(), "take_rows " + target);
    }
  }
}

template <class T>
void check_add(const std::string& target) {
  for (std::int64_t columns : {1, 3, 7, 17, 33, 200}) {
    for (std::int64_t rows : {0, 1, 33, 1000}) {
      const std::int64_t table = 7, dst_row = columns + 1, src_row = columns + 3;
      const auto src = random_values<double>(rows * src_row, 3);
      std::vector<T> values(src.size());
      for (std::size_t i = 0; i < src.size(); ++i) values[i] = T(100 * src[i]);
      const auto index = random_indices(rows, table, 4);
      std::vector<T> want;
      for (int threads : {0, 1, 2, 3}) {  // 0: the reference, which adds in the same order
        std::vector<T> dst(std::size_t(table * dst_row), T(1));
        AddRows args{dst.data(), values.data(), index.data(), rows, columns,
                     dst_row,    src_row,       table,        2,    0,
                     table};
        if (threads == 0) {
          reference_of(add_rows, dtype_of<T>)(args);
          want = dst;
          continue;
        }
        set_num_threads(threads);
        embedding_backward(dtype_of<T>, args);
        report(dst == want, "add_rows " + target + " columns " + std::to_string(columns));
      }
    }
  }
  set_num_threads(1);
}

// A view of shape (a, b, c) cut out of a larger array with the dimensions in another order.
template <class T>
struct Cut {
  std::array<std::int64_t, 3> shape, strides;
  std::vector<T> memory;
  std::int64_t start;
  Cut(std::array<std::int64_t, 3> s, int order, unsigned seed) : shape(s) {
    const int orders[3][3] = {{0, 1, 2}, {2, 0, 1}, {1, 2, 0}};
    std::int64_t step = 1 + order;
    for (int d = 2; d >= 0; --d) {
      const auto at = std::size_t(orders[order][d]);
      strides[at] = step;
      step *= shape[at] + order;
    }
    memory = small_values<T>(step + 8, seed);
    start = 3;
  }
  NdView view() { return {memory.data() + start, dtype_of<T>, 3, shape.data(), strides.data()}; }
  T& at(std::int64_t i, std::int64_t j, std::int64_t k) {
    return memory[std::size_t(start + i * strides[0] + j * strides[1] + k * strides[2])];
  }
};

enum class Walk { gather, scatter, scatter_add };

template <class T>
void check_walk(Walk kind, const std::string& target) {
  for (int axis = 0; axis < 3; ++axis) {
    for (int order = 0; order < 3; ++order) {
      for (bool broadcast : {false, true}) {
        std::array<std::int64_t, 3> full{5, 33, 7}, part{4, 31, 6};
        if (kind == Walk::scatter) part = {2, 2, 2};
        Cut<T> big(full, order, 1), small(part, (order + 1) % 3, 2);
        auto memory = random_indices(part[0] * part[1] * part[2], full[std::size_t(axis)], 3);
        std::array<std::int64_t, 3> steps{part[1] * part[2], part[2], 1};
        if (broadcast) steps = {0, 0, 0};
        if (broadcast) steps[std::size_t(axis)] = 1;
        const NdView index{memory.data(), DType::i64, 3, part.data(), steps.data()};
        Cut<T> got_big = big, got_small = small;
        for (std::int64_t i = 0; i < part[0]; ++i) {
          for (std::int64_t j = 0; j < part[1]; ++j) {
            for (std::int64_t k = 0; k < part[2]; ++k) {
              std::int64_t to[3] = {i, j, k};
              std::int64_t at = memory[std::size_t(i * steps[0] + j * steps[1] + k * steps[2])];
              if (at < 0) at += full[std::size_t(axis)];
              to[axis] = at;
              T& b = big.at(to[0], to[1], to[2]);
              T& s = small.at(i, j, k);
              if (kind == Walk::gather) s = b;
              if (kind == Walk::scatter) b = s;
              if constexpr (std::is_arithmetic_v<T>) {
                if (kind == Walk::scatter_add) b = T(b + s);
              }
            }
          }
        }
        if (kind == Walk::gather) gather_axis(got_small.view(), got_big.view(), index, axis);
        if (kind == Walk::scatter) scatter_axis(got_big.view(), got_small.view(), index, axis);
        if (kind == Walk::scatter_add) {
          scatter_add_axis(got_big.view(), got_small.view(), index, axis);
        }
        const auto same = [](const std::vector<T>& a, const std::vector<T>& b) {
          return std::memcmp(static_cast<const void*>(a.data()), static_cast<const void*>(b.data()),
                             a.size() * sizeof(T)) == 0;
        };
        report(same(got_big.memory, big.memory) && same(got_small.memory, small.memory),
               "walk " + std::to_string(int(kind)) + " axis " + std::to_string(axis) + " order " +
                   std::to_string(order) + " " + target);
      }
    }
  }
}

void check_bad_index(const std::string& target) {
  for (std::int64_t n : {1, 3, 255, 256, 257, 1000}) {
    auto index = random_indices(n, 10, 5);
    report(bad_index(index.data(), n, 10) == -1, "bad_index none " + target);
    for (std::int64_t bad : {std::int64_t(10), std::int64_t(-11), INT64_MAX, INT64_MIN}) {
      auto broken = index;
      broken[std::size_t(n - 1)] = broken[std::size_t(n / 2)] = bad;
      report(bad_index(broken.data(), n, 10) == n / 2, "bad_index first " + target);
    }
  }
  report(bad_index(nullptr, 0, 10) == -1, "bad_index empty");
}

// Large enough that threads share the work.
void check_threads() {
  const std::int64_t rows = 3000, columns = 130, table = 50;
  const auto src = random_values<float>(table * columns, 6);
  const auto index = random_indices(rows, table, 7);
  std::vector<float> first;
  for (int threads : {1, 2, 3}) {
    set_num_threads(threads);
    std::vector<float> out(std::size_t(rows * columns), 0.0f), dst(std::size_t(table * columns));
    embedding_forward(
        DType::f32, {out.data(), src.data(), index.data(), rows, columns, columns, columns, table});
    embedding_backward(DType::f32, {.dst = dst.data(),
                                    .src = out.data(),
                                    .index = index.data(),
                                    .rows = rows,
                                    .columns = columns,
                                    .dst_row = columns,
                                    .src_row = columns,
                                    .dst_rows = table,
                                    .last = table});
    const std::int64_t shape[2] = {rows, columns}, strides[2] = {columns, 1};
    const std::int64_t dst_shape[2] = {table, columns}, steps[2] = {1, 0};
    scatter_add_axis({dst.data(), DType::f32, 2, dst_shape, strides},
                     {out.data(), DType::f32, 2, shape, strides},
                     {const_cast<std::int64_t*>(index.data()), DType::i64, 2, shape, steps}, 0);
    out.insert(out.end(), dst.begin(), dst.end());
    if (threads == 1) first = out;
    report(out == first, "other bits with more threads");
  }
  set_num_threads(1);
}

}  // namespace

int main() {
  for_each_target([](const std::string& target) {
    check_take<float>(target);
    check_take<double>(target);
    check_take<std::int64_t>(target);
    check_take<std::int32_t>(target);
    check_take<std::uint8_t>(target);
    check_add<float>(target);
    check_add<double>(target);
    check_add<std::int64_t>(target);
    for (Walk kind : {Walk::gather, Walk::scatter, Walk::scatter_add}) {
      check_walk<float>(kind, target);
      check_walk<double>(kind, target);
      check_walk<std::int64_t>(kind, target);
      if (kind == Walk::scatter_add) continue;
      check_walk<std::int32_t>(kind, target);
      check_walk<std::uint8_t>(kind, target);
      check_walk<BFloat16>(kind, target);
    }
    check_bad_index(target);
    check_threads();
  });
  return finish("test_embedding");
}
