/* SPDX-License-Identifier: GPL-3.0-or-later */
/* DPM-Solver++ (SDE), two stages (k-diffusion's sample_dpmpp_sde with r = 1/2): both stages are ancestral, from s to m
 * = sqrt (s n) and, with the D seen there, from s to n.  The noise of the two is independent. */
#include "diffusion/sampler-private.h"

#include <math.h>
#include <string.h>

static SumiAncestral
ancestral (const SumiSampler *s, const SumiSamplerCall *call)
{
  gboolean first_of_two = call->stage == 0 && call->to.sigma > 0.0;

  return sumi_sampler_ancestral (call->from.sigma,
                                 first_of_two ? sumi_sampler_middle_sigma (s, call->step) : call->to.sigma, s->o.eta);
}

static double
noise (const SumiSampler *s, const SumiSamplerCall *call)
{
  return ancestral (s, call).up;
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  SumiAncestral a = ancestral (s, in->call);
  double ratio = a.down / in->call->from.sigma;

  if (in->call->stage == 0)
    memcpy (s->saved, x, s->o.n_values * sizeof *x);
  SUMI_SUM (s, x, { ratio, s->saved }, { 1.0 - ratio, s->x_start }, { in->noise != NULL ? a.up : 0.0, in->noise });
}

const SumiSamplerClass sumi_sampler_dpmpp_sde_class = { .name = "dpmpp_sde",
                                                        .walk = SUMI_WALK_SIGMAS,
                                                        .sigma_view = TRUE,
                                                        .saves = TRUE,
                                                        .eta = 1,
                                                        .second_sigma = sumi_sampler_middle_sigma,
                                                        .noise = noise,
                                                        .step = step };
