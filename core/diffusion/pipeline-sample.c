/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The sampler's loop for one picture: model calls under guidance, steps, and what lies outside the mask put back. */
#include "diffusion/pipeline-private.h"

#include "diffusion/guidance.h"

#include <math.h>
#include <string.h>

/* The walk of one picture. */
typedef struct
{
  SumiDrawing *drawing;
  guint index;
  SumiPicture *picture;
  SumiSampler *sampler;
  guint first, n_calls; /* calls first … n_calls - 1 are done */
} Walk;

/* ---- the sampler ---- */

/* Sumi's own families are walked along exactly the timesteps they were tuned with. */
static gboolean
own_timesteps (const SumiDrawing *d)
{
  const char *sampler = d->request->sampler;

  return !sumi_model_is_stable_diffusion (&d->pipeline->config) && d->request->sigmas == NULL
         && (strcmp (sampler, "ddim") == 0 || strcmp (sampler, "ddpm") == 0);
}

static SumiSampler *
new_sampler (const SumiDrawing *d, GError **error)
{
  const SumiPipeline *p = d->pipeline;
  const SumiModelConfig *c = &p->config;
  const SumiRequest *r = d->request;
  g_autofree guint *timesteps = NULL;
  SumiSamplerOptions o = { .schedule = p->schedule,
                           .prediction = sumi_pipeline_prediction (p, r),
                           .steps = r->steps,
                           .sigmas = r->sigmas,
                           .spacing = sumi_pipeline_spacing (p, r->sampler),
                           .steps_offset = c->steps_offset,
                           .use_karras_sigmas = r->use_karras_sigmas,
                           .follow_diffusers = r->follow_diffusers,
                           .set_alpha_to_one = c->set_alpha_to_one,
                           .sdxl = c->family == SUMI_FAMILY_SDXL || c->family == SUMI_FAMILY_SDXL_REFINER,
                           .clip_sample = c->clip_sample,
                           .variance = c->variance,
                           .eta = r->eta,
                           .order = r->order,
                           .n_values = d->n_values };

  if (own_timesteps (d))
    {
      /* DDPM is defined down to x_0 */
      gboolean to_data = c->set_alpha_to_one || strcmp (r->sampler, "ddpm") == 0;

      timesteps = g_new (guint, r->steps);
      if (!sumi_schedule_timesteps (p->schedule->T, o.spacing, c->steps_offset, r->steps, timesteps, error))
        return NULL;
      o.timesteps = timesteps;
      o.final_alpha_cumprod = to_data ? 1.0 : p->schedule->alphas_cumprod[0];
    }
  return sumi_sampler_new (r->sampler, &o, error);
}

/* ---- the model ---- */

/* What the model is asked at this noise level, in the order of its samples. */
static guint
branches_at (const Walk *w, double sigma, SumiBranch branches[3])
{
  const SumiDrawing *d = w->drawing;
  const SumiRequest *r = d->request;
  gboolean from_image = d->pipeline->config.in_channels == 2 * d->pipeline->config.channels;
  guint n = 0;

  if (sumi_pipeline_takes_prompt (d->pipeline) && sigma > r->guidance_low && sigma <= r->guidance_high)
    {
      if (sumi_request_is_guided (d->pipeline, r))
        {
          if (!from_image || r->image_guidance_scale != 1.0)
            branches[n++] = SUMI_BRANCH_UNCOND;
          if (from_image)
            branches[n++] = SUMI_BRANCH_IMAGE;
        }
      else if (r->guidance_scale == 0.0 && d->pipeline->config.unet.time_cond_proj_dim == 0)
        {
          branches[0] = SUMI_BRANCH_UNCOND;
          return 1;
        }
    }
  branches[n++] = SUMI_BRANCH_COND;
  return n;
}

static SumiDenoiser *
denoiser_for (const Walk *w, const SumiBranch *branches, guint n, GError **error)
{
  SumiDrawing *d = w->drawing;
  const SumiTextStates *t = branches[n - 1] == SUMI_BRANCH_COND ? &w->picture->cond : &w->picture->uncond;
  SumiDenoiserSize size = { n, d->shape.d[2], d->shape.d[3], 0 };
  guint64 conditions = 4 * w->picture->serial + branches[0] + 1;
  SumiDenoiser *k;

  if (t->states != NULL)
    size.length = sumi_tensor_get_shape (t->states)->d[1];
  k = sumi_pipeline_denoiser (d->pipeline, &size, d->cancellable, error);
  if (k == NULL || size.length == 0 || k->conditions == conditions)
    return k;
  k->conditions = 0;
  if (!sumi_drawing_set_conditions (d, k, w->picture, branches, error))
    return NULL;
  k->conditions = conditions;
  return k;
}

/* The sample, and behind it the channels of mask or picture. */
static void
fill_input (const Walk *w, SumiDenoiser *k, const SumiBranch *branches, double timestep)
{
  const SumiDrawing *d = w->drawing;
  const SumiTensor *beside = w->picture->beside;
  gsize n_beside = beside != NULL ? (gsize)sumi_tensor_get_numel (beside) : 0, stride = d->n_values + n_beside;
  gboolean from_image = d->pipeline->config.in_channels == 2 * d->pipeline->config.channels;

  for (gint64 i = 0; i < k->size.samples; i++)
    {
      float *to = sumi_tensor_poke_f32 (k->input) + i * stride;

      memcpy (to, d->input, d->n_values * sizeof *to);
      if (from_image && branches[i] == SUMI_BRANCH_UNCOND)
        memset (to + d->n_values, 0, n_beside * sizeof *to);
      else if (n_beside > 0)
        memcpy (to + d->n_values, sumi_tensor_peek_f32 (beside), n_beside * sizeof *to);
      sumi_tensor_poke_f32 (k->timestep)[i] = (float)timestep;
    }
}

static double
scale_of (const SumiRequest *r)
{
  return r->cfg_pp && r->guidance_scale > 1 ? r->guidance_scale / SUMI_CFG_PP_SCALE : r->guidance_scale;
}

/* Out of the model's answers, one behind the other, the one that counts; *uncond: the unconditional answer, for CFG++.
 * Borrowed. */
static const float *
combine (const Walk *w, const float *out, const SumiBranch *branches, guint n, const float **uncond)
{
  const SumiDrawing *d = w->drawing;
  const SumiRequest *r = d->request;
  const float *cond = out + (n - 1) * d->n_output;

  *uncond = NULL;
  if (n == 1)
    return out;
  if (n == 3)
    sumi_guidance_combine_image (out, out + d->n_output, cond, r->image_guidance_scale, scale_of (r), d->guided,
                                 d->n_output);
  else
    sumi_guidance_combine (out, cond, scale_of (r), d->guided, d->n_output);
  if (r->guidance_rescale > 0)
    sumi_guidance_rescale (cond, r->guidance_rescale, d->guided, d->n_values);
  if (r->cfg_pp && branches[0] == SUMI_BRANCH_UNCOND)
    *uncond = out;
  return d->guided;
}

/* The model's (guided) output for x at a call; borrowed. */
static const float *
predict (Walk *w, guint call, const float *x, const float **uncond, GError **error)
{
  SumiDrawing *d = w->drawing;
  const SumiPipelineTap *tap = d->request->tap;
  SumiBranch branches[3];
  guint n = branches_at (w, sumi_sampler_get_sigma (w->sampler, call), branches);
  SumiDenoiser *k = denoiser_for (w, branches, n, error);

  if (k == NULL)
    return NULL;
  if (tap != NULL && tap->asked != NULL)
    tap->asked (w->index, call, n, tap->user);
  sumi_sampler_model_input (w->sampler, call, x, d->input);
  fill_input (w, k, branches, sumi_sampler_get_timestep (w->sampler, call));
  if (!sumi_plan_set (k->plan, "sample", k->input, error) || !sumi_plan_set (k->plan, "timestep", k->timestep, error)
      || !sumi_plan_run (k->plan, d->cancellable, error) || !sumi_plan_read (k->plan, "output", k->output, error))
    return NULL;
  return combine (w, sumi_tensor_peek_f32 (k->output), branches, n, uncond);
}

/* ---- steps ---- */

static gboolean
is_finite (const float *x, gsize n)
{
  for (gsize i = 0; i < n; i++)
    if (!isfinite (x[i]))
      return FALSE;
  return TRUE;
}

/* Where the sample may not change (yet), it is the picture itself, noised as much (Lugmayr et al. 2022; grey masks by
 * the part of the way: Levin & Fried 2023).  A model that sees the mask keeps to it by itself. */
static void
keep_outside (const Walk *w, guint call, float *x)
{
  SumiDrawing *d = w->drawing;
  const float *mask = d->mask != NULL ? sumi_tensor_peek_f32 (d->mask) : NULL;
  gsize plane = (gsize)(d->shape.d[2] * d->shape.d[3]);
  float done = (float)(call + 1 - w->first) / (float)(w->n_calls - w->first);
  const float *kept = d->kept;

  if (mask == NULL || w->picture->original == NULL || w->picture->beside != NULL)
    return;
  if (call + 1 == w->n_calls)
    kept = sumi_tensor_peek_f32 (w->picture->original);
  else
    sumi_sampler_add_noise (w->sampler, call + 1, sumi_tensor_peek_f32 (w->picture->original),
                            sumi_tensor_peek_f32 (w->picture->start), d->kept);
  for (gsize i = 0; i < d->n_values; i++)
    if (mask[i % plane] + done <= 1)
      x[i] = kept[i];
}

static gboolean
report_step (Walk *w, guint call, const float *x, GError **error)
{
  SumiDrawing *d = w->drawing;
  const SumiPipelineTap *tap = d->request->tap;
  guint every = d->request->preview_every;
  g_autoptr (SumiTensor) picture = NULL;

  if (tap != NULL && tap->step != NULL && !tap->step (w->index, call, x, d->n_values, tap->user, error))
    return FALSE;
  if (d->progress != NULL && every > 0 && (call + 1 - w->first) % every == 0
      && (picture = sumi_drawing_preview (d, sumi_sampler_peek_x_start (w->sampler), error)) == NULL)
    return FALSE;
  sumi_drawing_report (d, SUMI_PHASE_SAMPLE, ++d->step, d->n_steps, picture);
  return !sumi_set_error_if_cancelled (d->cancellable, error);
}

static gboolean
take_step (Walk *w, guint call, float *x, float *noise, GError **error)
{
  SumiDrawing *d = w->drawing;
  gboolean noisy = sumi_sampler_needs_noise (w->sampler, call);
  const float *uncond, *output = predict (w, call, x, &uncond, error);

  if (output == NULL || (noisy && !sumi_drawing_draw (d, w->index, "step", noise, d->n_values, error)))
    return FALSE;
  sumi_sampler_step (w->sampler, call, x, output, uncond, noisy ? noise : NULL);
  keep_outside (w, call, x);
  if (!is_finite (x, d->n_values))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE,
                   "call %u of %u: found NaN or infinity, expected finite numbers", call + 1, w->n_calls);
      return FALSE;
    }
  return report_step (w, call, x, error);
}

/* Noise alone, or the picture noised to where the way begins. */
static void
begin (Walk *w, float *x)
{
  const SumiDrawing *d = w->drawing;
  const SumiPicture *picture = w->picture;
  gboolean from_noise = picture->original == NULL || (d->mask != NULL && d->request->strength >= 1);

  w->n_calls = sumi_sampler_get_n_calls (w->sampler);
  if (from_noise)
    sumi_sampler_start (w->sampler, sumi_tensor_peek_f32 (picture->start), x);
  else
    {
      w->first = sumi_sampler_first_call (w->sampler, d->request->strength);
      sumi_sampler_add_noise (w->sampler, w->first, sumi_tensor_peek_f32 (picture->original),
                              sumi_tensor_peek_f32 (picture->start), x);
    }
}

/* What takes its time before the first step is told as loading. */
static gboolean
load (const Walk *w, GError **error)
{
  SumiBranch branches[3];
  guint n;

  if (w->first >= w->n_calls)
    return TRUE;
  n = branches_at (w, sumi_sampler_get_sigma (w->sampler, w->first), branches);
  sumi_drawing_report (w->drawing, SUMI_PHASE_LOAD, 0, 1, NULL);
  if (denoiser_for (w, branches, n, error) == NULL)
    return FALSE;
  sumi_drawing_report (w->drawing, SUMI_PHASE_LOAD, 1, 1, NULL);
  return TRUE;
}

static void
tell_strength (const Walk *w)
{
  SumiDrawing *d = w->drawing;

  if (w->index == 0 && w->first >= w->n_calls)
    g_ptr_array_add (d->result->notes, g_strdup_printf ("strength %g leaves no step of %u: the picture stays as it is",
                                                        d->request->strength, d->request->steps));
}

gboolean
sumi_drawing_sample (SumiDrawing *d, guint i, float *x, GError **error)
{
  g_autoptr (SumiSampler) sampler = new_sampler (d, error);
  g_autofree float *noise = g_try_new (float, d->n_values);
  Walk w = { .drawing = d, .index = i, .picture = g_ptr_array_index (d->pictures, i), .sampler = sampler };

  if (sampler == NULL)
    return FALSE;
  if (noise == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY, "noise: no memory for %" G_GSIZE_FORMAT " values",
                   d->n_values);
      return FALSE;
    }
  begin (&w, x);
  tell_strength (&w);
  if (d->request->tap != NULL && d->request->tap->walk != NULL)
    d->request->tap->walk (i, sampler, d->request->tap->user);
  d->n_steps = (w.n_calls - w.first) * d->pictures->len;
  if (i == 0 && !load (&w, error))
    return FALSE;
  for (guint call = w.first; call < w.n_calls; call++)
    if (!take_step (&w, call, x, noise, error))
      return FALSE;
  return TRUE;
}
