/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Compiling a pipeline's networks, and keeping the last few: another size means another plan. */
#include "diffusion/pipeline-private.h"

#include <stdio.h>

#define MAX_WARM 4

void
sumi_warm_plan_free (SumiWarmPlan *w)
{
  g_clear_pointer (&w->plan, sumi_plan_free);
  g_clear_pointer (&w->input, sumi_tensor_unref);
  g_clear_pointer (&w->output, sumi_tensor_unref);
  g_clear_pointer (&w->timestep, sumi_tensor_unref);
  g_free (w);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiWarmPlan, sumi_warm_plan_free)

/* ---- the graphs ---- */

static void
build_denoiser (const SumiModelConfig *c, SumiModule *m, gint64 n, gint64 height, gint64 width)
{
  SumiGraph *g = m->graph;
  SumiNode *sample = sumi_input (g, "sample", SUMI_REAL, &SUMI_SHAPE (n, c->channels, height, width));
  SumiNode *timestep = sumi_input (g, "timestep", SUMI_REAL, &SUMI_SHAPE (n)), *states = NULL, *pooled = NULL;

  if (c->family == SUMI_FAMILY_LATENT)
    {
      gint64 length = c->text.max_position_embeddings, hidden = c->text.hidden_size;

      states = sumi_input (g, "encoder_hidden_states", SUMI_REAL, &SUMI_SHAPE (n, length, hidden));
      pooled = sumi_input (g, "pooled", SUMI_REAL, &SUMI_SHAPE (n, hidden));
    }
  sumi_graph_output (g, "output",
                     sumi_model_denoiser (m, c, sample, timestep, &(SumiModelInputs){ states, pooled, NULL, NULL }));
}

/* The sample is normalised latents; the picture is about [0,1]. */
static void
build_decoder (SumiModule *m, gint64 n, gint64 height, gint64 width)
{
  SumiNode *latents = sumi_input (m->graph, "sample", SUMI_REAL, &SUMI_SHAPE (n, SUMI_TAEF2_CHANNELS, height, width));

  sumi_graph_output (m->graph, "output", sumi_taef2_decoder (m, latents));
}

static void
build_text (const SumiModelConfig *c, SumiModule *m)
{
  SumiNode *ids = sumi_input (m->graph, "input_ids", SUMI_INDEX, &SUMI_SHAPE (1, c->text.max_position_embeddings));
  SumiNode *pooled, *states = sumi_model_text (m, c, ids, &pooled);

  sumi_graph_output (m->graph, "states", states);
  sumi_graph_output (m->graph, "pooled", pooled);
}

static SumiModule *
new_module (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();

  return sumi_module_new (g);
}

gboolean
sumi_pipeline_check_weights (SumiPipeline *p, GError **error)
{
  const SumiModelConfig *c = &p->config;
  gint64 grain = sumi_model_granularity (c);
  g_autoptr (SumiModule) model = new_module ();
  g_autoptr (SumiModule) decoder = NULL;

  build_denoiser (c, model, 1, grain, grain);
  if (c->family == SUMI_FAMILY_LATENT)
    build_text (c, model);
  if (!sumi_graph_check (model->graph, error) || !sumi_module_check (model, p->weights, "", error))
    return FALSE;
  if (c->family != SUMI_FAMILY_LATENT)
    return TRUE;
  decoder = new_module ();
  build_decoder (decoder, 1, 1, 1);
  return sumi_graph_check (decoder->graph, error) && sumi_module_check (decoder, p->taef2, "", error);
}

/* ---- plans ---- */

/* What can be had without the system taking it from somebody else; 0 where it is not told. */
static gsize
available_memory (void)
{
  g_autofree char *text = NULL;
  const char *line;
  guint64 kib = 0;

  if (g_file_get_contents ("/proc/meminfo", &text, NULL, NULL) && (line = g_strstr_len (text, -1, "MemAvailable:")))
    kib = g_ascii_strtoull (line + strlen ("MemAvailable:"), NULL, 10);
  return (gsize)kib * 1024;
}

/* Allocation alone does not fail on a system that overcommits: it would be ended by the kernel while it runs. */
static gboolean
check_memory (const SumiPlan *plan, GError **error)
{
  gsize arena, parameters, have = available_memory ();
  g_autofree char *need_text = NULL, *have_text = NULL;

  sumi_plan_get_memory (plan, &arena, &parameters);
  if (have == 0 || arena <= have)
    return TRUE;
  need_text = g_format_size (arena);
  have_text = g_format_size (have);
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY,
               "memory: found %s free, expected %s for this size (a smaller picture needs less)", have_text, need_text);
  return FALSE;
}

static SumiPlan *
compile (SumiPipeline *p, SumiModule *m, const SumiTensorMap *weights, SumiDType dtype, GError **error)
{
  SumiCompileOptions options = { .dtype = dtype, .threads = p->threads };
  g_autoptr (SumiPlan) plan = NULL;

  if (!sumi_graph_check (m->graph, error))
    return NULL;
  plan = sumi_engine_compile (p->engine, m->graph, &options, error);
  if (plan == NULL || !check_memory (plan, error))
    return NULL;
  for (guint i = 0; i < m->params->len; i++)
    {
      const char *name = g_array_index (m->params, SumiModuleParam, i).node->name;

      if (!sumi_plan_set (plan, name, sumi_tensor_map_peek (weights, name), error))
        return NULL;
    }
  return g_steal_pointer (&plan);
}

SumiPlan *
sumi_pipeline_text_plan (SumiPipeline *p, GError **error)
{
  g_autoptr (SumiModule) m = NULL;

  if (p->text != NULL)
    return p->text;
  m = new_module ();
  build_text (&p->config, m);
  p->text = compile (p, m, p->weights, SUMI_F32, error);
  return p->text;
}

static SumiWarmPlan *
warm_new (SumiPipeline *p, gboolean decoder, gint64 n, gint64 height, gint64 width, GError **error)
{
  const SumiModelConfig *c = &p->config;
  g_autoptr (SumiModule) m = new_module ();
  g_autoptr (SumiWarmPlan) w = g_new0 (SumiWarmPlan, 1);
  SumiShape in = SUMI_SHAPE (n, c->channels, height, width), out = SUMI_SHAPE (n, c->out_channels, height, width);

  *w = (SumiWarmPlan){ .decoder = decoder, .n = n, .height = height, .width = width };
  if (decoder)
    {
      out = SUMI_SHAPE (n, 3, height * c->scale, width * c->scale);
      build_decoder (m, n, height, width);
    }
  else
    build_denoiser (c, m, n, height, width);
  if ((w->plan = compile (p, m, decoder ? p->taef2 : p->weights, decoder ? SUMI_F32 : p->dtype, error)) == NULL
      || (w->input = sumi_tensor_new (SUMI_F32, &in, error)) == NULL
      || (w->output = sumi_tensor_new (SUMI_F32, &out, error)) == NULL
      || (!decoder && (w->timestep = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (n), error)) == NULL))
    return NULL;
  return g_steal_pointer (&w);
}

SumiWarmPlan *
sumi_pipeline_warm (SumiPipeline *p, gboolean decoder, gint64 n, gint64 height, gint64 width, GError **error)
{
  SumiWarmPlan *w = NULL;

  for (guint i = 0; i < p->warm->len && w == NULL; i++)
    {
      SumiWarmPlan *k = g_ptr_array_index (p->warm, i);

      if (k->decoder == decoder && k->n == n && k->height == height && k->width == width)
        w = g_ptr_array_steal_index (p->warm, i);
    }
  if (w == NULL)
    {
      if (p->warm->len >= MAX_WARM) /* make room before the new one takes its memory */
        g_ptr_array_set_size (p->warm, MAX_WARM - 1);
      w = warm_new (p, decoder, n, height, width, error);
    }
  if (w != NULL)
    g_ptr_array_insert (p->warm, 0, w);
  return w;
}
