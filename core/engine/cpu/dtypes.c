/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which values of a BF16 plan stay F32: leaves, what is computed from parameters and constants alone, outputs (among
 * them the gradients of parameters) with what they are sums and views of, sums, and the loss with all that follows from
 * it element by element.
 *
 * A plan without gradients keeps more.  BF16 pays where much is multiplied, and where values are so large that moving
 * them takes time.  All else that is rounded is accuracy lost for nothing: a residual path is rounded once per block,
 * and a norm over few values makes much of little.  So products that are small (time embeddings, the first convolution,
 * all of a tiny network) are computed in F32, large ones multiply BF16 but write F32 for norms and sums, and norms read
 * F32 and write BF16 for products. */
#include "engine/cpu/plan.h"

#define SMALL_PRODUCT ((guint64)1 << 27) /* multiply-adds x 2 of one sample: below a millisecond in F32 */
#define SHORT_SUM 128                    /* factors of each result: mostly writing, which is F32 anyway */
#define LARGE_VALUE ((gint64)64 << 20)   /* bytes as F32 */

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

/* ---- plans without gradients ---- */

static gboolean
is_product (const SumiNode *n)
{
  return n->op == SUMI_OP_MATMUL || n->op == SUMI_OP_LINEAR || n->op == SUMI_OP_CONV2D;
}

/* conv2d_bwd_data is a forward op as well: the transposed convolution. */
static gboolean
is_gradient (const SumiNode *n)
{
  switch (n->op)
    {
    case SUMI_OP_ACT_BWD:
    case SUMI_OP_CONV2D_BWD_WEIGHTS:
    case SUMI_OP_MAX_POOL2D_BWD:
    case SUMI_OP_UPSAMPLE_BWD:
    case SUMI_OP_GROUP_NORM_BWD_X:
    case SUMI_OP_GROUP_NORM_BWD_W:
    case SUMI_OP_LAYER_NORM_BWD_X:
    case SUMI_OP_LAYER_NORM_BWD_W:
    case SUMI_OP_SOFTMAX_BWD:
    case SUMI_OP_SDPA_BWD:
    case SUMI_OP_EMBEDDING_BWD:
      return TRUE;
    default:
      return FALSE;
    }
}

/* By sample, so that the batch does not change a result. */
static gboolean
is_small (const SumiNode *n)
{
  guint64 flops = sumi_node_flops (n), samples = n->shape.rank > 0 ? (guint64)n->shape.d[0] : 1;

  if (is_product (n))
    return flops <= SMALL_PRODUCT * samples || flops <= 2 * SHORT_SUM * (guint64)sumi_shape_numel (&n->shape);
  return n->op == SUMI_OP_SDPA && flops <= SMALL_PRODUCT * samples;
}

static gboolean
is_large_value (const SumiNode *n)
{
  return sumi_shape_numel (&n->shape) * (gint64)sizeof (float) > LARGE_VALUE;
}

/* Whether a reader makes use of F32; `wanted` says it of what is made from it. */
static gboolean
reads_wide (const SumiCpuPlan *p, const SumiNode *reader, const gboolean *wanted)
{
  switch (reader->op)
    {
    case SUMI_OP_MATMUL:
    case SUMI_OP_LINEAR:
    case SUMI_OP_CONV2D:
    case SUMI_OP_SDPA:
      return p->exact[reader->id];
    case SUMI_OP_CONV2D_BWD_DATA:
      return FALSE;
    case SUMI_OP_ADD:
    case SUMI_OP_SUB:
    case SUMI_OP_SUM:
    case SUMI_OP_GROUP_NORM:
    case SUMI_OP_LAYER_NORM:
      return TRUE;
    default:
      return wanted[reader->id];
    }
}

/* By id, which values some reader wants in F32; readers come after what they read. */
static gboolean *
mark_wanted (const SumiCpuPlan *p, SumiNode *const *nodes, guint n, const gboolean *result)
{
  gboolean *wanted = g_memdup2 (result, sumi_graph_get_size (p->base.graph) * sizeof *result);

  for (guint i = n; i-- > 0;)
    if (reads_wide (p, nodes[i], wanted))
      for (guint k = 0; k < nodes[i]->n_src; k++)
        wanted[nodes[i]->src[k]->id] |= !is_large_value (nodes[i]->src[k]);
  return wanted;
}

static gboolean
stays_wide (const SumiCpuPlan *p, const SumiNode *n, gboolean any_wide, const gboolean *wanted)
{
  SumiDType dtype;

  if (p->exact[n->id])
    return TRUE;
  switch (n->op)
    {
    case SUMI_OP_SDPA:
    case SUMI_OP_CONV2D_BWD_DATA:
      return FALSE;
    case SUMI_OP_MATMUL:
    case SUMI_OP_LINEAR:
    case SUMI_OP_CONV2D:
    case SUMI_OP_GROUP_NORM:
    case SUMI_OP_LAYER_NORM:
      return wanted[n->id];
    case SUMI_OP_CONCAT:
      return wanted[n->id] || (any_wide && !is_large_value (n));
    default:
      return is_fixed (n, &dtype) ? dtype == SUMI_F32 : wanted[n->id] || (is_element_wise (n) && any_wide);
    }
}

/* ---- plans with gradients ---- */

static gboolean
must_be_wide (const SumiNode *n, gboolean any_wide, const gboolean *result)
{
  SumiDType dtype;

  return is_fixed (n, &dtype) ? dtype == SUMI_F32 : result[n->id] || (is_element_wise (n) && any_wide);
}

/* ---- */

static gboolean
mark_exact (SumiCpuPlan *p, SumiNode *const *nodes, guint n)
{
  for (guint i = 0; i < n; i++)
    if (is_gradient (nodes[i]))
      return FALSE;
  for (guint i = 0; i < n; i++)
    p->exact[nodes[i]->id] = is_small (nodes[i]);
  return TRUE;
}

static void
choose_bf16 (SumiCpuPlan *p, SumiNode *const *nodes, guint n)
{
  guint size = sumi_graph_get_size (p->base.graph);
  g_autofree gboolean *result = mark_results (p, nodes, n);
  g_autofree gboolean *constant = g_new0 (gboolean, size); /* from parameters and constants alone */
  g_autofree gboolean *wanted = mark_exact (p, nodes, n) ? mark_wanted (p, nodes, n, result) : NULL;

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
      if (is_view (node))
        p->wide[node->id] = p->wide[node->src[0]->id];
      else
        p->wide[node->id]
            = (constant[node->id] && !is_fixed (node, &dtype))
              || (wanted != NULL ? stays_wide (p, node, any_wide, wanted) : must_be_wide (node, any_wide, result));
    }
}

void
sumi_cpu_choose_dtypes (SumiCpuPlan *p, SumiNode *const *nodes, guint n)
{
  for (guint i = 0; i < n; i++)
    p->wide[nodes[i]->id] = p->exact[nodes[i]->id] = p->dtype == SUMI_F32;
  if (p->dtype == SUMI_BF16)
    choose_bf16 (p, nodes, n);
}
