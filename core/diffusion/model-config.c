/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reading a model's configuration.  Whatever the pieces must agree on (channels, widths) is checked here, so that a
 * wrong file is told by the name of its field and not by a shape deep inside a graph. */
#include "diffusion/model-private.h"
#include "nn/config.h"

gboolean
sumi_model_object_field (JsonObject *json, const char *name, gboolean required, JsonObject **object, GError **error)
{
  JsonNode *node = json_object_get_member (json, name);

  *object = NULL;
  if (node == NULL || JSON_NODE_HOLDS_NULL (node))
    return !required || sumi_refuse (error, SUMI_ERROR_BAD_CONFIG, "%s: found nothing, expected an object", name);
  if (!JSON_NODE_HOLDS_OBJECT (node))
    return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG, "%s: found %s, expected an object", name,
                        json_node_type_name (node));
  *object = json_node_get_object (node);
  return TRUE;
}

/* A list of exactly n numbers in [min,max]. */
static gboolean
doubles_field (JsonObject *json, const char *name, guint n, double min, double max, double *values, GError **error)
{
  JsonNode *node = json_object_get_member (json, name);
  JsonArray *list;

  if (node == NULL || !JSON_NODE_HOLDS_ARRAY (node) || json_array_get_length (json_node_get_array (node)) != n)
    return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG, "%s: found no list of that length, expected %u numbers", name, n);
  list = json_node_get_array (node);
  for (guint i = 0; i < n; i++)
    {
      JsonNode *e = json_array_get_element (list, i);
      GType type = JSON_NODE_HOLDS_VALUE (e) ? json_node_get_value_type (e) : G_TYPE_INVALID;

      if (type != G_TYPE_DOUBLE && type != G_TYPE_INT64)
        return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG, "%s[%u]: found no number, expected %g to %g", name, i, min,
                            max);
      values[i] = json_node_get_double (e);
      if (!(values[i] >= min && values[i] <= max)) /* also NaN */
        return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG, "%s[%u]: found %g, expected %g to %g", name, i, values[i],
                            min, max);
    }
  return TRUE;
}

/* ---- the families ---- */

static gboolean
parse_sample_size (JsonObject *json, SumiModelConfig *c, GError **error)
{
  gint64 size[2] = { c->height, c->width };

  if (!sumi_config_ints (json, "sample_size", 2, 1, SUMI_MAX_SAMPLE_SIDE, size, error))
    return FALSE;
  c->height = size[0];
  c->width = size[1];
  return TRUE;
}

static gboolean
parse_simple_unet (JsonObject *json, SumiModelConfig *c, GError **error)
{
  c->height = c->width = 32;
  if (!sumi_simple_unet_config_parse (json, &c->simple, error) || !parse_sample_size (json, c, error))
    return FALSE;
  c->channels = c->simple.in_channels;
  c->out_channels = c->simple.out_channels;
  return TRUE;
}

gboolean
sumi_model_parse_unet (JsonObject *json, SumiModelConfig *c, JsonObject **unet, GError **error)
{
  if (!sumi_model_object_field (json, "unet", TRUE, unet, error))
    return FALSE;
  if (!sumi_unet_config_parse (*unet, &c->unet, error))
    {
      g_prefix_error (error, "unet: ");
      return FALSE;
    }
  c->channels = c->unet.in_channels;
  c->out_channels = c->unet.out_channels;
  return TRUE;
}

static gboolean
parse_ddpm (JsonObject *json, SumiModelConfig *c, GError **error)
{
  JsonObject *unet;

  c->height = c->width = 32;
  if (!sumi_model_parse_unet (json, c, &unet, error) || !parse_sample_size (unet, c, error)
      || !parse_sample_size (json, c, error))
    return FALSE;
  if (c->unet.cross_attention_dim != 0 || c->unet.projection_class_embeddings_input_dim != 0)
    return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG,
                        "unet: found a conditional U-Net, expected a UNet2DModel for family ddpm");
  return TRUE;
}

static gboolean
parse_latents (JsonObject *json, SumiModelConfig *c, GError **error)
{
  JsonObject *latents;
  gint64 channels;

  if (!sumi_model_object_field (json, "latents", TRUE, &latents, error)
      || !sumi_config_required_int (latents, "channels", SUMI_TAEF2_CHANNELS, SUMI_TAEF2_CHANNELS, &channels, error)
      || !sumi_config_required_int (latents, "height", 1, SUMI_MAX_SAMPLE_SIDE / 8, &c->height, error)
      || !sumi_config_required_int (latents, "width", 1, SUMI_MAX_SAMPLE_SIDE / 8, &c->width, error)
      || !doubles_field (latents, "mean", SUMI_TAEF2_CHANNELS, -1e3, 1e3, c->mean, error)
      || !doubles_field (latents, "std", SUMI_TAEF2_CHANNELS, 1e-6, 1e3, c->std, error))
    {
      g_prefix_error (error, "latents: ");
      return FALSE;
    }
  c->scale = 8;
  return TRUE;
}

static gboolean
parse_latent (JsonObject *json, SumiModelConfig *c, GError **error)
{
  JsonObject *unet, *text;
  const gint64 *hidden = &c->text.hidden_size, *pooled = &c->unet.projection_class_embeddings_input_dim;

  if (!sumi_model_parse_unet (json, c, &unet, error)
      || !sumi_model_object_field (json, "text_encoder", TRUE, &text, error) || !parse_latents (json, c, error))
    return FALSE;
  if (!sumi_text_config_parse (text, &c->text, error))
    {
      g_prefix_error (error, "text_encoder: ");
      return FALSE;
    }
  if (c->channels != SUMI_TAEF2_CHANNELS)
    return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG, "unet: in_channels: found %" G_GINT64_FORMAT ", expected %d",
                        c->channels, SUMI_TAEF2_CHANNELS);
  if (c->unet.cross_attention_dim != *hidden)
    return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG,
                        "unet: cross_attention_dim: found %" G_GINT64_FORMAT
                        ", expected the text encoder's hidden_size %" G_GINT64_FORMAT,
                        c->unet.cross_attention_dim, *hidden);
  if (*pooled != 0 && *pooled != *hidden)
    return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG,
                        "unet: projection_class_embeddings_input_dim: found %" G_GINT64_FORMAT
                        ", expected the text encoder's hidden_size %" G_GINT64_FORMAT,
                        *pooled, *hidden);
  return TRUE;
}

static gboolean
check_variance (SumiModelConfig *c, GError **error)
{
  gboolean learned = c->out_channels == 2 * c->channels;

  if (c->out_channels != c->channels && !learned)
    return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG,
                        "out_channels: found %" G_GINT64_FORMAT ", expected in_channels %" G_GINT64_FORMAT,
                        c->out_channels, c->channels);
  if (c->variance == SUMI_VARIANCE_LEARNED_RANGE && !learned)
    return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG,
                        "variance_type: found learned_range, expected a model of twice as many output channels");
  if (learned)
    c->variance = SUMI_VARIANCE_LEARNED_RANGE; /* the channels say so, whatever sampler the file was saved with */
  return TRUE;
}

static gboolean
parse_family (JsonObject *json, SumiFamily *family, GError **error)
{
  const char *name = NULL;

  if (!sumi_config_string (json, "family", &name, error))
    return FALSE;
  for (guint f = 0; f < SUMI_N_FAMILIES; f++)
    if (g_strcmp0 (name, sumi_family_name (f)) == 0)
      {
        *family = (SumiFamily)f;
        return TRUE;
      }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL,
               "family: found '%s', expected simple-unet, ddpm, sumi-latent, sd15, sd21, sdxl or sdxl-refiner",
               name != NULL ? name : "");
  return FALSE;
}

static gboolean
parse_parts (JsonObject *json, SumiModelConfig *c, GError **error)
{
  switch (c->family)
    {
    case SUMI_FAMILY_SIMPLE_UNET:
      return parse_simple_unet (json, c, error);
    case SUMI_FAMILY_DDPM:
      return parse_ddpm (json, c, error);
    case SUMI_FAMILY_LATENT:
      return parse_latent (json, c, error);
    default:
      return sumi_model_parse_stable_diffusion (json, c, error);
    }
}

gboolean
sumi_model_config_parse (JsonObject *json, SumiModelConfig *c, GError **error)
{
  JsonObject *scheduler;

  *c = (SumiModelConfig){ .scale = 1 };
  if (!parse_family (json, &c->family, error) || !sumi_model_object_field (json, "scheduler", FALSE, &scheduler, error)
      || (scheduler != NULL && !sumi_model_check_process (scheduler, error)) || !parse_parts (json, c, error))
    return FALSE;
  if (c->in_channels == 0)
    c->in_channels = c->channels;
  sumi_model_scheduler_defaults (c);
  if (scheduler != NULL && !sumi_model_parse_scheduler (scheduler, c, error))
    {
      g_prefix_error (error, "scheduler: ");
      return FALSE;
    }
  return check_variance (c, error) && sumi_model_parse_defaults (json, c, error);
}
