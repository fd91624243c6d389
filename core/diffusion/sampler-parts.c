/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The pieces that more than one sampler is made of. */
#include "diffusion/sampler-private.h"

#include <math.h>
#include <string.h>

#define MUCH_NOISE 100.0 /* sigma; a picture in it cannot be seen */

SumiAncestral
sumi_sampler_ancestral (double from, double to, double eta)
{
  double up = MIN (to, eta * to * sqrt (MAX (1.0 - to * to / (from * from), 0.0)));

  return (SumiAncestral){ .down = sqrt (to * to - up * up), .up = up };
}

SumiAncestral
sumi_sampler_ancestral_step (const SumiSampler *s, guint step)
{
  return sumi_sampler_ancestral (s->steps[step].from.sigma, s->steps[step].to.sigma, s->o.eta);
}

double
sumi_sampler_middle_sigma (const SumiSampler *s, guint step)
{
  return sqrt (s->steps[step].from.sigma * s->steps[step].to.sigma);
}

double
sumi_sampler_ancestral_middle_sigma (const SumiSampler *s, guint step)
{
  return sqrt (s->steps[step].from.sigma * sumi_sampler_ancestral_step (s, step).down);
}

double
sumi_sampler_ancestral_second_noise (const SumiSampler *s, const SumiSamplerCall *call)
{
  return call->stage == 1 ? sumi_sampler_ancestral_step (s, call->step).up : 0.0;
}

gboolean
sumi_sampler_comes_from_noise (const SumiSampler *s, guint step)
{
  return s->steps[step].from.sigma > MUCH_NOISE && !s->o.follow_diffusers;
}

double
sumi_sampler_sde_noise (const SumiSampler *s, const SumiSamplerCall *call)
{
  double h = sumi_sampler_lambda_step (call->from.sigma, call->to.sigma);

  if (!(call->to.sigma > 0.0))
    return 0.0;
  return sqrt (call->to.alphas_cumprod) * call->to.sigma * sqrt (-expm1 (-2.0 * s->o.eta * h));
}

double
sumi_sampler_churn_noise (const SumiSampler *s, const SumiSamplerCall *call)
{
  gboolean last_call
      = s->klass->second_sigma == NULL || call->stage == 1 || s->klass->second_sigma (s, call->step) <= 0.0;
  double next = call->step + 1 < s->n_steps ? s->steps[call->step + 1].from.sigma : call->to.sigma;

  return last_call ? sqrt (MAX (next * next - call->to.sigma * call->to.sigma, 0.0)) : 0.0;
}

double
sumi_sampler_lambda_step (double from, double to)
{
  return to > 0.0 ? log (from / to) : INFINITY;
}

guint
sumi_sampler_usable_order (const SumiSampler *s, const SumiSamplerCall *call, guint order)
{
  guint left = s->n_steps - call->step;

  order = MIN (order, s->n_history + 1);
  if (!(call->to.sigma > 0.0))
    return 1; /* all of the way to the picture: lambda is infinite there */
  /* diffusers' lower_order_final; k-diffusion has none */
  return s->o.sigmas == NULL && s->n_steps < 15 ? MIN (order, left) : order;
}

void
sumi_sampler_sum (const SumiSampler *s, float *out, const SumiTerm *terms, guint n)
{
  for (gsize i = 0; i < s->o.n_values; i++)
    {
      double sum = 0.0;

      for (guint k = 0; k < n; k++)
        if (terms[k].c != 0.0)
          sum += terms[k].c * terms[k].v[i];
      out[i] = (float)sum;
    }
}

void
sumi_sampler_remember (SumiSampler *s, const float *values)
{
  guint n = s->klass->n_history;
  float *oldest = s->history[n - 1];

  memmove (s->history + 1, s->history, (n - 1) * sizeof *s->history);
  s->history[0] = memcpy (oldest, values, s->o.n_values * sizeof *values);
  s->n_history = MIN (s->n_history + 1, n);
}
