/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The gradients of the case table against finite differences, both by ref in f64. */
#include <math.h>

#include "case.h"
#include "harness.h"

static double
loss_at (SumiPlan *p, const char *leaf, const SumiShape *shape, const double *x)
{
  gsize size = (gsize)sumi_shape_numel (shape) * sizeof (double);
  g_autoptr (GBytes) bytes = g_bytes_new (x, size);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensor) value = sumi_tensor_new_bytes (SUMI_F64, shape, bytes, &error);
  g_autoptr (SumiTensor) loss = NULL;

  g_assert_no_error (error);
  sumi_test_set (p, leaf, value);
  sumi_test_run (p);
  loss = sumi_test_get (p, "loss");
  return *(const double *)sumi_tensor_peek (loss);
}

/* The slope of the loss along v by central differences. */
static double
slope_along (SumiPlan *p, const SumiNode *leaf, const double *x, const double *v, double step)
{
  gint64 n = sumi_shape_numel (&leaf->shape);
  g_autofree double *moved = g_new (double, n);
  double side[2];

  for (guint s = 0; s < 2; s++)
    {
      for (gint64 i = 0; i < n; i++)
        moved[i] = x[i] + (s ? step : -step) * v[i];
      side[s] = loss_at (p, leaf->name, &leaf->shape, moved);
    }
  loss_at (p, leaf->name, &leaf->shape, x); /* puts x back for the other leaves */
  return (side[1] - side[0]) / (2 * step);
}

/* Every element of the gradient counts in the slope along a random direction. */
static void
check_gradient (const char *path, SumiPlan *losses, SumiPlan *grads, const SumiNode *leaf)
{
  const double step = 1e-5;
  gint64 n = sumi_shape_numel (&leaf->shape);
  g_autoptr (SumiTensor) value = sumi_test_value (path, leaf);
  g_autoptr (SumiTensor) grad = sumi_test_get (grads, leaf->name);
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
  g_autofree char *path = sumi_case_path (c);
  SumiCompileOptions options = { .dtype = SUMI_F64 };
  g_autoptr (SumiEngine) e = sumi_engine_open ("ref", NULL);
  g_autoptr (SumiGraph) loss_graph = sumi_case_loss_graph (c);
  g_autoptr (SumiGraph) grad_graph = sumi_case_grad_graph (c);
  g_autoptr (SumiPlan) losses = sumi_test_run_graph (e, loss_graph, path, &options);
  g_autoptr (SumiPlan) grads = sumi_test_run_graph (e, grad_graph, path, &options);
  g_autoptr (GPtrArray) leaves = sumi_case_real_leaves (loss_graph);

  g_assert_cmpuint (leaves->len, >, 0);
  for (guint i = 0; i < leaves->len; i++)
    check_gradient (path, losses, grads, leaves->pdata[i]);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < sumi_n_cases; i++)
    if (sumi_case_is_differentiable (&sumi_cases[i]))
      sumi_case_add_test ("gradient", &sumi_cases[i], test_gradient);
  return g_test_run ();
}
