/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The noise schedules and what follows from them.  Tables are double: near T the cosine schedule's alphas_cumprod
 * falls to 1e-9, where float products would lose it. */
#include "diffusion/schedule.h"

#include <math.h>
#include <string.h>

#define MAX_T 100000

static const char *const beta_names[SUMI_N_BETAS] = { "linear", "scaled_linear", "cosine", "quadratic", "sigmoid" };

const char *
sumi_beta_kind_name (SumiBetaKind k)
{
  return k < SUMI_N_BETAS ? beta_names[k] : "unknown";
}

gboolean
sumi_beta_kind_parse (const char *s, SumiBetaKind *k, GError **error)
{
  /* diffusers' name of the cosine schedule */
  if (g_strcmp0 (s, "squaredcos_cap_v2") == 0)
    s = "cosine";
  for (guint i = 0; i < SUMI_N_BETAS; i++)
    if (g_strcmp0 (s, beta_names[i]) == 0)
      {
        *k = (SumiBetaKind)i;
        return TRUE;
      }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
               "noise schedule: found '%s', expected linear, scaled_linear, cosine, quadratic or sigmoid",
               s != NULL ? s : "");
  return FALSE;
}

static const char *const prediction_names[] = { "epsilon", "v_prediction", "sample" };

const char *
sumi_prediction_name (SumiPrediction p)
{
  return p < G_N_ELEMENTS (prediction_names) ? prediction_names[p] : "unknown";
}

gboolean
sumi_prediction_parse (const char *s, SumiPrediction *p, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS (prediction_names); i++)
    if (g_strcmp0 (s, prediction_names[i]) == 0)
      {
        *p = (SumiPrediction)i;
        return TRUE;
      }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
               "prediction type: found '%s', expected epsilon, v_prediction or sample", s != NULL ? s : "");
  return FALSE;
}

static const char *const spacing_names[SUMI_N_SPACINGS] = { "leading", "linspace", "trailing" };

const char *
sumi_spacing_name (SumiSpacing s)
{
  return s < SUMI_N_SPACINGS ? spacing_names[s] : "unknown";
}

gboolean
sumi_spacing_parse (const char *s, SumiSpacing *spacing, GError **error)
{
  for (guint i = 0; i < SUMI_N_SPACINGS; i++)
    if (g_strcmp0 (s, spacing_names[i]) == 0)
      {
        *spacing = (SumiSpacing)i;
        return TRUE;
      }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
               "timestep spacing: found '%s', expected leading, linspace or trailing", s != NULL ? s : "");
  return FALSE;
}

static double
linspace (double from, double to, guint n, guint i)
{
  return n > 1 ? from + (to - from) * i / (n - 1) : from;
}

/* alphas_cumprod of the cosine schedule before clipping: cos^2 ((u + s) / (1 + s) pi/2), s = 0.008 */
static double
cosine_alphas_cumprod (double u)
{
  double c = cos ((u + 0.008) / 1.008 * G_PI_2);
  return c * c;
}

static double
beta_at (SumiBetaKind kind, guint T, double start, double end, guint i)
{
  double x;

  switch (kind)
    {
    case SUMI_BETAS_SCALED_LINEAR:
    case SUMI_BETAS_QUADRATIC: /* two names of one formula */
      x = linspace (sqrt (start), sqrt (end), T, i);
      return x * x;
    case SUMI_BETAS_COSINE:
      x = 1.0 - cosine_alphas_cumprod ((i + 1.0) / T) / cosine_alphas_cumprod ((double)i / T);
      return CLAMP (x, 0.0, 0.999);
    case SUMI_BETAS_SIGMOID:
      x = linspace (-6.0, 6.0, T, i);
      return start + (end - start) / (1.0 + exp (-x));
    default:
      return linspace (start, end, T, i);
    }
}

/* What follows from betas. */
static void
fill_tables (SumiSchedule *s)
{
  double ac = 1.0;

  for (guint i = 0; i < s->T; i++)
    {
      double previous = ac;
      ac *= 1.0 - s->betas[i];
      s->alphas_cumprod[i] = ac;
      s->posterior_variance[i] = s->betas[i] * (1.0 - previous) / (1.0 - ac);
    }
}

SumiSchedule *
sumi_schedule_new (SumiBetaKind kind, guint T, double beta_start, double beta_end, GError **error)
{
  if (kind >= SUMI_N_BETAS || T < 1 || T > MAX_T)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "noise schedule: found %u steps, expected 1 to %d", T,
                   MAX_T);
      return NULL;
    }
  if (kind != SUMI_BETAS_COSINE && !(beta_start > 0.0 && beta_start <= beta_end && beta_end < 1.0))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                   "noise schedule: found betas from %g to %g, expected 0 < start <= end < 1", beta_start, beta_end);
      return NULL;
    }

  SumiSchedule *s = g_new0 (SumiSchedule, 1);
  s->T = T;
  s->betas = g_new (double, T);
  s->alphas_cumprod = g_new (double, T);
  s->posterior_variance = g_new (double, T);
  for (guint i = 0; i < T; i++)
    s->betas[i] = beta_at (kind, T, beta_start, beta_end, i);
  fill_tables (s);
  return s;
}

/* Lin et al. 2023, algorithm 1: sqrt (alphas_cumprod) is shifted so that its last value is 0 and stretched so that its
 * first one stays. */
void
sumi_schedule_rescale_zero_snr (SumiSchedule *s)
{
  double first = sqrt (s->alphas_cumprod[0]), last = sqrt (s->alphas_cumprod[s->T - 1]), previous = 1.0;

  if (s->T < 2)
    return; /* first and last are one */
  for (guint i = 0; i < s->T; i++)
    {
      double root = (sqrt (s->alphas_cumprod[i]) - last) * first / (first - last);

      s->betas[i] = 1.0 - root * root / previous;
      previous = root * root;
    }
  fill_tables (s);
}

void
sumi_schedule_free (SumiSchedule *s)
{
  if (s == NULL)
    return;
  g_free (s->betas);
  g_free (s->alphas_cumprod);
  g_free (s->posterior_variance);
  g_free (s);
}

/* In numpy's arithmetic (linspace, arange), because the result is rounded: at halves the last bit decides. */
double
sumi_schedule_spaced (guint T, SumiSpacing spacing, guint steps_offset, guint n, guint i)
{
  switch (spacing)
    {
    case SUMI_SPACING_LINSPACE:
      return n > 1 && i > 0 ? (n - 1 - i) * ((T - 1.0) / (n - 1)) : (n > 1 ? T - 1.0 : 0.0);
    case SUMI_SPACING_TRAILING:
      return rint (T + i * ((T - (double)T / n) - T)) - 1.0;
    default:
      return (double)(n - 1 - i) * (T / n) + steps_offset;
    }
}

gboolean
sumi_schedule_timesteps (guint T, SumiSpacing spacing, guint steps_offset, guint n, guint *out, GError **error)
{
  double first;

  if (n < 1 || n > T)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "steps: found %u, expected 1 to %u", n, T);
      return FALSE;
    }
  first = sumi_schedule_spaced (T, spacing, steps_offset, n, 0);
  if (first >= T)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "steps: %u with offset %u: found timestep %g, expected 0 to %u",
                   n, steps_offset, first, T - 1);
      return FALSE;
    }
  for (guint i = 0; i < n; i++)
    out[i] = (guint)rint (sumi_schedule_spaced (T, spacing, steps_offset, n, i));
  return TRUE;
}

double
sumi_schedule_snr (const SumiSchedule *s, guint t)
{
  g_return_val_if_fail (t < s->T, 0.0);
  return s->alphas_cumprod[t] / (1.0 - s->alphas_cumprod[t]);
}

double
sumi_schedule_min_snr_weight (const SumiSchedule *s, guint t, SumiPrediction p, double gamma)
{
  double snr = sumi_schedule_snr (s, t);

  if (!(gamma > 0.0))
    return 1.0;
  switch (p)
    {
    case SUMI_PREDICT_V:
      return MIN (snr, gamma) / (snr + 1.0);
    case SUMI_PREDICT_SAMPLE:
      return MIN (snr, gamma);
    default:
      return snr > gamma ? gamma / snr : 1.0; /* also where snr is 0 */
    }
}

/* out = a x + b y */
static void
combine (double a, const float *x, double b, const float *y, float *out, gsize n)
{
  for (gsize i = 0; i < n; i++)
    out[i] = (float)(a * x[i] + b * y[i]);
}

void
sumi_schedule_q_sample (const SumiSchedule *s, guint t, const float *x_start, const float *noise, float *out, gsize n)
{
  g_return_if_fail (t < s->T);
  double ac = s->alphas_cumprod[t];
  combine (sqrt (ac), x_start, sqrt (1.0 - ac), noise, out, n);
}

void
sumi_schedule_target (const SumiSchedule *s, guint t, SumiPrediction p, const float *x_start, const float *noise,
                      float *out, gsize n)
{
  g_return_if_fail (t < s->T);
  double ac = s->alphas_cumprod[t];

  if (p == SUMI_PREDICT_V)
    combine (sqrt (ac), noise, -sqrt (1.0 - ac), x_start, out, n);
  else
    memmove (out, p == SUMI_PREDICT_SAMPLE ? x_start : noise, n * sizeof *out);
}

void
sumi_predict (double alphas_cumprod, double scale, SumiPrediction p, const float *x, const float *model_output,
              float *x_start, float *eps, gsize n)
{
  double a = sqrt (alphas_cumprod), b = sqrt (1.0 - alphas_cumprod);

  for (gsize i = 0; i < n; i++)
    {
      double x_t = scale * x[i], m = model_output[i], x0, e;
      switch (p)
        {
        case SUMI_PREDICT_V: /* from v = a eps - b x_0 and x_t = a x_0 + b eps */
          x0 = a * x_t - b * m;
          e = a * m + b * x_t;
          break;
        case SUMI_PREDICT_SAMPLE:
          x0 = m;
          e = (x_t - a * m) / b;
          break;
        default:
          x0 = (x_t - b * m) / a;
          e = m;
        }
      if (x_start != NULL)
        x_start[i] = (float)x0;
      if (eps != NULL)
        eps[i] = (float)e;
    }
}

void
sumi_schedule_predict (const SumiSchedule *s, guint t, SumiPrediction p, const float *x_t, const float *model_output,
                       float *x_start, float *eps, gsize n)
{
  g_return_if_fail (t < s->T);
  sumi_predict (s->alphas_cumprod[t], 1.0, p, x_t, model_output, x_start, eps, n);
}
