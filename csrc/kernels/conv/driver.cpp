// Convolution drivers: cut the work into parts that keep a core's L2 cache busy, and into enough
// of them for all threads. How y and dx are cut never changes a bit of them; dw is cut over images
// by the shape alone and its parts are added in order.
#include <algorithm>

#include "base/math.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/layout.h"
#include "kernels/trace.h"
#include "runtime/parallel.h"
#include "runtime/workspace.h"

namespace gradsmith::kernels {
namespace {

constexpr std::int64_t kSourceElements = 1 << 16;  // prepared images of a part: 256 KB of float32
constexpr std::int64_t kGrainProducts = 1 << 18;   // fewest multiply-adds worth a thread
constexpr std::int64_t kWeightChunkPixels =
    1536;  // pixels between two sums over lanes, of one image
constexpr std::int64_t kWeightImagePixels = 640;    // and of several: their prepared rows are short
constexpr std::int64_t kWeightParts = 16;           // weight gradient parts to aim at
constexpr std::int64_t kWeightPartPixels = 2048;    // fewest pixels of a part
constexpr std::int64_t kPartialElements = 1 << 22;  // most memory for parts of dw

// A window as large as the image: one output pixel, a matrix product of images and weights.
bool is_linear(const ConvShape& s) {
  return s.groups == 1 && s.kh == s.h && s.kw == s.w && s.dilation_h == 1 && s.dilation_w == 1 &&
         s.pad_h == 0 && s.pad_w == 0 && s.pad_h_end == 0 && s.pad_w_end == 0 &&
         active_target() != Target::reference;
}

// C = A B with both operands stored by rows, or by columns where `transposed`.
void product(DType dtype, std::int64_t m, std::int64_t n, std::int64_t k, void* c, const void* a,
             bool a_transposed, const void* b, bool b_transposed, const ConvEpilogue& e) {
  gemm(dtype, {.m = m,
               .n = n,
               .k = k,
               .a = {.data = a, .rs = a_transposed ? 1 : k, .cs = a_transposed ? m : 1},
               .b = {.data = b, .rs = b_transposed ? 1 : n, .cs = b_transposed ? k : 1},
               .c = {.data = c, .rs = n, .cs = 1},
               .epilogue = {.bias = {.data = e.bias, .rs = 0, .cs = 1},
                            .residual = {},
                            .activation = e.activation,
                            .slope = e.slope}});
}

// What is about to run, in words.
void trace_conv(const char* op, DType dtype, const ConvShape& s, bool winograd) {
  Trace* const trace = Trace::current();
  if (!trace) return;
  TraceEntry e;
  e.op = op;
  e.path = winograd ? "Winograd F(4x4, 3x3)" : "direct sum from padded images";
  e.target = active_target();
  e.threads = get_num_threads();
  const double outputs = double(s.n * s.o * s.out_h() * s.out_w());
  const double weights = double(s.o * s.group_c() * s.kh * s.kw);
  e.flops = 2 * outputs * double(s.group_c() * s.kh * s.kw);
  e.bytes = double(itemsize(dtype)) * (outputs + weights + double(s.n * s.c * s.h * s.w));
  e.sizes = {{"n", s.n},
             {"c", s.c},
             {"h", s.h},
             {"w", s.w},
             {"o", s.o},
             {"kh", s.kh},
             {"kw", s.kw},
             {"stride_h", s.stride_h},
             {"stride_w", s.stride_w},
             {"groups", s.groups}};
  const auto because = [&](const char* text) { e.reasons.emplace_back(text); };
  if (winograd) {
    because("36 products for 16 outputs instead of 144 are expected to be faster");
  } else if (!winograd_enabled()) {
    because("not Winograd: it is switched off (set_winograd, GRADSMITH_WINOGRAD)");
  } else if (dtype != DType::f32) {
    because("not Winograd: only float32 takes it");
  } else if (s.kh != 3 || s.kw != 3 || s.stride_h != 1 || s.stride_w != 1 || s.dilation_h != 1 ||
             s.dilation_w != 1 || s.groups != 1) {
    because("not Winograd: it is for one group of 3x3 kernels with stride and dilation 1");
  } else {
    because("not Winograd: its transforms would cost more than they save here");
  }
  trace->entries.push_back(std::move(e));
}

// The cut of a forward or input gradient pass: images x bands of rows x groups x channel ranges.
struct Cut {
  std::int64_t images, rows, channels;       // of one part
  std::int64_t image_parts, bands, m_parts;  // counts
  std::int64_t source;                       // elements of prepared images in a part
};

// `plan(rows)` gives the layout of a band that many rows high.
template <class Plan>
Cut choose_cut(const ConvShape& s, std::int64_t height, std::int64_t row_unit,
               std::int64_t source_channels, std::int64_t m, Plan plan) {
  const auto elements = [&](std::int64_t rows) { return source_channels * plan(rows).channel(); };
  Cut cut{};
  cut.rows = height;
  while (cut.rows > 8 * row_unit && elements(cut.rows) > 4 * kSourceElements)
    cut.rows = ceil_div(ceil_div(cut.rows, 2), row_unit) * row_unit;
  cut.bands = ceil_div(height, cut.rows);
  cut.images = 1;
  if (cut.bands == 1) {
    const std::int64_t fit =
        std::max<std::int64_t>(1, kSourceElements / std::max<std::int64_t>(1, elements(height)));
    cut.images = std::min({fit, std::max<std::int64_t>(1, s.n * s.groups / 16), s.n});
  }
  cut.image_parts = ceil_div(s.n, cut.images);
  cut.channels = m;
  cut.m_parts = 1;
  const std::int64_t threads = get_num_threads(), wanted = threads > 1 ? 2 * threads : 1;
  const std::int64_t parts = cut.image_parts * cut.bands * s.groups;
  if (parts < wanted && m > 1) {
    // Every range prepares the images again, so ranges stay wide.
    cut.channels =
        std::max<std::int64_t>(std::min<std::int64_t>(m, 24), ceil_div(m * parts, wanted));
    cut.channels = std::min(m, ceil_div(cut.channels, 24) * 24);
    cut.m_parts = ceil_div(m, cut.channels);
  }
  cut.source = cut.images * elements(cut.rows) + kConvSlack;
  return cut;
}

template <class Kernel>
void run_parts(DType dtype, const Cut& cut, const ConvPart& whole, std::int64_t height,
               std::int64_t m, std::int64_t sums, Kernel kernel) {
  const ConvShape& s = whole.shape;
  const std::int64_t parts = cut.image_parts * cut.bands * s.groups * cut.m_parts;
  const std::int64_t products =
      cut.images * s.out_w() * std::min(cut.rows, s.out_h()) * cut.channels * sums + 1;
  parallel_for(parts, kGrainProducts / products + 1, [&](std::int64_t begin, std::int64_t end) {
    Workspace workspace;
    const std::int64_t size = std::int64_t(itemsize(dtype));
    ConvPart part = whole;
    part.source = workspace.get<char>(cut.source * size);
    part.offset = workspace.get<std::int64_t>(sums);
    part.partial = workspace.get<char>(kConvPartial * size);
    for (std::int64_t i = begin; i < end; ++i) {
      std::int64_t rest = i;
      const std::int64_t m_part = rest % cut.m_parts;
      rest /= cut.m_parts;
      part.group = rest % s.groups;
      rest /= s.groups;
      const std::int64_t band = rest % cut.bands;
      part.image_begin = rest / cut.bands * cut.images;
      part.image_end = std::min(s.n, part.image_begin + cut.images);
      part.m_begin = m_part * cut.channels;
      part.m_end = std::min(m, part.m_begin + cut.channels);
      part.row_begin = band * cut.rows;
      part.row_end = std::min(height, part.row_begin + cut.rows);
      kernel(part);
    }
  });
}

// transposed[g][c][phase of the stride][o, i, j of that phase], see over_grad_phases.
template <class T>
void transpose_weights(const ConvShape& s, T* transposed, const T* w) {
  constexpr std::int64_t kBlock = 16;  // input channels at a time: whole cache lines of w
  const std::int64_t cg = s.group_c(), og = s.group_o(), taps = s.kh * s.kw;
  Workspace workspace;
  std::int64_t* order = workspace.get<std::int64_t>(taps);  // taps in the order of the phases
  std::int64_t* phase_begin = workspace.get<std::int64_t>(s.stride_h * s.stride_w + 1);
  std::int64_t phases = 0;
  over_grad_phases(s, [&](std::int64_t rh, std::int64_t rw, std::int64_t before, std::int64_t) {
    std::int64_t* tap = order + before;
    phase_begin[phases++] = before;
    for (std::int64_t i = 0; i < s.kh; ++i)
      for (std::int64_t j = 0; j < s.kw; ++j)
        if (grad_tap(i, s.dilation_h, s.pad_h, s.stride_h).phase == rh &&
            grad_tap(j, s.dilation_w, s.pad_w, s.stride_w).phase == rw)
          *tap++ = i * s.kw + j;
  });
  phase_begin[phases] = taps;
  const std::int64_t blocks = ceil_div(cg, kBlock);
  const std::int64_t grain = (1 << 15) / (kBlock * og * taps + 1) + 1;
  parallel_for(s.groups * blocks, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t g = block / blocks, m_begin = block % blocks * kBlock;
      const std::int64_t m_end = std::min(cg, m_begin + kBlock);
      for (std::int64_t p = 0; p < phases; ++p) {
        const std::int64_t first = phase_begin[p], last = phase_begin[p + 1];
        for (std::int64_t o = 0; o < og; ++o)
          for (std::int64_t m = m_begin; m < m_end; ++m) {
            const T* from = w + ((g * og + o) * cg + m) * taps;
            T* to = transposed + (g * cg + m) * og * taps + og * first + o * (last - first);
            for (std::int64_t t = first; t < last; ++t) *to++ = from[order[t]];
          }
      }
    }
  });
}

template <class T>
void add_parts(T* sum, const T* parts, std::int64_t count, std::int64_t size) {
  parallel_for(size, 1 << 15, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      T total = parts[i];
      for (std::int64_t p = 1; p < count; ++p) total += parts[p * size + i];
      sum[i] = total;
    }
  });
}

}  // namespace

void conv2d_forward(DType dtype, const ConvShape& s, void* y, const void* x, const void* w,
                    const ConvEpilogue& epilogue) {
  const std::int64_t height = s.out_h();
  if (s.n == 0 || s.o == 0 || height == 0 || s.out_w() == 0) return;
  const std::int64_t image = s.c * s.h * s.w;
  if (is_linear(s)) return product(dtype, s.n, s.o, image, y, x, false, w, true, epilogue);
  const WinogradConv fast = winograd_forward(s);
  const bool winograd = winograd_pays(dtype, s, fast);
  trace_conv("conv2d", dtype, s, winograd);
  const TraceInside inside;
  if (winograd) return winograd_conv(fast, y, x, w, epilogue);
  const Cut cut = choose_cut(s, height, 1, s.group_c(), s.group_o(),
                             [&](std::int64_t rows) { return forward_source(s, 0, rows); });
  ConvPart whole{};
  whole.shape = s;
  whole.out = y;
  whole.in = x;
  whole.weight = w;
  whole.epilogue = epilogue;
  run_parts(dtype, cut, whole, height, s.group_o(), s.group_c() * s.kh * s.kw,
            conv_forward.pick(dtype));
}

void conv2d_input_grad(DType dtype, const ConvShape& s, void* dx, const void* dy, const void* w,
                       const ConvEpilogue& epilogue) {
  if (s.n == 0 || s.c == 0 || s.h == 0 || s.w == 0) return;
  // The epilogue of dx has a value a channel, which a product's columns cannot take.
  if (is_linear(s) && !epilogue.bias) {
    return product(dtype, s.n, s.c * s.h * s.w, s.o, dx, dy, false, w, false, epilogue);
  }
  const WinogradConv fast = winograd_adjoint(s);
  const bool winograd = winograd_pays(dtype, s, fast);
  trace_conv("conv2d_input_grad", dtype, s, winograd);
  const TraceInside inside;
  if (winograd) return winograd_conv(fast, dx, dy, w, epilogue);
  const Cut cut = choose_cut(s, s.h, s.stride_h, s.group_o(), s.group_c(),
                             [&](std::int64_t rows) { return input_grad_source(s, 0, rows); });
  Workspace workspace;
  void* transposed =
      workspace.get<char>(s.o * s.group_c() * s.kh * s.kw * std::int64_t(itemsize(dtype)));
  if (dtype == DType::f32) {
    transpose_weights(s, static_cast<float*>(transposed), static_cast<const float*>(w));
  } else {
    transpose_weights(s, static_cast<double*>(transposed), static_cast<const double*>(w));
  }
  ConvPart whole{};
  whole.shape = s;
  whole.out = dx;
  whole.in = dy;
  whole.weight = w;
  whole.transposed = transposed;
  whole.epilogue = epilogue;
  run_parts(dtype, cut, whole, s.h, s.group_c(), s.group_o() * s.kh * s.kw,
            conv_input_grad.pick(dtype));
}

void conv2d_weight_grad(DType dtype, const ConvShape& s, void* dw, const void* dy, const void* x) {
  const std::int64_t cg = s.group_c(), og = s.group_o(), taps = s.kh * s.kw;
  const std::int64_t size = s.o * cg * taps, out_h = s.out_h(), out_w = s.out_w();
  if (size == 0) return;
  if (is_linear(s)) return product(dtype, s.o, cg * taps, s.n, dw, dy, true, x, false, {});
  const bool winograd = winograd_weight_grad_pays(dtype, s);
  trace_conv("conv2d_weight_grad", dtype, s, winograd);
  const TraceInside inside;
  if (winograd) return winograd_conv_weight_grad(s, dw, dy, x);
  // Input channels of a part: few enough for L2, many enough to repay a copy of dy.
  const std::int64_t channels =
      std::clamp<std::int64_t>(cg / 16, std::min<std::int64_t>(cg, 8), 32);
  const std::int64_t c_parts = ceil_div(cg, channels);

  // Over images: by the shape only.
  std::int64_t image_parts = std::min(s.n, ceil_div(kWeightParts, c_parts * s.groups));
  image_parts = std::max<std::int64_t>(
      1, std::min({image_parts, kPartialElements / size, s.n * out_h * out_w / kWeightPartPixels}));
  const std::int64_t images = std::max<std::int64_t>(1, ceil_div(s.n, image_parts));
  image_parts = std::max<std::int64_t>(1, ceil_div(s.n, images));
  // Over output channels: as the threads need it.
  const std::int64_t threads = get_num_threads(), tasks = c_parts * s.groups * image_parts;
  const std::int64_t m_wanted = tasks < threads ? ceil_div(threads, tasks) : 1;
  const std::int64_t m_range = ceil_div(ceil_div(og, m_wanted), 12) * 12,
                     m_parts = ceil_div(og, m_range);

  const std::int64_t rows_per_chunk = std::max<std::int64_t>(
      1, std::min(out_h, kWeightChunkPixels / std::max<std::int64_t>(1, out_w)));
  const std::int64_t images_per_chunk =
      rows_per_chunk < out_h
          ? 1
          : std::clamp<std::int64_t>(kWeightImagePixels / std::max<std::int64_t>(1, out_h * out_w),
                                     1, images);
  const std::int64_t rows_of_dy =
      images_per_chunk * m_range * weight_run(s, rows_per_chunk) + kConvSlack;
  const std::int64_t source =
      images_per_chunk * channels * forward_source(s, 0, rows_per_chunk).channel() + kConvSlack;

  Workspace shared;
  const std::int64_t bytes = std::int64_t(itemsize(dtype));
  char* parts =
      image_parts == 1 ? static_cast<char*>(dw) : shared.get<char>(image_parts * size * bytes);
  const auto kernel = conv_weight_grad.pick(dtype);
  const std::int64_t products =
      images * out_h * out_w * channels * taps * std::min(og, m_range) + 1;
  parallel_for(tasks * m_parts, kGrainProducts / products + 1,
               [&](std::int64_t begin, std::int64_t end) {
                 Workspace workspace;
                 ConvWeightPart part{};
                 part.shape = s;
                 part.dy = dy;
                 part.x = x;
                 part.images_per_chunk = images_per_chunk;
                 part.rows_per_chunk = rows_per_chunk;
                 part.source = workspace.get<char>(source * bytes);
                 part.offset = workspace.get<std::int64_t>(channels * taps);
                 part.dy_source = workspace.get<char>(rows_of_dy * bytes);
                 for (std::int64_t i = begin; i < end; ++i) {
                   std::int64_t rest = i;
                   part.m_begin = rest % m_parts * m_range;
                   part.m_end = std::min(og, part.m_begin + m_range);
                   rest /= m_parts;
                   part.c_begin = rest % c_parts * channels;
                   part.c_end = std::min(cg, part.c_begin + channels);
                   rest /= c_parts;
                   part.group = rest % s.groups;
                   rest /= s.groups;
                   part.image_begin = std::min(s.n, rest * images);
                   part.image_end = std::min(s.n, part.image_begin + images);
                   part.dw = parts + rest * size * bytes;
                   kernel(part);
                 }
               });
  if (image_parts == 1) return;
  if (dtype == DType::f32) {
    add_parts(static_cast<float*>(dw), reinterpret_cast<const float*>(parts), image_parts, size);
  } else {
    add_parts(static_cast<double*>(dw), reinterpret_cast<const double*>(parts), image_parts, size);
  }
}

void conv2d_bias_grad(DType dtype, const ConvShape& s, void* db, const void* dy) {
  const std::int64_t pixels = s.out_h() * s.out_w();
  const auto kernel = conv_bias_grad.pick(dtype);
  parallel_for(s.o, (1 << 16) / (s.n * pixels + 1) + 1, [&](std::int64_t begin, std::int64_t end) {
    kernel(
        {.n = s.n, .o = s.o, .pixels = pixels, .o_begin = begin, .o_end = end, .db = db, .dy = dy});
  });
}

}  // namespace gradsmith::kernels
