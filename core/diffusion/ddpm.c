/* SPDX-License-Identifier: GPL-3.0-or-later */
/* DDPM ancestral sampling (Ho et al. 2020, algorithm 2 and eq. 7) on any sub-sequence of the timesteps (Nichol &
 * Dhariwal 2021, section 4), with a the alphas_cumprod before and b after the step, alpha = a / b and beta = 1 - alpha:
 *   mean = sqrt (b) beta / (1 - a) x_0 + sqrt (alpha) (1 - b) / (1 - a) x
 *   var  = (1 - b) / (1 - a) beta   (fixed small);  beta (fixed large);  between the two by the model (learned range)
 */
#include "diffusion/sampler.h"

#include <math.h>

#define MIN_VARIANCE 1e-20 /* its logarithm is needed; as diffusers */

/* None on the step that lands on x_0: that would be noise in the picture. */
static gboolean
needs_noise (const SumiSampler *s, double from, double to)
{
  return to < 1.0;
}

/* v in [-1,1] interpolates the logarithm (Nichol & Dhariwal 2021, eq. 15). */
static double
learned_sigma (double v, double small, double large)
{
  double f = (v + 1.0) / 2.0;

  return exp (0.5 * (f * log (large) + (1.0 - f) * log (small)));
}

static void
step (const SumiSampler *s, double from, double to, float *x, const float *variance, const float *noise)
{
  double beta = MAX (1.0 - from / to, MIN_VARIANCE);
  double c_start = sqrt (to) * beta / (1.0 - from), c_x = sqrt (from / to) * (1.0 - to) / (1.0 - from);
  double small = MAX ((1.0 - to) / (1.0 - from) * beta, MIN_VARIANCE);
  double fixed = sqrt (s->o.variance == SUMI_VARIANCE_FIXED_LARGE ? beta : small);

  if (!needs_noise (s, from, to))
    noise = NULL;
  for (gsize i = 0; i < s->o.n_values; i++)
    {
      double next = c_start * s->x_start[i] + c_x * x[i];

      if (noise != NULL)
        next += (variance != NULL ? learned_sigma (variance[i], small, beta) : fixed) * noise[i];
      x[i] = (float)next;
    }
}

const SumiSamplerClass sumi_sampler_ddpm_class = { "ddpm", "DDPM", needs_noise, step };
