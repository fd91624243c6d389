/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stable Diffusion's configurations.  The parts come from different folders or are told from shapes: what they must
 * agree on is checked here, by the names of their fields. */
#include "diffusion/model-private.h"
#include "diffusion/sampler.h"
#include "nn/config.h"

#define MAX_SAMPLE_LATENTS (SUMI_MAX_SAMPLE_SIDE / 8)

static gboolean
has_text (const SumiModelConfig *c)
{
  return c->family != SUMI_FAMILY_SDXL_REFINER;
}

static gboolean
has_text_2 (const SumiModelConfig *c)
{
  return c->family == SUMI_FAMILY_SDXL || c->family == SUMI_FAMILY_SDXL_REFINER;
}

/* ---- the parts ---- */

static gboolean
parse_text (JsonObject *json, const char *name, SumiTextConfig *text, GError **error)
{
  JsonObject *object;

  if (!sumi_model_object_field (json, name, TRUE, &object, error))
    return FALSE;
  if (sumi_text_config_parse (object, text, error))
    return TRUE;
  g_prefix_error (error, "%s: ", name);
  return FALSE;
}

/* The first text encoder's projection_dim stands in its file too, but nothing of it is used. The second one's is the
 * width of the pooled text. */
static gboolean
parse_texts (JsonObject *json, SumiModelConfig *c, GError **error)
{
  if (has_text (c) && !parse_text (json, "text_encoder", &c->text, error))
    return FALSE;
  c->text.projection_dim = 0;
  if (!has_text_2 (c))
    return TRUE;
  if (!parse_text (json, "text_encoder_2", &c->text_2, error))
    return FALSE;
  if (sumi_config_required_int (json_object_get_object_member (json, "text_encoder_2"), "projection_dim", 1,
                                SUMI_MAX_CHANNELS, &c->text_2.projection_dim, error))
    return TRUE;
  g_prefix_error (error, "text_encoder_2: ");
  return FALSE;
}

static gboolean
parse_vae (JsonObject *json, SumiModelConfig *c, GError **error)
{
  const SumiVaeConfig *v = &c->vae;
  JsonObject *vae;

  if (!sumi_model_object_field (json, "vae", TRUE, &vae, error))
    return FALSE;
  if (!sumi_vae_config_parse (vae, &c->vae, error))
    {
      g_prefix_error (error, "vae: ");
      return FALSE;
    }
  c->scale = 1u << (v->n_levels - 1);
  c->channels = v->latent_channels;
  for (gint64 i = 0; i < v->latent_channels; i++)
    {
      c->mean[i] = v->shift_factor;
      c->std[i] = 1 / v->scaling_factor;
    }
  return TRUE;
}

/* ---- what they must agree on ---- */

static gboolean
unknown_model (GError **error, const char *found)
{
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL,
               "found %s, expected a model that draws from text, inpaints or edits", found);
  return FALSE;
}

/* Behind the sample, inpainting models see the mask and the masked picture, instruct-pix2pix the picture. */
static gboolean
check_channels (SumiModelConfig *c, GError **error)
{
  const gint64 latent = c->vae.latent_channels, in = c->unet.in_channels;

  if (in == latent + 1)
    return unknown_model (error, "a depth-to-image model (unet: in_channels 5)");
  if (in == latent + 3)
    return unknown_model (error, "a x4 upscaler (unet: in_channels 7)");
  if (in != latent && in != 2 * latent && in != 2 * latent + 1)
    return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG,
                        "unet: in_channels: found %" G_GINT64_FORMAT ", expected %" G_GINT64_FORMAT
                        " (the vae's latent_channels), %" G_GINT64_FORMAT " (edits) or %" G_GINT64_FORMAT
                        " (inpainting)",
                        in, latent, 2 * latent, 2 * latent + 1);
  if (c->unet.out_channels != latent)
    return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG,
                        "unet: out_channels: found %" G_GINT64_FORMAT ", expected the vae's latent_channels "
                        "%" G_GINT64_FORMAT,
                        c->unet.out_channels, latent);
  c->in_channels = in;
  return TRUE;
}

static gboolean
check_states (const SumiModelConfig *c, GError **error)
{
  const gint64 width = c->text.hidden_size + c->text_2.hidden_size; /* of the one that is not there: 0 */

  if (c->unet.cross_attention_dim == width)
    return TRUE;
  return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG,
                      "unet: cross_attention_dim: found %" G_GINT64_FORMAT
                      ", expected the text encoders' hidden_size %" G_GINT64_FORMAT,
                      c->unet.cross_attention_dim, width);
}

static gboolean
check_pooled (const SumiModelConfig *c, GError **error)
{
  const SumiUnetConfig *u = &c->unet;
  const gint64 want = c->text_2.projection_dim + sumi_model_n_time_ids (c) * u->addition_time_embed_dim;

  if (u->projection_class_embeddings_input_dim > 0)
    return unknown_model (error, "a U-Net with a class embedding (unCLIP)");
  if (!has_text_2 (c))
    return u->addition_time_embed_dim == 0
           || sumi_refuse (error, SUMI_ERROR_BAD_CONFIG,
                           "unet: addition_embed_type: found text_time, expected none for family %s",
                           sumi_family_name (c->family));
  if (u->addition_time_embed_dim == 0)
    return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG,
                        "unet: addition_embed_type: found none, expected text_time for family %s",
                        sumi_family_name (c->family));
  if (u->addition_embed_dim == want)
    return TRUE;
  return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG,
                      "unet: projection_class_embeddings_input_dim: found %" G_GINT64_FORMAT
                      ", expected %" G_GINT64_FORMAT
                      " (text_encoder_2's projection_dim and %u times addition_time_embed_dim)",
                      u->addition_embed_dim, want, (guint)sumi_model_n_time_ids (c));
}

/* ---- together ---- */

/* In latents, as diffusers writes it into unet/config.json; else the family's. */
static gboolean
parse_sample_size (JsonObject *unet, SumiModelConfig *c, GError **error)
{
  gint64 side = c->family == SUMI_FAMILY_SD1 ? 64 : c->family == SUMI_FAMILY_SD2 ? 96 : 128, size[2] = { side, side };

  if (!sumi_config_ints (unet, "sample_size", 2, 1, MAX_SAMPLE_LATENTS, size, error))
    {
      g_prefix_error (error, "unet: ");
      return FALSE;
    }
  c->height = size[0];
  c->width = size[1];
  return TRUE;
}

gboolean
sumi_model_parse_stable_diffusion (JsonObject *json, SumiModelConfig *c, GError **error)
{
  JsonObject *unet;

  c->zero_empty = c->family == SUMI_FAMILY_SDXL;
  return sumi_model_parse_unet (json, c, &unet, error) && parse_vae (json, c, error) && parse_texts (json, c, error)
         && check_channels (c, error) && check_states (c, error) && check_pooled (c, error)
         && parse_sample_size (unet, c, error)
         && sumi_config_bool (json, "force_zeros_for_empty_prompt", &c->zero_empty, error);
}

/* ---- what to draw with ---- */

/* Consistency models (Luo et al. 2023) take few steps, and the guidance is in their weights; those with a time_cond
 * are told how much. */
static void
suppose (SumiModelConfig *c)
{
  gboolean few = g_str_equal (c->defaults.sampler, "lcm") || g_str_equal (c->defaults.sampler, "tcd");

  if (c->unet.time_cond_proj_dim > 0 && !few)
    {
      c->defaults.sampler = "lcm";
      few = TRUE;
    }
  c->defaults.steps = few ? 4 : 30;
  c->defaults.clip_skip = 1;
  c->defaults.guidance_scale = few                                  ? c->unet.time_cond_proj_dim > 0 ? 8 : 1
                               : sumi_model_is_stable_diffusion (c) ? 7.5
                                                                    : 4;
}

/* A name out of a list, as the list's own (static) string. */
static gboolean
name_field (JsonObject *json, const char *field, const char *const *list, const char **value, GError **error)
{
  guint choice = G_MAXUINT;

  if (!sumi_config_choice (json, field, list, &choice, error))
    return FALSE;
  if (choice != G_MAXUINT)
    *value = list[choice];
  return TRUE;
}

static gboolean
parse_default_size (JsonObject *json, SumiModelConfig *c, GError **error)
{
  gint64 size[2] = { c->height * c->scale, c->width * c->scale };

  if (!sumi_config_ints (json, "sample_size", 2, c->scale, SUMI_MAX_SAMPLE_SIDE, size, error))
    return FALSE;
  c->height = size[0] / c->scale;
  c->width = size[1] / c->scale;
  return TRUE;
}

gboolean
sumi_model_parse_defaults (JsonObject *json, SumiModelConfig *c, GError **error)
{
  JsonObject *object;

  suppose (c);
  if (!sumi_model_object_field (json, "defaults", FALSE, &object, error))
    return FALSE;
  if (object == NULL
      || (sumi_config_uint (object, "steps", 1, 1000, &c->defaults.steps, error)
          && sumi_config_double (object, "guidance_scale", 0, 100, &c->defaults.guidance_scale, error)
          && name_field (object, "sampler", sumi_sampler_list (), &c->defaults.sampler, error)
          && name_field (object, "sigmas", sumi_sigmas_list (), &c->defaults.sigmas, error)
          && sumi_config_uint (object, "clip_skip", 1, 12, &c->defaults.clip_skip, error)
          && parse_default_size (object, c, error)))
    return TRUE;
  g_prefix_error (error, "defaults: ");
  return FALSE;
}
