/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The reference engine's plan: nodes in order, each with memory of its own from when it is computed until its last
 * reader has run. One thread. */
#include <math.h>
#include <string.h>

#include "engine/ref/ref.h"

static const SumiRefKernel kernels[SUMI_N_OPS] = {
  [SUMI_OP_FILL] = sumi_ref_fill,
  [SUMI_OP_ADD] = sumi_ref_binary,
  [SUMI_OP_SUB] = sumi_ref_binary,
  [SUMI_OP_MUL] = sumi_ref_binary,
  [SUMI_OP_DIV] = sumi_ref_binary,
  [SUMI_OP_AFFINE] = sumi_ref_affine,
  [SUMI_OP_ACT] = sumi_ref_act,
  [SUMI_OP_ACT_BWD] = sumi_ref_act_bwd,
  [SUMI_OP_RESHAPE] = sumi_ref_reshape,
  [SUMI_OP_PERMUTE] = sumi_ref_permute,
  [SUMI_OP_CONCAT] = sumi_ref_concat,
  [SUMI_OP_SLICE] = sumi_ref_slice,
  [SUMI_OP_PAD] = sumi_ref_pad,
  [SUMI_OP_BROADCAST] = sumi_ref_broadcast,
  [SUMI_OP_SUM] = sumi_ref_sum,
  [SUMI_OP_MATMUL] = sumi_ref_matmul,
  [SUMI_OP_LINEAR] = sumi_ref_linear,
  [SUMI_OP_CONV2D] = sumi_ref_conv2d,
  [SUMI_OP_CONV2D_BWD_DATA] = sumi_ref_conv2d_bwd_data,
  [SUMI_OP_CONV2D_BWD_WEIGHTS] = sumi_ref_conv2d_bwd_weights,
  [SUMI_OP_MAX_POOL2D] = sumi_ref_max_pool2d,
  [SUMI_OP_MAX_POOL2D_BWD] = sumi_ref_max_pool2d_bwd,
  [SUMI_OP_UPSAMPLE] = sumi_ref_upsample,
  [SUMI_OP_UPSAMPLE_BWD] = sumi_ref_upsample_bwd,
  [SUMI_OP_GROUP_NORM] = sumi_ref_group_norm,
  [SUMI_OP_GROUP_NORM_BWD_X] = sumi_ref_group_norm_bwd_x,
  [SUMI_OP_GROUP_NORM_BWD_W] = sumi_ref_group_norm_bwd_w,
  [SUMI_OP_LAYER_NORM] = sumi_ref_layer_norm,
  [SUMI_OP_LAYER_NORM_BWD_X] = sumi_ref_layer_norm_bwd_x,
  [SUMI_OP_LAYER_NORM_BWD_W] = sumi_ref_layer_norm_bwd_w,
  [SUMI_OP_SOFTMAX] = sumi_ref_softmax,
  [SUMI_OP_SOFTMAX_BWD] = sumi_ref_softmax_bwd,
  [SUMI_OP_SDPA] = sumi_ref_sdpa,
  [SUMI_OP_SDPA_BWD] = sumi_ref_sdpa_bwd,
  [SUMI_OP_EMBEDDING] = sumi_ref_embedding,
  [SUMI_OP_EMBEDDING_BWD] = sumi_ref_embedding_bwd,
  [SUMI_OP_TIMESTEP_EMBEDDING] = sumi_ref_timestep_embedding,
};

/* What SumiPackedWeights holds: parameters as doubles, those rounded to float apart from the others. */
typedef struct
{
  GHashTable *values[2]; /* [rounds]: interned name -> double* */
} RefStore;

typedef struct
{
  SumiPlan base;
  RefStore *store;
  gboolean rounds; /* to float, each value */
  gboolean poison;
  guint n;
  SumiNode **nodes; /* the schedule */
  guint size;       /* of the arrays below, by node id */
  gpointer *values; /* double* or gint64*; NULL: not computed. Parameters: of the store, looked up by each run */
  guint *last;      /* the last node that reads it; G_MAXUINT: stays after the run */
} RefPlan;

static gsize
bytes_of (const SumiNode *n)
{
  return (gsize)sumi_shape_numel (&n->shape) * 8; /* double or gint64 */
}

static void
fill_nan (double *x, const SumiNode *n)
{
  gint64 numel = sumi_shape_numel (&n->shape);

  for (gint64 i = 0; i < numel; i++)
    x[i] = NAN;
}

static gpointer
new_value (const RefPlan *p, const SumiNode *n, GError **error)
{
  gpointer value = g_try_malloc (bytes_of (n));

  if (!value)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY, "%s%s%s: no memory for %" G_GSIZE_FORMAT " bytes",
                 n->scope, *n->scope ? "/" : "", n->name ? n->name : sumi_op_name (n->op), bytes_of (n));
  else if (p->poison && n->kind == SUMI_REAL)
    fill_nan (value, n);
  return value;
}

static void
drop_value (RefPlan *p, const SumiNode *n)
{
  if (p->poison && p->values[n->id] && n->kind == SUMI_REAL)
    fill_nan (p->values[n->id], n);
  g_clear_pointer (&p->values[n->id], g_free);
}

/* ---- compile ---- */

static void
find_lifetimes (RefPlan *p, const SumiGraph *g)
{
  for (guint i = 0; i < p->n; i++)
    for (guint s = 0; s < p->nodes[i]->n_src; s++)
      p->last[p->nodes[i]->src[s]->id] = p->nodes[i]->id;
  for (guint i = 0; i < p->n; i++)
    if (p->nodes[i]->name)
      p->last[p->nodes[i]->id] = G_MAXUINT;
  for (guint i = 0; i < sumi_graph_get_n_outputs (g); i++)
    {
      SumiNode *node;

      sumi_graph_get_output (g, i, &node);
      p->last[node->id] = G_MAXUINT;
    }
}

static SumiPlan *
compile (SumiEngine *e, SumiGraph *g, const SumiCompileOptions *o, GError **error)
{
  RefPlan *p;

  if (o->dtype != SUMI_F32 && o->dtype != SUMI_F64)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_ENGINE, "engine ref: found %s, expected F32 or F64",
                   sumi_dtype_name (o->dtype));
      return NULL;
    }
  p = g_new0 (RefPlan, 1);
  p->store = o->packed->store;
  p->rounds = o->dtype == SUMI_F32;
  p->poison = o->poison;
  p->nodes = sumi_graph_schedule (g, &p->n);
  p->size = sumi_graph_get_size (g);
  p->values = g_new0 (gpointer, p->size);
  p->last = g_new0 (guint, p->size);
  find_lifetimes (p, g);
  return &p->base;
}

static void
plan_free (SumiPlan *base)
{
  RefPlan *p = (RefPlan *)base;

  for (guint i = 0; i < p->n; i++)
    if (p->nodes[i]->op != SUMI_OP_PARAM)
      g_free (p->values[p->nodes[i]->id]);
  g_free (p->values);
  g_free (p->last);
  g_free (p->nodes);
  g_free (p);
}

/* ---- values ---- */

static void
round_to_float (double *x, const SumiNode *n)
{
  gint64 numel = sumi_shape_numel (&n->shape);

  for (gint64 i = 0; i < numel; i++)
    x[i] = (float)x[i];
}

static gpointer
store_new (void)
{
  RefStore *store = g_new0 (RefStore, 1);

  for (guint i = 0; i < 2; i++)
    store->values[i] = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  return store;
}

static void
store_free (gpointer data)
{
  RefStore *store = data;

  for (guint i = 0; i < 2; i++)
    g_hash_table_unref (store->values[i]);
  g_free (store);
}

/* The value of a leaf, or NULL. */
static gpointer
peek_leaf (const RefPlan *p, const SumiNode *leaf)
{
  if (leaf->op == SUMI_OP_PARAM)
    return g_hash_table_lookup (p->store->values[p->rounds], leaf->name);
  return p->values[leaf->id];
}

static gboolean
has_value (const SumiPlan *base, const SumiNode *leaf)
{
  return peek_leaf ((const RefPlan *)base, leaf) != NULL;
}

static gpointer
new_leaf (RefPlan *p, const SumiNode *leaf, GError **error)
{
  gpointer room = new_value (p, leaf, error);

  if (room && leaf->op == SUMI_OP_PARAM)
    g_hash_table_insert (p->store->values[p->rounds], g_strdup (leaf->name), room);
  else
    p->values[leaf->id] = room;
  return room;
}

static gboolean
set (SumiPlan *base, const SumiNode *leaf, const SumiTensor *value, GError **error)
{
  RefPlan *p = (RefPlan *)base;
  gpointer room = peek_leaf (p, leaf);

  if (!room)
    room = new_leaf (p, leaf, error);
  if (!room)
    return FALSE;
  if (leaf->kind == SUMI_INDEX)
    {
      g_autoptr (SumiTensor) wide = sumi_tensor_cast (value, SUMI_I64, error);

      if (!wide)
        return FALSE;
      memcpy (room, sumi_tensor_peek (wide), bytes_of (leaf));
      return TRUE;
    }
  sumi_tensor_to_f64 (value, room);
  if (p->rounds)
    round_to_float (room, leaf);
  return TRUE;
}

static gboolean
read_output (SumiPlan *base, const SumiNode *output, SumiTensor *into, GError **error)
{
  const double *x = ((RefPlan *)base)->values[output->id];
  gint64 numel = sumi_shape_numel (&output->shape);
  void *room = sumi_tensor_poke (into);

  if (sumi_tensor_get_dtype (into) == SUMI_F64)
    memcpy (room, x, bytes_of (output));
  else
    for (gint64 i = 0; i < numel; i++)
      ((float *)room)[i] = (float)x[i];
  return TRUE;
}

/* ---- run ---- */

/* Whole numbers are only ever rows of a table. */
static gboolean
check_ids (const SumiNode *n, const SumiNode *source, const gint64 *ids, GError **error)
{
  gint64 rows = n->op == SUMI_OP_EMBEDDING ? n->src[0]->shape.d[0] : n->shape.d[0];
  gint64 numel = sumi_shape_numel (&source->shape);

  for (gint64 i = 0; i < numel; i++)
    if (ids[i] < 0 || ids[i] >= rows)
      {
        g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH,
                     "%s: found the id %" G_GINT64_FORMAT ", expected 0 to %" G_GINT64_FORMAT, sumi_op_name (n->op),
                     ids[i], rows - 1);
        return FALSE;
      }
  return TRUE;
}

static gboolean
compute (RefPlan *p, const SumiNode *n, GError **error)
{
  SumiRefArgs args = { .n = n };

  for (guint i = 0; i < n->n_src; i++)
    if (n->src[i]->kind == SUMI_REAL)
      args.x[i] = p->values[n->src[i]->id];
    else
      {
        args.ids = p->values[n->src[i]->id];
        if (!check_ids (n, n->src[i], args.ids, error))
          return FALSE;
      }
  drop_value (p, n); /* of the last run */
  args.y = p->values[n->id] = new_value (p, n, error);
  if (!args.y)
    return FALSE;
  kernels[n->op](&args);
  if (p->rounds)
    round_to_float (args.y, n);
  return TRUE;
}

static gboolean
run (SumiPlan *base, GCancellable *cancellable, GError **error)
{
  RefPlan *p = (RefPlan *)base;

  for (guint i = 0; i < p->n; i++)
    {
      const SumiNode *n = p->nodes[i];

      if (sumi_set_error_if_cancelled (cancellable, error))
        return FALSE;
      if (n->name)
        {
          p->values[n->id] = peek_leaf (p, n);
          continue;
        }
      if (!compute (p, n, error))
        return FALSE;
      for (guint s = 0; s < n->n_src; s++)
        if (p->last[n->src[s]->id] == n->id)
          drop_value (p, n->src[s]);
    }
  return TRUE;
}

static void
trim (SumiPlan *base)
{
  RefPlan *p = (RefPlan *)base;

  for (guint i = 0; i < p->n; i++)
    if (!p->nodes[i]->name)
      drop_value (p, p->nodes[i]);
}

/* The most that is alive at once. */
static void
memory (const SumiPlan *base, gsize *arena, gsize *parameters)
{
  const RefPlan *p = (const RefPlan *)base;
  g_autofree gsize *freed = g_new0 (gsize, p->size); /* by the node after which it is */
  gsize now = 0;

  *arena = *parameters = 0;
  for (guint i = 0; i < p->n; i++)
    if (p->last[p->nodes[i]->id] < G_MAXUINT)
      freed[p->last[p->nodes[i]->id]] += bytes_of (p->nodes[i]);
  for (guint i = 0; i < p->n; i++)
    {
      *(p->nodes[i]->name ? parameters : &now) += bytes_of (p->nodes[i]);
      *arena = MAX (*arena, now);
      now -= freed[p->nodes[i]->id];
    }
}

const SumiEngineClass sumi_engine_ref_class = {
  .name = "ref",
  .compile = compile,
  .plan_free = plan_free,
  .set = set,
  .has_value = has_value,
  .run = run,
  .read = read_output,
  .trim = trim,
  .memory = memory,
  .store_new = store_new,
  .store_free = store_free,
};
