/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Strides as numpy has them: see value.h. */
#include "engine/cpu/value.h"

/* Axes in memory order, slowest first; repeated ones are left out. Returns their number. */
static guint
memory_order (const SumiValue *v, guint *axes)
{
  guint n = 0;

  for (guint i = 0; i < v->shape.rank; i++)
    {
      guint at = n;

      if (v->stride[i] == 0)
        continue;
      while (at > 0 && v->stride[axes[at - 1]] < v->stride[i])
        {
          axes[at] = axes[at - 1];
          at--;
        }
      axes[at] = i;
      n++;
    }
  return n;
}

static void
set_dense (SumiValue *v, const guint *axes, guint n)
{
  gint64 step = 1;

  for (guint i = 0; i < SUMI_MAX_RANK; i++)
    v->stride[i] = 0;
  for (guint i = n; i-- > 0;)
    {
      v->stride[axes[i]] = v->shape.d[axes[i]] > 1 ? step : 0;
      step *= v->shape.d[axes[i]];
    }
}

void
sumi_value_set_order (SumiValue *v, SumiOrder order)
{
  guint axes[SUMI_MAX_RANK], n = 0;

  for (guint i = 0; i < v->shape.rank; i++)
    if (order != SUMI_ORDER_CHANNELS_LAST || i != 1)
      axes[n++] = i;
  if (order == SUMI_ORDER_CHANNELS_LAST && v->shape.rank > 1)
    axes[n++] = 1;
  set_dense (v, axes, n);
}

void
sumi_value_set_order_like (SumiValue *v, const SumiValue *like)
{
  guint axes[SUMI_MAX_RANK], n = memory_order (like, axes);

  set_dense (v, axes, n);
}

gboolean
sumi_value_repeats (const SumiValue *v)
{
  for (guint i = 0; i < v->shape.rank; i++)
    if (v->shape.d[i] > 1 && v->stride[i] == 0)
      return TRUE;
  return FALSE;
}

gboolean
sumi_value_has_order (const SumiValue *v, SumiOrder order)
{
  SumiValue dense = *v;

  if (order == SUMI_ORDER_ANY)
    sumi_value_set_order_like (&dense, v);
  else
    sumi_value_set_order (&dense, order);
  for (guint i = 0; i < v->shape.rank; i++)
    if (v->stride[i] != dense.stride[i])
      return FALSE;
  return TRUE;
}

gboolean
sumi_value_same_place (const SumiValue *a, const SumiValue *b)
{
  if (a->buffer != b->buffer || a->offset != b->offset || a->dtype != b->dtype
      || !sumi_shape_equal (&a->shape, &b->shape))
    return FALSE;
  for (guint i = 0; i < a->shape.rank; i++)
    if (a->stride[i] != b->stride[i])
      return FALSE;
  return TRUE;
}

gint64
sumi_value_stored (const SumiValue *v)
{
  gint64 n = 1;

  for (guint i = 0; i < v->shape.rank; i++)
    if (v->stride[i] != 0 || v->shape.d[i] == 0)
      n *= v->shape.d[i];
  return n;
}

/* Walks both shapes from the front, matching groups of old axes to groups of new axes with the same product; a group
 * of old axes must lie as one axis in memory. */
gboolean
sumi_value_reshape (const SumiValue *v, const SumiShape *shape, SumiValue *out)
{
  gint64 d[SUMI_MAX_RANK], s[SUMI_MAX_RANK];
  guint n = 0, i = 0, j = 0;
  SumiValue r = *v;

  r.shape = *shape;
  for (guint k = 0; k < SUMI_MAX_RANK; k++)
    r.stride[k] = 0;
  for (guint k = 0; k < v->shape.rank; k++)
    if (v->shape.d[k] != 1)
      {
        d[n] = v->shape.d[k];
        s[n++] = v->stride[k];
      }
  if (sumi_shape_numel (shape) == 0)
    {
      sumi_value_set_order (&r, SUMI_ORDER_ROWS);
      *out = r;
      return TRUE;
    }
  while (i < n && j < shape->rank)
    {
      guint i_end = i + 1, j_end = j + 1;
      gint64 old = d[i], new = shape->d[j], step;

      while (old != new)
        if (old < new)
          old *= d[i_end++];
        else
          new *= shape->d[j_end++];
      for (guint k = i; k + 1 < i_end; k++)
        if (s[k] != s[k + 1] * d[k + 1])
          return FALSE;
      step = s[i_end - 1];
      for (guint k = j_end; k-- > j;)
        {
          r.stride[k] = shape->d[k] > 1 ? step : 0;
          step *= shape->d[k];
        }
      i = i_end;
      j = j_end;
    }
  *out = r;
  return TRUE;
}

void
sumi_value_permute (const SumiValue *v, const guint8 *axes, SumiValue *out)
{
  SumiValue r = *v;

  for (guint i = 0; i < v->shape.rank; i++)
    {
      r.shape.d[i] = v->shape.d[axes[i]];
      r.stride[i] = v->stride[axes[i]];
    }
  *out = r;
}

void
sumi_value_slice (const SumiValue *v, guint axis, gint64 start, gint64 length, SumiValue *out)
{
  SumiValue r = *v;

  r.offset += (gsize)(start * v->stride[axis]) * sumi_dtype_size (v->dtype);
  r.shape.d[axis] = length;
  if (length == 1)
    r.stride[axis] = 0;
  *out = r;
}

void
sumi_value_broadcast (const SumiValue *v, const SumiShape *shape, SumiValue *out)
{
  SumiValue r = *v;
  guint lead = shape->rank - v->shape.rank;

  r.shape = *shape;
  for (guint i = 0; i < shape->rank; i++)
    r.stride[i] = i < lead ? 0 : v->stride[i - lead];
  *out = r;
}
