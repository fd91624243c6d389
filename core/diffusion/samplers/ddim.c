/* SPDX-License-Identifier: GPL-3.0-or-later */
/* DDIM (Song et al. 2021, eq. 12 and 16), with a the alphas_cumprod before and b after the step:
 *   sigma = eta sqrt ((1 - b) / (1 - a) (1 - a / b))
 *   x     = sqrt (b) x_0 + sqrt (1 - b - sigma^2) eps + sigma z
 * CFG++ (Chung et al. 2024, eq. 8): eps is the unconditional one. */
#include "diffusion/sampler-private.h"

#include <math.h>

static double
noise (const SumiSampler *s, const SumiSamplerCall *call)
{
  double a = call->from.alphas_cumprod, b = call->to.alphas_cumprod;

  return s->o.eta * sqrt (MAX ((1.0 - b) / (1.0 - a) * (1.0 - a / b), 0.0));
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  double b = in->call->to.alphas_cumprod, sigma = noise (s, in->call);
  double c_start = sqrt (b), c_eps = sqrt (MAX (1.0 - b - sigma * sigma, 0.0));
  const float *eps = in->uncond_eps != NULL ? in->uncond_eps : s->eps;

  for (gsize i = 0; i < s->o.n_values; i++)
    {
      double next = c_start * s->x_start[i] + c_eps * eps[i];

      x[i] = (float)(in->noise != NULL ? next + sigma * in->noise[i] : next);
    }
}

const SumiSamplerClass sumi_sampler_ddim_class = { .name = "ddim",
                                                   .walk = SUMI_WALK_FIXED_STRIDE,
                                                   .zero_snr = TRUE,
                                                   .cfg_pp = TRUE,
                                                   .eta = 0,
                                                   .noise = noise,
                                                   .step = step };
