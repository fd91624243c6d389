/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a denoising model is made of, from its configuration alone: which networks, on which values, under which noise
 * schedule.  Sampling (diffusion/pipeline.c) and training (train/) build the same graph from it.
 *
 * Configuration: a JSON object with "family" and what the family needs (docs/FORMATS.md):
 *   "simple-unet"  pixels; the hyper-parameters of sumi_simple_unet beside it
 *   "ddpm"         pixels; "unet": a diffusers UNet2DModel configuration
 *   "sumi-latent"  text to TAEF2 latents; "unet": a UNet2DConditionModel configuration, "text_encoder": a CLIP text
 *                  configuration, "latents": {"channels", "height", "width", "mean": […], "std": […]} per channel
 * and for all of them "scheduler": a diffusers scheduler configuration (num_train_timesteps, beta_schedule, beta_start,
 * beta_end, prediction_type, variance_type, clip_sample, timestep_spacing, steps_offset, set_alpha_to_one), and
 * "sample_size" (pixels) or the latents' size as the size to draw at.
 *
 * Parameter names: as in the reference checkpoints for pixel models; "unet.…" and "text_encoder.…" for sumi-latent. */
#pragma once

#include <json-glib/json-glib.h>

#include "diffusion/schedule.h"
#include "nn/networks.h"

G_BEGIN_DECLS

typedef enum
{
  SUMI_FAMILY_SIMPLE_UNET,
  SUMI_FAMILY_DDPM,
  SUMI_FAMILY_LATENT,
  SUMI_N_FAMILIES
} SumiFamily;

typedef struct
{
  SumiFamily family;
  SumiSimpleUnetConfig simple; /* SIMPLE_UNET */
  SumiUnetConfig unet;         /* DDPM, LATENT */
  SumiTextConfig text;         /* LATENT */

  gint64 channels, height, width; /* of the sample that is denoised: pixels or latents, at the model's own size */
  gint64 out_channels;            /* of the prediction: channels, or twice that with a learned variance */
  guint scale;                    /* pixels a side of one sample value: 1, or 8 for latents */
  double mean[SUMI_TAEF2_CHANNELS], std[SUMI_TAEF2_CHANNELS]; /* LATENT: sample = (latent - mean) / std */

  SumiBetaKind betas;
  guint num_train_timesteps;
  double beta_start, beta_end;
  SumiPrediction prediction;
  SumiVariance variance;     /* of DDPM steps */
  gboolean clip_sample;      /* predicted x_0 is clipped to [-1,1]; the default for pixels */
  SumiSpacing spacing;       /* default trailing */
  guint steps_offset;        /* leading only; default 0 */
  gboolean set_alpha_to_one; /* the last DDIM step lands on x_0 (default), else on timestep 0 */
} SumiModelConfig;

/* Everything is checked: bad_config names the field; an unknown family is unknown_model. */
gboolean sumi_model_config_parse (JsonObject *json, SumiModelConfig *c, GError **error);
const char *sumi_family_name (SumiFamily f);
/* A sample's height and width must be multiples of this to pass the down-sampling evenly. */
guint sumi_model_granularity (const SumiModelConfig *c);

/* LATENT: input_ids INDEX (N,S), rows of the model's own vocabulary -> encoder_hidden_states (N,S,hidden);
 * *pooled (N,hidden): the state of the last place, which (causal) has seen the whole prompt. */
SumiNode *sumi_model_text (SumiModule *m, const SumiModelConfig *c, SumiNode *input_ids, SumiNode **pooled);

/* sample (N,C,H,W), timestep REAL (N), and for LATENT what sumi_model_text gives (else NULL) -> the model's prediction
 * (N,C,H,W) (more channels where a DDPM model also predicts the variance). */
SumiNode *sumi_model_denoiser (SumiModule *m, const SumiModelConfig *c, SumiNode *sample, SumiNode *timestep,
                               SumiNode *encoder_hidden_states, SumiNode *pooled);

/* The model's own, small vocabulary (LATENT): CLIP ids <-> rows of the text encoder's embedding.
 * "token_ids" I64 (V): the CLIP id of each row, ascending, except row 0, which is -1 and stands for every id that the
 * training captions did not have.  rows: `n` places; *n_unknown (may be NULL) counts ids that became row 0. */
void sumi_model_tokens_to_rows (const gint64 *token_ids, gint64 v, const gint64 *ids, gsize n, gint64 *rows,
                                guint *n_unknown);

G_END_DECLS
