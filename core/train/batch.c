/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The order of the draws from the generator is part of what a seed means: sample, mirror, timestep, noise, caption. */
#include "train/batch.h"

gboolean
sumi_batch_init (SumiBatch *b, const SumiModelConfig *config, const SumiTrainOptions *options,
                 const SumiSamples *samples, const SumiCaptions *captions, GError **error)
{
  gint64 n = options->batch;
  SumiShape shape = SUMI_SHAPE (n, config->channels, config->height, config->width);
  gsize each = config->channels * config->height * config->width;

  *b = (SumiBatch){ config, options, samples, captions };
  b->schedule = sumi_model_schedule_new (config, error);
  if (b->schedule == NULL || (b->x_t = sumi_tensor_new (SUMI_F32, &shape, error)) == NULL
      || (b->target = sumi_tensor_new (SUMI_F32, &shape, error)) == NULL
      || (b->timestep = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (n), error)) == NULL
      || (b->weight = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (n, 1, 1, 1), error)) == NULL)
    return FALSE;
  if (captions != NULL
      && (b->input_ids = sumi_tensor_new (SUMI_I64, &SUMI_SHAPE (n, captions->context), error)) == NULL)
    return FALSE;
  b->x_start = g_new (float, each);
  b->noise = g_new (float, each);
  return TRUE;
}

void
sumi_batch_clear (SumiBatch *b)
{
  g_clear_pointer (&b->schedule, sumi_schedule_free);
  g_clear_pointer (&b->x_t, sumi_tensor_unref);
  g_clear_pointer (&b->target, sumi_tensor_unref);
  g_clear_pointer (&b->timestep, sumi_tensor_unref);
  g_clear_pointer (&b->weight, sumi_tensor_unref);
  g_clear_pointer (&b->input_ids, sumi_tensor_unref);
  g_clear_pointer (&b->x_start, g_free);
  g_clear_pointer (&b->noise, g_free);
}

static guint
next_sample (SumiTrainState *state)
{
  if (state->cursor.position == state->n_order)
    {
      state->cursor.epoch++;
      sumi_train_state_shuffle (state);
    }
  return state->order[state->cursor.position++];
}

static void
draw_sample (SumiBatch *b, guint place, SumiTrainState *state)
{
  const SumiTrainOptions *o = b->options;
  const SumiCaptionDraw how = { o->caption_dropout, o->word_dropout };
  SumiRng *rng = &state->cursor.rng;
  gsize n = b->config->channels * b->config->height * b->config->width;
  guint i = next_sample (state);
  gboolean mirrored = o->flip && sumi_rng_below (rng, 2) == 1;
  guint t = (guint)sumi_rng_below (rng, b->schedule->T);

  sumi_rng_normal (rng, b->noise, n);
  if (b->captions != NULL)
    sumi_captions_draw (b->captions, &how, i, rng,
                        (gint64 *)sumi_tensor_poke (b->input_ids) + (gsize)place * b->captions->context);
  sumi_samples_get (b->samples, i, mirrored, b->x_start);
  sumi_schedule_q_sample (b->schedule, t, b->x_start, b->noise, sumi_tensor_poke_f32 (b->x_t) + place * n, n);
  sumi_schedule_target (b->schedule, t, b->config->prediction, b->x_start, b->noise,
                        sumi_tensor_poke_f32 (b->target) + place * n, n);
  sumi_tensor_poke_f32 (b->timestep)[place] = t;
  sumi_tensor_poke_f32 (b->weight)[place]
      = (float)sumi_schedule_min_snr_weight (b->schedule, t, b->config->prediction, o->min_snr);
}

void
sumi_batch_draw (SumiBatch *b, SumiTrainState *state)
{
  for (guint place = 0; place < b->options->batch; place++)
    draw_sample (b, place, state);
}

gboolean
sumi_batch_set (const SumiBatch *b, SumiPlan *plan, GError **error)
{
  return sumi_plan_set (plan, "x_t", b->x_t, error) && sumi_plan_set (plan, "target", b->target, error)
         && sumi_plan_set (plan, "timestep", b->timestep, error) && sumi_plan_set (plan, "weight", b->weight, error)
         && (b->input_ids == NULL || sumi_plan_set (plan, "input_ids", b->input_ids, error));
}
