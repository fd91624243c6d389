/* SPDX-License-Identifier: GPL-3.0-or-later */
/* PLMS: the pseudo linear multistep method of PNDM (Liu et al. 2022, eq. 11 and 12), without its Runge-Kutta steps. The
 * first step asks the model twice: the mean of eps at both ends takes it (improved Euler).  Then Adams-Bashforth, with
 * a the alphas_cumprod before and b after the step: eps' = 3/2 e_0 - 1/2 e_1;  (23 e_0 - 16 e_1 + 5 e_2) / 12;  (55 e_0
 * - 59 e_1 + 37 e_2 - 9 e_3) / 24 x    = sqrt (b / a) x - (b - a) eps' / (a sqrt (1 - b) + sqrt (a (1 - a) b)) As in
 * diffusers it is v that is combined where the model predicts v.
 *
 * A walk that begins later (image to image) begins with a step of first order.  diffusers takes that one twice too,
 * which its list of timesteps, cut anywhere, does not have a place for: from the third call on the model is told one
 * timestep less than it is at. */
#include "diffusion/sampler-private.h"

#include <math.h>
#include <string.h>

static const double weights[4][4] = {
  { 1.0 }, { 3.0 / 2, -1.0 / 2 }, { 23.0 / 12, -16.0 / 12, 5.0 / 12 }, { 55.0 / 24, -59.0 / 24, 37.0 / 24, -9.0 / 24 }
};

static double
second_sigma (const SumiSampler *s, guint step)
{
  return step == 0 && s->n_steps > 1 && s->o.order > 1 ? s->steps[1].from.sigma : 0.0;
}

/* Adds what eps' contributes: c eps', eps' = sum w_k e_k, or from v' = sum w_k v_k: eps' = sqrt (a) v' + sqrt (1 - a)
 * x. */
static void
move (SumiSampler *s, const SumiSamplerCall *call, const float *x, const double *w, const float *const *e, float *out)
{
  double a = call->from.alphas_cumprod, b = call->to.alphas_cumprod;
  double c_x = sqrt (b / a), c = -(b - a) / (a * sqrt (1.0 - b) + sqrt (a * (1.0 - a) * b));

  if (s->o.prediction == SUMI_PREDICT_V)
    {
      c_x += c * sqrt (1.0 - a);
      c *= sqrt (a);
    }
  SUMI_SUM (s, out, { c_x, x }, { c * w[0], e[0] }, { c * w[1], e[1] }, { c * w[2], e[2] }, { c * w[3], e[3] });
}

/* The step that this call takes from its start again; NULL: none. */
static const SumiSamplerCall *
taken_again (const SumiSampler *s, const SumiSamplerCall *call)
{
  if (s->o.follow_diffusers && s->o.order > 1)
    return s->n_made != 1 ? NULL : call->stage == 1 ? call : call - 1;
  return call->stage == 1 ? call : NULL;
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  static const double mean[4] = { 0.5, 0.5 };
  const SumiSamplerCall *again = taken_again (s, in->call);
  double a = in->call->at.alphas_cumprod;

  if (s->o.prediction == SUMI_PREDICT_V)
    SUMI_SUM (s, s->eps, { sqrt (a), s->eps }, { -sqrt (1.0 - a), s->x_start });
  if (again != NULL) /* this place is asked anew in the next call, and remembered then */
    {
      const float *both[4] = { s->history[0], s->eps };

      move (s, again, s->saved, mean, both, x);
      return;
    }
  memcpy (s->saved, x, s->o.n_values * sizeof *x);
  sumi_sampler_remember (s, s->eps);
  /* a walk cut before the first step's second call takes that for the first of the next step */
  move (s, in->call->stage == 1 ? in->call + 1 : in->call, x, weights[MIN (s->n_history, s->o.order) - 1],
        (const float *const *)s->history, x);
}

const SumiSamplerClass sumi_sampler_pndm_class = { .name = "pndm",
                                                   .walk = SUMI_WALK_FIXED_STRIDE,
                                                   .saves = TRUE,
                                                   .cut_by_calls = TRUE,
                                                   .eta = -1,
                                                   .order = 4,
                                                   .max_order = 4,
                                                   .n_history = 4,
                                                   .second_sigma = second_sigma,
                                                   .step = step };
