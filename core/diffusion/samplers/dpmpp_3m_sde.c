/* SPDX-License-Identifier: GPL-3.0-or-later */
/* DPM-Solver++(3M) SDE (k-diffusion's sample_dpmpp_3m_sde, after Lu et al. 2022b).  With u = h (1 + eta),
 * phi_2 = expm1 (-u) / u + 1, phi_3 = phi_2 / u - 1/2, r_0 h and r_1 h the steps before:
 *   x = alpha_n / alpha_s e^-u x - alpha_n expm1 (-u) D_0 + alpha_n (phi_2 d_1 - phi_3 d_2)
 *       + sigma_n sqrt (-expm1 (-2 eta h)) z
 *   a = (D_0 - D_1) / r_0,  b = (D_1 - D_2) / r_1,  d_1 = a + (a - b) r_0 / (r_0 + r_1),  d_2 = (a - b) / (r_0 + r_1)
 * and d_1 = a, d_2 = 0 in the second step.  diffusers' third-order sde-dpmsolver++ has the other sign at that 1/2, so
 * that the term does not vanish with the step: not followed.  Without a list of sigmas these are the timesteps of its
 * DPM-Solver. */
#include "diffusion/sampler-private.h"

#include <math.h>

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  const SumiSamplerCall *call = in->call;
  guint order = call->to.sigma > 0.0 ? s->n_history + 1 : 1; /* k-diffusion lowers it only in the step to 0 */
  double from = call->from.sigma, h = sumi_sampler_lambda_step (from, call->to.sigma), u = h * (1.0 + s->o.eta);
  double alpha = sqrt (call->to.alphas_cumprod), c_a = 0.0, c_b = 0.0;

  if (order > 1)
    {
      double phi_2 = expm1 (-u) / u + 1.0, phi_3 = phi_2 / u - 0.5, s_1 = s->steps[call->step - 1].from.sigma;
      double r_0 = sumi_sampler_lambda_step (s_1, from) / h;

      c_a = phi_2 / r_0;
      if (order > 2)
        {
          double r_1 = sumi_sampler_lambda_step (s->steps[call->step - 2].from.sigma, s_1) / h;

          c_a += (phi_2 * r_0 - phi_3) / (r_0 + r_1) / r_0;
          c_b = -(phi_2 * r_0 - phi_3) / (r_0 + r_1) / r_1;
        }
    }
  SUMI_SUM (s, x, { alpha / sqrt (call->from.alphas_cumprod) * exp (-u), x },
            { alpha * (c_a - expm1 (-u)), s->x_start }, { alpha * (c_b - c_a), s->history[0] },
            { -alpha * c_b, s->history[1] }, { in->noise != NULL ? sumi_sampler_sde_noise (s, call) : 0.0, in->noise });
  sumi_sampler_remember (s, s->x_start);
}

const SumiSamplerClass sumi_sampler_dpmpp_3m_sde_class = { .name = "dpmpp_3m_sde",
                                                           .walk = SUMI_WALK_MULTISTEP,
                                                           .rounds_karras = TRUE,
                                                           .discards_next_to_last = TRUE,
                                                           .eta = 1,
                                                           .n_history = 2,
                                                           .noise = sumi_sampler_sde_noise,
                                                           .step = step };
