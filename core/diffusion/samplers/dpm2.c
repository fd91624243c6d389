/* SPDX-License-Identifier: GPL-3.0-or-later */
/* DPM-Solver-2 as k-diffusion writes it (after Lu et al. 2022; Karras et al. 2022, algorithm 2 with the midpoint):
 *   m = sqrt (s n);  x_2 = x + d (m - s);  x = x + d (x_2, m) (n - s)
 * The step to 0 is Euler's. */
#include "diffusion/sampler-private.h"

#include <math.h>
#include <string.h>

static double
second_sigma (const SumiSampler *s, guint step)
{
  return sumi_sampler_comes_from_noise (s, step) ? 0.0 : sumi_sampler_middle_sigma (s, step);
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  double middle = second_sigma (s, in->call->step);
  double from = in->call->from.sigma, to = in->call->to.sigma, churn = sumi_sampler_churn_noise (s, in->call);
  SumiTerm noise = { in->noise != NULL ? churn : 0.0, in->noise };

  if (in->call->stage == 1)
    {
      SUMI_SUM (s, x, { 1.0, s->saved }, { to - from, s->eps }, noise);
      return;
    }
  memcpy (s->saved, x, s->o.n_values * sizeof *x);
  SUMI_SUM (s, x, { 1.0, x }, { (middle > 0.0 ? middle : to) - from, s->eps }, noise);
}

const SumiSamplerClass sumi_sampler_dpm2_class = { .name = "dpm2",
                                                   .walk = SUMI_WALK_SIGMAS,
                                                   .sigma_view = TRUE,
                                                   .saves = TRUE,
                                                   .churns = TRUE,
                                                   .rounds_karras = TRUE,
                                                   .discards_next_to_last = TRUE,
                                                   .eta = -1,
                                                   .second_sigma = second_sigma,
                                                   .noise = sumi_sampler_churn_noise,
                                                   .step = step };
