/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Orthogonal fine-tuning: W' = R W with block-diagonal rotations, each from a skew-symmetric Q by the Cayley transform
 *   R = (I + Q) (I - Q)^-1
 * (Qiu et al. 2023, OFT; Liu et al. 2024, BOFT).  Files hold any square B; Q = B - B^T, and, with a bound, its norm
 * over all blocks is at most that.  As kohya and LyCORIS compute it, OFT multiplies W with R^T, BOFT with R. */
#include "nn/lora-private.h"

#include <math.h>
#include <string.h>

static double *
doubles (gint64 n, GError **error)
{
  double *d = g_try_malloc0_n ((gsize)n, sizeof *d);

  if (d == NULL)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY, "no memory for %" G_GINT64_FORMAT " values of an adapter",
                 n);
  return d;
}

/* x (b,b): from B to the solution of (I + sign Q) X = I - sign Q, which is R^T for sign 1 and R for sign -1.
 * Q is skew-symmetric, so I + Q has no eigenvalue 0. m: b b values of work space. */
static void
cayley (gint64 b, double scale, double sign, double *x, double *m)
{
  for (gint64 i = 0; i < b; i++)
    for (gint64 j = 0; j < b; j++)
      m[i * b + j] = sign * scale * (x[i * b + j] - x[j * b + i]);
  for (gint64 i = 0; i < b; i++)
    for (gint64 j = 0; j < b; j++)
      {
        x[i * b + j] = (i == j) - m[i * b + j];
        m[i * b + j] += i == j;
      }
  for (gint64 k = 0; k < b; k++) /* Gauss and Jordan, the largest of the column first */
    {
      gint64 pivot = k;

      for (gint64 i = k + 1; i < b; i++)
        if (fabs (m[i * b + k]) > fabs (m[pivot * b + k]))
          pivot = i;
      for (gint64 j = 0; j < b && pivot != k; j++)
        {
          double t = m[k * b + j], u = x[k * b + j];

          m[k * b + j] = m[pivot * b + j];
          m[pivot * b + j] = t;
          x[k * b + j] = x[pivot * b + j];
          x[pivot * b + j] = u;
        }
#pragma omp parallel for schedule(static) if (b >= 128)
      for (gint64 i = 0; i < b; i++)
        {
          double factor = i == k ? 0 : m[i * b + k] / m[k * b + k];

          if (factor == 0)
            continue;
          for (gint64 j = k; j < b; j++)
            m[i * b + j] -= factor * m[k * b + j];
          for (gint64 j = 0; j < b; j++)
            x[i * b + j] -= factor * x[k * b + j];
        }
    }
  for (gint64 i = 0; i < b; i++)
    for (gint64 j = 0; j < b; j++)
      x[i * b + j] /= m[i * b + i];
}

/* What Q is multiplied with to keep the bound. */
static double
bound_scale (const double *blocks, gint64 n, gint64 b, double bound)
{
  double squares = 0, norm;

  if (bound <= 0)
    return 1;
  for (gint64 k = 0; k < n; k++)
    for (gint64 i = 0; i < b; i++)
      for (gint64 j = 0; j < b; j++)
        {
          double q = blocks[(k * b + i) * b + j] - blocks[(k * b + j) * b + i];
          squares += q * q;
        }
  norm = sqrt (squares) + 1e-8;
  return norm > bound ? bound / norm : 1;
}

/* The matrices that W's blocks are multiplied with, less I: n blocks of (b,b) floats. */
static float *
read_blocks (const SumiLoraChange *c, gint64 n, gint64 b, GError **error)
{
  gboolean given = c->t[SUMI_LORA_OFT_DIAG] != NULL;
  g_autofree double *blocks = doubles (n * b * b, error), *work = blocks != NULL ? doubles (b * b, error) : NULL;
  float *out = work != NULL ? sumi_lora_floats (n * b * b, error) : NULL;
  double scale;

  if (out == NULL)
    return NULL;
  sumi_tensor_to_f64 (c->t[given ? SUMI_LORA_OFT_DIAG : SUMI_LORA_OFT_BLOCKS], blocks);
  scale = bound_scale (blocks, n, b, c->scale);
  for (gint64 k = 0; k < n; k++)
    {
      double *block = blocks + k * b * b;

      if (!given)
        cayley (b, scale, c->form == SUMI_LORA_FORM_BOFT ? -1 : 1, block, work);
      for (gint64 i = 0; i < b; i++)
        for (gint64 j = 0; j < b; j++)
          out[(k * b + i) * b + j] = (float)((given ? block[j * b + i] : block[i * b + j]) - (i == j));
    }
  return out;
}

/* OFT: rows k b … k b + b - 1 of W are block k. */
static void
rotate_rows (const SumiLoraChange *c, const float *blocks, gint64 b, const float *w, float *delta)
{
  for (gint64 k = 0; k < c->rows / b; k++)
    sumi_lora_product (b, c->columns, b, 1, blocks + k * b * b, w + k * b * c->columns, delta + k * b * c->columns);
}

/* BOFT's factor i puts together rows that are `apart` apart: row s of block k among all rows. */
static gint64
butterfly_row (gint64 k, gint64 s, gint64 b, gint64 apart)
{
  gint64 place = k * b + s; /* of (c, apart, 2) */
  gint64 pair = place / 2, half = place % 2;

  return pair / apart * 2 * apart + half * apart + pair % apart;
}

/* x += (R - I) x on the rows of each block, factor after factor; delta ends as x - W. */
static gboolean
rotate_butterfly (const SumiLoraChange *c, const float *blocks, const float *w, float *delta, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (c->t[SUMI_LORA_OFT_BLOCKS]);
  gint64 factors = s->d[0], n = s->d[1], b = s->d[2], wide = c->columns;
  g_autofree float *rows = sumi_lora_floats (b * wide, error),
                   *added = rows != NULL ? sumi_lora_floats (b * wide, error) : NULL;

  if (added == NULL)
    return FALSE;
  memcpy (delta, w, (gsize)(c->rows * wide) * sizeof *w);
  for (gint64 i = 0; i < factors; i++)
    for (gint64 k = 0; k < n; k++)
      {
        gint64 apart = (b / 2) << i;

        for (gint64 r = 0; r < b; r++)
          memcpy (rows + r * wide, delta + butterfly_row (k, r, b, apart) * wide, (gsize)wide * sizeof *rows);
        memset (added, 0, (gsize)(b * wide) * sizeof *added);
        sumi_lora_product (b, wide, b, 1, blocks + (i * n + k) * b * b, rows, added);
        for (gint64 r = 0; r < b; r++)
          for (gint64 j = 0; j < wide; j++)
            delta[butterfly_row (k, r, b, apart) * wide + j] += added[r * wide + j];
      }
  for (gint64 i = 0; i < c->rows * wide; i++)
    delta[i] -= w[i];
  return TRUE;
}

/* OFTv2 (Qiu et al. 2025) as PEFT and OneTrainer train it: the upper triangles of Q, and the Cayley transform by the
 * first terms of its series, I + 2 Q + 2 Q^2 + 2 Q^3 + Q^4.  out (b,b) = that, less I. */
static gboolean
input_block (gint64 b, const float *triangle, double scale, float *out, GError **error)
{
  g_autofree float *q = sumi_lora_floats (b * b, error), *power = q != NULL ? sumi_lora_floats (b * b, error) : NULL;
  g_autofree float *next = power != NULL ? sumi_lora_floats (b * b, error) : NULL;
  gsize size = (gsize)(b * b) * sizeof *q;

  if (next == NULL)
    return FALSE;
  for (gint64 i = 0; i < b; i++)
    {
      q[i * b + i] = 0;
      for (gint64 j = i + 1; j < b; j++)
        {
          q[i * b + j] = (float)(scale * *triangle++);
          q[j * b + i] = -q[i * b + j];
        }
    }
  memcpy (power, q, size);
  memset (out, 0, size);
  for (int term = 1; term <= 4; term++)
    {
      for (gint64 i = 0; i < b * b; i++)
        out[i] += (term < 4 ? 2 : 1) * power[i];
      memset (next, 0, size);
      sumi_lora_product (b, b, b, 1, power, q, next);
      memcpy (power, next, size);
    }
  return TRUE;
}

/* Columns k b … k b + b - 1 of W are block k. */
static gboolean
rotate_inputs (const SumiLoraChange *c, const float *w, float *delta, GError **error)
{
  gint64 b = c->rank, n = c->columns / b, shared = sumi_tensor_get_shape (c->t[SUMI_LORA_OFT_R])->d[0] == 1;
  double scale = c->t[SUMI_LORA_OFT_SCALED] != NULL ? 0.5 / sqrt ((double)b - 1) : 1;
  g_autofree float *triangles = sumi_lora_load (c->t[SUMI_LORA_OFT_R], error);
  g_autofree float *block = triangles != NULL ? sumi_lora_floats (b * b, error) : NULL;
  g_autofree float *from = block != NULL ? sumi_lora_floats (c->rows * b, error) : NULL;
  g_autofree float *to = from != NULL ? sumi_lora_floats (c->rows * b, error) : NULL;

  for (gint64 k = 0; to != NULL && k < n; k++)
    {
      if ((k == 0 || !shared) && !input_block (b, triangles + (shared ? 0 : k * b * (b - 1) / 2), scale, block, error))
        return FALSE;
      for (gint64 i = 0; i < c->rows; i++)
        memcpy (from + i * b, w + i * c->columns + k * b, (gsize)b * sizeof *from);
      memset (to, 0, (gsize)(c->rows * b) * sizeof *to);
      sumi_lora_product (c->rows, b, b, 1, from, block, to);
      for (gint64 i = 0; i < c->rows; i++)
        memcpy (delta + i * c->columns + k * b, to + i * b, (gsize)b * sizeof *to);
    }
  return to != NULL;
}

gboolean
sumi_lora_rotation_delta (const SumiLoraChange *c, const float *w, float *delta, GError **error)
{
  g_autofree float *blocks = NULL;
  const SumiShape *s;
  gint64 n = 1;

  if (c->form == SUMI_LORA_FORM_OFT_INPUT)
    return rotate_inputs (c, w, delta, error);
  s = sumi_tensor_get_shape (c->t[c->t[SUMI_LORA_OFT_DIAG] != NULL ? SUMI_LORA_OFT_DIAG : SUMI_LORA_OFT_BLOCKS]);
  for (guint i = 0; i + 2 < s->rank; i++)
    n *= s->d[i];
  blocks = read_blocks (c, n, s->d[s->rank - 1], error);
  if (blocks == NULL)
    return FALSE;
  if (c->form == SUMI_LORA_FORM_BOFT)
    {
      if (!rotate_butterfly (c, blocks, w, delta, error))
        return FALSE;
    }
  else
    rotate_rows (c, blocks, s->d[s->rank - 1], w, delta);
  if (c->t[SUMI_LORA_RESCALE] != NULL)
    {
      g_autofree float *rescale = sumi_lora_load (c->t[SUMI_LORA_RESCALE], error);

      for (gint64 i = 0; rescale != NULL && i < c->rows * c->columns; i++)
        delta[i] = rescale[i / c->columns] * (w[i] + delta[i]) - w[i];
      return rescale != NULL;
    }
  return TRUE;
}
