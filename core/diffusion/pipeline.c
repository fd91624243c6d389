/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A pipeline's life, and the checks of model and request before anything is computed. */
#include "diffusion/pipeline-private.h"

#include "diffusion/sampler.h"
#include "io/safetensors.h"

void
sumi_request_init (SumiRequest *r)
{
  *r = (SumiRequest){ .steps = 30, .guidance_scale = 4.0, .sampler = "ddim", .rng = SUMI_RNG_TORCH, .batch = 1 };
}

const char *
sumi_phase_name (SumiPhase phase)
{
  static const char *const names[] = { "load", "text", "sample", "decode" };

  return phase < G_N_ELEMENTS (names) ? names[phase] : "unknown";
}

/* ---- opening ---- */

/* The text encoder's rows are the model's own vocabulary; without the list of ids no prompt can be read. */
static gboolean
open_vocabulary (SumiPipeline *p, GError **error)
{
  gint64 v = p->config.text.vocab_size;
  SumiTensor *t = sumi_tensor_map_lookup_shaped (p->weights, "token_ids", &SUMI_SHAPE (v), error);

  if (t == NULL)
    return FALSE;
  if (sumi_tensor_get_dtype (t) != SUMI_I64)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE, "token_ids: found %s, expected I64",
                   sumi_dtype_name (sumi_tensor_get_dtype (t)));
      return FALSE;
    }
  p->vocabulary = sumi_tensor_cast (t, SUMI_I64, error); /* aligned, whatever the file */
  if (p->vocabulary == NULL)
    return FALSE;
  p->token_ids = sumi_tensor_peek (p->vocabulary);
  for (gint64 i = 0; i < v; i++)
    if (i == 0 ? p->token_ids[i] != -1 : p->token_ids[i] <= p->token_ids[i - 1])
      {
        g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                     "token_ids[%" G_GINT64_FORMAT "]: found %" G_GINT64_FORMAT ", expected -1, then ascending ids", i,
                     p->token_ids[i]);
        return FALSE;
      }
  return TRUE;
}

static gboolean
open_file_option (const char *what, const char *path, GError **error)
{
  if (path != NULL)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE, "%s: found no file, expected one for a text model", what);
  return FALSE;
}

static gboolean
open_latent_parts (SumiPipeline *p, const SumiPipelineOptions *o, GError **error)
{
  return open_file_option ("CLIP merges", o->merges, error) && open_file_option ("TAEF2 weights", o->taef2, error)
         && open_vocabulary (p, error) && (p->tokenizer = sumi_tokenizer_open (o->merges, error)) != NULL
         && (p->taef2 = sumi_safetensors_open (o->taef2, error)) != NULL;
}

static gboolean
check_channels (const SumiModelConfig *c, GError **error)
{
  if (c->family == SUMI_FAMILY_LATENT || c->channels == 1 || c->channels == 3)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
               "in_channels: found %" G_GINT64_FORMAT ", expected 1 or 3 for a model of pixels", c->channels);
  return FALSE;
}

SumiPipeline *
sumi_pipeline_new (SumiTensorMap *weights, JsonObject *config, const SumiPipelineOptions *options, GError **error)
{
  g_autoptr (SumiPipeline) p = g_new0 (SumiPipeline, 1);
  SumiModelConfig *c = &p->config;

  p->warm = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_warm_plan_free);
  p->weights = sumi_tensor_map_ref (weights);
  p->dtype = options->dtype;
  p->threads = options->threads;
  p->model = g_strdup (options->model);
  if (!sumi_model_config_parse (config, c, error) || !check_channels (c, error)
      || (p->engine = sumi_engine_open (options->engine, error)) == NULL
      || (p->schedule = sumi_model_schedule_new (c, error)) == NULL
      || (c->family == SUMI_FAMILY_LATENT && !open_latent_parts (p, options, error))
      || !sumi_pipeline_check_weights (p, error))
    return NULL;
  return g_steal_pointer (&p);
}

void
sumi_pipeline_free (SumiPipeline *p)
{
  if (p == NULL)
    return;
  g_ptr_array_unref (p->warm);
  g_clear_pointer (&p->text, sumi_plan_free);
  g_clear_pointer (&p->vocabulary, sumi_tensor_unref);
  g_clear_pointer (&p->tokenizer, sumi_tokenizer_unref);
  g_clear_pointer (&p->taef2, sumi_tensor_map_unref);
  g_clear_pointer (&p->engine, sumi_engine_unref);
  g_clear_pointer (&p->schedule, sumi_schedule_free);
  sumi_tensor_map_unref (p->weights);
  g_free (p->model);
  g_free (p);
}

gboolean
sumi_pipeline_takes_prompt (const SumiPipeline *p)
{
  return p->config.family == SUMI_FAMILY_LATENT;
}

void
sumi_pipeline_get_size (const SumiPipeline *p, guint *width, guint *height)
{
  *width = (guint)p->config.width * p->config.scale;
  *height = (guint)p->config.height * p->config.scale;
}

void
sumi_result_free (SumiResult *r)
{
  if (r == NULL)
    return;
  g_clear_pointer (&r->images, g_ptr_array_unref);
  g_clear_pointer (&r->latents, sumi_tensor_unref);
  g_clear_pointer (&r->notes, g_ptr_array_unref);
  g_clear_pointer (&r->parameters, g_ptr_array_unref);
  g_free (r);
}

/* ---- the request ---- */

static gboolean
check_uint (const char *what, guint value, guint min, guint max, GError **error)
{
  if (value >= min && value <= max)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "%s: found %u, expected %u to %u", what, value, min, max);
  return FALSE;
}

static gboolean
check_double (const char *what, double value, double min, double max, GError **error)
{
  if (value >= min && value <= max) /* not NaN */
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "%s: found %g, expected %g to %g", what, value, min, max);
  return FALSE;
}

/* The size of the sample that covers `side` pixels: a multiple of what the network can halve. */
static gint64
sample_side (const SumiModelConfig *c, guint side)
{
  gint64 grain = sumi_model_granularity (c), values = (side + c->scale - 1) / c->scale;

  return (values + grain - 1) / grain * grain;
}

static gboolean
check_init_noise (const SumiTensor *noise, const SumiShape *want, GError **error)
{
  g_autofree char *found = NULL, *expected = NULL;

  if (noise == NULL)
    return TRUE;
  if (!sumi_dtype_is_float (sumi_tensor_get_dtype (noise)))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE, "start noise: found %s, expected floating point",
                   sumi_dtype_name (sumi_tensor_get_dtype (noise)));
      return FALSE;
    }
  if (!sumi_tensor_is_finite (noise))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE,
                   "start noise: found NaN or infinity, expected finite numbers");
      return FALSE;
    }
  if (sumi_shape_equal (sumi_tensor_get_shape (noise), want))
    return TRUE;
  found = sumi_shape_to_string (sumi_tensor_get_shape (noise));
  expected = sumi_shape_to_string (want);
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH, "start noise: found %s, expected %s", found, expected);
  return FALSE;
}

gboolean
sumi_pipeline_check_request (SumiPipeline *p, SumiRequest *r, SumiShape *sample, GError **error)
{
  const SumiModelConfig *c = &p->config;
  guint width, height;

  sumi_pipeline_get_size (p, &width, &height);
  r->width = r->width != 0 ? r->width : width;
  r->height = r->height != 0 ? r->height : height;
  if (!check_uint ("width", r->width, MIN (width, SUMI_MIN_SIDE), SUMI_MAX_SIDE, error)
      || !check_uint ("height", r->height, MIN (height, SUMI_MIN_SIDE), SUMI_MAX_SIDE, error)
      || !check_uint ("steps", r->steps, 1, MIN (SUMI_MAX_STEPS, c->num_train_timesteps), error)
      || !check_uint ("batch", r->batch, 1, SUMI_MAX_BATCH, error) || !check_double ("eta", r->eta, 0, 1, error)
      || !check_double ("guidance scale", r->guidance_scale, 0, SUMI_MAX_GUIDANCE, error))
    return FALSE;
  if (!g_strv_contains (sumi_sampler_list (), r->sampler != NULL ? r->sampler : ""))
    {
      g_autofree char *all = g_strjoinv (" or ", (char **)sumi_sampler_list ());

      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "sampler: found '%s', expected %s",
                   r->sampler != NULL ? r->sampler : "", all);
      return FALSE;
    }
  *sample = SUMI_SHAPE (r->batch, c->channels, sample_side (c, r->height), sample_side (c, r->width));
  return check_init_noise (r->init_noise, sample, error);
}

static gboolean
is_text (const char *s)
{
  return s != NULL && *s != '\0';
}

void
sumi_pipeline_tell_ignored (SumiPipeline *p, const SumiRequest *r, const SumiShape *sample, GPtrArray *notes)
{
  gint64 height = sample->d[2] * p->config.scale, width = sample->d[3] * p->config.scale;

  if (!sumi_pipeline_takes_prompt (p) && (is_text (r->prompt) || is_text (r->negative_prompt)))
    g_ptr_array_add (notes, g_strdup ("this model takes no prompt: the prompt was ignored"));
  if (sumi_pipeline_takes_prompt (p) && is_text (r->negative_prompt) && r->guidance_scale == 1.0)
    g_ptr_array_add (notes, g_strdup ("the negative prompt was ignored: it has no effect at guidance scale 1"));
  if (sumi_pipeline_takes_prompt (p) && is_text (r->prompt) && r->guidance_scale == 0.0)
    g_ptr_array_add (notes, g_strdup ("the prompt was ignored: at guidance scale 0 only the negative prompt counts"));
  if (r->eta != 0.0 && g_strcmp0 (r->sampler, "ddim") != 0)
    g_ptr_array_add (notes, g_strdup_printf ("eta was ignored: %s has none", sumi_sampler_title (r->sampler)));
  if (height != r->height || width != r->width)
    g_ptr_array_add (notes, g_strdup_printf ("drawn at %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT " and cut to %ux%u",
                                             width, height, r->width, r->height));
}
