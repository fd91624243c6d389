/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which values of a BF16 plan stay F32: leaves, what is computed from parameters and constants alone, outputs (among
 * them the gradients of parameters) with what they are sums and views of, sums, and the loss with all that follows from
 * it element by element. */
#include "engine/cpu/plan.h"

static gboolean
is_view (const SumiNode *n)
{
  return n->op == SUMI_OP_RESHAPE || n->op == SUMI_OP_PERMUTE || n->op == SUMI_OP_SLICE || n->op == SUMI_OP_BROADCAST;
}

static gboolean
is_element_wise (const SumiNode *n)
{
  return n->op >= SUMI_OP_ADD && n->op <= SUMI_OP_ACT_BWD;
}

/* Kernels that are written for one dtype of result. */
static gboolean
is_fixed (const SumiNode *n, SumiDType *dtype)
{
  switch (n->op)
    {
    case SUMI_OP_INPUT:
    case SUMI_OP_PARAM:
    case SUMI_OP_SUM:
    case SUMI_OP_CONV2D_BWD_WEIGHTS:
    case SUMI_OP_GROUP_NORM_BWD_W:
    case SUMI_OP_LAYER_NORM_BWD_W:
    case SUMI_OP_EMBEDDING:
    case SUMI_OP_EMBEDDING_BWD:
    case SUMI_OP_TIMESTEP_EMBEDDING:
      *dtype = SUMI_F32;
      return TRUE;
    case SUMI_OP_CONV2D:
    case SUMI_OP_CONV2D_BWD_DATA:
    case SUMI_OP_GROUP_NORM:
    case SUMI_OP_GROUP_NORM_BWD_X:
    case SUMI_OP_LAYER_NORM:
    case SUMI_OP_LAYER_NORM_BWD_X:
    case SUMI_OP_SDPA:
    case SUMI_OP_SDPA_BWD:
      *dtype = SUMI_BF16;
      return TRUE;
    default:
      return FALSE;
    }
}

/* Outputs, and what they are views and sums of. */
static gboolean *
mark_results (SumiCpuPlan *p, SumiNode *const *nodes, guint n)
{
  gboolean *result = g_new0 (gboolean, sumi_graph_get_size (p->base.graph));

  for (guint i = 0; i < sumi_graph_get_n_outputs (p->base.graph); i++)
    {
      SumiNode *node;

      sumi_graph_get_output (p->base.graph, i, &node);
      result[node->id] = TRUE;
    }
  for (guint i = n; i-- > 0;)
    if (result[nodes[i]->id] && (is_view (nodes[i]) || nodes[i]->op == SUMI_OP_ADD || nodes[i]->op == SUMI_OP_AFFINE))
      for (guint k = 0; k < nodes[i]->n_src; k++)
        result[nodes[i]->src[k]->id] = TRUE;
  return result;
}

void
sumi_cpu_choose_dtypes (SumiCpuPlan *p, SumiNode *const *nodes, guint n)
{
  guint size = sumi_graph_get_size (p->base.graph);
  g_autofree gboolean *result = mark_results (p, nodes, n);
  g_autofree gboolean *constant = g_new0 (gboolean, size); /* from parameters and constants alone */

  for (guint i = 0; i < n; i++)
    {
      const SumiNode *node = nodes[i];
      gboolean all_constant = node->n_src > 0, any_wide = FALSE;
      SumiDType dtype;

      for (guint k = 0; k < node->n_src; k++)
        {
          guint id = node->src[k]->id;

          all_constant = all_constant && constant[id];
          any_wide = any_wide || (p->wide[id] && !constant[id]);
        }
      constant[node->id] = node->op == SUMI_OP_PARAM || node->op == SUMI_OP_FILL || all_constant;
      if (p->dtype == SUMI_F32)
        p->wide[node->id] = TRUE;
      else if (is_fixed (node, &dtype))
        p->wide[node->id] = dtype == SUMI_F32;
      else if (is_view (node))
        p->wide[node->id] = p->wide[node->src[0]->id];
      else
        p->wide[node->id] = constant[node->id] || result[node->id] || (is_element_wise (node) && any_wide);
    }
}
