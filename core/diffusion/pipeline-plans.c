/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Compiling the denoiser, and keeping the last few plans: another size means another plan, of the same parameters. */
#include "diffusion/pipeline-private.h"

#define MAX_DENOISERS 4

void
sumi_denoiser_free (SumiDenoiser *k)
{
  g_clear_pointer (&k->plan, sumi_plan_free);
  g_clear_pointer (&k->input, sumi_tensor_unref);
  g_clear_pointer (&k->output, sumi_tensor_unref);
  g_clear_pointer (&k->timestep, sumi_tensor_unref);
  g_free (k);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiDenoiser, sumi_denoiser_free)

/* ---- the graph ---- */

static SumiNode *
optional_input (SumiGraph *g, const char *name, gint64 n, gint64 width)
{
  return width > 0 ? sumi_input (g, name, SUMI_REAL, &SUMI_SHAPE (n, width)) : NULL;
}

static SumiModule *
build_denoiser (const SumiModelConfig *c, const SumiDenoiserSize *size)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiModule *m = sumi_module_new (g);
  gint64 n = size->samples;
  SumiNode *sample = sumi_input (g, "sample", SUMI_REAL, &SUMI_SHAPE (n, c->in_channels, size->height, size->width));
  SumiNode *timestep = sumi_input (g, "timestep", SUMI_REAL, &SUMI_SHAPE (n));
  SumiModelInputs inputs = { NULL };

  if (size->length > 0)
    {
      inputs.encoder_hidden_states = sumi_input (g, "encoder_hidden_states", SUMI_REAL,
                                                 &SUMI_SHAPE (n, size->length, sumi_model_states_width (c)));
      inputs.pooled = optional_input (g, "pooled", n, sumi_model_pooled_width (c));
      inputs.time_ids = optional_input (g, "time_ids", n, sumi_model_n_time_ids (c));
      inputs.timestep_cond = optional_input (g, "timestep_cond", n, c->unet.time_cond_proj_dim);
    }
  sumi_graph_output (g, "output", sumi_model_denoiser (m, c, sample, timestep, &inputs));
  return m;
}

/* Names and shapes of everything the denoiser reads.  The numbers themselves are looked at when they are packed, so
 * that a file of gigabytes is read once; small models are read twice. */
gboolean
sumi_pipeline_check_weights (SumiPipeline *p, GError **error)
{
  const SumiModelConfig *c = &p->config;
  gint64 grain = sumi_model_granularity (c);
  const SumiDenoiserSize size = { 1, grain, grain, sumi_pipeline_takes_prompt (p) ? 1 : 0 };
  g_autoptr (SumiModule) m = build_denoiser (c, &size);

  if (!sumi_graph_check (m->graph, error))
    return FALSE;
  if (!sumi_model_is_stable_diffusion (c) && !sumi_module_check (m, p->weights, "", error))
    return FALSE;
  for (guint i = 0; i < m->params->len; i++)
    {
      const SumiNode *node = g_array_index (m->params, SumiModuleParam, i).node;

      if (sumi_tensor_map_lookup_shaped (p->weights, node->name, &node->shape, error) == NULL)
        return FALSE;
      g_ptr_array_add (p->parameters, g_strdup (node->name));
    }
  return TRUE;
}

/* ---- plans ---- */

static gboolean
set_parameters (SumiPipeline *p, SumiPlan *plan, GCancellable *cancellable, GError **error)
{
  for (guint i = 0; i < p->parameters->len; i++)
    {
      const char *name = g_ptr_array_index (p->parameters, i);
      g_autoptr (SumiTensor) value = NULL;

      if (sumi_plan_has_value (plan, name))
        continue;
      value = sumi_pipeline_parameter (p, name, error);
      if (value == NULL || !sumi_plan_set (plan, name, value, error)
          || sumi_set_error_if_cancelled (cancellable, error))
        return FALSE;
    }
  return TRUE;
}

static SumiDenoiser *
denoiser_new (SumiPipeline *p, const SumiDenoiserSize *size, GCancellable *cancellable, GError **error)
{
  const SumiModelConfig *c = &p->config;
  SumiCompileOptions options = { .dtype = p->dtype, .threads = p->threads };
  SumiShape in = SUMI_SHAPE (size->samples, c->in_channels, size->height, size->width);
  SumiShape out = SUMI_SHAPE (size->samples, c->out_channels, size->height, size->width);
  g_autoptr (SumiModule) m = build_denoiser (c, size);
  g_autoptr (SumiDenoiser) k = g_new0 (SumiDenoiser, 1);

  if (p->packed == NULL)
    p->packed = sumi_packed_weights_new (p->engine);
  options.packed = p->packed;
  k->size = *size;
  if (!sumi_graph_check (m->graph, error)
      || (k->plan = sumi_engine_compile (p->engine, m->graph, &options, error)) == NULL
      || !set_parameters (p, k->plan, cancellable, error) || (k->input = sumi_tensor_new (SUMI_F32, &in, error)) == NULL
      || (k->output = sumi_tensor_new (SUMI_F32, &out, error)) == NULL
      || (k->timestep = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (size->samples), error)) == NULL)
    return NULL;
  return g_steal_pointer (&k);
}

static gboolean
same_size (const SumiDenoiserSize *a, const SumiDenoiserSize *b)
{
  return a->samples == b->samples && a->height == b->height && a->width == b->width && a->length == b->length;
}

SumiDenoiser *
sumi_pipeline_denoiser (SumiPipeline *p, const SumiDenoiserSize *size, GCancellable *cancellable, GError **error)
{
  SumiDenoiser *k = NULL;

  for (guint i = 0; i < p->denoisers->len && k == NULL; i++)
    if (same_size (&((SumiDenoiser *)g_ptr_array_index (p->denoisers, i))->size, size))
      k = g_ptr_array_steal_index (p->denoisers, i);
  if (k == NULL)
    {
      if (p->denoisers->len >= MAX_DENOISERS) /* make room before the new one takes its memory */
        g_ptr_array_set_size (p->denoisers, MAX_DENOISERS - 1);
      k = denoiser_new (p, size, cancellable, error);
    }
  if (k != NULL)
    g_ptr_array_insert (p->denoisers, 0, k);
  return k;
}

void
sumi_pipeline_free_denoisers (SumiPipeline *p)
{
  g_ptr_array_set_size (p->denoisers, 0);
  g_clear_pointer (&p->packed, sumi_packed_weights_unref);
}
