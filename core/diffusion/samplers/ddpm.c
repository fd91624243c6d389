/* SPDX-License-Identifier: GPL-3.0-or-later */
/* DDPM ancestral sampling (Ho et al. 2020, algorithm 2 and eq. 7) on any sub-sequence of the timesteps (Nichol &
 * Dhariwal 2021, section 4), with a the alphas_cumprod before and b after the step, alpha = a / b and beta = 1 - alpha:
 *   mean = sqrt (b) beta / (1 - a) x_0 + sqrt (alpha) (1 - b) / (1 - a) x
 *   var  = (1 - b) / (1 - a) beta   (fixed small);  beta (fixed large);  between the two by the model (learned range)
 */
#include "diffusion/sampler-private.h"

#include <math.h>

#define MIN_VARIANCE 1e-20 /* its logarithm is needed; as diffusers */

typedef struct
{
  double beta, small;
} Variances;

static Variances
variances (const SumiSamplerCall *call)
{
  double a = call->from.alphas_cumprod, b = call->to.alphas_cumprod, beta = MAX (1.0 - a / b, MIN_VARIANCE);

  return (Variances){ beta, MAX ((1.0 - b) / (1.0 - a) * beta, MIN_VARIANCE) };
}

/* None in the step from timestep 0: that would be noise in the picture.  From a later last timestep there is some, as
 * in diffusers: next to nothing with fixed small. */
static double
noise (const SumiSampler *s, const SumiSamplerCall *call)
{
  Variances v = variances (call);

  if (call->from.timestep <= 0.0 || (s->o.sigmas != NULL && call->to.sigma <= 0.0))
    return 0.0;
  return sqrt (s->o.variance == SUMI_VARIANCE_FIXED_SMALL ? v.small : v.beta);
}

/* v in [-1,1] interpolates the logarithm (Nichol & Dhariwal 2021, eq. 15). */
static double
learned_sigma (double v, const Variances *range)
{
  double f = (v + 1.0) / 2.0;

  return exp (0.5 * (f * log (range->beta) + (1.0 - f) * log (range->small)));
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  double a = in->call->from.alphas_cumprod, b = in->call->to.alphas_cumprod, fixed = noise (s, in->call);
  Variances v = variances (in->call);
  double c_start = sqrt (b) * v.beta / (1.0 - a), c_x = sqrt (a / b) * (1.0 - b) / (1.0 - a);

  for (gsize i = 0; i < s->o.n_values; i++)
    {
      double next = c_start * s->x_start[i] + c_x * x[i];

      if (in->noise != NULL)
        next += (in->variance != NULL ? learned_sigma (in->variance[i], &v) : fixed) * in->noise[i];
      x[i] = (float)next;
    }
}

const SumiSamplerClass sumi_sampler_ddpm_class
    = { .name = "ddpm", .walk = SUMI_WALK_CHAIN, .zero_snr = TRUE, .eta = -1, .noise = noise, .step = step };
