// Where things lie during a convolution; shared by the leaf kernels and the driver.
#pragma once
#include "kernels/conv/conv.h"

namespace gradsmith::kernels {

GS_CONV_INLINE std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a / b - (a % b != 0 && a < 0);
}

// Every sum is cut into blocks of equal length, at most kConvDepth and at least 1.
GS_CONV_INLINE std::int64_t conv_depth_block(std::int64_t k) {
  const std::int64_t blocks = (k + kConvDepth - 1) / kConvDepth;
  return blocks < 2 ? (k > 1 ? k : 1) : (k + blocks - 1) / blocks;
}

// Forward and weight gradient: input row p*S - P + i*D is row p + i*D / S of phase i*D % S.
GS_CONV_INLINE ConvSource forward_source(const ConvShape& s, std::int64_t row_begin,
                                         std::int64_t row_end) {
  const auto phases = [](std::int64_t k, std::int64_t d, std::int64_t stride)
                          __attribute__((always_inline)) {
                            std::int64_t most = 0;
                            for (std::int64_t i = 0; i < k && i < stride; ++i)
                              most = i * d % stride > most ? i * d % stride : most;
                            return most + 1;
                          };
  return {.first_h = row_begin * s.stride_h - s.pad_h,
          .first_w = -s.pad_w,
          .step_h = s.stride_h,
          .step_w = s.stride_w,
          .phases_h = phases(s.kh, s.dilation_h, s.stride_h),
          .phases_w = phases(s.kw, s.dilation_w, s.stride_w),
          .rows = row_end - row_begin + (s.kh - 1) * s.dilation_h / s.stride_h,
          .cols = s.out_w() + (s.kw - 1) * s.dilation_w / s.stride_w};
}

// Whether packed products of the forward pass take the inputs from where they are: no window leaves
// the image, and the stride is for whole pixels.
GS_CONV_INLINE bool forward_in_place(const ConvShape& s) {
  const bool padded = s.pad_h || s.pad_w || s.pad_h_end || s.pad_w_end;
  return !padded && (s.stride_w == 1 || (s.stride_w == 2 && s.kw == 1)) &&
         (s.stride_h == 1 || s.kh == 1);
}

// Input gradient: the inputs ih = t*S + r of one phase r meet tap i only if r + P - i*D is a
// multiple of S, and then output row t + q with q = (r + P - i*D) / S. Every tap has one phase.
struct GradTap {
  std::int64_t phase, q;
};
GS_CONV_INLINE GradTap grad_tap(std::int64_t i, std::int64_t dilation, std::int64_t pad,
                                std::int64_t stride) {
  const std::int64_t d = i * dilation - pad, down = floor_div(d, stride);
  return {d - down * stride, -down};
}

GS_CONV_INLINE ConvSource input_grad_source(const ConvShape& s, std::int64_t row_begin,
                                            std::int64_t row_end) {
  const std::int64_t t_begin = row_begin / s.stride_h;
  const std::int64_t t_end = (row_end + s.stride_h - 1) / s.stride_h;
  // q falls with i.
  const std::int64_t h_max = grad_tap(0, s.dilation_h, s.pad_h, s.stride_h).q;
  const std::int64_t h_min = grad_tap(s.kh - 1, s.dilation_h, s.pad_h, s.stride_h).q;
  const std::int64_t w_max = grad_tap(0, s.dilation_w, s.pad_w, s.stride_w).q;
  const std::int64_t w_min = grad_tap(s.kw - 1, s.dilation_w, s.pad_w, s.stride_w).q;
  return {.first_h = t_begin + h_min,
          .first_w = w_min,
          .step_h = 1,
          .step_w = 1,
          .phases_h = 1,
          .phases_w = 1,
          .rows = t_end - t_begin + h_max - h_min,
          .cols = (s.w + s.stride_w - 1) / s.stride_w + w_max - w_min};
}

// visit(phase_h, phase_w, taps before it, taps in it) for the phases of the input gradient, in the
// order in which transposed weights hold them.
template <class Visit>
GS_CONV_INLINE void over_grad_phases(const ConvShape& s, Visit visit) {
  std::int64_t before = 0;
  for (std::int64_t rh = 0; rh < s.stride_h; ++rh)
    for (std::int64_t rw = 0; rw < s.stride_w; ++rw) {
      std::int64_t taps_h = 0, taps_w = 0;
      for (std::int64_t i = 0; i < s.kh; ++i)
        taps_h += grad_tap(i, s.dilation_h, s.pad_h, s.stride_h).phase == rh;
      for (std::int64_t j = 0; j < s.kw; ++j)
        taps_w += grad_tap(j, s.dilation_w, s.pad_w, s.stride_w).phase == rw;
      visit(rh, rw, before, taps_h * taps_w);
      before += taps_h * taps_w;
    }
}

// Weight gradient: elements that a channel of dy takes when its rows are spread to the pitch of the
// prepared image, with zeros between them and up to a multiple of any vector length.
GS_CONV_INLINE std::int64_t weight_run(const ConvShape& s, std::int64_t rows) {
  const std::int64_t pitch = forward_source(s, 0, rows).cols;
  const std::int64_t run = (rows - 1) * (pitch > s.w ? pitch : s.w) + s.out_w();
  return (run + 15) / 16 * 16;
}

}  // namespace gradsmith::kernels
