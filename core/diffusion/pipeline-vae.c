/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The auto-encoder of a pipeline: the model's own, or a file of the user's in one of the spellings there are. */
#include "diffusion/pipeline-private.h"

#include <string.h>

#include "io/safetensors.h"
#include "io/weights.h"

/* ---- AutoencoderKL in a file of its own ---- */

/* Older names of diffusers for the attention's four layers. */
static const struct
{
  const char *old, *new;
} attention_names[]
    = { { ".query.", ".to_q." }, { ".key.", ".to_k." }, { ".value.", ".to_v." }, { ".proj_attn.", ".to_out.0." } };

/* As diffusers names it today, "vae." in front. Free with g_free. */
static char *
vae_name (const SumiVaeConfig *c, const char *name)
{
  static const char *const prefixes[] = { "first_stage_model.", "vae." };
  g_autofree char *own = NULL;
  const char *at;

  for (guint i = 0; i < G_N_ELEMENTS (prefixes); i++)
    if (g_str_has_prefix (name, prefixes[i]))
      name += strlen (prefixes[i]);
  own = sumi_names_vae_from_ldm (c->n_levels, name);
  if (own == NULL)
    own = g_strdup (name);
  for (guint i = 0; i < G_N_ELEMENTS (attention_names); i++)
    if ((at = strstr (own, attention_names[i].old)) != NULL)
      return g_strdup_printf ("vae.%.*s%s%s", (int)(at - own), own, attention_names[i].new,
                              at + strlen (attention_names[i].old));
  return g_strconcat ("vae.", own, NULL);
}

/* The attention's layers are matrices, also where a file has 1x1 convolutions of them. */
static SumiTensor *
vae_value (const char *name, SumiTensor *t, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (t);

  if (strstr (name, ".attentions.") != NULL && s->rank == 4 && s->d[2] == 1 && s->d[3] == 1)
    return sumi_tensor_reshape (t, &SUMI_SHAPE (s->d[0], s->d[1]), error);
  return sumi_tensor_ref (t);
}

static SumiTensorMap *
read_kl (const SumiVaeConfig *c, const SumiTensorMap *file, GError **error)
{
  g_autoptr (SumiTensorMap) weights = sumi_tensor_map_new ();

  for (guint i = 0; i < sumi_tensor_map_get_size (file); i++)
    {
      g_autofree char *name = vae_name (c, sumi_tensor_map_get_name (file, i));
      SumiTensor *value = vae_value (name, sumi_tensor_map_peek_nth (file, i), error);

      if (value == NULL)
        return NULL;
      sumi_tensor_map_take (weights, name, value);
    }
  return g_steal_pointer (&weights);
}

/* ---- opening ---- */

static void
scale_latents (const SumiModelConfig *c, SumiAutoencoderConfig *a)
{
  a->latent_channels = c->channels;
  memcpy (a->mean, c->mean, sizeof a->mean);
  memcpy (a->std, c->std, sizeof a->std);
}

static SumiAutoencoder *
open_own (SumiPipeline *p, GError **error)
{
  SumiAutoencoderConfig config = { .kind = SUMI_AUTOENCODER_KL, .vae = p->config.vae };
  g_autoptr (SumiTensorMap) taef2 = NULL;

  scale_latents (&p->config, &config);
  if (sumi_model_is_stable_diffusion (&p->config))
    return sumi_autoencoder_new (&config, p->weights, "vae.", p->engine, p->threads, error);
  if (p->taef2 == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE,
                   "TAEF2 weights: found no file, expected one for a latent model");
      return NULL;
    }
  config.kind = SUMI_AUTOENCODER_TAEF2;
  taef2 = sumi_safetensors_open (p->taef2, error);
  return taef2 != NULL ? sumi_autoencoder_new (&config, taef2, "", p->engine, p->threads, error) : NULL;
}

/* TAESD where the file is one, else AutoencoderKL of the model's own form. */
static SumiAutoencoder *
open_file (SumiPipeline *p, const char *path, GError **error)
{
  SumiAutoencoderConfig config = { .kind = SUMI_AUTOENCODER_TAESD };
  g_autoptr (SumiTensorMap) file = sumi_weights_open (path, error);
  g_autoptr (SumiTensorMap) weights = NULL;

  if (file == NULL)
    return NULL;
  weights = sumi_taesd_weights (file, &config.latent_channels, NULL);
  if (weights != NULL && config.latent_channels == p->config.channels)
    {
      for (gint64 i = 0; i < config.latent_channels; i++)
        config.std[i] = 1; /* in the denoiser's scale already */
      return sumi_autoencoder_new (&config, weights, "", p->engine, p->threads, error);
    }
  g_clear_pointer (&weights, sumi_tensor_map_unref);
  config = (SumiAutoencoderConfig){ .kind = SUMI_AUTOENCODER_KL, .vae = p->config.vae };
  scale_latents (&p->config, &config);
  weights = read_kl (&config.vae, file, error);
  return weights != NULL ? sumi_autoencoder_new (&config, weights, "vae.", p->engine, p->threads, error) : NULL;
}

/* Checkpoints are passed on without their auto-encoder, when it is one that people have anyway. */
gboolean
sumi_pipeline_lacks_vae (const SumiPipeline *p)
{
  if (!sumi_model_is_stable_diffusion (&p->config))
    return FALSE;
  for (guint i = 0; i < sumi_tensor_map_get_size (p->weights); i++)
    if (g_str_has_prefix (sumi_tensor_map_get_name (p->weights, i), "vae."))
      return FALSE;
  return TRUE;
}

gboolean
sumi_pipeline_open_vae (SumiPipeline *p, const char *path, GError **error)
{
  SumiAutoencoder *a;

  if (p->config.scale == 1 || (p->autoencoder != NULL && g_strcmp0 (p->vae, path) == 0))
    return TRUE;
  if (path == NULL && sumi_pipeline_lacks_vae (p))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR,
                   "auto-encoder: found none in the model, expected one of its own file (--vae)");
      return FALSE;
    }
  a = path != NULL ? open_file (p, path, error) : open_own (p, error);
  if (a == NULL)
    {
      if (path != NULL)
        g_prefix_error (error, "%s: ", path);
      return FALSE;
    }
  g_clear_pointer (&p->autoencoder, sumi_autoencoder_free);
  p->autoencoder = a;
  p->tile = sumi_autoencoder_get_tile (a);
  g_free (p->vae);
  p->vae = g_strdup (path);
  return TRUE;
}
