/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/components.h"

#include <string.h>

const char *
sumi_component_name (SumiComponentKind k)
{
  static const char *const names[SUMI_N_COMPONENTS] = { "unet", "vae", "text_encoder", "text_encoder_2" };

  return names[k];
}

/* The longest that fits. The refiner has OpenCLIP's encoder where SDXL has CLIP's. */
static const struct
{
  const char *prefix;
  SumiComponentKind kind;
  gboolean open_clip;
} prefixes[] = {
  { "model.diffusion_model.", SUMI_COMPONENT_UNET, FALSE },
  { "first_stage_model.", SUMI_COMPONENT_VAE, FALSE },
  { "cond_stage_model.transformer.", SUMI_COMPONENT_TEXT, FALSE },
  { "cond_stage_model.model.", SUMI_COMPONENT_TEXT, TRUE },
  { "conditioner.embedders.0.transformer.", SUMI_COMPONENT_TEXT, FALSE },
  { "conditioner.embedders.0.model.", SUMI_COMPONENT_TEXT_2, TRUE },
  { "conditioner.embedders.1.model.", SUMI_COMPONENT_TEXT_2, TRUE },
};

/* ---- what is ignored ---- */

/* Tables of the noise schedule, counters and moving averages; the markers of models/detect.c. */
static const char *const ignored_names[] = {
  "betas",
  "alphas_cumprod",
  "alphas_cumprod_prev",
  "sqrt_alphas_cumprod",
  "sqrt_one_minus_alphas_cumprod",
  "log_one_minus_alphas_cumprod",
  "sqrt_recip_alphas_cumprod",
  "sqrt_recipm1_alphas_cumprod",
  "posterior_variance",
  "posterior_log_variance_clipped",
  "posterior_mean_coef1",
  "posterior_mean_coef2",
  "lvlb_weights",
  "logvar",
  "scale_factor",
  "global_step",
  "denoiser.sigmas",
  "v_pred",
  "ztsnr",
};
static const char *const ignored_prefixes[] = { "model_ema.", "loss.", "first_stage_model.loss.", "optimizer_states." };
static const char *const ignored_suffixes[]
    = { ".position_ids", ".logit_scale", ".attn.bias", ".self_attn.bias", ".attn_mask", ".causal_mask" };

gboolean
sumi_component_is_ignored (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (ignored_names); i++)
    if (strcmp (name, ignored_names[i]) == 0)
      return TRUE;
  for (guint i = 0; i < G_N_ELEMENTS (ignored_prefixes); i++)
    if (g_str_has_prefix (name, ignored_prefixes[i]))
      return TRUE;
  for (guint i = 0; i < G_N_ELEMENTS (ignored_suffixes); i++)
    if (g_str_has_suffix (name, ignored_suffixes[i]))
      return TRUE;
  return FALSE;
}

/* ---- taking apart ---- */

/* Files of 2022 leave out the class that transformers put around the text encoder later. */
static char *
text_name (const char *name)
{
  static const char *const inner[] = { "embeddings.", "encoder.", "final_layer_norm." };

  for (guint i = 0; i < G_N_ELEMENTS (inner); i++)
    if (g_str_has_prefix (name, inner[i]))
      return g_strconcat ("text_model.", name, NULL);
  return g_strdup (name);
}

/* The prefix of the name; the number of prefixes where there is none. */
static guint
find_prefix (const char *name)
{
  guint p = 0;

  while (p < G_N_ELEMENTS (prefixes) && !g_str_has_prefix (name, prefixes[p].prefix))
    p++;
  return p;
}

static void
sort_in (SumiComponents *c, const char *name, SumiTensor *t)
{
  const guint p = find_prefix (name);

  if (sumi_component_is_ignored (name))
    g_ptr_array_add (c->ignored, g_strdup (name));
  else if (p == G_N_ELEMENTS (prefixes))
    sumi_tensor_map_set (c->unknown, name, t);
  else
    {
      const SumiComponentKind kind = prefixes[p].kind;
      const char *rest = name + strlen (prefixes[p].prefix);
      gboolean is_clip = kind == SUMI_COMPONENT_TEXT && !prefixes[p].open_clip;
      g_autofree char *inner = is_clip ? text_name (rest) : g_strdup (rest);

      c->prefix[kind] = prefixes[p].prefix;
      c->open_clip[kind] = prefixes[p].open_clip;
      sumi_tensor_map_set (c->tensors[kind], inner, t);
    }
}

SumiComponents *
sumi_components_new (const SumiTensorMap *file)
{
  static const char wrapper[] = "state_dict."; /* of a whole training checkpoint */
  SumiComponents *c = g_new0 (SumiComponents, 1);

  c->ignored = g_ptr_array_new_with_free_func (g_free);
  c->unknown = sumi_tensor_map_new ();
  for (guint k = 0; k < SUMI_N_COMPONENTS; k++)
    c->tensors[k] = sumi_tensor_map_new ();
  for (guint i = 0; i < sumi_tensor_map_get_size (file); i++)
    {
      const char *name = sumi_tensor_map_get_name (file, i);

      sort_in (c, g_str_has_prefix (name, wrapper) ? name + strlen (wrapper) : name,
               sumi_tensor_map_peek_nth (file, i));
    }
  return c;
}

void
sumi_components_free (SumiComponents *c)
{
  if (c == NULL)
    return;
  for (guint k = 0; k < SUMI_N_COMPONENTS; k++)
    sumi_tensor_map_unref (c->tensors[k]);
  g_ptr_array_unref (c->ignored);
  sumi_tensor_map_unref (c->unknown);
  g_free (c);
}
