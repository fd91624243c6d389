/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Attention (Vaswani et al. 2017) and what text needs. */
#include <math.h>
#include <string.h>

#include "engine/ref/ref.h"

/* In place is fine. */
static void
softmax_row (const double *x, gint64 n, double *y)
{
  double max = x[0], sum = 0;

  for (gint64 i = 1; i < n; i++)
    max = MAX (max, x[i]);
  for (gint64 i = 0; i < n; i++)
    sum += y[i] = exp (x[i] - max);
  for (gint64 i = 0; i < n; i++)
    y[i] /= sum;
}

/* gx = y (gy - sum gy y); gx may be gy. */
static void
softmax_row_bwd (const double *y, const double *gy, gint64 n, double *gx)
{
  double dot = 0;

  for (gint64 i = 0; i < n; i++)
    dot += gy[i] * y[i];
  for (gint64 i = 0; i < n; i++)
    gx[i] = y[i] * (gy[i] - dot);
}

void
sumi_ref_softmax (const SumiRefArgs *a)
{
  gint64 numel = sumi_shape_numel (&a->n->shape), n = a->n->shape.d[a->n->shape.rank - 1];

  for (gint64 i = 0; i < numel; i += n)
    softmax_row (a->x[0] + i, n, a->y + i);
}

void
sumi_ref_softmax_bwd (const SumiRefArgs *a)
{
  gint64 numel = sumi_shape_numel (&a->n->shape), n = a->n->shape.d[a->n->shape.rank - 1];

  for (gint64 i = 0; i < numel; i += n)
    softmax_row_bwd (a->x[0] + i, a->x[1] + i, n, a->y + i);
}

/* ---- scaled dot-product attention ---- */

typedef struct
{
  gint64 batch, queries, keys, channels, heads, d;
  double scale;
  gboolean causal;
} Attention;

static Attention
attention_of (const SumiNode *n)
{
  const SumiShape *q = &n->src[0]->shape, *k = &n->src[1]->shape;
  gint64 heads = n->attr.sdpa.heads, d = q->d[2] / heads;
  double scale = n->attr.sdpa.scale != 0 ? n->attr.sdpa.scale : 1 / sqrt (d);

  return (Attention){ q->d[0], q->d[1], k->d[1], q->d[2], heads, d, scale, n->attr.sdpa.causal };
}

static double
dot (const double *a, const double *b, gint64 n)
{
  double sum = 0;

  for (gint64 i = 0; i < n; i++)
    sum += a[i] * b[i];
  return sum;
}

static void
add_scaled (double *y, double scale, const double *x, gint64 n)
{
  for (gint64 i = 0; i < n; i++)
    y[i] += scale * x[i];
}

/* How much query i attends to each key it sees; returns how many those are. p has room for all keys. */
static gint64
attend (const Attention *t, const double *q, const double *k, gint64 i, double *p)
{
  gint64 seen = t->causal ? MIN (i + 1, t->keys) : t->keys;

  for (gint64 j = 0; j < seen; j++)
    p[j] = t->scale * dot (q, k + j * t->channels, t->d);
  softmax_row (p, seen, p);
  return seen;
}

void
sumi_ref_sdpa (const SumiRefArgs *a)
{
  Attention t = attention_of (a->n);
  g_autofree double *p = g_new (double, t.keys);

  memset (a->y, 0, (gsize)sumi_shape_numel (&a->n->shape) * sizeof (double));
  for (gint64 n = 0; n < t.batch; n++)
    for (gint64 h = 0; h < t.heads; h++)
      for (gint64 i = 0; i < t.queries; i++)
        {
          gint64 query = (n * t.queries + i) * t.channels + h * t.d;
          gint64 key = n * t.keys * t.channels + h * t.d;
          gint64 seen = attend (&t, a->x[0] + query, a->x[1] + key, i, p);

          for (gint64 j = 0; j < seen; j++)
            add_scaled (a->y + query, p[j], a->x[2] + key + j * t.channels, t.d);
        }
}

/* y = sum p v with p = softmax (s), s = scale q k:  gv += p gy,  gp = gy v,  gs = softmax' (gp),
 * gq += scale gs k,  gk += scale gs q. */
void
sumi_ref_sdpa_bwd (const SumiRefArgs *a)
{
  Attention t = attention_of (a->n);
  const double *q = a->x[0], *k = a->x[1], *v = a->x[2], *gy = a->x[3];
  gint64 rows = t.queries + 2 * t.keys; /* of y, per picture: gradients of q, k, v */
  g_autofree double *p = g_new (double, t.keys);
  g_autofree double *gs = g_new (double, t.keys);

  memset (a->y, 0, (gsize)sumi_shape_numel (&a->n->shape) * sizeof (double));
  for (gint64 n = 0; n < t.batch; n++)
    for (gint64 h = 0; h < t.heads; h++)
      for (gint64 i = 0; i < t.queries; i++)
        {
          gint64 query = (n * t.queries + i) * t.channels + h * t.d;
          gint64 key = n * t.keys * t.channels + h * t.d;
          double *gq = a->y + (n * rows + i) * t.channels + h * t.d;
          double *gk = a->y + (n * rows + t.queries) * t.channels + h * t.d;
          double *gv = gk + t.keys * t.channels;
          gint64 seen = attend (&t, q + query, k + key, i, p);

          for (gint64 j = 0; j < seen; j++)
            {
              add_scaled (gv + j * t.channels, p[j], gy + query, t.d);
              gs[j] = dot (gy + query, v + key + j * t.channels, t.d);
            }
          softmax_row_bwd (p, gs, seen, gs);
          for (gint64 j = 0; j < seen; j++)
            {
              add_scaled (gq, t.scale * gs[j], k + key + j * t.channels, t.d);
              add_scaled (gk + j * t.channels, t.scale * gs[j], q + query, t.d);
            }
        }
}

/* ---- text ---- */

void
sumi_ref_embedding (const SumiRefArgs *a)
{
  gint64 channels = a->n->src[0]->shape.d[1], n = sumi_shape_numel (&a->n->src[1]->shape);

  for (gint64 i = 0; i < n; i++)
    memcpy (a->y + i * channels, a->x[0] + a->ids[i] * channels, (gsize)channels * sizeof (double));
}

void
sumi_ref_embedding_bwd (const SumiRefArgs *a)
{
  gint64 channels = a->n->shape.d[1], n = sumi_shape_numel (&a->n->src[0]->shape);

  memset (a->y, 0, (gsize)sumi_shape_numel (&a->n->shape) * sizeof (double));
  for (gint64 i = 0; i < n; i++)
    add_scaled (a->y + a->ids[i] * channels, 1, a->x[1] + i * channels, channels);
}

void
sumi_ref_timestep_embedding (const SumiRefArgs *a)
{
  const SumiAttr *attr = &a->n->attr;
  gint64 half = attr->timestep.dim / 2;
  gint64 cosines = attr->timestep.cos_first ? 0 : half, sines = half - cosines;

  for (gint64 n = 0; n < a->n->shape.d[0]; n++)
    for (gint64 i = 0; i < half; i++)
      {
        double frequency = pow (attr->timestep.max_period, -i / (half - attr->timestep.freq_shift));
        double *y = a->y + n * 2 * half;

        y[cosines + i] = cos (a->x[0][n] * frequency);
        y[sines + i] = sin (a->x[0][n] * frequency);
      }
}
