/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The graph: leaves, outputs, scopes, what is needed, what it costs, how it is drawn. */
#include <string.h>

#include "graph/graph.h"

static void
expect_mistake (const SumiGraph *g, const char *message)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (sumi_graph_check (g, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
  g_assert_cmpstr (error->message, ==, message);
}

static void
test_leaves (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *x = sumi_input (g, "x", SUMI_INDEX, &SUMI_SHAPE (2, 3));
  SumiNode *w = sumi_param (g, "w", &SUMI_SHAPE (3));

  g_assert_true (sumi_graph_lookup (g, "x") == x && x->kind == SUMI_INDEX && x->op == SUMI_OP_INPUT);
  g_assert_true (sumi_param (g, "w", &SUMI_SHAPE (3)) == w && w->kind == SUMI_REAL);
  g_assert_null (sumi_graph_lookup (g, "y"));
  g_assert_true (sumi_graph_check (g, NULL));
  g_assert_nonnull (sumi_param (g, "w", &SUMI_SHAPE (4)));
  expect_mistake (g, "parameter w: got (4), want (3) as before");
}

static void
test_names_taken (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiGraph) h = sumi_graph_new ();
  g_autoptr (SumiGraph) k = sumi_graph_new ();

  sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (2));
  sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (2));
  expect_mistake (g, "input x: got the name twice, want it once");

  sumi_input (h, "x", SUMI_REAL, &SUMI_SHAPE (2));
  sumi_param (h, "x", &SUMI_SHAPE (2));
  expect_mistake (h, "parameter x: got (2), want (2) as before, an input");

  sumi_graph_output (k, "y", sumi_fill (k, 0, &SUMI_SCALAR));
  sumi_graph_output (k, "y", sumi_fill (k, 0, &SUMI_SCALAR));
  expect_mistake (k, "output y: got the name twice, want it once");
}

static void
test_outputs (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *x = sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (2));
  SumiNode *y = sumi_affine (g, x, 2, 0), *unused = sumi_affine (g, x, 3, 0), *node;
  g_autofree gboolean *needed = NULL;

  sumi_graph_output (g, "y", y);
  sumi_graph_output (g, "again", y);
  g_assert_cmpuint (sumi_graph_get_n_outputs (g), ==, 2);
  g_assert_cmpstr (sumi_graph_get_output (g, 1, &node), ==, "again");
  g_assert_true (node == y);
  needed = sumi_graph_needed (g);
  g_assert_true (needed[x->id] && needed[y->id] && !needed[unused->id]);

  sumi_graph_output (g, "ids", sumi_input (g, "ids", SUMI_INDEX, &SUMI_SHAPE (2)));
  expect_mistake (g, "output ids: got whole numbers, want real ones");
}

static void
test_scopes (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *top, *inner, *after;

  top = sumi_fill (g, 0, &SUMI_SCALAR);
  sumi_graph_push_scope (g, "unet");
  sumi_graph_push_scope (g, "");
  sumi_graph_push_scope (g, "down.1");
  inner = sumi_fill (g, 0, &SUMI_SCALAR);
  sumi_graph_pop_scope (g);
  sumi_graph_pop_scope (g);
  after = sumi_fill (g, 0, &SUMI_SCALAR);
  g_assert_cmpstr (top->scope, ==, "");
  g_assert_cmpstr (inner->scope, ==, "unet/down.1");
  g_assert_cmpstr (after->scope, ==, "unet");
  sumi_graph_poison (g, "got %d, want %d", 1, 2);
  sumi_graph_poison (g, "a later mistake");
  expect_mistake (g, "unet: got 1, want 2");
}

static void
test_flops (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *x = sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (2, 3, 8, 8));
  SumiNode *w = sumi_param (g, "w", &SUMI_SHAPE (5, 3, 3, 3));
  SumiNode *conv = sumi_conv2d (g, x, w, NULL, 2, 1); /* 2 x 5 x 4 x 4 of 27 */
  SumiNode *tokens = sumi_reshape (g, conv, &SUMI_SHAPE (2, 16, 5));
  SumiNode *linear = sumi_linear (g, tokens, sumi_param (g, "l", &SUMI_SHAPE (7, 5)), NULL);
  SumiNode *sdpa = sumi_sdpa (g, tokens, tokens, tokens, 1, FALSE, 0);
  SumiNode *gram = sumi_matmul (g, tokens, tokens, TRUE, FALSE); /* 2 x 5 x 5 of 16 */

  g_assert_cmpuint (sumi_node_flops (conv), ==, 2 * 160 * 27);
  g_assert_cmpuint (sumi_node_flops (linear), ==, 2 * 2 * 16 * 7 * 5);
  g_assert_cmpuint (sumi_node_flops (sdpa), ==, 2 * 2 * (2 * 16 * 16 * 5));
  g_assert_cmpuint (sumi_node_flops (gram), ==, 2 * 2 * 5 * 5 * 16);
  g_assert_cmpuint (sumi_node_flops (tokens), ==, 0);
  g_assert_cmpuint (sumi_graph_flops (g), ==, 0);
  sumi_graph_output (g, "gram", gram);
  g_assert_cmpuint (sumi_graph_flops (g), ==, sumi_node_flops (conv) + sumi_node_flops (gram));
}

static void
test_dot (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *x = sumi_input (g, "a \"quoted\" name", SUMI_REAL, &SUMI_SHAPE (2, 3));
  g_autofree char *text = NULL;

  sumi_graph_push_scope (g, "block");
  sumi_graph_output (g, "y", sumi_affine (g, x, 2, 0));
  sumi_affine (g, x, 3, 0);
  text = sumi_graph_to_dot (g);
  g_assert_cmpstr (text, ==,
                   "digraph sumi {\n"
                   "  node [shape=box];\n"
                   "  n0 [label=\"a \\\"quoted\\\" name\\n(2,3)\", tooltip=\"\"];\n"
                   "  n1 [label=\"affine\\n(2,3)\", tooltip=\"block\"];\n"
                   "  n0 -> n1;\n"
                   "  n2 [label=\"affine\\n(2,3)\", tooltip=\"block\", color=grey];\n"
                   "  n0 -> n2;\n"
                   "  out0 [shape=ellipse, label=\"y\"];\n"
                   "  n1 -> out0;\n"
                   "}\n");
}

/* Every op has a name of its own. */
static void
test_op_names (void)
{
  g_autoptr (GHashTable) seen = g_hash_table_new (g_str_hash, g_str_equal);

  for (SumiOp op = 0; op < SUMI_N_OPS; op++)
    g_assert_true (g_hash_table_add (seen, (gpointer)sumi_op_name (op)));
  g_assert_cmpstr (sumi_op_name (SUMI_OP_CONV2D_BWD_DATA), ==, "conv2d_bwd_data");
  g_assert_cmpstr (sumi_op_name (SUMI_N_OPS), ==, "?");
  g_assert_false (sumi_op_is_differentiable (SUMI_N_OPS));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/graph/leaves", test_leaves);
  g_test_add_func ("/graph/names-taken", test_names_taken);
  g_test_add_func ("/graph/outputs", test_outputs);
  g_test_add_func ("/graph/scopes", test_scopes);
  g_test_add_func ("/graph/flops", test_flops);
  g_test_add_func ("/graph/dot", test_dot);
  g_test_add_func ("/graph/op-names", test_op_names);
  return g_test_run ();
}
