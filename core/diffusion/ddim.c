/* SPDX-License-Identifier: GPL-3.0-or-later */
/* DDIM (Song et al. 2021, eq. 12 and 16), with a the alphas_cumprod before and b after the step:
 *   sigma = eta sqrt ((1 - b) / (1 - a) (1 - a / b))
 *   x     = sqrt (b) x_0 + sqrt (1 - b - sigma^2) eps + sigma z */
#include "diffusion/sampler.h"

#include <math.h>

static double
sigma (const SumiSampler *s, double a, double b)
{
  return s->o.eta * sqrt (MAX ((1.0 - b) / (1.0 - a) * (1.0 - a / b), 0.0));
}

static gboolean
needs_noise (const SumiSampler *s, double from, double to)
{
  return sigma (s, from, to) > 0.0;
}

static void
step (const SumiSampler *s, double from, double to, float *x, const float *variance, const float *noise)
{
  double sg = sigma (s, from, to), c_start = sqrt (to), c_eps = sqrt (MAX (1.0 - to - sg * sg, 0.0));

  for (gsize i = 0; i < s->o.n_values; i++)
    {
      double next = c_start * s->x_start[i] + c_eps * s->eps[i];

      x[i] = (float)(noise != NULL ? next + sg * noise[i] : next);
    }
}

const SumiSamplerClass sumi_sampler_ddim_class = { "ddim", "DDIM", needs_noise, step };
