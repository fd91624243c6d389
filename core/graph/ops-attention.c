/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Builders: attention and text. */
#include <math.h>

#include "graph/graph-private.h"

SumiNode *
sumi_softmax (SumiGraph *g, SumiNode *x)
{
  if (!sumi_graph_want_real (g, SUMI_OP_SOFTMAX, x))
    return sumi_graph_mistake (g, "softmax");
  if (x->shape.rank < 1)
    return sumi_graph_mistake (g, "softmax: got a scalar, want (…,C)");
  return sumi_graph_append_real (g, SUMI_OP_SOFTMAX, &x->shape, NULL, x);
}

SumiNode *
sumi_softmax_bwd (SumiGraph *g, SumiNode *y, SumiNode *gy)
{
  if (!sumi_graph_want_real (g, SUMI_OP_SOFTMAX_BWD, y)
      || !sumi_graph_want_shape (g, SUMI_OP_SOFTMAX_BWD, "gradient", gy, &y->shape))
    return sumi_graph_mistake (g, "softmax_bwd");
  if (y->shape.rank < 1)
    return sumi_graph_mistake (g, "softmax_bwd: got a scalar, want (…,C)");
  return sumi_graph_append_real (g, SUMI_OP_SOFTMAX_BWD, &y->shape, NULL, y, gy);
}

static gboolean
want_sdpa (SumiGraph *g, SumiOp op, SumiNode *q, SumiNode *k, SumiNode *v, const SumiAttr *a)
{
  if (!sumi_graph_want_rank (g, op, "query", q, 3) || !sumi_graph_want_rank (g, op, "key", k, 3)
      || !sumi_graph_want_shape (g, op, "key", k, &SUMI_SHAPE (q->shape.d[0], k->shape.d[1], q->shape.d[2]))
      || !sumi_graph_want_shape (g, op, "value", v, &k->shape))
    return FALSE;
  if (a->sdpa.heads >= 1 && q->shape.d[2] % a->sdpa.heads == 0)
    return TRUE;
  sumi_graph_poison (g, "%s: got %" G_GINT64_FORMAT " channels, want a multiple of the %u heads", sumi_op_name (op),
                     q->shape.d[2], a->sdpa.heads);
  return FALSE;
}

SumiNode *
sumi_sdpa (SumiGraph *g, SumiNode *q, SumiNode *k, SumiNode *v, guint heads, gboolean causal, double scale)
{
  SumiAttr attr = { .sdpa = { heads, !!causal, scale } };

  if (!want_sdpa (g, SUMI_OP_SDPA, q, k, v, &attr))
    return sumi_graph_mistake (g, "sdpa");
  return sumi_graph_append_real (g, SUMI_OP_SDPA, &q->shape, &attr, q, k, v);
}

SumiNode *
sumi_sdpa_bwd (SumiGraph *g, SumiNode *q, SumiNode *k, SumiNode *v, SumiNode *gy, const SumiAttr *sdpa)
{
  SumiAttr attr = { .sdpa = sdpa->sdpa };
  SumiOp op = SUMI_OP_SDPA_BWD;

  if (!want_sdpa (g, op, q, k, v, sdpa) || !sumi_graph_want_shape (g, op, "gradient", gy, &q->shape))
    return sumi_graph_mistake (g, "sdpa_bwd");
  return sumi_graph_append_real (g, op, &SUMI_SHAPE (q->shape.d[0], q->shape.d[1] + 2 * k->shape.d[1], q->shape.d[2]),
                                 &attr, q, k, v, gy);
}

SumiNode *
sumi_embedding (SumiGraph *g, SumiNode *table, SumiNode *ids)
{
  SumiShape shape = ids->shape;

  if (!sumi_graph_want_rank (g, SUMI_OP_EMBEDDING, "table", table, 2))
    return sumi_graph_mistake (g, "embedding");
  if (ids->kind != SUMI_INDEX)
    return sumi_graph_mistake (g, "embedding: got real numbers as ids, want whole ones");
  if (shape.rank == SUMI_MAX_RANK)
    return sumi_graph_mistake (g, "embedding: got ids of rank %u, want less", shape.rank);
  shape.d[shape.rank++] = table->shape.d[1];
  return sumi_graph_append_real (g, SUMI_OP_EMBEDDING, &shape, NULL, table, ids);
}

SumiNode *
sumi_embedding_bwd (SumiGraph *g, SumiNode *ids, SumiNode *gy, gint64 rows)
{
  SumiShape want = ids->shape;

  if (ids->kind != SUMI_INDEX)
    return sumi_graph_mistake (g, "embedding_bwd: got real numbers as ids, want whole ones");
  if (gy->shape.rank < 1 || want.rank == SUMI_MAX_RANK)
    return sumi_graph_mistake (g, "embedding_bwd: got a scalar gradient, want (…,C)");
  want.d[want.rank++] = gy->shape.d[gy->shape.rank - 1];
  if (!sumi_graph_want_shape (g, SUMI_OP_EMBEDDING_BWD, "gradient", gy, &want))
    return sumi_graph_mistake (g, "embedding_bwd");
  return sumi_graph_append_real (g, SUMI_OP_EMBEDDING_BWD, &SUMI_SHAPE (rows, want.d[want.rank - 1]), NULL, ids, gy);
}

SumiNode *
sumi_timestep_embedding (SumiGraph *g, SumiNode *t, guint dim, gboolean cos_first, double freq_shift, double max_period)
{
  SumiAttr attr = { .timestep = { dim, !!cos_first, freq_shift, max_period } };

  if (!sumi_graph_want_rank (g, SUMI_OP_TIMESTEP_EMBEDDING, "timestep", t, 1))
    return sumi_graph_mistake (g, "timestep_embedding");
  if (dim < 2 || dim % 2 != 0)
    return sumi_graph_mistake (g, "timestep_embedding: got dimension %u, want an even one", dim);
  if (!(max_period > 0) || !isfinite (max_period) || !isfinite (freq_shift) || freq_shift == dim / 2)
    return sumi_graph_mistake (g, "timestep_embedding: got period %g and shift %g, want finite frequencies", max_period,
                               freq_shift);
  return sumi_graph_append_real (g, SUMI_OP_TIMESTEP_EMBEDDING, &SUMI_SHAPE (t->shape.d[0], dim), &attr, t);
}
