/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/resample.h"

#include <math.h>

/* One output pixel is the sum of `n` input pixels from `first`, times their weights (which sum up to 1). */
typedef struct
{
  guint first, n;
  gsize weights; /* index into the table's weights */
} Tap;

typedef struct
{
  Tap *taps;
  GArray *weights; /* float */
} Table;

static void
table_clear (Table *t)
{
  g_free (t->taps);
  g_array_unref (t->weights);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Table, table_clear)

static void
add_weight (Table *t, Tap *tap, double weight)
{
  float w = (float)weight;
  g_array_append_val (t->weights, w);
  tap->n++;
}

/* Each output pixel covers [from, to) of the input. */
static void
add_area (Table *t, Tap *tap, double from, double to, guint size)
{
  tap->first = MIN ((guint)from, size - 1);
  for (guint i = tap->first; i < size && i < to; i++)
    add_weight (t, tap, (MIN (to, i + 1.0) - MAX (from, i)) / (to - from));
}

/* The input at `centre`, where pixel i has its centre at i + 1/2; the edge pixels go on beyond the edge. */
static void
add_linear (Table *t, Tap *tap, double centre, guint size)
{
  double x = CLAMP (centre - 0.5, 0, size - 1.0), fraction;

  tap->first = MIN ((guint)x, size - 1);
  fraction = x - tap->first;
  add_weight (t, tap, 1 - fraction);
  if (tap->first + 1 < size)
    add_weight (t, tap, fraction);
}

static Table
table_new (SumiSpan span, guint size, guint out_size)
{
  Table t = { g_new0 (Tap, out_size), g_array_new (FALSE, FALSE, sizeof (float)) };
  double step = span.length / out_size;

  for (guint i = 0; i < out_size; i++)
    {
      Tap *tap = &t.taps[i];

      tap->weights = t.weights->len;
      if (step > 1)
        add_area (&t, tap, span.start + i * step, MIN (span.start + (i + 1) * step, size), size);
      else
        add_linear (&t, tap, span.start + (i + 0.5) * step, size);
    }
  return t;
}

/* out (out_w,C) from a row (w,C) */
static void
resample_row (const Table *t, const guint8 *row, guint channels, guint out_width, float *out)
{
  for (guint x = 0; x < out_width; x++)
    {
      const Tap *tap = &t->taps[x];
      const float *weights = &g_array_index (t->weights, float, tap->weights);

      for (guint c = 0; c < channels; c++)
        {
          float sum = 0;
          for (guint i = 0; i < tap->n; i++)
            sum += weights[i] * row[(gsize)(tap->first + i) * channels + c];
          out[(gsize)x * channels + c] = sum;
        }
    }
}

/* out (n) from rows (H,n) */
static void
resample_column (const Tap *tap, const float *weights, const float *rows, gsize n, guint8 *out)
{
  for (gsize x = 0; x < n; x++)
    {
      float sum = 0;
      for (guint i = 0; i < tap->n; i++)
        sum += weights[i] * rows[(tap->first + i) * n + x];
      out[x] = (guint8)lrintf (CLAMP (sum, 0, 255));
    }
}

SumiTensor *
sumi_resample (const SumiTensor *image, SumiSpan rows, SumiSpan columns, guint height, guint width, GError **error)
{
  const SumiShape *shape = sumi_tensor_get_shape (image);
  guint h = (guint)shape->d[0], w = (guint)shape->d[1], channels = (guint)shape->d[2];
  const guint8 *from = sumi_tensor_peek (image);
  gsize n = (gsize)width * channels;
  g_auto (Table) across = table_new (columns, w, width), down = table_new (rows, h, height);
  g_autoptr (SumiTensor) narrow = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (h, (gint64)n), error);
  SumiTensor *out;

  if (narrow == NULL)
    return NULL;
  out = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (height, width, channels), error);
  if (out == NULL)
    return NULL;
  for (guint y = 0; y < h; y++)
    resample_row (&across, from + (gsize)y * w * channels, channels, width, sumi_tensor_poke_f32 (narrow) + y * n);
  for (guint y = 0; y < height; y++)
    resample_column (&down.taps[y], &g_array_index (down.weights, float, down.taps[y].weights),
                     sumi_tensor_peek_f32 (narrow), n, (guint8 *)sumi_tensor_poke (out) + y * n);
  return out;
}
