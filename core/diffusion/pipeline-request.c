/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A request before anything is computed: what it leaves to the model, what is wrong with it, what has no effect. */
#include "diffusion/pipeline-private.h"

#include <math.h>
#include <string.h>

#define AUTOMATIC "automatic"
#define STRENGTH 0.75

void
sumi_request_init (SumiRequest *r)
{
  *r = (SumiRequest){ .guidance_scale = SUMI_MODEL_OWN,
                      .eta = SUMI_MODEL_OWN,
                      .guidance_high = INFINITY,
                      .image_guidance_scale = 1.5,
                      .strength = STRENGTH,
                      .composite = TRUE,
                      .rng = SUMI_RNG_TORCH,
                      .batch = 1 };
}

void
sumi_pipeline_get_size (const SumiPipeline *p, guint *width, guint *height)
{
  *width = (guint)p->config.width * p->config.scale;
  *height = (guint)p->config.height * p->config.scale;
}

/* U8 (H,W,3) or F32 (1,3,H,W) */
static void
image_size (const SumiTensor *image, guint *width, guint *height)
{
  const SumiShape *s = sumi_tensor_get_shape (image);
  guint first = s->rank == 4 ? 2 : 0;

  *height = s->rank >= 3 ? (guint)CLAMP (s->d[first], 0, G_MAXINT) : 0;
  *width = s->rank >= 3 ? (guint)CLAMP (s->d[first + 1], 0, G_MAXINT) : 0;
}

void
sumi_pipeline_complete_request (const SumiPipeline *p, SumiRequest *r)
{
  const SumiModelConfig *c = &p->config;
  guint width, height;

  sumi_pipeline_get_size (p, &width, &height);
  if (r->image != NULL)
    image_size (r->image, &width, &height);
  if (r->width == 0)
    r->width = width;
  if (r->height == 0)
    r->height = height;
  if (r->steps == 0)
    r->steps = MIN (c->defaults.steps, c->num_train_timesteps);
  if (r->guidance_scale == SUMI_MODEL_OWN)
    r->guidance_scale = c->defaults.guidance_scale;
  if (r->sigmas == NULL && r->sampler == NULL)
    r->sigmas = c->defaults.sigmas;
  if (g_strcmp0 (r->sigmas, AUTOMATIC) == 0)
    r->sigmas = NULL;
  if (r->sampler == NULL)
    r->sampler = c->defaults.sampler;
}

/* ---- checks ---- */

static gboolean
check_uint (const char *what, guint value, guint min, guint max, GError **error)
{
  return (value >= min && value <= max)
         || sumi_refuse (error, SUMI_ERROR_USAGE, "%s: found %u, expected %u to %u", what, value, min, max);
}

static gboolean
check_double (const char *what, double value, double min, double max, GError **error)
{
  return (value >= min && value <= max) /* not NaN */
         || sumi_refuse (error, SUMI_ERROR_USAGE, "%s: found %g, expected %g to %g", what, value, min, max);
}

static gboolean
check_name (const char *what, const char *name, const char *const *list, GError **error)
{
  g_autofree char *all = NULL;

  if (name != NULL && g_strv_contains (list, name))
    return TRUE;
  all = g_strjoinv (", ", (char **)list);
  return sumi_refuse (error, SUMI_ERROR_USAGE, "%s: found '%s', expected one of %s", what, name != NULL ? name : "",
                      all);
}

/* Stable Diffusion's U-Nets bring each up-sampling to the size of its skip, so that any latents do; the others are
 * drawn at multiples of what the network can halve. */
static gint64
sample_side (const SumiModelConfig *c, guint side)
{
  gint64 grain = sumi_model_is_stable_diffusion (c) ? 1 : sumi_model_granularity (c);
  gint64 values = (side + c->scale - 1) / c->scale;

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

static gboolean
has_shape (const SumiTensor *t, SumiDType dtype, const SumiShape *shape)
{
  return sumi_tensor_get_dtype (t) == dtype && sumi_shape_equal (sumi_tensor_get_shape (t), shape);
}

static gboolean
is_finite_tensor (const char *what, const SumiTensor *t, GError **error)
{
  if (sumi_tensor_is_finite (t))
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE, "%s: found NaN or infinity, expected finite numbers", what);
  return FALSE;
}

static gboolean
check_image (const SumiRequest *r, GError **error)
{
  const SumiShape *s;

  if (r->image == NULL)
    return r->mask == NULL
           || sumi_refuse (error, SUMI_ERROR_USAGE, "mask: found no picture that it belongs to, expected one");
  s = sumi_tensor_get_shape (r->image);
  if (sumi_tensor_get_dtype (r->image) == SUMI_U8 && s->rank == 3 && s->d[2] == 3)
    return TRUE;
  if (has_shape (r->image, SUMI_F32, &SUMI_SHAPE (1, 3, r->height, r->width)))
    return is_finite_tensor ("picture", r->image, error);
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH,
               "picture: found %s of another shape, expected U8 (height,width,3), or F32 (1,3,%u,%u)",
               sumi_dtype_name (sumi_tensor_get_dtype (r->image)), r->height, r->width);
  return FALSE;
}

static gboolean
check_mask (const SumiRequest *r, GError **error)
{
  guint width, height;

  if (r->mask == NULL)
    return TRUE;
  image_size (r->image, &width, &height);
  if (has_shape (r->mask, SUMI_U8, &SUMI_SHAPE (height, width))
      || has_shape (r->mask, SUMI_U8, &SUMI_SHAPE (height, width, 1)))
    return TRUE;
  if (has_shape (r->mask, SUMI_F32, &SUMI_SHAPE (1, 1, height, width)))
    {
      g_autofree float *values = g_new (float, (gsize)height *width);

      sumi_tensor_to_f32 (r->mask, values);
      for (gsize i = 0; i < (gsize)height * width; i++)
        if (!(values[i] >= 0 && values[i] <= 1))
          return sumi_refuse (error, SUMI_ERROR_USAGE, "mask: found %g, expected 0 to 1", values[i]);
      return TRUE;
    }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH,
               "mask: found %s of another shape, expected U8 (%u,%u), or F32 (1,1,%u,%u), as large as the picture",
               sumi_dtype_name (sumi_tensor_get_dtype (r->mask)), height, width, height, width);
  return FALSE;
}

static gboolean
check_adapters (const SumiPipeline *p, const SumiRequest *r, GError **error)
{
  if (!sumi_pipeline_takes_prompt (p) && r->n_loras > 0)
    return sumi_refuse (error, SUMI_ERROR_USAGE, "lora: found one for a model without a prompt, expected none");
  if (r->n_loras > 0 && !sumi_model_is_stable_diffusion (&p->config))
    return sumi_refuse (error, SUMI_ERROR_USAGE, "lora: found one for family %s, expected a Stable Diffusion model",
                        sumi_family_name (p->config.family));
  if (r->vae != NULL && !sumi_model_is_stable_diffusion (&p->config))
    return sumi_refuse (error, SUMI_ERROR_USAGE, "vae: found one for family %s, expected a Stable Diffusion model",
                        sumi_family_name (p->config.family));
  if (!check_uint ("adapters", r->n_loras, 0, SUMI_MAX_ADAPTERS, error))
    return FALSE;
  for (guint i = 0; i < r->n_loras; i++)
    if (!check_double ("adapter strength", r->loras[i].unet_strength, -10, 10, error)
        || !check_double ("adapter strength", r->loras[i].text_strength, -10, 10, error))
      return FALSE;
  return TRUE;
}

static gboolean
check_guidance (const SumiRequest *r, GError **error)
{
  if (!check_double ("guidance scale", r->guidance_scale, 0, SUMI_MAX_GUIDANCE, error)
      || !check_double ("image guidance scale", r->image_guidance_scale, 0, SUMI_MAX_GUIDANCE, error)
      || !check_double ("guidance rescale", r->guidance_rescale, 0, 1, error))
    return FALSE;
  if (!(r->guidance_low >= 0 && r->guidance_low < r->guidance_high)) /* also NaN */
    return sumi_refuse (error, SUMI_ERROR_USAGE,
                        "guidance interval: found %g to %g, expected two noise levels from 0 up, the lower first",
                        r->guidance_low, r->guidance_high);
  return !r->cfg_pp || sumi_sampler_has_cfg_pp (r->sampler)
         || sumi_refuse (error, SUMI_ERROR_USAGE, "CFG++: found sampler %s, expected one that has it", r->sampler);
}

static gboolean
check_way (const SumiPipeline *p, const SumiRequest *r, GError **error)
{
  SumiPrediction prediction;

  return check_uint ("steps", r->steps, 1, MIN (SUMI_MAX_STEPS, p->config.num_train_timesteps), error)
         && check_name ("sampler", r->sampler, sumi_sampler_list (), error)
         && (r->sigmas == NULL || check_name ("schedule", r->sigmas, sumi_sigmas_list (), error))
         && (r->prediction == NULL || sumi_prediction_parse (r->prediction, &prediction, NULL)
             || sumi_refuse (error, SUMI_ERROR_USAGE,
                             "prediction: found '%s', expected epsilon, v_prediction or sample", r->prediction))
         && (r->eta == SUMI_MODEL_OWN || check_double ("eta", r->eta, 0, 1, error));
}

gboolean
sumi_pipeline_check_request (const SumiPipeline *p, const SumiRequest *r, SumiShape *sample, GError **error)
{
  const SumiModelConfig *c = &p->config;
  guint width, height;

  sumi_pipeline_get_size (p, &width, &height);
  if (!check_uint ("width", r->width, MIN (width, SUMI_MIN_SIDE), SUMI_MAX_SIDE, error)
      || !check_uint ("height", r->height, MIN (height, SUMI_MIN_SIDE), SUMI_MAX_SIDE, error)
      || !check_uint ("batch", r->batch, 1, SUMI_MAX_BATCH, error) || !check_way (p, r, error)
      || !check_guidance (r, error) || !check_double ("strength", r->strength, 0, 1, error)
      || !check_uint ("clip skip", r->clip_skip, 0, SUMI_MAX_CLIP_SKIP, error) || !check_adapters (p, r, error)
      || !check_image (r, error) || !check_mask (r, error))
    return FALSE;
  if (c->in_channels == 2 * c->channels && r->image == NULL)
    return sumi_refuse (error, SUMI_ERROR_USAGE,
                        "picture: found none, expected one: this model changes pictures (instruct-pix2pix)");
  *sample = SUMI_SHAPE (r->batch, c->channels, sample_side (c, r->height), sample_side (c, r->width));
  return check_init_noise (r->init_noise, sample, error);
}

/* ---- what follows from it ---- */

SumiSpacing
sumi_pipeline_spacing (const SumiPipeline *p, const char *sampler)
{
  return p->config.spacing_by_sampler ? sumi_sampler_default_spacing (sampler) : p->config.spacing;
}

SumiPrediction
sumi_pipeline_prediction (const SumiPipeline *p, const SumiRequest *r)
{
  SumiPrediction prediction = p->config.prediction;

  if (r->prediction != NULL)
    sumi_prediction_parse (r->prediction, &prediction, NULL); /* checked before */
  return prediction;
}

gboolean
sumi_request_is_guided (const SumiPipeline *p, const SumiRequest *r)
{
  /* models that were distilled under guidance hear the scale itself (timestep_cond) */
  if (!sumi_pipeline_takes_prompt (p) || p->config.unet.time_cond_proj_dim > 0)
    return FALSE;
  if (p->config.in_channels == 2 * p->config.channels && r->image_guidance_scale != 1.0)
    return TRUE;
  return r->guidance_scale != 1.0 && r->guidance_scale != 0.0;
}

/* ---- notes ---- */

static gboolean
is_text (const char *s)
{
  return s != NULL && *s != '\0';
}

static void tell (GPtrArray *notes, gboolean when, const char *format, ...) G_GNUC_PRINTF (3, 4);

static void
tell (GPtrArray *notes, gboolean when, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  if (when)
    g_ptr_array_add (notes, g_strdup_vprintf (format, args));
  va_end (args);
}

static void
tell_about_prompts (const SumiPipeline *p, const SumiRequest *r, GPtrArray *notes)
{
  gboolean deaf = !sumi_pipeline_takes_prompt (p), distilled = p->config.unet.time_cond_proj_dim > 0;
  gboolean negative = is_text (r->negative_prompt);

  tell (notes, deaf && (is_text (r->prompt) || negative), "this model takes no prompt: the prompt was ignored");
  if (deaf)
    return;
  tell (notes, negative && !distilled && r->guidance_scale == 1.0 && !sumi_request_is_guided (p, r),
        "the negative prompt was ignored: it has no effect at guidance scale 1");
  tell (notes, negative && distilled,
        "the negative prompt was ignored: this model hears the guidance scale itself and is asked once a step");
  tell (notes, is_text (r->prompt) && r->guidance_scale == 0.0 && !distilled,
        "the prompt was ignored: at guidance scale 0 only the negative prompt counts");
  tell (notes, r->guidance_rescale != 0.0 && !sumi_request_is_guided (p, r),
        "guidance rescale was ignored: the model is asked once a step");
  tell (notes, r->cfg_pp && !sumi_request_is_guided (p, r), "CFG++ was ignored: the model is asked once a step");
  tell (notes, r->cfg_pp && r->guidance_scale > 1.0, "CFG++: guidance scale %g counts as %g", r->guidance_scale,
        r->guidance_scale / SUMI_CFG_PP_SCALE);
}

void
sumi_pipeline_tell_ignored (const SumiPipeline *p, const SumiRequest *r, const SumiShape *sample, GPtrArray *notes)
{
  static const char *const with_eta[]
      = { "ddim", "tcd", "euler_a", "dpm2_a", "dpmpp_2s_a", "dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde", NULL };
  gint64 height = sample->d[2] * p->config.scale, width = sample->d[3] * p->config.scale;

  tell_about_prompts (p, r, notes);
  tell (notes, r->eta > 0.0 && !g_strv_contains (with_eta, r->sampler), "eta was ignored: %s has none",
        sumi_sampler_title (r->sampler));
  tell (notes, height != r->height || width != r->width,
        "drawn at %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT " and cut to %ux%u", width, height, r->width, r->height);
}
