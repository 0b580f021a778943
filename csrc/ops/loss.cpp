// Losses. Cross entropy with class indices is fused; the others are compositions of simple ops.
#include <cmath>

#include "ops/dispatch_rows.h"

namespace gradsmith::ops {

namespace {

enum class Reduction { mean, sum, none };
Reduction parse_reduction(const char* op, const std::string& text) {
  if (text == "mean") return Reduction::mean;
  if (text == "sum") return Reduction::sum;
  if (text == "none") return Reduction::none;
  fail(ErrorKind::value, "{}: argument 'reduction' must be 'mean', 'sum' or 'none', got '{}'", op,
       text);
}
Tensor reduced(const Tensor& loss, Reduction r) {
  return r == Reduction::mean ? mean(loss) : r == Reduction::sum ? sum(loss) : loss;
}

// Both floating tensors of one dtype and shape.
Reduction check_pair(const char* op, const Tensor& input, const Tensor& target,
                     const std::string& reduction) {
  const Reduction r = parse_reduction(op, reduction);
  check_float(op, "input", input);
  check_defined(op, "target", target);
  check_same_dtype(op, "input", input, "target", target);
  GS_CHECK(input.shape() == target.shape(),
           "{}: input has shape {} and target {}; they must be equal", op, input.shape(),
           target.shape());
  return r;
}

// ---- classes ----

// Logits with the class dim last: [rows, classes], and what the loss looks like.
struct Classes {
  Tensor rows;    // on the tape
  Tensor target;  // dense int64 [rows]
  Dims loss_shape;
};

std::int64_t class_dim(const Tensor& input) { return input.dim() == 1 ? 0 : 1; }

void check_classes(const char* op, const Tensor& input, const Tensor& target,
                   std::int64_t ignore_index) {
  check_class_index(op, "target", target);
  check_same_device(op, input, target);
  GS_CHECK(input.dim() >= 1, "{}: argument 'input' must have shape (C) or (N, C, ...), got {}", op,
           input.shape());
  Dims wanted = input.shape();
  wanted.erase(int(class_dim(input)));
  GS_CHECK(target.shape() == wanted,
           "{}: target must have shape {} for an input of shape {}, got {}", op, wanted,
           input.shape(), target.shape());
  const Tensor flat = contiguous(target.detach());
  const std::int64_t classes = input.size(int(class_dim(input)));
  const std::int64_t bad = dispatch::check_targets(flat, classes, ignore_index);
  GS_CHECK_INDEX(bad < 0, "{}: target {} at position {} is not a class in [0, {})", op,
                 to_device(flat, {}).data_as<std::int64_t>()[bad], bad, classes);
}

Classes class_rows(const Tensor& input, const Tensor& target) {
  const int at = int(class_dim(input));
  const std::int64_t classes = input.size(at);
  Tensor rows = input;
  if (at != input.dim() - 1) {
    Dims order;
    for (int d = 0; d < input.dim(); ++d)
      if (d != at) order.push_back(d);
    order.push_back(at);
    rows = permute(input, order);
  }
  return {reshape(rows, {target.numel(), classes}), reshape(contiguous(target), {target.numel()}),
          target.shape()};
}

struct CrossEntropy {
  std::int64_t ignore_index;
  double smoothing;
  Reduction reduction;
};

// The loss of every row, and the weight that each contributes to a mean.
struct RowLoss {
  Tensor loss, weight;
};
RowLoss composite_rows(const CrossEntropy& c, const Tensor& rows, const Tensor& target,
                       const Tensor& weight) {
  const Tensor logp = log_softmax(rows, 1);
  const Tensor counted = ne(target, Operand(c.ignore_index));
  const Tensor at = where(counted, target, Operand(std::int64_t(0)));
  const Tensor on = to_dtype(counted, rows.dtype());
  const Tensor w = weight.defined() ? mul(index_select(weight, 0, at), on) : on;
  Tensor loss = neg(mul(w, squeeze(gather(logp, 1, unsqueeze(at, 1)), Dims{1})));
  if (c.smoothing > 0) {
    const Tensor weighted = weight.defined() ? mul(logp, weight) : logp;
    const Tensor uniform = mul(sum(weighted, Dims{1}), Operand(c.smoothing / double(rows.size(1))));
    loss = sub(mul(loss, Operand(1 - c.smoothing)), mul(uniform, on));
  }
  // An ignored row gets no gradient even where nothing counts, and the mean divides by 0.
  return {where(counted, loss, Operand(0.0)), w};
}

Tensor combine(const RowLoss& rows, Reduction r) {
  if (r == Reduction::none) return rows.loss;
  const Tensor total = sum(rows.loss);
  return r == Reduction::sum ? total : div(total, sum(rows.weight));
}

Tensor fused_cross_entropy(const CrossEntropy& c, const Tensor& rows, const Tensor& target,
                           const Tensor& weight) {
  const Tensor x = contiguous(rows.detach());
  const Tensor w = weight.defined() ? contiguous(weight.detach()) : Tensor();
  const std::int64_t n = x.size(0), classes = x.size(1);
  const auto numbers = [&x](const Dims& shape) { return empty(shape, x.dtype(), x.device()); };
  Tensor loss = numbers({n}), stats = numbers({n, 2}), counted = numbers({n});
  dispatch::cross_entropy_forward(x, {.loss = loss.data(),
                                      .stats = stats.data(),
                                      .target_weight = counted.data(),
                                      .x = x.data(),
                                      .target = target.data_as<std::int64_t>(),
                                      .weight = w.defined() ? w.data() : nullptr,
                                      .rows = n,
                                      .n = classes,
                                      .x_stride = classes,
                                      .ignore_index = c.ignore_index,
                                      .label_smoothing = c.smoothing});
  Tensor y = loss, divisor;
  if (c.reduction != Reduction::none) y = sum(loss);
  if (c.reduction == Reduction::mean) {
    divisor = sum(counted);
    y = div(y, divisor);
  }
  if (!tracked(rows)) return y;
  return record("cross_entropy", y, {rows},
                [c, x = save(rows), stats = save(stats), target = save(target),
                 weight = save(weight), divisor = save(divisor)](const Grads& g) {
                  const Tensor &v = x.unpack(g), &t = target.unpack(g), &factor = weight.unpack(g);
                  if (grad_enabled())
                    return through_composite(g, {v}, [&](const std::vector<Tensor>& in) {
                      return std::vector{combine(composite_rows(c, in[0], t, factor), c.reduction)};
                    });
                  const Tensor& total = divisor.unpack(g);
                  const Tensor dense = contiguous(v.detach()),
                               scale = factor.defined() ? contiguous(factor) : factor;
                  const Tensor up = contiguous(total.defined() ? div(g[0], total) : g[0]);
                  Tensor dx = empty_like(dense);
                  dispatch::cross_entropy_backward(
                      dense, {.dx = dx.data(),
                              .x = dense.data(),
                              .stats = stats.unpack(g).data(),
                              .target = t.data_as<std::int64_t>(),
                              .weight = scale.defined() ? scale.data() : nullptr,
                              .g = up.data(),
                              .g_stride = up.dim() == 0 ? 0 : 1,
                              .g_scale = 1,
                              .rows = dense.size(0),
                              .n = dense.size(1),
                              .dx_stride = dense.size(1),
                              .x_stride = dense.size(1),
                              .ignore_index = c.ignore_index,
                              .label_smoothing = c.smoothing});
                  return grads(dx);
                });
}

// Targets that are probabilities, of the input's shape.
Tensor soft_cross_entropy(const CrossEntropy& c, const Tensor& input, const Tensor& target,
                          const Tensor& weight) {
  const std::int64_t at = class_dim(input);
  const std::int64_t classes = input.size(int(at));
  Tensor logp = log_softmax(input, at);
  if (weight.defined()) {
    Dims shape = Dims::filled(input.dim(), 1);
    shape[int(at)] = classes;
    logp = mul(logp, reshape(weight, shape));
  }
  Tensor q = target;
  if (c.smoothing > 0)
    q = add(mul(q, Operand(1 - c.smoothing)), Operand(c.smoothing / double(classes)));
  const Tensor loss = neg(sum(mul(logp, q), Dims{at}));
  if (c.reduction != Reduction::mean) return reduced(loss, c.reduction);
  return div(sum(loss), Operand(double(input.numel() / classes)));
}

}  // namespace

Tensor cross_entropy(const Tensor& input, const Tensor& target, const Tensor& weight,
                     std::int64_t ignore_index, const std::string& reduction,
                     double label_smoothing) {
  constexpr const char* op = "cross_entropy";
  const CrossEntropy c{ignore_index, label_smoothing, parse_reduction(op, reduction)};
  check_float(op, "input", input);
  check_defined(op, "target", target);
  GS_CHECK(label_smoothing >= 0 && label_smoothing <= 1,
           "{}: argument 'label_smoothing' must be in [0, 1], got {}", op, label_smoothing);
  GS_CHECK(input.dim() >= 1, "{}: argument 'input' must have shape (C) or (N, C, ...), got {}", op,
           input.shape());
  const std::int64_t classes = input.size(int(class_dim(input)));
  GS_CHECK(classes >= 1, "{}: the input of shape {} has no classes", op, input.shape());
  check_vector(op, "weight", weight, classes, input);
  if (is_floating(target.dtype())) {
    check_same_dtype(op, "target", target, "input", input);
    GS_CHECK(target.shape() == input.shape(),
             "{}: a target of probabilities must have the input's shape {}, got {}", op,
             input.shape(), target.shape());
    return soft_cross_entropy(c, input, target, weight);
  }
  check_classes(op, input, target, ignore_index);
  const Classes k = class_rows(input, target);
  const Tensor loss = wants_grad(weight) && grad_enabled()
                          ? combine(composite_rows(c, k.rows, k.target, weight), c.reduction)
                          : fused_cross_entropy(c, k.rows, k.target, weight);
  return c.reduction == Reduction::none ? reshape(loss, k.loss_shape) : loss;
}

Tensor nll_loss(const Tensor& input, const Tensor& target, const Tensor& weight,
                std::int64_t ignore_index, const std::string& reduction) {
  constexpr const char* op = "nll_loss";
  const Reduction r = parse_reduction(op, reduction);
  check_float(op, "input", input);
  check_classes(op, input, target, ignore_index);
  check_vector(op, "weight", weight, input.size(int(class_dim(input))), input);
  const Classes k = class_rows(input, target);
  const Tensor counted = ne(k.target, Operand(ignore_index));
  const Tensor at = where(counted, k.target, Operand(std::int64_t(0)));
  const Tensor on = to_dtype(counted, input.dtype());
  const Tensor w = weight.defined() ? mul(index_select(weight, 0, at), on) : on;
  const Tensor picked = squeeze(gather(k.rows, 1, unsqueeze(at, 1)), Dims{1});
  // An ignored row counts nothing even where its value is infinite.
  const Tensor loss = where(counted, neg(mul(w, picked)), Operand(0.0));
  const Tensor y = combine({loss, w}, r);
  return r == Reduction::none ? reshape(y, k.loss_shape) : y;
}

// ---- regression ----

Tensor mse_loss(const Tensor& input, const Tensor& target, const std::string& reduction) {
  const Reduction r = check_pair("mse_loss", input, target, reduction);
  return reduced(square(sub(input, target)), r);
}

Tensor l1_loss(const Tensor& input, const Tensor& target, const std::string& reduction) {
  const Reduction r = check_pair("l1_loss", input, target, reduction);
  return reduced(abs(sub(input, target)), r);
}

// 0.5 d^2 / beta below beta, |d| - 0.5 beta above.
Tensor smooth_l1_loss(const Tensor& input, const Tensor& target, const std::string& reduction,
                      double beta) {
  const Reduction r = check_pair("smooth_l1_loss", input, target, reduction);
  GS_CHECK(std::isfinite(beta) && beta >= 0,
           "smooth_l1_loss: argument 'beta' must be finite and not negative, got {}", beta);
  if (beta == 0) return l1_loss(input, target, reduction);
  const Tensor d = sub(input, target), size = abs(d);
  return reduced(where(lt(size.detach(), Operand(beta)), mul(square(d), Operand(0.5 / beta)),
                       sub(size, Operand(0.5 * beta))),
                 r);
}

// 0.5 d^2 below delta, delta (|d| - 0.5 delta) above (Huber 1964).
Tensor huber_loss(const Tensor& input, const Tensor& target, const std::string& reduction,
                  double delta) {
  const Reduction r = check_pair("huber_loss", input, target, reduction);
  GS_CHECK(std::isfinite(delta) && delta > 0,
           "huber_loss: argument 'delta' must be finite and positive, got {}", delta);
  const Tensor d = sub(input, target), size = abs(d);
  return reduced(where(le(size.detach(), Operand(delta)), mul(square(d), Operand(0.5)),
                       mul(sub(size, Operand(0.5 * delta)), Operand(delta))),
                 r);
}

// ---- probabilities ----

namespace {
// Logarithms of p and 1 - p, bounded below so that 0 and 1 give finite losses.
Tensor bounded_log(const Tensor& p) { return clamp(log(p), Operand(-100.0)); }
Tensor bounded_log_of_rest(const Tensor& p) { return clamp(log1p(neg(p)), Operand(-100.0)); }
Tensor one_minus(const Tensor& p) { return sub(Operand(1.0), p); }
}  // namespace

Tensor binary_cross_entropy(const Tensor& input, const Tensor& target, const Tensor& weight,
                            const std::string& reduction) {
  constexpr const char* op = "binary_cross_entropy";
  const Reduction r = check_pair(op, input, target, reduction);
  const Tensor p = input.detach(), t = target.detach();
  for (const auto& [name, x] : {std::pair("input", p), std::pair("target", t)}) {  // no NaN either
    const Tensor good = logical_and(ge(x, Operand(0.0)), le(x, Operand(1.0)));
    GS_CHECK(is_set(all(good)), "{}: argument '{}' must be in [0, 1]", op, name);
  }
  Tensor loss = neg(add(mul(t, bounded_log(p)), mul(one_minus(t), bounded_log_of_rest(p))));
  if (tracked(input, target)) {
    // Not the gradient of the bounded logarithms, which is 0 * inf where a sigmoid gave 0 or 1.
    loss = record(
        op, loss, {input, target}, [input = save(input), target = save(target)](const Grads& g) {
          const Tensor &x = input.unpack(g), &y = target.unpack(g);
          const Tensor variance = clamp(mul(x, one_minus(x)), Operand(1e-12));
          return grads(
              g.needs(0) ? mul(g[0], div(sub(x, y), variance)) : Tensor(),
              g.needs(1) ? mul(g[0], sub(bounded_log_of_rest(x), bounded_log(x))) : Tensor());
        });
  }
  if (weight.defined()) loss = mul(loss, weight);
  return reduced(loss, r);
}

// max(x, 0) - x t + log(1 + exp(-|x|)), with the positive part scaled by pos_weight.
Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target,
                                        const Tensor& weight, const std::string& reduction,
                                        const Tensor& pos_weight) {
  const Reduction r = check_pair("binary_cross_entropy_with_logits", input, target, reduction);
  const Tensor positive = neg(log_sigmoid(input)), negative = add(positive, input);
  Tensor up = mul(target, positive);
  if (pos_weight.defined()) up = mul(up, pos_weight);
  Tensor loss = add(up, mul(sub(Operand(1.0), target), negative));
  if (weight.defined()) loss = mul(loss, weight);
  return reduced(loss, r);
}

Tensor kl_div(const Tensor& input, const Tensor& target, const std::string& reduction,
              bool log_target) {
  const bool batch_mean = reduction == "batchmean";
  const Reduction r = check_pair("kl_div", input, target, batch_mean ? "sum" : reduction);
  Tensor loss;
  if (log_target) {
    loss = mul(exp(target), sub(target, input));
  } else {  // 0 log 0 is 0; the logarithm of a negative target is NaN
    const Tensor zero = eq(target.detach(), Operand(0.0));
    const Tensor safe = where(zero, Operand(1.0), target);
    loss = sub(where(zero, Operand(0.0), mul(target, log(safe))), mul(target, input));
  }
  if (!batch_mean) return reduced(loss, r);
  return input.dim() == 0 ? sum(loss) : div(sum(loss), Operand(double(input.size(0))));
}

}  // namespace gradsmith::ops
