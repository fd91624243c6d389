/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Euler's method for dx/dsigma = (x - D) / sigma (Karras et al. 2022, eq. 1; algorithm 2 without its second order):
 *   x = x + (x - D) / s (n - s)
 * which is D + n eps; with CFG++ the eps put back is the unconditional one. */
#include "diffusion/sampler-private.h"

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  double from = in->call->from.sigma, to = in->call->to.sigma, churn = sumi_sampler_churn_noise (s, in->call);
  SumiTerm noise = { in->noise != NULL ? churn : 0.0, in->noise };

  if (in->uncond_eps != NULL)
    SUMI_SUM (s, x, { 1.0, s->x_start }, { to, in->uncond_eps }, noise);
  else
    SUMI_SUM (s, x, { 1.0, x }, { to - from, s->eps }, noise);
}

const SumiSamplerClass sumi_sampler_euler_class = { .name = "euler",
                                                    .walk = SUMI_WALK_SIGMAS,
                                                    .sigma_view = TRUE,
                                                    .cfg_pp = TRUE,
                                                    .churns = TRUE,
                                                    .eta = -1,
                                                    .noise = sumi_sampler_churn_noise,
                                                    .step = step };
