/* SPDX-License-Identifier: GPL-3.0-or-later */
/* DPM-Solver++ multistep (Lu et al. 2022b, algorithm 2; three predictions as in the authors' code) with 1 to 3
 * predictions of x_0.  With alpha, sigma of the variance-preserving view, h the step in lambda, r_0 h the one before,
 * r_1 h the one before that: x = sigma_n / sigma_s x - alpha_n expm1 (-h) D' order 2:  D' = D_0 + (D_0 - D_1) / (2 r_0)
 *   order 3:  x = … D_0 + alpha_n (expm1 (-h) / h + 1) d_1 - alpha_n ((expm1 (-h) + h) / h^2 - 1/2) d_2
 * where d_2 is half of what its coefficient is for (in their code too): of second order, with a smaller constant.
 * CFG++ as ComfyUI has it: D is the guided one, and what of x was noise, and D_1, are taken from the unconditional. */
#include "diffusion/sampler-private.h"

#include <math.h>

static void
first_or_second (SumiSampler *s, const SumiSamplerCall *call, guint order, float *x)
{
  double ratio = call->to.sigma / call->from.sigma, h = sumi_sampler_lambda_step (call->from.sigma, call->to.sigma);
  double alpha = sqrt (call->to.alphas_cumprod), c_x = alpha / sqrt (call->from.alphas_cumprod) * ratio;
  double c = -alpha * expm1 (-h), c_1 = 0.0;

  if (order > 1)
    {
      const SumiSamplerStep *last = &s->steps[call->step - 1];

      c_1 = c * h / (2.0 * sumi_sampler_lambda_step (last->from.sigma, call->from.sigma));
    }
  SUMI_SUM (s, x, { c_x, x }, { c + c_1, s->x_start }, { -c_1, s->history[0] });
}

static void
third (SumiSampler *s, const SumiSamplerCall *call, float *x)
{
  double from = call->from.sigma, to = call->to.sigma, h = sumi_sampler_lambda_step (from, to);
  double s_1 = s->steps[call->step - 1].from.sigma, s_2 = s->steps[call->step - 2].from.sigma;
  double r_0 = sumi_sampler_lambda_step (s_1, from) / h, r_1 = sumi_sampler_lambda_step (s_2, s_1) / h;
  double alpha = sqrt (call->to.alphas_cumprod), c_x = alpha / sqrt (call->from.alphas_cumprod) * to / from;
  double c_0 = -alpha * expm1 (-h), c_d1 = alpha * (expm1 (-h) / h + 1.0);
  double c_d2 = -alpha * ((expm1 (-h) + h) / (h * h) - 0.5);
  /* d_1 = a + (a - b) r_0 / (r_0 + r_1),  d_2 = (a - b) / (r_0 + r_1),  a = (D_0 - D_1) / r_0,  b = (D_1 - D_2) / r_1
   */
  double c_a = (c_d1 * (1.0 + r_0 / (r_0 + r_1)) + c_d2 / (r_0 + r_1)) / r_0;
  double c_b = -(c_d1 * r_0 + c_d2) / (r_0 + r_1) / r_1;

  SUMI_SUM (s, x, { c_x, x }, { c_0 + c_a, s->x_start }, { c_b - c_a, s->history[0] }, { -c_b, s->history[1] });
}

static void
step_cfg_pp (SumiSampler *s, const SumiSamplerInput *in, guint order, float *x)
{
  const SumiSamplerCall *call = in->call;
  double ratio = call->to.sigma / call->from.sigma, h = sumi_sampler_lambda_step (call->from.sigma, call->to.sigma);
  double alpha = sqrt (call->to.alphas_cumprod), c_1 = 0.0;

  if (order > 1)
    c_1 = -expm1 (-h) * h / (2.0 * sumi_sampler_lambda_step (s->steps[call->step - 1].from.sigma, call->from.sigma));
  SUMI_SUM (s, x, { alpha / sqrt (call->from.alphas_cumprod) * ratio, x }, { alpha * (1.0 + c_1), s->x_start },
            { -alpha * ratio, in->uncond_x_start }, { -alpha * c_1, s->history[0] });
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  guint order = sumi_sampler_usable_order (s, in->call, s->o.order);

  if (in->uncond_x_start != NULL)
    step_cfg_pp (s, in, MIN (order, 2), x);
  else if (order == 3)
    third (s, in->call, x);
  else
    first_or_second (s, in->call, order, x);
  sumi_sampler_remember (s, in->uncond_x_start != NULL ? in->uncond_x_start : s->x_start);
}

const SumiSamplerClass sumi_sampler_dpmpp_2m_class = { .name = "dpmpp_2m",
                                                       .walk = SUMI_WALK_MULTISTEP,
                                                       .cfg_pp = TRUE,
                                                       .rounds_karras = TRUE,
                                                       .eta = -1,
                                                       .order = 2,
                                                       .max_order = 3,
                                                       .n_history = 2,
                                                       .step = step };
