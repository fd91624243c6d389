/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The reference engine: every op as its formula says, in plain loops.
 *
 * Values are doubles in row-major order; in f32 mode each value is rounded to float once it is complete, so that one
 * source computes f64, and f32 with the smallest error that f32 storage allows.  Whole numbers are gint64.
 * A kernel writes every element of y, which shares no memory with its sources. */
#pragma once

#include "engine/engine.h"

G_BEGIN_DECLS

typedef struct
{
  const SumiNode *n;
  const double *x[SUMI_MAX_SRC]; /* NULL where the source is INDEX */
  const gint64 *ids;             /* the INDEX source, if there is one */
  double *y;
} SumiRefArgs;

typedef void (*SumiRefKernel) (const SumiRefArgs *a);

/* element by element: ref-elementwise.c */
void sumi_ref_fill (const SumiRefArgs *a);
void sumi_ref_binary (const SumiRefArgs *a);
void sumi_ref_affine (const SumiRefArgs *a);
void sumi_ref_act (const SumiRefArgs *a);
void sumi_ref_act_bwd (const SumiRefArgs *a);
/* shape and movement: ref-movement.c */
void sumi_ref_reshape (const SumiRefArgs *a);
void sumi_ref_permute (const SumiRefArgs *a);
void sumi_ref_concat (const SumiRefArgs *a);
void sumi_ref_slice (const SumiRefArgs *a);
void sumi_ref_pad (const SumiRefArgs *a);
void sumi_ref_broadcast (const SumiRefArgs *a);
void sumi_ref_sum (const SumiRefArgs *a);
/* products: ref-product.c */
void sumi_ref_matmul (const SumiRefArgs *a);
void sumi_ref_linear (const SumiRefArgs *a);
void sumi_ref_conv2d (const SumiRefArgs *a);
void sumi_ref_conv2d_bwd_data (const SumiRefArgs *a);
void sumi_ref_conv2d_bwd_weights (const SumiRefArgs *a);
/* pictures: ref-picture.c */
void sumi_ref_max_pool2d (const SumiRefArgs *a);
void sumi_ref_max_pool2d_bwd (const SumiRefArgs *a);
void sumi_ref_upsample (const SumiRefArgs *a);
void sumi_ref_upsample_bwd (const SumiRefArgs *a);
/* norms: ref-norm.c */
void sumi_ref_group_norm (const SumiRefArgs *a);
void sumi_ref_group_norm_bwd_x (const SumiRefArgs *a);
void sumi_ref_group_norm_bwd_w (const SumiRefArgs *a);
void sumi_ref_layer_norm (const SumiRefArgs *a);
void sumi_ref_layer_norm_bwd_x (const SumiRefArgs *a);
void sumi_ref_layer_norm_bwd_w (const SumiRefArgs *a);
/* attention and text: ref-attention.c */
void sumi_ref_softmax (const SumiRefArgs *a);
void sumi_ref_softmax_bwd (const SumiRefArgs *a);
void sumi_ref_sdpa (const SumiRefArgs *a);
void sumi_ref_sdpa_bwd (const SumiRefArgs *a);
void sumi_ref_embedding (const SumiRefArgs *a);
void sumi_ref_embedding_bwd (const SumiRefArgs *a);
void sumi_ref_timestep_embedding (const SumiRefArgs *a);

/* act (x) and act' (x): ref-elementwise.c */
double sumi_ref_act_value (SumiAct kind, double x);
double sumi_ref_act_slope (SumiAct kind, double x);

/* ---- where an element lies: ref-movement.c ---- */
/* Row-major strides of a shape, in elements. */
void sumi_ref_strides (const SumiShape *shape, gint64 *stride);
/* Strides that read a value of shape `from` as if it were broadcast to `to`: 0 along repeated axes. */
void sumi_ref_broadcast_strides (const SumiShape *from, const SumiShape *to, gint64 *stride);
/* Element i of a shape in row-major order, by other strides. */
gint64 sumi_ref_offset (const SumiShape *shape, gint64 i, const gint64 *stride);

G_END_DECLS
