/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The settings of a training run.  One table (sumi_train_fields) names them for the command line, the checkpoint and
 * the range checks. */
#pragma once

#include "diffusion/model.h"

G_BEGIN_DECLS

typedef struct
{
  guint64 steps;                     /* updates of the weights */
  guint64 batch;                     /* samples of one run of the graph */
  guint64 accumulate;                /* runs whose gradients one update averages */
  double lr, lr_end;                 /* cosine from lr to lr_end after the warm-up (Loshchilov & Hutter 2017) */
  guint64 warmup;                    /* steps of linear warm-up */
  double beta1, beta2, weight_decay; /* AdamW; the decay is for weights of rank 2 and more, not for biases and norms */
  double grad_clip;                  /* largest global gradient norm; 0: not clipped */
  double ema;                        /* decay min (ema, (1 + step) / (10 + step)); 0: none */
  double min_snr;                    /* gamma of min-SNR weighting (Hang et al. 2023); 0: L_simple */
  double caption_dropout;            /* share of samples trained with the empty prompt (Ho & Salimans 2022) */
  double word_dropout;               /* share of tokens replaced by the unknown token */
  gboolean flip;                     /* mirror half of the samples */
  guint64 seed;
  guint64 threads;      /* 0: all cores; the result does not depend on it */
  gboolean bf16;        /* bf16 storage in the engine; weights and optimizer stay f32 */
  gboolean save_f16;    /* the model file: f16, else f32 */
  guint64 save_every;   /* steps between checkpoints; 0: only by time and at the end */
  double save_minutes;  /* minutes between checkpoints; 0: only by steps and at the end */
  guint64 sample_every; /* steps between sample grids; 0: none */
} SumiTrainOptions;

typedef enum
{
  SUMI_FIELD_COUNT,  /* guint64 */
  SUMI_FIELD_NUMBER, /* double */
  SUMI_FIELD_SWITCH  /* gboolean, written as one of two words */
} SumiTrainFieldKind;

typedef struct
{
  const char *name; /* "lr-end": the option's name, and the name in a checkpoint */
  SumiTrainFieldKind kind;
  gsize offset; /* in SumiTrainOptions */
  double min, max;
  const char *off, *on; /* SWITCH */
  const char *help;
} SumiTrainField;

const SumiTrainField *sumi_train_fields (guint *n);

/* What suits the model. */
void sumi_train_options_init (SumiTrainOptions *o, const SumiModelConfig *config);
/* One setting from its text; usage error. */
gboolean sumi_train_options_set (SumiTrainOptions *o, const SumiTrainField *field, const char *text, GError **error);
char *sumi_train_options_get (const SumiTrainOptions *o, const SumiTrainField *field); /* free with g_free */

/* All settings as strings; unknown members are ignored, missing ones stay. */
JsonObject *sumi_train_options_to_json (const SumiTrainOptions *o);
gboolean sumi_train_options_from_json (SumiTrainOptions *o, JsonObject *json, GError **error);

/* The learning rate of the update after `step` updates. */
double sumi_train_learning_rate (const SumiTrainOptions *o, guint64 step);

G_END_DECLS
