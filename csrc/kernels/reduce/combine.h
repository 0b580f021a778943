// What the reduce driver does with accumulators: size, joining two, turning one into the result.
#pragma once
#include <cmath>
#include <cstdint>

#include "kernels/reduce/reduce.h"

namespace gradsmith::kernels {

enum class Fold : std::uint8_t {
  sum,
  sumsq,
  asum,
  prod,
  max,
  min,
  nonzero,
  moments,
  argmax,
  argmin
};

// Calls f.operator()<T>() with the C++ type of a dtype that reductions support.
template <class F>
decltype(auto) with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f.template operator()<float>();
    case DType::f64:
      return f.template operator()<double>();
    case DType::i64:
      return f.template operator()<std::int64_t>();
    case DType::i32:
      return f.template operator()<std::int32_t>();
    default:
      return f.template operator()<std::uint8_t>();
  }
}

inline std::int64_t acc_bytes(Fold fold, DType dtype) {
  switch (fold) {
    case Fold::max:
    case Fold::min:
      return std::int64_t(itemsize(dtype));
    case Fold::moments:
      return sizeof(Moments);
    case Fold::argmax:
    case Fold::argmin:
      return with_type(dtype, []<class T>() { return std::int64_t(sizeof(Extreme<T>)); });
    default:
      return 8;
  }
}

namespace detail {

template <class T>
bool improves(bool largest, T x, T best) {
  if (best != best) return false;  // the first NaN stays
  return x != x || (largest ? x > best : x < best);
}

inline void join(Moments& a, const Moments& b) {
  const double count = a.count + b.count, delta = b.mean - a.mean, share = b.count / count;
  a = {count, a.mean + delta * share, a.m2 + b.m2 + delta * delta * a.count * share};
}

template <class Acc, class F>
void for_pairs(void* acc, const void* part, std::int64_t count, F&& f) {
  for (std::int64_t i = 0; i < count; ++i) {
    f(static_cast<Acc*>(acc)[i], static_cast<const Acc*>(part)[i]);
  }
}

}  // namespace detail

// acc[i] = join(acc[i], part[i]); `part` comes later in the order of reduction.
inline void combine(Fold fold, DType dtype, void* acc, const void* part, std::int64_t count) {
  const bool floating = is_floating(dtype);
  const bool largest = fold == Fold::max || fold == Fold::argmax;
  switch (fold) {
    case Fold::sum:
    case Fold::sumsq:
    case Fold::asum:
    case Fold::nonzero:
      if (floating && fold != Fold::nonzero) {
        detail::for_pairs<double>(acc, part, count, [](double& a, double b) { a += b; });
      } else {
        detail::for_pairs<std::uint64_t>(acc, part, count,
                                         [](std::uint64_t& a, std::uint64_t b) { a += b; });
      }
      return;
    case Fold::prod:
      if (floating) {
        detail::for_pairs<double>(acc, part, count, [](double& a, double b) { a *= b; });
      } else {
        detail::for_pairs<std::uint64_t>(acc, part, count,
                                         [](std::uint64_t& a, std::uint64_t b) { a *= b; });
      }
      return;
    case Fold::moments:
      detail::for_pairs<Moments>(acc, part, count,
                                 [](Moments& a, const Moments& b) { detail::join(a, b); });
      return;
    case Fold::max:
    case Fold::min:
      with_type(dtype, [&]<class T>() {
        detail::for_pairs<T>(acc, part, count, [largest](T& a, T b) {
          if (detail::improves(largest, b, a)) a = b;
        });
      });
      return;
    case Fold::argmax:
    case Fold::argmin:
      with_type(dtype, [&]<class T>() {
        detail::for_pairs<Extreme<T>>(acc, part, count,
                                      [largest](Extreme<T>& a, const Extreme<T>& b) {
                                        if (detail::improves(largest, b.value, a.value)) a = b;
                                      });
      });
      return;
  }
}

}  // namespace gradsmith::kernels
