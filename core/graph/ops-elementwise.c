/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Builders: element by element. */
#include "graph/graph-private.h"

gboolean
sumi_shape_broadcast (const SumiShape *a, const SumiShape *b, SumiShape *out)
{
  out->rank = MAX (a->rank, b->rank);
  for (guint i = 0; i < out->rank; i++) /* from the last axis */
    {
      gint64 da = i < a->rank ? a->d[a->rank - 1 - i] : 1;
      gint64 db = i < b->rank ? b->d[b->rank - 1 - i] : 1;

      if (da != db && da != 1 && db != 1)
        return FALSE;
      out->d[out->rank - 1 - i] = da == 1 ? db : da;
    }
  return TRUE;
}

static SumiNode *
binary (SumiGraph *g, SumiOp op, SumiNode *a, SumiNode *b)
{
  SumiShape shape;

  if (!sumi_graph_want_real (g, op, a) || !sumi_graph_want_real (g, op, b))
    return sumi_graph_mistake (g, "%s", sumi_op_name (op));
  if (!sumi_shape_broadcast (&a->shape, &b->shape, &shape))
    {
      g_autofree char *sa = sumi_shape_to_string (&a->shape);
      g_autofree char *sb = sumi_shape_to_string (&b->shape);
      return sumi_graph_mistake (g, "%s: got %s and %s, want shapes that broadcast", sumi_op_name (op), sa, sb);
    }
  return sumi_graph_append_real (g, op, &shape, NULL, a, b);
}

SumiNode *
sumi_add (SumiGraph *g, SumiNode *a, SumiNode *b)
{
  return binary (g, SUMI_OP_ADD, a, b);
}

SumiNode *
sumi_sub (SumiGraph *g, SumiNode *a, SumiNode *b)
{
  return binary (g, SUMI_OP_SUB, a, b);
}

SumiNode *
sumi_mul (SumiGraph *g, SumiNode *a, SumiNode *b)
{
  return binary (g, SUMI_OP_MUL, a, b);
}

SumiNode *
sumi_div (SumiGraph *g, SumiNode *a, SumiNode *b)
{
  return binary (g, SUMI_OP_DIV, a, b);
}

SumiNode *
sumi_affine (SumiGraph *g, SumiNode *x, double a, double b)
{
  SumiAttr attr = { .affine = { a, b } };

  if (!sumi_graph_want_real (g, SUMI_OP_AFFINE, x))
    return sumi_graph_mistake (g, "affine");
  if (a == 1 && b == 0)
    return x;
  return sumi_graph_append_real (g, SUMI_OP_AFFINE, &x->shape, &attr, x);
}

SumiNode *
sumi_act (SumiGraph *g, SumiNode *x, SumiAct kind)
{
  SumiAttr attr = { .act = { kind } };

  if (!sumi_graph_want_real (g, SUMI_OP_ACT, x))
    return sumi_graph_mistake (g, "act");
  if ((guint)kind >= SUMI_N_ACTS)
    return sumi_graph_mistake (g, "act: got kind %u, want one below %u", (guint)kind, (guint)SUMI_N_ACTS);
  if (kind == SUMI_ACT_NONE)
    return x;
  return sumi_graph_append_real (g, SUMI_OP_ACT, &x->shape, &attr, x);
}

SumiNode *
sumi_act_bwd (SumiGraph *g, SumiNode *x, SumiNode *gy, SumiAct kind)
{
  SumiAttr attr = { .act = { kind } };

  if (!sumi_graph_want_real (g, SUMI_OP_ACT_BWD, x)
      || !sumi_graph_want_shape (g, SUMI_OP_ACT_BWD, "gradient", gy, &x->shape))
    return sumi_graph_mistake (g, "act_bwd");
  if ((guint)kind >= SUMI_N_ACTS)
    return sumi_graph_mistake (g, "act_bwd: got kind %u, want one below %u", (guint)kind, (guint)SUMI_N_ACTS);
  if (kind == SUMI_ACT_NONE)
    return gy;
  return sumi_graph_append_real (g, SUMI_OP_ACT_BWD, &x->shape, &attr, x, gy);
}
