/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From a model's configuration to its networks. */
#include "diffusion/model.h"

static const char *const family_names[]
    = { "simple-unet", "ddpm", "sumi-latent", "sd15", "sd21", "sdxl", "sdxl-refiner" };

const char *
sumi_family_name (SumiFamily f)
{
  return f < SUMI_N_FAMILIES ? family_names[f] : "unknown";
}

gboolean
sumi_model_is_stable_diffusion (const SumiModelConfig *c)
{
  return c->family >= SUMI_FAMILY_SD1;
}

gint64
sumi_model_states_width (const SumiModelConfig *c)
{
  return c->unet.cross_attention_dim;
}

gint64
sumi_model_pooled_width (const SumiModelConfig *c)
{
  return c->unet.projection_class_embeddings_input_dim
         + MAX (c->unet.addition_embed_dim - sumi_model_n_time_ids (c) * c->unet.addition_time_embed_dim, 0);
}

gint64
sumi_model_n_time_ids (const SumiModelConfig *c)
{
  if (c->unet.addition_time_embed_dim == 0)
    return 0;
  return c->family == SUMI_FAMILY_SDXL_REFINER ? 5 : 6;
}

guint
sumi_model_granularity (const SumiModelConfig *c)
{
  return c->family == SUMI_FAMILY_SIMPLE_UNET ? 8 : 1u << (c->unet.n_levels - 1);
}

/* ---- the networks ---- */

SumiNode *
sumi_model_text (SumiModule *m, const SumiModelConfig *c, SumiNode *input_ids, SumiNode **pooled)
{
  SumiNode *states;

  sumi_module_push (m, "text_encoder");
  states = sumi_text_encoder (m, &c->text, input_ids, NULL);
  sumi_module_pop (m);
  *pooled = states;
  if (states->shape.rank == 3)
    *pooled = sumi_reshape (m->graph, sumi_slice (m->graph, states, 1, states->shape.d[1] - 1, 1),
                            &SUMI_SHAPE (states->shape.d[0], states->shape.d[2]));
  return states;
}

SumiNode *
sumi_model_denoiser (SumiModule *m, const SumiModelConfig *c, SumiNode *sample, SumiNode *timestep,
                     const SumiModelInputs *inputs)
{
  const SumiModelInputs in = inputs != NULL ? *inputs : (SumiModelInputs){ NULL };
  SumiUnetConditioning conditioning = { .encoder_hidden_states = in.encoder_hidden_states,
                                        .time_ids = in.time_ids,
                                        .timestep_cond = in.timestep_cond };
  SumiNode *out;

  switch (c->family)
    {
    case SUMI_FAMILY_SIMPLE_UNET:
      return sumi_simple_unet (m, &c->simple, sample, timestep);
    case SUMI_FAMILY_DDPM:
      return sumi_unet (m, &c->unet, sample, timestep, NULL);
    default:
      if (c->unet.projection_class_embeddings_input_dim > 0)
        conditioning.class_labels = in.pooled;
      else if (c->unet.addition_time_embed_dim > 0)
        conditioning.text_embeds = in.pooled;
      sumi_module_push (m, "unet");
      out = sumi_unet (m, &c->unet, sample, timestep, &conditioning);
      sumi_module_pop (m);
      return out;
    }
}

/* ---- every parameter ---- */

static void
declare_text (SumiModule *m, const char *name, const SumiTextConfig *t)
{
  sumi_module_push (m, "%s", name);
  sumi_text_encoder (m, t, sumi_input (m->graph, name, SUMI_INDEX, &SUMI_SHAPE (1, 1)), NULL);
  if (t->projection_dim > 0)
    sumi_module_param (m, "text_projection.weight", &SUMI_SHAPE (t->projection_dim, t->hidden_size),
                       (SumiInit){ SUMI_INIT_UNIFORM_FAN_IN, t->hidden_size });
  sumi_module_pop (m);
}

static void
declare_vae (SumiModule *m, const SumiModelConfig *c)
{
  SumiGraph *g = m->graph;

  sumi_module_push (m, "vae");
  sumi_vae_encoder (m, &c->vae, sumi_input (g, "image", SUMI_REAL, &SUMI_SHAPE (1, 3, c->scale, c->scale)));
  sumi_vae_decoder (m, &c->vae, sumi_input (g, "latents", SUMI_REAL, &SUMI_SHAPE (1, c->channels, 1, 1)));
  sumi_module_pop (m);
}

static SumiNode *
declare_input (SumiModule *m, const char *name, gint64 width)
{
  return width > 0 ? sumi_input (m->graph, name, SUMI_REAL, &SUMI_SHAPE (1, width)) : NULL;
}

static void
declare_denoiser (SumiModule *m, const SumiModelConfig *c)
{
  SumiGraph *g = m->graph;
  const gint64 side = sumi_model_granularity (c), states = sumi_model_states_width (c);
  SumiModelInputs in = { .pooled = declare_input (m, "pooled", sumi_model_pooled_width (c)),
                         .time_ids = declare_input (m, "time_ids", sumi_model_n_time_ids (c)),
                         .timestep_cond = declare_input (m, "timestep_cond", c->unet.time_cond_proj_dim) };

  if (states > 0)
    in.encoder_hidden_states = sumi_input (g, "encoder_hidden_states", SUMI_REAL, &SUMI_SHAPE (1, 1, states));
  sumi_model_denoiser (m, c, sumi_input (g, "sample", SUMI_REAL, &SUMI_SHAPE (1, c->in_channels, side, side)),
                       sumi_input (g, "timestep", SUMI_REAL, &SUMI_SHAPE (1)), &in);
}

void
sumi_model_declare (SumiModule *m, const SumiModelConfig *c)
{
  declare_denoiser (m, c);
  if (c->text.hidden_size > 0)
    declare_text (m, "text_encoder", &c->text);
  if (c->text_2.hidden_size > 0)
    declare_text (m, "text_encoder_2", &c->text_2);
  if (sumi_model_is_stable_diffusion (c))
    declare_vae (m, c);
}

/* ---- the small vocabulary ---- */

static gint64
row_of (const gint64 *token_ids, gint64 v, gint64 id)
{
  gint64 low = 1, high = v; /* row 0 stands for no id */

  while (low < high)
    {
      gint64 middle = low + (high - low) / 2;

      if (token_ids[middle] == id)
        return middle;
      if (token_ids[middle] < id)
        low = middle + 1;
      else
        high = middle;
    }
  return 0;
}

void
sumi_model_tokens_to_rows (const gint64 *token_ids, gint64 v, const gint64 *ids, gsize n, gint64 *rows,
                           guint *n_unknown)
{
  guint unknown = 0;

  for (gsize i = 0; i < n; i++)
    {
      rows[i] = row_of (token_ids, v, ids[i]);
      unknown += rows[i] == 0;
    }
  if (n_unknown != NULL)
    *n_unknown = unknown;
}
