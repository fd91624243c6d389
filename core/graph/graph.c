/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The graph itself: nodes in the order they were built, scopes, outputs, the first mistake.  What each op accepts is
 * in ops-*.c.  A graph comes from network code at sizes that may come from a file or a user, so that every shape is
 * checked here once, and nothing below has to fear an overflow. */
#include "graph/graph-private.h"

struct _SumiGraph
{
  grefcount refs;
  GPtrArray *nodes;        /* SumiNode*, owned */
  GHashTable *leaves;      /* name -> SumiNode* */
  GPtrArray *output_names; /* of strings */
  GPtrArray *output_nodes;
  GStringChunk *strings; /* names and scopes live as long as the graph */
  GString *scope;
  GArray *scope_lengths; /* gsize: length of the path before each push */
  GError *mistake;       /* the first, or NULL */
};

SumiGraph *
sumi_graph_new (void)
{
  SumiGraph *g = g_new0 (SumiGraph, 1);

  g_ref_count_init (&g->refs);
  g->nodes = g_ptr_array_new_with_free_func (g_free);
  g->leaves = g_hash_table_new (g_str_hash, g_str_equal);
  g->output_names = g_ptr_array_new ();
  g->output_nodes = g_ptr_array_new ();
  g->strings = g_string_chunk_new (4096);
  g->scope = g_string_new (NULL);
  g->scope_lengths = g_array_new (FALSE, FALSE, sizeof (gsize));
  return g;
}

SumiGraph *
sumi_graph_ref (SumiGraph *g)
{
  g_ref_count_inc (&g->refs);
  return g;
}

void
sumi_graph_unref (SumiGraph *g)
{
  if (!g_ref_count_dec (&g->refs))
    return;
  g_ptr_array_unref (g->nodes);
  g_hash_table_unref (g->leaves);
  g_ptr_array_unref (g->output_names);
  g_ptr_array_unref (g->output_nodes);
  g_string_chunk_free (g->strings);
  g_string_free (g->scope, TRUE);
  g_array_unref (g->scope_lengths);
  g_clear_error (&g->mistake);
  g_free (g);
}

guint
sumi_graph_get_size (const SumiGraph *g)
{
  return g->nodes->len;
}

SumiNode *
sumi_graph_peek (const SumiGraph *g, guint id)
{
  g_return_val_if_fail (id < g->nodes->len, NULL);
  return g_ptr_array_index (g->nodes, id);
}

SumiNode *
sumi_graph_lookup (const SumiGraph *g, const char *name)
{
  return g_hash_table_lookup (g->leaves, name);
}

/* ---- mistakes ---- */

gboolean
sumi_graph_check (const SumiGraph *g, GError **error)
{
  if (!g->mistake)
    return TRUE;
  if (error)
    *error = g_error_copy (g->mistake);
  return FALSE;
}

static void
remember (SumiGraph *g, SumiError code, const char *format, va_list args)
{
  if (g->mistake)
    return;

  g_autofree char *what = g_strdup_vprintf (format, args);

  if (g->scope->len > 0)
    g->mistake = g_error_new (SUMI_ERROR, code, "%s: %s", g->scope->str, what);
  else
    g->mistake = g_error_new_literal (SUMI_ERROR, code, what);
}

void
sumi_graph_poison (SumiGraph *g, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  remember (g, SUMI_ERROR_SHAPE_MISMATCH, format, args);
  va_end (args);
}

void
sumi_graph_poison_code (SumiGraph *g, SumiError code, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  remember (g, code, format, args);
  va_end (args);
}

static SumiNode *
append (SumiGraph *g, SumiOp op, SumiNodeKind kind, const SumiShape *shape, const SumiAttr *attr, SumiNode *const *src,
        guint n_src)
{
  SumiNode *n = g_new0 (SumiNode, 1);

  n->op = op;
  n->kind = kind;
  n->shape = *shape;
  if (attr)
    n->attr = *attr;
  n->id = g->nodes->len;
  n->n_src = n_src;
  for (guint i = 0; i < n_src; i++)
    n->src[i] = src[i];
  n->scope = g_string_chunk_insert_const (g->strings, g->scope->str);
  g_ptr_array_add (g->nodes, n);
  return n;
}

/* The harmless node is a scalar whose every dimension reads 1, so that network code that computes with the dimensions
 * of what it built divides by nothing worse. */
SumiNode *
sumi_graph_mistake (SumiGraph *g, const char *format, ...)
{
  SumiShape one = { .rank = 0, .d = { 1, 1, 1, 1, 1, 1, 1, 1 } };
  va_list args;

  va_start (args, format);
  remember (g, SUMI_ERROR_SHAPE_MISMATCH, format, args);
  va_end (args);
  return append (g, SUMI_OP_FILL, SUMI_REAL, &one, NULL, NULL, 0);
}

SumiNode *
sumi_graph_append (SumiGraph *g, SumiOp op, SumiNodeKind kind, const SumiShape *shape, const SumiAttr *attr,
                   SumiNode *const *src, guint n_src)
{
  gint64 numel;

  if (shape->rank > SUMI_MAX_RANK)
    return sumi_graph_mistake (g, "%s: got rank %u, want at most %d", sumi_op_name (op), shape->rank, SUMI_MAX_RANK);
  for (guint i = 0; i < shape->rank; i++)
    if (shape->d[i] < 1)
      {
        g_autofree char *text = sumi_shape_to_string (shape);
        return sumi_graph_mistake (g, "%s: got the shape %s, want dimensions of at least 1", sumi_op_name (op), text);
      }
  if (!sumi_shape_checked_numel (shape, &numel) || numel > SUMI_MAX_NUMEL)
    {
      g_autofree char *text = sumi_shape_to_string (shape);
      return sumi_graph_mistake (g, "%s: got the shape %s, want at most 2^48 elements", sumi_op_name (op), text);
    }
  return append (g, op, kind, shape, attr, src, n_src);
}

gboolean
sumi_graph_want_real (SumiGraph *g, SumiOp op, const SumiNode *x)
{
  if (x->kind == SUMI_REAL)
    return TRUE;
  sumi_graph_poison (g, "%s: got whole numbers, want real ones", sumi_op_name (op));
  return FALSE;
}

gboolean
sumi_graph_want_rank (SumiGraph *g, SumiOp op, const char *what, const SumiNode *x, guint rank)
{
  if (x->shape.rank == rank)
    return sumi_graph_want_real (g, op, x);

  g_autofree char *text = sumi_shape_to_string (&x->shape);

  sumi_graph_poison (g, "%s: %s: got %s, want rank %u", sumi_op_name (op), what, text, rank);
  return FALSE;
}

gboolean
sumi_graph_want_shape (SumiGraph *g, SumiOp op, const char *what, const SumiNode *x, const SumiShape *want)
{
  if (sumi_shape_equal (&x->shape, want))
    return sumi_graph_want_real (g, op, x);

  g_autofree char *got_text = sumi_shape_to_string (&x->shape);
  g_autofree char *want_text = sumi_shape_to_string (want);

  sumi_graph_poison (g, "%s: %s: got %s, want %s", sumi_op_name (op), what, got_text, want_text);
  return FALSE;
}

/* ---- scopes and outputs ---- */

void
sumi_graph_push_scope (SumiGraph *g, const char *name)
{
  g_array_append_val (g->scope_lengths, g->scope->len);
  if (g->scope->len > 0 && *name)
    g_string_append_c (g->scope, '/');
  g_string_append (g->scope, name);
}

void
sumi_graph_pop_scope (SumiGraph *g)
{
  guint depth = g->scope_lengths->len;

  g_return_if_fail (depth > 0);
  g_string_truncate (g->scope, g_array_index (g->scope_lengths, gsize, depth - 1));
  g_array_set_size (g->scope_lengths, depth - 1);
}

void
sumi_graph_output (SumiGraph *g, const char *name, SumiNode *node)
{
  if (node->kind != SUMI_REAL)
    {
      sumi_graph_poison (g, "output %s: got whole numbers, want real ones", name);
      return;
    }
  for (guint i = 0; i < g->output_names->len; i++)
    if (g_str_equal (g_ptr_array_index (g->output_names, i), name))
      {
        sumi_graph_poison (g, "output %s: got the name twice, want it once", name);
        return;
      }
  g_ptr_array_add (g->output_names, g_string_chunk_insert_const (g->strings, name));
  g_ptr_array_add (g->output_nodes, node);
}

guint
sumi_graph_get_n_outputs (const SumiGraph *g)
{
  return g->output_names->len;
}

const char *
sumi_graph_get_output (const SumiGraph *g, guint i, SumiNode **node)
{
  g_return_val_if_fail (i < g->output_names->len, NULL);
  if (node)
    *node = g_ptr_array_index (g->output_nodes, i);
  return g_ptr_array_index (g->output_names, i);
}

/* Nodes come after their sources, so that one walk from the last to the first marks everything. */
gboolean *
sumi_graph_needed (const SumiGraph *g)
{
  gboolean *needed = g_new0 (gboolean, g->nodes->len + 1);

  for (guint i = 0; i < g->output_nodes->len; i++)
    needed[((SumiNode *)g_ptr_array_index (g->output_nodes, i))->id] = TRUE;
  for (guint id = g->nodes->len; id-- > 0;)
    if (needed[id])
      {
        const SumiNode *n = g_ptr_array_index (g->nodes, id);

        for (guint i = 0; i < n->n_src; i++)
          needed[n->src[i]->id] = TRUE;
      }
  return needed;
}

/* ---- leaves ---- */

static SumiNode *
append_leaf (SumiGraph *g, SumiOp op, const char *name, SumiNodeKind kind, const SumiShape *shape)
{
  SumiNode *n = sumi_graph_append (g, op, kind, shape, NULL, NULL, 0);

  if (n->op != op)
    return n;
  n->name = g_string_chunk_insert_const (g->strings, name);
  g_hash_table_insert (g->leaves, (gpointer)n->name, n);
  return n;
}

SumiNode *
sumi_input (SumiGraph *g, const char *name, SumiNodeKind kind, const SumiShape *shape)
{
  if (sumi_graph_lookup (g, name))
    return sumi_graph_mistake (g, "input %s: got the name twice, want it once", name);
  return append_leaf (g, SUMI_OP_INPUT, name, kind, shape);
}

SumiNode *
sumi_param (SumiGraph *g, const char *name, const SumiShape *shape)
{
  SumiNode *known = sumi_graph_lookup (g, name);

  if (!known)
    return append_leaf (g, SUMI_OP_PARAM, name, SUMI_REAL, shape);
  if (known->op == SUMI_OP_PARAM && sumi_shape_equal (&known->shape, shape))
    return known;

  g_autofree char *got = sumi_shape_to_string (shape);
  g_autofree char *want = sumi_shape_to_string (&known->shape);

  return sumi_graph_mistake (g, "parameter %s: got %s, want %s as before%s", name, got, want,
                             known->op == SUMI_OP_PARAM ? "" : ", an input");
}

SumiNode *
sumi_fill (SumiGraph *g, double value, const SumiShape *shape)
{
  SumiAttr attr = { .fill = { value } };

  return sumi_graph_append (g, SUMI_OP_FILL, SUMI_REAL, shape, &attr, NULL, 0);
}
