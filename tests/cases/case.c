/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "case.h"

#include "graph/autodiff.h"

/* ---- what the rows are written in ---- */

/* A leaf's name begins with what its values are like (harness.h). */
static SumiNode *
leaf (SumiGraph *g, const char *kind, const SumiShape *shape)
{
  g_autofree char *name = g_strdup_printf ("%s.%u", kind, sumi_graph_get_size (g));

  if (g_str_equal (kind, "weight"))
    return sumi_param (g, name, shape);
  return sumi_input (g, name, SUMI_REAL, shape);
}

static SumiNode *
ids (SumiGraph *g, guint rows, const SumiShape *shape)
{
  g_autofree char *name = g_strdup_printf ("ids-%u.%u", rows, sumi_graph_get_size (g));

  return sumi_input (g, name, SUMI_INDEX, shape);
}

#define S(...) (&SUMI_SHAPE (__VA_ARGS__))
#define X(...) leaf (g, "normal", S (__VA_ARGS__))
#define P(...) leaf (g, "positive", S (__VA_ARGS__))
#define T(...) leaf (g, "time", S (__VA_ARGS__))
#define W(...) leaf (g, "weight", S (__VA_ARGS__))
#define IDS(rows, ...) ids (g, rows, S (__VA_ARGS__))
#define AX(...) ((const guint8[]){ __VA_ARGS__ })
#define K(...) (&(SumiAttr){ .conv = { __VA_ARGS__ } })
#define N(...) (&(SumiAttr){ .norm = { __VA_ARGS__ } })
#define A(...) (&(SumiAttr){ .sdpa = { __VA_ARGS__ } })
#define CAT(axis, ...)                                                                                                 \
  sumi_concat (g, axis, (SumiNode *const[]){ __VA_ARGS__ },                                                            \
               sizeof ((SumiNode *[]){ __VA_ARGS__ }) / sizeof (SumiNode *))
#define ALSO(name, node) sumi_graph_output (g, name, node)

/* ---- the table ---- */

#define BUILDER_(line) build_##line
#define BUILDER(line) BUILDER_ (line)

#define CASE(ID, name, ...)                                                                                            \
  static SumiNode *BUILDER (__LINE__) (SumiGraph * g) { return __VA_ARGS__; }
#define CASE_F32 CASE
#include "cases.def"
#undef CASE
#undef CASE_F32

const SumiCase sumi_cases[] = {
#define CASE(ID, name, ...) { SUMI_OP_##ID, name, BUILDER (__LINE__), FALSE },
#define CASE_F32(ID, name, ...) { SUMI_OP_##ID, name, BUILDER (__LINE__), TRUE },
#include "cases.def"
#undef CASE
#undef CASE_F32
};
const guint sumi_n_cases = G_N_ELEMENTS (sumi_cases);

/* ---- graphs ---- */

SumiGraph *
sumi_case_graph (const SumiCase *c)
{
  SumiGraph *g = sumi_graph_new ();

  sumi_graph_output (g, "y", c->build (g));
  return g;
}

static gboolean
is_leaf (const SumiNode *n)
{
  return n->op == SUMI_OP_INPUT || n->op == SUMI_OP_PARAM;
}

gboolean
sumi_case_is_differentiable (const SumiCase *c)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  guint last = c->build (g)->id;
  g_autofree gboolean *depends = g_new0 (gboolean, last + 1);

  for (guint id = 0; id <= last; id++)
    {
      const SumiNode *n = sumi_graph_peek (g, id);

      depends[id] = is_leaf (n) && n->kind == SUMI_REAL;
      for (guint i = 0; i < n->n_src; i++)
        depends[id] |= depends[n->src[i]->id];
      if (depends[id] && !is_leaf (n) && !sumi_op_is_differentiable (n->op))
        return FALSE;
    }
  return TRUE;
}

static SumiNode *
add_loss (SumiGraph *g, const SumiCase *c)
{
  SumiNode *y = c->build (g);
  SumiNode *product = sumi_mul (g, y, sumi_input (g, "cotangent", SUMI_REAL, &y->shape));

  return sumi_sum (g, product, (1u << y->shape.rank) - 1, FALSE);
}

SumiGraph *
sumi_case_loss_graph (const SumiCase *c)
{
  SumiGraph *g = sumi_graph_new ();

  sumi_graph_output (g, "loss", add_loss (g, c));
  return g;
}

SumiGraph *
sumi_case_grad_graph (const SumiCase *c)
{
  SumiGraph *g = sumi_graph_new ();
  SumiNode *loss = add_loss (g, c);
  g_autoptr (GPtrArray) leaves = sumi_case_real_leaves (g);
  g_autofree SumiNode **grads = g_new0 (SumiNode *, leaves->len + 1);

  sumi_graph_grad (g, loss, (SumiNode *const *)leaves->pdata, leaves->len, grads);
  for (guint i = 0; i < leaves->len; i++)
    sumi_graph_output (g, ((SumiNode *)leaves->pdata[i])->name, grads[i]);
  return g;
}

GPtrArray *
sumi_case_real_leaves (const SumiGraph *g)
{
  GPtrArray *leaves = g_ptr_array_new ();

  for (guint id = 0; id < sumi_graph_get_size (g); id++)
    {
      SumiNode *n = sumi_graph_peek (g, id);

      if (is_leaf (n) && n->kind == SUMI_REAL && !g_str_equal (n->name, "cotangent"))
        g_ptr_array_add (leaves, n);
    }
  return leaves;
}

char *
sumi_case_path (const SumiCase *c)
{
  return g_strdup_printf ("%s/%s", sumi_op_name (c->op), c->name);
}

void
sumi_case_add_test (const char *suite, const SumiCase *c, GTestDataFunc run)
{
  g_autofree char *name = sumi_case_path (c);
  g_autofree char *path = g_strdup_printf ("/%s/%s", suite, name);

  g_test_add_data_func (path, c, run);
}
