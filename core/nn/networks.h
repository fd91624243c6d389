/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The networks, each a function that builds nodes. Parameter names are those of the reference checkpoints. */
#pragma once

#include <json-glib/json-glib.h>

#include "nn/module.h"

G_BEGIN_DECLS

#define SUMI_MAX_LEVELS 8

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
} SumiUnetConfig;

/* Reads a diffusers unet/config.json; anything it cannot build is bad_config, named. */
gboolean sumi_unet_config_parse (JsonObject *json, SumiUnetConfig *c, GError **error);
/* sample (N,C,H,W), timestep REAL (N), encoder_hidden_states (N,S,cross_attention_dim) or NULL, class_labels
 * (N,projection_class_embeddings_input_dim) or NULL: through class_embedding.linear_1, SiLU, .linear_2 added to the
 * time embedding -> (N,out,H,W) */
SumiNode *sumi_unet (SumiModule *m, const SumiUnetConfig *c, SumiNode *sample, SumiNode *timestep,
                     SumiNode *encoder_hidden_states, SumiNode *class_labels);

/* ---- the CLIP text encoder (nn/text-encoder.c): text_model.embeddings…, text_model.encoder.layers.N…,
 * final_layer_norm ---- */
typedef struct
{
  gint64 vocab_size, hidden_size, intermediate_size, max_position_embeddings;
  guint num_hidden_layers, num_attention_heads;
  SumiAct hidden_act;    /* SUMI_ACT_QUICK_GELU or SUMI_ACT_GELU */
  double layer_norm_eps; /* 1e-5 */
} SumiTextConfig;

gboolean sumi_text_config_parse (JsonObject *json, SumiTextConfig *c, GError **error);
/* input_ids INDEX (N,S), S <= max_position_embeddings -> last_hidden_state (N,S,hidden), after final_layer_norm;
 * penultimate (may be NULL): the input of the last layer, not normed. Causal. */
SumiNode *sumi_text_encoder (SumiModule *m, const SumiTextConfig *c, SumiNode *input_ids, SumiNode **penultimate);

/* ---- TAEF2 (nn/tae.c): encoder.N…, decoder.N…; 32 latent channels at 1/8 size ---- */
#define SUMI_TAEF2_CHANNELS 32
/* image (N,3,H,W) in [0,1], H and W multiples of 8 -> (N,32,H/8,W/8) */
SumiNode *sumi_taef2_encoder (SumiModule *m, SumiNode *image);
/* latents (N,32,h,w) -> (N,3,8h,8w), about [0,1], not clamped */
SumiNode *sumi_taef2_decoder (SumiModule *m, SumiNode *latents);

G_END_DECLS
