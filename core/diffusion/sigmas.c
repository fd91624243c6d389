/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Lists of noise levels, as k-diffusion (Karras et al. 2022), A1111 and ComfyUI make them: descending from the largest
 * sigma of the schedule, n of them before the final 0. */
#include "diffusion/sigmas.h"

#include <math.h>

typedef struct
{
  const double *table; /* sigma of every training timestep, ascending */
  guint T, n;
  gboolean sdxl;
  double min, max; /* of the table */
} Range;

typedef struct
{
  const char *name;
  void (*fill) (const Range *r, double *out);
} List;

/* Where i of n lies between 0 and 1, both included. */
static double
ramp (const Range *r, guint i)
{
  return r->n > 1 ? (double)i / (r->n - 1) : 0.0;
}

static double
mix (double a, double b, double w)
{
  return a + w * (b - a);
}

/* ---- between training timesteps ---- */

double *
sumi_sigmas_of_schedule (const SumiSchedule *s, double terminal_alpha)
{
  double *table = g_new (double, s->T);

  for (guint t = 0; t < s->T; t++)
    {
      double ac = s->alphas_cumprod[t] > 0.0 ? s->alphas_cumprod[t] : terminal_alpha;

      table[t] = sqrt ((1.0 - ac) / ac);
    }
  return table;
}

double
sumi_sigmas_to_timestep (const double *table, guint T, double sigma)
{
  guint low = 0, high = T - 1;

  if (!(sigma > table[0]))
    return 0.0;
  if (sigma >= table[high])
    return high;
  while (high - low > 1)
    {
      guint middle = (low + high) / 2;

      if (table[middle] <= sigma)
        low = middle;
      else
        high = middle;
    }
  return low + log (sigma / table[low]) / log (table[high] / table[low]);
}

double
sumi_sigmas_from_timestep (const double *table, guint T, double timestep)
{
  double t = CLAMP (timestep, 0.0, (double)(T - 1));
  guint low = (guint)t, high = MIN (low + 1, T - 1);

  return exp (mix (log (table[low]), log (table[high]), t - low));
}

/* ---- the beta distribution ---- */

/* The lower tail (Abramowitz & Stegun 26.5.4): x^a / B (a, b) sum_k (1 - b)_k x^k / (k! (a + k)). */
static double
beta_tail (double x, double a, double b, double log_beta)
{
  double sum = 1.0 / a, factor = 1.0;

  for (guint k = 1; k < 200 && fabs (factor) > 1e-18; k++)
    {
      factor *= (k - b) / k * x;
      sum += factor / (a + k);
    }
  return x > 0.0 ? exp (a * log (x) - log_beta) * sum : 0.0;
}

/* Below 1/2, where the series converges fast. */
static double
lower_quantile (double p, double a, double b, double log_beta)
{
  double low = 0.0, high = 0.5, middle = 0.25;

  while (middle > low && middle < high)
    {
      if (beta_tail (middle, a, b, log_beta) < p)
        low = middle;
      else
        high = middle;
      middle = low + (high - low) / 2.0;
    }
  return middle;
}

double
sumi_sigmas_beta_quantile (double p, double a, double b)
{
  double log_beta = lgamma (a) + lgamma (b) - lgamma (a + b);

  if (p <= 0.0 || p >= 1.0)
    return p <= 0.0 ? 0.0 : 1.0;
  if (p <= beta_tail (0.5, a, b, log_beta))
    return lower_quantile (p, a, b, log_beta);
  return 1.0 - lower_quantile (1.0 - p, b, a, log_beta);
}

/* ---- the lists ---- */

void
sumi_sigmas_karras (double max, double min, guint n, double *out)
{
  const double rho = 7.0;

  for (guint i = 0; i < n; i++)
    out[i] = pow (mix (pow (max, 1.0 / rho), pow (min, 1.0 / rho), n > 1 ? (double)i / (n - 1) : 0.0), rho);
}

static void
karras (const Range *r, double *out)
{
  sumi_sigmas_karras (r->max, r->min, r->n, out);
}

/* Evenly in log sigma. */
static void
exponential (const Range *r, double *out)
{
  for (guint i = 0; i < r->n; i++)
    out[i] = exp (mix (log (r->max), log (r->min), ramp (r, i)));
}

/* Evenly in time, both ends. */
static void
normal (const Range *r, double *out)
{
  for (guint i = 0; i < r->n; i++)
    out[i] = sumi_sigmas_from_timestep (r->table, r->T, mix (r->T - 1, 0.0, ramp (r, i)));
}

/* Evenly in time, without the lower end (Stability AI's generative models). */
static void
sgm_uniform (const Range *r, double *out)
{
  for (guint i = 0; i < r->n; i++)
    out[i] = sumi_sigmas_from_timestep (r->table, r->T, mix (r->T - 1, 0.0, (double)i / r->n));
}

/* Every so manieth entry of the table. */
static void
simple (const Range *r, double *out)
{
  for (guint i = 0; i < r->n; i++)
    out[i] = r->table[r->T - 1 - (guint)(i * ((double)r->T / r->n))];
}

/* The timesteps of DDIM's own code, from 1 up. */
static void
ddim_uniform (const Range *r, double *out)
{
  guint stride = r->T / r->n;

  for (guint i = 0; i < r->n; i++)
    out[r->n - 1 - i] = r->table[MIN (1 + i * stride, r->T - 1)];
}

/* Lee et al. 2024: quantiles of a beta distribution, which crowd at both ends; on sigma, as in A1111. */
static void
beta (const Range *r, double *out)
{
  for (guint i = 0; i < r->n; i++)
    out[i] = mix (r->min, r->max, sumi_sigmas_beta_quantile (1.0 - ramp (r, i), 0.6, 0.6));
}

/* Sabour et al. 2024, theorem 3.1; the last of the n lies above the smallest sigma, as in A1111. */
static void
kl_optimal (const Range *r, double *out)
{
  for (guint i = 0; i < r->n; i++)
    out[i] = tan (mix (atan (r->max), atan (r->min), (double)i / r->n));
}

#define N_TABULATED 11

/* Log-linear between the given levels. */
static void
tabulated (const double *levels, guint n, double *out)
{
  for (guint i = 0; i < n; i++)
    {
      double at = n > 1 ? (double)i / (n - 1) * (N_TABULATED - 1) : 0.0;
      guint low = MIN ((guint)at, N_TABULATED - 2);

      out[i] = exp (mix (log (levels[low]), log (levels[low + 1]), at - low));
    }
}

/* Sabour et al. 2024, table 3. */
static void
align_your_steps (const Range *r, double *out)
{
  static const double sd15[N_TABULATED]
      = { 14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029 };
  static const double sdxl[N_TABULATED]
      = { 14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029 };

  tabulated (r->sdxl ? sdxl : sd15, r->n, out);
}

/* Geometry-inspired time steps (Chen et al. 2024), the levels that A1111 has. */
static void
gits (const Range *r, double *out)
{
  static const double sd15[N_TABULATED]
      = { 14.615, 4.617, 2.507, 1.236, 0.702, 0.402, 0.240, 0.156, 0.104, 0.094, 0.029 };
  static const double sdxl[N_TABULATED]
      = { 14.615, 4.734, 2.567, 1.529, 0.987, 0.652, 0.418, 0.268, 0.179, 0.127, 0.029 };

  tabulated (r->sdxl ? sdxl : sd15, r->n, out);
}

/* k-diffusion's polyexponential with rho = 1 is the exponential list. */
static const List lists[] = {
  { "karras", karras },
  { "exponential", exponential },
  { "polyexponential", exponential },
  { "normal", normal },
  { "sgm_uniform", sgm_uniform },
  { "simple", simple },
  { "ddim_uniform", ddim_uniform },
  { "beta", beta },
  { "kl_optimal", kl_optimal },
  { "align_your_steps", align_your_steps },
  { "gits", gits },
};

const char *const *
sumi_sigmas_list (void)
{
  static const char *names[G_N_ELEMENTS (lists) + 1];
  static gsize filled = 0;

  if (g_once_init_enter (&filled))
    {
      for (guint i = 0; i < G_N_ELEMENTS (lists); i++)
        names[i] = lists[i].name;
      g_once_init_leave (&filled, 1);
    }
  return names;
}

gboolean
sumi_sigmas_fill (const char *name, const double *table, guint T, gboolean sdxl, guint n, double *out, GError **error)
{
  const Range r = { .table = table, .T = T, .n = n, .sdxl = sdxl, .min = table[0], .max = table[T - 1] };
  const List *list = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (lists); i++)
    if (g_strcmp0 (lists[i].name, name) == 0)
      list = &lists[i];
  if (list == NULL)
    {
      g_autofree char *all = g_strjoinv (", ", (char **)sumi_sigmas_list ());
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "sigmas: found '%s', expected one of %s",
                   name != NULL ? name : "", all);
      return FALSE;
    }
  if (n < 1 || n > T)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "steps: found %u, expected 1 to %u", n, T);
      return FALSE;
    }
  list->fill (&r, out);
  for (guint i = 0; i < n; i++)
    if (!(out[i] > 0.0) || (i > 0 && !(out[i] < out[i - 1])))
      {
        g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "steps: found %u, expected fewer: %s has no such many levels",
                     n, name);
        return FALSE;
      }
  return TRUE;
}
