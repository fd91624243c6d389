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
free_packs (GArray *packs)
{
  for (guint i = 0; i < packs->len; i++)
    {
      SumiCpuPack *pack = &g_array_index (packs, SumiCpuPack, i);

      dnnl_memory_desc_destroy (pack->desc);
      sumi_cpu_product_free (pack->product);
    }
  g_array_free (packs, TRUE);
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
  free_packs (p->packs);
  g_array_free (p->buffers, TRUE);
  g_array_free (p->constants, TRUE);
  g_array_free (p->copies, TRUE);
  g_hash_table_unref (p->outputs);
  g_free (p->values);
  g_free (p->wide);
  sumi_cpu_free_memory (p);
  dnnl_primitive_attr_destroy (p->attr);
  dnnl_stream_destroy (p->stream);
  dnnl_engine_destroy (p->engine);
  g_free (p);
}

static gboolean
open_dnnl (SumiCpuPlan *p, GError **error)
{
  return sumi_cpu_dnnl_check (dnnl_engine_create (&p->engine, dnnl_cpu, 0), "an engine", error)
         && sumi_cpu_dnnl_check (dnnl_stream_create (&p->stream, p->engine, dnnl_stream_default_flags), "a stream",
                                 error)
         && sumi_cpu_dnnl_check (dnnl_primitive_attr_create (&p->attr), "attributes", error)
         && sumi_cpu_dnnl_check (dnnl_primitive_attr_set_scratchpad_mode (p->attr, dnnl_scratchpad_mode_user),
                                 "attributes", error)
         && sumi_cpu_dnnl_check (dnnl_primitive_attr_set_deterministic (p->attr, 1), "attributes", error);
}

static SumiCpuPlan *
plan_new (SumiGraph *g, const SumiCompileOptions *o)
{
  SumiCpuPlan *p = g_new0 (SumiCpuPlan, 1);
  guint size = sumi_graph_get_size (g);

  p->base.graph = g;
  p->dtype = o->dtype;
  p->threads = o->threads > 0 ? o->threads : sumi_cpu_count ();
  p->poison = o->poison;
  p->profile = g_getenv ("SUMI_PROFILE") != NULL;
  p->f32 = sumi_kernels_get (sumi_cpu_features (), SUMI_F32);
  p->real = sumi_kernels_get (sumi_cpu_features (), o->dtype);
  p->values = g_new0 (SumiValue, size);
  p->wide = g_new0 (gboolean, size);
  p->buffers = g_array_new (FALSE, FALSE, sizeof (SumiCpuBuffer));
  p->steps = g_array_new (FALSE, FALSE, sizeof (SumiCpuStep));
  p->packs = g_array_new (FALSE, FALSE, sizeof (SumiCpuPack));
  p->constants = g_array_new (FALSE, FALSE, sizeof (SumiCpuConstant));
  p->copies = g_array_new (FALSE, FALSE, sizeof (SumiCpuCopy));
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

      if (s->product != NULL && !sumi_cpu_product_bind (p, s->product, error))
        return FALSE;
      for (guint k = 0; s->pieces != NULL && k < s->pieces->len; k++)
        if (!sumi_cpu_product_bind (p, s->pieces->pdata[k], error))
          return FALSE;
    }
  for (guint i = 0; i < p->packs->len; i++)
    if (!sumi_cpu_product_bind (p, g_array_index (p->packs, SumiCpuPack, i).product, error))
      return FALSE;
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
  for (guint i = 0; i < n; i++)
    if (!sumi_cpu_lower (p, nodes[i], error))
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
  ok = open_dnnl (p, error) && build (p, error);
  omp_set_num_threads (before);
  if (!ok)
    {
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
set_real (SumiCpuPlan *p, const SumiValue *v, const SumiTensor *value, GError **error)
{
  gboolean used = g_array_index (p->buffers, SumiCpuBuffer, v->buffer).used;
  g_autofree float *converted = NULL;
  const float *data;

  if (sumi_tensor_get_dtype (value) == SUMI_F32 && sumi_tensor_is_aligned (value))
    data = sumi_tensor_peek_f32 (value);
  else
    {
      converted = g_try_new (float, (gsize)sumi_tensor_get_numel (value));
      if (converted == NULL)
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY,
                       "no memory to convert a tensor of %" G_GSIZE_FORMAT " bytes", sumi_tensor_get_size (value));
          return FALSE;
        }
      sumi_tensor_to_f32 (value, converted);
      data = converted;
    }
  if (used)
    memcpy (sumi_cpu_at (p, v), data, (gsize)sumi_tensor_get_numel (value) * sizeof (float));
  return sumi_cpu_pack_parameter (p, v->buffer, data, error);
}

static gboolean
cpu_set (SumiPlan *base, const SumiNode *leaf, const SumiTensor *value, GError **error)
{
  SumiCpuPlan *p = (SumiCpuPlan *)base;
  const SumiValue *v = &p->values[leaf->id];
  int before = enter_team (p);
  gint64 start = g_get_monotonic_time ();
  gboolean ok = leaf->kind == SUMI_INDEX ? set_index (p, v, value, error) : set_real (p, v, value, error);

  p->set_seconds += (double)(g_get_monotonic_time () - start) * 1e-6;
  omp_set_num_threads (before);
  return ok;
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
  int before = enter_team (p);
  gboolean ok = run_steps (p, cancellable, error);

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
cpu_memory (const SumiPlan *base, gsize *arena, gsize *parameters)
{
  const SumiCpuPlan *p = (const SumiCpuPlan *)base;

  *arena = p->arena_size;
  *parameters = p->store_size;
}

const SumiEngineClass sumi_engine_cpu_class = {
  .name = "cpu",
  .compile = cpu_compile,
  .plan_free = cpu_plan_free,
  .set = cpu_set,
  .run = cpu_run,
  .read = cpu_read,
  .memory = cpu_memory,
};
