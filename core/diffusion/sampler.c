/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What all samplers share: the table, predictions of x_0 and eps, the two views of x. */
#include "diffusion/sampler-private.h"

#include <math.h>
#include <string.h>

static const SumiSamplerClass *const classes[] = {
  &sumi_sampler_ddpm_class,         &sumi_sampler_ddim_class,     &sumi_sampler_pndm_class,
  &sumi_sampler_euler_class,        &sumi_sampler_euler_a_class,  &sumi_sampler_heun_class,
  &sumi_sampler_dpm2_class,         &sumi_sampler_dpm2_a_class,   &sumi_sampler_dpmpp_2s_a_class,
  &sumi_sampler_dpmpp_sde_class,    &sumi_sampler_dpmpp_2m_class, &sumi_sampler_dpmpp_2m_sde_class,
  &sumi_sampler_dpmpp_3m_sde_class, &sumi_sampler_lms_class,      &sumi_sampler_unipc_class,
  &sumi_sampler_deis_class,         &sumi_sampler_lcm_class,      &sumi_sampler_tcd_class,
};

/* ---- construction ---- */

static const SumiSamplerClass *
find (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (classes); i++)
    if (g_strcmp0 (classes[i]->name, name) == 0)
      return classes[i];
  return NULL;
}

const char *const *
sumi_sampler_list (void)
{
  static const char *names[G_N_ELEMENTS (classes) + 1];
  static gsize filled = 0;

  if (g_once_init_enter (&filled))
    {
      for (guint i = 0; i < G_N_ELEMENTS (classes); i++)
        names[i] = classes[i]->name;
      g_once_init_leave (&filled, 1);
    }
  return names;
}

gboolean
sumi_sampler_has_cfg_pp (const char *name)
{
  const SumiSamplerClass *klass = find (name);

  return klass != NULL && klass->cfg_pp;
}

SumiSpacing
sumi_sampler_default_spacing (const char *name)
{
  const SumiSamplerClass *klass = find (name);

  return klass != NULL && (klass->walk == SUMI_WALK_SIGMAS || klass->walk == SUMI_WALK_MULTISTEP)
             ? SUMI_SPACING_LINSPACE
             : SUMI_SPACING_LEADING;
}

static gboolean
resolve_eta (SumiSampler *s, GError **error)
{
  if (s->klass->eta < 0.0 || s->o.eta < 0.0)
    s->o.eta = s->klass->eta;
  else if (!(s->o.eta <= 1.0))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "eta: found %g, expected 0 to 1", s->o.eta);
      return FALSE;
    }
  return TRUE;
}

static gboolean
resolve_order (SumiSampler *s, GError **error)
{
  if (s->klass->max_order == 0 || s->o.order == 0)
    s->o.order = s->klass->order;
  else if (s->o.order > s->klass->max_order)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "order of %s: found %u, expected 1 to %u", s->klass->name,
                   s->o.order, s->klass->max_order);
      return FALSE;
    }
  return TRUE;
}

static gboolean
resolve_churn (SumiSampler *s, GError **error)
{
  if (!(s->o.s_churn >= 0.0 && isfinite (s->o.s_churn)))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "s_churn: found %g, expected 0 or more", s->o.s_churn);
      return FALSE;
    }
  if (!s->klass->churns)
    s->o.s_churn = 0.0;
  return TRUE;
}

static gboolean
allocate (SumiSampler *s, GError **error)
{
  float **all[] = { &s->x_start, &s->eps, s->klass->cfg_pp ? &s->uncond_x_start : NULL,
                    s->klass->cfg_pp ? &s->uncond_eps : NULL, s->klass->saves ? &s->saved : NULL };

  for (guint i = 0; i < G_N_ELEMENTS (all) + s->klass->n_history; i++)
    {
      float **place = i < G_N_ELEMENTS (all) ? all[i] : &s->history[i - G_N_ELEMENTS (all)];

      if (place != NULL && (*place = g_try_new0 (float, s->o.n_values)) == NULL && s->o.n_values > 0)
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY, "sampler: no memory for %" G_GSIZE_FORMAT " values",
                       s->o.n_values);
          return FALSE;
        }
    }
  return TRUE;
}

SumiSampler *
sumi_sampler_new (const char *name, const SumiSamplerOptions *options, GError **error)
{
  g_autoptr (SumiSampler) s = g_new0 (SumiSampler, 1);

  s->klass = find (name);
  s->o = *options;
  if (s->klass == NULL)
    {
      g_autofree char *all = g_strjoinv (", ", (char **)sumi_sampler_list ());
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "sampler: found '%s', expected one of %s",
                   name != NULL ? name : "", all);
      return NULL;
    }
  if (!resolve_eta (s, error) || !resolve_order (s, error) || !resolve_churn (s, error)
      || !sumi_sampler_plan_walk (s, error) || !allocate (s, error))
    return NULL;
  s->o.timesteps = NULL; /* the caller's */
  return g_steal_pointer (&s);
}

void
sumi_sampler_free (SumiSampler *s)
{
  if (s == NULL)
    return;
  g_free (s->steps);
  g_free (s->calls);
  g_free (s->x_start);
  g_free (s->eps);
  g_free (s->uncond_x_start);
  g_free (s->uncond_eps);
  g_free (s->saved);
  for (guint i = 0; i < SUMI_SAMPLER_MAX_HISTORY; i++)
    g_free (s->history[i]);
  g_free (s);
}

/* ---- the walk ---- */

guint
sumi_sampler_get_n_calls (const SumiSampler *s)
{
  return s->n_calls;
}

static const SumiNoiseLevel *
level_before (const SumiSampler *s, guint call)
{
  return call < s->n_calls ? &s->calls[call].at : &s->steps[s->n_steps - 1].to;
}

double
sumi_sampler_get_timestep (const SumiSampler *s, guint call)
{
  g_return_val_if_fail (call < s->n_calls, 0);
  return s->calls[call].at.timestep;
}

double
sumi_sampler_get_sigma (const SumiSampler *s, guint call)
{
  return level_before (s, call)->sigma;
}

gboolean
sumi_sampler_needs_noise (const SumiSampler *s, guint call)
{
  g_return_val_if_fail (call < s->n_calls, FALSE);
  return s->klass->noise != NULL && s->klass->noise (s, &s->calls[call]) > 0.0;
}

guint
sumi_sampler_first_call (const SumiSampler *s, double strength)
{
  guint steps = (guint)CLAMP (s->n_steps * strength, 0.0, (double)s->n_steps), first = s->n_steps - steps;

  if (s->o.follow_diffusers && s->klass->cut_by_calls)
    return first;
  for (guint call = 0; call < s->n_calls; call++)
    if (s->calls[call].step >= first && s->calls[call].stage == 0)
      return call;
  return s->n_calls;
}

/* ---- views ---- */

gboolean
sumi_sampler_is_sigma_view (const SumiSampler *s)
{
  return s->klass->sigma_view;
}

void
sumi_sampler_start (const SumiSampler *s, const float *noise, float *x)
{
  for (gsize i = 0; i < s->o.n_values; i++)
    x[i] = (float)(s->start_scale * noise[i]);
}

void
sumi_sampler_add_noise (const SumiSampler *s, guint call, const float *x_0, const float *noise, float *x)
{
  const SumiNoiseLevel *at = level_before (s, call);
  double c_x = s->klass->sigma_view ? 1.0 : sqrt (at->alphas_cumprod);
  double c_noise = s->klass->sigma_view ? at->sigma : sqrt (1.0 - at->alphas_cumprod);

  if (call >= s->n_calls && !s->ends_noisy)
    {
      memmove (x, x_0, s->o.n_values * sizeof *x);
      return;
    }
  for (gsize i = 0; i < s->o.n_values; i++)
    x[i] = (float)(c_x * x_0[i] + c_noise * noise[i]);
}

void
sumi_sampler_model_input (const SumiSampler *s, guint call, const float *x, float *input)
{
  g_return_if_fail (call < s->n_calls);
  if (!s->klass->sigma_view)
    {
      memmove (input, x, s->o.n_values * sizeof *x);
      return;
    }
  double scale = sqrt (s->calls[call].at.alphas_cumprod);
  for (gsize i = 0; i < s->o.n_values; i++)
    input[i] = (float)(scale * x[i]);
}

/* ---- a step ---- */

static void
predict (const SumiSampler *s, const SumiNoiseLevel *at, const float *x, const float *output, float *x_start,
         float *eps)
{
  double scale = s->klass->sigma_view ? sqrt (at->alphas_cumprod) : 1.0;

  sumi_predict (at->alphas_cumprod, scale, s->o.prediction, x, output, x_start, eps, s->o.n_values);
  if (!s->o.clip_sample)
    return;
  for (gsize i = 0; i < s->o.n_values; i++)
    {
      x_start[i] = CLAMP (x_start[i], -1.0f, 1.0f);
      /* k-diffusion's derivative follows the clipped x_0; DDIM's eps stays what the model said, as in diffusers */
      if (s->klass->sigma_view)
        eps[i] = (float)((x[i] - (double)x_start[i]) / at->sigma);
    }
}

void
sumi_sampler_step (SumiSampler *s, guint call, float *x, const float *output, const float *uncond, const float *noise)
{
  SumiSamplerInput in = { NULL };

  g_return_if_fail (call < s->n_calls);
  in.call = &s->calls[call];
  predict (s, &in.call->at, x, output, s->x_start, s->eps);
  if (uncond != NULL && s->klass->cfg_pp)
    {
      predict (s, &in.call->at, x, uncond, s->uncond_x_start, s->uncond_eps);
      in.uncond_x_start = s->uncond_x_start;
      in.uncond_eps = s->uncond_eps;
    }
  in.variance = s->o.variance == SUMI_VARIANCE_LEARNED_RANGE ? output + s->o.n_values : NULL;
  in.noise = sumi_sampler_needs_noise (s, call) ? noise : NULL;
  s->klass->step (s, &in, x);
  s->n_made++;
}

const float *
sumi_sampler_peek_x_start (const SumiSampler *s)
{
  return s->x_start;
}
