/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A request from beginning to end.  Each stage does all pictures, and where nothing is kept warm frees what it needed
 * before the next begins: text encoders, auto-encoder (to read a picture), denoiser, auto-encoder.  Within a stage one
 * picture comes after the other, so that a picture is the same in whatever batch it is drawn. */
#include "diffusion/pipeline-private.h"

#include "diffusion/recipe.h"

#include <string.h>

static void
picture_free (gpointer data)
{
  SumiPicture *picture = data;

  g_clear_pointer (&picture->prompt, sumi_prompt_free);
  g_clear_pointer (&picture->negative, sumi_prompt_free);
  g_array_unref (picture->adapters);
  sumi_text_states_clear (&picture->cond);
  sumi_text_states_clear (&picture->uncond);
  g_clear_pointer (&picture->start, sumi_tensor_unref);
  g_clear_pointer (&picture->original, sumi_tensor_unref);
  g_clear_pointer (&picture->beside, sumi_tensor_unref);
  g_free (picture);
}

static void
drawing_clear (SumiDrawing *d)
{
  g_clear_pointer (&d->pictures, g_ptr_array_unref);
  g_clear_pointer (&d->image, sumi_tensor_unref);
  g_clear_pointer (&d->mask, sumi_tensor_unref);
  g_clear_pointer (&d->image_mask, sumi_tensor_unref);
  g_free (d->input);
  g_free (d->guided);
  g_free (d->kept);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (SumiDrawing, drawing_clear)

void
sumi_drawing_report (const SumiDrawing *d, SumiPhase phase, guint step, guint n_steps, SumiTensor *picture)
{
  if (d->progress != NULL)
    d->progress (phase, step, n_steps, picture, d->user);
}

/* ---- before ---- */

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

static gboolean
allocate (SumiDrawing *d, const SumiShape *shape, GError **error)
{
  const SumiModelConfig *c = &d->pipeline->config;

  d->shape = *shape;
  d->shape.d[0] = 1;
  d->n_values = (gsize)sumi_shape_numel (&d->shape);
  d->n_output = d->n_values / (gsize)c->channels * (gsize)c->out_channels;
  d->input = g_try_new (float, d->n_values);
  d->guided = g_try_new (float, d->n_output);
  d->kept = g_try_new (float, d->n_values);
  if (d->input != NULL && d->guided != NULL && d->kept != NULL)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY, "sample: no memory for %" G_GSIZE_FORMAT " values",
               d->n_values);
  return FALSE;
}

static void
add_pictures (SumiDrawing *d)
{
  const SumiRequest *r = d->request;

  d->pictures = g_ptr_array_new_with_free_func (picture_free);
  for (guint i = 0; i < r->batch; i++)
    {
      SumiPicture *picture = g_new0 (SumiPicture, 1);

      picture->adapters = sumi_adapters_new ();
      sumi_rng_seed (&picture->rng, r->rng, r->seed + i);
      g_ptr_array_add (d->pictures, picture);
    }
}

/* ---- the stages ---- */

static gboolean
begin_pictures (SumiDrawing *d, GError **error)
{
  SumiPipeline *p = d->pipeline;

  if (!sumi_pipeline_open_vae (p, d->request->vae, error))
    return FALSE;
  if (p->autoencoder != NULL)
    sumi_autoencoder_set_tile (p->autoencoder, d->request->tile > 0 ? d->request->tile : p->tile);
  if (!sumi_drawing_read_image (d, error))
    return FALSE;
  for (guint i = 0; i < d->pictures->len; i++)
    if (!sumi_drawing_begin_picture (d, i, error))
      return FALSE;
  if (p->autoencoder != NULL && !p->keep_warm && d->image != NULL)
    sumi_autoencoder_trim (p->autoencoder);
  return TRUE;
}

static gboolean
sample_pictures (SumiDrawing *d, GError **error)
{
  SumiPipeline *p = d->pipeline;

  for (guint i = 0; i < d->pictures->len; i++)
    {
      SumiPicture *picture = g_ptr_array_index (d->pictures, i);
      float *x = sumi_tensor_poke_f32 (d->result->latents) + i * d->n_values;

      if (!sumi_pipeline_merge_unet (p, picture->adapters, error) || !sumi_drawing_sample (d, i, x, error))
        return FALSE;
    }
  if (!p->keep_warm)
    sumi_pipeline_free_denoisers (p);
  return TRUE;
}

/* Into its place in result->decoded. */
static gboolean
keep_decoded (SumiDrawing *d, guint i, const SumiTensor *decoded, GError **error)
{
  SumiShape shape = *sumi_tensor_get_shape (decoded);
  gsize n = (gsize)sumi_tensor_get_numel (decoded);

  shape.d[0] = d->pictures->len;
  if (d->result->decoded == NULL && (d->result->decoded = sumi_tensor_new (SUMI_F32, &shape, error)) == NULL)
    return FALSE;
  memcpy (sumi_tensor_poke_f32 (d->result->decoded) + i * n, sumi_tensor_peek_f32 (decoded), n * sizeof (float));
  return TRUE;
}

static gboolean
decode_pictures (SumiDrawing *d, GError **error)
{
  guint n = d->pictures->len;

  for (guint i = 0; i < n; i++)
    {
      const float *x = sumi_tensor_peek_f32 (d->result->latents) + i * d->n_values;
      g_autoptr (SumiTensor) decoded = NULL;
      SumiTensor *picture;

      sumi_drawing_report (d, SUMI_PHASE_DECODE, i, n, NULL);
      picture = sumi_drawing_decode (d, x, &decoded, error);
      if (picture == NULL)
        return FALSE;
      g_ptr_array_add (d->result->images, picture);
      if (d->request->keep_decoded && !keep_decoded (d, i, decoded, error))
        return FALSE;
      sumi_drawing_composite (d, picture);
      sumi_drawing_report (d, SUMI_PHASE_DECODE, i + 1, n, picture);
    }
  if (d->pipeline->autoencoder != NULL && !d->pipeline->keep_warm)
    sumi_autoencoder_trim (d->pipeline->autoencoder);
  return TRUE;
}

/* Pictures of a batch find the same things. */
static void
drop_repeated_notes (GPtrArray *notes)
{
  for (guint i = 0; i < notes->len; i++)
    for (guint k = notes->len - 1; k > i; k--)
      if (strcmp (g_ptr_array_index (notes, i), g_ptr_array_index (notes, k)) == 0)
        g_ptr_array_remove_index (notes, k);
}

static gboolean
draw (SumiDrawing *d, GError **error)
{
  if (d->pipeline->conditioner != NULL
      && (!sumi_drawing_read_prompts (d, error) || !sumi_drawing_encode_prompts (d, error)))
    return FALSE;
  return begin_pictures (d, error) && !sumi_set_error_if_cancelled (d->cancellable, error) && sample_pictures (d, error)
         && decode_pictures (d, error);
}

static void
add_recipes (const SumiDrawing *d)
{
  SumiPipeline *p = d->pipeline;
  SumiRecipeModel model = { .model = p->model,
                            .takes_prompt = sumi_pipeline_takes_prompt (p),
                            .takes_image_guidance = p->config.in_channels == 2 * p->config.channels,
                            .version = sumi_model_is_stable_diffusion (&p->config) ? p->version : NULL,
                            .bf16 = p->dtype == SUMI_BF16 };

  for (guint i = 0; i < d->pictures->len; i++)
    {
      const SumiPicture *picture = g_ptr_array_index (d->pictures, i);
      g_autofree char *hashes = sumi_pipeline_lora_hashes (p, picture->adapters);

      model.lora_hashes = hashes;
      g_ptr_array_add (d->result->parameters, sumi_recipe_write (d->request, i, &model));
    }
}

SumiResult *
sumi_pipeline_run (SumiPipeline *p, const SumiRequest *request, SumiProgressFunc progress, gpointer user,
                   GCancellable *cancellable, GError **error)
{
  SumiRequest r = *request;
  g_autoptr (SumiResult) result = NULL;
  g_auto (SumiDrawing) d
      = { .pipeline = p, .request = &r, .progress = progress, .user = user, .cancellable = cancellable };
  SumiShape shape;
  gboolean ok;

  sumi_pipeline_complete_request (p, &r);
  if (!sumi_pipeline_check_request (p, &r, &shape, error) || (result = result_new (&shape, error)) == NULL
      || !allocate (&d, &shape, error))
    return NULL;
  d.result = result;
  sumi_pipeline_tell_ignored (p, &r, &shape, result->notes);
  add_pictures (&d);
  ok = draw (&d, error);
  if (!ok && !p->keep_warm)
    sumi_pipeline_free_denoisers (p);
  if (!ok)
    return NULL;
  add_recipes (&d);
  drop_repeated_notes (result->notes);
  return g_steal_pointer (&result);
}
