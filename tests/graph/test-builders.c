/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Shape rules: what each builder gives, and what it refuses. */
#include "graph/graph.h"

#define S(...) (&SUMI_SHAPE (__VA_ARGS__))
#define AX(...) ((const guint8[]){ __VA_ARGS__ })
#define CONV(...) (&(SumiAttr){ .conv = { __VA_ARGS__ } })
#define NORM(...) (&(SumiAttr){ .norm = { __VA_ARGS__ } })
#define SDPA(...) (&(SumiAttr){ .sdpa = { __VA_ARGS__ } })

static SumiNode *
input (SumiGraph *g, SumiNodeKind kind, const SumiShape *shape)
{
  g_autofree char *name = g_strdup_printf ("x%u", sumi_graph_get_size (g));

  return sumi_input (g, name, kind, shape);
}

#define X(...) input (g, SUMI_REAL, S (__VA_ARGS__))
#define I(...) input (g, SUMI_INDEX, S (__VA_ARGS__))

static void
expect_shape (SumiGraph *g, const SumiNode *n, const char *expected)
{
  g_autofree char *found = sumi_shape_to_string (&n->shape);
  g_autoptr (GError) error = NULL;

  sumi_graph_check (g, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (found, ==, expected);
}

#define GIVES(shape, ...)                                                                                              \
  {                                                                                                                    \
    g_autoptr (SumiGraph) g = sumi_graph_new ();                                                                       \
    expect_shape (g, __VA_ARGS__, shape);                                                                              \
  }

static void
test_shapes (void)
{
  GIVES ("(2,3,4)", sumi_add (g, X (2, 1, 4), X (3, 1)));
  GIVES ("()", sumi_mul (g, sumi_fill (g, 1, &SUMI_SCALAR), sumi_fill (g, 2, &SUMI_SCALAR)));
  GIVES ("(5,2)", sumi_act (g, X (5, 2), SUMI_ACT_GELU));
  GIVES ("(6,4)", sumi_reshape (g, X (2, 3, 4), S (6, 4)));
  GIVES ("(4,2,3)", sumi_permute (g, X (2, 3, 4), AX (2, 0, 1)));
  GIVES ("(2,8,4)", sumi_concat (g, 1, (SumiNode *[]){ X (2, 3, 4), X (2, 5, 4) }, 2));
  GIVES ("(2,3,2)", sumi_slice (g, X (2, 3, 4), 2, 2, 2));
  GIVES ("(2,6,4)", sumi_pad (g, X (2, 3, 4), 1, 1, 2));
  GIVES ("(5,3,4)", sumi_broadcast (g, X (3, 1), S (5, 3, 4)));
  GIVES ("(3)", sumi_sum (g, X (2, 3, 4), 5, FALSE));
  GIVES ("(1,3,1)", sumi_sum (g, X (2, 3, 4), 5, TRUE));
  GIVES ("()", sumi_mean (g, X (2, 3, 4), 7, FALSE));
  GIVES ("(6,2,5,9)", sumi_matmul (g, X (6, 1, 7, 5), X (2, 9, 7), TRUE, TRUE));
  GIVES ("(2,3,9)", sumi_linear (g, X (2, 3, 5), X (9, 5), X (9)));
  GIVES ("(1,7,4,5)", sumi_conv2d (g, X (1, 3, 8, 9), X (7, 3, 3, 3), NULL, 2, 1));
  GIVES ("(1,7,4,4)", sumi_conv2d_padded (g, X (1, 3, 8, 8), X (7, 3, 3, 3), X (7), 2, 0, 0, 1, 1));
  GIVES ("(2,3,9,8)", sumi_conv2d_bwd_data (g, X (2, 7, 5, 4), X (7, 3, 3, 3), 9, 8, CONV (2, 1, 1, 1, 1)));
  GIVES ("(7,3,3,5)", sumi_conv2d_bwd_weights (g, X (2, 3, 9, 8), X (2, 7, 7, 4), 3, 5, CONV (1, 0, 0, 0, 0)));
  GIVES ("(2,5,6,8)", sumi_conv_transpose2d (g, X (2, 4, 3, 4), X (4, 5, 2, 2), X (5), 2));
  GIVES ("(1,2,3,2)", sumi_max_pool2d (g, X (1, 2, 7, 5), 2, 2));
  GIVES ("(1,2,7,5)", sumi_max_pool2d_bwd (g, X (1, 2, 7, 5), X (1, 2, 3, 2), 2, 2));
  GIVES ("(1,2,6,9)", sumi_upsample (g, X (1, 2, 3, 4), 6, 9));
  GIVES ("(1,2,3,4)", sumi_upsample_bwd (g, X (1, 2, 6, 9), 3, 4));
  GIVES ("(2,6,3)", sumi_group_norm (g, X (2, 6, 3), X (6), X (6), 3, 1e-5, SUMI_ACT_SILU));
  GIVES ("(2,6)", sumi_group_norm_bwd_w (g, X (4, 6, 3), X (6), X (6), X (4, 6, 3), NORM (2, 1e-5, SUMI_ACT_NONE)));
  GIVES ("(2,6)", sumi_layer_norm_bwd_w (g, X (4, 3, 6), X (4, 3, 6), NORM (1, 1e-5, SUMI_ACT_NONE)));
  GIVES ("(2,5,12)", sumi_sdpa (g, X (2, 5, 12), X (2, 7, 12), X (2, 7, 12), 3, FALSE, 0));
  GIVES ("(2,19,12)", sumi_sdpa_bwd (g, X (2, 5, 12), X (2, 7, 12), X (2, 7, 12), X (2, 5, 12), SDPA (3, FALSE, 0)));
  GIVES ("(2,7,16)", sumi_embedding (g, X (49, 16), I (2, 7)));
  GIVES ("(49,16)", sumi_embedding_bwd (g, I (2, 7), X (2, 7, 16), 49));
  GIVES ("(3,32)", sumi_timestep_embedding (g, X (3), 32, TRUE, 0, 10000));
}

/* Builders that would change nothing give their source back. */
static void
test_nothing_to_do (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *x = X (2, 3, 4, 5);

  g_assert_true (sumi_affine (g, x, 1, 0) == x);
  g_assert_true (sumi_act (g, x, SUMI_ACT_NONE) == x);
  g_assert_true (sumi_reshape (g, x, S (2, 3, 4, 5)) == x);
  g_assert_true (sumi_permute (g, x, AX (0, 1, 2, 3)) == x);
  g_assert_true (sumi_slice (g, x, 1, 0, 3) == x);
  g_assert_true (sumi_pad (g, x, 1, 0, 0) == x);
  g_assert_true (sumi_broadcast (g, x, S (2, 3, 4, 5)) == x);
  g_assert_true (sumi_sum (g, x, 0, FALSE) == x);
  g_assert_true (sumi_upsample (g, x, 4, 5) == x);
  g_assert_cmpuint (sumi_graph_get_size (g), ==, 1);
}

/* The first mistake is remembered with its scope; a mistake node goes through every builder without harm. */
static void
expect_refused (SumiGraph *g, const SumiNode *n, const char *call)
{
  g_autoptr (GError) error = NULL;

  g_assert_nonnull (n);
  if (sumi_graph_check (g, &error))
    g_error ("%s: was accepted", call);
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
  g_assert_true (g_str_has_prefix (error->message, "unet/down.1: "));
}

#define REFUSED(...)                                                                                                   \
  {                                                                                                                    \
    g_autoptr (SumiGraph) g = sumi_graph_new ();                                                                       \
    sumi_graph_push_scope (g, "unet");                                                                                 \
    sumi_graph_push_scope (g, "down.1");                                                                               \
    expect_refused (g, __VA_ARGS__, #__VA_ARGS__);                                                                     \
  }

static void
test_mistakes_small (void)
{
  REFUSED (sumi_add (g, X (2, 3), X (2, 4)));
  REFUSED (sumi_add (g, X (2, 3), I (2, 3)));
  REFUSED (sumi_affine (g, I (2), 2, 0));
  REFUSED (sumi_act (g, X (2), SUMI_N_ACTS));
  REFUSED (sumi_act_bwd (g, X (2, 3), X (3), SUMI_ACT_RELU));
  REFUSED (sumi_reshape (g, X (2, 3), S (7)));
  REFUSED (sumi_reshape (g, X (2, 3), S (-2, -3)));
  REFUSED (sumi_reshape (g, X (2, 3), &(SumiShape){ .rank = 9 }));
  REFUSED (sumi_permute (g, X (2, 3), AX (0, 0)));
  REFUSED (sumi_permute (g, X (2, 3), AX (0, 2)));
  REFUSED (sumi_concat (g, 2, (SumiNode *[]){ X (2, 3), X (2, 3) }, 2));
  REFUSED (sumi_concat (g, 0, (SumiNode *[]){ X (2, 3), X (2, 4) }, 2));
  REFUSED (sumi_concat (g, 1, (SumiNode *[]){ X (2, 3), X (2) }, 2));
  REFUSED (sumi_concat (g, 0, (SumiNode *[]){ X (2, 3) }, 1));
  REFUSED (sumi_slice (g, X (2, 3), 1, 1, 3));
  REFUSED (sumi_slice (g, X (2, 3), 1, -1, 2));
  REFUSED (sumi_slice (g, X (2, 3), 1, 1, 0));
  REFUSED (sumi_slice (g, X (2, 3), 1, G_MAXINT64, G_MAXINT64));
  REFUSED (sumi_slice (g, X (2, 3), 2, 0, 1));
  REFUSED (sumi_pad (g, X (2, 3), 1, -1, 0));
  REFUSED (sumi_pad (g, X (2, 3), 1, 0, G_MAXINT64));
  REFUSED (sumi_broadcast (g, X (2, 3), S (2, 4)));
  REFUSED (sumi_broadcast (g, X (2, 3), S (3)));
  REFUSED (sumi_sum (g, X (2, 3), 4, FALSE));
  REFUSED (sumi_softmax (g, sumi_fill (g, 0, &SUMI_SCALAR)));
  REFUSED (sumi_input (g, "x", SUMI_REAL, S (2, 0)));
  REFUSED (sumi_input (g, "x", SUMI_REAL, S (2, -3)));
  REFUSED (sumi_input (g, "x", SUMI_REAL, S (G_MAXINT64, 3)));
  REFUSED (sumi_input (g, "x", SUMI_REAL, S (1 << 30, 1 << 30)));
  REFUSED (sumi_fill (g, 0, &(SumiShape){ .rank = 9 }));
}

static void
test_mistakes_coarse (void)
{
  REFUSED (sumi_matmul (g, X (2, 3), X (4, 5), FALSE, FALSE));
  REFUSED (sumi_matmul (g, X (3), X (3, 5), FALSE, FALSE));
  REFUSED (sumi_matmul (g, X (2, 2, 3), X (3, 3, 5), FALSE, FALSE));
  REFUSED (sumi_linear (g, X (2, 640), X (640, 320), NULL));
  REFUSED (sumi_linear (g, X (2, 3), X (4, 3), X (3)));
  REFUSED (sumi_conv2d (g, X (1, 3, 4, 4), X (5, 4, 3, 3), NULL, 1, 1));
  REFUSED (sumi_conv2d (g, X (1, 3, 4, 4), X (5, 3, 3, 3), NULL, 0, 1));
  REFUSED (sumi_conv2d (g, X (1, 3, 2, 2), X (5, 3, 3, 3), NULL, 1, 0));
  REFUSED (sumi_conv2d (g, X (3, 4, 4), X (5, 3, 3, 3), NULL, 1, 1));
  REFUSED (sumi_conv2d (g, X (1, 3, 4, 4), X (5, 3, 3, 3), X (3), 1, 1));
  REFUSED (sumi_conv2d_bwd_data (g, X (1, 5, 4, 4), X (5, 3, 3, 3), 5, 4, CONV (1, 1, 1, 1, 1)));
  REFUSED (sumi_conv2d_bwd_data (g, X (1, 5, 4, 4), X (5, 3, 3, 3), G_MAXINT64, 4, CONV (1, 1, 1, 1, 1)));
  REFUSED (sumi_conv2d_bwd_weights (g, X (1, 3, 4, 4), X (1, 5, 4, 4), 3, 1, CONV (1, 1, 1, 1, 1)));
  REFUSED (sumi_conv2d_bwd_weights (g, X (1, 3, 4, 4), X (1, 5, 4, 4), 0, 3, CONV (1, 1, 1, 1, 1)));
  REFUSED (sumi_conv_transpose2d (g, X (1, 3, 4, 4), X (4, 5, 2, 2), NULL, 2));
  REFUSED (sumi_conv_transpose2d (g, X (1, 3, 4, 4), X (3, 5, 2, 2), X (4), 2));
  REFUSED (sumi_conv_transpose2d (g, X (1, 3, 4, 4), X (3, 5, 2, 2), NULL, 0));
  REFUSED (sumi_max_pool2d (g, X (1, 3, 4, 1), 2, 2));
  REFUSED (sumi_max_pool2d (g, X (1, 3, 4, 4), 2, 0));
  REFUSED (sumi_max_pool2d_bwd (g, X (1, 3, 4, 4), X (1, 3, 4, 4), 2, 2));
  REFUSED (sumi_upsample (g, X (1, 3, 4, 4), 0, 4));
  REFUSED (sumi_upsample (g, X (1, 3, 4, 4), G_MAXINT64, 4));
  REFUSED (sumi_group_norm (g, X (2, 6, 3), X (6), X (6), 4, 1e-5, SUMI_ACT_NONE));
  REFUSED (sumi_group_norm (g, X (2, 6, 3), X (6), X (6), 0, 1e-5, SUMI_ACT_NONE));
  REFUSED (sumi_group_norm (g, X (2, 6, 3), X (6), X (3), 3, 1e-5, SUMI_ACT_NONE));
  REFUSED (sumi_group_norm (g, X (2, 6, 3), X (6), X (6), 3, 1e-5, SUMI_ACT_GELU));
  REFUSED (sumi_group_norm (g, X (6), X (6), X (6), 3, 1e-5, SUMI_ACT_NONE));
  REFUSED (sumi_layer_norm (g, X (2, 6), X (6), X (2), 1e-5));
  REFUSED (sumi_sdpa (g, X (2, 5, 12), X (2, 7, 12), X (2, 6, 12), 3, FALSE, 0));
  REFUSED (sumi_sdpa (g, X (2, 5, 12), X (1, 7, 12), X (1, 7, 12), 3, FALSE, 0));
  REFUSED (sumi_sdpa (g, X (2, 5, 12), X (2, 7, 12), X (2, 7, 12), 5, FALSE, 0));
  REFUSED (sumi_sdpa (g, X (2, 5, 12), X (2, 7, 12), X (2, 7, 12), 0, FALSE, 0));
  REFUSED (sumi_embedding (g, X (49, 16), X (2, 7)));
  REFUSED (sumi_embedding (g, X (49), I (2, 7)));
  REFUSED (sumi_embedding_bwd (g, I (2, 7), X (2, 6, 16), 49));
  REFUSED (sumi_embedding_bwd (g, I (2, 7), X (2, 7, 16), 0));
  REFUSED (sumi_timestep_embedding (g, X (3), 7, TRUE, 0, 10000));
  REFUSED (sumi_timestep_embedding (g, X (3), 8, TRUE, 4, 10000));
  REFUSED (sumi_timestep_embedding (g, X (3, 1), 8, TRUE, 0, 10000));
}

/* What a whole network does after a mistake: goes on, to any depth, and reports the first one only. */
static void
test_goes_on (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (GError) error = NULL;
  SumiNode *bad, *x;

  sumi_graph_push_scope (g, "unet/down.1/attn.0");
  sumi_graph_push_scope (g, "to_q");
  bad = sumi_linear (g, X (2, 320), X (320, 640), NULL);
  sumi_graph_pop_scope (g);
  x = sumi_group_norm (g, sumi_conv2d (g, bad, X (5, 3, 3, 3), X (5), 1, 1), X (5), X (5), 5, 1e-5, SUMI_ACT_SILU);
  x = sumi_sdpa (g, x, x, x, 2, FALSE, 0);
  x = sumi_upsample (g, sumi_max_pool2d (g, x, 2, 2), 2 * x->shape.d[2], 2 * x->shape.d[3]);
  x = sumi_permute (g, sumi_embedding (g, x, x), AX (0, 2, 1));
  x = sumi_layer_norm (g, sumi_mean (g, x, 1u << 1, FALSE), x, x, 1e-5);
  sumi_graph_output (g, "y", sumi_reshape (g, x, S (x->shape.d[0], 64)));

  g_assert_false (sumi_graph_check (g, &error));
  g_assert_cmpstr (error->message, ==, "unet/down.1/attn.0/to_q: linear: input: got (2,320), want (2,640)");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/builders/shapes", test_shapes);
  g_test_add_func ("/builders/nothing-to-do", test_nothing_to_do);
  g_test_add_func ("/builders/mistakes-small", test_mistakes_small);
  g_test_add_func ("/builders/mistakes-coarse", test_mistakes_coarse);
  g_test_add_func ("/builders/goes-on", test_goes_on);
  return g_test_run ();
}
