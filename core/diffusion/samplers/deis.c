/* SPDX-License-Identifier: GPL-3.0-or-later */
/* DEIS (Zhang & Chen 2023), the log-rho multistep form, of order 1 to 3: in the view x / alpha the exact solution is
 * the integral of eps over rho = sigma / alpha; eps is taken as the polynomial in log rho through its last values. x_n
 * = alpha_n (x / alpha_s + sum_j c_j e_j),  c_j = int_s^n prod_{k != j} log (rho / rho_k) / log (rho_j / rho_k) drho
 * With L_k = log rho_k:  int drho = rho,  int (log rho - b) drho = rho (l - b - 1),
 *   int (log rho - b) (log rho - c) drho = rho ((l - b) (l - c) - (2 l - b - c) + 2) */
#include "diffusion/sampler-private.h"

#include <math.h>

/* The integral from 0 to rho of the product over the others; rho log rho is 0 at 0. */
static double
antiderivative (double rho, const double *others, guint n)
{
  double l = log (rho);

  if (!(rho > 0.0) || n == 0)
    return rho;
  if (n == 1)
    return rho * (l - others[0] - 1.0);
  return rho * ((l - others[0]) * (l - others[1]) - (2.0 * l - others[0] - others[1]) + 2.0);
}

static double
coefficient (const SumiSampler *s, const SumiSamplerCall *call, guint order, guint j)
{
  double others[2], divisor = 1.0, l_j = log (s->steps[call->step - j].from.sigma);
  guint n = 0;

  for (guint k = 0; k < order; k++)
    if (k != j)
      {
        others[n] = log (s->steps[call->step - k].from.sigma);
        divisor *= l_j - others[n++];
      }
  return (antiderivative (call->to.sigma, others, n) - antiderivative (call->from.sigma, others, n)) / divisor;
}

/* eps of the (clipped) x_0, as diffusers converts it. */
static void
remember_eps (SumiSampler *s, const SumiSamplerCall *call, const float *x)
{
  double b = sqrt (1.0 - call->at.alphas_cumprod);

  if (s->o.clip_sample)
    SUMI_SUM (s, s->eps, { 1.0 / b, x }, { -sqrt (call->at.alphas_cumprod) / b, s->x_start });
  sumi_sampler_remember (s, s->eps);
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  double alpha = sqrt (in->call->to.alphas_cumprod), c[3] = { 0.0 };
  guint order = sumi_sampler_usable_order (s, in->call, s->o.order);

  remember_eps (s, in->call, x);
  for (guint j = 0; j < order; j++)
    c[j] = alpha * coefficient (s, in->call, order, j);
  SUMI_SUM (s, x, { alpha / sqrt (in->call->from.alphas_cumprod), x }, { c[0], s->history[0] }, { c[1], s->history[1] },
            { c[2], s->history[2] });
}

const SumiSamplerClass sumi_sampler_deis_class = { .name = "deis",
                                                   .walk = SUMI_WALK_MULTISTEP,
                                                   .rounds_karras = TRUE,
                                                   .ends_at_min = TRUE,
                                                   .eta = -1,
                                                   .order = 2,
                                                   .max_order = 3,
                                                   .n_history = 3,
                                                   .step = step };
