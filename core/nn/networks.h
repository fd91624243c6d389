/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The networks, each a function that builds nodes. Parameter names are those of the reference checkpoints. */
#pragma once

#include <json-glib/json-glib.h>

#include "nn/module.h"

G_BEGIN_DECLS

#define SUMI_MAX_LEVELS 8
#define SUMI_MAX_LATENT_CHANNELS 32

/* ---- the simple U-Net (nn/simple-unet.c): time_mlp.1, down1..3, bottleneck, up1..3, up_block1..3, out ---- */
typedef struct
{
  gint64 in_channels, out_channels, base_channels, time_emb_dim;
  guint groups;
} SumiSimpleUnetConfig;

gboolean sumi_simple_unet_config_parse (JsonObject *json, SumiSimpleUnetConfig *c, GError **error); /* bad_config */
/* sample (N,C,H,W) with H and W multiples of 8, timestep REAL (N) -> (N,out,H,W) */
SumiNode *sumi_simple_unet (SumiModule *m, const SumiSimpleUnetConfig *c, SumiNode *sample, SumiNode *timestep);

/* ---- the diffusers U-Nets (nn/unet.c): UNet2DModel and UNet2DConditionModel ---- */
typedef struct
{
  gint64 in_channels, out_channels;
  guint n_levels;
  gint64 block_out_channels[SUMI_MAX_LEVELS];
  guint layers_per_block;
  guint norm_num_groups;
  double norm_eps;
  gboolean flip_sin_to_cos;
  double freq_shift;
  guint downsample_padding;            /* 0: pad right and bottom by one */
  gboolean attention[SUMI_MAX_LEVELS]; /* by level, from the top (down_block_types) */
  guint heads[SUMI_MAX_LEVELS];        /* by level */
  gint64 cross_attention_dim;          /* 0: UNet2DModel, self-attention only */
  guint transformer_layers[SUMI_MAX_LEVELS];
  gboolean use_linear_projection;
  gint64 projection_class_embeddings_input_dim; /* class_embed_type "projection": width of class_labels; 0: none */
  /* addition_embed_type "text_time" (SDXL): text_embeds and the sinusoids of time_ids, this wide each, go together
   * through add_embedding; 0: none */
  gint64 addition_time_embed_dim;
  gint64 addition_embed_dim; /* width of both together (2816 for SDXL base: 1280 + 6 x 256) */
  gint64 time_cond_proj_dim; /* LCM: width of timestep_cond, added to the sinusoid through cond_proj; 0: none */
} SumiUnetConfig;

/* What a U-Net hears beside the time; what its configuration has no place for must be NULL. */
typedef struct
{
  SumiNode *encoder_hidden_states; /* (N,S,cross_attention_dim) */
  SumiNode *class_labels;          /* (N,projection_class_embeddings_input_dim) */
  SumiNode *text_embeds;           /* (N,addition_embed_dim - K addition_time_embed_dim) */
  SumiNode *time_ids;              /* REAL (N,K): K = 6 (SDXL) or 5 (its refiner) */
  SumiNode *timestep_cond;         /* (N,time_cond_proj_dim); may be NULL even so */
} SumiUnetConditioning;

/* Reads a diffusers unet/config.json; anything it cannot build is bad_config, named. */
gboolean sumi_unet_config_parse (JsonObject *json, SumiUnetConfig *c, GError **error);
/* sample (N,C,H,W), timestep REAL (N) -> (N,out,H,W).  class_labels pass class_embedding.linear_1, SiLU, .linear_2 and
 * are added to the time embedding; so are text_embeds with time_ids through add_embedding.  conditioning NULL: none. */
SumiNode *sumi_unet (SumiModule *m, const SumiUnetConfig *c, SumiNode *sample, SumiNode *timestep,
                     const SumiUnetConditioning *conditioning);

/* ---- the CLIP text encoder (nn/text-encoder.c): text_model.embeddings…, text_model.encoder.layers.N…,
 * final_layer_norm ---- */
typedef struct
{
  gint64 vocab_size, hidden_size, intermediate_size, max_position_embeddings;
  guint num_hidden_layers, num_attention_heads;
  SumiAct hidden_act;    /* SUMI_ACT_QUICK_GELU or SUMI_ACT_GELU */
  double layer_norm_eps; /* 1e-5 */
  gint64 projection_dim; /* CLIPTextModelWithProjection: width of text_projection; 0: none */
} SumiTextConfig;

gboolean sumi_text_config_parse (JsonObject *json, SumiTextConfig *c, GError **error);
/* input_ids INDEX (N,S), S <= max_position_embeddings -> last_hidden_state (N,S,hidden), after final_layer_norm;
 * penultimate (may be NULL): the input of the last layer, not normed. Causal. */
SumiNode *sumi_text_encoder (SumiModule *m, const SumiTextConfig *c, SumiNode *input_ids, SumiNode **penultimate);

/* What is wanted of a text encoder that is given embedded tokens. */
typedef struct
{
  guint skip;          /* layers left out at the end: 0 all, 1 the penultimate state… */
  gboolean final_norm; /* final_layer_norm after them (Stable Diffusion 1 and 2; not SDXL) */
  SumiNode *end;       /* INDEX (N): n S + place of the first end mark, for the pooled output; NULL: none is wanted */
} SumiTextOutputs;

/* tokens REAL (N,S,hidden): rows of token_embedding.weight, looked up by the caller (so the table is never packed, and
 * textual inversion may put its own) -> the asked state (N,S,hidden).
 * *pooled (N,hidden), or (N,projection_dim) through text_projection: of the state after all layers and
 * final_layer_norm, at the end mark; NULL without `end`. */
SumiNode *sumi_text_encoder_from_tokens (SumiModule *m, const SumiTextConfig *c, SumiNode *tokens,
                                         const SumiTextOutputs *outputs, SumiNode **pooled);

/* ---- AutoencoderKL (nn/vae.c; Rombach et al. 2022): encoder.…, decoder.…, quant_conv, post_quant_conv ---- */
typedef struct
{
  gint64 in_channels, out_channels, latent_channels;
  guint n_levels;
  gint64 block_out_channels[SUMI_MAX_LEVELS];
  guint layers_per_block;
  guint norm_num_groups;
  gboolean mid_attention, quant_conv, post_quant_conv;
  double scaling_factor, shift_factor; /* the denoiser sees (latent - shift_factor) scaling_factor */
} SumiVaeConfig;

/* Reads a diffusers vae/config.json; anything it cannot build is bad_config, named. */
gboolean sumi_vae_config_parse (JsonObject *json, SumiVaeConfig *c, GError **error);
/* image (N,3,H,W) in [-1,1], sides multiples of 2^(levels-1) -> (N,2 latent_channels,h,w): mean, then log-variance,
 * neither scaled nor clamped */
SumiNode *sumi_vae_encoder (SumiModule *m, const SumiVaeConfig *c, SumiNode *image);
/* latents (N,latent_channels,h,w), not scaled -> (N,3,H,W), about [-1,1] */
SumiNode *sumi_vae_decoder (SumiModule *m, const SumiVaeConfig *c, SumiNode *latents);

/* ---- TAESD (nn/tae.c): the tiny stand-ins of AutoencoderKL: encoder.N…, decoder.N…, 4 or 16 latent channels, already
 * in the denoiser's scale ---- */
/* image (N,3,H,W) in [0,1] -> (N,latent_channels,H/8,W/8) */
SumiNode *sumi_taesd_encoder (SumiModule *m, gint64 latent_channels, SumiNode *image);
/* latents -> (N,3,8h,8w), about [0,1], not clamped */
SumiNode *sumi_taesd_decoder (SumiModule *m, gint64 latent_channels, SumiNode *latents);
/* The weights of a file under the names above, whichever it uses: the original ones, with or without the half in front
 * (a file of one half alone: "1.weight"), or those of diffusers' AutoencoderTiny ("decoder.layers.0.weight").  Tells
 * how many latent channels they are for. Tensors are shared. unknown_model. */
SumiTensorMap *sumi_taesd_weights (SumiTensorMap *file, gint64 *latent_channels, GError **error);

/* ---- TAEF2 (nn/tae.c): encoder.N…, decoder.N…; 32 latent channels at 1/8 size ---- */
#define SUMI_TAEF2_CHANNELS 32
/* image (N,3,H,W) in [0,1], H and W multiples of 8 -> (N,32,H/8,W/8) */
SumiNode *sumi_taef2_encoder (SumiModule *m, SumiNode *image);
/* latents (N,32,h,w) -> (N,3,8h,8w), about [0,1], not clamped */
SumiNode *sumi_taef2_decoder (SumiModule *m, SumiNode *latents);

G_END_DECLS
