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

/* A training timestep; samplers in sigma have none with an infinite one. */
static SumiNoiseLevel
level_of_timestep (const SumiSampler *s, guint t)
{
  double ac = s->o.schedule->alphas_cumprod[t];

  if (s->klass->walk == SUMI_WALK_SIGMAS || s->klass->walk == SUMI_WALK_MULTISTEP)
    ac = ac > 0.0 ? ac : TERMINAL_ALPHA_DIFFUSERS;
  return level_of_alpha (ac, t);
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

static double
final_alpha_cumprod (const SumiSampler *s)
{
  return s->klass->walk == SUMI_WALK_CHAIN || s->o.set_alpha_to_one ? 1.0 : s->o.schedule->alphas_cumprod[0];
}

static gboolean
walk_integers (SumiSampler *s, GError **error)
{
  const SumiSchedule *schedule = s->o.schedule;
  guint n = s->o.steps, stride = schedule->T / MAX (n, 1);
  g_autofree guint *timesteps = g_new (guint, n);
  g_autofree SumiNoiseLevel *levels = g_new (SumiNoiseLevel, n + 1);

  if (!sumi_schedule_timesteps (schedule->T, s->o.spacing, s->o.steps_offset, n, timesteps, error))
    return FALSE;
  for (guint i = 0; i < n; i++)
    levels[i] = level_of_timestep (s, timesteps[i]);
  levels[n] = level_of_alpha (final_alpha_cumprod (s), 0.0);
  chain (s, levels, n);
  if (s->klass->walk == SUMI_WALK_FIXED_STRIDE)
    for (guint i = 0; i < n; i++)
      s->steps[i].to = timesteps[i] >= stride ? level_of_timestep (s, timesteps[i] - stride) : levels[n];
  return TRUE;
}

/* ---- as k-diffusion ---- */

static gboolean
walk_sigmas (SumiSampler *s, GError **error)
{
  const SumiSchedule *schedule = s->o.schedule;
  gboolean discard = s->klass->discards_next_to_last;
  guint n = s->o.steps + (discard ? 1 : 0);
  g_autofree double *table = sumi_sigmas_of_schedule (schedule, TERMINAL_ALPHA_K);
  g_autofree double *sigmas = g_new (double, MAX (n, 1));
  g_autofree SumiNoiseLevel *levels = NULL;

  if (s->o.steps < 1)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "steps: found 0, expected 1 or more");
      return FALSE;
    }
  if (!sumi_sigmas_fill (s->o.sigmas, table, schedule->T, s->o.sdxl, n, sigmas, error))
    return FALSE;
  levels = g_new (SumiNoiseLevel, n + 1);
  for (guint i = 0; i < n; i++)
    levels[i] = level_of_sigma (sigmas[i], sumi_sigmas_to_timestep (table, schedule->T, sigmas[i]));
  n = s->o.steps;
  levels[n] = level_of_sigma (0.0, 0.0);
  chain (s, levels, n);
  return TRUE;
}

/* ---- the calls ---- */

static void
plan_calls (SumiSampler *s)
{
  s->calls = g_new (SumiSamplerCall, 2 * s->n_steps);
  for (guint i = 0; i < s->n_steps; i++)
    s->calls[s->n_calls++] = (SumiSamplerCall){ .step = i, .stage = 0, .at = s->steps[i].from };
}

gboolean
sumi_sampler_plan_walk (SumiSampler *s, GError **error)
{
  gboolean planned = s->o.timesteps != NULL ? walk_given (s, error)
                     : s->o.sigmas != NULL  ? walk_sigmas (s, error)
                                            : walk_integers (s, error);

  if (!planned)
    return FALSE;
  plan_calls (s);
  s->start_scale = 1.0;
  return TRUE;
}
