/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Hyper-parameters as they show in names and shapes of a single-file checkpoint.  What does not show (heads, groups,
 * the latents' scale) is as in the published models of the family, until a file beside it says otherwise. */
#pragma once

#include <json-glib/json-glib.h>

#include "models/components.h"

G_BEGIN_DECLS

typedef struct
{
  gint64 in_channels, out_channels;
  guint n_levels, layers_per_block;
  gint64 widths[8];
  gboolean attention[8];
  guint transformer_layers[8];
  gint64 context; /* width of the text states; 0: no cross-attention */
  gboolean linear_projection, mid_attention;
  gint64 label_width;     /* of what is added to the time embedding; 0: nothing */
  gint64 time_cond_width; /* LCM's guidance embedding; 0: none */
  gboolean regular;       /* every block of a level is like the others, and the way up mirrors the way down */
} SumiUnetShapes;

/* FALSE: no U-Net of this kind. */
gboolean sumi_shapes_unet (const SumiTensorMap *unet, SumiUnetShapes *s);
/* diffusers' unet/config.json; heads by level. */
JsonObject *sumi_shapes_unet_config (const SumiUnetShapes *s, const guint *heads, guint groups);

/* diffusers' vae/config.json; NULL: no auto-encoder of this kind (original names). */
JsonObject *sumi_shapes_vae_config (const SumiTensorMap *vae, double scaling_factor, guint groups);
/* The published auto-encoder, for checkpoints without one. */
JsonObject *sumi_shapes_vae_default (double scaling_factor);
/* transformers' CLIP text configuration; NULL: no text encoder of this kind.  n_layers 0: all that are there. */
JsonObject *sumi_shapes_text_config (const SumiTensorMap *text, gboolean open_clip, guint heads, const char *act,
                                     guint n_layers, gboolean projection);
/* Width and layers of a text encoder; FALSE: none. */
gboolean sumi_shapes_text (const SumiTensorMap *text, gboolean open_clip, gint64 *width, guint *layers);

/* A dimension of a tensor; 0 where there is none of that name with so many dimensions. */
gint64 sumi_shapes_dimension (const SumiTensorMap *map, const char *name, guint axis);

G_END_DECLS
