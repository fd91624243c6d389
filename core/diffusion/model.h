/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a denoising model is made of, from its configuration alone: which networks, on which values, under which noise
 * schedule.  Sampling (diffusion/pipeline.c) and training (train/) build the same graph from it.
 *
 * Configuration: a JSON object with "family" and what the family needs (docs/FORMATS.md):
 *   "simple-unet"  pixels; the hyper-parameters of sumi_simple_unet beside it
 *   "ddpm"         pixels; "unet": a diffusers UNet2DModel configuration
 *   "sd15", "sd21", "sdxl", "sdxl-refiner"
 *                  Stable Diffusion (Rombach et al. 2022; Podell et al. 2023): "unet": a UNet2DConditionModel
 *                  configuration, "vae": an AutoencoderKL configuration, "text_encoder" and, for SDXL,
 *                  "text_encoder_2": CLIP text configurations (the refiner has the second only),
 *                  "force_zeros_for_empty_prompt", and "defaults": {"steps", "guidance_scale", "sampler",
 *                  "sigmas", "clip_skip", "sample_size"}, what to draw with unless asked otherwise
 *                  (few steps and no guidance for distilled models)
 *   "sumi-latent"  text to TAEF2 latents; "unet": a UNet2DConditionModel configuration, "text_encoder": a CLIP text
 *                  configuration, "latents": {"channels", "height", "width", "mean": […], "std": […]} per channel
 * and for all of them "scheduler": a diffusers scheduler configuration (num_train_timesteps, beta_schedule, beta_start,
 * beta_end, prediction_type, variance_type, clip_sample, timestep_spacing, steps_offset, set_alpha_to_one,
 * rescale_betas_zero_snr), and "sample_size" (pixels) or the latents' size as the size to draw at.
 *
 * "evidence": [text, …] says how it was found out, for people.
 *
 * Parameter names: as in the reference checkpoints for pixel models; "unet.…", "text_encoder.…", "text_encoder_2.…",
 * "vae.…" with the names of the diffusers folders for the others (nn/names.h). */
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
  SUMI_FAMILY_SD1,          /* "sd15": CLIP ViT-L/14, 768 */
  SUMI_FAMILY_SD2,          /* "sd21": OpenCLIP ViT-H/14, 1024 */
  SUMI_FAMILY_SDXL,         /* "sdxl": both, pooled text, sizes */
  SUMI_FAMILY_SDXL_REFINER, /* "sdxl-refiner": OpenCLIP bigG, sizes and an aesthetic score */
  SUMI_N_FAMILIES
} SumiFamily;

typedef struct
{
  SumiFamily family;
  SumiSimpleUnetConfig simple; /* SIMPLE_UNET */
  SumiUnetConfig unet;         /* DDPM, LATENT */
  SumiTextConfig text;         /* LATENT, SD1, SD2, SDXL */
  SumiTextConfig text_2;       /* SDXL, SDXL_REFINER */
  SumiVaeConfig vae;           /* SD1, SD2, SDXL, SDXL_REFINER */

  gint64 channels, height, width; /* of the sample that is denoised: pixels or latents, at the model's own size */
  gint64 in_channels;             /* of what the network sees: channels; 9 for inpainting (mask and masked picture
                                     behind the sample), 8 for instruct-pix2pix (the picture behind it) */
  gint64 out_channels;            /* of the prediction: channels, or twice that with a learned variance */
  guint scale;                    /* pixels a side of one sample value: 1, or 8 for latents */
  double mean[SUMI_TAEF2_CHANNELS], std[SUMI_TAEF2_CHANNELS]; /* sample = (latent - mean) / std, per channel */

  SumiBetaKind betas;
  guint num_train_timesteps;
  double beta_start, beta_end;
  SumiPrediction prediction;
  SumiVariance variance;       /* of DDPM steps */
  gboolean clip_sample;        /* predicted x_0 is clipped to [-1,1]; the default for pixels */
  SumiSpacing spacing;         /* default trailing */
  gboolean spacing_by_sampler; /* the file is diffusers' and leaves it out: there, every scheduler has its own default
                                  (leading for ddpm, ddim, pndm, lcm and tcd; linspace for the others) */
  guint steps_offset;          /* leading only; default 0 */
  gboolean set_alpha_to_one;   /* the last DDIM step lands on x_0 (default), else on timestep 0 */
  gboolean rescale_betas_zero_snr; /* Lin et al. 2023: alphas_cumprod end at 0 */
  gboolean zero_empty;             /* an empty prompt's text states are zeros (SDXL) */

  /* What to draw with unless asked otherwise. */
  struct
  {
    guint steps;           /* 30; 4 for consistency models */
    double guidance_scale; /* 7.5; 4 for sumi-latent; 1 for consistency models, 8 where they are told of it */
    const char *sampler;   /* static; that of the scheduler's _class_name */
    const char *sigmas;    /* static; NULL: by spacing */
    guint clip_skip;       /* 1: the last layer; 2 the one before */
  } defaults;
} SumiModelConfig;

/* TRUE for the families whose picture comes from AutoencoderKL latents under CLIP text. */
gboolean sumi_model_is_stable_diffusion (const SumiModelConfig *c);

/* Everything is checked: bad_config names the field; an unknown family is unknown_model. */
gboolean sumi_model_config_parse (JsonObject *json, SumiModelConfig *c, GError **error);
const char *sumi_family_name (SumiFamily f);
/* The noise schedule it was trained under. */
SumiSchedule *sumi_model_schedule_new (const SumiModelConfig *c, GError **error);
/* A sample's height and width must be multiples of this to pass the down-sampling evenly. */
guint sumi_model_granularity (const SumiModelConfig *c);

/* LATENT: input_ids INDEX (N,S), rows of the model's own vocabulary -> encoder_hidden_states (N,S,hidden);
 * *pooled (N,hidden): the state of the last place, which (causal) has seen the whole prompt. */
SumiNode *sumi_model_text (SumiModule *m, const SumiModelConfig *c, SumiNode *input_ids, SumiNode **pooled);

/* What a text model's denoiser hears; NULL what it has no ear for. */
typedef struct
{
  SumiNode *encoder_hidden_states; /* (N,S,D) */
  SumiNode *pooled;                /* (N,P) */
  SumiNode *time_ids;              /* REAL (N,6), (N,5) for the refiner */
  SumiNode *timestep_cond;         /* (N,time_cond_proj_dim): LCM's embedded guidance scale */
} SumiModelInputs;

/* Widths of the inputs above; 0: the denoiser takes none. */
gint64 sumi_model_states_width (const SumiModelConfig *c);
gint64 sumi_model_pooled_width (const SumiModelConfig *c);
gint64 sumi_model_n_time_ids (const SumiModelConfig *c);

/* sample (N,in_channels,H,W), timestep REAL (N), inputs (NULL for models of pixels) -> the model's prediction (N,C,H,W)
 * (more channels where a DDPM model also predicts the variance). */
SumiNode *sumi_model_denoiser (SumiModule *m, const SumiModelConfig *c, SumiNode *sample, SumiNode *timestep,
                               const SumiModelInputs *inputs);

/* Declares every parameter the model's networks have, with its shape, for checks and tools: nothing is computed. */
void sumi_model_declare (SumiModule *m, const SumiModelConfig *c);

/* The model's own, small vocabulary (LATENT): CLIP ids <-> rows of the text encoder's embedding.
 * "token_ids" I64 (V): the CLIP id of each row, ascending, except row 0, which is -1 and stands for every id that the
 * training captions did not have.  rows: `n` places; *n_unknown (may be NULL) counts ids that became row 0. */
void sumi_model_tokens_to_rows (const gint64 *token_ids, gint64 v, const gint64 *ids, gsize n, gint64 *rows,
                                guint *n_unknown);

G_END_DECLS
