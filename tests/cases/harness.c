/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "harness.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"

SumiEngine *
sumi_test_open_or_skip (const char *engine)
{
  g_autoptr (GError) error = NULL;
  SumiEngine *e = sumi_engine_open (engine, &error);

  if (g_error_matches (error, SUMI_ERROR, SUMI_ERROR_USAGE))
    g_test_skip ("this build has no such engine");
  else
    g_assert_no_error (error);
  return e;
}

gboolean
sumi_test_has_dtype (SumiEngine *e, SumiDType dtype)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiCompileOptions options = { .dtype = dtype };
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiPlan) p = NULL;

  sumi_graph_output (g, "y", sumi_fill (g, 1, &SUMI_SHAPE (1)));
  p = sumi_engine_compile (e, g, &options, &error);
  if (!g_error_matches (error, SUMI_ERROR, SUMI_ERROR_ENGINE))
    g_assert_no_error (error);
  return p != NULL;
}

/* ---- values ---- */

static void
fill_real (SumiRng *rng, const char *name, float *values, gint64 n)
{
  if (g_str_has_prefix (name, "positive."))
    for (gint64 i = 0; i < n; i++)
      values[i] = 0.5f + 1.5f * (float)sumi_rng_uniform (rng);
  else if (g_str_has_prefix (name, "time."))
    for (gint64 i = 0; i < n; i++)
      values[i] = (float)sumi_rng_below (rng, 1000);
  else
    sumi_rng_normal (rng, values, n);
}

static void
fill_index (SumiRng *rng, const char *name, gint64 *values, gint64 n)
{
  guint64 rows = g_ascii_strtoull (name + strlen ("ids-"), NULL, 10);

  for (gint64 i = 0; i < n; i++)
    values[i] = (gint64)sumi_rng_below (rng, rows);
}

SumiTensor *
sumi_test_value (const char *key, const SumiNode *leaf)
{
  gint64 n = sumi_shape_numel (&leaf->shape);
  g_autofree char *text = g_strdup_printf ("%s/%s", key, leaf->name);
  g_autoptr (GError) error = NULL;
  SumiTensor *t = sumi_tensor_new (leaf->kind == SUMI_REAL ? SUMI_F32 : SUMI_I64, &leaf->shape, &error);
  SumiRng rng;

  g_assert_no_error (error);
  sumi_rng_seed (&rng, SUMI_RNG_TORCH, g_str_hash (text));
  if (leaf->kind == SUMI_REAL)
    fill_real (&rng, leaf->name, sumi_tensor_poke_f32 (t), n);
  else
    fill_index (&rng, leaf->name, sumi_tensor_poke (t), n);
  return t;
}

/* ---- plans ---- */

void
sumi_test_set (SumiPlan *p, const char *name, const SumiTensor *value)
{
  g_autoptr (GError) error = NULL;

  sumi_plan_set (p, name, value, &error);
  g_assert_no_error (error);
}

void
sumi_test_run (SumiPlan *p)
{
  g_autoptr (GError) error = NULL;

  sumi_plan_run (p, NULL, &error);
  g_assert_no_error (error);
}

SumiTensor *
sumi_test_get (SumiPlan *p, const char *output)
{
  g_autoptr (GError) error = NULL;
  SumiTensor *t = sumi_plan_get (p, output, &error);

  g_assert_no_error (error);
  return t;
}

SumiPlan *
sumi_test_run_graph (SumiEngine *e, SumiGraph *g, const char *key, const SumiCompileOptions *options)
{
  g_autoptr (GError) error = NULL;
  SumiPlan *p = sumi_engine_compile (e, g, options, &error);

  g_assert_no_error (error);
  for (guint id = 0; id < sumi_graph_get_size (g); id++)
    {
      const SumiNode *n = sumi_graph_peek (g, id);

      if (n->name)
        {
          g_autoptr (SumiTensor) value = sumi_test_value (key, n);
          sumi_test_set (p, n->name, value);
        }
    }
  sumi_test_run (p);
  return p;
}

/* ---- comparison ---- */

static void
compare_output (const char *name, const SumiTensor *expected, const SumiTensor *found, SumiTolerance t)
{
  gint64 n = sumi_tensor_get_numel (expected), worst = 0;
  g_autofree double *x = g_new (double, n);
  g_autofree double *y = g_new (double, n);
  double norm = 0, error = 0, most = -1;

  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (expected), sumi_tensor_get_shape (found)));
  sumi_tensor_to_f64 (expected, x);
  sumi_tensor_to_f64 (found, y);
  for (gint64 i = 0; i < n; i++)
    {
      double d = fabs (x[i] - y[i]);

      norm += x[i] * x[i];
      error += d * d;
      if (!(d <= most) && !isnan (most)) /* NaN is worst */
        {
          most = d;
          worst = i;
        }
    }
  if (sqrt (error) <= t.rel * sqrt (norm) + t.rms * sqrt (n))
    return;

  g_autofree char *shape = sumi_shape_to_string (sumi_tensor_get_shape (expected));

  g_test_message ("%s %s: relative error %.3g; element %" G_GINT64_FORMAT ": found %.9g, expected %.9g", name, shape,
                  sqrt (error / norm), worst, y[worst], x[worst]);
  g_test_fail ();
}

void
sumi_test_compare (const SumiGraph *g, SumiPlan *expected, SumiPlan *found, SumiTolerance t)
{
  for (guint i = 0; i < sumi_graph_get_n_outputs (g); i++)
    {
      const char *name = sumi_graph_get_output (g, i, NULL);
      g_autoptr (SumiTensor) x = sumi_test_get (expected, name);
      g_autoptr (SumiTensor) y = sumi_test_get (found, name);

      compare_output (name, x, y, t);
    }
}

void
sumi_test_compare_bits (const SumiGraph *g, SumiPlan *expected, SumiPlan *found, const char *when)
{
  for (guint i = 0; i < sumi_graph_get_n_outputs (g); i++)
    {
      const char *name = sumi_graph_get_output (g, i, NULL);
      g_autoptr (SumiTensor) x = sumi_test_get (expected, name);
      g_autoptr (SumiTensor) y = sumi_test_get (found, name);

      if (memcmp (sumi_tensor_peek (x), sumi_tensor_peek (y), sumi_tensor_get_size (x)) != 0)
        {
          g_test_message ("%s: other bits %s", name, when);
          g_test_fail ();
        }
    }
}
