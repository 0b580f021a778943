// Winograd convolution: the three transforms against products with their matrices, whole
// convolutions against the direct sum within the bound of winograd.h, and the same bits for any
// number of threads and any batch.
#include <algorithm>

#include "kernel_testing.h"
#include "kernels/conv/conv.h"
#include "runtime/parallel.h"

using namespace gradsmith;
using namespace gradsmith::kernels;
using namespace gradsmith::testing;
using Index = std::int64_t;

namespace {

constexpr double kInput[6][6] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                 {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};
constexpr double kWeights[6][3] = {{1.0 / 4, 0, 0},
                                   {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                   {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                   {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                   {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                   {0, 0, 1}};
constexpr double kOutput[4][6] = {
    {1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}};
constexpr double kUnit = 5.9604644775390625e-8;  // half an ulp of 1

// sum |row[k]| |column[l]| element(k, l)
template <class Element>
double magnitude(const double* row, const double* column, int size, Element element) {
  double sum = 0;
  for (int k = 0; k < size; ++k)
    for (int l = 0; l < size; ++l) sum += std::abs(row[k] * column[l]) * element(k, l);
  return sum;
}

// What both kinds of pass compute: weight of (line, d, tap), taps reversed in the adjoint.
double weight_at(const WinogradConv& p, const float* w, Index line, Index d, int tap) {
  return p.adjoint ? double(w[(d * p.lines + line) * 9 + 8 - tap])
                   : double(w[(line * p.depth + d) * 9 + tap]);
}
double input_at(const WinogradConv& p, const float* x, Index n, Index d, Index h, Index w) {
  if (h < 0 || h >= p.in_h || w < 0 || w >= p.in_w) return 0;
  return double(x[((n * p.depth + d) * p.in_h + h) * p.in_w + w]);
}

// The bound of winograd.h for all outputs of a tile.
void tile_bound(const WinogradConv& p, const float* x, const float* w, Index n, Index line,
                Index first_h, Index first_w, double (&bound)[4][4]) {
  double points[6][6] = {};
  for (Index d = 0; d < p.depth; ++d)
    for (int i = 0; i < 6; ++i)
      for (int j = 0; j < 6; ++j) {
        const double in = magnitude(kInput[i], kInput[j], 6, [&](int k, int l) {
          return std::abs(input_at(p, x, n, d, first_h + k - p.pad_h, first_w + l - p.pad_w));
        });
        points[i][j] += in * magnitude(kWeights[i], kWeights[j], 3, [&](int k, int l) {
                          return std::abs(weight_at(p, w, line, d, 3 * k + l));
                        });
      }
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j)
      bound[i][j] =
          double(p.depth + 64) * kUnit *
          magnitude(kOutput[i], kOutput[j], 6, [&](int k, int l) { return points[k][l]; });
}

void convolve(const char* target, const WinogradConv& p) {
  const auto x = random_values<float>(p.n * p.depth * p.in_h * p.in_w, 1);
  const auto w = random_values<float>(p.depth * p.lines * 9, 2);
  const auto bias = random_values<float>(p.lines, 3);
  ConvEpilogue epilogue;
  epilogue.bias = bias.data();
  epilogue.activation = Activation::leaky_relu;
  Poisoned<float> y(p.n * p.lines * p.out_h * p.out_w);
  set_num_threads(1);
  winograd_conv(p, y.data(), x.data(), w.data(), epilogue);

  double worst = 0;
  for (Index n = 0; n < p.n; ++n)
    for (Index line = 0; line < p.lines; ++line)
      for (Index h = 0; h < p.out_h; h += 4)
        for (Index q = 0; q < p.out_w; q += 4) {
          double bound[4][4];
          tile_bound(p, x.data(), w.data(), n, line, h, q, bound);
          for (Index i = h; i < std::min(h + 4, p.out_h); ++i)
            for (Index j = q; j < std::min(q + 4, p.out_w); ++j) {
              double sum = 0;
              for (Index d = 0; d < p.depth; ++d)
                for (int tap = 0; tap < 9; ++tap)
                  sum += weight_at(p, w.data(), line, d, tap) *
                         input_at(p, x.data(), n, d, i + tap / 3 - p.pad_h, j + tap % 3 - p.pad_w);
              sum += double(bias[std::size_t(line)]);
              const double want = sum < 0 ? epilogue.slope * sum : sum;
              const double got = double(y[((n * p.lines + line) * p.out_h + i) * p.out_w + j]);
              const double allowed = bound[i - h][j - q] + 4 * kUnit * std::abs(sum);
              worst = std::max(worst, std::isnan(got) ? 1e9 : std::abs(got - want) / allowed);
            }
        }
  const std::string what = std::string(target) + ": " + std::to_string(p.depth) + " to " +
                           std::to_string(p.lines) + " channels, " + std::to_string(p.out_h) + "x" +
                           std::to_string(p.out_w) + ", padding " + std::to_string(p.pad_h);
  report(worst <= 1 && y.frame_intact(), what + ": error over bound " + std::to_string(worst));

  for (int threads : {2, 3}) {
    set_num_threads(threads);
    Poisoned<float> again(y.size());
    winograd_conv(p, again.data(), x.data(), w.data(), epilogue);
    report(same_bits(y, again), what + ": threads");
  }
  set_num_threads(1);
  WinogradConv one = p;
  one.n = 1;
  const Index image = p.lines * p.out_h * p.out_w;
  Poisoned<float> alone(image);
  winograd_conv(one, alone.data(), x.data() + (p.n - 1) * p.depth * p.in_h * p.in_w, w.data(),
                epilogue);
  bool same = true;
  for (Index i = 0; i < image; ++i) same = same && alone[i] == y[(p.n - 1) * image + i];
  report(same, what + ": an image alone");
}

// The gradient of the weights, against the direct sum and the bound of winograd.h.
void weight_gradient(const char* target, const ConvShape& s) {
  const WinogradConv p = winograd_forward(s);
  const auto x = random_values<float>(s.n * s.c * s.h * s.w, 8);
  const auto dy = random_values<float>(s.n * s.o * p.out_h * p.out_w, 9);
  Poisoned<float> dw(s.o * s.c * 9);
  set_num_threads(1);
  winograd_conv_weight_grad(s, dw.data(), dy.data(), x.data());
  const auto dy_at = [&](Index n, Index o, Index h, Index w) {
    return h < p.out_h && w < p.out_w
               ? double(dy[std::size_t(((n * s.o + o) * p.out_h + h) * p.out_w + w)])
               : 0.0;
  };
  double worst = 0;
  for (Index o = 0; o < s.o; ++o)
    for (Index c = 0; c < s.c; ++c) {
      double points[6][6] = {}, want[3][3] = {};
      Index tiles = 0;
      for (Index n = 0; n < s.n; ++n)
        for (Index h = 0; h < p.out_h; h += 4)
          for (Index w = 0; w < p.out_w; w += 4, ++tiles)
            for (int i = 0; i < 6; ++i)
              for (int j = 0; j < 6; ++j) {
                const double in = magnitude(kInput[i], kInput[j], 6, [&](int k, int l) {
                  return std::abs(input_at(p, x.data(), n, c, h + k - s.pad_h, w + l - s.pad_w));
                });
                double row[4], column[4];
                for (int k = 0; k < 4; ++k) row[k] = kOutput[k][i], column[k] = kOutput[k][j];
                points[i][j] += in * magnitude(row, column, 4, [&](int k, int l) {
                                  return std::abs(dy_at(n, o, h + k, w + l));
                                });
              }
      for (Index n = 0; n < s.n; ++n)
        for (Index h = 0; h < p.out_h; ++h)
          for (Index w = 0; w < p.out_w; ++w)
            for (int t = 0; t < 9; ++t)
              want[t / 3][t % 3] +=
                  dy_at(n, o, h, w) *
                  input_at(p, x.data(), n, c, h + t / 3 - s.pad_h, w + t % 3 - s.pad_w);
      for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) {
          double row[6], column[6];
          for (int k = 0; k < 6; ++k) row[k] = kWeights[k][i], column[k] = kWeights[k][j];
          const double bound =
              double(tiles + 64) * kUnit *
              magnitude(row, column, 6, [&](int k, int l) { return points[k][l]; });
          const double got = double(dw[(o * s.c + c) * 9 + 3 * i + j]);
          worst = std::max(worst, std::isnan(got) ? 1e9 : std::abs(got - want[i][j]) / bound);
        }
    }
  const std::string what = std::string(target) + ": gradient of " + std::to_string(s.o) + "x" +
                           std::to_string(s.c) + " weights";
  report(worst <= 1 && dw.frame_intact(), what + ": error over bound " + std::to_string(worst));
  for (int threads : {2, 3}) {
    set_num_threads(threads);
    Poisoned<float> again(dw.size());
    winograd_conv_weight_grad(s, again.data(), dy.data(), x.data());
    report(same_bits(dw, again), what + ": threads");
  }
  set_num_threads(1);
}

// The rows of the table by themselves: every target against the reference.
void transforms(const char* target, Index n, Index channels, Index h, Index w, Index pad, Index kc,
                Index row_begin, Index row_end) {
  const auto rows = [&](auto& kernel, const auto& args) { kernel.pick(DType::f32)(args); };
  const auto oracle = [&](auto& kernel, const auto& args) {
    kernel.fn[int(DType::f32)][int(Target::reference)](args);
  };
  const Index out_h = h + 2 * pad - 2, out_w = w + 2 * pad - 2;
  const WinogradTiles tiles{(out_h + 3) / 4, (out_w + 3) / 4, row_begin, row_end};
  const int width = gemm_shape_of(DType::f32).nr;
  const Index lines = (tiles.count() + width - 1) / width * width;
  const Index batch = lines * channels + 3;
  const auto x = random_values<float>(n * channels * h * w, 4);
  std::vector<float> plane(std::size_t(12 * winograd_pitch(lines)));
  Poisoned<float> v(36 * batch), v_want(36 * batch);
  WinogradInput in{.tiles = tiles,
                   .channels = channels,
                   .begin = 0,
                   .end = channels,
                   .h = h,
                   .w = w,
                   .pad_h = pad,
                   .pad_w = pad,
                   .x = x.data(),
                   .v = v.data(),
                   .v_batch = batch,
                   .lines = lines,
                   .kc = kc,
                   .width = width,
                   .pitch = winograd_pitch(lines),
                   .plane = plane.data()};
  rows(winograd_input, in);
  in.v = v_want.data();
  oracle(winograd_input, in);
  bool good = v.frame_intact();
  for (Index point = 0; point < 36; ++point)
    for (Index pc = 0; pc < channels; pc += kc)
      for (Index tile = 0; tile < tiles.count(); ++tile) {
        const Index depth = std::min(kc, channels - pc);
        for (Index p = 0; p < depth; ++p) {
          const Index at =
              point * batch + pc * lines + tile / width * width * depth + p * width + tile % width;
          // 100: the largest sum of |B| |B|; 5: more than any of these random values.
          good = good && std::abs(double(v[at]) - double(v_want[at])) <= 8 * kUnit * 100 * 5;
        }
      }
  report(good, std::string(target) + ": transform of the inputs");

  // Gradients of the outputs, some channels of them, as rows.
  Poisoned<float> g(36 * batch), g_want(36 * batch);
  WinogradInput gradient = in;
  gradient.h = out_h, gradient.w = out_w, gradient.pad_h = gradient.pad_w = 0;
  const auto dy = random_values<float>(n * channels * out_h * out_w, 11);
  gradient.x = dy.data();
  gradient.kc = 1, gradient.begin = channels / 2;
  gradient.v = g.data();
  rows(winograd_gradient, gradient);
  gradient.v = g_want.data();
  oracle(winograd_gradient, gradient);
  good = g.frame_intact();
  for (Index point = 0; point < 36; ++point)
    for (Index c = 0; c < channels; ++c)
      for (Index tile = 0; tile < tiles.count(); ++tile) {
        const Index at = point * batch + c * lines + tile;
        const bool missing = std::isnan(g_want[at]);  // a channel before the first
        good = good && missing == (c < channels / 2) && missing == std::isnan(g[at]) &&
               (missing || std::abs(double(g[at]) - double(g_want[at])) <= 8 * kUnit * 225 * 5);
      }
  report(good, std::string(target) + ": transform of the gradients");

  const auto m = random_values<float>(36 * batch, 5);
  const auto bias = random_values<float>(channels, 6);
  Poisoned<float> y(n * channels * out_h * out_w), want(n * channels * out_h * out_w);
  WinogradOutput out{.tiles = tiles,
                     .channels = channels,
                     .h = out_h,
                     .w = out_w,
                     .m = m.data(),
                     .m_batch = batch,
                     .m_row = lines,
                     .y = y.data(),
                     .epilogue = {bias.data(), Activation::relu, 0}};
  rows(winograd_output, out);
  out.y = want.data();
  oracle(winograd_output, out);
  good = y.frame_intact();
  for (Index i = 0; i < y.size(); ++i) {  // what the rows do not cover stays poisoned in both
    const bool missing = std::isnan(want[i]);
    good = good && missing == std::isnan(y[i]) &&
           (missing || std::abs(double(y[i]) - double(want[i])) <= 8 * kUnit * 361 * 5);
  }
  report(good, std::string(target) + ": transform of the outputs");

  for (const bool flipped : {false, true}) {
    const Index depth = channels, count = 7, panel = std::min(4, gemm_shape_of(DType::f32).mr);
    const Index padded = (count + panel - 1) / panel * panel;
    const auto weights = random_values<float>(depth * count * 9, 7);
    Poisoned<float> u(36 * (depth * padded + 2)), u_want(36 * (depth * padded + 2));
    WinogradWeights args{.depth = depth,
                         .line_step = flipped ? 9 : 9 * depth,
                         .depth_step = flipped ? 9 * count : 9,
                         .flipped = flipped,
                         .begin = panel,
                         .end = padded,
                         .w = weights.data(),
                         .u = u.data(),
                         .u_batch = depth * padded + 2,
                         .lines = count,
                         .padded = padded,
                         .kc = kc,
                         .width = int(panel)};
    rows(winograd_weights, args);
    args.u = u_want.data();
    oracle(winograd_weights, args);
    good = u.frame_intact();
    for (Index i = 0; i < u.size(); ++i) {
      const bool missing = std::isnan(u_want[i]);
      good = good && missing == std::isnan(u[i]) &&
             (missing || std::abs(double(u[i]) - double(u_want[i])) <= 16 * kUnit * 5);
    }
    report(good, std::string(target) + ": transform of the weights");
  }

  const auto u = random_values<float>(36 * (channels * 5 + 2), 10);
  Poisoned<float> dw(channels * 5 * 9), dw_want(channels * 5 * 9);
  WinogradWeightGrad back{.depth = channels,
                          .begin = 2,
                          .end = 5,
                          .u = u.data(),
                          .u_batch = channels * 5 + 2,
                          .dw = dw.data()};
  rows(winograd_weight_grad, back);
  back.dw = dw_want.data();
  oracle(winograd_weight_grad, back);
  good = dw.frame_intact();
  for (Index i = 0; i < dw.size(); ++i) {
    const bool missing = std::isnan(dw_want[i]);
    good = good && missing == std::isnan(dw[i]) &&
           (missing || std::abs(double(dw[i]) - double(dw_want[i])) <= 16 * kUnit * 3 * 5);
  }
  report(good, std::string(target) + ": transform to the gradient of the weights");
}

}  // namespace

int main() {
  for_each_target([](const char* target) {
    transforms(target, 1, 3, 4, 4, 0, 512, 0, 1);
    transforms(target, 2, 5, 9, 7, 1, 2, 1, 4);
    transforms(target, 3, 9, 6, 41, 2, 4, 0, 6);
    for (const bool adjoint : {false, true})
      for (Index pad : {0, 1, 2}) {
        const Index h = 9, w = 14;
        convolve(target, {3, 21, h, w, 19, h + 2 * pad - 2, w + 2 * pad - 2, pad, pad, adjoint});
      }
    convolve(target, {2, 1, 3, 3, 1, 1, 1, 0, 0, false});
    convolve(target, {1, 530, 5, 5, 3, 5, 5, 1, 1, false});  // more than one depth block
    convolve(target, {2, 4, 5, 70, 5, 5, 70, 1, 1, true});
    weight_gradient(target, {2, 3, 4, 5, 4, 3, 3, 1, 1, 0, 0, 0, 0, 1, 1, 1});
    weight_gradient(target, {3, 11, 9, 14, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1});
    weight_gradient(target, {5, 2, 30, 61, 3, 3, 3, 1, 1, 2, 1, 2, 1, 1, 1, 1});  // several parts
  });
  return finish("winograd");
}
