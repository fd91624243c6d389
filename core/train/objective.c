/* SPDX-License-Identifier: GPL-3.0-or-later */
/* L_simple (Ho et al. 2020, eq. 14), for any prediction type, with a weight for each sample. */
#include "train/objective.h"

#include "graph/autodiff.h"

char *
sumi_objective_gradient_name (const char *parameter)
{
  return g_strconcat ("grad/", parameter, NULL);
}

static SumiNode *
build_loss (SumiModule *module, const SumiModelConfig *c, gint64 n)
{
  SumiGraph *g = module->graph;
  SumiShape sample = SUMI_SHAPE (n, c->channels, c->height, c->width);
  SumiNode *x_t = sumi_input (g, "x_t", SUMI_REAL, &sample);
  SumiNode *target = sumi_input (g, "target", SUMI_REAL, &sample);
  SumiNode *timestep = sumi_input (g, "timestep", SUMI_REAL, &SUMI_SHAPE (n));
  SumiNode *weight = sumi_input (g, "weight", SUMI_REAL, &SUMI_SHAPE (n, 1, 1, 1));
  SumiNode *text = NULL, *pooled = NULL, *error;

  if (c->family == SUMI_FAMILY_LATENT)
    {
      SumiShape ids = SUMI_SHAPE (n, c->text.max_position_embeddings);
      text = sumi_model_text (module, c, sumi_input (g, "input_ids", SUMI_INDEX, &ids), &pooled);
    }
  error = sumi_model_denoiser (module, c, x_t, timestep, &(SumiModelInputs){ text, pooled, NULL, NULL });
  if (error->shape.rank == 4 && error->shape.d[1] > c->channels)
    error = sumi_slice (g, error, 1, 0, c->channels); /* a learned variance is not trained by this loss */
  error = sumi_sub (g, error, target);
  return sumi_mean (g, sumi_mul (g, sumi_mul (g, error, error), weight), 0xf, FALSE);
}

gboolean
sumi_objective_build (SumiObjective *o, const SumiModelConfig *config, guint batch, GError **error)
{
  g_autofree SumiNode **params = NULL, **grads = NULL;
  SumiNode *loss;
  guint n;

  o->graph = sumi_graph_new ();
  o->module = sumi_module_new (o->graph);
  loss = build_loss (o->module, config, batch);
  sumi_graph_output (o->graph, "loss", loss);
  n = o->module->params->len;
  params = g_new (SumiNode *, n);
  grads = g_new0 (SumiNode *, n);
  for (guint i = 0; i < n; i++)
    params[i] = g_array_index (o->module->params, SumiModuleParam, i).node;
  sumi_graph_grad (o->graph, loss, params, n, grads);
  for (guint i = 0; i < n; i++)
    {
      g_autofree char *name = sumi_objective_gradient_name (params[i]->name);
      sumi_graph_output (o->graph, name, grads[i]);
    }
  o->flops = sumi_graph_flops (o->graph);
  return sumi_graph_check (o->graph, error);
}

void
sumi_objective_clear (SumiObjective *o)
{
  g_clear_pointer (&o->module, sumi_module_free);
  g_clear_pointer (&o->graph, sumi_graph_unref);
}
