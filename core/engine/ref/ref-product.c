/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Matrix products and convolutions. */
#include <string.h>

#include "engine/ref/ref.h"

/* One product: element (i,k) of a lies at a[i * ai + k * ak], element (k,j) of b at b[k * bk + j * bj]. */
static void
multiply (gint64 m, gint64 n, gint64 k, const double *a, gint64 ai, gint64 ak, const double *b, gint64 bk, gint64 bj,
          double *y)
{
  for (gint64 i = 0; i < m; i++)
    for (gint64 j = 0; j < n; j++)
      {
        double sum = 0;

        for (gint64 l = 0; l < k; l++)
          sum += a[i * ai + l * ak] * b[l * bk + j * bj];
        y[i * n + j] = sum;
      }
}

/* Strides by which the leading axes of a source are walked along those of the result. */
static void
lead_strides (const SumiShape *source, const SumiShape *lead, gint64 *stride)
{
  SumiShape own = *source;
  gint64 matrix = own.d[own.rank - 1] * own.d[own.rank - 2];

  own.rank -= 2;
  sumi_ref_broadcast_strides (&own, lead, stride);
  for (guint i = 0; i < lead->rank; i++)
    stride[i] *= matrix;
}

void
sumi_ref_matmul (const SumiRefArgs *a)
{
  const SumiShape *sa = &a->n->src[0]->shape, *sb = &a->n->src[1]->shape;
  gint64 columns_a = sa->d[sa->rank - 1], columns_b = sb->d[sb->rank - 1];
  gboolean ta = a->n->attr.matmul.ta, tb = a->n->attr.matmul.tb;
  SumiShape lead = a->n->shape;
  gint64 m = lead.d[lead.rank - 2], n = lead.d[lead.rank - 1];
  gint64 k = ta ? sa->d[sa->rank - 2] : columns_a;
  gint64 stride_a[SUMI_MAX_RANK], stride_b[SUMI_MAX_RANK];

  lead.rank -= 2;
  lead_strides (sa, &lead, stride_a);
  lead_strides (sb, &lead, stride_b);

  gint64 batch = sumi_shape_numel (&lead);

  for (gint64 i = 0; i < batch; i++)
    multiply (m, n, k, a->x[0] + sumi_ref_offset (&lead, i, stride_a), ta ? 1 : columns_a, ta ? columns_a : 1,
              a->x[1] + sumi_ref_offset (&lead, i, stride_b), tb ? 1 : columns_b, tb ? columns_b : 1, a->y + i * m * n);
}

void
sumi_ref_linear (const SumiRefArgs *a)
{
  const SumiShape *w = &a->n->src[1]->shape;
  gint64 out = w->d[0], in = w->d[1];
  gint64 rows = sumi_shape_numel (&a->n->shape) / out;

  multiply (rows, out, in, a->x[0], in, 1, a->x[1], 1, in, a->y);
  if (a->n->n_src > 2)
    for (gint64 i = 0; i < rows * out; i++)
      a->y[i] += a->x[2][i % out];
}

/* ---- convolutions ---- */

/* All three are one loop nest: every weight joins one pixel of x (N,C,H,W) with one of y (N,O,H',W').  Forward adds
 * x w to y, the transpose adds y w to x, and the gradient of the weights adds x y to w. */
typedef void (*Tap) (double *x, double *w, double *y);

static inline void
tap_forward (double *x, double *w, double *y)
{
  *y += *x * *w;
}

static inline void
tap_data (double *x, double *w, double *y)
{
  *x += *y * *w;
}

static inline void
tap_weights (double *x, double *w, double *y)
{
  *w += *x * *y;
}

/* One kernel plane on one pair of planes. */
static inline void
join_planes (const SumiAttr *attr, const gint64 *dx, const gint64 *dw, const gint64 *dy, double *x, double *w,
             double *y, Tap tap)
{
  for (gint64 i = 0; i < dy[2]; i++)
    for (gint64 j = 0; j < dy[3]; j++)
      for (gint64 ki = 0; ki < dw[2]; ki++)
        for (gint64 kj = 0; kj < dw[3]; kj++)
          {
            gint64 row = i * attr->conv.stride + ki - attr->conv.pad_top;
            gint64 column = j * attr->conv.stride + kj - attr->conv.pad_left;

            if (row >= 0 && row < dx[2] && column >= 0 && column < dx[3])
              tap (x + row * dx[3] + column, w + ki * dw[3] + kj, y + i * dy[3] + j);
          }
}

static inline void
convolve (const SumiAttr *attr, const SumiShape *sx, const SumiShape *sw, const SumiShape *sy, double *x, double *w,
          double *y, Tap tap)
{
  const gint64 *dx = sx->d, *dw = sw->d, *dy = sy->d;

  for (gint64 n = 0; n < dy[0]; n++)
    for (gint64 o = 0; o < dy[1]; o++)
      for (gint64 c = 0; c < dx[1]; c++)
        join_planes (attr, dx, dw, dy, x + (n * dx[1] + c) * dx[2] * dx[3], w + (o * dw[1] + c) * dw[2] * dw[3],
                     y + (n * dy[1] + o) * dy[2] * dy[3], tap);
}

static void
clear (const SumiRefArgs *a)
{
  memset (a->y, 0, (gsize)sumi_shape_numel (&a->n->shape) * sizeof (double));
}

void
sumi_ref_conv2d (const SumiRefArgs *a)
{
  const SumiNode *n = a->n;
  gint64 numel = sumi_shape_numel (&n->shape), pixels = n->shape.d[2] * n->shape.d[3];

  clear (a);
  if (n->n_src > 2)
    for (gint64 i = 0; i < numel; i++)
      a->y[i] = a->x[2][i / pixels % n->shape.d[1]];
  convolve (&n->attr, &n->src[0]->shape, &n->src[1]->shape, &n->shape, (double *)a->x[0], (double *)a->x[1], a->y,
            tap_forward);
}

void
sumi_ref_conv2d_bwd_data (const SumiRefArgs *a)
{
  const SumiNode *n = a->n;

  clear (a);
  convolve (&n->attr, &n->shape, &n->src[1]->shape, &n->src[0]->shape, a->y, (double *)a->x[1], (double *)a->x[0],
            tap_data);
}

void
sumi_ref_conv2d_bwd_weights (const SumiRefArgs *a)
{
  const SumiNode *n = a->n;

  clear (a);
  convolve (&n->attr, &n->src[0]->shape, &n->shape, &n->src[1]->shape, (double *)a->x[0], a->y, (double *)a->x[1],
            tap_weights);
}
