/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A pipeline's life. */
#include "diffusion/pipeline-private.h"

const char *
sumi_phase_name (SumiPhase phase)
{
  static const char *const names[] = { "load", "text", "sample", "decode" };

  return phase < G_N_ELEMENTS (names) ? names[phase] : "unknown";
}

static gboolean
open_conditioner (SumiPipeline *p, const char *merges, GError **error)
{
  g_autoptr (SumiTokenizer) tokenizer = NULL;

  if (merges == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE,
                   "CLIP merges: found no file, expected one for a text model");
      return FALSE;
    }
  tokenizer = sumi_tokenizer_open (merges, error);
  if (tokenizer == NULL)
    return FALSE;
  p->conditioner = sumi_conditioner_new (&p->config, p->weights, tokenizer, p->engine, p->threads, error);
  return p->conditioner != NULL;
}

static gboolean
check_channels (const SumiModelConfig *c, GError **error)
{
  if (c->scale > 1 || c->channels == 1 || c->channels == 3)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
               "in_channels: found %" G_GINT64_FORMAT ", expected 1 or 3 for a model of pixels", c->channels);
  return FALSE;
}

SumiPipeline *
sumi_pipeline_new (SumiTensorMap *weights, JsonObject *config, const SumiPipelineOptions *options, GError **error)
{
  g_autoptr (SumiPipeline) p = g_new0 (SumiPipeline, 1);

  p->denoisers = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_denoiser_free);
  p->parameters = g_ptr_array_new_with_free_func (g_free);
  p->text_merged = sumi_adapters_new ();
  p->unet_merged = sumi_adapters_new ();
  p->weights = sumi_tensor_map_ref (weights);
  p->dtype = options->dtype;
  p->threads = options->threads;
  p->keep_warm = options->keep_warm;
  p->model = g_strdup (options->model);
  p->version = g_strdup (options->version);
  p->taef2 = g_strdup (options->taef2);
  p->loras_folder = g_strdup (options->loras);
  p->embeddings_folder = g_strdup (options->embeddings);
  if (!sumi_model_config_parse (config, &p->config, error) || !check_channels (&p->config, error)
      || (p->engine = sumi_engine_open (options->engine, error)) == NULL
      || (p->schedule = sumi_model_schedule_new (&p->config, error)) == NULL || !sumi_pipeline_check_weights (p, error)
      || (sumi_pipeline_takes_prompt (p) && !open_conditioner (p, options->merges, error))
      || (!sumi_pipeline_lacks_vae (p) && !sumi_pipeline_open_vae (p, NULL, error)))
    return NULL;
  return g_steal_pointer (&p);
}

void
sumi_pipeline_free (SumiPipeline *p)
{
  if (p == NULL)
    return;
  g_ptr_array_unref (p->denoisers);
  g_ptr_array_unref (p->parameters);
  g_clear_pointer (&p->packed, sumi_packed_weights_unref);
  g_clear_pointer (&p->conditioner, sumi_conditioner_free);
  g_clear_pointer (&p->autoencoder, sumi_autoencoder_free);
  g_clear_pointer (&p->text_stack, sumi_lora_stack_free);
  g_clear_pointer (&p->unet_stack, sumi_lora_stack_free);
  g_array_unref (p->text_merged);
  g_array_unref (p->unet_merged);
  g_clear_pointer (&p->loras, g_hash_table_unref);
  g_clear_pointer (&p->targets, sumi_lora_targets_free);
  g_clear_pointer (&p->engine, sumi_engine_unref);
  g_clear_pointer (&p->schedule, sumi_schedule_free);
  sumi_tensor_map_unref (p->weights);
  g_free (p->vae);
  g_free (p->taef2);
  g_free (p->loras_folder);
  g_free (p->embeddings_folder);
  g_free (p->model);
  g_free (p->version);
  g_free (p);
}

gboolean
sumi_pipeline_takes_prompt (const SumiPipeline *p)
{
  return p->config.family == SUMI_FAMILY_LATENT || sumi_model_is_stable_diffusion (&p->config);
}

void
sumi_result_free (SumiResult *r)
{
  if (r == NULL)
    return;
  g_clear_pointer (&r->images, g_ptr_array_unref);
  g_clear_pointer (&r->latents, sumi_tensor_unref);
  g_clear_pointer (&r->decoded, sumi_tensor_unref);
  g_clear_pointer (&r->notes, g_ptr_array_unref);
  g_clear_pointer (&r->parameters, g_ptr_array_unref);
  g_free (r);
}
