/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ancestral DPM-Solver++(2S) (Lu et al. 2022b, algorithm 1, with r = 1/2, as k-diffusion makes it ancestral).  With t =
 * -log sigma, h from s to the lower sigma of the ancestral step, m half-way in t:
 *   x_2 = m / s x - expm1 (-h / 2) D;  x = down / s x - expm1 (-h) D (x_2, m) + up z
 * diffusers has no such scheduler: without a list of sigmas these are the timesteps of its Euler. */
#include "diffusion/sampler-private.h"

#include <math.h>
#include <string.h>

/* D + (x - D) to / from: what DPM-Solver++ does with one D. */
static void
move (SumiSampler *s, float *out, const float *x, double from, double to, SumiTerm noise)
{
  SUMI_SUM (s, out, { to / from, x }, { 1.0 - to / from, s->x_start }, noise);
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  SumiAncestral a = sumi_sampler_ancestral_step (s, in->call->step);
  double from = in->call->from.sigma;

  if (in->call->stage == 1)
    {
      move (s, x, s->saved, from, a.down, (SumiTerm){ in->noise != NULL ? a.up : 0.0, in->noise });
      return;
    }
  memcpy (s->saved, x, s->o.n_values * sizeof *x);
  move (s, x, x, from, sumi_sampler_ancestral_middle_sigma (s, in->call->step), (SumiTerm){ 0.0, NULL });
}

const SumiSamplerClass sumi_sampler_dpmpp_2s_a_class = { .name = "dpmpp_2s_a",
                                                         .walk = SUMI_WALK_SIGMAS,
                                                         .sigma_view = TRUE,
                                                         .saves = TRUE,
                                                         .eta = 1,
                                                         .second_sigma = sumi_sampler_ancestral_middle_sigma,
                                                         .noise = sumi_sampler_ancestral_second_noise,
                                                         .step = step };
