/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/model-report.h"

#include <string.h>

#define VOCABULARY "token_ids" /* diffusion/model.h; no parameter, but part of a text model */

static gboolean
check (const SumiModule *m, const SumiModelConfig *c, const SumiTensorMap *weights, GError **error)
{
  if (c->family == SUMI_FAMILY_LATENT
      && sumi_tensor_map_lookup_shaped (weights, VOCABULARY, &SUMI_SHAPE (c->text.vocab_size), error) == NULL)
    return FALSE;
  return sumi_module_check (m, weights, "", error);
}

static void
count (SumiModelReport *r, const SumiNode *parameter)
{
  const guint64 n = (guint64)sumi_shape_numel (&parameter->shape);

  r->n_parameters += n;
  for (guint k = 0; k < SUMI_N_COMPONENTS; k++)
    {
      g_autofree char *prefix = g_strconcat (sumi_component_name (k), ".", NULL);

      if (g_str_has_prefix (parameter->name, prefix))
        r->n_part[k] += n;
    }
}

SumiModelReport *
sumi_model_report_new (const SumiTensorMap *weights, const SumiModelConfig *config, GError **error)
{
  g_autoptr (SumiGraph) graph = sumi_graph_new ();
  g_autoptr (SumiModule) module = sumi_module_new (graph);
  SumiModelReport *r;

  sumi_model_declare (module, config);
  if (!sumi_graph_check (graph, error))
    return NULL;
  r = g_new0 (SumiModelReport, 1);
  r->missing = g_ptr_array_new_with_free_func (g_free);
  r->unknown = g_ptr_array_new_with_free_func (g_free);
  check (module, config, weights, &r->wrong);
  for (guint i = 0; i < module->params->len; i++)
    {
      const SumiNode *node = g_array_index (module->params, SumiModuleParam, i).node;

      count (r, node);
      if (sumi_tensor_map_peek (weights, node->name) == NULL)
        g_ptr_array_add (r->missing, g_strdup (node->name));
    }
  for (guint i = 0; i < sumi_tensor_map_get_size (weights); i++)
    {
      const char *name = sumi_tensor_map_get_name (weights, i);

      if (sumi_graph_lookup (graph, name) == NULL && strcmp (name, VOCABULARY) != 0)
        g_ptr_array_add (r->unknown, g_strdup (name));
    }
  return r;
}

void
sumi_model_report_free (SumiModelReport *r)
{
  if (r == NULL)
    return;
  g_ptr_array_unref (r->missing);
  g_ptr_array_unref (r->unknown);
  g_clear_error (&r->wrong);
  g_free (r);
}
