/* SPDX-License-Identifier: GPL-3.0-or-later */
/* AdamW, EMA and sums over one tensor.
 *
 * Arrays are cut into chunks whose size depends on the length alone, so that the result is the same for every number
 * of threads; the compiler is forbidden to fuse multiply and add, so it is also the same for every instruction set. */
#include "train/optimizer.h"

#include <math.h>

#include "base/cpu.h"

#define CHUNK 16384

typedef struct
{
  float shrink, beta1, one_minus_beta1, beta2, one_minus_beta2, step_size, inv_sqrt_correction2, eps, grad_scale;
} AdamW;

static inline __attribute__ ((always_inline)) void
adamw_body (const AdamW *k, float *restrict p, const float *restrict g, float *restrict m, float *restrict v, gsize n)
{
  const AdamW c = *k;

#pragma omp simd
  for (gsize i = 0; i < n; i++)
    {
      float grad = g[i] * c.grad_scale;
      float mi = c.beta1 * m[i] + c.one_minus_beta1 * grad;
      float vi = c.beta2 * v[i] + c.one_minus_beta2 * (grad * grad);

      m[i] = mi;
      v[i] = vi;
      p[i] = p[i] * c.shrink - c.step_size * mi / (sqrtf (vi) * c.inv_sqrt_correction2 + c.eps);
    }
}

static inline __attribute__ ((always_inline)) void
ema_body (float decay, float one_minus_decay, float *restrict ema, const float *restrict p, gsize n)
{
#pragma omp simd
  for (gsize i = 0; i < n; i++)
    ema[i] = decay * ema[i] + one_minus_decay * p[i];
}

/* Sixteen running sums, added in a fixed order: what the widest vector does, spelled out for all. */
static inline __attribute__ ((always_inline)) double
squares_body (const float *x, gsize n)
{
  double lane[16] = { 0 }, sum = 0;
  gsize i = 0;

  for (; i + 16 <= n; i += 16)
    {
#pragma omp simd
      for (int j = 0; j < 16; j++)
        lane[j] += (double)x[i + j] * x[i + j];
    }
  for (; i < n; i++)
    sum += (double)x[i] * x[i];
  for (int j = 0; j < 16; j++)
    sum += lane[j];
  return sum;
}

typedef struct
{
  void (*adamw) (const AdamW *k, float *p, const float *g, float *m, float *v, gsize n);
  void (*ema) (float decay, float one_minus_decay, float *ema, const float *p, gsize n);
  double (*squares) (const float *x, gsize n);
} Kernels;

#define DEFINE_KERNELS(isa, attribute)                                                                                 \
  static attribute void adamw_##isa (const AdamW *k, float *p, const float *g, float *m, float *v, gsize n)            \
  {                                                                                                                    \
    adamw_body (k, p, g, m, v, n);                                                                                     \
  }                                                                                                                    \
  static attribute void ema_##isa (float decay, float rest, float *ema, const float *p, gsize n)                       \
  {                                                                                                                    \
    ema_body (decay, rest, ema, p, n);                                                                                 \
  }                                                                                                                    \
  static attribute double squares_##isa (const float *x, gsize n) { return squares_body (x, n); }                      \
  static const Kernels kernels_##isa = { adamw_##isa, ema_##isa, squares_##isa };

DEFINE_KERNELS (generic, )
#ifdef __x86_64__
DEFINE_KERNELS (avx2, __attribute__ ((target ("avx2"))))
DEFINE_KERNELS (avx512, __attribute__ ((target ("avx512f,prefer-vector-width=512"))))
#endif

static const Kernels *
kernels (void)
{
#ifdef __x86_64__
  SumiCpuFeatures features = sumi_cpu_features ();

  if (features & SUMI_CPU_AVX512)
    return &kernels_avx512;
  if (features & SUMI_CPU_AVX2)
    return &kernels_avx2;
#endif
  return &kernels_generic;
}

void
sumi_adamw_step (const SumiAdamWConfig *c, guint64 step, double grad_scale, float *p, const float *g, float *m,
                 float *v, gsize n)
{
  const Kernels *kernel = kernels ();
  const AdamW k = {
    .shrink = 1 - c->lr * c->weight_decay,
    .beta1 = c->beta1,
    .one_minus_beta1 = 1 - c->beta1,
    .beta2 = c->beta2,
    .one_minus_beta2 = 1 - c->beta2,
    .step_size = c->lr / (1 - pow (c->beta1, step)),
    .inv_sqrt_correction2 = 1 / sqrt (1 - pow (c->beta2, step)),
    .eps = c->eps,
    .grad_scale = grad_scale,
  };

#pragma omp parallel for schedule(static) if (n > CHUNK)
  for (gsize start = 0; start < n; start += CHUNK)
    kernel->adamw (&k, p + start, g + start, m + start, v + start, MIN (CHUNK, n - start));
}

void
sumi_ema_step (double decay, float *ema, const float *p, gsize n)
{
  const Kernels *kernel = kernels ();

#pragma omp parallel for schedule(static) if (n > CHUNK)
  for (gsize start = 0; start < n; start += CHUNK)
    kernel->ema (decay, 1 - decay, ema + start, p + start, MIN (CHUNK, n - start));
}

double
sumi_sum_of_squares (const float *x, gsize n)
{
  const Kernels *kernel = kernels ();
  double part[64] = { 0 }, sum = 0;
  gsize length = MAX (CHUNK, (n / 64 + 16) / 16 * 16); /* at most 64 chunks */

#pragma omp parallel for schedule(static) if (n > CHUNK)
  for (gsize start = 0; start < n; start += length)
    part[start / length] = kernel->squares (x + start, MIN (length, n - start));

  for (guint i = 0; i < 64; i++)
    sum += part[i];
  return sum;
}
