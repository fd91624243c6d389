/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Drawing: one picture after the other, so that a picture is the same in whatever batch it is drawn. */
#include "diffusion/pipeline-private.h"

#include "diffusion/guidance.h"
#include "diffusion/sampler.h"
#include "io/image.h"

#include <math.h>
#include <string.h>

/* What one request needs while it is drawn. */
typedef struct
{
  SumiPipeline *pipeline;
  const SumiRequest *request;
  SumiShape shape; /* of one sample: (1,C,h,w) */
  gsize n_values;  /* of one sample */
  gsize n_output;  /* of the model's output for one sample */

  SumiWarmPlan *denoiser, *decoder; /* the pipeline's */
  guint calls;                      /* 2 where prompt and negative prompt are asked together, else 1 */
  float *guided;                    /* n_output; NULL without guidance */

  SumiProgressFunc progress;
  gpointer user;
  guint step, n_steps;
  GCancellable *cancellable;
} Drawing;

static void
drawing_clear (Drawing *d)
{
  g_free (d->guided);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Drawing, drawing_clear)

static void
report (const Drawing *d, SumiPhase phase, guint step, guint n_steps, SumiTensor *picture)
{
  if (d->progress != NULL)
    d->progress (phase, step, n_steps, picture, d->user);
}

/* ---- text ---- */

static SumiTensor *
stack (const SumiTensor *first, const SumiTensor *second, GError **error)
{
  SumiShape shape = *sumi_tensor_get_shape (first);
  gsize n = sumi_tensor_get_numel (first);
  SumiTensor *both;

  shape.d[0] = 2;
  both = sumi_tensor_new (SUMI_F32, &shape, error);
  if (both == NULL)
    return NULL;
  sumi_tensor_to_f32 (first, sumi_tensor_poke_f32 (both));
  sumi_tensor_to_f32 (second, sumi_tensor_poke_f32 (both) + n);
  return both;
}

static gboolean
set_states (Drawing *d, SumiTensor *states, SumiTensor *pooled, GError **error)
{
  return sumi_plan_set (d->denoiser->plan, "encoder_hidden_states", states, error)
         && sumi_plan_set (d->denoiser->plan, "pooled", pooled, error);
}

/* Which prompts the denoiser hears: both at once, or at scale 1 and 0 only the one that counts. */
static gboolean
set_text (Drawing *d, GPtrArray *notes, GError **error)
{
  const SumiRequest *r = d->request;
  g_auto (SumiTextStates) cond = { NULL }, uncond = { NULL };
  g_autoptr (SumiTensor) states = NULL;
  g_autoptr (SumiTensor) pooled = NULL;

  report (d, SUMI_PHASE_TEXT, 0, 1, NULL);
  if (r->guidance_scale != 0.0
      && !sumi_pipeline_encode (d->pipeline, "prompt", r->prompt, &cond, notes, d->cancellable, error))
    return FALSE;
  if (r->guidance_scale != 1.0
      && !sumi_pipeline_encode (d->pipeline, "negative prompt", r->negative_prompt, &uncond, notes, d->cancellable,
                                error))
    return FALSE;
  report (d, SUMI_PHASE_TEXT, 1, 1, NULL);
  if (d->calls == 1)
    return r->guidance_scale == 1.0 ? set_states (d, cond.states, cond.pooled, error)
                                    : set_states (d, uncond.states, uncond.pooled, error);
  return (states = stack (uncond.states, cond.states, error)) != NULL
         && (pooled = stack (uncond.pooled, cond.pooled, error)) != NULL && set_states (d, states, pooled, error);
}

/* ---- decoding ---- */

static gboolean
is_finite (const float *x, gsize n)
{
  for (gsize i = 0; i < n; i++)
    if (!isfinite (x[i]))
      return FALSE;
  return TRUE;
}

/* (1,C,h,w), C 1 or 3, cut to the middle of the asked size -> U8 (H,W,3). */
static SumiTensor *
to_picture (const Drawing *d, const float *x, gint64 channels, gint64 height, gint64 width, float low, GError **error)
{
  gint64 h = d->request->height, w = d->request->width, top = (height - h) / 2, left = (width - w) / 2;
  g_autoptr (SumiTensor) cut = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (3, h, w), error);
  float *out;

  if (cut == NULL)
    return NULL;
  out = sumi_tensor_poke_f32 (cut);
  for (gint64 c = 0; c < 3; c++)
    for (gint64 y = 0; y < h; y++)
      memcpy (out + (c * h + y) * w, x + (MIN (c, channels - 1) * height + y + top) * width + left, w * sizeof *out);
  return sumi_image_from_chw (cut, low, 1, error);
}

static SumiTensor *
decode_latents (const Drawing *d, const float *x, GError **error)
{
  const SumiModelConfig *c = &d->pipeline->config;
  SumiWarmPlan *k = d->decoder;
  gint64 plane = d->shape.d[2] * d->shape.d[3], height = d->shape.d[2] * c->scale, width = d->shape.d[3] * c->scale;
  float *latents = sumi_tensor_poke_f32 (k->input);

  for (gint64 i = 0; i < c->channels * plane; i++)
    latents[i] = (float)(x[i] * c->std[i / plane] + c->mean[i / plane]);
  if (!sumi_plan_set (k->plan, "sample", k->input, error) || !sumi_plan_run (k->plan, d->cancellable, error)
      || !sumi_plan_read (k->plan, "output", k->output, error))
    return NULL;
  if (!is_finite (sumi_tensor_peek_f32 (k->output), sumi_tensor_get_numel (k->output)))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE, "decoder: found NaN or infinity, expected a picture");
      return NULL;
    }
  return to_picture (d, sumi_tensor_peek_f32 (k->output), 3, height, width, 0, error);
}

static SumiTensor *
decode (const Drawing *d, const float *x, GError **error)
{
  if (d->decoder != NULL)
    return decode_latents (d, x, error);
  return to_picture (d, x, d->shape.d[1], d->shape.d[2], d->shape.d[3], -1, error);
}

/* ---- sampling ---- */

static SumiSampler *
new_sampler (const Drawing *d, GError **error)
{
  const SumiPipeline *p = d->pipeline;
  const SumiModelConfig *c = &p->config;
  SumiSamplerOptions o = { .schedule = p->schedule,
                           .prediction = c->prediction,
                           .steps = d->request->steps,
                           .spacing = c->spacing,
                           .steps_offset = c->steps_offset,
                           .set_alpha_to_one = c->set_alpha_to_one,
                           .clip_sample = c->clip_sample,
                           .variance = c->variance,
                           .eta = d->request->eta > 0.0 ? d->request->eta : -1.0, /* else the sampler's own */
                           .n_values = d->n_values };

  return sumi_sampler_new (d->request->sampler, &o, error);
}

/* The model's (guided) output for x before a call; borrowed. */
static const float *
predict (Drawing *d, const SumiSampler *sampler, guint call, const float *x, GError **error)
{
  SumiWarmPlan *k = d->denoiser;
  const float *out = sumi_tensor_peek_f32 (k->output);

  for (guint i = 0; i < d->calls; i++)
    {
      sumi_sampler_model_input (sampler, call, x, sumi_tensor_poke_f32 (k->input) + i * d->n_values);
      sumi_tensor_poke_f32 (k->timestep)[i] = (float)sumi_sampler_get_timestep (sampler, call);
    }
  if (!sumi_plan_set (k->plan, "sample", k->input, error) || !sumi_plan_set (k->plan, "timestep", k->timestep, error)
      || !sumi_plan_run (k->plan, d->cancellable, error) || !sumi_plan_read (k->plan, "output", k->output, error))
    return NULL;
  if (d->calls == 1)
    return out;
  sumi_guidance_combine (out, out + d->n_output, d->request->guidance_scale, d->guided, d->n_output);
  return d->guided;
}

static gboolean
report_step (Drawing *d, const SumiSampler *sampler, guint call, GError **error)
{
  guint every = d->request->preview_every;
  g_autoptr (SumiTensor) picture = NULL;

  if (d->progress != NULL && every > 0 && (call + 1) % every == 0
      && (picture = decode (d, sumi_sampler_peek_x_start (sampler), error)) == NULL)
    return FALSE;
  report (d, SUMI_PHASE_SAMPLE, ++d->step, d->n_steps, picture);
  return !sumi_set_error_if_cancelled (d->cancellable, error);
}

/* x: the start noise, then the result.  Every picture has its own generator. */
static gboolean
sample (Drawing *d, float *x, SumiRng *rng, GError **error)
{
  g_autoptr (SumiSampler) sampler = new_sampler (d, error);
  g_autofree float *noise = g_try_new (float, d->n_values);

  if (sampler == NULL)
    return FALSE;
  if (noise == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY, "noise: no memory for %" G_GSIZE_FORMAT " values",
                   d->n_values);
      return FALSE;
    }
  sumi_sampler_start (sampler, x, x);
  for (guint call = 0; call < sumi_sampler_get_n_calls (sampler); call++)
    {
      gboolean noisy = sumi_sampler_needs_noise (sampler, call);
      const float *output = predict (d, sampler, call, x, error);

      if (output == NULL)
        return FALSE;
      if (noisy)
        sumi_rng_normal (rng, noise, d->n_values);
      sumi_sampler_step (sampler, call, x, output, NULL, noisy ? noise : NULL);
      if (!is_finite (x, d->n_values))
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE,
                       "step %u of %u: found NaN or infinity, expected finite numbers", call + 1, d->request->steps);
          return FALSE;
        }
      if (!report_step (d, sampler, call, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
start_noise (const Drawing *d, guint i, float *x, SumiRng *rng, GError **error)
{
  const SumiTensor *given = d->request->init_noise;
  g_autoptr (SumiTensor) slice = NULL;

  sumi_rng_seed (rng, d->request->rng, d->request->seed + i);
  sumi_rng_normal (rng, x, d->n_values); /* also where it is given: later draws stay the same */
  if (given == NULL)
    return TRUE;
  slice = sumi_tensor_slice0 ((SumiTensor *)given, i, 1, error);
  if (slice == NULL)
    return FALSE;
  sumi_tensor_to_f32 (slice, x);
  return TRUE;
}

static gboolean
draw (Drawing *d, guint i, SumiResult *result, GError **error)
{
  float *x = sumi_tensor_poke_f32 (result->latents) + i * d->n_values;
  SumiTensor *picture;
  SumiRng rng;

  if (!start_noise (d, i, x, &rng, error) || !sample (d, x, &rng, error))
    return FALSE;
  report (d, SUMI_PHASE_DECODE, i, d->request->batch, NULL);
  picture = decode (d, x, error);
  if (picture == NULL)
    return FALSE;
  g_ptr_array_add (result->images, picture);
  report (d, SUMI_PHASE_DECODE, i + 1, d->request->batch, picture);
  return TRUE;
}

/* ---- a request ---- */

static gboolean
prepare (Drawing *d, GError **error)
{
  SumiPipeline *p = d->pipeline;
  const SumiModelConfig *c = &p->config;
  const SumiRequest *r = d->request;

  d->n_output = d->n_values / c->channels * c->out_channels;
  d->calls = sumi_pipeline_takes_prompt (p) && r->guidance_scale != 1.0 && r->guidance_scale != 0.0 ? 2 : 1;
  d->n_steps = r->steps * r->batch;
  if (d->calls == 2 && (d->guided = g_try_new (float, d->n_output)) == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY, "guidance: no memory for %" G_GSIZE_FORMAT " values",
                   d->n_output);
      return FALSE;
    }
  report (d, SUMI_PHASE_LOAD, 0, 1, NULL);
  d->denoiser = sumi_pipeline_warm (p, FALSE, d->calls, d->shape.d[2], d->shape.d[3], error);
  if (d->denoiser == NULL)
    return FALSE;
  if (c->family == SUMI_FAMILY_LATENT
      && (d->decoder = sumi_pipeline_warm (p, TRUE, 1, d->shape.d[2], d->shape.d[3], error)) == NULL)
    return FALSE;
  report (d, SUMI_PHASE_LOAD, 1, 1, NULL);
  return !sumi_set_error_if_cancelled (d->cancellable, error);
}

static SumiResult *
result_new (const SumiShape *shape, GError **error)
{
  g_autoptr (SumiResult) result = g_new0 (SumiResult, 1);

  result->images = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_tensor_unref);
  result->notes = g_ptr_array_new_with_free_func (g_free);
  result->parameters = g_ptr_array_new_with_free_func (g_free);
  result->latents = sumi_tensor_new (SUMI_F32, shape, error);
  return result->latents != NULL ? g_steal_pointer (&result) : NULL;
}

SumiResult *
sumi_pipeline_run (SumiPipeline *p, const SumiRequest *request, SumiProgressFunc progress, gpointer user,
                   GCancellable *cancellable, GError **error)
{
  SumiRequest r = *request;
  g_autoptr (SumiResult) result = NULL;
  g_auto (Drawing) d = { .pipeline = p, .request = &r, .progress = progress, .user = user, .cancellable = cancellable };
  SumiShape shape;

  if (!sumi_pipeline_check_request (p, &r, &shape, error) || (result = result_new (&shape, error)) == NULL)
    return NULL;
  sumi_pipeline_tell_ignored (p, &r, &shape, result->notes);
  d.shape = shape;
  d.shape.d[0] = 1;
  d.n_values = sumi_shape_numel (&d.shape);
  if (!prepare (&d, error) || (sumi_pipeline_takes_prompt (p) && !set_text (&d, result->notes, error)))
    return NULL;
  for (guint i = 0; i < r.batch; i++)
    {
      if (!draw (&d, i, result, error))
        return NULL;
      g_ptr_array_add (result->parameters, sumi_recipe_text (&r, i, sumi_pipeline_takes_prompt (p), p->model));
    }
  return g_steal_pointer (&result);
}
