/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the machine can do at most, measured: multiply-adds that never leave the registers, and copying. */
#include "bench.h"

#include <string.h>

#include "base/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define CHAINS 16 /* independent multiply-adds: more than latency x units */
#define TRIES 5
#define SECONDS 0.15

typedef double (*Loop) (gint64 n); /* n rounds of CHAINS multiply-adds; a value that depends on all */

#if defined(__x86_64__)
__attribute__ ((target ("avx512f"))) static double
loop_avx512 (gint64 n)
{
  __m512 a[CHAINS], x = _mm512_set1_ps (0.999f), y = _mm512_set1_ps (0.001f);
  float out[16];
  double sum = 0;

  for (int i = 0; i < CHAINS; i++)
    a[i] = _mm512_set1_ps ((float)i);
  for (gint64 k = 0; k < n; k++)
    {
#pragma GCC unroll 16
      for (int i = 0; i < CHAINS; i++)
        a[i] = _mm512_fmadd_ps (a[i], x, y);
    }
  for (int i = 0; i < CHAINS; i++)
    {
      _mm512_storeu_ps (out, a[i]);
      sum += out[i];
    }
  return sum;
}

__attribute__ ((target ("avx2,fma"))) static double
loop_avx2 (gint64 n)
{
  __m256 a[CHAINS - 4], x = _mm256_set1_ps (0.999f), y = _mm256_set1_ps (0.001f);
  float out[8];
  double sum = 0;

  for (int i = 0; i < CHAINS - 4; i++)
    a[i] = _mm256_set1_ps ((float)i);
  for (gint64 k = 0; k < n; k++)
    {
#pragma GCC unroll 16
      for (int i = 0; i < CHAINS - 4; i++) /* 16 registers in all */
        a[i] = _mm256_fmadd_ps (a[i], x, y);
    }
  for (int i = 0; i < CHAINS - 4; i++)
    {
      _mm256_storeu_ps (out, a[i]);
      sum += out[i % 8];
    }
  return sum;
}

__attribute__ ((target ("avx512f,avx512bw,avx512vl,avx512bf16"))) static double
loop_bf16 (gint64 n)
{
  __m512 a[CHAINS];
  __m512bh x = _mm512_cvtne2ps_pbh (_mm512_set1_ps (0.5f), _mm512_set1_ps (-0.5f));
  float out[16];
  double sum = 0;

  for (int i = 0; i < CHAINS; i++)
    a[i] = _mm512_set1_ps ((float)i);
  for (gint64 k = 0; k < n; k++)
    {
#pragma GCC unroll 16
      for (int i = 0; i < CHAINS; i++)
        a[i] = _mm512_dpbf16_ps (a[i], x, x);
    }
  for (int i = 0; i < CHAINS; i++)
    {
      _mm512_storeu_ps (out, a[i]);
      sum += out[i];
    }
  return sum;
}
#else
typedef float Vector __attribute__ ((vector_size (16)));

static double
loop_vector (gint64 n)
{
  Vector a[CHAINS], x = { 0.999f, 0.999f, 0.999f, 0.999f }, y = { 0.001f, 0.001f, 0.001f, 0.001f };
  double sum = 0;

  for (int i = 0; i < CHAINS; i++)
    a[i] = y * (float)i;
  for (gint64 k = 0; k < n; k++)
    {
#pragma GCC unroll 16
      for (int i = 0; i < CHAINS; i++)
        a[i] = a[i] * x + y;
    }
  for (int i = 0; i < CHAINS; i++)
    sum += a[i][i % 4];
  return sum;
}
#endif

static double
seconds_since (gint64 start)
{
  return (double)(g_get_monotonic_time () - start) * 1e-6;
}

/* Rounds per second of all threads together, the best of some tries. */
static double
measure_loop (Loop loop, guint threads)
{
  static volatile double sink G_GNUC_UNUSED; /* so that no loop is left out */
  gint64 n = 1 << 16, start;
  double best = 0, sum = 0;

  do
    {
      n *= 2;
      start = g_get_monotonic_time ();
      sink = loop (n);
    }
  while (seconds_since (start) < SECONDS);
  for (guint i = 0; i < TRIES; i++)
    {
      start = g_get_monotonic_time ();
#pragma omp parallel num_threads(threads) reduction(+ : sum)
      sum += loop (n);
      best = MAX (best, (double)n * threads / seconds_since (start));
    }
  sink = sum;
  return best;
}

#define COPY_BYTES ((gsize)256 << 20)

static double
measure_copy (guint threads)
{
  guint8 *from = g_try_malloc (COPY_BYTES), *to = g_try_malloc (COPY_BYTES);
  double best = 0;

  if (from != NULL && to != NULL)
    {
      memset (from, 1, COPY_BYTES);
      memset (to, 2, COPY_BYTES);
      for (guint i = 0; i < TRIES; i++)
        {
          gint64 start = g_get_monotonic_time ();

#pragma omp parallel for num_threads(threads) schedule(static)
          for (gsize at = 0; at < COPY_BYTES; at += 1 << 20)
            memcpy (to + at, from + at, 1 << 20);
          best = MAX (best, 2.0 * COPY_BYTES / seconds_since (start));
        }
    }
  g_free (from);
  g_free (to);
  return best;
}

SumiBenchPeaks
sumi_bench_peaks (guint threads)
{
  SumiBenchPeaks peaks = { .bandwidth = measure_copy (threads) };
#if defined(__x86_64__)
  SumiCpuFeatures features = sumi_cpu_features ();

  if (features & SUMI_CPU_AVX512)
    peaks.f32 = measure_loop (loop_avx512, threads) * CHAINS * 16 * 2;
  else if (features & SUMI_CPU_AVX2)
    peaks.f32 = measure_loop (loop_avx2, threads) * (CHAINS - 4) * 8 * 2;
  if (features & SUMI_CPU_AVX512_BF16)
    peaks.bf16 = measure_loop (loop_bf16, threads) * CHAINS * 32 * 2;
#else
  peaks.f32 = measure_loop (loop_vector, threads) * CHAINS * 4 * 2;
#endif
  return peaks;
}
