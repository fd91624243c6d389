/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Group and layer normalization (Wu & He 2018, Ba et al. 2016).
 *
 * Both normalize runs of memory: a group's channels are neighbours, and so are a row's.  They differ in how the place
 * in the run tells the channel. */
#include <math.h>
#include <string.h>

#include "engine/ref/ref.h"

typedef struct
{
  gint64 runs;   /* how many are normalized, each by itself */
  gint64 length; /* of a run, in elements */
  gint64 pixels; /* neighbours of the same channel */
  gint64 channels;
  double eps;
  SumiAct act;
} Norm;

static Norm
group_norm (const SumiNode *n)
{
  const SumiShape *x = &n->src[0]->shape;
  gint64 numel = sumi_shape_numel (x), runs = x->d[0] * n->attr.norm.groups;

  return (Norm){ runs, numel / runs, numel / (x->d[0] * x->d[1]), x->d[1], n->attr.norm.eps, n->attr.norm.act };
}

static Norm
layer_norm (const SumiNode *n)
{
  const SumiShape *x = &n->src[0]->shape;
  gint64 channels = x->d[x->rank - 1];

  return (Norm){ sumi_shape_numel (x) / channels, channels, 1, channels, n->attr.norm.eps, SUMI_ACT_NONE };
}

static gint64
channel_of (const Norm *norm, gint64 i)
{
  return i / norm->pixels % norm->channels;
}

/* xhat = (x - mean) / sqrt (var + eps), with mean and 1 / sqrt (var + eps) of one run. */
static void
measure (const Norm *norm, const double *x, double *mean, double *rstd)
{
  double sum = 0, squares = 0;

  for (gint64 i = 0; i < norm->length; i++)
    sum += x[i];
  *mean = sum / norm->length;
  for (gint64 i = 0; i < norm->length; i++)
    squares += (x[i] - *mean) * (x[i] - *mean);
  *rstd = 1 / sqrt (squares / norm->length + norm->eps);
}

static void
forward (const Norm *norm, const SumiRefArgs *a)
{
  const double *x = a->x[0], *w = a->x[1], *b = a->x[2];

  for (gint64 run = 0; run < norm->runs; run++)
    {
      gint64 start = run * norm->length;
      double mean, rstd;

      measure (norm, x + start, &mean, &rstd);
      for (gint64 i = start; i < start + norm->length; i++)
        {
          gint64 c = channel_of (norm, i);
          a->y[i] = sumi_ref_act_value (norm->act, (x[i] - mean) * rstd * w[c] + b[c]);
        }
    }
}

/* The gradient before the activation. */
static double
before_act (const Norm *norm, const double *w, const double *b, gint64 c, double xhat, double gy)
{
  return norm->act == SUMI_ACT_NONE ? gy : gy * sumi_ref_act_slope (norm->act, xhat * w[c] + b[c]);
}

/* With g = gy w and m elements: dx = rstd (g - sum g / m - xhat sum (g xhat) / m). */
static void
backward_x (const Norm *norm, const double *x, const double *w, const double *b, const double *gy, double *gx)
{
  for (gint64 run = 0; run < norm->runs; run++)
    {
      gint64 start = run * norm->length;
      double mean, rstd, sum = 0, dot = 0;

      measure (norm, x + start, &mean, &rstd);
      for (gint64 i = start; i < start + norm->length; i++)
        {
          gint64 c = channel_of (norm, i);
          double xhat = (x[i] - mean) * rstd;

          gx[i] = before_act (norm, w, b, c, xhat, gy[i]) * w[c];
          sum += gx[i];
          dot += gx[i] * xhat;
        }
      for (gint64 i = start; i < start + norm->length; i++)
        gx[i] = rstd * (gx[i] - sum / norm->length - (x[i] - mean) * rstd * dot / norm->length);
    }
}

/* dw = sum gy xhat, db = sum gy, per channel; packed one after the other. w and b only matter to an activation. */
static void
backward_w (const Norm *norm, const double *x, const double *w, const double *b, const double *gy, double *packed)
{
  memset (packed, 0, 2 * (gsize)norm->channels * sizeof (double));
  for (gint64 run = 0; run < norm->runs; run++)
    {
      gint64 start = run * norm->length;
      double mean, rstd;

      measure (norm, x + start, &mean, &rstd);
      for (gint64 i = start; i < start + norm->length; i++)
        {
          gint64 c = channel_of (norm, i);
          double xhat = (x[i] - mean) * rstd;
          double g = before_act (norm, w, b, c, xhat, gy[i]);

          packed[c] += g * xhat;
          packed[norm->channels + c] += g;
        }
    }
}

void
sumi_ref_group_norm (const SumiRefArgs *a)
{
  Norm norm = group_norm (a->n);

  forward (&norm, a);
}

void
sumi_ref_group_norm_bwd_x (const SumiRefArgs *a)
{
  Norm norm = group_norm (a->n);

  backward_x (&norm, a->x[0], a->x[1], a->x[2], a->x[3], a->y);
}

void
sumi_ref_group_norm_bwd_w (const SumiRefArgs *a)
{
  Norm norm = group_norm (a->n);

  backward_w (&norm, a->x[0], a->x[1], a->x[2], a->x[3], a->y);
}

void
sumi_ref_layer_norm (const SumiRefArgs *a)
{
  Norm norm = layer_norm (a->n);

  forward (&norm, a);
}

void
sumi_ref_layer_norm_bwd_x (const SumiRefArgs *a)
{
  Norm norm = layer_norm (a->n);

  backward_x (&norm, a->x[0], a->x[1], NULL, a->x[2], a->y);
}

void
sumi_ref_layer_norm_bwd_w (const SumiRefArgs *a)
{
  Norm norm = layer_norm (a->n);

  backward_w (&norm, a->x[0], NULL, NULL, a->x[1], a->y);
}
