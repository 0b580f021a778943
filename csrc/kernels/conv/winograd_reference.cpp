// The transforms of winograd.h as products with their matrices, sums in double.
#include "kernels/conv/conv.h"
#include "kernels/gemm/activate_reference.h"

namespace gradsmith::kernels::reference {
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

// sum over (k, l) of row[k] * column[l] * element(k, l).
template <class Element>
double between(const double* row, const double* column, int size, Element element) {
  double sum = 0;
  for (int k = 0; k < size; ++k)
    for (int l = 0; l < size; ++l) sum += row[k] * column[l] * element(k, l);
  return sum;
}

}  // namespace

void winograd_weights_f32(const WinogradWeights& a) {
  for (std::int64_t line = a.begin; line < a.end; ++line)
    for (std::int64_t d = 0; d < a.depth; ++d) {
      const float* w = static_cast<const float*>(a.w) + line * a.line_step + d * a.depth_step;
      const std::int64_t pc = d / a.kc * a.kc, depth = a.depth - pc < a.kc ? a.depth - pc : a.kc;
      float* const u = static_cast<float*>(a.u) + pc * a.padded + line / a.width * a.width * depth +
                       (d - pc) * a.width + line % a.width;
      for (int i = 0; i < kWinogradReach; ++i)
        for (int j = 0; j < kWinogradReach; ++j)
          u[(i * kWinogradReach + j) * a.u_batch] =
              line >= a.lines ? 0.0f
                              : float(between(kWeights[i], kWeights[j], 3, [&](int k, int l) {
                                  return double(w[a.flipped ? 8 - 3 * k - l : 3 * k + l]);
                                }));
    }
}

namespace {

// v = L x L^T for every tile of `size` x `size` values, L given by its rows.
template <class Row>
void points(const WinogradInput& a, int size, Row row_of) {
  for (std::int64_t c = a.begin; c < a.end; ++c)
    for (std::int64_t tile = 0; tile < a.lines; ++tile) {
      const std::int64_t row = a.tiles.row_begin + tile / a.tiles.tiles_w;
      const std::int64_t first_h = row % a.tiles.tiles_h * kWinogradTile - a.pad_h;
      const std::int64_t first_w = tile % a.tiles.tiles_w * kWinogradTile - a.pad_w;
      const float* x =
          static_cast<const float*>(a.x) + (row / a.tiles.tiles_h * a.channels + c) * a.h * a.w;
      const std::int64_t pc = c / a.kc * a.kc;
      const std::int64_t depth = a.channels - pc < a.kc ? a.channels - pc : a.kc;
      float* v = static_cast<float*>(a.v) + pc * a.lines + tile / a.width * a.width * depth +
                 (c - pc) * a.width + tile % a.width;
      for (int i = 0; i < kWinogradReach; ++i)
        for (int j = 0; j < kWinogradReach; ++j)
          v[(i * kWinogradReach + j) * a.v_batch] =
              tile >= a.tiles.count()
                  ? 0.0f
                  : float(between(row_of(i), row_of(j), size, [&](int k, int l) {
                      const std::int64_t h = first_h + k, w = first_w + l;
                      return h >= 0 && h < a.h && w >= 0 && w < a.w ? double(x[h * a.w + w]) : 0.0;
                    }));
    }
}

}  // namespace

void winograd_input_f32(const WinogradInput& a) {
  points(a, kWinogradReach, [](int i) { return kInput[i]; });
}

void winograd_gradient_f32(const WinogradInput& a) {
  double transposed[kWinogradReach][kWinogradTile];
  for (int i = 0; i < kWinogradReach; ++i)
    for (int j = 0; j < kWinogradTile; ++j) transposed[i][j] = kOutput[j][i];
  points(a, kWinogradTile, [&](int i) { return transposed[i]; });
}

void winograd_weight_grad_f32(const WinogradWeightGrad& a) {
  double transposed[3][kWinogradReach];
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < kWinogradReach; ++j) transposed[i][j] = kWeights[j][i];
  for (std::int64_t line = a.begin; line < a.end; ++line)
    for (std::int64_t d = 0; d < a.depth; ++d) {
      const float* u = static_cast<const float*>(a.u) + line * a.depth + d;
      for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j)
          static_cast<float*>(a.dw)[(line * a.depth + d) * 9 + 3 * i + j] =
              float(between(transposed[i], transposed[j], 6, [&](int k, int l) {
                return double(u[(k * kWinogradReach + l) * a.u_batch]);
              }));
    }
}

void winograd_output_f32(const WinogradOutput& a) {
  const float* bias = static_cast<const float*>(a.epilogue.bias);
  for (std::int64_t channel = 0; channel < a.channels; ++channel)
    for (std::int64_t tile = 0; tile < a.tiles.count(); ++tile) {
      const std::int64_t row = a.tiles.row_begin + tile / a.tiles.tiles_w;
      const std::int64_t image = row / a.tiles.tiles_h;
      const float* m = static_cast<const float*>(a.m) + channel * a.m_row + tile;
      for (int i = 0; i < kWinogradTile; ++i)
        for (int j = 0; j < kWinogradTile; ++j) {
          const std::int64_t h = row % a.tiles.tiles_h * kWinogradTile + i;
          const std::int64_t w = tile % a.tiles.tiles_w * kWinogradTile + j;
          if (h >= a.h || w >= a.w) continue;
          double sum = between(kOutput[i], kOutput[j], 6, [&](int k, int l) {
            return double(m[(k * kWinogradReach + l) * a.m_batch]);
          });
          if (bias) sum += double(bias[channel]);
          static_cast<float*>(a.y)[((image * a.channels + channel) * a.h + h) * a.w + w] =
              float(activate(sum, a.epilogue.activation, a.epilogue.slope));
        }
    }
}

}  // namespace gradsmith::kernels::reference
