/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Builders: pictures, (N,C,H,W). */
#include "graph/graph-private.h"

static gboolean
pool_shape (SumiGraph *g, SumiOp op, SumiNode *x, guint kernel, guint stride, SumiShape *shape)
{
  if (!sumi_graph_want_rank (g, op, "input", x, 4))
    return FALSE;
  *shape = x->shape;
  if (kernel < 1 || stride < 1 || kernel > x->shape.d[2] || kernel > x->shape.d[3])
    {
      g_autofree char *text = sumi_shape_to_string (&x->shape);
      sumi_graph_poison (g, "%s: got %s, want pixels for a kernel of %u and a stride of %u", sumi_op_name (op), text,
                         kernel, stride);
      return FALSE;
    }
  shape->d[2] = (x->shape.d[2] - kernel) / stride + 1;
  shape->d[3] = (x->shape.d[3] - kernel) / stride + 1;
  return TRUE;
}

SumiNode *
sumi_max_pool2d (SumiGraph *g, SumiNode *x, guint kernel, guint stride)
{
  SumiAttr attr = { .pool = { kernel, stride } };
  SumiShape shape;

  if (!pool_shape (g, SUMI_OP_MAX_POOL2D, x, kernel, stride, &shape))
    return sumi_graph_mistake (g, "max_pool2d");
  return sumi_graph_append_real (g, SUMI_OP_MAX_POOL2D, &shape, &attr, x);
}

SumiNode *
sumi_max_pool2d_bwd (SumiGraph *g, SumiNode *x, SumiNode *gy, guint kernel, guint stride)
{
  SumiAttr attr = { .pool = { kernel, stride } };
  SumiShape shape;

  if (!pool_shape (g, SUMI_OP_MAX_POOL2D_BWD, x, kernel, stride, &shape)
      || !sumi_graph_want_shape (g, SUMI_OP_MAX_POOL2D_BWD, "gradient", gy, &shape))
    return sumi_graph_mistake (g, "max_pool2d_bwd");
  return sumi_graph_append_real (g, SUMI_OP_MAX_POOL2D_BWD, &x->shape, &attr, x, gy);
}

static SumiNode *
resize (SumiGraph *g, SumiOp op, SumiNode *x, gint64 height, gint64 width)
{
  if (!sumi_graph_want_rank (g, op, "input", x, 4))
    return sumi_graph_mistake (g, "%s", sumi_op_name (op));
  if (height == x->shape.d[2] && width == x->shape.d[3])
    return x;
  /* an engine computes y H / height: both must fit */
  if (height > G_MAXINT32 || width > G_MAXINT32 || x->shape.d[2] > G_MAXINT32 || x->shape.d[3] > G_MAXINT32)
    return sumi_graph_mistake (g, "%s: got %" G_GINT64_FORMAT " x %" G_GINT64_FORMAT " pixels, want less than 2^31",
                               sumi_op_name (op), width, height);
  return sumi_graph_append_real (g, op, &SUMI_SHAPE (x->shape.d[0], x->shape.d[1], height, width), NULL, x);
}

SumiNode *
sumi_upsample (SumiGraph *g, SumiNode *x, gint64 height, gint64 width)
{
  return resize (g, SUMI_OP_UPSAMPLE, x, height, width);
}

SumiNode *
sumi_upsample_bwd (SumiGraph *g, SumiNode *gy, gint64 height, gint64 width)
{
  return resize (g, SUMI_OP_UPSAMPLE_BWD, gy, height, width);
}
