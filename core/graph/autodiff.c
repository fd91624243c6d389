/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reverse-mode autodiff.  A node needs a gradient when a wanted node is among its ancestors (or is it); the walk goes
 * from the loss back over such nodes alone, so that what nobody asked for is never built.  Nodes are numbered in a
 * topological order: when the walk comes to a node, all that use it have added their part. */
#include "graph/autodiff.h"
#include "graph/graph-private.h"

static gboolean *
find_paths (const SumiGraph *g, guint size, SumiNode *const *wrt, guint n)
{
  gboolean *on_path = g_new0 (gboolean, size);

  for (guint i = 0; i < n; i++)
    if (wrt[i]->id < size && wrt[i]->kind == SUMI_REAL)
      on_path[wrt[i]->id] = TRUE;
  for (guint id = 0; id < size; id++)
    {
      const SumiNode *node = sumi_graph_peek (g, id);

      for (guint i = 0; i < node->n_src; i++)
        on_path[id] |= on_path[node->src[i]->id];
    }
  return on_path;
}

/* Adds what one node passes on to its sources. */
static void
step_back (SumiGraph *g, const SumiNode *n, const gboolean *on_path, SumiNode **grad)
{
  SumiNode *gsrc[SUMI_MAX_SRC] = { NULL };
  gboolean want[SUMI_MAX_SRC] = { FALSE };
  gboolean any = FALSE;

  for (guint i = 0; i < n->n_src; i++)
    any |= want[i] = on_path[n->src[i]->id];
  if (!any)
    return;

  sumi_graph_push_scope (g, n->scope);
  if (sumi_op_is_differentiable (n->op))
    sumi_vjp (g, n, grad[n->id], want, gsrc);
  else
    sumi_graph_poison_code (g, SUMI_ERROR_ENGINE, "%s: has no gradient", sumi_op_name (n->op));
  for (guint i = 0; i < n->n_src; i++)
    if (gsrc[i])
      {
        SumiNode **sum = &grad[n->src[i]->id];
        *sum = *sum ? sumi_add (g, *sum, gsrc[i]) : gsrc[i];
      }
  sumi_graph_pop_scope (g);
}

void
sumi_graph_grad (SumiGraph *g, SumiNode *loss, SumiNode *const *wrt, guint n, SumiNode **grads)
{
  guint size = loss->id + 1;
  g_autofree gboolean *on_path = find_paths (g, size, wrt, n);
  g_autofree SumiNode **grad = g_new0 (SumiNode *, size);

  if (loss->kind != SUMI_REAL || sumi_shape_numel (&loss->shape) != 1)
    {
      g_autofree char *text = sumi_shape_to_string (&loss->shape);
      sumi_graph_poison (g, "gradient: got a loss of shape %s, want one number", text);
      on_path[loss->id] = FALSE;
    }

  sumi_graph_push_scope (g, "gradient");
  if (on_path[loss->id])
    grad[loss->id] = sumi_fill (g, 1, &loss->shape);
  for (guint id = size; id-- > 0;)
    if (grad[id])
      step_back (g, sumi_graph_peek (g, id), on_path, grad);
  for (guint i = 0; i < n; i++)
    if (wrt[i]->id < size && grad[wrt[i]->id])
      grads[i] = grad[wrt[i]->id];
    else
      grads[i] = sumi_fill (g, 0, &wrt[i]->shape);
  sumi_graph_pop_scope (g);
}
