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

/* ---- the lists ---- */

/* Karras et al. 2022, eq. 5, rho = 7. */
static void
karras (const Range *r, double *out)
{
  for (guint i = 0; i < r->n; i++)
    out[i] = pow (mix (pow (r->max, 1.0 / 7.0), pow (r->min, 1.0 / 7.0), ramp (r, i)), 7.0);
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

/* Sabour et al. 2024, theorem 3.1. */
static void
kl_optimal (const Range *r, double *out)
{
  for (guint i = 0; i < r->n; i++)
    out[i] = tan (mix (atan (r->max), atan (r->min), ramp (r, i)));
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
  { "kl_optimal", kl_optimal },
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
