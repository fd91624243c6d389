/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which nodes the gradient builds.  That their values are right is for tests/cases. */
#include "graph/autodiff.h"

static guint
count (const SumiGraph *g, guint from, SumiOp op)
{
  guint n = 0;

  for (guint id = from; id < sumi_graph_get_size (g); id++)
    n += sumi_graph_peek (g, id)->op == op;
  return n;
}

static SumiNode *
loss_of (SumiGraph *g, SumiNode *y)
{
  return sumi_sum (g, y, (1u << y->shape.rank) - 1, FALSE);
}

/* The gradient of a low-rank addition never builds that of the frozen convolution weights or of the picture. */
static void
test_only_needed (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *x = sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (1, 3, 4, 4));
  SumiNode *first = sumi_conv2d (g, x, sumi_param (g, "w1", &SUMI_SHAPE (6, 3, 3, 3)), NULL, 1, 1);
  SumiNode *down = sumi_param (g, "down", &SUMI_SHAPE (2, 6, 1, 1));
  SumiNode *low = sumi_conv2d (g, first, down, NULL, 1, 0);
  SumiNode *last = sumi_conv2d (g, low, sumi_param (g, "w2", &SUMI_SHAPE (5, 2, 3, 3)), NULL, 1, 1);
  SumiNode *loss = loss_of (g, last), *grad;
  guint size = sumi_graph_get_size (g);

  sumi_graph_grad (g, loss, &down, 1, &grad);
  g_assert_true (sumi_graph_check (g, NULL));
  g_assert_true (sumi_shape_equal (&grad->shape, &down->shape));
  g_assert_cmpint (grad->op, ==, SUMI_OP_CONV2D_BWD_WEIGHTS);
  g_assert_cmpuint (count (g, size, SUMI_OP_CONV2D_BWD_WEIGHTS), ==, 1);
  g_assert_cmpuint (count (g, size, SUMI_OP_CONV2D_BWD_DATA), ==, 1);
}

static void
test_shared_use_adds (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *x = sumi_param (g, "x", &SUMI_SHAPE (3));
  SumiNode *y = sumi_mul (g, sumi_act (g, x, SUMI_ACT_TANH), x);
  SumiNode *loss = loss_of (g, y), *grad;
  guint size = sumi_graph_get_size (g);

  sumi_graph_grad (g, loss, &x, 1, &grad);
  g_assert_cmpint (grad->op, ==, SUMI_OP_ADD);
  g_assert_cmpuint (count (g, size, SUMI_OP_ADD), ==, 1);
  g_assert_cmpuint (count (g, size, SUMI_OP_ACT_BWD), ==, 1);
}

static void
expect_fill (const SumiNode *n, double value, const SumiShape *shape)
{
  g_assert_cmpint (n->op, ==, SUMI_OP_FILL);
  g_assert_cmpfloat (n->attr.fill.value, ==, value);
  g_assert_true (sumi_shape_equal (&n->shape, shape));
}

/* What the loss does not depend on has gradient 0, whether it came before the loss or after; the loss itself has 1. */
static void
test_without_path (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *x = sumi_param (g, "x", &SUMI_SHAPE (3)), *other = sumi_param (g, "other", &SUMI_SHAPE (2, 5));
  SumiNode *loss = loss_of (g, x), *late = sumi_param (g, "late", &SUMI_SHAPE (4)), *grads[3];

  sumi_graph_grad (g, loss, (SumiNode *[]){ other, late, loss }, 3, grads);
  expect_fill (grads[0], 0, &other->shape);
  expect_fill (grads[1], 0, &late->shape);
  expect_fill (grads[2], 1, &SUMI_SCALAR);
  g_assert_true (sumi_graph_check (g, NULL));
}

/* Gradients of values in the middle stop there. */
static void
test_of_inner_node (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *x = sumi_param (g, "x", &SUMI_SHAPE (3));
  SumiNode *middle = sumi_timestep_embedding (g, x, 4, TRUE, 0, 10000); /* has no gradient, and needs none */
  SumiNode *loss = loss_of (g, sumi_mul (g, middle, middle)), *grad;

  sumi_graph_grad (g, loss, &middle, 1, &grad);
  g_assert_true (sumi_graph_check (g, NULL));
  g_assert_true (sumi_shape_equal (&grad->shape, &middle->shape));
}

static void
test_refusals (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiGraph) h = sumi_graph_new ();
  g_autoptr (GError) no_rule = NULL;
  g_autoptr (GError) no_number = NULL;
  SumiNode *x = sumi_param (g, "x", &SUMI_SHAPE (3)), *y = sumi_param (h, "y", &SUMI_SHAPE (3)), *grad;

  sumi_graph_push_scope (g, "time");
  SumiNode *t = sumi_timestep_embedding (g, x, 4, TRUE, 0, 10000);
  sumi_graph_pop_scope (g);
  sumi_graph_grad (g, loss_of (g, t), &x, 1, &grad);
  g_assert_false (sumi_graph_check (g, &no_rule));
  g_assert_error (no_rule, SUMI_ERROR, SUMI_ERROR_ENGINE);
  g_assert_cmpstr (no_rule->message, ==, "gradient/time: timestep_embedding: has no gradient");
  g_assert_true (sumi_shape_equal (&grad->shape, &x->shape));

  sumi_graph_grad (h, y, &y, 1, &grad);
  g_assert_false (sumi_graph_check (h, &no_number));
  g_assert_error (no_number, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/autodiff/only-needed", test_only_needed);
  g_test_add_func ("/autodiff/shared-use-adds", test_shared_use_adds);
  g_test_add_func ("/autodiff/without-path", test_without_path);
  g_test_add_func ("/autodiff/of-inner-node", test_of_inner_node);
  g_test_add_func ("/autodiff/refusals", test_refusals);
  return g_test_run ();
}
