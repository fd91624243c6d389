/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The cpu engine: compile, set, run, read. */
#include <omp.h>
#include <string.h>

#include "engine/cpu/plan.h"

/* oneDNN and the kernels ask OpenMP for the team's size, which belongs to the calling thread: it is set for the time of
 * a call only. */
static int
enter_team (const SumiCpuPlan *p)
{
  int before = omp_get_max_threads ();

  omp_set_num_threads ((int)p->threads);
  return before;
}

static void
cpu_plan_free (SumiPlan *base)
{
  SumiCpuPlan *p = (SumiCpuPlan *)base;

  if (p->profile)
    sumi_cpu_print_profile (p);
  for (guint i = 0; i < p->steps->len; i++)
    {
      SumiCpuStep *s = &g_array_index (p->steps, SumiCpuStep, i);

      sumi_cpu_product_free (s->product);
      g_clear_pointer (&s->pieces, g_ptr_array_unref);
    }
  g_array_free (p->steps, TRUE);
  g_array_free (p->buffers, TRUE);
  g_array_free (p->constants, TRUE);
  g_array_free (p->copies, TRUE);
  g_hash_table_unref (p->forms);
  g_hash_table_unref (p->outputs);
  g_free (p->values);
  g_free (p->wide);
  g_free (p->inner);
  g_free (p->exact);
  g_free (p->has_value);
  sumi_cpu_unmap (&p->arena);
  sumi_cpu_unmap (&p->store);
  g_free (p);
}

static SumiCpuPlan *
plan_new (SumiGraph *g, const SumiCompileOptions *o)
{
  SumiCpuPlan *p = g_new0 (SumiCpuPlan, 1);
  guint size = sumi_graph_get_size (g);

  p->base.graph = g;
  p->weights = o->packed->store;
  p->dnnl = &p->weights->dnnl;
  p->dtype = o->dtype;
  p->threads = o->threads > 0 ? o->threads : sumi_cpu_count ();
  p->poison = o->poison;
  p->profile = g_getenv ("SUMI_PROFILE") != NULL;
  p->f32 = sumi_kernels_get (sumi_cpu_features (), SUMI_F32);
  p->real = sumi_kernels_get (sumi_cpu_features (), o->dtype);
  p->values = g_new0 (SumiValue, size);
  p->wide = g_new0 (gboolean, size);
  p->inner = g_new0 (gboolean, size);
  p->exact = g_new0 (gboolean, size);
  p->has_value = g_new0 (gboolean, size);
  p->buffers = g_array_new (FALSE, FALSE, sizeof (SumiCpuBuffer));
  p->steps = g_array_new (FALSE, FALSE, sizeof (SumiCpuStep));
  p->constants = g_array_new (FALSE, FALSE, sizeof (SumiCpuConstant));
  p->copies = g_array_new (FALSE, FALSE, sizeof (SumiCpuCopy));
  p->forms = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, (GDestroyNotify)g_ptr_array_unref);
  p->outputs = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  return p;
}

/* Outputs are read after the run: they outlive every step.  They stay in whatever order they lie in. */
static void
keep_outputs (SumiCpuPlan *p)
{
  for (guint i = 0; i < sumi_graph_get_n_outputs (p->base.graph); i++)
    {
      SumiNode *n;
      SumiValue *v = g_new (SumiValue, 1);
      SumiCpuBuffer *b;

      sumi_graph_get_output (p->base.graph, i, &n);
      *v = p->values[n->id];
      if (v->dtype == SUMI_BF16)
        *v = sumi_cpu_want (p, n, v, SUMI_F32, SUMI_ORDER_ANY);
      else if (v->dtype == SUMI_I64)
        *v = sumi_cpu_want (p, n, v, SUMI_I64, SUMI_ORDER_ROWS);
      b = &g_array_index (p->buffers, SumiCpuBuffer, v->buffer);
      b->first = MIN (b->first, p->steps->len);
      b->last = G_MAXUINT;
      b->used = TRUE;
      g_hash_table_insert (p->outputs, n, v);
    }
}

static gboolean
bind_products (SumiCpuPlan *p, GError **error)
{
  for (guint i = 0; i < p->steps->len; i++)
    {
      const SumiCpuStep *s = &g_array_index (p->steps, SumiCpuStep, i);

      if (s->product != NULL && !sumi_cpu_bind_product (p, s->product, error))
        return FALSE;
      for (guint k = 0; s->pieces != NULL && k < s->pieces->len; k++)
        if (!sumi_cpu_bind_product (p, s->pieces->pdata[k], error))
          return FALSE;
    }
  return TRUE;
}

static void
write_constants (SumiCpuPlan *p)
{
  for (guint i = 0; i < p->constants->len; i++)
    {
      const SumiCpuConstant *c = &g_array_index (p->constants, SumiCpuConstant, i);

      if (g_array_index (p->buffers, SumiCpuBuffer, c->value.buffer).used)
        (c->value.dtype == SUMI_BF16 ? p->real : p->f32)->fill (1, sumi_cpu_at (p, &c->value), c->constant);
    }
}

static gboolean
build (SumiCpuPlan *p, GError **error)
{
  guint n;
  g_autofree SumiNode **nodes = sumi_graph_schedule (p->base.graph, &n);

  sumi_cpu_choose_dtypes (p, nodes, n);
  sumi_cpu_mark_inner (p, nodes, n);
  for (guint i = 0; i < n; i++)
    if (!p->inner[nodes[i]->id] && !sumi_cpu_lower (p, nodes[i], error))
      {
        g_prefix_error (error, "%s%s%s: ", nodes[i]->scope, *nodes[i]->scope != '\0' ? "/" : "",
                        sumi_op_name (nodes[i]->op));
        return FALSE;
      }
  keep_outputs (p);
  if (!sumi_cpu_place_buffers (p, error) || !bind_products (p, error))
    return FALSE;
  write_constants (p);
  return TRUE;
}

/* On older processors oneDNN has BF16 convolutions that are slower than any use, or none. */
static gboolean
has_bf16 (void)
{
  return (dnnl_get_effective_cpu_isa () & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
}

static SumiPlan *
cpu_compile (SumiEngine *e, SumiGraph *g, const SumiCompileOptions *o, GError **error)
{
  SumiCpuPlan *p;
  gboolean ok;
  int before;

  if (o->dtype != SUMI_F32 && o->dtype != SUMI_BF16)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_ENGINE, "the cpu engine computes in F32 or BF16, found %s",
                   sumi_dtype_name (o->dtype));
      return NULL;
    }
  if (o->dtype == SUMI_BF16 && !has_bf16 ())
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_ENGINE,
                   "the cpu engine computes in BF16 only with AVX-512, found a processor without; expected F32");
      return NULL;
    }
  p = plan_new (g, o);
  before = enter_team (p);
  ok = sumi_cpu_weights_open (p->weights, error) && build (p, error);
  omp_set_num_threads (before);
  if (!ok)
    {
      sumi_cpu_weights_drop_new (p->weights);
      cpu_plan_free (&p->base);
      return NULL;
    }
  return &p->base;
}

static gboolean
set_index (SumiCpuPlan *p, const SumiValue *v, const SumiTensor *value, GError **error)
{
  g_autoptr (SumiTensor) wide = NULL;

  if (!g_array_index (p->buffers, SumiCpuBuffer, v->buffer).used)
    return TRUE;
  wide = sumi_tensor_cast (value, SUMI_I64, error);
  if (wide == NULL)
    return FALSE;
  memcpy (sumi_cpu_at (p, v), sumi_tensor_peek (wide), sumi_tensor_get_size (wide));
  return TRUE;
}

static gboolean
set_input (SumiCpuPlan *p, const SumiNode *leaf, const SumiTensor *value, GError **error)
{
  const SumiValue *v = &p->values[leaf->id];

  if (leaf->kind == SUMI_INDEX)
    {
      if (!set_index (p, v, value, error))
        return FALSE;
    }
  else if (g_array_index (p->buffers, SumiCpuBuffer, v->buffer).used)
    sumi_tensor_to_f32 (value, sumi_cpu_at (p, v));
  p->has_value[leaf->id] = TRUE;
  return TRUE;
}

static gboolean
cpu_set (SumiPlan *base, const SumiNode *leaf, const SumiTensor *value, GError **error)
{
  SumiCpuPlan *p = (SumiCpuPlan *)base;
  int before = enter_team (p);
  gint64 start = g_get_monotonic_time ();
  gboolean ok = leaf->op == SUMI_OP_PARAM ? sumi_cpu_weights_set (p->weights, leaf->name, value, error)
                                          : set_input (p, leaf, value, error);

  p->set_seconds += (double)(g_get_monotonic_time () - start) * 1e-6;
  omp_set_num_threads (before);
  return ok;
}

/* A parameter has one when all the forms do that this plan reads. */
static gboolean
cpu_has_value (const SumiPlan *base, const SumiNode *leaf)
{
  const SumiCpuPlan *p = (const SumiCpuPlan *)base;
  const GPtrArray *forms;

  if (leaf->op != SUMI_OP_PARAM)
    return p->has_value[leaf->id];
  forms = g_hash_table_lookup (p->forms, leaf->name);
  for (guint i = 0; forms != NULL && i < forms->len; i++)
    if (!((const SumiCpuForm *)forms->pdata[i])->has_value)
      return FALSE;
  return TRUE;
}

static gboolean
run_steps (SumiCpuPlan *p, GCancellable *cancellable, GError **error)
{
  if (p->poison)
    sumi_cpu_poison_arena (p);
  for (guint i = 0; i < p->steps->len; i++)
    {
      SumiCpuStep *s = &g_array_index (p->steps, SumiCpuStep, i);
      gint64 start = p->profile ? g_get_monotonic_time () : 0;

      if (sumi_set_error_if_cancelled (cancellable, error) || !s->run (p, s, error))
        return FALSE;
      if (p->poison)
        sumi_cpu_poison_dead (p, i);
      if (p->profile)
        s->seconds += (double)(g_get_monotonic_time () - start) * 1e-6;
    }
  return TRUE;
}

static gboolean
cpu_run (SumiPlan *base, GCancellable *cancellable, GError **error)
{
  SumiCpuPlan *p = (SumiCpuPlan *)base;
  gboolean ok;
  int before;

  if (!p->resident && !sumi_cpu_check_free (p->arena.size, "memory for values", error))
    return FALSE;
  p->resident = TRUE;
  sumi_cpu_weights_end_setting (p->weights);
  before = enter_team (p);
  ok = run_steps (p, cancellable, error);
  omp_set_num_threads (before);
  return ok;
}

static void
read_rows (SumiCpuPlan *p, const SumiValue *v, float *into)
{
  SumiValue rows = *v;
  int before = enter_team (p);

  sumi_value_set_order (&rows, SUMI_ORDER_ROWS);
  p->f32->copy (&v->shape, into, rows.stride, sumi_cpu_at (p, v), v->stride);
  omp_set_num_threads (before);
}

static gboolean
cpu_read (SumiPlan *base, const SumiNode *output, SumiTensor *into, GError **error)
{
  SumiCpuPlan *p = (SumiCpuPlan *)base;
  const SumiValue *v = g_hash_table_lookup (p->outputs, output);
  float *y = sumi_tensor_poke_f32 (into);

  if (v->dtype == SUMI_I64)
    for (gint64 i = 0; i < sumi_tensor_get_numel (into); i++)
      y[i] = (float)((const gint64 *)sumi_cpu_at (p, v))[i];
  else
    read_rows (p, v, y);
  return TRUE;
}

static void
cpu_trim (SumiPlan *base)
{
  SumiCpuPlan *p = (SumiCpuPlan *)base;

  sumi_cpu_forget (&p->arena);
  p->resident = FALSE;
}

static void
cpu_memory (const SumiPlan *base, gsize *arena, gsize *parameters)
{
  const SumiCpuPlan *p = (const SumiCpuPlan *)base;

  *arena = p->arena.size;
  *parameters = sumi_cpu_parameter_bytes (p);
}

static gpointer
store_new (void)
{
  return sumi_cpu_weights_new ();
}

static void
store_free (gpointer store)
{
  sumi_cpu_weights_free (store);
}

const SumiEngineClass sumi_engine_cpu_class = {
  .name = "cpu",
  .compile = cpu_compile,
  .plan_free = cpu_plan_free,
  .set = cpu_set,
  .has_value = cpu_has_value,
  .run = cpu_run,
  .read = cpu_read,
  .trim = cpu_trim,
  .memory = cpu_memory,
  .store_new = store_new,
  .store_free = store_free,
};
