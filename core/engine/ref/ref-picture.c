/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pictures: pooling and nearest-neighbour resizing, plane by plane. */
#include <string.h>

#include "engine/ref/ref.h"

/* Where the maximum of the window at (row, column) lies in its plane: the first one in row-major order. */
static gint64
find_maximum (const double *plane, gint64 width, gint64 row, gint64 column, guint kernel)
{
  gint64 best = row * width + column;

  for (guint i = 0; i < kernel; i++)
    for (guint j = 0; j < kernel; j++)
      {
        gint64 at = (row + i) * width + column + j;

        if (plane[at] > plane[best])
          best = at;
      }
  return best;
}

/* Calls the maximum of each window of x by its place: y gathers (forward) or gy is scattered (backward). */
static void
pool (const SumiAttr *attr, const SumiShape *sx, const SumiShape *sy, const double *x, double *y, const double *gy,
      double *gx)
{
  gint64 planes = sx->d[0] * sx->d[1], size = sx->d[2] * sx->d[3];

  for (gint64 p = 0; p < planes; p++)
    for (gint64 i = 0; i < sy->d[2]; i++)
      for (gint64 j = 0; j < sy->d[3]; j++)
        {
          gint64 from = p * size
                        + find_maximum (x + p * size, sx->d[3], i * attr->pool.stride, j * attr->pool.stride,
                                        attr->pool.kernel);
          gint64 to = (p * sy->d[2] + i) * sy->d[3] + j;

          if (gx)
            gx[from] += gy[to];
          else
            y[to] = x[from];
        }
}

void
sumi_ref_max_pool2d (const SumiRefArgs *a)
{
  pool (&a->n->attr, &a->n->src[0]->shape, &a->n->shape, a->x[0], a->y, NULL, NULL);
}

void
sumi_ref_max_pool2d_bwd (const SumiRefArgs *a)
{
  memset (a->y, 0, (gsize)sumi_shape_numel (&a->n->shape) * sizeof (double));
  pool (&a->n->attr, &a->n->shape, &a->n->src[1]->shape, a->x[0], NULL, a->x[1], a->y);
}

/* The element of a small picture that element i of its enlargement shows. */
static gint64
source_of (const SumiShape *small, const SumiShape *large, gint64 i)
{
  gint64 column = i % large->d[3];
  gint64 row = i / large->d[3] % large->d[2];
  gint64 plane = i / large->d[3] / large->d[2];

  return (plane * small->d[2] + row * small->d[2] / large->d[2]) * small->d[3] + column * small->d[3] / large->d[3];
}

void
sumi_ref_upsample (const SumiRefArgs *a)
{
  gint64 numel = sumi_shape_numel (&a->n->shape);

  for (gint64 i = 0; i < numel; i++)
    a->y[i] = a->x[0][source_of (&a->n->src[0]->shape, &a->n->shape, i)];
}

void
sumi_ref_upsample_bwd (const SumiRefArgs *a)
{
  const SumiShape *large = &a->n->src[0]->shape;
  gint64 numel = sumi_shape_numel (large);

  memset (a->y, 0, (gsize)sumi_shape_numel (&a->n->shape) * sizeof (double));
  for (gint64 i = 0; i < numel; i++)
    a->y[source_of (&a->n->shape, large, i)] += a->x[0][i];
}
