/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ancestral DPM-Solver-2 (k-diffusion): DPM2 down to a lower sigma, and noise up to where the step ends. */
#include "diffusion/sampler-private.h"

#include <math.h>
#include <string.h>

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  SumiAncestral a = sumi_sampler_ancestral_step (s, in->call->step);
  double from = in->call->from.sigma;

  if (in->call->stage == 1)
    {
      SUMI_SUM (s, x, { 1.0, s->saved }, { a.down - from, s->eps }, { in->noise != NULL ? a.up : 0.0, in->noise });
      return;
    }
  memcpy (s->saved, x, s->o.n_values * sizeof *x);
  SUMI_SUM (s, x, { 1.0, x }, { sumi_sampler_ancestral_middle_sigma (s, in->call->step) - from, s->eps });
}

const SumiSamplerClass sumi_sampler_dpm2_a_class = { .name = "dpm2_a",
                                                     .walk = SUMI_WALK_SIGMAS,
                                                     .sigma_view = TRUE,
                                                     .saves = TRUE,
                                                     .rounds_karras = TRUE,
                                                     .discards_next_to_last = TRUE,
                                                     .eta = 1,
                                                     .second_sigma = sumi_sampler_ancestral_middle_sigma,
                                                     .noise = sumi_sampler_ancestral_second_noise,
                                                     .step = step };
