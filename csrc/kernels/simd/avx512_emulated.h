// AVX-512 through SIMDe, so that its kernels can be tested on a CPU without it, and the
// instructions that vec.h needs but SIMDe lacks (its aliases are macros: newer versions win).
#pragma once
#pragma GCC diagnostic ignored "-Wpsabi"  // every function of these vectors is inlined
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#if !defined(__AVX512F__)
using __mmask8 = simde__mmask8;
using __mmask16 = simde__mmask16;
#endif

namespace gs_emulated {
namespace {
template <class From, class To, class Out, class In>
inline __attribute__((always_inline)) Out convert(Out out, In in) {
  From x;
  for (unsigned i = 0; i < sizeof in / sizeof x; ++i) {
    __builtin_memcpy(&x, reinterpret_cast<const char*>(&in) + i * sizeof x, sizeof x);
    const To y = To(x);
    __builtin_memcpy(reinterpret_cast<char*>(&out) + i * sizeof y, &y, sizeof y);
  }
  return out;
}
template <class T, class V>
inline __attribute__((always_inline)) V masked_load(V fill, unsigned mask, const T* p) {
  for (unsigned i = 0; i < sizeof(V) / sizeof(T); ++i) {
    if (mask >> i & 1u) __builtin_memcpy(reinterpret_cast<T*>(&fill) + i, p + i, sizeof(T));
  }
  return fill;
}
template <class T, class V>
inline __attribute__((always_inline)) void masked_store(T* p, unsigned mask, V v) {
  for (unsigned i = 0; i < sizeof(V) / sizeof(T); ++i) {
    if (mask >> i & 1u) __builtin_memcpy(p + i, reinterpret_cast<const T*>(&v) + i, sizeof(T));
  }
}
}  // namespace
}  // namespace gs_emulated

#if !defined(_mm512_mask_loadu_ps)
#define _mm512_mask_loadu_ps(v, m, p) gs_emulated::masked_load<float>(v, m, p)
#endif
#if !defined(_mm512_mask_loadu_pd)
#define _mm512_mask_loadu_pd(v, m, p) gs_emulated::masked_load<double>(v, m, p)
#endif
#if !defined(_mm512_maskz_loadu_ps)
#define _mm512_maskz_loadu_ps(m, p) gs_emulated::masked_load<float>(_mm512_setzero_ps(), m, p)
#endif
#if !defined(_mm512_maskz_loadu_pd)
#define _mm512_maskz_loadu_pd(m, p) gs_emulated::masked_load<double>(_mm512_setzero_pd(), m, p)
#endif
#if !defined(_mm512_mask_storeu_ps)
#define _mm512_mask_storeu_ps(p, m, v) gs_emulated::masked_store<float>(p, m, v)
#endif
#if !defined(_mm512_mask_storeu_pd)
#define _mm512_mask_storeu_pd(p, m, v) gs_emulated::masked_store<double>(p, m, v)
#endif
#if !defined(_mm512_stream_ps)
#define _mm512_stream_ps(p, v) _mm512_storeu_ps(p, v)
#endif
#if !defined(_mm512_stream_pd)
#define _mm512_stream_pd(p, v) _mm512_storeu_pd(p, v)
#endif
#if !defined(_mm512_cvtps_pd)
#define _mm512_cvtps_pd(v) gs_emulated::convert<float, double>(_mm512_setzero_pd(), v)
#endif
#if !defined(_mm512_cvtpd_ps)
#define _mm512_cvtpd_ps(v) gs_emulated::convert<double, float>(_mm256_setzero_ps(), v)
#endif
#if !defined(_mm512_cvtepu16_epi32)
#define _mm512_cvtepu16_epi32(v) \
  gs_emulated::convert<unsigned short, unsigned>(_mm512_setzero_si512(), v)
#endif
#if !defined(_mm512_cvtepi32_epi16)
#define _mm512_cvtepi32_epi16(v) \
  gs_emulated::convert<unsigned, unsigned short>(_mm256_setzero_si256(), v)
#endif
#if !defined(_MM_FROUND_NO_EXC)
#define _MM_FROUND_NO_EXC SIMDE_MM_FROUND_NO_EXC
#endif
