/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a sampler is worth: how fast the deterministic ones approach the exact solution, and whether those with noise
 * draw from the right distribution.  Both are judged where the last step begins: that one leaps from the smallest sigma
 * to 0 whatever the number of steps. */
#include "toy.h"

#include <math.h>

/* x in k-diffusion's view. */
static double
to_sigma_view (const SumiSampler *s, guint call)
{
  return sumi_sampler_is_sigma_view (s) ? 1 : hypot (sumi_sampler_get_sigma (s, call), 1);
}

/* ---- order of convergence ---- */

typedef struct
{
  const char *name;
  guint order;            /* option */
  double at_least;        /* the slope that is seen from n to 2 n steps; 0.4 more at most, unless … */
  gboolean may_be_better; /* … the first, lower steps hide in what is nearly a straight line */
  guint n;
} Order;

static const Order orders[] = {
  { "ddim", 0, 0.95, FALSE, 40 },         { "euler", 0, 0.95, FALSE, 40 },
  { "euler_a", 0, 0.95, FALSE, 40 },      { "tcd", 0, 0.95, FALSE, 40 },
  { "lms", 1, 0.95, FALSE, 40 },          { "pndm", 1, 0.95, FALSE, 40 },
  { "deis", 1, 0.95, FALSE, 40 },         { "dpmpp_2m", 1, 0.95, FALSE, 40 },
  { "heun", 0, 1.95, FALSE, 40 },         { "dpm2", 0, 1.95, FALSE, 40 },
  { "dpm2_a", 0, 1.95, FALSE, 40 },       { "dpmpp_2s_a", 0, 1.95, FALSE, 40 },
  { "dpmpp_sde", 0, 1.95, FALSE, 40 },    { "dpmpp_2m", 2, 1.95, FALSE, 40 },
  { "dpmpp_2m", 3, 1.95, FALSE, 80 },     { "dpmpp_2m_sde", 0, 1.95, FALSE, 40 },
  { "dpmpp_3m_sde", 0, 1.95, FALSE, 80 }, { "pndm", 0, 1.95, FALSE, 40 },
  { "lms", 2, 1.9, FALSE, 40 },           { "deis", 2, 1.95, FALSE, 40 },
  { "unipc", 1, 1.95, FALSE, 40 }, /* the corrector adds one */
  { "lms", 3, 2.75, FALSE, 40 },          { "deis", 3, 2.9, TRUE, 20 },
  { "unipc", 2, 2.9, FALSE, 20 },         { "lms", 4, 3.3, TRUE, 20 },
  { "unipc", 3, 3.9, TRUE, 10 },
};

/* The error before the last step. */
static double
error_of (const Order *order, guint n)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  SumiSamplerOptions o = {
    .schedule = schedule, .prediction = SUMI_PREDICT_SAMPLE, .sigmas = "exponential", .steps = n, .order = order->order
  };
  g_autoptr (SumiSampler) s = toy_sampler (order->name, &o);
  float x[TOY_N] = { 1, -0.5f, 0.25f, 2 }, start[TOY_N];
  guint last = sumi_sampler_get_n_calls (s) - 1;
  double worst = 0, slope = sqrt ((TOY_S2 + pow (sumi_sampler_get_sigma (s, last), 2))
                                  / (TOY_S2 + pow (sumi_sampler_get_sigma (s, 0), 2)));

  sumi_sampler_start (s, x, x);
  for (guint i = 0; i < TOY_N; i++)
    start[i] = (float)(x[i] * to_sigma_view (s, 0));
  for (guint call = 0; call < last; call++)
    toy_call (s, &o, call, x, NULL);
  for (guint i = 0; i < TOY_N; i++)
    worst = fmax (worst, fabs (x[i] * to_sigma_view (s, last) - TOY_MU - slope * (start[i] - TOY_MU)));
  return worst;
}

static void
test_order (gconstpointer data)
{
  const Order *order = data;
  double coarse = error_of (order, order->n), fine = error_of (order, 2 * order->n), slope = log2 (coarse / fine);

  g_test_message ("%s: %.3g with %u steps, %.3g with twice as many: order %.2f", order->name, coarse, order->n, fine,
                  slope);
  g_assert_cmpfloat (slope, >=, order->at_least);
  g_assert_true (order->may_be_better || slope < order->at_least + 0.4);
}

/* ---- the distribution of what is drawn ---- */

typedef struct
{
  const char *name, *sigmas;
  double eta, s_churn;
  SumiVariance variance;
  double tolerance; /* of mean and variance with 100 steps; a quarter of the steps must be twice as bad at least */
} Draw;

static const Draw draws[] = {
  { "ddpm", "exponential", 0, 0, SUMI_VARIANCE_FIXED_SMALL, 0.03 },
  { "ddpm", "exponential", 0, 0, SUMI_VARIANCE_FIXED_LARGE, 0.03 },
  { "ddim", "exponential", 0.5, 0, SUMI_VARIANCE_FIXED_SMALL, 0.03 },
  { "ddim", "exponential", 1, 0, SUMI_VARIANCE_FIXED_SMALL, 0.03 },
  { "euler_a", "exponential", 1, 0, SUMI_VARIANCE_FIXED_SMALL, 0.03 },
  { "dpm2_a", "exponential", 1, 0, SUMI_VARIANCE_FIXED_SMALL, 0.002 },
  { "dpmpp_2s_a", "exponential", 1, 0, SUMI_VARIANCE_FIXED_SMALL, 0.002 },
  { "dpmpp_sde", "exponential", 1, 0, SUMI_VARIANCE_FIXED_SMALL, 0.03 },
  { "dpmpp_2m_sde", "exponential", 1, 0, SUMI_VARIANCE_FIXED_SMALL, 0.002 },
  { "dpmpp_2m_sde", "exponential", 0.5, 0, SUMI_VARIANCE_FIXED_SMALL, 0.002 },
  { "dpmpp_3m_sde", "exponential", 1, 0, SUMI_VARIANCE_FIXED_SMALL, 0.002 },
  { "euler", "karras", 0, 10, SUMI_VARIANCE_FIXED_SMALL, 0.03 },
  { "heun", "karras", 0, 10, SUMI_VARIANCE_FIXED_SMALL, 0.002 },
  { "dpm2", "karras", 0, 10, SUMI_VARIANCE_FIXED_SMALL, 0.002 },
};

/* With the perfect model of Gaussian data the end is affine in the start and in every draw, so mean and variance follow
 * from walks with one of them 1 and the others 0: nothing is drawn. */
static void
moments (const Draw *draw, guint n, double *mean, double *var)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  SumiSamplerOptions o = { .schedule = schedule,
                           .prediction = SUMI_PREDICT_SAMPLE,
                           .sigmas = draw->sigmas,
                           .steps = n,
                           .eta = draw->eta,
                           .s_churn = draw->s_churn,
                           .variance = draw->variance };
  guint n_draws = 0, last = 0;
  double origin = 0, to_view = 1;

  *var = 0;
  /* walk 0: all 0; walk 1: the start is 1; walk 2 + k: draw k is 1 */
  for (guint walk = 0; walk < 2 + n_draws; walk++)
    {
      g_autoptr (SumiSampler) s = toy_sampler (draw->name, &o);
      float x[TOY_N] = { walk == 1 ? 1.0f : 0.0f };
      guint drawn = 0;
      double end;

      last = sumi_sampler_get_n_calls (s) - 1;
      to_view = to_sigma_view (s, 0);
      for (guint call = 0; call < last; call++)
        {
          gboolean noisy = sumi_sampler_needs_noise (s, call);
          float noise[TOY_N] = { noisy && walk == 2 + drawn ? 1.0f : 0.0f };

          toy_call (s, &o, call, x, noise);
          drawn += noisy;
        }
      n_draws = drawn;
      end = x[0] * to_sigma_view (s, last);
      if (walk == 0)
        origin = end;
      else if (walk == 1) /* the start, in the sampler's view, is q (x_sigma) */
        {
          double sigma = sumi_sampler_get_sigma (s, 0);

          *mean = origin + (end - origin) * TOY_MU / to_view;
          *var += pow ((end - origin) / to_view, 2) * (TOY_S2 + sigma * sigma);
        }
      else
        *var += pow (end - origin, 2);
    }
}

static double
distance (const Draw *draw, guint n)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  double mean = 0, var = 0, sigma_min_2 = 1 / schedule->alphas_cumprod[0] - 1, d;

  moments (draw, n, &mean, &var);
  d = fmax (fabs (mean - TOY_MU), fabs (var - TOY_S2 - sigma_min_2));
  g_test_message ("%s eta %g churn %g, %u steps: mean %.5f variance %.5f, off by %.2g", draw->name, draw->eta,
                  draw->s_churn, n, mean, var, d);
  return d;
}

static void
test_distribution (gconstpointer data)
{
  const Draw *draw = data;
  double coarse = distance (draw, 25), fine = distance (draw, 100);

  g_assert_cmpfloat (fine, <, draw->tolerance);
  g_assert_cmpfloat (fine, <, coarse / 2);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (orders); i++)
    {
      g_autofree char *path = g_strdup_printf ("/samplers/order/%s-%u", orders[i].name, orders[i].order);
      g_test_add_data_func (path, &orders[i], test_order);
    }
  for (guint i = 0; i < G_N_ELEMENTS (draws); i++)
    {
      g_autofree char *path = g_strdup_printf ("/samplers/distribution/%s-%u", draws[i].name, i);
      g_test_add_data_func (path, &draws[i], test_distribution);
    }
  return g_test_run ();
}
