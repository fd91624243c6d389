/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ancestral DPM-Solver-2 (k-diffusion): DPM2 down to a lower sigma, and noise up to where the step ends. */
#include "diffusion/sampler-private.h"

#include <math.h>
#include <string.h>

static double
second_sigma (const SumiSampler *s, guint step)
{
  return sumi_sampler_comes_from_noise (s, step) ? 0.0 : sumi_sampler_ancestral_middle_sigma (s, step);
}

static gboolean
is_last (const SumiSampler *s, const SumiSamplerCall *call)
{
  return call->stage == 1 || second_sigma (s, call->step) <= 0.0;
}

static double
noise (const SumiSampler *s, const SumiSamplerCall *call)
{
  return is_last (s, call) ? sumi_sampler_ancestral_step (s, call->step).up : 0.0;
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  SumiAncestral a = sumi_sampler_ancestral_step (s, in->call->step);
  double from = in->call->from.sigma;

  if (is_last (s, in->call))
    {
      const float *start = in->call->stage == 1 ? s->saved : x;

      SUMI_SUM (s, x, { 1.0, start }, { a.down - from, s->eps }, { in->noise != NULL ? a.up : 0.0, in->noise });
      return;
    }
  memcpy (s->saved, x, s->o.n_values * sizeof *x);
  SUMI_SUM (s, x, { 1.0, x }, { second_sigma (s, in->call->step) - from, s->eps });
}

const SumiSamplerClass sumi_sampler_dpm2_a_class = { .name = "dpm2_a",
                                                     .walk = SUMI_WALK_SIGMAS,
                                                     .sigma_view = TRUE,
                                                     .saves = TRUE,
                                                     .rounds_karras = TRUE,
                                                     .discards_next_to_last = TRUE,
                                                     .eta = 1,
                                                     .second_sigma = second_sigma,
                                                     .noise = noise,
                                                     .step = step };
