/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How loud a token is said: its state is multiplied with its weight, as AUTOMATIC1111's web UI does. */
#include "diffusion/conditioner-private.h"

#include <math.h>

static double
mean (const float *x, gint64 n)
{
  double sum = 0;

  for (gint64 i = 0; i < n; i++)
    sum += x[i];
  return sum / n;
}

static void
scale (float *x, gint64 n, float factor)
{
  for (gint64 i = 0; i < n; i++)
    x[i] *= factor;
}

static gboolean
has_weights (const GArray *chunk)
{
  for (guint i = 0; chunk != NULL && i < chunk->len; i++)
    if (g_array_index (chunk, SumiTextToken, i).weight != 1)
      return TRUE;
  return FALSE;
}

void
sumi_conditioner_emphasize (SumiTensor *states, const GArray *chunk, SumiEmphasis emphasis)
{
  float *x = sumi_tensor_poke_f32 (states);
  gint64 n = sumi_tensor_get_numel (states), width = sumi_tensor_get_shape (states)->d[2];
  double before, ratio;

  if (!has_weights (chunk))
    return;
  before = mean (x, n);
  for (guint i = 0; i < chunk->len; i++)
    scale (x + (i + 1) * width, width, g_array_index (chunk, SumiTextToken, i).weight); /* behind the start mark */
  ratio = before / mean (x, n);
  if (emphasis == SUMI_EMPHASIS_ORIGINAL && isfinite (ratio))
    scale (x, n, (float)ratio);
}
