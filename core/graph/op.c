/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is known of an op beside its shape rule: its name, whether it has a gradient, what it costs. */
#include "graph/graph.h"

static const struct
{
  const char *name;
  gboolean differentiable;
} ops[SUMI_N_OPS] = {
#define SUMI_OP(ID, name, min, max, diff) [SUMI_OP_##ID] = { name, diff },
#include "graph/ops.def"
#undef SUMI_OP
};

const char *
sumi_op_name (SumiOp op)
{
  return (guint)op < SUMI_N_OPS ? ops[op].name : "?";
}

gboolean
sumi_op_is_differentiable (SumiOp op)
{
  return (guint)op < SUMI_N_OPS && ops[op].differentiable;
}

/* In double: a count for people and benchmarks, which must not overflow. */
static double
multiply_adds (const SumiNode *n)
{
  const SumiShape *s = &n->shape;
  double numel = (double)sumi_shape_numel (s);

  switch (n->op)
    {
      case SUMI_OP_MATMUL: {
        const SumiShape *a = &n->src[0]->shape;
        return numel * (double)a->d[a->rank - (n->attr.matmul.ta ? 2 : 1)];
      }
    case SUMI_OP_LINEAR:
      return numel * (double)n->src[1]->shape.d[1];
      case SUMI_OP_CONV2D: {
        const SumiShape *w = &n->src[1]->shape;
        return numel * (double)w->d[1] * (double)w->d[2] * (double)w->d[3];
      }
      case SUMI_OP_CONV2D_BWD_DATA: {
        const SumiShape *w = &n->src[1]->shape;
        return (double)sumi_shape_numel (&n->src[0]->shape) * (double)w->d[1] * (double)w->d[2] * (double)w->d[3];
      }
    case SUMI_OP_CONV2D_BWD_WEIGHTS:
      return (double)sumi_shape_numel (&n->src[1]->shape) * (double)s->d[1] * (double)s->d[2] * (double)s->d[3];
    case SUMI_OP_SDPA: /* q kᵀ and p v */
      return 2 * numel * (double)n->src[1]->shape.d[1];
    case SUMI_OP_SDPA_BWD: /* q kᵀ again, gy vᵀ, and the three gradients */
      return 5 * (double)sumi_shape_numel (&n->src[0]->shape) * (double)n->src[1]->shape.d[1];
    default:
      return 0;
    }
}

guint64
sumi_node_flops (const SumiNode *n)
{
  return (guint64)MIN (2 * multiply_adds (n), 1e19);
}

guint64
sumi_graph_flops (const SumiGraph *g)
{
  g_autofree gboolean *needed = sumi_graph_needed (g);
  double flops = 0;

  for (guint id = 0; id < sumi_graph_get_size (g); id++)
    if (needed[id])
      flops += 2 * multiply_adds (sumi_graph_peek (g, id));
  return (guint64)MIN (flops, 1e19);
}
