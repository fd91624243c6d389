/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ancestral DPM-Solver-2 (k-diffusion): DPM2 down to a lower sigma, and noise up to where the step ends. */
#include "diffusion/sampler-private.h"

#include <math.h>
#include <string.h>

static SumiAncestral
ancestral (const SumiSampler *s, guint step)
{
  return sumi_sampler_ancestral (s->steps[step].from.sigma, s->steps[step].to.sigma, s->o.eta);
}

static double
second_sigma (const SumiSampler *s, guint step)
{
  return sqrt (s->steps[step].from.sigma * ancestral (s, step).down);
}

static double
noise (const SumiSampler *s, const SumiSamplerCall *call)
{
  return call->stage == 1 ? ancestral (s, call->step).up : 0.0;
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  SumiAncestral a = ancestral (s, in->call->step);
  double from = in->call->from.sigma;

  if (in->call->stage == 1)
    {
      SUMI_SUM (s, x, { 1.0, s->saved }, { a.down - from, s->eps }, { in->noise != NULL ? a.up : 0.0, in->noise });
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
