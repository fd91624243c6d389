/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From a model's configuration to its networks.  Whatever the pieces must agree on (channels, widths) is checked here,
 * so that a wrong file is told by the name of its field and not by a shape deep inside a graph. */
#include "diffusion/model.h"

#include "nn/config.h"

#define MAX_SIDE 4096

static const char *const family_names[]
    = { "simple-unet", "ddpm", "sumi-latent", "sd15", "sd21", "sdxl", "sdxl-refiner", NULL };

const char *
sumi_family_name (SumiFamily f)
{
  return f < SUMI_N_FAMILIES ? family_names[f] : "unknown";
}

static gboolean refuse (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);

static gboolean
refuse (GError **error, const char *format, ...)
{
  g_autofree char *message = NULL;
  va_list args;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error_literal (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, message);
  return FALSE;
}

/* A field that is an object. With `required` FALSE, absent gives TRUE and NULL. */
static gboolean
object_field (JsonObject *json, const char *name, gboolean required, JsonObject **object, GError **error)
{
  JsonNode *node = json_object_get_member (json, name);

  *object = NULL;
  if (node == NULL || JSON_NODE_HOLDS_NULL (node))
    return !required || refuse (error, "%s: found nothing, expected an object", name);
  if (!JSON_NODE_HOLDS_OBJECT (node))
    return refuse (error, "%s: found %s, expected an object", name, json_node_type_name (node));
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
    return refuse (error, "%s: found no list of that length, expected %u numbers", name, n);
  list = json_node_get_array (node);
  for (guint i = 0; i < n; i++)
    {
      JsonNode *e = json_array_get_element (list, i);
      GType type = JSON_NODE_HOLDS_VALUE (e) ? json_node_get_value_type (e) : G_TYPE_INVALID;

      if (type != G_TYPE_DOUBLE && type != G_TYPE_INT64)
        return refuse (error, "%s[%u]: found no number, expected %g to %g", name, i, min, max);
      values[i] = json_node_get_double (e);
      if (!(values[i] >= min && values[i] <= max)) /* also NaN */
        return refuse (error, "%s[%u]: found %g, expected %g to %g", name, i, values[i], min, max);
    }
  return TRUE;
}

/* ---- the noise schedule ---- */

static void
scheduler_defaults (SumiModelConfig *c)
{
  c->betas = SUMI_BETAS_LINEAR;
  c->num_train_timesteps = 1000;
  c->beta_start = 1e-4;
  c->beta_end = 0.02;
  c->prediction = SUMI_PREDICT_EPSILON;
  c->variance = SUMI_VARIANCE_FIXED_SMALL;
  c->clip_sample = c->family != SUMI_FAMILY_LATENT;
  c->spacing = SUMI_SPACING_TRAILING;
  c->set_alpha_to_one = TRUE;
}

/* What would change the pictures and is not built is refused; what concerns other samplers is not looked at. */
static gboolean
scheduler_is_plain (JsonObject *json, GError **error)
{
  double range = 1;

  return sumi_config_must_be (json, "rescale_betas_zero_snr", "false", error)
         && sumi_config_must_be (json, "thresholding", "false", error)
         && sumi_config_must_be (json, "trained_betas", "null", error)
         && sumi_config_double (json, "clip_sample_range", 1, 1, &range, error);
}

static gboolean
parse_scheduler (JsonObject *json, SumiModelConfig *c, GError **error)
{
  static const char *const variances[] = { "fixed_small", "fixed_large", "learned_range", NULL };
  const char *betas = NULL, *prediction = NULL, *spacing = NULL;
  guint variance = c->variance;

  /* diffusers writes its class into every scheduler file, and where the spacing is left out this was its default */
  if (json_object_has_member (json, "_class_name"))
    c->spacing = SUMI_SPACING_LEADING;
  if (!scheduler_is_plain (json, error)
      || !sumi_config_uint (json, "num_train_timesteps", 1, 100000, &c->num_train_timesteps, error)
      || !sumi_config_string (json, "beta_schedule", &betas, error)
      || !sumi_config_double (json, "beta_start", 1e-12, 0.9999, &c->beta_start, error)
      || !sumi_config_double (json, "beta_end", 1e-12, 0.9999, &c->beta_end, error)
      || !sumi_config_string (json, "prediction_type", &prediction, error)
      || !sumi_config_choice (json, "variance_type", variances, &variance, error)
      || !sumi_config_bool (json, "clip_sample", &c->clip_sample, error)
      || !sumi_config_string (json, "timestep_spacing", &spacing, error)
      || !sumi_config_uint (json, "steps_offset", 0, 1000, &c->steps_offset, error)
      || !sumi_config_bool (json, "set_alpha_to_one", &c->set_alpha_to_one, error))
    return FALSE;
  c->variance = (SumiVariance)variance;
  if ((betas != NULL && !sumi_beta_kind_parse (betas, &c->betas, error))
      || (prediction != NULL && !sumi_prediction_parse (prediction, &c->prediction, error))
      || (spacing != NULL && !sumi_spacing_parse (spacing, &c->spacing, error)))
    return FALSE;
  if (c->betas != SUMI_BETAS_COSINE && c->beta_start > c->beta_end)
    return refuse (error, "beta_start: found %g, expected at most beta_end %g", c->beta_start, c->beta_end);
  return TRUE;
}

/* ---- the families ---- */

static gboolean
parse_sample_size (JsonObject *json, SumiModelConfig *c, GError **error)
{
  gint64 size[2] = { c->height, c->width };

  if (!sumi_config_ints (json, "sample_size", 2, 1, MAX_SIDE, size, error))
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

static gboolean
parse_unet (JsonObject *json, SumiModelConfig *c, JsonObject **unet, GError **error)
{
  if (!object_field (json, "unet", TRUE, unet, error))
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
  if (!parse_unet (json, c, &unet, error) || !parse_sample_size (unet, c, error) || !parse_sample_size (json, c, error))
    return FALSE;
  if (c->unet.cross_attention_dim != 0 || c->unet.projection_class_embeddings_input_dim != 0)
    return refuse (error, "unet: found a conditional U-Net, expected a UNet2DModel for family ddpm");
  return TRUE;
}

static gboolean
parse_latents (JsonObject *json, SumiModelConfig *c, GError **error)
{
  JsonObject *latents;
  gint64 channels;

  if (!object_field (json, "latents", TRUE, &latents, error)
      || !sumi_config_required_int (latents, "channels", SUMI_TAEF2_CHANNELS, SUMI_TAEF2_CHANNELS, &channels, error)
      || !sumi_config_required_int (latents, "height", 1, MAX_SIDE / 8, &c->height, error)
      || !sumi_config_required_int (latents, "width", 1, MAX_SIDE / 8, &c->width, error)
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

  if (!parse_unet (json, c, &unet, error) || !object_field (json, "text_encoder", TRUE, &text, error)
      || !parse_latents (json, c, error))
    return FALSE;
  if (!sumi_text_config_parse (text, &c->text, error))
    {
      g_prefix_error (error, "text_encoder: ");
      return FALSE;
    }
  if (c->channels != SUMI_TAEF2_CHANNELS)
    return refuse (error, "unet: in_channels: found %" G_GINT64_FORMAT ", expected %d", c->channels,
                   SUMI_TAEF2_CHANNELS);
  if (c->unet.cross_attention_dim != *hidden)
    return refuse (error,
                   "unet: cross_attention_dim: found %" G_GINT64_FORMAT
                   ", expected the text encoder's hidden_size %" G_GINT64_FORMAT,
                   c->unet.cross_attention_dim, *hidden);
  if (*pooled != 0 && *pooled != *hidden)
    return refuse (error,
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
    return refuse (error, "out_channels: found %" G_GINT64_FORMAT ", expected in_channels %" G_GINT64_FORMAT,
                   c->out_channels, c->channels);
  if (c->variance == SUMI_VARIANCE_LEARNED_RANGE && !learned)
    return refuse (error, "variance_type: found learned_range, expected a model of twice as many output channels");
  if (learned)
    c->variance = SUMI_VARIANCE_LEARNED_RANGE; /* the channels say so, whatever sampler the file was saved with */
  return TRUE;
}

gboolean
sumi_model_config_parse (JsonObject *json, SumiModelConfig *c, GError **error)
{
  static gboolean (*const parse[]) (JsonObject *, SumiModelConfig *, GError **)
      = { parse_simple_unet, parse_ddpm, parse_latent };
  const char *name = NULL;
  JsonObject *scheduler;
  guint family = 0;

  *c = (SumiModelConfig){ .scale = 1 };
  if (!sumi_config_string (json, "family", &name, error))
    return FALSE;
  while (family < SUMI_N_FAMILIES && g_strcmp0 (name, family_names[family]) != 0)
    family++;
  if (family >= G_N_ELEMENTS (parse))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL,
                   "family: found '%s', expected simple-unet, ddpm or sumi-latent", name != NULL ? name : "");
      return FALSE;
    }
  c->family = (SumiFamily)family;
  scheduler_defaults (c);
  if (!object_field (json, "scheduler", FALSE, &scheduler, error) || !parse[family](json, c, error))
    return FALSE;
  if (scheduler != NULL && !parse_scheduler (scheduler, c, error))
    {
      g_prefix_error (error, "scheduler: ");
      return FALSE;
    }
  c->in_channels = c->channels;
  return check_variance (c, error);
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
