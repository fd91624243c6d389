/* SPDX-License-Identifier: GPL-3.0-or-later */
/* DPM-Solver++(2M) for the SDE (Lu et al. 2022b, section 5; eta and the midpoint form as in k-diffusion, eta = 1 is
 * diffusers' sde-dpmsolver++).  With alpha, sigma of the variance-preserving view, h the step in lambda, r h the one
 * before and u = h + eta h:
 *   x = sigma_n / sigma_s e^(-eta h) x - alpha_n expm1 (-u) (D_0 + (D_0 - D_1) / (2 r))
 *       + sigma_n sqrt (-expm1 (-2 eta h)) z */
#include "diffusion/sampler-private.h"

#include <math.h>

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  const SumiSamplerCall *call = in->call;
  double from = call->from.sigma, to = call->to.sigma, h = sumi_sampler_lambda_step (from, to);
  double alpha = sqrt (call->to.alphas_cumprod), c_1 = 0.0;
  double c_x = to > 0.0 ? alpha / sqrt (call->from.alphas_cumprod) * to / from * exp (-s->o.eta * h) : 0.0;
  double c = -alpha * expm1 (-h * (1.0 + s->o.eta));

  if (sumi_sampler_usable_order (s, call, 2) > 1)
    c_1 = c * h / (2.0 * sumi_sampler_lambda_step (s->steps[call->step - 1].from.sigma, from));
  SUMI_SUM (s, x, { c_x, x }, { c + c_1, s->x_start }, { -c_1, s->history[0] },
            { in->noise != NULL ? sumi_sampler_sde_noise (s, call) : 0.0, in->noise });
  sumi_sampler_remember (s, s->x_start);
}

const SumiSamplerClass sumi_sampler_dpmpp_2m_sde_class = { .name = "dpmpp_2m_sde",
                                                           .walk = SUMI_WALK_MULTISTEP,
                                                           .rounds_karras = TRUE,
                                                           .eta = 1,
                                                           .n_history = 1,
                                                           .noise = sumi_sampler_sde_noise,
                                                           .step = step };
