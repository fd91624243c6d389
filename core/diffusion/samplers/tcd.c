/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Trajectory consistency distillation (Zheng et al. 2024, algorithm 4): a DDIM step to a timestep s below the next one,
 * s = floor ((1 - gamma) t_next), and noise up to it; eta is gamma, 0 deterministic, 1 as LCM. With a_s and b the
 * alphas_cumprod at s and at the next timestep:
 *   x_s = sqrt (a_s) x_0 + sqrt (1 - a_s) eps;  x = sqrt (b / a_s) x_s + sqrt (1 - b / a_s) z */
#include "diffusion/sampler-private.h"

#include <math.h>

static double
alpha_at_s (const SumiSampler *s, const SumiSamplerCall *call)
{
  guint t = (guint)floor ((1.0 - s->o.eta) * call->to.timestep);

  /* also the picture itself, at the end of a list of sigmas */
  if (!(s->o.eta > 0.0 && call->to.sigma > 0.0))
    return call->to.alphas_cumprod;
  return MAX (s->o.schedule->alphas_cumprod[t], call->to.alphas_cumprod);
}

static double
noise (const SumiSampler *s, const SumiSamplerCall *call)
{
  return sqrt (1.0 - call->to.alphas_cumprod / alpha_at_s (s, call));
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  double a_s = alpha_at_s (s, in->call), b = in->call->to.alphas_cumprod;
  double c = sqrt (b / a_s);

  SUMI_SUM (s, x, { c * sqrt (a_s), s->x_start }, { c * sqrt (1.0 - a_s), s->eps },
            { in->noise != NULL ? noise (s, in->call) : 0.0, in->noise });
}

const SumiSamplerClass sumi_sampler_tcd_class = { .name = "tcd",
                                                  .walk = SUMI_WALK_DISTILLED,
                                                  .zero_snr = TRUE,
                                                  .ends_at_first = TRUE,
                                                  .eta = 0.3,
                                                  .noise = noise,
                                                  .step = step };
