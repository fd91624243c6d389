/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "diffusion/tiles.h"

/* Ramps up over what is shared with the tile before, down over what is shared with the one behind. */
static void
fill_ramps (const SumiTiles *t, guint i, guint unit, float *w)
{
  const gint64 length = t->tile * unit;
  gint64 before = i > 0 ? (t->starts[i - 1] + t->tile - t->starts[i]) * unit : 0;
  gint64 behind = i + 1 < t->n ? (t->starts[i] + t->tile - t->starts[i + 1]) * unit : 0;

  for (gint64 x = 0; x < length; x++)
    {
      double up = x < before ? (x + 0.5) / before : 1, down = length - 1 - x < behind ? (length - x - 0.5) / behind : 1;

      w[x] = (float)(up * down);
    }
}

/* Divides by the sum over all tiles, of which some may be more than neighbours. */
static void
normalize (const SumiTiles *t, guint unit)
{
  g_autofree double *sum = g_new0 (double, t->size *unit);
  const gint64 length = t->tile * unit;

  for (guint i = 0; i < t->n; i++)
    for (gint64 x = 0; x < length; x++)
      sum[t->starts[i] * unit + x] += t->weights[i * length + x];
  for (guint i = 0; i < t->n; i++)
    for (gint64 x = 0; x < length; x++)
      t->weights[i * length + x] = (float)(t->weights[i * length + x] / sum[t->starts[i] * unit + x]);
}

void
sumi_tiles_init (SumiTiles *t, gint64 size, gint64 tile, gint64 overlap, guint unit)
{
  t->size = size;
  t->tile = MIN (tile, size);
  t->n = t->tile == size ? 1 : (guint)((size - overlap + t->tile - overlap - 1) / (t->tile - overlap));
  t->starts = g_new0 (gint64, t->n);
  t->weights = g_new (float, t->n * t->tile * unit);
  for (guint i = 1; i < t->n; i++)
    t->starts[i] = i * (size - t->tile) / (t->n - 1);
  for (guint i = 0; i < t->n; i++)
    fill_ramps (t, i, unit, t->weights + i * t->tile * unit);
  normalize (t, unit);
}

void
sumi_tiles_clear (SumiTiles *t)
{
  g_clear_pointer (&t->starts, g_free);
  g_clear_pointer (&t->weights, g_free);
}
