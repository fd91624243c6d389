/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ancestral Euler (k-diffusion): Euler's method down to a lower sigma, and noise up to where the step ends.  eta = 1 is
 * DDPM with the posterior variance on the same levels. CFG++ as in Euler. */
#include "diffusion/sampler-private.h"

static double
noise (const SumiSampler *s, const SumiSamplerCall *call)
{
  return sumi_sampler_ancestral (call->from.sigma, call->to.sigma, s->o.eta).up;
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  SumiAncestral a = sumi_sampler_ancestral (in->call->from.sigma, in->call->to.sigma, s->o.eta);
  SumiTerm noise = { in->noise != NULL ? a.up : 0.0, in->noise };

  if (in->uncond_eps != NULL)
    SUMI_SUM (s, x, { 1.0, s->x_start }, { a.down, in->uncond_eps }, noise);
  else
    SUMI_SUM (s, x, { 1.0, x }, { a.down - in->call->from.sigma, s->eps }, noise);
}

const SumiSamplerClass sumi_sampler_euler_a_class = { .name = "euler_a",
                                                      .walk = SUMI_WALK_SIGMAS,
                                                      .sigma_view = TRUE,
                                                      .cfg_pp = TRUE,
                                                      .eta = 1,
                                                      .noise = noise,
                                                      .step = step };
