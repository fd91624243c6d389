/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Component "schedule": the tables of a noise schedule, and x_t for some t. */
#include "probe.h"

static gboolean
store_table (Probe *p, const char *name, const double *values, guint n, GError **error)
{
  SumiTensor *t = probe_out (p, name, SUMI_F32, &SUMI_SHAPE (n), error);

  for (guint i = 0; t != NULL && i < n; i++)
    sumi_tensor_poke_f32 (t)[i] = (float)values[i];
  return t != NULL;
}

static gboolean
store_q_sample (Probe *p, const SumiSchedule *s, GError **error)
{
  g_autoptr (SumiTensor) t = probe_in_index (p, "t", 1, s->T - 1, error);
  g_autoptr (SumiTensor) x_start = t != NULL ? probe_in (p, "x_start", 0, error) : NULL;
  g_autoptr (SumiTensor) noise = x_start != NULL ? probe_in (p, "noise", 0, error) : NULL;
  const SumiShape *shape;
  SumiTensor *out;
  gint64 rows, n;

  if (noise == NULL)
    return FALSE;
  shape = sumi_tensor_get_shape (x_start);
  rows = sumi_tensor_get_numel (t);
  if (shape->rank == 0 || shape->d[0] != rows)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH,
                   "x_start: found another number of rows than t's %" G_GINT64_FORMAT ", expected one for each", rows);
      return FALSE;
    }
  out = probe_check_shape ("noise", noise, shape, error) ? probe_out (p, "q_sample", SUMI_F32, shape, error) : NULL;
  if (out == NULL)
    return FALSE;
  n = sumi_tensor_get_numel (x_start) / rows;
  for (gint64 i = 0; i < rows; i++)
    sumi_schedule_q_sample (s, (guint)((const gint64 *)sumi_tensor_peek (t))[i], sumi_tensor_peek_f32 (x_start) + i * n,
                            sumi_tensor_peek_f32 (noise) + i * n, sumi_tensor_poke_f32 (out) + i * n, (gsize)n);
  return TRUE;
}

gboolean
probe_schedule (Probe *p, GError **error)
{
  g_autoptr (SumiSchedule) s = probe_params_schedule (p, error);

  return s != NULL && store_table (p, "betas", s->betas, s->T, error)
         && store_table (p, "alphas_cumprod", s->alphas_cumprod, s->T, error)
         && store_table (p, "posterior_variance", s->posterior_variance, s->T, error) && store_q_sample (p, s, error);
}
