/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which noise levels a sampler visits, and at which of them it calls the model. */
#include "diffusion/sampler-private.h"

#include <math.h>

/* alphas_cumprod at the end of a zero-terminal-SNR schedule, for samplers that need a finite sigma: what diffusers'
 * Euler and DPM-Solver put there, and what k-diffusion's users do. */
#define TERMINAL_ALPHA_DIFFUSERS 0x1p-24
#define TERMINAL_ALPHA_K 4.8973451890853435e-08

#define DISTILLED_STEPS 50 /* of LCM's and TCD's teacher: original_inference_steps */

/* ---- noise levels ---- */

static SumiNoiseLevel
level_of_alpha (double alphas_cumprod, double timestep)
{
  return (SumiNoiseLevel){ .alphas_cumprod = alphas_cumprod,
                           .sigma = sqrt ((1.0 - alphas_cumprod) / alphas_cumprod),
                           .timestep = timestep };
}

static SumiNoiseLevel
level_of_sigma (double sigma, double timestep)
{
  return (SumiNoiseLevel){ .alphas_cumprod = 1.0 / (1.0 + sigma * sigma), .sigma = sigma, .timestep = timestep };
}

/* A training timestep. */
static SumiNoiseLevel
level_of_timestep (const SumiSampler *s, guint t)
{
  double ac = s->o.schedule->alphas_cumprod[t];

  return level_of_alpha (ac > 0.0 || s->klass->zero_snr ? ac : TERMINAL_ALPHA_DIFFUSERS, t);
}

/* From each level to the next. */
static void
chain (SumiSampler *s, const SumiNoiseLevel *levels, guint n_steps)
{
  s->n_steps = n_steps;
  s->steps = g_new (SumiSamplerStep, n_steps);
  for (guint i = 0; i < n_steps; i++)
    s->steps[i] = (SumiSamplerStep){ levels[i], levels[i + 1] };
}

/* ---- given timesteps ---- */

static gboolean
check_timesteps (const SumiSamplerOptions *o, GError **error)
{
  guint ends = o->final_alpha_cumprod > 0.0 ? 1 : 2; /* a step needs two places */

  if (o->steps < ends)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "timesteps: found %u, expected at least %u", o->steps, ends);
      return FALSE;
    }
  for (guint i = 0; i < o->steps; i++)
    {
      guint below = i == 0 ? o->schedule->T : o->timesteps[i - 1];

      if (o->timesteps[i] >= below)
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "timesteps[%u]: found %u, expected less than %u", i,
                       o->timesteps[i], below);
          return FALSE;
        }
    }
  if (!(o->final_alpha_cumprod >= 0.0 && o->final_alpha_cumprod <= 1.0))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "final alphas_cumprod: found %g, expected 0 to 1",
                   o->final_alpha_cumprod);
      return FALSE;
    }
  return TRUE;
}

static gboolean
walk_given (SumiSampler *s, GError **error)
{
  const SumiSamplerOptions *o = &s->o;
  g_autofree SumiNoiseLevel *levels = NULL;

  if (!check_timesteps (o, error))
    return FALSE;
  levels = g_new (SumiNoiseLevel, o->steps + 1);
  for (guint i = 0; i < o->steps; i++)
    levels[i] = level_of_timestep (s, o->timesteps[i]);
  s->ends_noisy = !(o->final_alpha_cumprod > 0.0);
  if (!s->ends_noisy)
    levels[o->steps] = level_of_alpha (o->final_alpha_cumprod, 0.0);
  chain (s, levels, s->ends_noisy ? o->steps - 1 : o->steps);
  return TRUE;
}

/* ---- as diffusers ---- */

/* Where the walk of a sampler of that kind ends. */
static SumiNoiseLevel
final_level (const SumiSampler *s)
{
  const SumiSamplerClass *klass = s->klass;
  gboolean at_first
      = klass->ends_at_min || klass->ends_at_first || (klass->walk == SUMI_WALK_FIXED_STRIDE && !s->o.set_alpha_to_one);

  return at_first ? level_of_timestep (s, 0) : level_of_alpha (1.0, 0.0);
}

static gboolean
walk_timesteps (SumiSampler *s, GError **error)
{
  const SumiSchedule *schedule = s->o.schedule;
  guint n = s->o.steps, stride = schedule->T / n;
  g_autofree guint *timesteps = g_new (guint, n);
  g_autofree SumiNoiseLevel *levels = g_new (SumiNoiseLevel, n + 1);

  if (!sumi_schedule_timesteps (schedule->T, s->o.spacing, s->o.steps_offset, n, timesteps, error))
    return FALSE;
  for (guint i = 0; i < n; i++)
    levels[i] = level_of_timestep (s, timesteps[i]);
  levels[n] = final_level (s);
  chain (s, levels, n);
  if (s->klass->walk == SUMI_WALK_FIXED_STRIDE)
    for (guint i = 0; i < n; i++)
      s->steps[i].to = timesteps[i] >= stride ? level_of_timestep (s, timesteps[i] - stride) : levels[n];
  return TRUE;
}

/* LCM's and TCD's n of the teacher's steps, evenly from the first. */
static gboolean
walk_distilled (SumiSampler *s, GError **error)
{
  guint n = s->o.steps, T = s->o.schedule->T, teacher = MIN (DISTILLED_STEPS, T), stride = T / teacher;
  g_autofree SumiNoiseLevel *levels = g_new (SumiNoiseLevel, n + 1);

  if (n > teacher)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "steps of %s: found %u, expected 1 to %u", s->klass->name, n,
                   teacher);
      return FALSE;
    }
  for (guint i = 0; i < n; i++)
    levels[i] = level_of_timestep (s, (teacher - (guint)(i * ((double)teacher / n))) * stride - 1);
  levels[n] = final_level (s);
  chain (s, levels, n);
  return TRUE;
}

/* numpy's interp */
static double
interpolate (const double *table, double t)
{
  guint low = (guint)t;

  return t > low ? table[low] + (t - low) * (table[low + 1] - table[low]) : table[low];
}

/* Timesteps of Euler's kind and of DPM-Solver's, not rounded for the first. */
static gboolean
spaced_timesteps (const SumiSampler *s, double *t, GError **error)
{
  gboolean multistep = s->klass->walk == SUMI_WALK_MULTISTEP && s->o.spacing != SUMI_SPACING_TRAILING;
  guint T = s->o.schedule->T, n = s->o.steps, of = multistep ? n + 1 : n;

  if (of > T)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "steps: found %u, expected 1 to %u", n, T - 1);
      return FALSE;
    }
  for (guint i = 0; i < n; i++)
    t[i] = sumi_schedule_spaced (T, s->o.spacing, s->o.steps_offset, of, i);
  if (s->klass->walk == SUMI_WALK_MULTISTEP)
    for (guint i = 0; i < n; i++)
      t[i] = rint (t[i]);
  if (t[0] > T - 1)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "steps: %u with offset %u: found timestep %g, expected 0 to %u",
                   n, s->o.steps_offset, t[0], T - 1);
      return FALSE;
    }
  return TRUE;
}

/* use_karras_sigmas: Euler's kind between the sigmas that the spacing begins and ends with, DPM-Solver's over the whole
 * schedule. */
static void
make_karras (const SumiSampler *s, const double *table, double *sigmas, double *t)
{
  guint T = s->o.schedule->T, n = s->o.steps;
  gboolean whole = s->klass->walk == SUMI_WALK_MULTISTEP;

  sumi_sigmas_karras (whole ? table[T - 1] : sigmas[0], whole ? table[0] : sigmas[n - 1], n, sigmas);
  for (guint i = 0; i < n; i++)
    {
      t[i] = sumi_sigmas_to_timestep (table, T, sigmas[i]);
      if (s->klass->rounds_karras)
        t[i] = rint (t[i]);
    }
}

static gboolean
walk_sigma_table (SumiSampler *s, const double *table, GError **error)
{
  guint n = s->o.steps;
  g_autofree double *t = g_new (double, n);
  g_autofree double *sigmas = g_new (double, n);
  g_autofree SumiNoiseLevel *levels = g_new (SumiNoiseLevel, n + 1);

  if (!spaced_timesteps (s, t, error))
    return FALSE;
  for (guint i = 0; i < n; i++)
    sigmas[i] = interpolate (table, t[i]);
  if (s->o.use_karras_sigmas)
    make_karras (s, table, sigmas, t);
  for (guint i = 0; i < n; i++)
    levels[i] = level_of_sigma (sigmas[i], t[i]);
  levels[n] = final_level (s);
  /* DEIS ends where it is with Karras' sigmas, and on timestep 0 otherwise: as diffusers */
  if (s->klass->ends_at_min && s->o.use_karras_sigmas)
    levels[n] = levels[n - 1];
  chain (s, levels, n);
  return TRUE;
}

/* ---- as k-diffusion ---- */

static gboolean
walk_list (SumiSampler *s, const double *table, GError **error)
{
  guint T = s->o.schedule->T, n = s->o.steps, made = s->klass->discards_next_to_last ? n + 1 : n;
  g_autofree double *sigmas = g_new (double, made);
  g_autofree SumiNoiseLevel *levels = g_new (SumiNoiseLevel, n + 1);

  if (!sumi_sigmas_fill (s->o.sigmas, table, T, s->o.sdxl, made, sigmas, error))
    return FALSE;
  for (guint i = 0; i < n; i++)
    levels[i] = level_of_sigma (sigmas[i], sumi_sigmas_to_timestep (table, T, sigmas[i]));
  levels[n] = level_of_alpha (1.0, 0.0);
  chain (s, levels, n);
  return TRUE;
}

/* ---- churn ---- */

/* Karras et al. 2022, algorithm 2: every step begins with more noise than the last one left; it is added at the end of
 * that one, and is part of the start's. */
static void
add_churn (SumiSampler *s, const double *table)
{
  double gamma = MIN (s->o.s_churn / s->n_steps, G_SQRT2 - 1.0);

  for (guint i = 0; gamma > 0.0 && i < s->n_steps; i++)
    {
      double sigma = s->steps[i].from.sigma * (1.0 + gamma);

      s->steps[i].from = level_of_sigma (sigma, sumi_sigmas_to_timestep (table, s->o.schedule->T, sigma));
    }
}

/* ---- the calls ---- */

static SumiSamplerCall
second_call (const SumiSampler *s, guint i, double sigma, const double *table)
{
  const SumiSamplerStep *step = &s->steps[i];
  SumiSamplerCall call = { .step = i, .stage = 1, .from = step->from, .to = step->to };

  if (s->klass->second_at_end)
    call.at = step->to;
  else
    call.at = level_of_sigma (sigma, sumi_sigmas_to_timestep (table, s->o.schedule->T, sigma));
  if (s->klass->walk != SUMI_WALK_FIXED_STRIDE)
    return call;
  /* PNDM asks where the next step begins and goes there, from a stride above where the spacing says so (diffusers) */
  call.at = call.to = s->steps[i + 1].from;
  if (s->o.sigmas == NULL && s->o.timesteps == NULL)
    call.from = level_of_timestep (s, (guint)call.to.timestep + s->o.schedule->T / s->o.steps);
  return call;
}

static void
plan_calls (SumiSampler *s, const double *table)
{
  s->calls = g_new (SumiSamplerCall, 2 * s->n_steps);
  for (guint i = 0; i < s->n_steps; i++)
    {
      const SumiSamplerStep *step = &s->steps[i];
      double second = s->klass->second_sigma != NULL ? s->klass->second_sigma (s, i) : 0.0;

      s->calls[s->n_calls++] = (SumiSamplerCall){ .step = i, .at = step->from, .from = step->from, .to = step->to };
      if (second > 0.0)
        s->calls[s->n_calls++] = second_call (s, i, second, table);
    }
}

/* The noise a walk begins with: k-diffusion's is sigma eps, and so is diffusers' but with leading spacing. */
static double
start_scale (const SumiSampler *s)
{
  const SumiNoiseLevel *first = &s->steps[0].from;

  if (!s->klass->sigma_view)
    return s->o.sigmas != NULL ? sqrt (1.0 - first->alphas_cumprod) : 1.0;
  if (s->o.sigmas == NULL && s->o.spacing == SUMI_SPACING_LEADING)
    return sqrt (first->sigma * first->sigma + 1.0);
  return first->sigma;
}

static gboolean
check_signal (const SumiSampler *s, GError **error)
{
  if (s->o.prediction != SUMI_PREDICT_EPSILON || s->steps[0].from.alphas_cumprod > 0.0)
    return TRUE;
  g_set_error (
      error, SUMI_ERROR, SUMI_ERROR_USAGE,
      "prediction type: found epsilon, expected v_prediction or sample: %s begins where nothing of the picture "
      "is left",
      s->klass->name);
  return FALSE;
}

static gboolean
plan_steps (SumiSampler *s, const double *table, GError **error)
{
  if (s->o.timesteps != NULL)
    return walk_given (s, error);
  if (s->o.sigmas != NULL)
    return walk_list (s, table, error);
  switch (s->klass->walk)
    {
    case SUMI_WALK_DISTILLED:
      return walk_distilled (s, error);
    case SUMI_WALK_SIGMAS:
    case SUMI_WALK_MULTISTEP:
      return walk_sigma_table (s, table, error);
    default:
      return walk_timesteps (s, error);
    }
}

gboolean
sumi_sampler_plan_walk (SumiSampler *s, GError **error)
{
  g_autofree double *table
      = sumi_sigmas_of_schedule (s->o.schedule, s->o.sigmas != NULL ? TERMINAL_ALPHA_K : TERMINAL_ALPHA_DIFFUSERS);

  if (s->o.steps < 1 || s->o.steps > s->o.schedule->T)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "steps: found %u, expected 1 to %u", s->o.steps,
                   s->o.schedule->T);
      return FALSE;
    }
  if (!plan_steps (s, table, error) || !check_signal (s, error))
    return FALSE;
  add_churn (s, table);
  plan_calls (s, table);
  s->start_scale = start_scale (s);
  return TRUE;
}
