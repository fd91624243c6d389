/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What all samplers share: the table, the walk along the timesteps, predictions of x_0 and eps. */
#include "diffusion/sampler.h"

static const SumiSamplerClass *const classes[] = { &sumi_sampler_ddim_class, &sumi_sampler_ddpm_class };
static const char *const names[] = { "ddim", "ddpm", NULL };

G_STATIC_ASSERT (G_N_ELEMENTS (names) == G_N_ELEMENTS (classes) + 1);

const char *const *
sumi_sampler_list (void)
{
  return names;
}

static const SumiSamplerClass *
find (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (classes); i++)
    if (g_strcmp0 (classes[i]->name, name) == 0)
      return classes[i];
  return NULL;
}

const char *
sumi_sampler_title (const char *name)
{
  const SumiSamplerClass *klass = find (name);

  return klass != NULL ? klass->title : name;
}

static gboolean
check_options (const SumiSamplerOptions *o, GError **error)
{
  guint ends = o->final_alpha_cumprod > 0 ? 1 : 2; /* a step needs two places */

  if (o->n_timesteps < ends)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "timesteps: found %u, expected at least %u", o->n_timesteps,
                   ends);
      return FALSE;
    }
  for (guint i = 0; i < o->n_timesteps; i++)
    {
      guint below = i == 0 ? o->schedule->T : o->timesteps[i - 1];

      if (o->timesteps[i] >= below)
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "timesteps[%u]: found %u, expected less than %u", i,
                       o->timesteps[i], below);
          return FALSE;
        }
    }
  if (!(o->eta >= 0.0 && o->eta <= 1.0))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "eta: found %g, expected 0 to 1", o->eta);
      return FALSE;
    }
  if (!(o->final_alpha_cumprod >= 0.0 && o->final_alpha_cumprod <= 1.0))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "final alphas_cumprod: found %g, expected 0 to 1",
                   o->final_alpha_cumprod);
      return FALSE;
    }
  return TRUE;
}

SumiSampler *
sumi_sampler_new (const char *name, const SumiSamplerOptions *options, GError **error)
{
  const SumiSamplerClass *klass = find (name);
  g_autoptr (SumiSampler) s = NULL;

  if (klass == NULL)
    {
      g_autofree char *all = g_strjoinv (" or ", (char **)names);
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "sampler: found '%s', expected %s", name != NULL ? name : "",
                   all);
      return NULL;
    }
  if (!check_options (options, error))
    return NULL;

  s = g_new0 (SumiSampler, 1);
  s->klass = klass;
  s->o = *options;
  s->o.timesteps = s->timesteps = g_memdup2 (options->timesteps, options->n_timesteps * sizeof *options->timesteps);
  s->x_start = g_try_new (float, options->n_values);
  s->eps = g_try_new (float, options->n_values);
  if (s->x_start == NULL || s->eps == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY, "sampler: no memory for %" G_GSIZE_FORMAT " values",
                   options->n_values);
      return NULL;
    }
  return g_steal_pointer (&s);
}

void
sumi_sampler_free (SumiSampler *s)
{
  if (s == NULL)
    return;
  g_free (s->timesteps);
  g_free (s->x_start);
  g_free (s->eps);
  g_free (s);
}

guint
sumi_sampler_get_n_calls (const SumiSampler *s)
{
  return s->o.final_alpha_cumprod > 0 ? s->o.n_timesteps : s->o.n_timesteps - 1;
}

guint
sumi_sampler_get_timestep (const SumiSampler *s, guint call)
{
  g_return_val_if_fail (call < s->o.n_timesteps, 0);
  return s->timesteps[call];
}

static double
alpha_after (const SumiSampler *s, guint call)
{
  if (call + 1 == s->o.n_timesteps)
    return s->o.final_alpha_cumprod;
  return s->o.schedule->alphas_cumprod[s->timesteps[call + 1]];
}

gboolean
sumi_sampler_needs_noise (const SumiSampler *s, guint call)
{
  g_return_val_if_fail (call < sumi_sampler_get_n_calls (s), FALSE);
  return s->klass->needs_noise (s, s->o.schedule->alphas_cumprod[s->timesteps[call]], alpha_after (s, call));
}

void
sumi_sampler_step (SumiSampler *s, guint call, float *x, const float *model_output, const float *noise)
{
  gboolean learned = s->o.variance == SUMI_VARIANCE_LEARNED_RANGE;
  guint t;

  g_return_if_fail (call < sumi_sampler_get_n_calls (s));
  t = s->timesteps[call];
  sumi_schedule_predict (s->o.schedule, t, s->o.prediction, x, model_output, s->x_start, s->eps, s->o.n_values);
  if (s->o.clip_sample)
    for (gsize i = 0; i < s->o.n_values; i++)
      s->x_start[i] = CLAMP (s->x_start[i], -1.0f, 1.0f);
  s->klass->step (s, s->o.schedule->alphas_cumprod[t], alpha_after (s, call), x,
                  learned ? model_output + s->o.n_values : NULL, noise);
}

const float *
sumi_sampler_peek_x_start (const SumiSampler *s)
{
  return s->x_start;
}
