/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From the prompts of a request to what the denoiser is conditioned on. */
#include "diffusion/pipeline-private.h"

#include "diffusion/guidance.h"

#include <string.h>

/* What Stable Diffusion XL's refiner was trained to draw beautifully, and not (Podell et al. 2023). */
#define AESTHETIC_SCORE 6.0f
#define NEGATIVE_AESTHETIC_SCORE 2.5f

/* ---- reading ---- */

static gboolean
read_prompts (SumiDrawing *d, guint i, GError **error)
{
  const SumiRequest *r = d->request;
  SumiPicture *picture = g_ptr_array_index (d->pictures, i);

  picture->prompt = sumi_prompt_parse (r->prompt, r->emphasis, r->seed + i, error);
  if (picture->prompt == NULL)
    {
      g_prefix_error (error, "prompt: ");
      return FALSE;
    }
  picture->negative = sumi_prompt_parse (r->negative_prompt, r->emphasis, r->seed + i, error);
  if (picture->negative == NULL)
    {
      g_prefix_error (error, "negative prompt: ");
      return FALSE;
    }
  if (picture->negative->loras->len > 0)
    g_ptr_array_add (d->result->notes, g_strdup ("adapters in the negative prompt were ignored"));
  return sumi_pipeline_find_adapters (d->pipeline, r, picture->prompt, picture->adapters, d->result->notes, error);
}

gboolean
sumi_drawing_read_prompts (SumiDrawing *d, GError **error)
{
  for (guint i = 0; i < d->pictures->len; i++)
    if (!read_prompts (d, i, error))
      return FALSE;
  return sumi_pipeline_find_embeddings (d->pipeline, d->request, d->pictures, d->result->notes, error);
}

/* ---- encoding ---- */

static void
share_states (SumiTextStates *to, const SumiTextStates *from)
{
  *to = *from;
  if (to->states != NULL)
    sumi_tensor_ref (to->states);
  if (to->pooled != NULL)
    sumi_tensor_ref (to->pooled);
}

static gboolean
same_text (const SumiPicture *a, const SumiPicture *b)
{
  return strcmp (a->prompt->plain, b->prompt->plain) == 0 && strcmp (a->negative->plain, b->negative->plain) == 0
         && sumi_adapters_equal (a->adapters, b->adapters);
}

/* Which of the two are asked at all. */
static void
what_is_asked (const SumiDrawing *d, gboolean *cond, gboolean *uncond)
{
  const SumiRequest *r = d->request;
  gboolean guided = sumi_request_is_guided (d->pipeline, r), interval = r->guidance_low > 0;

  interval |= r->guidance_high < G_MAXDOUBLE;
  *uncond = guided || (r->guidance_scale == 0.0 && d->pipeline->config.unet.time_cond_proj_dim == 0);
  *cond = guided || !*uncond || interval;
}

static gboolean
encode (SumiDrawing *d, SumiPicture *picture, GError **error)
{
  SumiConditionerOptions options
      = { .emphasis = d->request->emphasis, .clip_skip = d->request->clip_skip, .one_chunk = d->request->one_chunk };
  const SumiPrompt *prompts[2];
  const char *what[2];
  SumiTextStates out[2] = { { NULL } };
  gboolean cond, uncond;
  guint n = 0;

  what_is_asked (d, &cond, &uncond);
  if (cond)
    {
      prompts[n] = picture->prompt;
      what[n++] = "prompt";
    }
  if (uncond)
    {
      options.zero_empty = 1u << n;
      prompts[n] = picture->negative;
      what[n++] = "negative prompt";
    }
  sumi_pipeline_merge_text (d->pipeline, picture->adapters);
  if (!sumi_conditioner_encode (d->pipeline->conditioner, prompts, what, n, &options, out, d->result->notes,
                                d->cancellable, error))
    return FALSE;
  if (cond)
    picture->cond = out[0];
  if (uncond)
    picture->uncond = out[n - 1];
  return TRUE;
}

static gboolean
tap_text (const SumiDrawing *d, guint i, GError **error)
{
  const SumiPipelineTap *tap = d->request->tap;
  const SumiPicture *picture = g_ptr_array_index (d->pictures, i);

  if (tap == NULL || tap->text == NULL)
    return TRUE;
  return (picture->cond.states == NULL
          || tap->text (i, "prompt", picture->cond.states, picture->cond.pooled, tap->user, error))
         && (picture->uncond.states == NULL
             || tap->text (i, "negative prompt", picture->uncond.states, picture->uncond.pooled, tap->user, error));
}

/* The picture before whose prompts say the same, or NULL. */
static const SumiPicture *
same_before (const SumiDrawing *d, guint i)
{
  for (guint k = i; k-- > 0;)
    if (same_text (g_ptr_array_index (d->pictures, k), g_ptr_array_index (d->pictures, i)))
      return g_ptr_array_index (d->pictures, k);
  return NULL;
}

gboolean
sumi_drawing_encode_prompts (SumiDrawing *d, GError **error)
{
  SumiPipeline *p = d->pipeline;

  for (guint i = 0; i < d->pictures->len; i++)
    {
      SumiPicture *picture = g_ptr_array_index (d->pictures, i);
      const SumiPicture *same = same_before (d, i);

      sumi_drawing_report (d, SUMI_PHASE_TEXT, i, d->pictures->len, NULL);
      if (same != NULL)
        {
          share_states (&picture->cond, &same->cond);
          share_states (&picture->uncond, &same->uncond);
          picture->serial = same->serial;
        }
      else
        {
          picture->serial = ++p->serial;
          if (!encode (d, picture, error))
            return FALSE;
        }
      if (!tap_text (d, i, error) || sumi_set_error_if_cancelled (d->cancellable, error))
        return FALSE;
    }
  if (sumi_model_is_stable_diffusion (&p->config))
    {
      const SumiPicture *first = g_ptr_array_index (d->pictures, 0);

      d->result->n_tokens = first->cond.n_tokens;
      d->result->n_negative_tokens = first->uncond.n_tokens;
    }
  sumi_drawing_report (d, SUMI_PHASE_TEXT, d->pictures->len, d->pictures->len, NULL);
  if (!p->keep_warm)
    sumi_conditioner_trim (p->conditioner);
  return TRUE;
}

/* ---- conditioning ---- */

/* The branches' tensors one behind the other; shape is that of one, (1,…). */
static gboolean
set_stacked (SumiDenoiser *k, const char *name, SumiTensor *const *parts, GError **error)
{
  SumiShape shape = *sumi_tensor_get_shape (parts[0]);
  gsize n = (gsize)sumi_tensor_get_numel (parts[0]);
  g_autoptr (SumiTensor) all = NULL;

  shape.d[0] = k->size.samples;
  all = sumi_tensor_new (SUMI_F32, &shape, error);
  if (all == NULL)
    return FALSE;
  for (gint64 i = 0; i < k->size.samples; i++)
    sumi_tensor_to_f32 (parts[i], sumi_tensor_poke_f32 (all) + i * n);
  return sumi_plan_set (k->plan, name, all, error);
}

/* Sizes and crop as the model was told of them in training: the original's, none, the picture's. */
static gboolean
set_time_ids (const SumiDrawing *d, SumiDenoiser *k, const SumiBranch *branches, GError **error)
{
  const SumiModelConfig *c = &d->pipeline->config;
  gint64 n = sumi_model_n_time_ids (c);
  float height = (float)(d->shape.d[2] * c->scale), width = (float)(d->shape.d[3] * c->scale);
  g_autoptr (SumiTensor) ids = NULL;

  if (n == 0)
    return TRUE;
  ids = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (k->size.samples, n), error);
  for (gint64 i = 0; ids != NULL && i < k->size.samples; i++)
    {
      float score = branches[i] == SUMI_BRANCH_COND ? AESTHETIC_SCORE : NEGATIVE_AESTHETIC_SCORE;
      const float base[6] = { height, width, 0, 0, height, width }, refiner[6] = { height, width, 0, 0, score };

      memcpy (sumi_tensor_poke_f32 (ids) + i * n, n == 5 ? refiner : base, (gsize)n * sizeof (float));
    }
  return ids != NULL && sumi_plan_set (k->plan, "time_ids", ids, error);
}

static gboolean
set_embedded_guidance (const SumiDrawing *d, SumiDenoiser *k, GError **error)
{
  gint64 width = d->pipeline->config.unet.time_cond_proj_dim;
  g_autoptr (SumiTensor) t = NULL;

  if (width == 0)
    return TRUE;
  t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (k->size.samples, width), error);
  for (gint64 i = 0; t != NULL && i < k->size.samples; i++)
    sumi_guidance_embed (d->request->guidance_scale, sumi_tensor_poke_f32 (t) + i * width, (gsize)width);
  return t != NULL && sumi_plan_set (k->plan, "timestep_cond", t, error);
}

gboolean
sumi_drawing_set_conditions (SumiDrawing *d, SumiDenoiser *k, const SumiPicture *picture, const SumiBranch *branches,
                             GError **error)
{
  SumiTensor *states[3] = { NULL }, *pooled[3] = { NULL };

  for (gint64 i = 0; i < k->size.samples; i++)
    {
      const SumiTextStates *t = branches[i] == SUMI_BRANCH_COND ? &picture->cond : &picture->uncond;

      states[i] = t->states;
      pooled[i] = t->pooled;
    }
  return set_stacked (k, "encoder_hidden_states", states, error)
         && (pooled[0] == NULL || sumi_model_pooled_width (&d->pipeline->config) == 0
             || set_stacked (k, "pooled", pooled, error))
         && set_time_ids (d, k, branches, error) && set_embedded_guidance (d, k, error);
}
