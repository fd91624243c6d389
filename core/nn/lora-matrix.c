/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The product of two small-ranked matrices, which is nearly all the time it takes to merge an adapter. */
#include "nn/lora-private.h"

#include <string.h>

#include "base/cpu.h"

#define ROWS 4 /* of a tile: its sums stay in registers */
#define COLUMNS 16
#define PANEL 512 /* columns of b that stay in the cache */
#define BLOCK 64  /* rows of a piece of work */

typedef float Vector __attribute__ ((vector_size (32), aligned (4), may_alias));

typedef struct
{
  gint64 m, n, k;
  float scale;
  const float *a, *b;
  float *c;
} Product;

static inline __attribute__ ((always_inline)) void
tile (const Product *p, gint64 row, gint64 column)
{
  Vector sum[ROWS][2] = { 0 };

  for (gint64 r = 0; r < p->k; r++)
    {
      const Vector *b = (const Vector *)(p->b + r * p->n + column);

      for (int i = 0; i < ROWS; i++)
        {
          float a = p->a[(row + i) * p->k + r];

          sum[i][0] += a * b[0];
          sum[i][1] += a * b[1];
        }
    }
  for (int i = 0; i < ROWS; i++)
    {
      Vector *c = (Vector *)(p->c + (row + i) * p->n + column);

      c[0] += p->scale * sum[i][0];
      c[1] += p->scale * sum[i][1];
    }
}

static inline __attribute__ ((always_inline)) void
edge (const Product *p, gint64 row, gint64 n_rows, gint64 column, gint64 n_columns)
{
  for (gint64 i = row; i < row + n_rows; i++)
    for (gint64 j = column; j < column + n_columns; j++)
      {
        float sum = 0;

        for (gint64 r = 0; r < p->k; r++)
          sum += p->a[i * p->k + r] * p->b[r * p->n + j];
        p->c[i * p->n + j] += p->scale * sum;
      }
}

static inline __attribute__ ((always_inline)) void
block (const Product *p, gint64 first, gint64 last)
{
  for (gint64 panel = 0; panel < p->n; panel += PANEL)
    for (gint64 row = first; row < last; row += ROWS)
      for (gint64 column = panel; column < MIN (panel + PANEL, p->n); column += COLUMNS)
        if (row + ROWS <= last && column + COLUMNS <= p->n)
          tile (p, row, column);
        else
          edge (p, row, MIN (ROWS, last - row), column, MIN (COLUMNS, p->n - column));
}

static void
block_plain (const Product *p, gint64 first, gint64 last)
{
  block (p, first, last);
}

#ifdef __x86_64__
/* The same sums of the same products (nothing is contracted): the same bits. */
static void __attribute__ ((target ("avx2"))) block_avx2 (const Product *p, gint64 first, gint64 last)
{
  block (p, first, last);
}
#endif

void
sumi_lora_product (gint64 m, gint64 n, gint64 k, double scale, const float *a, const float *b, float *c)
{
  const Product p = { m, n, k, (float)scale, a, b, c };
  void (*run) (const Product *, gint64, gint64) = block_plain;

#ifdef __x86_64__
  if (sumi_cpu_features () & SUMI_CPU_AVX2)
    run = block_avx2;
#endif
#pragma omp parallel for schedule(static) if (m * n * k > 1 << 16)
  for (gint64 first = 0; first < m; first += BLOCK)
    run (&p, first, MIN (first + BLOCK, m));
}

void
sumi_lora_transpose (gint64 m, gint64 n, const float *a, float *out)
{
  for (gint64 i = 0; i < m; i++)
    for (gint64 j = 0; j < n; j++)
      out[j * m + i] = a[i * n + j];
}

float *
sumi_lora_floats (gint64 n, GError **error)
{
  float *values = g_try_malloc_n ((gsize)MAX (n, 1), sizeof *values);

  if (values == NULL)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY, "no memory for %" G_GINT64_FORMAT " values of an adapter",
                 n);
  return values;
}

float *
sumi_lora_load (const SumiTensor *t, GError **error)
{
  float *values = sumi_lora_floats (sumi_tensor_get_numel (t), error);

  if (values != NULL)
    sumi_tensor_to_f32 (t, values);
  return values;
}
