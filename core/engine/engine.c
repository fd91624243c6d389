/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What all engines share: their table, and the checks before an engine sees a graph, a value or an output. */
#include "engine/engine.h"

/* The best one first. */
static const SumiEngineClass *const classes[] = {
  &sumi_engine_cpu_class,
  &sumi_engine_ref_class,
};

SumiEngine *
sumi_engine_open (const char *name, GError **error)
{
  g_autoptr (GString) known = g_string_new (NULL);

  for (guint i = 0; i < G_N_ELEMENTS (classes); i++)
    {
      if (!name || g_str_equal (classes[i]->name, name))
        {
          SumiEngine *e = g_new0 (SumiEngine, 1);

          e->klass = classes[i];
          g_ref_count_init (&e->refs);
          return e;
        }
      g_string_append_printf (known, "%s%s", i ? " or " : "", classes[i]->name);
    }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "engine: found %s, expected %s", name, known->str);
  return NULL;
}

SumiEngine *
sumi_engine_ref (SumiEngine *e)
{
  g_ref_count_inc (&e->refs);
  return e;
}

void
sumi_engine_unref (SumiEngine *e)
{
  if (g_ref_count_dec (&e->refs))
    g_free (e);
}

const char *
sumi_engine_get_name (const SumiEngine *e)
{
  return e->klass->name;
}

SumiNode **
sumi_graph_schedule (const SumiGraph *g, guint *n)
{
  g_autofree gboolean *needed = sumi_graph_needed (g);
  guint size = sumi_graph_get_size (g);
  SumiNode **nodes = g_new0 (SumiNode *, size + 1);

  *n = 0;
  for (guint id = 0; id < size; id++)
    if (needed[id])
      nodes[(*n)++] = sumi_graph_peek (g, id);
  return nodes;
}

/* ---- packed weights ---- */

SumiPackedWeights *
sumi_packed_weights_new (SumiEngine *e)
{
  SumiPackedWeights *w = g_new0 (SumiPackedWeights, 1);

  w->engine = sumi_engine_ref (e);
  g_ref_count_init (&w->refs);
  w->shapes = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  w->store = e->klass->store_new ();
  return w;
}

SumiPackedWeights *
sumi_packed_weights_ref (SumiPackedWeights *w)
{
  g_ref_count_inc (&w->refs);
  return w;
}

void
sumi_packed_weights_unref (SumiPackedWeights *w)
{
  if (!g_ref_count_dec (&w->refs))
    return;
  w->engine->klass->store_free (w->store);
  sumi_engine_unref (w->engine);
  g_hash_table_unref (w->shapes);
  g_free (w);
}

static gboolean
check_shape (const char *what, const char *name, const SumiShape *found, const SumiShape *expected, GError **error)
{
  if (sumi_shape_equal (found, expected))
    return TRUE;

  g_autofree char *found_text = sumi_shape_to_string (found);
  g_autofree char *expected_text = sumi_shape_to_string (expected);

  g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH, "%s %s: found %s, expected %s", what, name, found_text,
               expected_text);
  return FALSE;
}

/* The engine keeps one value per name: it must mean the same parameter in all plans. */
static gboolean
check_parameters (SumiPackedWeights *w, SumiGraph *g, GError **error)
{
  guint n;
  g_autofree SumiNode **nodes = sumi_graph_schedule (g, &n);

  for (guint i = 0; i < n; i++)
    {
      const SumiShape *known = nodes[i]->op == SUMI_OP_PARAM ? g_hash_table_lookup (w->shapes, nodes[i]->name) : NULL;

      if (known && !check_shape ("parameter", nodes[i]->name, &nodes[i]->shape, known, error))
        return FALSE;
    }
  for (guint i = 0; i < n; i++)
    if (nodes[i]->op == SUMI_OP_PARAM)
      g_hash_table_insert (w->shapes, g_strdup (nodes[i]->name), g_memdup2 (&nodes[i]->shape, sizeof (SumiShape)));
  return TRUE;
}

/* ---- plans ---- */

static void
list_leaves (SumiPlan *p)
{
  guint n;
  g_autofree SumiNode **nodes = sumi_graph_schedule (p->graph, &n);

  p->leaves = g_hash_table_new (g_str_hash, g_str_equal);
  for (guint i = 0; i < n; i++)
    if (nodes[i]->name)
      g_hash_table_insert (p->leaves, (gpointer)nodes[i]->name, nodes[i]);
}

SumiPlan *
sumi_engine_compile (SumiEngine *e, SumiGraph *g, const SumiCompileOptions *options, GError **error)
{
  SumiCompileOptions o = options ? *options : (SumiCompileOptions){ .dtype = SUMI_F32 };
  g_autoptr (SumiPackedWeights) packed = NULL;
  SumiPlan *p;

  if (!sumi_graph_check (g, error))
    return NULL;
  if (sumi_graph_get_n_outputs (g) == 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_ENGINE, "graph: found no output, expected at least one");
      return NULL;
    }
  packed = o.packed ? sumi_packed_weights_ref (o.packed) : sumi_packed_weights_new (e);
  if (packed->engine->klass != e->klass)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_ENGINE, "packed weights: found those of engine %s, expected %s",
                   packed->engine->klass->name, e->klass->name);
      return NULL;
    }
  if (!check_parameters (packed, g, error))
    return NULL;
  o.packed = packed;
  p = e->klass->compile (e, g, &o, error);
  if (!p)
    return NULL;
  p->engine = sumi_engine_ref (e);
  p->graph = sumi_graph_ref (g);
  p->packed = g_steal_pointer (&packed);
  p->dtype = o.dtype;
  p->n_outputs = sumi_graph_get_n_outputs (g);
  list_leaves (p);
  return p;
}

void
sumi_plan_free (SumiPlan *p)
{
  SumiEngine *e = p->engine;
  SumiGraph *g = p->graph;
  SumiPackedWeights *packed = p->packed;

  g_hash_table_unref (p->leaves);
  e->klass->plan_free (p);
  sumi_packed_weights_unref (packed);
  sumi_graph_unref (g);
  sumi_engine_unref (e);
}

static gboolean
refuse_dtype (const char *what, const char *name, SumiDType found, const char *expected, GError **error)
{
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE, "%s %s: found %s, expected %s", what, name,
               sumi_dtype_name (found), expected);
  return FALSE;
}

gboolean
sumi_plan_set (SumiPlan *p, const char *name, const SumiTensor *value, GError **error)
{
  SumiNode *leaf = g_hash_table_lookup (p->leaves, name);
  SumiDType dtype = sumi_tensor_get_dtype (value);

  if (!leaf && sumi_graph_lookup (p->graph, name))
    return TRUE;
  if (!leaf)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR, "%s: no such input or parameter", name);
      return FALSE;
    }
  if (leaf->kind == SUMI_REAL && !sumi_dtype_is_float (dtype))
    return refuse_dtype ("value of", name, dtype, "floating-point numbers", error);
  if (leaf->kind == SUMI_INDEX && (sumi_dtype_is_float (dtype) || dtype == SUMI_BOOL))
    return refuse_dtype ("value of", name, dtype, "integers", error);
  if (!check_shape ("value of", name, sumi_tensor_get_shape (value), &leaf->shape, error)
      || !p->engine->klass->set (p, leaf, value, error))
    return FALSE;
  if (leaf->op == SUMI_OP_PARAM)
    sumi_tensor_forget_pages (value);
  return TRUE;
}

gboolean
sumi_plan_has_value (const SumiPlan *p, const char *name)
{
  const SumiNode *leaf = g_hash_table_lookup (p->leaves, name);

  return !leaf || p->engine->klass->has_value (p, leaf);
}

/* Names the first one that was built, so that the message is always the same. */
static gboolean
check_values (const SumiPlan *p, GError **error)
{
  const SumiNode *first = NULL;
  guint n_unset = 0;
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, p->leaves);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    {
      const SumiNode *leaf = value;

      if (p->engine->klass->has_value (p, leaf))
        continue;
      n_unset++;
      if (!first || leaf->id < first->id)
        first = leaf;
    }
  if (first)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR, "%s: found no value (%u of %u are unset)", first->name,
                 n_unset, g_hash_table_size (p->leaves));
  return first == NULL;
}

gboolean
sumi_plan_run (SumiPlan *p, GCancellable *cancellable, GError **error)
{
  p->has_run = FALSE;
  p->has_run = check_values (p, error) && p->engine->klass->run (p, cancellable, error);
  return p->has_run;
}

/* The node of an output that can be read now. */
static SumiNode *
find_output (const SumiPlan *p, const char *output, GError **error)
{
  SumiNode *node = NULL;

  for (guint i = 0; i < p->n_outputs && !node; i++)
    {
      SumiNode *candidate;

      if (g_str_equal (sumi_graph_get_output (p->graph, i, &candidate), output))
        node = candidate;
    }
  if (!node)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR, "%s: no such output", output);
  else if (!p->has_run)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_ENGINE, "output %s: found no value, expected a run before", output);
  return p->has_run ? node : NULL;
}

SumiTensor *
sumi_plan_get (SumiPlan *p, const char *output, GError **error)
{
  SumiNode *node = find_output (p, output, error);
  g_autoptr (SumiTensor) t = NULL;

  if (!node)
    return NULL;
  t = sumi_tensor_new (p->dtype == SUMI_F64 ? SUMI_F64 : SUMI_F32, &node->shape, error);
  if (!t || !p->engine->klass->read (p, node, t, error))
    return NULL;
  return g_steal_pointer (&t);
}

gboolean
sumi_plan_read (SumiPlan *p, const char *output, SumiTensor *into, GError **error)
{
  SumiNode *node = find_output (p, output, error);

  if (!node)
    return FALSE;
  if (sumi_tensor_get_dtype (into) != SUMI_F32)
    return refuse_dtype ("room for", output, sumi_tensor_get_dtype (into), "F32", error);
  return check_shape ("room for", output, sumi_tensor_get_shape (into), &node->shape, error)
         && p->engine->klass->read (p, node, into, error);
}

void
sumi_plan_trim (SumiPlan *p)
{
  p->has_run = FALSE;
  p->engine->klass->trim (p);
}

void
sumi_plan_get_memory (const SumiPlan *p, gsize *arena, gsize *parameters)
{
  p->engine->klass->memory (p, arena, parameters);
}
