/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Gaps in the case table: every op has a row, every differentiable one a row whose gradient is checked. */
#include "case.h"

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

/* Reports and benchmarks know a row by its path. */
static void
test_paths (void)
{
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  for (guint i = 0; i < sumi_n_cases; i++)
    if (!g_hash_table_add (seen, sumi_case_path (&sumi_cases[i])))
      g_error ("two rows of %s are called %s", sumi_op_name (sumi_cases[i].op), sumi_cases[i].name);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/table/no-gaps", test_no_gaps);
  g_test_add_func ("/table/paths", test_paths);
  return g_test_run ();
}
