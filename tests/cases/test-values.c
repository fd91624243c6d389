/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What ref computes, against values worked out by hand or known from elsewhere: the other tests of the case table
 * compare things that could all be wrong together. */
#include <math.h>

#include "engine/engine.h"

#define S(...) (&SUMI_SHAPE (__VA_ARGS__))
#define V(...) ((const double[]){ __VA_ARGS__ })

static GPtrArray *values; /* SumiTensor*, of the inputs in the order they were built */

/* An input with these values. */
static SumiNode *
in (SumiGraph *g, const SumiShape *shape, const double *x)
{
  g_autofree char *name = g_strdup_printf ("x%u", values->len);
  SumiTensor *t = sumi_tensor_new (SUMI_F64, shape, NULL);

  for (gint64 i = 0; i < sumi_shape_numel (shape); i++)
    ((double *)sumi_tensor_poke (t))[i] = x[i];
  g_ptr_array_add (values, t);
  return sumi_input (g, name, SUMI_REAL, shape);
}

/* An input that counts: start, start + 1, … */
static SumiNode *
counting (SumiGraph *g, const SumiShape *shape, double start)
{
  g_autofree double *x = g_new (double, sumi_shape_numel (shape));

  for (gint64 i = 0; i < sumi_shape_numel (shape); i++)
    x[i] = start + (double)i;
  return in (g, shape, x);
}

static void
expect (SumiGraph *g, SumiNode *y, gint64 n, const double *expected)
{
  g_autoptr (SumiEngine) e = sumi_engine_open ("ref", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiPlan) p = NULL;
  g_autoptr (SumiTensor) t = NULL;

  sumi_graph_output (g, "y", y);
  p = sumi_engine_compile (e, g, &(SumiCompileOptions){ .dtype = SUMI_F64 }, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < values->len; i++)
    {
      g_autofree char *name = g_strdup_printf ("x%u", i);
      sumi_plan_set (p, name, values->pdata[i], &error);
      g_assert_no_error (error);
    }
  sumi_plan_run (p, NULL, &error);
  g_assert_no_error (error);
  t = sumi_plan_get (p, "y", &error);
  g_assert_no_error (error);
  g_assert_cmpint (sumi_tensor_get_numel (t), ==, n);
  for (gint64 i = 0; i < n; i++)
    g_assert_cmpfloat_with_epsilon (((const double *)sumi_tensor_peek (t))[i], expected[i], 1e-9);
  g_ptr_array_set_size (values, 0);
}

#define EXPECT(node, ...)                                                                                              \
  {                                                                                                                    \
    g_autoptr (SumiGraph) g = sumi_graph_new ();                                                                       \
    expect (g, node, G_N_ELEMENTS (V (__VA_ARGS__)), V (__VA_ARGS__));                                                 \
  }

static void
test_elementwise (void)
{
  EXPECT (sumi_sub (g, in (g, S (2), V (5, 7)), in (g, S (2, 1), V (1, 2))), 4, 6, 3, 5);
  EXPECT (sumi_div (g, in (g, S (2), V (1, 9)), in (g, S (2), V (4, 3))), 0.25, 3);
  EXPECT (sumi_affine (g, in (g, S (2), V (1, -2)), 3, 0.5), 3.5, -5.5);
  EXPECT (sumi_act (g, in (g, S (3), V (-1, 0, 2)), SUMI_ACT_RELU), 0, 0, 2);
  EXPECT (sumi_act (g, in (g, S (2), V (1, -1)), SUMI_ACT_SILU), 0.7310585786300049, -0.2689414213699951);
  EXPECT (sumi_act (g, in (g, S (2), V (1, -1)), SUMI_ACT_GELU), 0.8413447460685429, -0.15865525393145707);
  EXPECT (sumi_act (g, in (g, S (1), V (1)), SUMI_ACT_QUICK_GELU), 0.8457957659328212);
  EXPECT (sumi_act (g, in (g, S (2), V (0, -800)), SUMI_ACT_SIGMOID), 0.5, 0);
}

static void
test_movement (void)
{
  EXPECT (sumi_permute (g, counting (g, S (1, 2, 3), 0), (const guint8[]){ 2, 0, 1 }), 0, 3, 1, 4, 2, 5);
  EXPECT (sumi_slice (g, counting (g, S (2, 3), 0), 1, 1, 2), 1, 2, 4, 5);
  EXPECT (sumi_pad (g, counting (g, S (1, 2), 1), 1, 1, 2), 0, 1, 2, 0, 0);
  EXPECT (sumi_concat (g, 1, (SumiNode *[]){ counting (g, S (2, 1), 0), counting (g, S (2, 2), 5) }, 2), 0, 5, 6, 1, 7,
          8);
  EXPECT (sumi_sum (g, counting (g, S (2, 3), 0), 1u << 0, FALSE), 3, 5, 7);
  EXPECT (sumi_mean (g, counting (g, S (2, 3), 0), 1u << 1, TRUE), 1, 4);
}

static void
test_products (void)
{
  EXPECT (sumi_matmul (g, counting (g, S (2, 3), 1), counting (g, S (3, 2), 1), FALSE, FALSE), 22, 28, 49, 64);
  EXPECT (sumi_matmul (g, counting (g, S (2, 3), 1), counting (g, S (2, 3), 1), FALSE, TRUE), 14, 32, 32, 77);
  EXPECT (sumi_linear (g, counting (g, S (2), 1), counting (g, S (3, 2), 1), in (g, S (3), V (10, 20, 30))), 15, 31,
          47);
  /* cross-correlation: the kernel is not turned; padding above and on the left only */
  EXPECT (sumi_conv2d_padded (g, counting (g, S (1, 1, 2, 2), 1), in (g, S (1, 1, 2, 2), V (1, 10, 100, 1000)),
                              in (g, S (1), V (0.5)), 1, 1, 1, 0, 0),
          1000.5, 2100.5, 3010.5, 4321.5);
  EXPECT (sumi_conv2d (g, counting (g, S (1, 2, 3, 3), 1), in (g, S (1, 2, 1, 1), V (1, 100)), NULL, 2, 0), 1001, 1203,
          1607, 1809);
  EXPECT (sumi_conv_transpose2d (g, in (g, S (1, 1, 1, 2), V (1, 2)), counting (g, S (1, 1, 2, 2), 1), NULL, 2), 1, 2,
          2, 4, 3, 4, 6, 8);
}

static void
test_pictures (void)
{
  EXPECT (sumi_max_pool2d (g, counting (g, S (1, 1, 3, 5), 0), 2, 2), 6, 8);
  /* of equal maxima the first one takes all */
  EXPECT (sumi_max_pool2d_bwd (g, in (g, S (1, 1, 2, 2), V (0, 7, 7, 7)), in (g, S (1, 1, 1, 1), V (3)), 2, 2), 0, 3, 0,
          0);
  EXPECT (sumi_upsample (g, counting (g, S (1, 1, 1, 3), 0), 1, 5), 0, 0, 1, 1, 2);
  EXPECT (sumi_upsample_bwd (g, counting (g, S (1, 1, 1, 5), 0), 1, 3), 1, 5, 4);
}

static void
test_norms (void)
{
  const double s = 1 / sqrt (1.25); /* of four numbers in a row, with variance 5/4 */

  EXPECT (sumi_group_norm (g, counting (g, S (1, 4, 2), 0), in (g, S (4), V (1, 2, 3, 4)),
                           in (g, S (4), V (0, 0, 1, 1)), 2, 0, SUMI_ACT_NONE),
          -1.5 * s, -0.5 * s, s, 3 * s, 1 - 4.5 * s, 1 - 1.5 * s, 1 + 2 * s, 1 + 6 * s);
  EXPECT (
      sumi_layer_norm (g, counting (g, S (1, 4), 7), in (g, S (4), V (1, 1, 2, 1)), in (g, S (4), V (0, 5, 0, 0)), 0),
      -1.5 * s, 5 - 0.5 * s, s, 1.5 * s);
  EXPECT (sumi_group_norm (g, in (g, S (1, 1, 2), V (-1, 1)), in (g, S (1), V (2)), in (g, S (1), V (0)), 1, 3,
                           SUMI_ACT_SILU),
          -0.2689414213699951, 0.7310585786300049);
}

static void
test_attention (void)
{
  const double log3 = log (3);

  EXPECT (sumi_softmax (g, in (g, S (2, 2), V (0, log3, 1000, 1000))), 0.25, 0.75, 0.5, 0.5);
  /* two heads of one channel: scores 0 and log 3 in the first, equal ones in the second */
  EXPECT (sumi_sdpa (g, in (g, S (1, 1, 2), V (1, 0)), in (g, S (1, 2, 2), V (0, 5, log3, 6)),
                     in (g, S (1, 2, 2), V (4, 10, 8, 20)), 2, FALSE, 0),
          7, 15);
  /* d = 4: the scale is 1/2 */
  EXPECT (sumi_sdpa (g, in (g, S (1, 1, 4), V (2, 0, 0, 0)), in (g, S (1, 2, 4), V (0, 0, 0, 0, log3, 0, 0, 0)),
                     in (g, S (1, 2, 4), V (4, 0, 0, 0, 8, 0, 0, 1)), 1, FALSE, 0),
          7, 0, 0, 0.75);
  EXPECT (sumi_sdpa (g, in (g, S (1, 3, 1), V (0, 0, 0)), in (g, S (1, 3, 1), V (1, 2, 3)),
                     in (g, S (1, 3, 1), V (1, 3, 8)), 1, TRUE, 0),
          1, 2, 4);
}

static void
test_timestep_embedding (void)
{
  EXPECT (sumi_timestep_embedding (g, in (g, S (1), V (2)), 4, TRUE, 0, 10000), cos (2), cos (0.02), sin (2),
          sin (0.02));
  EXPECT (sumi_timestep_embedding (g, in (g, S (1), V (2)), 4, FALSE, 1, 100), sin (2), sin (0.02), cos (2),
          cos (0.02));
}

int
main (int argc, char **argv)
{
  int status;

  g_test_init (&argc, &argv, NULL);
  values = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_tensor_unref);
  g_test_add_func ("/values/elementwise", test_elementwise);
  g_test_add_func ("/values/movement", test_movement);
  g_test_add_func ("/values/products", test_products);
  g_test_add_func ("/values/pictures", test_pictures);
  g_test_add_func ("/values/norms", test_norms);
  g_test_add_func ("/values/attention", test_attention);
  g_test_add_func ("/values/timestep-embedding", test_timestep_embedding);
  status = g_test_run ();
  g_ptr_array_unref (values);
  return status;
}
