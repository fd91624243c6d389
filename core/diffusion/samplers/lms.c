/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Linear multistep (Adams-Bashforth) in sigma, of order up to 4, on uneven steps: the Lagrange polynomial through the
 * last d = (x - D) / sigma is integrated from s to n (k-diffusion; Gauss' rule with two points is exact for its
 * cubics). x = x + sum_j c_j d_j,  c_j = int prod_{k != j} (tau - s_k) / (s_j - s_k) dtau */
#include "diffusion/sampler-private.h"

#include <math.h>

static double
lagrange (const SumiSampler *s, const SumiSamplerCall *call, guint order, guint j, double tau)
{
  double value = 1.0, s_j = s->steps[call->step - j].from.sigma;

  for (guint k = 0; k < order; k++)
    if (k != j)
      {
        double s_k = s->steps[call->step - k].from.sigma;

        value *= (tau - s_k) / (s_j - s_k);
      }
  return value;
}

static double
coefficient (const SumiSampler *s, const SumiSamplerCall *call, guint order, guint j)
{
  double middle = (call->from.sigma + call->to.sigma) / 2.0, half = (call->to.sigma - call->from.sigma) / 2.0;
  double node = half / sqrt (3.0);

  return half * (lagrange (s, call, order, j, middle - node) + lagrange (s, call, order, j, middle + node));
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  double c[SUMI_SAMPLER_MAX_HISTORY] = { 0.0 };
  guint order;

  sumi_sampler_remember (s, s->eps);
  /* After a late start diffusers weighs the few it has as if it had all of them. */
  order = MIN (s->o.follow_diffusers ? in->call->step + 1 : s->n_history, s->o.order);
  for (guint j = 0; j < MIN (order, s->n_history); j++)
    c[j] = coefficient (s, in->call, order, j);
  SUMI_SUM (s, x, { 1.0, x }, { c[0], s->history[0] }, { c[1], s->history[1] }, { c[2], s->history[2] },
            { c[3], s->history[3] });
}

const SumiSamplerClass sumi_sampler_lms_class = { .name = "lms",
                                                  .walk = SUMI_WALK_SIGMAS,
                                                  .sigma_view = TRUE,
                                                  .eta = -1,
                                                  .order = 4,
                                                  .max_order = 4,
                                                  .n_history = 4,
                                                  .step = step };
