/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Latent consistency models (Luo et al. 2023, section 4): the model's answer at t, tied to the identity at t = 0 by
 *   f = c_skip x + c_out x_0,  c_skip = 1/4 / ((10 t)^2 + 1/4),  c_out = 10 t / sqrt ((10 t)^2 + 1/4)
 * and noised anew for the next call: x = sqrt (b) f + sqrt (1 - b) z. */
#include "diffusion/sampler-private.h"

#include <math.h>

#define SIGMA_DATA 0.5
#define TIMESTEP_SCALING 10.0

static double
noise (const SumiSampler *s, const SumiSamplerCall *call)
{
  return sqrt (1.0 - call->to.alphas_cumprod);
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  double t = in->call->from.timestep * TIMESTEP_SCALING, b = sqrt (in->call->to.alphas_cumprod);
  double square = t * t + SIGMA_DATA * SIGMA_DATA;

  SUMI_SUM (s, x, { b * SIGMA_DATA * SIGMA_DATA / square, x }, { b * t / sqrt (square), s->x_start },
            { in->noise != NULL ? noise (s, in->call) : 0.0, in->noise });
}

const SumiSamplerClass sumi_sampler_lcm_class
    = { .name = "lcm", .walk = SUMI_WALK_DISTILLED, .zero_snr = TRUE, .eta = -1, .noise = noise, .step = step };
