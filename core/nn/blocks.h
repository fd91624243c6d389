/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The blocks diffusion U-Nets are made of, with the parameter names of the diffusers checkpoints. */
#pragma once

#include "nn/module.h"

G_BEGIN_DECLS

/* linear_1, SiLU, linear_2: the sinusoidal embedding of a time -> (N, features). */
SumiNode *sumi_nn_timestep_mlp (SumiModule *m, SumiNode *embedding, gint64 features);

/* norm1, SiLU, conv1, + time_emb_proj (SiLU (temb)), norm2, SiLU, conv2, + x (conv_shortcut where the width changes).
 * temb (N, features) or NULL: a block without time. */
SumiNode *sumi_nn_resnet (SumiModule *m, SumiNode *x, SumiNode *temb, gint64 out_channels, guint groups, double eps);

/* Self-attention over the pixels of (N,C,H,W): group_norm, to_q, to_k, to_v, to_out.0, + x. */
SumiNode *sumi_nn_pixel_attention (SumiModule *m, SumiNode *x, guint heads, guint groups, double eps);

typedef struct
{
  guint heads, layers, groups;
  gboolean linear_projection; /* proj_in and proj_out are linear, else 1x1 convolutions */
} SumiTransformerConfig;

/* norm, proj_in, transformer_blocks.N (self-attention, attention to `context` (N,S,D), feed-forward), proj_out, + x. */
SumiNode *sumi_nn_transformer (SumiModule *m, SumiNode *x, SumiNode *context, const SumiTransformerConfig *c);

/* downsamplers.0.conv: half the size, rounded up. pad 1: on all sides; 0: right and bottom by one. */
SumiNode *sumi_nn_downsample (SumiModule *m, SumiNode *x, guint pad);
/* Nearest neighbour to that size, then upsamplers.0.conv. */
SumiNode *sumi_nn_upsample (SumiModule *m, SumiNode *x, gint64 height, gint64 width);

/* (N,C,H,W) -> (N,HW,C) and back. */
SumiNode *sumi_nn_to_tokens (SumiGraph *g, SumiNode *x);
SumiNode *sumi_nn_from_tokens (SumiGraph *g, SumiNode *x, gint64 height, gint64 width);

G_END_DECLS
