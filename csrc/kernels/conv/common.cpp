#include "kernels/conv/common.h"

#include "kernels/trace.h"
#include "runtime/parallel.h"

namespace gradsmith::kernels {
namespace {

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

bool is_linear(const ConvShape& s) {
  return s.groups == 1 && s.kh == s.h && s.kw == s.w && s.dilation_h == 1 && s.dilation_w == 1 &&
         s.pad_h == 0 && s.pad_w == 0 && s.pad_h_end == 0 && s.pad_w_end == 0 &&
         active_target() != Target::reference;
}

void conv_product(DType dtype, std::int64_t m, std::int64_t n, std::int64_t k, void* c,
                  const void* a, bool a_transposed, const void* b, bool b_transposed,
                  const ConvEpilogue& e) {
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

void conv_add_parts(DType dtype, void* sum, const void* parts, std::int64_t count,
                    std::int64_t size) {
  if (dtype == DType::f32) {
    add_parts(static_cast<float*>(sum), static_cast<const float*>(parts), count, size);
  } else {
    add_parts(static_cast<double*>(sum), static_cast<const double*>(parts), count, size);
  }
}

void trace_conv(const char* op, DType dtype, const ConvShape& s, ConvPath path) {
  Trace* const trace = Trace::current();
  if (!trace) return;
  TraceEntry e;
  e.op = op;
  const bool winograd = path == ConvPath::winograd;
  e.path = winograd                      ? "Winograd F(4x4, 3x3)"
           : path == ConvPath::packed    ? "product of packed weights and windows"
           : path == ConvPath::channels  ? "channels as lanes, tap by tap"
           : path == ConvPath::depthwise ? "depthwise, in place"
           : path == ConvPath::outer     ? "outer products of pixels"
                                         : "direct sum from padded images";
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

}  // namespace gradsmith::kernels
