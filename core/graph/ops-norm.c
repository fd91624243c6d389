/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Builders: norms. */
#include "graph/graph-private.h"

static gboolean
want_group_norm (SumiGraph *g, SumiOp op, SumiNode *x, SumiNode *w, SumiNode *b, SumiNode *gy, const SumiAttr *a)
{
  if (!sumi_graph_want_real (g, op, x))
    return FALSE;
  if (x->shape.rank < 2)
    {
      g_autofree char *text = sumi_shape_to_string (&x->shape);
      sumi_graph_poison (g, "%s: got %s, want (N,C,…)", sumi_op_name (op), text);
      return FALSE;
    }
  if (a->norm.groups < 1 || x->shape.d[1] % a->norm.groups != 0)
    {
      sumi_graph_poison (g, "%s: got %" G_GINT64_FORMAT " channels, want a multiple of the %u groups",
                         sumi_op_name (op), x->shape.d[1], a->norm.groups);
      return FALSE;
    }
  if (a->norm.act != SUMI_ACT_NONE && a->norm.act != SUMI_ACT_SILU)
    {
      sumi_graph_poison (g, "%s: got activation %u, want none or SiLU", sumi_op_name (op), (guint)a->norm.act);
      return FALSE;
    }
  return sumi_graph_want_shape (g, op, "weight", w, &SUMI_SHAPE (x->shape.d[1]))
         && sumi_graph_want_shape (g, op, "bias", b, &SUMI_SHAPE (x->shape.d[1]))
         && (!gy || sumi_graph_want_shape (g, op, "gradient", gy, &x->shape));
}

SumiNode *
sumi_group_norm (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b, guint groups, double eps, SumiAct act)
{
  SumiAttr attr = { .norm = { groups, eps, act } };

  if (!want_group_norm (g, SUMI_OP_GROUP_NORM, x, w, b, NULL, &attr))
    return sumi_graph_mistake (g, "group_norm");
  return sumi_graph_append_real (g, SUMI_OP_GROUP_NORM, &x->shape, &attr, x, w, b);
}

SumiNode *
sumi_group_norm_bwd_x (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b, SumiNode *gy, const SumiAttr *norm)
{
  SumiAttr attr = { .norm = norm->norm };

  if (!want_group_norm (g, SUMI_OP_GROUP_NORM_BWD_X, x, w, b, gy, norm))
    return sumi_graph_mistake (g, "group_norm_bwd_x");
  return sumi_graph_append_real (g, SUMI_OP_GROUP_NORM_BWD_X, &x->shape, &attr, x, w, b, gy);
}

SumiNode *
sumi_group_norm_bwd_w (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b, SumiNode *gy, const SumiAttr *norm)
{
  SumiAttr attr = { .norm = norm->norm };

  if (!want_group_norm (g, SUMI_OP_GROUP_NORM_BWD_W, x, w, b, gy, norm))
    return sumi_graph_mistake (g, "group_norm_bwd_w");
  return sumi_graph_append_real (g, SUMI_OP_GROUP_NORM_BWD_W, &SUMI_SHAPE (2, x->shape.d[1]), &attr, x, w, b, gy);
}

static gboolean
want_layer_norm (SumiGraph *g, SumiOp op, SumiNode *x, SumiNode *w, SumiNode *b, SumiNode *gy)
{
  if (!sumi_graph_want_real (g, op, x))
    return FALSE;
  if (x->shape.rank < 1)
    {
      sumi_graph_poison (g, "%s: got a scalar, want (…,C)", sumi_op_name (op));
      return FALSE;
    }

  SumiShape channels = SUMI_SHAPE (x->shape.d[x->shape.rank - 1]);

  return (!w || sumi_graph_want_shape (g, op, "weight", w, &channels))
         && (!b || sumi_graph_want_shape (g, op, "bias", b, &channels))
         && (!gy || sumi_graph_want_shape (g, op, "gradient", gy, &x->shape));
}

SumiNode *
sumi_layer_norm (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b, double eps)
{
  SumiAttr attr = { .norm = { .groups = 1, .eps = eps } };

  if (!want_layer_norm (g, SUMI_OP_LAYER_NORM, x, w, b, NULL))
    return sumi_graph_mistake (g, "layer_norm");
  return sumi_graph_append_real (g, SUMI_OP_LAYER_NORM, &x->shape, &attr, x, w, b);
}

SumiNode *
sumi_layer_norm_bwd_x (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *gy, const SumiAttr *norm)
{
  SumiAttr attr = { .norm = norm->norm };

  if (!want_layer_norm (g, SUMI_OP_LAYER_NORM_BWD_X, x, w, NULL, gy))
    return sumi_graph_mistake (g, "layer_norm_bwd_x");
  return sumi_graph_append_real (g, SUMI_OP_LAYER_NORM_BWD_X, &x->shape, &attr, x, w, gy);
}

SumiNode *
sumi_layer_norm_bwd_w (SumiGraph *g, SumiNode *x, SumiNode *gy, const SumiAttr *norm)
{
  SumiAttr attr = { .norm = norm->norm };

  if (!want_layer_norm (g, SUMI_OP_LAYER_NORM_BWD_W, x, NULL, NULL, gy))
    return sumi_graph_mistake (g, "layer_norm_bwd_w");
  return sumi_graph_append_real (g, SUMI_OP_LAYER_NORM_BWD_W, &SUMI_SHAPE (2, x->shape.d[x->shape.rank - 1]), &attr, x,
                                 gy);
}
