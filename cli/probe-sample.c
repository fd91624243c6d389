/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Components of whole sampling loops: "p-sample-loop", "ddim-sample", "ddpm-sample". The noise is the case's. */
#include "probe.h"

#include <string.h>

#include "diffusion/sampler.h"
#include "nn/config.h"

typedef struct
{
  Probe *p;
  ProbeModel model;
  SumiSchedule *schedule;
  GArray *timesteps; /* guint, descending */
  SumiSamplerOptions options;
  const char *sampler;
  gboolean last_is_quiet; /* no noise at the last call, even where the step has a variance */
  /* The noise of a call, all pictures. Transfer full. */
  SumiTensor *(*noise) (Probe *p, guint call, guint timestep, const SumiShape *shape, GError **error);
} Walk;

static void
walk_clear (Walk *w)
{
  probe_model_clear (&w->model);
  g_clear_pointer (&w->schedule, sumi_schedule_free);
  g_clear_pointer (&w->timesteps, g_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Walk, walk_clear)

static SumiPlan *
compile (Walk *w, const SumiShape *shape, GError **error)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  SumiNode *x = sumi_input (g, "sample", SUMI_REAL, shape);
  SumiNode *t = sumi_input (g, "timestep", SUMI_REAL, &SUMI_SHAPE (shape->d[0]));

  sumi_graph_output (g, "out", probe_model_denoiser (m, &w->model, x, t, NULL));
  return probe_compile (w->p, m, w->model.weights, error);
}

/* The model's output for x at this timestep, of all pictures. */
static SumiTensor *
call_model (SumiPlan *plan, const SumiTensor *x, double timestep, GError **error)
{
  gint64 n = sumi_tensor_get_shape (x)->d[0];
  g_autoptr (SumiTensor) t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (n), error);

  if (t == NULL)
    return NULL;
  for (gint64 i = 0; i < n; i++)
    sumi_tensor_poke_f32 (t)[i] = (float)timestep;
  if (!sumi_plan_set (plan, "sample", x, error) || !sumi_plan_set (plan, "timestep", t, error)
      || !sumi_plan_run (plan, NULL, error))
    return NULL;
  return probe_read (plan, "out", error);
}

/* One call and one step of every picture. */
static gboolean
take_step (Walk *w, SumiPlan *plan, SumiSampler *s, guint call, SumiTensor *x, GError **error)
{
  const SumiShape *shape = sumi_tensor_get_shape (x);
  gsize n = w->options.n_values;
  gint64 pictures = shape->d[0];
  g_autoptr (SumiTensor) out = call_model (plan, x, sumi_sampler_get_timestep (s, call), error);
  g_autoptr (SumiTensor) noise = NULL;
  gsize n_out;

  if (out == NULL)
    return FALSE;
  if (sumi_sampler_needs_noise (s, call) && !(w->last_is_quiet && call + 1 == sumi_sampler_get_n_calls (s)))
    {
      noise = w->noise (w->p, call, (guint)sumi_sampler_get_timestep (s, call), shape, error);
      if (noise == NULL)
        return FALSE;
    }
  n_out = (gsize)(sumi_tensor_get_numel (out) / pictures);
  for (gint64 i = 0; i < pictures; i++)
    sumi_sampler_step (s, call, sumi_tensor_poke_f32 (x) + i * n, sumi_tensor_peek_f32 (out) + i * n_out, NULL,
                       noise != NULL ? sumi_tensor_peek_f32 (noise) + i * n : NULL);
  return TRUE;
}

/* From x_T along the timesteps; "steps" is every state after, "image" the last. */
static gboolean
walk (Walk *w, GError **error)
{
  g_autoptr (SumiTensor) x = probe_in (w->p, "x_T", 4, error);
  g_autoptr (SumiSampler) s = NULL;
  g_autoptr (SumiPlan) plan = NULL;
  SumiTensor *steps;
  SumiShape shape;
  gsize size;
  guint n_calls;

  if (x == NULL)
    return FALSE;
  shape = *sumi_tensor_get_shape (x);
  w->options.schedule = w->schedule;
  w->options.timesteps = (const guint *)(void *)w->timesteps->data;
  w->options.steps = w->timesteps->len;
  w->options.n_values = (gsize)(sumi_tensor_get_numel (x) / shape.d[0]);
  if ((plan = compile (w, &shape, error)) == NULL || (s = sumi_sampler_new (w->sampler, &w->options, error)) == NULL)
    return FALSE;
  n_calls = sumi_sampler_get_n_calls (s);
  steps = probe_out (w->p, "steps", SUMI_F32, &SUMI_SHAPE (n_calls, shape.d[0], shape.d[1], shape.d[2], shape.d[3]),
                     error);
  size = (gsize)sumi_tensor_get_numel (x);
  for (guint call = 0; steps != NULL && call < n_calls; call++)
    {
      if (!take_step (w, plan, s, call, x, error))
        return FALSE;
      memcpy (sumi_tensor_poke_f32 (steps) + call * size, sumi_tensor_peek_f32 (x), size * sizeof (float));
    }
  if (steps != NULL)
    sumi_tensor_map_set (w->p->out, "image", x);
  return steps != NULL;
}

/* Row `row` of the input "noise" (…,N,C,H,W). */
static SumiTensor *
noise_row (Probe *p, gint64 row, const SumiShape *shape, GError **error)
{
  g_autoptr (SumiTensor) all = probe_in (p, "noise", 5, error);
  g_autoptr (SumiTensor) one = NULL;

  if (all == NULL)
    return NULL;
  if (row >= sumi_tensor_get_shape (all)->d[0])
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH,
                   "noise: found %" G_GINT64_FORMAT " rows, expected at least %" G_GINT64_FORMAT,
                   sumi_tensor_get_shape (all)->d[0], row + 1);
      return NULL;
    }
  if ((one = sumi_tensor_slice0 (all, row, 1, error)) == NULL)
    return NULL;
  if (sumi_tensor_get_numel (one) != sumi_shape_numel (shape))
    {
      probe_check_shape ("noise", one, shape, error);
      return NULL;
    }
  return sumi_tensor_reshape (one, shape, error);
}

static SumiTensor *
noise_of_timestep (Probe *p, guint call, guint timestep, const SumiShape *shape, GError **error)
{
  return noise_row (p, timestep, shape, error);
}

static SumiTensor *
noise_of_call (Probe *p, guint call, guint timestep, const SumiShape *shape, GError **error)
{
  return noise_row (p, call, shape, error);
}

static SumiTensor *
noise_draw (Probe *p, guint call, guint timestep, const SumiShape *shape, GError **error)
{
  g_autofree char *name = g_strdup_printf ("draw.%03u.step", call);
  g_autoptr (SumiTensor) t = probe_in (p, name, 4, error);

  return t != NULL && probe_check_shape (name, t, shape, error) ? g_steal_pointer (&t) : NULL;
}

/* ---- components ---- */

gboolean
probe_p_sample_loop (Probe *p, GError **error)
{
  g_auto (Walk) w = { .p = p, .sampler = "ddpm", .noise = noise_of_timestep };

  w.options.final_alpha_cumprod = 1;
  if ((w.schedule = probe_params_schedule (p, error)) == NULL || !probe_model_open_pixels (p, &w.model, error))
    return FALSE;
  w.timesteps = g_array_new (FALSE, FALSE, sizeof (guint));
  for (guint t = w.schedule->T; t-- > 0;)
    g_array_append_val (w.timesteps, t);
  return walk (&w, error);
}

gboolean
probe_ddim_sample (Probe *p, GError **error)
{
  g_auto (Walk) w = { .p = p, .sampler = "ddim", .last_is_quiet = TRUE, .noise = noise_of_call };
  g_autoptr (SumiTensor) given = NULL;

  if ((w.schedule = probe_params_schedule (p, error)) == NULL
      || !sumi_config_double (p->params, "eta", 0, 1, &w.options.eta, error)
      || (given = probe_in_index (p, "timesteps", 1, w.schedule->T - 1, error)) == NULL
      || !probe_model_open_pixels (p, &w.model, error))
    return FALSE;
  w.timesteps = g_array_new (FALSE, FALSE, sizeof (guint));
  for (gint64 i = 0; i < sumi_tensor_get_numel (given); i++)
    {
      guint t = (guint)((const gint64 *)sumi_tensor_peek (given))[i];

      g_array_append_val (w.timesteps, t);
    }
  return walk (&w, error);
}

/* The schedule and the timesteps are those of the model's own scheduler settings. */
static gboolean
prepare_ddpm (Probe *p, Walk *w, GError **error)
{
  static const char *const variances[] = { "fixed_small", "fixed_large", "learned_range", NULL };
  const SumiModelConfig *c = &w->model.config;
  guint steps = 10, variance = c->variance, T = c->num_train_timesteps;
  SumiTensor *out;

  if (!sumi_config_uint (p->params, "steps", 1, 1000, &steps, error)
      || !sumi_config_uint (p->params, "T", 1, 100000, &T, error)
      || !sumi_config_choice (p->params, "variance_type", variances, &variance, error)
      || (w->schedule = sumi_schedule_new (c->betas, T, c->beta_start, c->beta_end, error)) == NULL)
    return FALSE;
  if ((variance == SUMI_VARIANCE_LEARNED_RANGE) != (c->out_channels == 2 * c->channels))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                   "variance_type: found %s, expected what the model's output channels are for", variances[variance]);
      return FALSE;
    }
  w->timesteps = g_array_sized_new (FALSE, FALSE, sizeof (guint), steps);
  g_array_set_size (w->timesteps, steps);
  if (!sumi_schedule_timesteps (T, c->spacing, c->steps_offset, steps, (guint *)(void *)w->timesteps->data, error)
      || (out = probe_out (p, "timesteps", SUMI_I64, &SUMI_SHAPE (steps), error)) == NULL)
    return FALSE;
  for (guint i = 0; i < steps; i++)
    ((gint64 *)sumi_tensor_poke (out))[i] = g_array_index (w->timesteps, guint, i);
  w->options.final_alpha_cumprod = 1;
  w->options.clip_sample = c->clip_sample;
  w->options.variance = (SumiVariance)variance;
  w->options.prediction = c->prediction;
  return TRUE;
}

gboolean
probe_ddpm_sample (Probe *p, GError **error)
{
  g_auto (Walk) w = { .p = p, .sampler = "ddpm", .noise = noise_draw };

  return probe_model_open_pixels (p, &w.model, error) && prepare_ddpm (p, &w, error) && walk (&w, error);
}
