/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What each form adds to a weight W (O,I,k,l), here a matrix (O, I k l):
 *   LoRA   scale up down; with a core, down becomes mid x_2 down      (Hu et al. 2021; LoCon)
 *   LoHa   scale (a1 b1) o (a2 b2)                                    (Hyeon-Woo et al. 2022; LyCORIS)
 *   LoKr   scale w1 (x) w2                                            (Yeh et al. 2023, LyCORIS)
 *   GLoRA  scale (W a1 a2 + b1 b2)                                    (Chavan et al. 2023)
 *   IA3    W times a factor a row or a column                         (Liu et al. 2022)
 *   DoRA   m V / |V| - W with V = W + what the form adds, the norm of rows or of columns   (Liu et al. 2024)
 * Shapes have been checked. */
#include "nn/lora-private.h"

#include <float.h>
#include <math.h>
#include <string.h>

static gint64
numel (const SumiLoraChange *c)
{
  return c->rows * c->columns;
}

static gint64
axis (const SumiLoraChange *c, SumiLoraRole role, guint i)
{
  return sumi_tensor_get_shape (c->t[role])->d[i];
}

static float *
zeros (gint64 n, GError **error)
{
  float *f = sumi_lora_floats (n, error);

  if (f != NULL)
    memset (f, 0, (gsize)n * sizeof *f);
  return f;
}

static float *
load_transposed (const SumiTensor *t, gint64 m, gint64 n, GError **error)
{
  g_autofree float *values = sumi_lora_load (t, error);
  float *turned = values != NULL ? sumi_lora_floats (m * n, error) : NULL;

  if (turned != NULL)
    sumi_lora_transpose (m, n, values, turned);
  return turned;
}

/* core (m,n,kernel) and ins (n,inputs): (m, inputs kernel), each sum over n. */
static float *
expand_core (const SumiTensor *core, const SumiTensor *ins, gint64 inputs, gint64 kernel, GError **error)
{
  gint64 m = sumi_tensor_get_shape (core)->d[0], n = sumi_tensor_get_shape (core)->d[1];
  g_autofree float *k = sumi_lora_load (core, error);
  g_autofree float *turned = k != NULL ? load_transposed (ins, n, inputs, error) : NULL;
  float *out = turned != NULL ? zeros (m * inputs * kernel, error) : NULL;

  for (gint64 i = 0; out != NULL && i < m; i++)
    sumi_lora_product (inputs, kernel, n, 1, turned, k + i * n * kernel, out + i * inputs * kernel);
  return out;
}

/* out (rows,columns) += scale outs ins, or with a core; by_rank: outs is (m,rows), not (rows,m). */
static gboolean
add_product (const SumiTensor *outs, gboolean by_rank, const SumiTensor *core, const SumiTensor *ins, gint64 rows,
             gint64 columns, gint64 kernel, double scale, float *out, GError **error)
{
  gint64 m = sumi_tensor_get_numel (outs) / rows;
  g_autofree float *a = by_rank ? load_transposed (outs, m, rows, error) : sumi_lora_load (outs, error);
  g_autofree float *b = NULL;

  if (a == NULL)
    return FALSE;
  b = core != NULL ? expand_core (core, ins, columns / kernel, kernel, error) : sumi_lora_load (ins, error);
  if (b == NULL)
    return FALSE;
  sumi_lora_product (rows, columns, m, scale, a, b, out);
  return TRUE;
}

static gboolean
add_lora (const SumiLoraChange *c, double strength, float *sum, GError **error)
{
  return add_product (c->t[SUMI_LORA_UP], FALSE, c->t[SUMI_LORA_MID], c->t[SUMI_LORA_DOWN], c->rows, c->columns,
                      c->kernel, strength * c->scale, sum, error);
}

static gboolean
add_loha (const SumiLoraChange *c, double strength, float *sum, GError **error)
{
  g_autofree float *first = zeros (numel (c), error);
  g_autofree float *second = first != NULL ? zeros (numel (c), error) : NULL;
  const SumiTensor *t1 = c->t[SUMI_LORA_HADA_T1], *t2 = c->t[SUMI_LORA_HADA_T2];
  float scale = (float)(strength * c->scale);

  if (second == NULL
      || !add_product (c->t[SUMI_LORA_HADA_W1_A], t1 != NULL, t1, c->t[SUMI_LORA_HADA_W1_B], c->rows, c->columns,
                       c->kernel, 1, first, error)
      || !add_product (c->t[SUMI_LORA_HADA_W2_A], t2 != NULL, t2, c->t[SUMI_LORA_HADA_W2_B], c->rows, c->columns,
                       c->kernel, 1, second, error))
    return FALSE;
  for (gint64 i = 0; i < numel (c); i++)
    sum[i] += scale * (first[i] * second[i]);
  return TRUE;
}

/* A factor of LoKr: whole, or a product. */
static float *
lokr_factor (const SumiTensor *whole, const SumiTensor *a, const SumiTensor *b, const SumiTensor *core, gint64 rows,
             gint64 columns, gint64 kernel, GError **error)
{
  float *f;

  if (whole != NULL)
    return sumi_lora_load (whole, error);
  f = zeros (rows * columns, error);
  if (f == NULL || add_product (a, core != NULL, core, b, rows, columns, kernel, 1, f, error))
    return f;
  g_free (f);
  return NULL;
}

static gboolean
add_lokr (const SumiLoraChange *c, double strength, float *sum, GError **error)
{
  const SumiTensor *whole = c->t[SUMI_LORA_LOKR_W1];
  gint64 o = whole != NULL ? axis (c, SUMI_LORA_LOKR_W1, 0) : axis (c, SUMI_LORA_LOKR_W1_A, 0);
  gint64 i = whole != NULL ? axis (c, SUMI_LORA_LOKR_W1, 1) : axis (c, SUMI_LORA_LOKR_W1_B, 1);
  gint64 rows = c->rows / o, columns = c->columns / i; /* of the second factor, the kernel in its columns */
  g_autofree float *w1
      = lokr_factor (whole, c->t[SUMI_LORA_LOKR_W1_A], c->t[SUMI_LORA_LOKR_W1_B], NULL, o, i, 1, error);
  g_autofree float *w2 = NULL;
  float scale = (float)(strength * c->scale);

  if (w1 == NULL)
    return FALSE;
  w2 = lokr_factor (c->t[SUMI_LORA_LOKR_W2], c->t[SUMI_LORA_LOKR_W2_A], c->t[SUMI_LORA_LOKR_W2_B],
                    c->t[SUMI_LORA_LOKR_T2], rows, columns, c->kernel, error);
  if (w2 == NULL)
    return FALSE;
  for (gint64 row = 0; row < c->rows; row++)
    for (gint64 block = 0; block < i; block++)
      {
        float factor = scale * w1[row / rows * i + block];
        const float *from = w2 + row % rows * columns;
        float *to = sum + row * c->columns + block * columns;

        for (gint64 j = 0; j < columns; j++)
          to[j] += factor * from[j];
      }
  return TRUE;
}

/* W at one place of the kernel: (O,I) */
static void
gather (const SumiLoraChange *c, const float *w, gint64 place, float *out)
{
  for (gint64 i = 0; i < numel (c) / c->kernel; i++)
    out[i] = w[i * c->kernel + place];
}

static gboolean
add_glora (const SumiLoraChange *c, double strength, const float *w, float *sum, GError **error)
{
  gint64 inputs = c->columns / c->kernel, r = c->rank, n = c->rows * inputs;
  double scale = strength * c->scale;
  g_autofree float *a1 = sumi_lora_load (c->t[SUMI_LORA_GLORA_A1], error);
  g_autofree float *a2 = a1 != NULL ? sumi_lora_load (c->t[SUMI_LORA_GLORA_A2], error) : NULL;
  g_autofree float *at = a2 != NULL ? sumi_lora_floats (n, error) : NULL;
  g_autofree float *narrow = at != NULL ? sumi_lora_floats (c->rows * r, error) : NULL;

  if (narrow == NULL
      || !add_product (c->t[SUMI_LORA_GLORA_B1], FALSE, c->t[SUMI_LORA_GLORA_BM], c->t[SUMI_LORA_GLORA_B2], c->rows,
                       c->columns, c->kernel, scale, sum, error))
    return FALSE;
  for (gint64 place = 0; place < c->kernel; place++)
    {
      gather (c, w, place, at);
      memset (narrow, 0, (gsize)(c->rows * r) * sizeof *narrow);
      sumi_lora_product (c->rows, r, inputs, 1, at, a1, narrow);
      memset (at, 0, (gsize)n * sizeof *at);
      sumi_lora_product (c->rows, inputs, r, scale, narrow, a2, at);
      for (gint64 i = 0; i < n; i++)
        sum[i * c->kernel + place] += at[i];
    }
  return TRUE;
}

static gboolean
add_ia3 (const SumiLoraChange *c, double strength, const float *w, float *sum, GError **error)
{
  g_autofree float *factors = sumi_lora_load (c->t[SUMI_LORA_IA3], error);

  for (gint64 i = 0; factors != NULL && i < numel (c); i++)
    sum[i] += (float)strength * w[i] * factors[c->on_input ? i % c->columns / c->kernel : i / c->columns];
  return factors != NULL;
}

static gboolean
add_whole (const SumiLoraChange *c, double strength, const float *w, float *sum, GError **error)
{
  const SumiTensor *t = c->t[SUMI_LORA_DIFF] != NULL         ? c->t[SUMI_LORA_DIFF]
                        : c->t[SUMI_LORA_SET_WEIGHT] != NULL ? c->t[SUMI_LORA_SET_WEIGHT]
                                                             : c->t[SUMI_LORA_W_NORM];
  g_autofree float *values = sumi_lora_load (t, error);

  for (gint64 i = 0; values != NULL && i < numel (c); i++)
    sum[i] += (float)strength * (c->form == SUMI_LORA_FORM_SET ? values[i] - w[i] : values[i]);
  return values != NULL;
}

static gboolean
add_rotation (const SumiLoraChange *c, double strength, const float *w, float *sum, GError **error)
{
  g_autofree float *delta = zeros (numel (c), error);

  if (delta == NULL || !sumi_lora_rotation_delta (c, w, delta, error))
    return FALSE;
  for (gint64 i = 0; i < numel (c); i++)
    sum[i] += (float)strength * delta[i];
  return TRUE;
}

static gboolean
add_form (const SumiLoraChange *c, double strength, const float *w, float *sum, GError **error)
{
  switch (c->form)
    {
    case SUMI_LORA_FORM_LORA:
      return add_lora (c, strength, sum, error);
    case SUMI_LORA_FORM_LOHA:
      return add_loha (c, strength, sum, error);
    case SUMI_LORA_FORM_LOKR:
      return add_lokr (c, strength, sum, error);
    case SUMI_LORA_FORM_GLORA:
      return add_glora (c, strength, w, sum, error);
    case SUMI_LORA_FORM_IA3:
      return add_ia3 (c, strength, w, sum, error);
    case SUMI_LORA_FORM_DIFF:
    case SUMI_LORA_FORM_SET:
      return add_whole (c, strength, w, sum, error);
    case SUMI_LORA_FORM_OFT:
    case SUMI_LORA_FORM_BOFT:
    case SUMI_LORA_FORM_OFT_INPUT:
      return add_rotation (c, strength, w, sum, error);
    }
  return FALSE;
}

/* The place of element i among the norms. */
static gint64
norm_of (const SumiLoraChange *c, gint64 i)
{
  return c->dora_by_row ? i / c->columns : i % c->columns / c->kernel;
}

/* The strength is that of the whole change, so that 0 leaves W as it is. */
static gboolean
add_dora (const SumiLoraChange *c, double strength, const float *w, float *sum, GError **error)
{
  const SumiTensor *m = c->t[SUMI_LORA_MAGNITUDE] != NULL ? c->t[SUMI_LORA_MAGNITUDE] : c->t[SUMI_LORA_DORA_SCALE];
  gint64 n = sumi_tensor_get_numel (m);
  g_autofree float *v = zeros (numel (c), error);
  g_autofree float *magnitudes = v != NULL ? sumi_lora_load (m, error) : NULL;
  g_autofree double *squares = NULL;

  if (magnitudes == NULL || !add_form (c, 1, w, v, error))
    return FALSE;
  squares = g_new0 (double, n);
  for (gint64 i = 0; i < numel (c); i++)
    {
      v[i] += w[i];
      squares[norm_of (c, i)] += (double)v[i] * v[i];
    }
  for (gint64 k = 0; k < n; k++)
    magnitudes[k] = (float)(magnitudes[k] / (sqrt (squares[k]) + FLT_EPSILON));
  for (gint64 i = 0; i < numel (c); i++)
    sum[i] += (float)strength * (magnitudes[norm_of (c, i)] * v[i] - w[i]);
  return TRUE;
}

gboolean
sumi_lora_change_add (const SumiLoraChange *c, double strength, const float *w, float *sum, GError **error)
{
  return c->dora ? add_dora (c, strength, w, sum, error) : add_form (c, strength, w, sum, error);
}
