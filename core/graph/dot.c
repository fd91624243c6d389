/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The graph as Graphviz text: dot -Tsvg. What no output needs is grey. */
#include "graph/graph.h"

static void
append_escaped (GString *s, const char *text)
{
  for (; *text; text++)
    {
      if (*text == '"' || *text == '\\')
        g_string_append_c (s, '\\');
      g_string_append_c (s, *text);
    }
}

char *
sumi_graph_to_dot (const SumiGraph *g)
{
  g_autofree gboolean *needed = sumi_graph_needed (g);
  GString *s = g_string_new ("digraph sumi {\n  node [shape=box];\n");

  for (guint id = 0; id < sumi_graph_get_size (g); id++)
    {
      const SumiNode *n = sumi_graph_peek (g, id);
      g_autofree char *shape = sumi_shape_to_string (&n->shape);

      g_string_append_printf (s, "  n%u [label=\"", id);
      append_escaped (s, n->name ? n->name : sumi_op_name (n->op));
      g_string_append_printf (s, "\\n%s\", tooltip=\"", shape);
      append_escaped (s, n->scope);
      g_string_append_printf (s, "\"%s];\n", needed[id] ? "" : ", color=grey");
      for (guint i = 0; i < n->n_src; i++)
        g_string_append_printf (s, "  n%u -> n%u;\n", n->src[i]->id, id);
    }
  for (guint i = 0; i < sumi_graph_get_n_outputs (g); i++)
    {
      SumiNode *node;
      const char *name = sumi_graph_get_output (g, i, &node);

      g_string_append_printf (s, "  out%u [shape=ellipse, label=\"", i);
      append_escaped (s, name);
      g_string_append_printf (s, "\"];\n  n%u -> out%u;\n", node->id, i);
    }
  g_string_append (s, "}\n");
  return g_string_free (s, FALSE);
}
