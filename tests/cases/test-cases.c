/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Runs the case table: the engines against each other, gradients against finite differences, the same bits whatever
 * the number of threads; and looks for gaps in the table. */
#include <math.h>
#include <string.h>

#include "case.h"

/* ---- running a graph ---- */

typedef struct
{
  SumiDType dtype;
  double rel, rms; /* passes: |found - expected| <= rel |expected| + rms sqrt (n), Euclidean norms */
} Tolerance;

/* NULL, and the test marked as skipped, when this build has no such engine. */
static SumiEngine *
open_or_skip (const char *name)
{
  g_autoptr (GError) error = NULL;
  SumiEngine *e = sumi_engine_open (name, &error);

  if (g_error_matches (error, SUMI_ERROR, SUMI_ERROR_USAGE))
    g_test_skip ("this build has no such engine");
  else
    g_assert_no_error (error);
  return e;
}

static SumiPlan *
compile (SumiEngine *e, SumiGraph *g, const SumiCompileOptions *options)
{
  g_autoptr (GError) error = NULL;
  SumiPlan *p = sumi_engine_compile (e, g, options, &error);

  g_assert_no_error (error);
  return p;
}

static void
set (SumiPlan *p, const char *name, const SumiTensor *value)
{
  g_autoptr (GError) error = NULL;

  sumi_plan_set (p, name, value, &error);
  g_assert_no_error (error);
}

static void
set_all (SumiPlan *p, SumiGraph *g, const SumiCase *c)
{
  for (guint id = 0; id < sumi_graph_get_size (g); id++)
    {
      const SumiNode *n = sumi_graph_peek (g, id);

      if (n->name)
        {
          g_autoptr (SumiTensor) value = sumi_case_value (c, n);

          set (p, n->name, value);
        }
    }
}

static void
run (SumiPlan *p)
{
  g_autoptr (GError) error = NULL;

  sumi_plan_run (p, NULL, &error);
  g_assert_no_error (error);
}

static SumiTensor *
get (SumiPlan *p, const char *output)
{
  g_autoptr (GError) error = NULL;
  SumiTensor *t = sumi_plan_get (p, output, &error);

  g_assert_no_error (error);
  return t;
}

static SumiPlan *
run_case (SumiEngine *e, SumiGraph *g, const SumiCase *c, const SumiCompileOptions *options)
{
  SumiPlan *p = compile (e, g, options);

  set_all (p, g, c);
  run (p);
  return p;
}

/* ---- gradients against finite differences, in f64 ---- */

static double
loss_at (SumiPlan *p, const char *leaf, const SumiShape *shape, const double *x)
{
  gsize size = (gsize)sumi_shape_numel (shape) * sizeof (double);
  g_autoptr (GBytes) bytes = g_bytes_new (x, size);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensor) value = sumi_tensor_new_bytes (SUMI_F64, shape, bytes, &error);
  g_autoptr (SumiTensor) loss = NULL;

  g_assert_no_error (error);
  set (p, leaf, value);
  run (p);
  loss = get (p, "loss");
  return *(const double *)sumi_tensor_peek (loss);
}

/* The slope of the loss along v by central differences. */
static double
slope_along (SumiPlan *p, const SumiNode *leaf, const double *x, const double *v, double step)
{
  gint64 n = sumi_shape_numel (&leaf->shape);
  g_autofree double *moved = g_new (double, n);
  double side[2], back;

  for (guint s = 0; s < 2; s++)
    {
      for (gint64 i = 0; i < n; i++)
        moved[i] = x[i] + (s ? step : -step) * v[i];
      side[s] = loss_at (p, leaf->name, &leaf->shape, moved);
    }
  back = loss_at (p, leaf->name, &leaf->shape, x);
  g_assert_true (isfinite (back));
  return (side[1] - side[0]) / (2 * step);
}

/* Every element of the gradient counts in the slope along a random direction. */
static void
check_gradient (const SumiCase *c, SumiPlan *losses, SumiPlan *grads, const SumiNode *leaf)
{
  const double step = 1e-5;
  gint64 n = sumi_shape_numel (&leaf->shape);
  g_autoptr (SumiTensor) value = sumi_case_value (c, leaf);
  g_autoptr (SumiTensor) grad = get (grads, leaf->name);
  const double *g = sumi_tensor_peek (grad);
  g_autofree double *x = g_new (double, n);
  g_autofree double *v = g_new (double, n);
  g_autoptr (GRand) random = g_rand_new_with_seed (g_str_hash (leaf->name));

  sumi_tensor_to_f64 (value, x);
  for (guint round = 0; round < 2; round++)
    {
      double expected, found = 0, norm = 0;

      for (gint64 i = 0; i < n; i++)
        {
          v[i] = g_rand_double_range (random, -1, 1);
          found += g[i] * v[i];
          norm += g[i] * g[i];
        }
      expected = slope_along (losses, leaf, x, v, step);
      if (!(fabs (found - expected) <= 1e-6 * sqrt (norm) + 1e-8))
        {
          g_test_message ("%s: found the slope %.12g, expected %.12g; |gradient| %.6g", leaf->name, found, expected,
                          sqrt (norm));
          g_test_fail ();
        }
    }
}

static void
test_gradient (gconstpointer data)
{
  const SumiCase *c = data;
  SumiCompileOptions options = { .dtype = SUMI_F64 };
  g_autoptr (SumiEngine) e = sumi_engine_open ("ref", NULL);
  g_autoptr (SumiGraph) loss_graph = sumi_case_loss_graph (c);
  g_autoptr (SumiGraph) grad_graph = sumi_case_grad_graph (c);
  g_autoptr (SumiPlan) losses = run_case (e, loss_graph, c, &options);
  g_autoptr (SumiPlan) grads = run_case (e, grad_graph, c, &options);
  g_autoptr (GPtrArray) leaves = sumi_case_real_leaves (loss_graph);

  g_assert_cmpuint (leaves->len, >, 0);
  for (guint i = 0; i < leaves->len; i++)
    check_gradient (c, losses, grads, leaves->pdata[i]);
}

/* ---- one engine against another ---- */

static void
compare_output (SumiPlan *expected, SumiPlan *found, const char *name, const Tolerance *t)
{
  g_autoptr (SumiTensor) a = get (expected, name);
  g_autoptr (SumiTensor) b = get (found, name);
  gint64 n = sumi_tensor_get_numel (a), worst = 0;
  g_autofree double *x = g_new (double, n);
  g_autofree double *y = g_new (double, n);
  double norm = 0, error = 0, most = -1;

  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (a), sumi_tensor_get_shape (b)));
  sumi_tensor_to_f64 (a, x);
  sumi_tensor_to_f64 (b, y);
  for (gint64 i = 0; i < n; i++)
    {
      double d = fabs (x[i] - y[i]);

      norm += x[i] * x[i];
      error += d * d;
      if (!(d <= most))
        {
          most = d;
          worst = i;
        }
    }
  if (sqrt (error) <= t->rel * sqrt (norm) + t->rms * sqrt (n))
    return;

  g_autofree char *shape = sumi_shape_to_string (sumi_tensor_get_shape (a));

  g_test_message ("%s %s: relative error %.3g; element %" G_GINT64_FORMAT ": found %.9g, expected %.9g", name, shape,
                  sqrt (error / norm), worst, y[worst], x[worst]);
  g_test_fail ();
}

static void
compare_graph (const SumiCase *c, SumiGraph *g, SumiEngine *cpu, const Tolerance *t)
{
  g_autoptr (SumiEngine) ref = sumi_engine_open ("ref", NULL);
  SumiCompileOptions options = { .dtype = t->dtype, .poison = TRUE };
  g_autoptr (SumiPlan) expected = run_case (ref, g, c, NULL);
  g_autoptr (SumiPlan) found = run_case (cpu, g, c, &options);

  for (guint i = 0; i < sumi_graph_get_n_outputs (g); i++)
    compare_output (expected, found, sumi_graph_get_output (g, i, NULL), t);
}

static void
compare_case (const SumiCase *c, const char *engine, const Tolerance *t)
{
  g_autoptr (SumiEngine) e = open_or_skip (engine);
  g_autoptr (SumiGraph) g = sumi_case_graph (c);

  if (!e)
    return;
  compare_graph (c, g, e, t);
  if (sumi_case_is_differentiable (c))
    {
      g_autoptr (SumiGraph) grad_graph = sumi_case_grad_graph (c);

      compare_graph (c, grad_graph, e, t);
    }
}

static void
test_cpu_f32 (gconstpointer data)
{
  compare_case (data, "cpu", &(Tolerance){ SUMI_F32, 1e-5, 1e-6 });
}

static void
test_cpu_bf16 (gconstpointer data)
{
  compare_case (data, "cpu", &(Tolerance){ SUMI_BF16, 4e-2, 4e-3 });
}

/* Dead memory that was read after all, or a value that was not written whole, shows as NaN. */
static void
test_ref_poison (gconstpointer data)
{
  compare_case (data, "ref", &(Tolerance){ SUMI_F32, 0, 0 });
}

/* ---- the same bits ---- */

static void
expect_same_bits (SumiPlan *a, SumiPlan *b, const SumiGraph *g, const char *when)
{
  for (guint i = 0; i < sumi_graph_get_n_outputs (g); i++)
    {
      const char *name = sumi_graph_get_output (g, i, NULL);
      g_autoptr (SumiTensor) x = get (a, name);
      g_autoptr (SumiTensor) y = get (b, name);

      if (memcmp (sumi_tensor_peek (x), sumi_tensor_peek (y), sumi_tensor_get_size (x)) != 0)
        {
          g_test_message ("%s: other bits %s", name, when);
          g_test_fail ();
        }
    }
}

static void
check_determinism (SumiEngine *e, const SumiCase *c, SumiGraph *g, SumiDType dtype)
{
  g_autoptr (SumiPlan) one = run_case (e, g, c, &(SumiCompileOptions){ .dtype = dtype, .threads = 1 });

  for (guint threads = 2; threads <= 3; threads++)
    {
      g_autoptr (SumiPlan) more = run_case (e, g, c, &(SumiCompileOptions){ .dtype = dtype, .threads = threads });

      expect_same_bits (one, more, g, threads == 2 ? "with 2 threads" : "with 3 threads");
      run (more);
      expect_same_bits (one, more, g, "in the second run");
    }
}

static void
test_determinism (gconstpointer data)
{
  const SumiCase *c = data;
  g_autoptr (SumiEngine) e = open_or_skip ("cpu");
  g_autoptr (SumiGraph) g = sumi_case_is_differentiable (c) ? sumi_case_grad_graph (c) : sumi_case_graph (c);

  if (!e)
    return;
  check_determinism (e, c, g, SUMI_F32);
  check_determinism (e, c, g, SUMI_BF16);
}

/* ---- gaps ---- */

static gboolean
uses_op (const SumiCase *c)
{
  g_autoptr (SumiGraph) g = sumi_case_graph (c);
  guint n;
  g_autofree SumiNode **nodes = sumi_graph_schedule (g, &n);
  g_autoptr (GError) error = NULL;

  sumi_graph_check (g, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < n; i++)
    if (nodes[i]->op == c->op)
      return TRUE;
  return FALSE;
}

static void
test_no_gaps (void)
{
  guint rows[SUMI_N_OPS] = { 0 }, gradients[SUMI_N_OPS] = { 0 };

  for (guint i = 0; i < sumi_n_cases; i++)
    {
      const SumiCase *c = &sumi_cases[i];

      if (!uses_op (c))
        g_error ("%s/%s does not need such a node", sumi_op_name (c->op), c->name);
      rows[c->op]++;
      gradients[c->op] += sumi_case_is_differentiable (c);
    }
  for (SumiOp op = 0; op < SUMI_N_OPS; op++)
    if (op != SUMI_OP_INPUT && op != SUMI_OP_PARAM)
      {
        if (rows[op] == 0)
          g_error ("%s has no row in cases.def", sumi_op_name (op));
        if (sumi_op_is_differentiable (op) && gradients[op] == 0)
          g_error ("%s has no row with a gradient in cases.def", sumi_op_name (op));
      }
}

int
main (int argc, char **argv)
{
  static const struct
  {
    const char *name;
    GTestDataFunc run;
  } suites[] = {
    { "gradient", test_gradient }, { "ref-poison", test_ref_poison },   { "cpu-f32", test_cpu_f32 },
    { "cpu-bf16", test_cpu_bf16 }, { "determinism", test_determinism },
  };

  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/table/no-gaps", test_no_gaps);
  for (guint s = 0; s < G_N_ELEMENTS (suites); s++)
    for (guint i = 0; i < sumi_n_cases; i++)
      {
        const SumiCase *c = &sumi_cases[i];
        g_autofree char *path = g_strdup_printf ("/%s/%s/%s", suites[s].name, sumi_op_name (c->op), c->name);

        if (suites[s].run != test_gradient || sumi_case_is_differentiable (c))
          g_test_add_data_func (path, c, suites[s].run);
      }
  return g_test_run ();
}
