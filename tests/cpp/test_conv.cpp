// Convolution and its gradients against the reference rows: odd shapes, poisoned outputs, every
// target, 1 to 3 threads, infinities that must not leak, and the adjoint identities.
#include <algorithm>

#include "kernel_testing.h"
#include "kernels/conv/conv.h"
#include "runtime/parallel.h"

using namespace gradsmith;
using namespace gradsmith::kernels;
using namespace gradsmith::testing;

namespace {

// n c h w, o kh kw, stride, pad, end pad, dilation, groups
constexpr ConvShape kCases[] = {
    {2, 3, 8, 8, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {64, 2, 8, 8, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {3, 1, 28, 28, 6, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1, 1},
    {3, 6, 14, 14, 16, 5, 5, 1, 1, 0, 0, 0, 0, 1, 1, 1},
    {2, 3, 31, 29, 7, 7, 7, 2, 2, 3, 3, 3, 3, 1, 1, 1},
    {2, 5, 17, 40, 9, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},
    {3, 40, 7, 7, 24, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},
    {2, 6, 15, 15, 8, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1, 1},
    {2, 6, 16, 16, 8, 1, 1, 3, 2, 0, 0, 0, 0, 1, 1, 2},
    {2, 4, 13, 19, 6, 3, 2, 2, 3, 1, 0, 2, 1, 1, 1, 1},
    {2, 4, 21, 19, 6, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 2},
    {2, 4, 21, 25, 6, 3, 3, 2, 2, 3, 1, 0, 4, 3, 2, 2},
    {2, 4, 21, 25, 2, 2, 3, 3, 4, 0, 0, 5, 2, 2, 3, 1},
    {1, 2, 3, 3, 3, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1, 1},
    {1, 2, 2, 3, 3, 5, 4, 2, 1, 3, 2, 2, 1, 1, 1, 1},
    {0, 2, 8, 8, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {2, 3, 1, 50, 4, 1, 5, 1, 2, 0, 2, 0, 2, 1, 1, 1},
    {2, 3, 50, 1, 4, 5, 1, 2, 1, 2, 0, 2, 0, 1, 1, 1},
    {2, 3, 1, 1, 4, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},
    {2, 8, 10, 12, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 8},
    {2, 3, 20, 37, 6, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 3},
    {3, 4, 7, 9, 4, 5, 5, 1, 1, 4, 4, 4, 4, 2, 2, 4},
    {1, 20, 9, 33, 10, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {1, 70, 5, 5, 13, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {2, 16, 16, 32, 3, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},
    {2, 3, 9, 9, 1, 3, 3, 1, 1, 0, 0, 0, 0, 1, 1, 1},
    {1, 3, 80, 64, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {2, 2, 5, 5, 2, 3, 3, 1, 1, 4, 3, 4, 3, 1, 1, 1},
    {1, 2, 4, 4, 2, 6, 2, 1, 1, 0, 0, 0, 0, 1, 1, 1},
    {2, 0, 4, 4, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {1, 1, 9, 40, 1, 2, 2, 5, 6, 0, 0, 0, 0, 1, 1, 1},
    {5, 6, 4, 3, 9, 4, 3, 1, 1, 0, 0, 0, 0, 1, 1, 1},
    {7, 3, 1, 1, 1, 1, 1, 2, 1, 0, 0, 0, 0, 1, 1, 1},
    // Packed products: whole images and parts of them in a panel, sums of several blocks, gaps
    // between rows and columns of dx, groups. Outer products where 16 outputs and 64 taps meet.
    {5, 9, 7, 7, 70, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},
    {2, 20, 13, 37, 75, 3, 2, 2, 1, 1, 0, 2, 1, 1, 1, 1},
    {2, 40, 12, 45, 72, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {2, 48, 7, 61, 34, 2, 3, 1, 3, 0, 1, 1, 0, 2, 1, 2},
    {3, 17, 9, 11, 33, 1, 7, 1, 1, 0, 3, 0, 3, 1, 1, 1},
    {6, 70, 4, 4, 65, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1, 1},
    // Inputs in place, several groups of pixels; strides along one side; phases without products.
    {2, 70, 31, 33, 64, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},
    {3, 48, 15, 37, 70, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1, 1},
    {7, 33, 9, 5, 72, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1, 1},
    {2, 24, 19, 40, 72, 1, 3, 2, 1, 0, 0, 0, 0, 1, 1, 1},
    {2, 36, 19, 40, 72, 3, 1, 1, 2, 0, 0, 0, 0, 1, 1, 1},
    {2, 40, 13, 50, 12, 2, 2, 3, 3, 0, 0, 0, 0, 1, 1, 1},
    {2, 32, 40, 67, 20, 5, 4, 2, 2, 1, 0, 2, 1, 1, 1, 1},
    // Channels as lanes: one or two registers of them, several blocks of channels, strides.
    {3, 70, 7, 7, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {2, 100, 17, 17, 45, 3, 3, 2, 2, 0, 0, 0, 0, 1, 1, 1},
    {3, 33, 14, 14, 100, 4, 4, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {2, 20, 8, 8, 12, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1, 1},
    {9, 24, 5, 3, 37, 2, 3, 1, 3, 1, 2, 0, 2, 2, 1, 1},
    {2, 256, 13, 13, 64, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},
    // One channel a group, rows shorter than a register, several rows and groups at a time.
    {2, 9, 14, 14, 9, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 9},
    {2, 7, 14, 13, 7, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 7},
    {1, 5, 23, 70, 5, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 5},
    {3, 8, 7, 7, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 8},
    {2, 19, 28, 28, 19, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 19},
    {2, 17, 28, 28, 17, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 17},
    {20, 3, 14, 14, 3, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1, 3},
    {1, 3, 61, 112, 3, 5, 5, 2, 2, 2, 2, 2, 2, 1, 1, 3},
    {1, 2, 70, 113, 2, 3, 3, 2, 2, 0, 1, 1, 0, 1, 1, 2},
    {1, 2, 40, 200, 2, 3, 3, 1, 1, 2, 0, 0, 3, 1, 1, 2},
    {2, 3, 5, 33, 3, 5, 5, 2, 2, 6, 7, 1, 9, 1, 1, 3},
    {2, 3, 4, 5, 3, 3, 3, 1, 1, 5, 19, 4, 18, 1, 1, 3},
    {0, 3, 8, 8, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 3},
    {2, 3, 2, 2, 3, 5, 5, 1, 1, 0, 0, 0, 0, 1, 1, 3},
};

std::string describe(const char* what, const char* target, const ConvShape& s) {
  char text[240];
  std::snprintf(text, sizeof text,
                "%s on %s: %ldx%ldx%ldx%ld o%ld k%ldx%ld s%ld,%ld p%ld,%ld,%ld,%ld d%ld,%ld g%ld",
                what, target, long(s.n), long(s.c), long(s.h), long(s.w), long(s.o), long(s.kh),
                long(s.kw), long(s.stride_h), long(s.stride_w), long(s.pad_h), long(s.pad_w),
                long(s.pad_h_end), long(s.pad_w_end), long(s.dilation_h), long(s.dilation_w),
                long(s.groups));
  return text;
}

struct Sizes {
  explicit Sizes(const ConvShape& s)
      : x(s.n * s.c * s.h * s.w),
        y(s.n * s.o * s.out_h() * s.out_w()),
        w(s.o * s.group_c() * s.kh * s.kw) {}
  std::int64_t x, y, w;
};

// The oracle: reference rows over whole tensors.
template <class T>
struct Reference {
  static constexpr DType dtype = dtype_of<T>;
  static constexpr int t = int(Target::reference);
  static void forward(const ConvShape& s, T* y, const T* x, const T* w, const ConvEpilogue& e) {
    for (std::int64_t g = 0; g < s.groups; ++g) {
      ConvPart p{};
      p.shape = s, p.out = y, p.in = x, p.weight = w, p.epilogue = e;
      p.image_end = s.n, p.group = g, p.group_end = g + 1, p.m_end = s.group_o(),
      p.row_end = s.out_h();
      conv_forward.fn[int(dtype)][t](p);
    }
  }
  static void input_grad(const ConvShape& s, T* dx, const T* dy, const T* w,
                         const ConvEpilogue& e) {
    for (std::int64_t g = 0; g < s.groups; ++g) {
      ConvPart p{};
      p.shape = s, p.out = dx, p.in = dy, p.weight = w, p.epilogue = e;
      p.image_end = s.n, p.group = g, p.group_end = g + 1, p.m_end = s.group_c(), p.row_end = s.h;
      conv_input_grad.fn[int(dtype)][t](p);
    }
  }
  static void weight_grad(const ConvShape& s, T* dw, const T* dy, const T* x) {
    for (std::int64_t g = 0; g < s.groups; ++g) {
      ConvWeightPart p{};
      p.shape = s, p.dw = dw, p.dy = dy, p.x = x, p.image_end = s.n, p.group = g;
      p.c_end = s.group_c(), p.m_end = s.group_o();
      conv_weight_grad.fn[int(dtype)][t](p);
    }
  }
};

template <class T>
std::vector<T> magnitudes(std::vector<T> v) {
  for (T& e : v) e = std::abs(e);
  return v;
}

// |got - want| <= gamma_K |a| |b| element by element, K = number of products.
template <class T>
bool within(const Poisoned<T>& got, const Poisoned<T>& want, const Poisoned<T>& bound, double k) {
  const double u = std::numeric_limits<T>::epsilon() / 2, gamma = (k + 4) * u / (1 - (k + 4) * u);
  for (std::int64_t i = 0; i < got.size(); ++i)
    if (!(std::abs(double(got[i]) - double(want[i])) <= gamma * double(bound[i]) + 1e-300))
      return false;
  return got.frame_intact();
}

template <class T, class Run>
Poisoned<T> run_threads(std::int64_t size, const std::string& what, Run run) {
  set_num_threads(1);
  fill_scratch(0);
  Poisoned<T> first(size);
  run(first.data());
  for (int threads = 1; threads <= 3; ++threads) {
    set_num_threads(threads);
    fill_scratch(0xff);
    Poisoned<T> again(size);
    run(again.data());
    report(same_bits(first, again) && again.frame_intact(),
           what + ": bits differ with threads or with what lay in scratch memory");
  }
  set_num_threads(1);
  return first;
}

template <class T>
double dot(const T* a, const T* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += double(a[i]) * double(b[i]);
  return sum;
}

// Channels as lanes where nobody would take them: small, odd, wide, grouped.
template <class T>
void test_channels(const ConvShape& s, const char* target) {
  constexpr DType dtype = dtype_of<T>;
  if (active_target() == Target::reference) return;
  const Sizes size(s);
  for (const bool adjoint : {false, true}) {
    const std::int64_t in = adjoint ? size.y : size.x, out = adjoint ? size.x : size.y;
    const std::int64_t m = adjoint ? s.c : s.o, n = std::max<std::int64_t>(1, s.n);
    const double k = double((adjoint ? s.group_o() : s.group_c()) * s.kh * s.kw);
    const auto reference = adjoint ? Reference<T>::input_grad : Reference<T>::forward;
    auto x = random_values<T>(in, 11);
    const auto w = random_values<T>(size.w, 12), bias = random_values<T>(m, 13);
    const auto ax = magnitudes(x), aw = magnitudes(w), ab = magnitudes(bias);
    const std::string name =
        describe(adjoint ? "channels, input_grad" : "channels, forward", target, s);
    Poisoned<T> want(out), bound(out);
    reference(s, want.data(), x.data(), w.data(), {.bias = bias.data()});
    reference(s, bound.data(), ax.data(), aw.data(), {.bias = ab.data()});
    const auto got = run_threads<T>(out, name, [&](T* to) {
      channels_conv(dtype, s, adjoint, to, x.data(), w.data(), {.bias = bias.data()});
    });
    report(within(got, want, bound, k + 1), name);

    ConvShape one = s;
    one.n = 1;
    Poisoned<T> last(s.n ? out / n : 0);
    if (s.n)
      channels_conv(dtype, one, adjoint, last.data(), x.data() + (n - 1) * in / n, w.data(),
                    {.bias = bias.data()});
    bool same = last.frame_intact();
    for (std::int64_t i = 0; i < last.size(); ++i) same &= last[i] == got[out - out / n + i];
    report(same, name + ": bits differ with the batch");

    const ConvEpilogue e{.activation = Activation::leaky_relu, .slope = 0.2};
    reference(s, want.data(), x.data(), w.data(), e);
    Poisoned<T> activated(out);
    channels_conv(dtype, s, adjoint, activated.data(), x.data(), w.data(), e);
    report(within(activated, want, bound, k + 1), name + ", leaky_relu");

    for (std::size_t i = 0; i < x.size(); ++i)
      if (i % 37 == 3) x[i] = std::numeric_limits<T>::infinity();
    reference(s, want.data(), x.data(), w.data(), {});
    Poisoned<T> special(out);
    channels_conv(dtype, s, adjoint, special.data(), x.data(), w.data(), {});
    same = special.frame_intact();
    for (std::int64_t i = 0; i < out; ++i)
      same &= std::isfinite(special[i]) == std::isfinite(want[i]) &&
              std::isnan(special[i]) == std::isnan(want[i]);
    report(same, name + ", special");
  }
}

template <class T>
void test_case(const ConvShape& s, const char* target) {
  constexpr DType dtype = dtype_of<T>;
  using R = Reference<T>;
  const Sizes size(s);
  const auto x = random_values<T>(size.x, 1), w = random_values<T>(size.w, 2);
  const auto dy = random_values<T>(size.y, 3), bias = random_values<T>(s.o, 4);
  const auto c_bias = random_values<T>(s.c, 5);
  const auto ax = magnitudes(x), aw = magnitudes(w), ady = magnitudes(dy), ab = magnitudes(bias);
  const double k = double(s.group_c() * s.kh * s.kw);

  Poisoned<T> y_want(size.y), y_bound(size.y), dx_want(size.x), dx_bound(size.x), dw_want(size.w),
      dw_bound(size.w);
  R::forward(s, y_want.data(), x.data(), w.data(), {.bias = bias.data()});
  R::forward(s, y_bound.data(), ax.data(), aw.data(), {.bias = ab.data()});
  const std::string forward = describe("forward", target, s);
  const auto y = run_threads<T>(size.y, forward, [&](T* out) {
    conv2d_forward(dtype, s, out, x.data(), w.data(), {.bias = bias.data()});
  });
  report(within(y, y_want, y_bound, k + 1), forward);

  R::input_grad(s, dx_want.data(), dy.data(), w.data(), {});
  R::input_grad(s, dx_bound.data(), ady.data(), aw.data(), {});
  const std::string input_grad = describe("input_grad", target, s);
  const auto dx = run_threads<T>(
      size.x, input_grad, [&](T* out) { conv2d_input_grad(dtype, s, out, dy.data(), w.data()); });
  report(within(dx, dx_want, dx_bound, double(s.group_o() * s.kh * s.kw)), input_grad);

  R::weight_grad(s, dw_want.data(), dy.data(), x.data());
  R::weight_grad(s, dw_bound.data(), ady.data(), ax.data());
  const std::string weight_grad = describe("weight_grad", target, s);
  const auto dw = run_threads<T>(
      size.w, weight_grad, [&](T* out) { conv2d_weight_grad(dtype, s, out, dy.data(), x.data()); });
  report(within(dw, dw_want, dw_bound, double(s.n * s.out_h() * s.out_w())), weight_grad);

  Poisoned<T> db_want(s.o), db_bound(s.o);
  const std::int64_t pixels = s.out_h() * s.out_w();
  const auto reference_bias = conv_bias_grad.fn[int(dtype)][int(Target::reference)];
  reference_bias({s.n, s.o, pixels, 0, s.o, db_want.data(), dy.data()});
  reference_bias({s.n, s.o, pixels, 0, s.o, db_bound.data(), ady.data()});
  const auto db =
      run_threads<T>(s.o, weight_grad, [&](T* out) { conv2d_bias_grad(dtype, s, out, dy.data()); });
  report(within(db, db_want, db_bound, double(s.n * pixels)), describe("bias_grad", target, s));

  // <conv(x), dy> = <x, input_grad(dy)> = <w, weight_grad(dy, x)>
  Poisoned<T> plain(size.y), weight(size.w);
  conv2d_forward(dtype, s, plain.data(), x.data(), w.data());
  const double a = dot(plain.data(), dy.data(), size.y), b = dot(x.data(), dx.begin(), size.x),
               c = dot(w.data(), dw.begin(), size.w);
  const double slack = 4 * std::numeric_limits<T>::epsilon() * (k + double(s.o) + 8) *
                       (dot(y_bound.data(), ady.data(), size.y) + 1);
  report(std::abs(a - b) <= slack && std::abs(a - c) <= slack, describe("adjoint", target, s));

  // Every activation, and the epilogue of the input gradient.
  for (int act = 0; act <= int(Activation::silu); ++act) {
    const ConvEpilogue e{.bias = c_bias.data(), .activation = Activation(act), .slope = 0.2};
    Poisoned<T> got(size.x);
    R::input_grad(s, dx_want.data(), dy.data(), w.data(), e);
    conv2d_input_grad(dtype, s, got.data(), dy.data(), w.data(), e);
    Poisoned<T> bound(size.x);
    for (std::int64_t i = 0; i < size.x; ++i)
      bound.data()[i] = 2 * dx_bound[i] + T(8) + std::abs(dx_want[i]);
    report(within(got, dx_want, bound, double(s.group_o() * s.kh * s.kw)),
           describe("epilogue", target, s) + " activation " + std::to_string(act));
  }
}

// Infinite and NaN pixels reach exactly the outputs whose windows hold them.
template <class T>
void test_special(const ConvShape& s, const char* target) {
  const Sizes size(s);
  auto x = random_values<T>(size.x, 6), dy = random_values<T>(size.y, 7);
  const auto w = random_values<T>(size.w, 8);
  for (std::size_t i = 0; i < x.size(); ++i)
    if (i % 37 == 3) x[i] = std::numeric_limits<T>::infinity();
  for (std::size_t i = 0; i < dy.size(); ++i)
    if (i % 41 == 5) dy[i] = std::numeric_limits<T>::quiet_NaN();
  const auto same_kind = [](const Poisoned<T>& a, const Poisoned<T>& b) {
    for (std::int64_t i = 0; i < a.size(); ++i)
      if (std::isfinite(a[i]) != std::isfinite(b[i]) || std::isnan(a[i]) != std::isnan(b[i]))
        return false;
    return true;
  };
  Poisoned<T> y(size.y), y_want(size.y), dx(size.x), dx_want(size.x), dw(size.w), dw_want(size.w);
  conv2d_forward(dtype_of<T>, s, y.data(), x.data(), w.data());
  Reference<T>::forward(s, y_want.data(), x.data(), w.data(), {});
  report(same_kind(y, y_want), describe("special forward", target, s));
  conv2d_input_grad(dtype_of<T>, s, dx.data(), dy.data(), w.data());
  Reference<T>::input_grad(s, dx_want.data(), dy.data(), w.data(), {});
  report(same_kind(dx, dx_want), describe("special input_grad", target, s));
  // One bad pixel, else everything is NaN.
  x = random_values<T>(size.x, 6);
  dy = random_values<T>(size.y, 7);
  if (!x.empty()) x[x.size() / 2] = std::numeric_limits<T>::infinity();
  conv2d_weight_grad(dtype_of<T>, s, dw.data(), dy.data(), x.data());
  Reference<T>::weight_grad(s, dw_want.data(), dy.data(), x.data());
  report(same_kind(dw, dw_want), describe("special weight_grad", target, s));
}

// A sample's result has the same bits alone and in a batch.
template <class T>
void test_batch(const ConvShape& s, const char* target) {
  if (s.n < 2) return;
  const Sizes size(s);
  const auto x = random_values<T>(size.x, 9), w = random_values<T>(size.w, 10);
  Poisoned<T> all(size.y), one(size.y / s.n);
  conv2d_forward(dtype_of<T>, s, all.data(), x.data(), w.data());
  ConvShape single = s;
  single.n = 1;
  conv2d_forward(dtype_of<T>, single, one.data(), x.data() + (s.n - 1) * size.x / s.n, w.data());
  bool same = true;
  for (std::int64_t i = 0; i < one.size(); ++i) same &= one[i] == all[(s.n - 1) * one.size() + i];
  report(same, describe("batch invariance", target, s));
}

// Small, and odd in every way: unequal paddings above all.
ConvShape random_shape(std::mt19937& engine) {
  const auto draw = [&engine](int low, int high) {
    return std::int64_t(std::uniform_int_distribution(low, high)(engine));
  };
  ConvShape s;
  s.groups = draw(0, 3) ? 1 : 2;
  s.n = draw(1, 2), s.c = s.groups * draw(1, 4), s.h = draw(1, 12), s.w = draw(1, 40);
  s.o = s.groups * draw(1, 5), s.kh = draw(1, 4), s.kw = draw(1, 5);
  s.stride_h = draw(1, 3), s.stride_w = draw(1, 3);
  s.pad_h = draw(0, 3), s.pad_w = draw(0, 4), s.pad_h_end = draw(0, 3), s.pad_w_end = draw(0, 4);
  s.dilation_h = draw(1, 2), s.dilation_w = draw(1, 2);
  return s;
}

ConvShape random_depthwise(std::mt19937& engine) {
  ConvShape s = random_shape(engine);
  const auto draw = [&engine](int low, int high) {
    return std::int64_t(std::uniform_int_distribution(low, high)(engine));
  };
  s.groups = s.c = s.o = draw(1, 20);
  s.w = draw(1, 90);
  s.kh = s.kw = draw(0, 2) ? 3 : 5;
  s.stride_h = s.stride_w = draw(1, 2);
  s.dilation_h = s.dilation_w = 1;
  return s;
}

}  // namespace

int main() {
  for_each_target([](const char* target) {
    for (const ConvShape& s : kCases) {
      test_case<float>(s, target);
      test_case<double>(s, target);
      test_channels<float>(s, target);
      test_channels<double>(s, target);
      test_special<float>(s, target);
      test_batch<float>(s, target);
      test_batch<double>(s, target);
    }
    std::mt19937 engine(1);
    for (int i = 0; i < 300; ++i) {
      const ConvShape s = random_shape(engine);
      test_case<float>(s, target);
      test_channels<float>(s, target);
      if (i % 4 == 0) test_case<double>(s, target), test_channels<double>(s, target);
    }
    for (int i = 0; i < 100; ++i) {
      const ConvShape s = random_depthwise(engine);
      test_case<float>(s, target);
      test_special<float>(s, target);
      if (i % 4 == 0) test_case<double>(s, target);
    }
  });
  return finish("conv");
}
