/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Heun's method (Karras et al. 2022, algorithms 1 and 2), d = (x - D) / sigma:
 *   x_2 = x + d (n - s);  x = x + (d + d (x_2, n)) / 2 (n - s)
 * The step to 0 is Euler's. */
#include "diffusion/sampler-private.h"

#include <string.h>

static double
second_sigma (const SumiSampler *s, guint step)
{
  return sumi_sampler_comes_from_noise (s, step) ? 0.0 : s->steps[step].to.sigma;
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  double h = in->call->to.sigma - in->call->from.sigma, churn = sumi_sampler_churn_noise (s, in->call);
  SumiTerm noise = { in->noise != NULL ? churn : 0.0, in->noise };

  if (in->call->stage == 1)
    {
      SUMI_SUM (s, x, { 1.0, s->saved }, { h / 2.0, s->history[0] }, { h / 2.0, s->eps }, noise);
      return;
    }
  memcpy (s->saved, x, s->o.n_values * sizeof *x);
  sumi_sampler_remember (s, s->eps);
  SUMI_SUM (s, x, { 1.0, x }, { h, s->eps }, noise);
}

const SumiSamplerClass sumi_sampler_heun_class = { .name = "heun",
                                                   .walk = SUMI_WALK_SIGMAS,
                                                   .sigma_view = TRUE,
                                                   .saves = TRUE,
                                                   .churns = TRUE,
                                                   .eta = -1,
                                                   .n_history = 1,
                                                   .second_at_end = TRUE,
                                                   .second_sigma = second_sigma,
                                                   .noise = sumi_sampler_churn_noise,
                                                   .step = step };
