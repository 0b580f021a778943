// Putting tensors together: cat, stack, pad, repeat.
#include <algorithm>

#include "ops/common.h"

namespace gradsmith::ops {

Tensor cat(const std::vector<Tensor>& tensors, std::int64_t dim) {
  GS_CHECK(!tensors.empty(), "cat: needs at least one tensor");
  for (const Tensor& t : tensors) check_defined("cat", "tensors", t);
  const int at = check_dim("cat", dim, tensors[0].dim());
  Dims shape = tensors[0].shape();
  GS_CHECK(shape.size() > 0, "cat: tensors of rank 0 cannot be joined; use stack()");
  DType dtype = tensors[0].dtype();
  shape[at] = 0;
  for (const Tensor& t : tensors) {
    check_same_device("cat", tensors[0], t);
    GS_CHECK(t.dim() == shape.size(), "cat: shapes {} and {} have different ranks",
             tensors[0].shape(), t.shape());
    for (int d = 0; d < t.dim(); ++d)
      GS_CHECK(d == at || t.shape()[d] == shape[d], "cat: shapes {} and {} differ outside dim {}",
               tensors[0].shape(), t.shape(), at);
    GS_CHECK_KIND(memory, !__builtin_add_overflow(shape[at], t.shape()[at], &shape[at]),
                  "cat: the sizes of dim {} add up to more than 2^63 - 1", at);
    dtype = promote(dtype, t.dtype());
  }
  Tensor y = empty(shape, dtype, tensors[0].device());
  {
    NoGradGuard guard;
    std::int64_t from = 0;
    for (const Tensor& t : tensors) {
      copy_(slice(y, at, from, from + t.shape()[at]), t);
      from += t.shape()[at];
    }
  }
  bool any = false;
  for (const Tensor& t : tensors) any |= tracked(t);
  if (!any) return y;
  std::vector<std::int64_t> lengths;
  for (const Tensor& t : tensors) lengths.push_back(t.shape()[at]);
  record_all("cat", {y}, tensors, [at, lengths](const Grads& g) {
    TensorList out;
    std::int64_t from = 0;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      out.push_back(g.needs(i) ? slice(g[0], at, from, from + lengths[i]) : Tensor());
      from += lengths[i];
    }
    return out;
  });
  return y;
}

Tensor stack(const std::vector<Tensor>& tensors, std::int64_t dim) {
  GS_CHECK(!tensors.empty(), "stack: needs at least one tensor");
  std::vector<Tensor> raised;
  for (const Tensor& t : tensors) {
    check_defined("stack", "tensors", t);
    GS_CHECK(t.shape() == tensors[0].shape(), "stack: shapes {} and {} differ", tensors[0].shape(),
             t.shape());
    raised.push_back(unsqueeze(t, check_dim("stack", dim, t.dim() + 1)));
  }
  return cat(raised, check_dim("stack", dim, tensors[0].dim() + 1));
}

namespace {

// One dimension padded by index: position i of the result comes from source[i] of the input.
Tensor pad_by_index(const Tensor& x, int dim, std::int64_t before, std::int64_t after,
                    const std::string& mode) {
  const std::int64_t n = x.shape()[dim];
  const bool reflect = mode == "reflect", circular = mode == "circular";
  GS_CHECK(n > 0, "pad: mode '{}' cannot pad the empty dim {}", mode, dim);
  GS_CHECK(!reflect || (before < n && after < n),
           "pad: reflect needs paddings below the size {} of dim {}, got ({}, {})", n, dim, before,
           after);
  GS_CHECK(!circular || (before <= n && after <= n),
           "pad: circular needs paddings of at most the size {} of dim {}, got ({}, {})", n, dim,
           before, after);
  Tensor index = empty({before + n + after}, DType::i64);
  auto* p = index.data_as<std::int64_t>();
  for (std::int64_t i = 0; i < index.numel(); ++i) {
    std::int64_t at = i - before;
    if (circular) {
      at = (at + n) % n;
    } else if (reflect) {
      at = at < 0 ? -at : at >= n ? 2 * (n - 1) - at : at;
    } else {
      at = at < 0 ? 0 : at >= n ? n - 1 : at;
    }
    p[i] = at;
  }
  return index_select(x, dim, to_device(index, x.device()));
}

}  // namespace

// `pad` lists (before, after) from the last dimension backwards; negative values crop (constant).
Tensor pad(const Tensor& x, const Dims& pad, const std::string& mode, double value) {
  check_defined("pad", "input", x);
  GS_CHECK(pad.size() % 2 == 0 && pad.size() / 2 <= x.dim(),
           "pad: needs pairs for at most {} dims, got {}", x.dim(), pad);
  constexpr std::int64_t kMost = std::int64_t(1) << 60;  // sums of three fit in 64 bits
  for (auto v : pad)
    GS_CHECK(v >= -kMost && v <= kMost, "pad: {} is out of range, at most 2^60 is allowed", pad);
  const bool constant = mode == "constant";
  GS_CHECK(constant || mode == "reflect" || mode == "replicate" || mode == "circular",
           "pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got '{}'", mode);
  Tensor y = x;
  if (!constant) {
    for (int i = 0; i < pad.size() / 2; ++i) {
      GS_CHECK(pad[2 * i] >= 0 && pad[2 * i + 1] >= 0, "pad: mode '{}' cannot crop, got {}", mode,
               pad);
      if (pad[2 * i] || pad[2 * i + 1])
        y = pad_by_index(y, x.dim() - 1 - i, pad[2 * i], pad[2 * i + 1], mode);
    }
    return y;
  }
  Dims shape = x.shape();
  for (int i = 0; i < pad.size() / 2; ++i) {
    const int d = x.dim() - 1 - i;
    const std::int64_t before = pad[2 * i], after = pad[2 * i + 1];
    shape[d] += before + after;
    GS_CHECK(shape[d] >= 0, "pad: {} crops more than the size {} of dim {}", pad, x.shape()[d], d);
  }
  // The part of x that stays, and where it goes.
  const auto inside = [pad](Tensor t, bool of_result) {
    for (int i = 0; i < pad.size() / 2; ++i) {
      const int d = t.dim() - 1 - i;
      const std::int64_t skip_front = of_result ? std::max<std::int64_t>(0, pad[2 * i])
                                                : std::max<std::int64_t>(0, -pad[2 * i]);
      const std::int64_t skip_back = of_result ? std::max<std::int64_t>(0, pad[2 * i + 1])
                                               : std::max<std::int64_t>(0, -pad[2 * i + 1]);
      t = narrow(t, d, skip_front,
                 std::max<std::int64_t>(0, t.shape()[d] - skip_front - skip_back));
    }
    return t;
  };
  y = full(shape, value, x.dtype(), x.device());
  {
    NoGradGuard guard;
    copy_(inside(y, true), inside(x, false));
  }
  if (!tracked(x)) return y;
  return record("pad", y, {x}, [pad, mode](const Grads& g) {
    Dims opposite = pad;
    for (auto& v : opposite) v = -v;
    return grads(ops::pad(g[0], opposite, mode, 0));
  });
}

Tensor repeat(const Tensor& x, const Dims& repeats) {
  check_defined("repeat", "input", x);
  GS_CHECK(repeats.size() >= x.dim(), "repeat: {} repeats given for shape {}", repeats, x.shape());
  Tensor y = x;
  while (y.dim() < repeats.size()) y = unsqueeze(y, 0);
  for (int d = 0; d < repeats.size(); ++d) {
    GS_CHECK(repeats[d] >= 0, "repeat: repeats must not be negative, got {}", repeats);
    Dims spread = y.shape(), merged = y.shape();
    spread.insert(d, repeats[d]);
    merged[d] *= repeats[d];
    if (repeats[d] != 1) y = reshape(expand(unsqueeze(y, d), spread), merged);
  }
  return y.is(x) ? clone(x) : y;
}

}  // namespace gradsmith::ops
