/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Everything a training run is at the end of a step: what a checkpoint holds, so that a resumed run equals an
 * uninterrupted one bit for bit. */
#pragma once

#include <json-glib/json-glib.h>

#include "nn/module.h"
#include "train/options.h"

G_BEGIN_DECLS

/* One update. */
typedef struct
{
  float loss, smooth_loss, lr, grad_norm;
  float samples; /* of this update */
  float seconds; /* since the run (or its resumption) began, plus those before */
} SumiTrainRow;

/* Where in the data the run is, and the random numbers: what a failed or cancelled step must give back. */
typedef struct
{
  SumiRng rng;
  guint64 epoch;
  guint position; /* in the order of this epoch */
} SumiTrainCursor;

typedef struct
{
  SumiTensorMap *params, *ema, *m, *v; /* F32, the same names in the same order; ema NULL: none */
  SumiTrainCursor cursor;
  guint n_order;
  guint32 *order; /* of the samples in this epoch: a permutation */
  guint64 step, samples;
  GArray *history;       /* SumiTrainRow, one a step */
  SumiTensor *token_ids; /* or NULL */
  char *fingerprint;     /* of the data set */
} SumiTrainState;

/* A fresh run on n samples: parameters of `init` (a model's file), or where that is NULL drawn as the module says, from
 * the seed. */
SumiTrainState *sumi_train_state_new (const SumiModule *module, const SumiTensorMap *init, const SumiTrainOptions *o,
                                      guint n, GError **error);
void sumi_train_state_free (SumiTrainState *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiTrainState, sumi_train_state_free)

/* Draws the order of a new epoch. */
void sumi_train_state_shuffle (SumiTrainState *s);

/* A checkpoint file: complete or untouched. `config`, `run`: JSON texts kept with it. */
gboolean sumi_train_state_save (const SumiTrainState *s, const char *path, const char *config, const char *run,
                                GError **error);
/* The state in a checkpoint for this module and n samples; another number of samples begins a new epoch. */
SumiTrainState *sumi_train_state_load (const SumiTensorMap *checkpoint, const SumiModule *module, guint n,
                                       GError **error);

/* The model as it is drawn with: averaged weights where there are any, F16 or F32, "token_ids", and metadata
 * "sumi.config" (the JSON text) and "sumi.training" (steps and samples seen). */
SumiTensorMap *sumi_train_state_export (const SumiTrainState *s, gboolean f16, const char *config, GError **error);

G_END_DECLS
