/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One batch of training samples: drawn from the data, noised, with its targets. */
#pragma once

#include "train/captions.h"
#include "train/samples.h"
#include "train/state.h"

G_BEGIN_DECLS

typedef struct
{
  const SumiModelConfig *config;
  const SumiTrainOptions *options;
  const SumiSamples *samples;
  const SumiCaptions *captions; /* or NULL */
  SumiSchedule *schedule;
  SumiTensor *x_t, *target, *timestep, *weight, *input_ids;
  float *x_start, *noise; /* one sample */
} SumiBatch;

gboolean sumi_batch_init (SumiBatch *b, const SumiModelConfig *config, const SumiTrainOptions *options,
                          const SumiSamples *samples, const SumiCaptions *captions, GError **error);
void sumi_batch_clear (SumiBatch *b);

/* Draws the next samples, moving the state's cursor; a finished epoch is followed by a new order. */
void sumi_batch_draw (SumiBatch *b, SumiTrainState *state);
/* Hands the values to the plan of train/objective.h. */
gboolean sumi_batch_set (const SumiBatch *b, SumiPlan *plan, GError **error);

G_END_DECLS
