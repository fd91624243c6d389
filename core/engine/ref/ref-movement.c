/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Shape and movement: which element goes where. */
#include <string.h>

#include "engine/ref/ref.h"

void
sumi_ref_strides (const SumiShape *shape, gint64 *stride)
{
  gint64 step = 1;

  for (guint i = shape->rank; i-- > 0;)
    {
      stride[i] = step;
      step *= shape->d[i];
    }
}

void
sumi_ref_broadcast_strides (const SumiShape *from, const SumiShape *to, gint64 *stride)
{
  guint lead = to->rank - from->rank;
  gint64 own[SUMI_MAX_RANK];

  sumi_ref_strides (from, own);
  for (guint i = 0; i < to->rank; i++)
    stride[i] = i < lead || from->d[i - lead] == 1 ? 0 : own[i - lead];
}

gint64
sumi_ref_offset (const SumiShape *shape, gint64 i, const gint64 *stride)
{
  gint64 offset = 0;

  for (guint axis = shape->rank; axis-- > 0; i /= shape->d[axis])
    offset += i % shape->d[axis] * stride[axis];
  return offset;
}

void
sumi_ref_reshape (const SumiRefArgs *a)
{
  memcpy (a->y, a->x[0], (gsize)sumi_shape_numel (&a->n->shape) * sizeof (double));
}

static void
gather (const SumiRefArgs *a, const double *x, const gint64 *stride)
{
  gint64 numel = sumi_shape_numel (&a->n->shape);

  for (gint64 i = 0; i < numel; i++)
    a->y[i] = x[sumi_ref_offset (&a->n->shape, i, stride)];
}

void
sumi_ref_permute (const SumiRefArgs *a)
{
  gint64 own[SUMI_MAX_RANK], stride[SUMI_MAX_RANK];

  sumi_ref_strides (&a->n->src[0]->shape, own);
  for (guint i = 0; i < a->n->shape.rank; i++)
    stride[i] = own[a->n->attr.permute.axis[i]];
  gather (a, a->x[0], stride);
}

void
sumi_ref_slice (const SumiRefArgs *a)
{
  gint64 stride[SUMI_MAX_RANK];

  sumi_ref_strides (&a->n->src[0]->shape, stride);
  gather (a, a->x[0] + a->n->attr.slice.start * stride[a->n->attr.slice.axis], stride);
}

void
sumi_ref_broadcast (const SumiRefArgs *a)
{
  gint64 stride[SUMI_MAX_RANK];

  sumi_ref_broadcast_strides (&a->n->src[0]->shape, &a->n->shape, stride);
  gather (a, a->x[0], stride);
}

/* Writes source s at `start` along an axis of y. */
static void
place (const SumiRefArgs *a, guint s, guint axis, gint64 start)
{
  const SumiShape *shape = &a->n->src[s]->shape;
  gint64 numel = sumi_shape_numel (shape);
  gint64 stride[SUMI_MAX_RANK];

  sumi_ref_strides (&a->n->shape, stride);
  for (gint64 i = 0; i < numel; i++)
    a->y[start * stride[axis] + sumi_ref_offset (shape, i, stride)] = a->x[s][i];
}

void
sumi_ref_concat (const SumiRefArgs *a)
{
  guint axis = a->n->attr.concat.axis;
  gint64 start = 0;

  for (guint s = 0; s < a->n->n_src; s++)
    {
      place (a, s, axis, start);
      start += a->n->src[s]->shape.d[axis];
    }
}

void
sumi_ref_pad (const SumiRefArgs *a)
{
  memset (a->y, 0, (gsize)sumi_shape_numel (&a->n->shape) * sizeof (double));
  place (a, 0, a->n->attr.pad.axis, a->n->attr.pad.before);
}

void
sumi_ref_sum (const SumiRefArgs *a)
{
  const SumiShape *shape = &a->n->src[0]->shape;
  gint64 numel = sumi_shape_numel (shape);
  SumiShape kept = *shape; /* of y, with a 1 for each summed axis */
  gint64 stride[SUMI_MAX_RANK];

  for (guint i = 0; i < shape->rank; i++)
    if (a->n->attr.sum.axes & 1u << i)
      kept.d[i] = 1;
  sumi_ref_broadcast_strides (&kept, shape, stride);
  memset (a->y, 0, (gsize)sumi_shape_numel (&a->n->shape) * sizeof (double));
  for (gint64 i = 0; i < numel; i++)
    a->y[sumi_ref_offset (shape, i, stride)] += a->x[0][i];
}
