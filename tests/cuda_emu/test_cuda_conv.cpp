// Convolution and optimizer steps on CUDA, run by the emulator, against the CPU's reference
// kernels, which sum in double.
#include "kernels/conv/conv.h"

#include "cuda_testing.h"
#include "kernels/optim/optim.h"

namespace gradsmith::kernels::reference {
#define GS_DECLARE(name, Args)       \
  void name##_f32(const Args& args); \
  void name##_f64(const Args& args);
GS_DECLARE(conv_forward, ConvPart)
GS_DECLARE(conv_input_grad, ConvPart)
GS_DECLARE(conv_weight_grad, ConvWeightPart)
GS_DECLARE(sgd_step, SgdStep)
GS_DECLARE(adam_step, AdamStep)
GS_DECLARE(rmsprop_step, RmspropStep)
GS_DECLARE(adagrad_step, AdagradStep)
GS_DECLARE(adamax_step, AdamaxStep)
GS_DECLARE(adadelta_step, AdadeltaStep)
GS_DECLARE(asgd_step, AsgdStep)
GS_DECLARE(rprop_step, RpropStep)
GS_DECLARE(lion_step, LionStep)
#undef GS_DECLARE
}  // namespace gradsmith::kernels::reference

namespace {

namespace k = gradsmith::kernels;
namespace ref = gradsmith::kernels::reference;
#define GS_REFERENCE(dtype, name, args) \
  (dtype == DType::f32 ? ref::name##_f32(args) : ref::name##_f64(args))

void fill(Buffer& b, DType dtype, double low = -1, double high = 1) {
  for (std::int64_t i = 0; i < std::int64_t(b.bytes / itemsize(dtype)); ++i)
    set(b.p, dtype, i, uniform(low, high));
}
void compare(const char* what, const Buffer& got, const Buffer& want, DType dtype, double bound) {
  for (std::int64_t i = 0; i < std::int64_t(got.bytes / itemsize(dtype)); ++i) {
    const double a = get(got.p, dtype, i), b = get(want.p, dtype, i);
    if (std::abs(a - b) <= bound) continue;
    return gs_test::report(
        __FILE__, __LINE__,
        std::string(what) + ": " + std::to_string(a) + " for " + std::to_string(b));
  }
}

// ---- Convolution --------------------------------------------------------------------------------

void test_conv(const k::ConvShape& s, DType dtype) {
  const std::size_t item = itemsize(dtype);
  const std::int64_t out_h = s.out_h(), out_w = s.out_w();
  Buffer x(std::size_t(s.n * s.c * s.h * s.w) * item);
  Buffer w(std::size_t(s.o * s.group_c() * s.kh * s.kw) * item);
  Buffer y(std::size_t(s.n * s.o * out_h * out_w) * item);
  Buffer want_x(x.bytes), want_w(w.bytes), want_y(y.bytes);
  Buffer bias_o(std::size_t(s.o) * item), bias_c(std::size_t(s.c) * item);
  for (Buffer* b : {&x, &w, &bias_o, &bias_c}) fill(*b, dtype);
  ConvArgs a{ConvOp::forward,
             dtype,
             s.n,
             s.c,
             s.h,
             s.w,
             s.o,
             s.kh,
             s.kw,
             out_h,
             out_w,
             s.stride_h,
             s.stride_w,
             s.pad_h,
             s.pad_w,
             s.dilation_h,
             s.dilation_w,
             s.groups,
             y.p,
             x.p,
             w.p,
             bias_o.p,
             nullptr};
  const double eps = dtype == DType::f32 ? 1.2e-7 : 2.3e-16;
  const auto bound = [eps](std::int64_t terms) { return eps * double(terms + 2) * 2; };
  in_all_schedules("conv", y, [&] { return api.conv(0, &a, nullptr); });
  k::ConvPart part{};
  part.shape = s;
  part.out = want_y.p, part.in = x.p, part.weight = w.p;
  part.epilogue.bias = bias_o.p;
  part.image_end = s.n, part.group_end = s.groups;
  part.m_end = s.group_o(), part.row_end = out_h;
  GS_REFERENCE(dtype, conv_forward, part);
  compare("conv", y, want_y, dtype, bound(s.group_c() * s.kh * s.kw));

  fill(y, dtype);  // the gradient
  Buffer dx(x.bytes), dw(w.bytes);
  a.op = ConvOp::input_grad;
  a.out = dx.p, a.in = y.p, a.bias = bias_c.p;
  in_all_schedules("input_grad", dx, [&] { return api.conv(0, &a, nullptr); });
  part.out = want_x.p, part.in = y.p;
  part.epilogue.bias = bias_c.p;
  part.m_end = s.group_c(), part.row_end = s.h;
  GS_REFERENCE(dtype, conv_input_grad, part);
  compare("input_grad", dx, want_x, dtype, bound(s.group_o() * s.kh * s.kw));

  a.op = ConvOp::weight_grad;
  Buffer scratch(std::size_t(conv_weight_parts(a)) * w.bytes);
  a.out = dw.p, a.in = x.p, a.other = y.p, a.bias = nullptr, a.scratch = scratch.p;
  in_all_schedules("weight_grad", dw, [&] { return api.conv(0, &a, nullptr); });
  for (std::int64_t group = 0; group < s.groups; ++group) {
    k::ConvWeightPart weight{};
    weight.shape = s;
    weight.dw = want_w.p, weight.dy = y.p, weight.x = x.p;
    weight.image_end = s.n, weight.group = group;
    weight.c_end = s.group_c(), weight.m_end = s.group_o();
    GS_REFERENCE(dtype, conv_weight_grad, weight);
  }
  compare("weight_grad", dw, want_w, dtype, bound(s.n * out_h * out_w));
}

void test_convs() {
  const auto shape = [](std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w,
                        std::int64_t o, std::int64_t kh, std::int64_t kw, std::int64_t stride,
                        std::int64_t pad, std::int64_t dilation, std::int64_t groups) {
    k::ConvShape s{.n = n, .c = c, .h = h, .w = w, .o = o, .kh = kh, .kw = kw};
    s.stride_h = stride, s.stride_w = stride > 1 ? stride - 1 : 1;
    s.pad_h = pad, s.pad_w = pad ? pad - 1 : 0, s.pad_h_end = pad ? pad + 1 : 0;
    s.pad_w_end = s.pad_w;
    s.dilation_h = dilation, s.dilation_w = dilation;
    s.groups = groups;
    return s;
  };
  for (DType dtype : {DType::f32, DType::f64}) {
    test_conv(shape(2, 3, 7, 9, 5, 3, 3, 1, 1, 1, 1), dtype);
    test_conv(shape(1, 5, 8, 6, 66, 1, 1, 1, 0, 1, 1), dtype);
    test_conv(shape(1, 66, 4, 5, 3, 2, 5, 2, 2, 1, 1), dtype);
    test_conv(shape(2, 4, 11, 13, 6, 3, 2, 3, 2, 2, 2), dtype);
    test_conv(shape(1, 12, 5, 6, 18, 3, 3, 1, 1, 1, 2), dtype);
    test_conv(shape(2, 6, 9, 8, 6, 3, 3, 2, 1, 1, 6), dtype);    // depthwise
    test_conv(shape(1, 4, 9, 8, 8, 3, 3, 1, 2, 2, 4), dtype);    // two filters a channel
    test_conv(shape(1, 2, 30, 37, 3, 3, 3, 1, 1, 1, 1), dtype);  // dw in parts
    test_conv(shape(1, 3, 1, 40, 4, 1, 7, 1, 0, 1, 1), dtype);
    test_conv(shape(1, 2, 5, 5, 3, 5, 5, 1, 0, 1, 1), dtype);  // one window
    test_conv(shape(0, 2, 5, 5, 3, 3, 3, 1, 0, 1, 1), dtype);
    test_conv(shape(1, 0, 5, 5, 3, 3, 3, 1, 0, 1, 1), dtype);
    test_conv(shape(1, 2, 5, 5, 0, 3, 3, 1, 0, 1, 1), dtype);
  }
  ConvArgs huge{};
  huge.n = huge.c = huge.o = huge.w = huge.kh = huge.kw = huge.out_h = huge.out_w = huge.groups = 1;
  huge.h = (std::int64_t(1) << 30) + 1;
  CHECK(api.conv(0, &huge, nullptr) != 0);
}

// ---- Optimizer steps ----------------------------------------------------------------------------

template <class Reference>
void test_step(const char* what, StepOp op, const StepNumbers& numbers, int arrays, DType dtype,
               Reference reference, int missing = -1) {
  const std::size_t item = itemsize(dtype);
  // More tensors than a table holds; sizes around a piece; the second is not aligned.
  std::vector<std::int64_t> counts = {4097, 7, 0, 4096, 1, 9000};
  for (int i = 0; i < 70; ++i) counts.push_back(i % 5);
  std::int64_t total = 1;
  for (const auto n : counts) total += n;
  Buffer all(std::size_t(arrays * total) * item), want(all.bytes);
  fill(all, dtype, 0.1, 1);
  std::vector<unsigned char> start(all.bytes);
  std::memcpy(start.data(), all.p, all.bytes);
  std::memcpy(want.p, all.p, all.bytes);
  const auto tensors = [&](void* base) {
    std::vector<StepTensor> list;
    std::int64_t at = 0;
    for (const auto n : counts) {
      StepTensor t{{}, n};
      for (int a = 0; a < arrays; ++a)
        if (a != missing)
          t.arrays[a] = static_cast<char*>(base) + std::size_t(a * total + at) * item;
      list.push_back(t);
      at += n;
    }
    return list;
  };
  const auto mine = tensors(all.p);
  in_all_schedules(what, all, start, [&] {
    const StepArgs args{op, dtype, mine.data(), std::int64_t(mine.size()), numbers};
    return api.optimizer_step(0, &args, nullptr);
  });
  for (const StepTensor& t : tensors(want.p)) reference(t);
  compare(what, all, want, dtype, dtype == DType::f32 ? 2e-6 : 1e-14);
}

void test_steps() {
  for (DType dtype : {DType::f32, DType::f64})
    for (bool first : {false, true}) {  // of the two choices of every option
      StepNumbers n{};
      n.lr = 0.1, n.step_size = 0.2, n.bias_correction2_sqrt = 0.7, n.beta1 = 0.9, n.beta2 = 0.99;
      n.eps = 1e-3, n.weight_decay = first ? 0.0 : 0.1, n.momentum = 0.8, n.dampening = 0.2;
      n.nesterov = n.maximize = n.decoupled = first;
      n.low = 0.3, n.high = 0.8, n.eta_minus = 0.5, n.eta_plus = 1.2, n.mu = first ? 1.0 : 0.3;
      n.lambd = 0.01, n.grad_step_size = first ? 0.0 : 0.05, n.plain = false;
      test_step("sgd", StepOp::sgd, n, 3, dtype, [&](const StepTensor& t) {
        GS_REFERENCE(dtype, sgd_step,
                     (k::SgdStep{t.arrays[0], t.arrays[1], t.arrays[2], t.count, n.lr, n.momentum,
                                 n.dampening, n.weight_decay, n.nesterov, n.maximize}));
      });
      test_step("adam", StepOp::adam, n, first ? 5 : 4, dtype, [&](const StepTensor& t) {
        GS_REFERENCE(
            dtype, adam_step,
            (k::AdamStep{t.arrays[0], t.arrays[1], t.arrays[2], t.arrays[3], t.arrays[4], t.count,
                         n.lr, n.step_size, n.bias_correction2_sqrt, n.beta1, n.beta2, n.eps,
                         n.weight_decay, n.grad_step_size, n.decoupled, n.maximize}));
      });
      test_step("adamax", StepOp::adamax, n, 4, dtype, [&](const StepTensor& t) {
        GS_REFERENCE(
            dtype, adamax_step,
            (k::AdamaxStep{t.arrays[0], t.arrays[1], t.arrays[2], t.arrays[3], t.count, n.step_size,
                           n.beta1, n.beta2, n.eps, n.weight_decay, n.maximize}));
      });
      test_step("adadelta", StepOp::adadelta, n, 4, dtype, [&](const StepTensor& t) {
        GS_REFERENCE(dtype, adadelta_step,
                     (k::AdadeltaStep{t.arrays[0], t.arrays[1], t.arrays[2], t.arrays[3], t.count,
                                      n.lr, n.beta2, n.eps, n.weight_decay, n.maximize}));
      });
      test_step("asgd", StepOp::asgd, n, 3, dtype, [&](const StepTensor& t) {
        GS_REFERENCE(dtype, asgd_step,
                     (k::AsgdStep{t.arrays[0], t.arrays[1], t.arrays[2], t.count, n.lr, n.lambd,
                                  n.mu, n.weight_decay, n.maximize}));
      });
      test_step("rprop", StepOp::rprop, n, 4, dtype, [&](const StepTensor& t) {
        GS_REFERENCE(dtype, rprop_step,
                     (k::RpropStep{t.arrays[0], t.arrays[1], t.arrays[2], t.arrays[3], t.count,
                                   n.eta_minus, n.eta_plus, n.low, n.high, n.maximize}));
      });
      test_step("lion", StepOp::lion, n, 3, dtype, [&](const StepTensor& t) {
        GS_REFERENCE(dtype, lion_step,
                     (k::LionStep{t.arrays[0], t.arrays[1], t.arrays[2], t.count, n.lr, n.beta1,
                                  n.beta2, n.weight_decay, n.maximize}));
      });
      // Not centered: the difference of two random moments has no digits.
      test_step(
          "rmsprop", StepOp::rmsprop, n, first ? 5 : 3, dtype,
          [&](const StepTensor& t) {
            GS_REFERENCE(dtype, rmsprop_step,
                         (k::RmspropStep{t.arrays[0], t.arrays[1], t.arrays[2], nullptr,
                                         t.arrays[4], t.count, n.lr, n.beta2, n.eps, n.weight_decay,
                                         n.momentum, n.maximize}));
          },
          3);
      test_step("adagrad", StepOp::adagrad, n, 3, dtype, [&](const StepTensor& t) {
        GS_REFERENCE(dtype, adagrad_step,
                     (k::AdagradStep{t.arrays[0], t.arrays[1], t.arrays[2], t.count, n.lr, n.eps,
                                     n.weight_decay, n.maximize}));
      });
      for (double factor : {0.25, 1.5}) {
        n.factor = &factor;
        test_step("scale", StepOp::scale, n, 1, dtype, [&](const StepTensor& t) {
          for (std::int64_t i = 0; i < t.count && factor < 1; ++i)
            set(t.arrays[0], dtype, i, get(t.arrays[0], dtype, i) * factor);
        });
      }
      test_step("clamp", StepOp::clamp, n, 1, dtype, [&](const StepTensor& t) {
        for (std::int64_t i = 0; i < t.count; ++i)
          set(t.arrays[0], dtype, i, std::min(0.8, std::max(0.3, get(t.arrays[0], dtype, i))));
      });
    }
}

void test_norms() {
  for (DType dtype : {DType::f32, DType::f64})
    for (double power : {2.0, 1.0, 3.0, double(INFINITY)}) {
      Buffer x(40000 * itemsize(dtype)), y(5 * itemsize(dtype)), partials(4 * 8), result(2 * 8);
      fill(x, dtype);
      fill(y, dtype);
      const StepTensor tensors[] = {{{x.p}, 40000}, {{x.p}, 0}, {{y.p}, 5}};
      in_all_schedules("partials", partials, [&] {
        const TotalNormArgs a{dtype, tensors, 3, power, static_cast<double*>(partials.p)};
        return api.norm_partials(0, &a, nullptr);
      });
      in_all_schedules("norm", result, [&] {
        const NormFinishArgs a{static_cast<double*>(partials.p), 4, power, 0.5,
                               static_cast<double*>(result.p)};
        return api.norm_finish(0, &a, nullptr);
      });
      double sum = 0, top = 0;
      for (const StepTensor& t : tensors)
        for (std::int64_t i = 0; i < t.count; ++i) {
          const double v = std::abs(get(t.arrays[0], dtype, i));
          sum += std::pow(v, power);
          top = std::max(top, v);
        }
      const double norm = std::isinf(power) ? top : std::pow(sum, 1 / power);
      CHECK(close(static_cast<double*>(result.p)[0], norm, 1e-12));
      CHECK(close(static_cast<double*>(result.p)[1], 0.5 / (norm + 1e-6), 1e-12));
    }
}

}  // namespace

int main() {
  test_convs();
  test_steps();
  test_norms();
  return gs_test::result();
}
