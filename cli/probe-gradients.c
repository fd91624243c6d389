/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Gradients of a loss to all parameters, and what a case reports of them. */
#include "probe.h"

#include <math.h>
#include <string.h>

#include "graph/autodiff.h"
#include "nn/config.h"

void
probe_gradients_clear (ProbeGradients *t)
{
  g_clear_pointer (&t->params, g_ptr_array_unref);
  g_clear_pointer (&t->shapes, g_array_unref);
  g_clear_pointer (&t->prefix, g_free);
}

SumiNode *
probe_mse (SumiGraph *g, SumiNode *a, SumiNode *b)
{
  SumiNode *difference = sumi_sub (g, a, b);

  return sumi_mean (g, sumi_mul (g, difference, difference), (1u << difference->shape.rank) - 1, FALSE);
}

/* ---- which parameters, in which order ---- */

static gboolean
add_param (ProbeGradients *t, SumiModule *m, const char *name, GError **error)
{
  g_autofree char *full = g_strconcat (t->prefix, name, NULL);

  for (guint i = 0; name != NULL && i < m->params->len; i++)
    {
      const SumiNode *node = g_array_index (m->params, SumiModuleParam, i).node;

      if (strcmp (node->name, full) != 0)
        continue;
      g_ptr_array_add (t->params, g_strdup (name));
      g_array_append_val (t->shapes, node->shape);
      return TRUE;
    }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "param_order: found '%s', expected a parameter of the model",
               name != NULL ? name : "no text");
  return FALSE;
}

static gboolean
list_params (ProbeGradients *t, SumiModule *m, GError **error)
{
  JsonNode *node = json_object_get_member (t->p->json, "param_order");
  guint n = m->params->len;

  t->params = g_ptr_array_new_with_free_func (g_free);
  t->shapes = g_array_new (FALSE, FALSE, sizeof (SumiShape));
  if (node == NULL || JSON_NODE_HOLDS_NULL (node))
    {
      for (guint i = 0; i < n; i++)
        add_param (t, m, g_array_index (m->params, SumiModuleParam, i).node->name + strlen (t->prefix), NULL);
      return TRUE;
    }
  if (!sumi_config_list_length (t->p->json, "param_order", 1, n, &n, error))
    return FALSE;
  for (guint i = 0; i < n; i++)
    {
      JsonNode *e = json_array_get_element (json_node_get_array (node), i);
      gboolean is_text = JSON_NODE_HOLDS_VALUE (e) && json_node_get_value_type (e) == G_TYPE_STRING;

      if (!add_param (t, m, is_text ? json_node_get_string (e) : NULL, error))
        return FALSE;
    }
  return TRUE;
}

/* ---- the graph ---- */

gboolean
probe_gradients_build (ProbeGradients *t, Probe *p, SumiModule *m, const char *prefix, SumiNode *loss,
                       const char *const *inputs, GError **error)
{
  SumiGraph *g = m->graph;
  guint n_inputs = inputs != NULL ? g_strv_length ((char **)inputs) : 0;
  g_autofree SumiNode **wrt = NULL, **grads = NULL;
  guint n;

  t->p = p;
  t->prefix = g_strdup (prefix);
  if (!sumi_graph_check (g, error) || !list_params (t, m, error))
    return FALSE;
  n = t->params->len + n_inputs;
  wrt = g_new (SumiNode *, n);
  grads = g_new (SumiNode *, n);
  for (guint i = 0; i < n; i++)
    {
      g_autofree char *param = NULL;

      if (i < t->params->len)
        param = g_strconcat (prefix, g_ptr_array_index (t->params, i), NULL);
      wrt[i] = sumi_graph_lookup (g, param != NULL ? param : inputs[i - t->params->len]);
    }
  sumi_graph_grad (g, loss, wrt, n, grads);
  for (guint i = 0; i < n; i++)
    {
      const char *what = i < t->params->len ? g_ptr_array_index (t->params, i) : inputs[i - t->params->len];
      g_autofree char *name = g_strconcat (i < t->params->len ? "grad." : "grad_", what, NULL);

      sumi_graph_output (g, name, grads[i]);
    }
  return TRUE;
}

/* ---- what is reported ---- */

gboolean
probe_summary_new (ProbeGradients *t, const char *prefix, ProbeSummary *s, GError **error)
{
  g_autofree char *l2 = g_strconcat (prefix, "_l2", NULL), *sum = g_strconcat (prefix, "_sum", NULL);
  g_autofree char *probe = g_strconcat (prefix, "_probe", NULL);
  gint64 n = t->params->len;

  s->l2 = probe_out (t->p, l2, SUMI_F32, &SUMI_SHAPE (n), error);
  s->sum = s->l2 != NULL ? probe_out (t->p, sum, SUMI_F32, &SUMI_SHAPE (n), error) : NULL;
  s->probe = s->sum != NULL ? probe_out (t->p, probe, SUMI_F32, &SUMI_SHAPE (n, 8), error) : NULL;
  return s->probe != NULL;
}

/* L2 norm, sum, and 8 values spread over n: the flat elements k (n-1) / 7. */
static void
summarize (const float *x, gint64 n, float *l2, float *sum, float probes[8])
{
  double squares = 0, total = 0;

  for (gint64 i = 0; i < n; i++)
    {
      squares += (double)x[i] * x[i];
      total += x[i];
    }
  *l2 = (float)sqrt (squares);
  *sum = (float)total;
  for (int k = 0; k < 8; k++)
    probes[k] = n > 0 ? x[k * (n - 1) / 7] : 0;
}

void
probe_summary_set (const ProbeSummary *s, guint i, const SumiTensor *values)
{
  summarize (sumi_tensor_peek_f32 (values), sumi_tensor_get_numel (values), sumi_tensor_poke_f32 (s->l2) + i,
             sumi_tensor_poke_f32 (s->sum) + i, sumi_tensor_poke_f32 (s->probe) + 8 * i);
}

/* The names in the parameter "full". */
static GHashTable *
listed_names (Probe *p)
{
  GHashTable *names = g_hash_table_new (g_str_hash, g_str_equal);
  JsonNode *full = json_object_get_member (p->params, "full");
  JsonArray *list = full != NULL && JSON_NODE_HOLDS_ARRAY (full) ? json_node_get_array (full) : NULL;

  for (guint i = 0; list != NULL && i < json_array_get_length (list); i++)
    {
      JsonNode *e = json_array_get_element (list, i);

      if (JSON_NODE_HOLDS_VALUE (e) && json_node_get_value_type (e) == G_TYPE_STRING)
        g_hash_table_add (names, (gpointer)json_node_get_string (e));
    }
  return names;
}

gboolean
probe_gradients_report (ProbeGradients *t, SumiPlan *plan, gint64 limit, GError **error)
{
  g_autoptr (GHashTable) listed = listed_names (t->p);
  ProbeSummary s;

  if (!sumi_config_int (t->p->params, "limit", 0, G_MAXINT64, &limit, error)
      || !probe_summary_new (t, "grad", &s, error))
    return FALSE;
  for (guint i = 0; i < t->params->len; i++)
    {
      const char *param = g_ptr_array_index (t->params, i);
      g_autofree char *name = g_strconcat ("grad.", param, NULL);
      g_autoptr (SumiTensor) grad = probe_read (plan, name, error);

      if (grad == NULL)
        return FALSE;
      probe_summary_set (&s, i, grad);
      if (sumi_tensor_get_numel (grad) <= limit || g_hash_table_contains (listed, param))
        sumi_tensor_map_set (t->p->out, name, grad);
    }
  return TRUE;
}
