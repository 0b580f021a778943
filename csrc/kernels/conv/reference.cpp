// Convolution as the formulas of conv.h say it, sums in double.
#include <algorithm>
#include <cmath>

#include "kernels/conv/conv.h"
#include "kernels/conv/layout.h"
#include "kernels/gemm/activate_reference.h"

namespace gradsmith::kernels::reference {
namespace {

// The input position that output p and tap i meet in, or -1 in the padding.
std::int64_t position(std::int64_t p, std::int64_t i, std::int64_t stride, std::int64_t pad,
                      std::int64_t dilation, std::int64_t in) {
  const std::int64_t at = p * stride - pad + i * dilation;
  return at >= 0 && at < in ? at : -1;
}
std::int64_t row_of(const ConvShape& s, std::int64_t p, std::int64_t i) {
  return position(p, i, s.stride_h, s.pad_h, s.dilation_h, s.h);
}
std::int64_t col_of(const ConvShape& s, std::int64_t q, std::int64_t j) {
  return position(q, j, s.stride_w, s.pad_w, s.dilation_w, s.w);
}

template <class T>
T finish(double sum, const ConvEpilogue& e, std::int64_t channel) {
  if (e.bias) sum += double(static_cast<const T*>(e.bias)[channel]);
  return T(activate(sum, e.activation, e.slope));
}

template <class T>
void conv_forward(const ConvPart& a) {
  const ConvShape& s = a.shape;
  const std::int64_t cg = s.group_c(), og = s.group_o(), out_h = s.out_h(), out_w = s.out_w();
  const T* x = static_cast<const T*>(a.in);
  const T* w = static_cast<const T*>(a.weight);
  for (std::int64_t n = a.image_begin; n < a.image_end; ++n)
    for (std::int64_t o = a.group * og + a.m_begin; o < a.group * og + a.m_end; ++o)
      for (std::int64_t p = a.row_begin; p < a.row_end; ++p)
        for (std::int64_t q = 0; q < out_w; ++q) {
          double sum = 0;
          for (std::int64_t c = 0; c < cg; ++c)
            for (std::int64_t i = 0; i < s.kh; ++i)
              for (std::int64_t j = 0; j < s.kw; ++j) {
                const std::int64_t ih = row_of(s, p, i), iw = col_of(s, q, j);
                if (ih < 0 || iw < 0) continue;
                sum += double(x[((n * s.c + a.group * cg + c) * s.h + ih) * s.w + iw]) *
                       double(w[((o * cg + c) * s.kh + i) * s.kw + j]);
              }
          static_cast<T*>(a.out)[((n * s.o + o) * out_h + p) * out_w + q] =
              finish<T>(sum, a.epilogue, o);
        }
}

template <class T>
void conv_input_grad(const ConvPart& a) {
  const ConvShape& s = a.shape;
  const std::int64_t cg = s.group_c(), og = s.group_o(), out_h = s.out_h(), out_w = s.out_w();
  const T* dy = static_cast<const T*>(a.in);
  const T* w = static_cast<const T*>(a.weight);
  for (std::int64_t n = a.image_begin; n < a.image_end; ++n)
    for (std::int64_t m = a.m_begin; m < a.m_end; ++m)
      for (std::int64_t ih = a.row_begin; ih < a.row_end; ++ih)
        for (std::int64_t iw = 0; iw < s.w; ++iw) {
          double sum = 0;
          for (std::int64_t o = a.group * og; o < (a.group + 1) * og; ++o)
            for (std::int64_t i = 0; i < s.kh; ++i)
              for (std::int64_t j = 0; j < s.kw; ++j) {
                const std::int64_t ps = ih + s.pad_h - i * s.dilation_h;
                const std::int64_t qs = iw + s.pad_w - j * s.dilation_w;
                if (ps < 0 || qs < 0 || ps % s.stride_h || qs % s.stride_w) continue;
                const std::int64_t p = ps / s.stride_h, q = qs / s.stride_w;
                if (p >= out_h || q >= out_w) continue;
                sum += double(dy[((n * s.o + o) * out_h + p) * out_w + q]) *
                       double(w[((o * cg + m) * s.kh + i) * s.kw + j]);
              }
          const std::int64_t c = a.group * cg + m;
          static_cast<T*>(a.out)[((n * s.c + c) * s.h + ih) * s.w + iw] =
              finish<T>(sum, a.epilogue, c);
        }
}

void each_group(ConvPart part, void (*run)(const ConvPart&)) {
  for (; part.group < part.group_end; ++part.group) run(part);
}

template <class T>
void conv_weight_grad(const ConvWeightPart& a) {
  const ConvShape& s = a.shape;
  const std::int64_t cg = s.group_c(), og = s.group_o(), out_h = s.out_h(), out_w = s.out_w();
  const T* x = static_cast<const T*>(a.x);
  const T* dy = static_cast<const T*>(a.dy);
  for (std::int64_t o = a.group * og + a.m_begin; o < a.group * og + a.m_end; ++o)
    for (std::int64_t c = a.c_begin; c < a.c_end; ++c)
      for (std::int64_t i = 0; i < s.kh; ++i)
        for (std::int64_t j = 0; j < s.kw; ++j) {
          double sum = 0;
          for (std::int64_t n = a.image_begin; n < a.image_end; ++n)
            for (std::int64_t p = 0; p < out_h; ++p)
              for (std::int64_t q = 0; q < out_w; ++q) {
                const std::int64_t ih = row_of(s, p, i), iw = col_of(s, q, j);
                if (ih < 0 || iw < 0) continue;
                sum += double(x[((n * s.c + a.group * cg + c) * s.h + ih) * s.w + iw]) *
                       double(dy[((n * s.o + o) * out_h + p) * out_w + q]);
              }
          static_cast<T*>(a.dw)[((o * cg + c) * s.kh + i) * s.kw + j] = T(sum);
        }
}

template <class T>
void conv_bias_grad(const ConvBiasGrad& a) {
  for (std::int64_t o = a.o_begin; o < a.o_end; ++o) {
    double sum = 0;
    for (std::int64_t n = 0; n < a.n; ++n)
      for (std::int64_t p = 0; p < a.pixels; ++p)
        sum += double(static_cast<const T*>(a.dy)[(n * a.o + o) * a.pixels + p]);
    static_cast<T*>(a.db)[o] = T(sum);
  }
}

void each_plane(const DepthwisePart& a, void (*run)(const ConvPart&)) {
  for (std::int64_t plane = a.plane_begin; plane < a.plane_end; ++plane) {
    ConvPart part{};
    part.shape = a.shape, part.out = a.out, part.in = a.in, part.weight = a.weight;
    part.epilogue = a.epilogue;
    part.image_begin = plane / a.shape.groups, part.image_end = part.image_begin + 1;
    part.group = plane % a.shape.groups, part.group_end = part.group + 1;
    part.m_end = 1;
    part.row_begin = a.row_begin, part.row_end = a.row_end;
    run(part);
  }
}

template <class T>
void conv_channels(const ConvChannelsPart& a) {
  const std::int64_t m = a.adjoint ? a.shape.group_c() : a.shape.group_o();
  ConvPart part{};
  part.shape = a.shape, part.out = a.out, part.in = a.in, part.weight = a.weight;
  part.epilogue = a.epilogue;
  part.image_begin = a.image_begin, part.image_end = a.image_end;
  part.group = a.group, part.group_end = a.group + 1;
  part.m_begin = a.panel_begin * 2 * a.lanes, part.m_end = std::min(m, a.panel_end * 2 * a.lanes);
  part.row_end = a.adjoint ? a.shape.h : a.shape.out_h();
  (a.adjoint ? conv_input_grad<T> : conv_forward<T>)(part);
}

template <class T>
void conv_channels_weights(const ConvChannelsWeights& a) {
  const ConvShape& s = a.shape;
  const std::int64_t cg = s.group_c(), og = s.group_o(), taps = s.kh * s.kw;
  const std::int64_t m = a.adjoint ? cg : og, depth = a.adjoint ? og : cg;
  const std::int64_t block = conv_depth_block(depth);
  T* panels = static_cast<T*>(a.packed);
  for (std::int64_t panel = a.panel_begin; panel < a.panel_end; ++panel) {
    const std::int64_t line = panel * 2 * a.lanes,
                       width = m - line > a.lanes ? 2 * a.lanes : a.lanes;
    T* to = panels;
    for (std::int64_t d0 = 0; d0 < depth; d0 += block)
      for (std::int64_t tap = 0; tap < taps; ++tap, to += width)
        for (std::int64_t d = d0; d < std::min(depth, d0 + block); ++d)
          for (std::int64_t l = line; l < line + width; ++l) {
            const std::int64_t lane = std::min(l, m - 1);
            const std::int64_t c = a.adjoint ? lane : d, o = a.group * og + (a.adjoint ? d : lane);
            *to++ = static_cast<const T*>(a.weight)[(o * cg + c) * taps + tap];
          }
    panels += channels_panel(depth, taps, 2 * a.lanes);
  }
}

void each_channel(const DepthwiseWeightPart& a, void (*run)(const ConvWeightPart&)) {
  for (std::int64_t c = a.channel_begin; c < a.channel_end; ++c) {
    ConvWeightPart part{};
    part.shape = a.shape, part.dw = a.dw, part.dy = a.dy, part.x = a.x;
    part.image_begin = a.image_begin, part.image_end = a.image_end;
    part.group = c, part.c_end = part.m_end = 1;
    run(part);
  }
}

}  // namespace

void conv_forward_f32(const ConvPart& part) { each_group(part, conv_forward<float>); }
void conv_forward_f64(const ConvPart& part) { each_group(part, conv_forward<double>); }
void conv_input_grad_f32(const ConvPart& part) { each_group(part, conv_input_grad<float>); }
void conv_input_grad_f64(const ConvPart& part) { each_group(part, conv_input_grad<double>); }
void conv_weight_grad_f32(const ConvWeightPart& part) { conv_weight_grad<float>(part); }
void conv_weight_grad_f64(const ConvWeightPart& part) { conv_weight_grad<double>(part); }
void depthwise_forward_f32(const DepthwisePart& part) { each_plane(part, conv_forward<float>); }
void depthwise_forward_f64(const DepthwisePart& part) { each_plane(part, conv_forward<double>); }
void depthwise_input_grad_f32(const DepthwisePart& part) {
  each_plane(part, conv_input_grad<float>);
}
void depthwise_input_grad_f64(const DepthwisePart& part) {
  each_plane(part, conv_input_grad<double>);
}
void depthwise_weight_grad_f32(const DepthwiseWeightPart& part) {
  each_channel(part, conv_weight_grad<float>);
}
void depthwise_weight_grad_f64(const DepthwiseWeightPart& part) {
  each_channel(part, conv_weight_grad<double>);
}
void conv_channels_f32(const ConvChannelsPart& part) { conv_channels<float>(part); }
void conv_channels_f64(const ConvChannelsPart& part) { conv_channels<double>(part); }
void conv_channels_weights_f32(const ConvChannelsWeights& args) {
  conv_channels_weights<float>(args);
}
void conv_channels_weights_f64(const ConvChannelsWeights& args) {
  conv_channels_weights<double>(args);
}
void conv_bias_grad_f32(const ConvBiasGrad& args) { conv_bias_grad<float>(args); }
void conv_bias_grad_f64(const ConvBiasGrad& args) { conv_bias_grad<double>(args); }

}  // namespace gradsmith::kernels::reference
