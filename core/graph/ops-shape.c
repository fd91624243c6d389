/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Builders: shape and movement.  What would change nothing gives its source back. */
#include "graph/graph-private.h"

SumiNode *
sumi_reshape (SumiGraph *g, SumiNode *x, const SumiShape *shape)
{
  gint64 numel;

  if (!sumi_graph_want_real (g, SUMI_OP_RESHAPE, x))
    return sumi_graph_mistake (g, "reshape");
  if (shape->rank > SUMI_MAX_RANK || !sumi_shape_checked_numel (shape, &numel) || numel != sumi_shape_numel (&x->shape))
    {
      g_autofree char *got = sumi_shape_to_string (&x->shape);
      g_autofree char *want = shape->rank > SUMI_MAX_RANK ? g_strdup ("?") : sumi_shape_to_string (shape);
      return sumi_graph_mistake (g, "reshape: got %s, which has another number of elements than %s", got, want);
    }
  if (sumi_shape_equal (&x->shape, shape))
    return x;
  return sumi_graph_append_real (g, SUMI_OP_RESHAPE, shape, NULL, x);
}

SumiNode *
sumi_permute (SumiGraph *g, SumiNode *x, const guint8 *axes)
{
  SumiShape shape = { .rank = x->shape.rank };
  SumiAttr attr = { 0 };
  guint seen = 0;
  gboolean moved = FALSE;

  if (!sumi_graph_want_real (g, SUMI_OP_PERMUTE, x))
    return sumi_graph_mistake (g, "permute");
  for (guint i = 0; i < shape.rank; i++)
    {
      if (axes[i] >= shape.rank || (seen & 1u << axes[i]))
        return sumi_graph_mistake (g, "permute: got axis %u at place %u, want each axis of rank %u once", axes[i], i,
                                   shape.rank);
      seen |= 1u << axes[i];
      moved |= axes[i] != i;
      attr.permute.axis[i] = axes[i];
      shape.d[i] = x->shape.d[axes[i]];
    }
  return moved ? sumi_graph_append_real (g, SUMI_OP_PERMUTE, &shape, &attr, x) : x;
}

SumiNode *
sumi_concat (SumiGraph *g, guint axis, SumiNode *const *xs, guint n)
{
  SumiAttr attr = { .concat = { axis } };
  SumiShape shape;

  if (n < 2 || n > SUMI_MAX_SRC)
    return sumi_graph_mistake (g, "concat: got %u sources, want 2 to %d", n, SUMI_MAX_SRC);
  shape = xs[0]->shape;
  if (axis >= shape.rank)
    return sumi_graph_mistake (g, "concat: got axis %u, want one below %u", axis, shape.rank);
  shape.d[axis] = 0;
  for (guint i = 0; i < n; i++)
    {
      SumiShape want = xs[0]->shape;

      if (axis < xs[i]->shape.rank)
        want.d[axis] = xs[i]->shape.d[axis];
      if (!sumi_graph_want_shape (g, SUMI_OP_CONCAT, "source", xs[i], &want))
        return sumi_graph_mistake (g, "concat");
      shape.d[axis] += xs[i]->shape.d[axis];
    }
  return sumi_graph_append (g, SUMI_OP_CONCAT, SUMI_REAL, &shape, &attr, xs, n);
}

SumiNode *
sumi_slice (SumiGraph *g, SumiNode *x, guint axis, gint64 start, gint64 length)
{
  SumiAttr attr = { .slice = { axis, start, length } };
  SumiShape shape = x->shape;

  if (!sumi_graph_want_real (g, SUMI_OP_SLICE, x))
    return sumi_graph_mistake (g, "slice");
  if (axis >= shape.rank)
    return sumi_graph_mistake (g, "slice: got axis %u, want one below %u", axis, shape.rank);
  if (start < 0 || length < 1 || length > shape.d[axis] || start > shape.d[axis] - length)
    return sumi_graph_mistake (g,
                               "slice: got %" G_GINT64_FORMAT " from %" G_GINT64_FORMAT
                               ", want a part of axis %u, which has %" G_GINT64_FORMAT,
                               length, start, axis, shape.d[axis]);
  if (length == shape.d[axis])
    return x;
  shape.d[axis] = length;
  return sumi_graph_append_real (g, SUMI_OP_SLICE, &shape, &attr, x);
}

SumiNode *
sumi_pad (SumiGraph *g, SumiNode *x, guint axis, gint64 before, gint64 after)
{
  SumiAttr attr = { .pad = { axis, before, after } };
  SumiShape shape = x->shape;

  if (!sumi_graph_want_real (g, SUMI_OP_PAD, x))
    return sumi_graph_mistake (g, "pad");
  if (axis >= shape.rank)
    return sumi_graph_mistake (g, "pad: got axis %u, want one below %u", axis, shape.rank);
  if (before < 0 || after < 0 || before > SUMI_MAX_NUMEL || after > SUMI_MAX_NUMEL)
    return sumi_graph_mistake (g, "pad: got %" G_GINT64_FORMAT " before and %" G_GINT64_FORMAT " after, want 0 to 2^48",
                               before, after);
  if (before == 0 && after == 0)
    return x;
  shape.d[axis] += before + after;
  return sumi_graph_append_real (g, SUMI_OP_PAD, &shape, &attr, x);
}

SumiNode *
sumi_broadcast (SumiGraph *g, SumiNode *x, const SumiShape *shape)
{
  SumiShape common;

  if (!sumi_graph_want_real (g, SUMI_OP_BROADCAST, x))
    return sumi_graph_mistake (g, "broadcast");
  if (shape->rank > SUMI_MAX_RANK || !sumi_shape_broadcast (&x->shape, shape, &common)
      || !sumi_shape_equal (&common, shape))
    {
      g_autofree char *got = sumi_shape_to_string (&x->shape);
      g_autofree char *want = shape->rank > SUMI_MAX_RANK ? g_strdup ("?") : sumi_shape_to_string (shape);
      return sumi_graph_mistake (g, "broadcast: got %s, want a shape that broadcasts to %s", got, want);
    }
  if (sumi_shape_equal (&x->shape, shape))
    return x;
  return sumi_graph_append_real (g, SUMI_OP_BROADCAST, shape, NULL, x);
}

SumiNode *
sumi_sum (SumiGraph *g, SumiNode *x, guint axes, gboolean keep)
{
  SumiAttr attr = { .sum = { axes, keep } };
  SumiShape shape = { 0 };

  if (!sumi_graph_want_real (g, SUMI_OP_SUM, x))
    return sumi_graph_mistake (g, "sum");
  if (axes >> x->shape.rank)
    return sumi_graph_mistake (g, "sum: got the axes 0x%x, want axes below %u", axes, x->shape.rank);
  if (axes == 0)
    return x;
  for (guint i = 0; i < x->shape.rank; i++)
    if (!(axes & 1u << i))
      shape.d[shape.rank++] = x->shape.d[i];
    else if (keep)
      shape.d[shape.rank++] = 1;
  return sumi_graph_append_real (g, SUMI_OP_SUM, &shape, &attr, x);
}

SumiNode *
sumi_mean (SumiGraph *g, SumiNode *x, guint axes, gboolean keep)
{
  double n = 1;

  for (guint i = 0; i < x->shape.rank; i++)
    if (axes & 1u << i)
      n *= (double)x->shape.d[i];
  return sumi_affine (g, sumi_sum (g, x, axes, keep), 1 / n, 0);
}
