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
  std::vector<float> plane(std::size_t(6 * (row_end - row_begin) * winograd_pitch(tiles.tiles_w)));
  std::vector<Index> offset(std::size_t(lines), 0);
  Poisoned<float> v(36 * batch), v_want(36 * batch);
  WinogradInput in{.tiles = tiles,
                   .channels = channels,
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
                   .pitch = winograd_pitch(tiles.tiles_w),
                   .plane = plane.data(),
                   .offset = offset.data()};
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
    const Index depth = channels, count = 7;
    const auto weights = random_values<float>(depth * count * 9, 7);
    Poisoned<float> u(36 * (depth * count + 2)), u_want(36 * (depth * count + 2));
    WinogradWeights args{.depth = depth,
                         .line_step = flipped ? 9 : 9 * depth,
                         .depth_step = flipped ? 9 * count : 9,
                         .flipped = flipped,
                         .begin = 1,
                         .end = count,
                         .w = weights.data(),
                         .u = u.data(),
                         .u_batch = depth * count + 2};
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
    set_num_threads(1);
  });
  return finish("winograd");
}
