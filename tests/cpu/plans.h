/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the tests of the cpu engine share: leaves with reproducible values, plans of one graph run in several ways. */
#pragma once

#include <math.h>
#include <string.h>

#include "engine/engine.h"

/* A value in [-1, 1] from two numbers (splitmix64). */
static inline float
plans_value (guint64 seed, guint64 i)
{
  guint64 z = seed * 0x9e3779b97f4a7c15u + (i + 1) * 0xbf58476d1ce4e5b9u;

  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return (float)((double)(z >> 11) / (double)(1ull << 52) - 1);
}

static inline SumiTensor *
plans_tensor (const SumiNode *leaf, guint64 seed)
{
  GError *error = NULL;
  SumiTensor *t = sumi_tensor_new (leaf->kind == SUMI_INDEX ? SUMI_I64 : SUMI_F32, &leaf->shape, &error);

  g_assert_no_error (error);
  for (gint64 i = 0; i < sumi_tensor_get_numel (t); i++)
    if (leaf->kind == SUMI_INDEX)
      ((gint64 *)sumi_tensor_poke (t))[i] = (gint64)(fabsf (plans_value (seed, (guint64)i)) * 3);
    else
      sumi_tensor_poke_f32 (t)[i] = plans_value (seed, (guint64)i);
  return t;
}

static inline void
plans_set_all (SumiPlan *p, SumiGraph *g, guint64 seed)
{
  for (guint i = 0; i < sumi_graph_get_size (g); i++)
    {
      const SumiNode *n = sumi_graph_peek (g, i);

      if (n->name != NULL)
        {
          g_autoptr (SumiTensor) t = plans_tensor (n, seed * 1000 + i);
          GError *error = NULL;

          sumi_plan_set (p, n->name, t, &error);
          g_assert_no_error (error);
        }
    }
}

static inline SumiPlan *
plans_compile (SumiGraph *g, const char *engine, SumiCompileOptions options)
{
  GError *error = NULL;
  g_autoptr (SumiEngine) e = sumi_engine_open (engine, &error);
  SumiPlan *p;

  g_assert_no_error (error);
  p = sumi_engine_compile (e, g, &options, &error);
  g_assert_no_error (error);
  return p;
}

/* Whether the cpu engine computes in BF16 on this processor. */
static inline gboolean
plans_have_bf16 (void)
{
  g_autoptr (SumiEngine) e = sumi_engine_open ("cpu", NULL);
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiPlan) p = NULL;

  sumi_graph_output (g, "y", sumi_fill (g, 1, &SUMI_SHAPE (1)));
  p = sumi_engine_compile (e, g, &(SumiCompileOptions){ .dtype = SUMI_BF16 }, &error);
  if (p == NULL)
    g_assert_error (error, SUMI_ERROR, SUMI_ERROR_ENGINE);
  return p != NULL;
}

static inline void
plans_run (SumiPlan *p)
{
  GError *error = NULL;

  sumi_plan_run (p, NULL, &error);
  g_assert_no_error (error);
}

static inline SumiTensor *
plans_get (SumiPlan *p, const char *output)
{
  GError *error = NULL;
  SumiTensor *t = sumi_plan_get (p, output, &error);

  g_assert_no_error (error);
  return t;
}

/* |a - b| / |b| */
static inline double
plans_distance (const SumiTensor *a, const SumiTensor *b)
{
  const float *x = sumi_tensor_peek_f32 (a), *y = sumi_tensor_peek_f32 (b);
  double difference = 0, size = 0;

  for (gint64 i = 0; i < sumi_tensor_get_numel (b); i++)
    {
      difference += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
      size += (double)y[i] * y[i];
    }
  return size > 0 ? sqrt (difference / size) : sqrt (difference);
}

static inline void
plans_assert_close (SumiPlan *a, SumiPlan *b, SumiGraph *g, double tolerance)
{
  for (guint i = 0; i < sumi_graph_get_n_outputs (g); i++)
    {
      SumiNode *n;
      const char *name = sumi_graph_get_output (g, i, &n);
      g_autoptr (SumiTensor) x = plans_get (a, name);
      g_autoptr (SumiTensor) y = plans_get (b, name);
      double d = plans_distance (x, y);

      if (!(d <= tolerance))
        {
          g_autofree char *message
              = g_strdup_printf ("output %s: distance %g, expected at most %g", name, d, tolerance);

          g_test_message ("%s", message);
          g_test_fail ();
        }
    }
}

/* Same bits in every output. */
static inline void
plans_assert_equal (SumiPlan *a, SumiPlan *b, SumiGraph *g)
{
  for (guint i = 0; i < sumi_graph_get_n_outputs (g); i++)
    {
      const char *name = sumi_graph_get_output (g, i, NULL);
      g_autoptr (SumiTensor) x = plans_get (a, name);
      g_autoptr (SumiTensor) y = plans_get (b, name);

      if (memcmp (sumi_tensor_peek (x), sumi_tensor_peek (y), sumi_tensor_get_size (x)) != 0)
        {
          g_test_message ("output %s differs by %g", name, plans_distance (x, y));
          g_test_fail ();
        }
    }
}

/* The cpu engine, plain and with dead memory poisoned, against the reference. */
static inline void
plans_check (SumiGraph *g, double tolerance)
{
  g_autoptr (SumiPlan) ref = plans_compile (g, "ref", (SumiCompileOptions){ .dtype = SUMI_F32 });
  g_autoptr (SumiPlan) cpu = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = SUMI_F32 });
  g_autoptr (SumiPlan) poisoned = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = SUMI_F32, .poison = TRUE });
  SumiPlan *plans[] = { ref, cpu, poisoned };

  for (guint i = 0; i < G_N_ELEMENTS (plans); i++)
    {
      plans_set_all (plans[i], g, 1);
      plans_run (plans[i]);
    }
  plans_assert_close (cpu, ref, g, tolerance);
  plans_assert_equal (poisoned, cpu, g);
  plans_run (cpu); /* nothing of the first run is left behind */
  plans_assert_equal (cpu, poisoned, g);
}
