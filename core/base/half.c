/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The scalar functions are the definition; the vector ones must equal them bit for bit (tests/unit), NaN payloads
 * aside: a NaN stays a quiet NaN of the same sign. */
#include "base/half.h"

#include <string.h>

#include "base/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static inline guint32
bits_of (float f)
{
  guint32 u;
  memcpy (&u, &f, sizeof u);
  return u;
}

static inline float
float_of (guint32 u)
{
  float f;
  memcpy (&f, &u, sizeof f);
  return f;
}

float
sumi_f16_to_f32 (guint16 h)
{
  guint32 sign = (guint32) (h & 0x8000) << 16;
  guint32 exponent = (h >> 10) & 0x1f;
  guint32 mantissa = h & 0x3ff;

  if (exponent == 31) /* infinity; NaN made quiet, as the processor does */
    return float_of (sign | 0x7f800000 | (mantissa ? 0x400000 | mantissa << 13 : 0));
  if (exponent == 0) /* zero or subnormal: mantissa * 2^-24, exact in f32 */
    return float_of (sign | bits_of ((float) mantissa * 0x1p-24f));
  return float_of (sign | (exponent + 112) << 23 | mantissa << 13);
}

guint16
sumi_f16_from_f32 (float f)
{
  guint32 u = bits_of (f);
  guint32 sign = (u >> 16) & 0x8000;
  u &= 0x7fffffff;

  if (u > 0x7f800000) /* NaN */
    return (guint16) (sign | 0x7e00 | (u >> 13 & 0x3ff));
  if (u >= 0x477ff000) /* rounds to 2^16 or more */
    return (guint16) (sign | 0x7c00);
  if (u < 0x38800000)
    {
      /* below 2^-14: adding 0.5 lets the FPU round the value to a multiple of 2^-24 (half even) in the low bits */
      return (guint16) (sign | (bits_of (float_of (u) + 0.5f) - 0x3f000000));
    }
  return (guint16) (sign | (u - 0x38000000 + 0xfff + (u >> 13 & 1)) >> 13);
}

float
sumi_bf16_to_f32 (guint16 h)
{
  return float_of ((guint32) h << 16);
}

guint16
sumi_bf16_from_f32 (float f)
{
  guint32 u = bits_of (f);
  if ((u & 0x7fffffff) > 0x7f800000)
    return (guint16) (u >> 16 | 0x40);
  return (guint16) ((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static inline guint16
load_u16 (const void *src, gsize i)
{
  guint16 h;
  memcpy (&h, (const char *) src + 2 * i, sizeof h);
  return h;
}

#if defined(__x86_64__)

__attribute__ ((target ("avx,f16c"))) static gsize
f16_to_f32_f16c (float *dst, const void *src, gsize n)
{
  gsize i = 0;
  for (; i + 8 <= n; i += 8)
    _mm256_storeu_ps (dst + i, _mm256_cvtph_ps (_mm_loadu_si128 ((const __m128i_u *) ((const char *) src + 2 * i))));
  return i;
}

__attribute__ ((target ("avx,f16c"))) static gsize
f16_from_f32_f16c (guint16 *dst, const float *src, gsize n)
{
  gsize i = 0;
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128 ((__m128i_u *) (dst + i), _mm256_cvtps_ph (_mm256_loadu_ps (src + i), _MM_FROUND_TO_NEAREST_INT));
  return i;
}

__attribute__ ((target ("avx2"))) static gsize
bf16_to_f32_avx2 (float *dst, const void *src, gsize n)
{
  gsize i = 0;
  for (; i + 8 <= n; i += 8)
    {
      __m128i h = _mm_loadu_si128 ((const __m128i_u *) ((const char *) src + 2 * i));
      _mm256_storeu_si256 ((__m256i_u *) (dst + i), _mm256_slli_epi32 (_mm256_cvtepu16_epi32 (h), 16));
    }
  return i;
}

/* Integer rounding rather than vcvtneps2bf16, which flushes subnormals. */
__attribute__ ((target ("avx2"))) static gsize
bf16_from_f32_avx2 (guint16 *dst, const float *src, gsize n)
{
  const __m256i magnitude = _mm256_set1_epi32 (0x7fffffff), infinity = _mm256_set1_epi32 (0x7f800000);
  const __m256i half = _mm256_set1_epi32 (0x7fff), one = _mm256_set1_epi32 (1), quiet = _mm256_set1_epi32 (0x40);
  gsize i = 0;
  for (; i + 8 <= n; i += 8)
    {
      __m256i u = _mm256_loadu_si256 ((const __m256i_u *) (src + i));
      __m256i high = _mm256_srli_epi32 (u, 16);
      __m256i rounded = _mm256_add_epi32 (_mm256_add_epi32 (u, half), _mm256_and_si256 (high, one));
      __m256i nan = _mm256_cmpgt_epi32 (_mm256_and_si256 (u, magnitude), infinity);
      __m256i r = _mm256_blendv_epi8 (_mm256_srli_epi32 (rounded, 16), _mm256_or_si256 (high, quiet), nan);
      __m256i packed = _mm256_permute4x64_epi64 (_mm256_packus_epi32 (r, r), 0x08);
      _mm_storeu_si128 ((__m128i_u *) (dst + i), _mm256_castsi256_si128 (packed));
    }
  return i;
}

#endif

void
sumi_f16_to_f32_array (float *dst, const void *src, gsize n)
{
  gsize i = 0;
#if defined(__x86_64__)
  if (sumi_cpu_features () & SUMI_CPU_F16C)
    i = f16_to_f32_f16c (dst, src, n);
#endif
  for (; i < n; i++)
    dst[i] = sumi_f16_to_f32 (load_u16 (src, i));
}

void
sumi_f16_from_f32_array (guint16 *dst, const float *src, gsize n)
{
  gsize i = 0;
#if defined(__x86_64__)
  if (sumi_cpu_features () & SUMI_CPU_F16C)
    i = f16_from_f32_f16c (dst, src, n);
#endif
  for (; i < n; i++)
    dst[i] = sumi_f16_from_f32 (src[i]);
}

void
sumi_bf16_to_f32_array (float *dst, const void *src, gsize n)
{
  gsize i = 0;
#if defined(__x86_64__)
  if (sumi_cpu_features () & SUMI_CPU_AVX2)
    i = bf16_to_f32_avx2 (dst, src, n);
#endif
  for (; i < n; i++)
    dst[i] = sumi_bf16_to_f32 (load_u16 (src, i));
}

void
sumi_bf16_from_f32_array (guint16 *dst, const float *src, gsize n)
{
  gsize i = 0;
#if defined(__x86_64__)
  if (sumi_cpu_features () & SUMI_CPU_AVX2)
    i = bf16_from_f32_avx2 (dst, src, n);
#endif
  for (; i < n; i++)
    dst[i] = sumi_bf16_from_f32 (src[i]);
}
