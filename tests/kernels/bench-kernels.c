/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Times the kernels that training a small U-Net spends its time in: bench-kernels [generic|avx2|avx512] [NAME].
 * For people who change a kernel; the numbers mean something only beside each other, from one run, on an idle machine.
 */
#include <stdio.h>
#include <string.h>

#include "kernels-test.h"

typedef struct
{
  const SumiKernels *k;
  gsize size; /* of a value */
  Values *a, *b, *c, *out, *scratch, *f, *f2;
} Bench;

#define N 64

static void
show (const char *name, double seconds, double bytes, double flops)
{
  printf ("%-28s %9.1f us %8.2f GB/s", name, seconds * 1e6, bytes / seconds * 1e-9);
  if (flops > 0.)
    printf (" %8.2f GFLOP/s", flops / seconds * 1e-9);
  printf ("\n");
}

/* The best of several runs: others may be at work beside. */
#define TIME(NAME, VALUES, FLOPS, CALL)                                                                                \
  if (only == NULL || strstr (NAME, only) != NULL)                                                                     \
    {                                                                                                                  \
      double best = 1e9;                                                                                               \
      for (int run = 0; run < 25; run++)                                                                               \
        {                                                                                                              \
          const gint64 start = g_get_monotonic_time ();                                                                \
          CALL;                                                                                                        \
          best = MIN (best, (double)(g_get_monotonic_time () - start) * 1e-6);                                         \
        }                                                                                                              \
      show (NAME, best, (double)(VALUES) * (double)t->size, FLOPS);                                                    \
    }

static void
bench_picture (const Bench *t, const char *only, gint64 size, gint64 c)
{
  const SumiKernels *k = t->k;
  const gint64 s = size * size, n = N * s * c;
  const SumiGroupNormDims norm = { N, c, s, TRUE, 8, 1e-5f, SUMI_ACT_SILU };
  SumiGroupNormDims plain = norm;
  plain.act = SUMI_ACT_NONE;
  const SumiShape rows = SUMI_SHAPE (N, s, c);
  const gint64 dense[] = { s * c, c, 1 }, time[] = { c, 0, 1 }, bias[] = { 0, 0, 1 },
               joined[] = { 2 * s * c, 2 * c, 1 };
  const gint64 planes[] = { s * c, 1, s };

  printf ("---- %d pictures, %d x %d x %d\n", N, (int)size, (int)size, (int)c);
  TIME ("group_norm silu", 2 * n, 0.,
        k->group_norm (&norm, t->out->data, t->a->data, t->f->data, t->f2->data, t->scratch->data))
  TIME ("group_norm", 2 * n, 0.,
        k->group_norm (&plain, t->out->data, t->a->data, t->f->data, t->f2->data, t->scratch->data))
  TIME ("group_norm_bwd_x silu", 3 * n, 0.,
        k->group_norm_bwd_x (&norm, t->out->data, t->a->data, t->f->data, t->f2->data, t->b->data, t->scratch->data))
  TIME ("group_norm_bwd_w silu", 2 * n, 0.,
        k->group_norm_bwd_w (&norm, t->out->data, t->a->data, t->f->data, t->f2->data, t->b->data, t->scratch->data))
  TIME ("act silu", 2 * n, 0., k->act (n, t->out->data, t->a->data, SUMI_ACT_SILU))
  TIME ("act_bwd silu", 3 * n, 0., k->act_bwd (n, t->out->data, t->a->data, t->b->data, SUMI_ACT_SILU))
  TIME ("act gelu", 2 * n, 0., k->act (n, t->out->data, t->a->data, SUMI_ACT_GELU))
  TIME ("act_bwd gelu", 3 * n, 0., k->act_bwd (n, t->out->data, t->a->data, t->b->data, SUMI_ACT_GELU))
  TIME ("bias_act relu", 2 * n, 0., k->bias_act (N * s, c, t->out->data, t->a->data, t->f->data, SUMI_ACT_RELU))
  TIME ("add", 3 * n, 0., k->binary (SUMI_BINARY_ADD, &rows, t->out->data, dense, t->a->data, dense, t->b->data, dense))
  TIME ("add time", 2 * n, 0.,
        k->binary (SUMI_BINARY_ADD, &rows, t->out->data, dense, t->a->data, dense, t->b->data, time))
  TIME ("copy", 2 * n, 0., k->copy (&rows, t->out->data, dense, t->a->data, dense))
  TIME ("copy concat", 2 * n, 0., k->copy (&rows, t->out->data, joined, t->a->data, dense))
  TIME ("copy slice", 2 * n, 0., k->copy (&rows, t->out->data, dense, t->a->data, joined))
  TIME ("copy to planes", 2 * n, 0., k->copy (&rows, t->out->data, planes, t->a->data, dense))
  TIME ("copy from planes", 2 * n, 0., k->copy (&rows, t->out->data, dense, t->a->data, planes))
  TIME ("sum bias", n, 0., k->sum (&rows, t->out->data, bias, TRUE, t->a->data, dense, t->scratch->data))
  TIME ("sum time", n, 0., k->sum (&rows, t->out->data, time, FALSE, t->a->data, dense, t->scratch->data))
  const SumiPicture p = { N, size, size, c };
  TIME ("max_pool", 1.25 * n, 0., k->max_pool2d (&p, 2, 2, t->out->data, t->a->data))
  TIME ("max_pool_bwd", 2.25 * n, 0., k->max_pool2d_bwd (&p, 2, 2, t->out->data, t->a->data, t->b->data))
  const SumiPicture half = { N, size / 2, size / 2, c };
  TIME ("upsample", 1.25 * n, 0., k->upsample (&half, size, size, t->out->data, t->a->data))
  TIME ("upsample_bwd", 1.25 * n, 0., k->upsample_bwd (&half, size, size, t->out->data, t->a->data))
}

static void
bench_rows (const Bench *t, const char *only, gint64 rows, gint64 c)
{
  const SumiKernels *k = t->k;
  const gint64 n = rows * c;
  printf ("---- %d rows of %d\n", (int)rows, (int)c);
  TIME ("layer_norm", 2 * n, 0., k->layer_norm (rows, c, 1e-5f, t->out->data, t->a->data, t->f->data, t->f2->data))
  TIME ("layer_norm_bwd_x", 3 * n, 0.,
        k->layer_norm_bwd_x (rows, c, 1e-5f, t->out->data, t->a->data, t->f->data, t->b->data))
  TIME ("layer_norm_bwd_w", 2 * n, 0.,
        k->layer_norm_bwd_w (rows, c, 1e-5f, t->out->data, t->a->data, t->b->data, t->scratch->data))
  TIME ("softmax", 2 * n, 0., k->softmax (rows, c, t->out->data, t->a->data))
  TIME ("softmax_bwd", 3 * n, 0., k->softmax_bwd (rows, c, t->out->data, t->a->data, t->b->data))
}

static void
bench_sdpa (const Bench *t, const char *only, gint64 n, gint64 heads, gint64 sq, gint64 sk, gint64 d)
{
  const SumiSdpaDims dims = { n, heads, sq, sk, d, FALSE, 0.f };
  const double flops = 4. * (double)(n * heads * sq * sk * d);
  printf ("---- attention %d x %d heads, %d queries, %d keys, %d\n", (int)n, (int)heads, (int)sq, (int)sk, (int)d);
  TIME ("sdpa", 2 * n * heads * (sq + sk) * d, flops,
        t->k->sdpa (&dims, t->out->data, t->a->data, t->b->data, t->c->data, t->scratch->data))
  TIME ("sdpa_bwd", 4 * n * heads * (sq + sk) * d, 2.5 * flops,
        t->k->sdpa_bwd (&dims, t->out->data, t->a->data, t->b->data, t->c->data, t->c->data, t->scratch->data))
}

int
main (int argc, char **argv)
{
  const char *level = argc > 1 ? argv[1] : "avx512", *only = argc > 2 ? argv[2] : NULL;
  g_setenv ("SUMI_CPU", level, TRUE);
  const gint64 most = 64 * 32 * 32 * 256;
  g_test_init (&argc, &argv, NULL);
  for (int bf16 = 0; bf16 < 2; bf16++)
    {
      const SumiDType dtype = bf16 ? SUMI_BF16 : SUMI_F32;
      Bench t = { sumi_kernels_get (sumi_cpu_features (), dtype), bf16 ? 2 : 4 };
      t.a = values_random (dtype, most, 0., 1.);
      t.b = values_random (dtype, most, 0., 1.);
      t.c = values_random (dtype, most / 4, 0., 1.);
      t.out = values_random (dtype, 2 * most, 0., 1.);
      t.scratch = values_random (SUMI_F32, most, 0., 1.);
      t.f = values_random (SUMI_F32, 1280, 1., 0.5);
      t.f2 = values_random (SUMI_F32, 1280, 0., 0.5);
      printf ("==== %s, %s\n", level, bf16 ? "bf16" : "f32");
      bench_picture (&t, only, 32, 64);
      bench_picture (&t, only, 16, 128);
      bench_rows (&t, only, 4096, 256);
      bench_rows (&t, only, 16384, 64);
      bench_sdpa (&t, only, 64, 4, 64, 64, 32);
      bench_sdpa (&t, only, 64, 4, 16, 16, 64);
      bench_sdpa (&t, only, 32, 8, 256, 77, 40);
      bench_sdpa (&t, only, 1, 2, 4096, 4096, 40);
      bench_sdpa (&t, only, 1, 2, 1024, 1024, 80);
    }
  return 0;
}
