/* SPDX-License-Identifier: GPL-3.0-or-later */
/* oneDNN primitives as steps: descriptors of values, arguments, packed parameters. */
#include "engine/cpu/plan.h"

gboolean
sumi_cpu_dnnl_check (dnnl_status_t status, const char *what, GError **error)
{
  if (status == dnnl_success)
    return TRUE;
  if (status == dnnl_out_of_memory)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY, "%s: oneDNN found no memory", what);
  else
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_ENGINE, "%s: oneDNN answered %d (%s), expected success", what, status,
                 status == dnnl_unimplemented ? "not implemented on this processor" : "failure");
  return FALSE;
}

dnnl_data_type_t
sumi_cpu_dnnl_dtype (SumiDType dtype)
{
  return dtype == SUMI_BF16 ? dnnl_bf16 : dnnl_f32;
}

/* An axis of size 1 gets the stride that a dense layout would give it. */
dnnl_memory_desc_t
sumi_cpu_value_desc (const SumiValue *v)
{
  dnnl_memory_desc_t desc = NULL;
  dnnl_dims_t d, s;
  gint64 dense = 1;

  for (guint i = v->shape.rank; i-- > 0;)
    {
      d[i] = v->shape.d[i];
      s[i] = d[i] > 1 ? v->stride[i] : dense;
      dense = s[i] * d[i];
    }
  if (dnnl_memory_desc_create_with_strides (&desc, (int)v->shape.rank, d, sumi_cpu_dnnl_dtype (v->dtype), s)
      != dnnl_success)
    return NULL;
  return desc;
}

void
sumi_cpu_product_free (SumiCpuProduct *product)
{
  if (product == NULL)
    return;
  for (guint i = 0; i < product->n_args; i++)
    dnnl_memory_destroy (product->args[i].memory);
  dnnl_primitive_destroy (product->primitive);
  g_free (product->implementation);
  g_free (product);
}

static gboolean
add_arg (SumiCpuPlan *p, SumiCpuProduct *product, const_dnnl_primitive_desc_t pd, int id, GError **error)
{
  const_dnnl_memory_desc_t desc = dnnl_primitive_desc_query_md (pd, dnnl_query_exec_arg_md, id);
  dnnl_exec_arg_t *arg = &product->args[product->n_args];

  arg->arg = id;
  if (!sumi_cpu_dnnl_check (dnnl_memory_create (&arg->memory, desc, p->engine, DNNL_MEMORY_NONE), "an argument", error))
    return FALSE;
  product->n_args++;
  return TRUE;
}

SumiCpuProduct *
sumi_cpu_product_new (SumiCpuPlan *p, dnnl_primitive_desc_t pd, const int *ids, const SumiValue *const *values, guint n,
                      GError **error)
{
  SumiCpuProduct *product = g_new0 (SumiCpuProduct, 1);
  const char *implementation = NULL;
  gboolean ok;

  dnnl_primitive_desc_query (pd, dnnl_query_impl_info_str, 0, &implementation);
  product->implementation = g_strdup (implementation);
  product->scratch = dnnl_memory_desc_get_size (dnnl_primitive_desc_query_md (pd, dnnl_query_scratchpad_md, 0));
  ok = sumi_cpu_dnnl_check (dnnl_primitive_create (&product->primitive, pd), "a primitive", error);
  for (guint i = 0; ok && i < n; i++)
    {
      product->values[i] = *values[i];
      ok = add_arg (p, product, pd, ids[i], error);
    }
  ok = ok && add_arg (p, product, pd, DNNL_ARG_SCRATCHPAD, error);
  dnnl_primitive_desc_destroy (pd);
  if (!ok)
    g_clear_pointer (&product, sumi_cpu_product_free);
  return product;
}

gboolean
sumi_cpu_product_bind (SumiCpuPlan *p, SumiCpuProduct *product, GError **error)
{
  for (guint i = 0; i < product->n_args; i++)
    {
      gboolean scratch = product->args[i].arg == DNNL_ARG_SCRATCHPAD;
      void *at = scratch ? p->scratch : sumi_cpu_at (p, &product->values[i]);

      if (!sumi_cpu_dnnl_check (dnnl_memory_set_data_handle (product->args[i].memory, at), "an address", error))
        return FALSE;
    }
  return TRUE;
}

gboolean
sumi_cpu_product_execute (SumiCpuPlan *p, const SumiCpuProduct *product, const char *what, GError **error)
{
  return sumi_cpu_dnnl_check (
             dnnl_primitive_execute (product->primitive, p->stream, (int)product->n_args, product->args), what, error)
         && sumi_cpu_dnnl_check (dnnl_stream_wait (p->stream), what, error);
}

static gboolean
run_product (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  return sumi_cpu_product_execute (p, s->product, sumi_op_name (s->node->op), error);
}

void
sumi_cpu_add_product (SumiCpuPlan *p, const SumiNode *node, SumiCpuProduct *product)
{
  guint n = product->n_args - 2; /* without the result and the scratchpad */
  const SumiValue *in[SUMI_CPU_MAX_ARGS];

  for (guint i = 0; i < n; i++)
    in[i] = &product->values[i];
  sumi_cpu_add_step (p, run_product, node, &product->values[n], in, n)->product = product;
}

static SumiCpuProduct *
reorder_new (SumiCpuPlan *p, const SumiValue *from, const_dnnl_memory_desc_t from_desc, const SumiValue *to,
             const_dnnl_memory_desc_t to_desc, GError **error)
{
  const int ids[] = { DNNL_ARG_FROM, DNNL_ARG_TO };
  const SumiValue *values[] = { from, to };
  dnnl_primitive_desc_t pd = NULL;

  if (!sumi_cpu_dnnl_check (dnnl_reorder_primitive_desc_create (&pd, from_desc, p->engine, to_desc, p->engine, p->attr),
                            "a reorder", error))
    return NULL;
  return sumi_cpu_product_new (p, pd, ids, values, 2, error);
}

gboolean
sumi_cpu_add_reorder (SumiCpuPlan *p, const SumiNode *node, const SumiValue *from, const_dnnl_memory_desc_t from_desc,
                      const SumiValue *to, const_dnnl_memory_desc_t to_desc, GError **error)
{
  SumiCpuProduct *product = reorder_new (p, from, from_desc, to, to_desc, error);

  if (product == NULL)
    return FALSE;
  sumi_cpu_add_product (p, node, product);
  return TRUE;
}

static const SumiCpuPack *
find_pack (SumiCpuPlan *p, const SumiValue *from, const_dnnl_memory_desc_t desc)
{
  for (guint i = 0; i < p->packs->len; i++)
    {
      const SumiCpuPack *pack = &g_array_index (p->packs, SumiCpuPack, i);

      if (sumi_value_same_place (&pack->from, from) && dnnl_memory_desc_equal (pack->desc, desc))
        return pack;
    }
  return NULL;
}

static gboolean
want_pack (SumiCpuPlan *p, const SumiValue *v, const_dnnl_memory_desc_t from_desc, const_dnnl_memory_desc_t desc,
           SumiValue *out, GError **error)
{
  const SumiCpuPack *made = find_pack (p, v, desc);
  SumiCpuPack pack = { .from = *v };

  if (made == NULL)
    {
      pack.to = (SumiValue){ .dtype = v->dtype, .shape = v->shape };
      pack.to.buffer = sumi_cpu_add_stored (p, dnnl_memory_desc_get_size (desc));
      pack.product = reorder_new (p, v, from_desc, &pack.to, desc, error);
      if (pack.product == NULL)
        return FALSE;
      dnnl_memory_desc_clone (&pack.desc, desc);
      g_array_append_val (p->packs, pack);
      made = &pack;
    }
  *out = made->to;
  return TRUE;
}

gboolean
sumi_cpu_want_desc (SumiCpuPlan *p, const SumiNode *node, const SumiValue *v, const_dnnl_memory_desc_t desc,
                    SumiValue *out, GError **error)
{
  dnnl_memory_desc_t own = sumi_cpu_value_desc (v);
  gboolean ok = TRUE;

  if (dnnl_memory_desc_equal (own, desc))
    *out = *v;
  else if (g_array_index (p->buffers, SumiCpuBuffer, v->buffer).leaf)
    ok = want_pack (p, v, own, desc, out, error);
  else
    {
      *out = (SumiValue){ .dtype = v->dtype, .shape = v->shape };
      out->buffer = sumi_cpu_add_buffer (p, dnnl_memory_desc_get_size (desc));
      ok = sumi_cpu_add_reorder (p, node, v, own, out, desc, error);
    }
  dnnl_memory_desc_destroy (own);
  return ok;
}

gboolean
sumi_cpu_pack_parameter (SumiCpuPlan *p, guint buffer, const float *parameter, GError **error)
{
  for (guint i = 0; i < p->packs->len; i++)
    {
      const SumiCpuPack *pack = &g_array_index (p->packs, SumiCpuPack, i);
      SumiCpuProduct *product = pack->product;

      if (pack->from.buffer != buffer)
        continue;
      if (!sumi_cpu_dnnl_check (
              dnnl_memory_set_data_handle (product->args[0].memory, (guint8 *)parameter + pack->from.offset),
              "an address", error)
          || !sumi_cpu_product_execute (p, product, "packing a parameter", error))
        return FALSE;
    }
  return TRUE;
}
