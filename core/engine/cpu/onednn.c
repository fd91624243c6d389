/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Descriptors, primitives and their arguments: see onednn.h. */
#include "engine/cpu/onednn.h"

gboolean
sumi_cpu_dnnl_open (SumiCpuDnnl *d, GError **error)
{
  return sumi_cpu_dnnl_check (dnnl_engine_create (&d->engine, dnnl_cpu, 0), "an engine", error)
         && sumi_cpu_dnnl_check (dnnl_stream_create (&d->stream, d->engine, dnnl_stream_default_flags), "a stream",
                                 error)
         && sumi_cpu_dnnl_check (dnnl_primitive_attr_create (&d->attr), "attributes", error)
         && sumi_cpu_dnnl_check (dnnl_primitive_attr_set_scratchpad_mode (d->attr, dnnl_scratchpad_mode_user),
                                 "attributes", error)
         && sumi_cpu_dnnl_check (dnnl_primitive_attr_set_deterministic (d->attr, 1), "attributes", error);
}

void
sumi_cpu_dnnl_close (SumiCpuDnnl *d)
{
  dnnl_primitive_attr_destroy (d->attr);
  dnnl_stream_destroy (d->stream);
  dnnl_engine_destroy (d->engine);
}

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

dnnl_memory_desc_t
sumi_cpu_shape_desc (const SumiShape *shape, SumiDType dtype, dnnl_format_tag_t tag)
{
  dnnl_memory_desc_t desc = NULL;
  dnnl_dims_t d;

  for (guint i = 0; i < shape->rank; i++)
    d[i] = shape->d[i];
  return dnnl_memory_desc_create_with_tag (&desc, (int)shape->rank, d, sumi_cpu_dnnl_dtype (dtype), tag) == dnnl_success
             ? desc
             : NULL;
}

const char *
sumi_cpu_implementation (const_dnnl_primitive_desc_t pd)
{
  const char *name = "";

  dnnl_primitive_desc_query (pd, dnnl_query_impl_info_str, 0, &name);
  return name;
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
add_arg (const SumiCpuDnnl *d, SumiCpuProduct *product, const_dnnl_primitive_desc_t pd, int id, GError **error)
{
  const_dnnl_memory_desc_t desc = dnnl_primitive_desc_query_md (pd, dnnl_query_exec_arg_md, id);
  dnnl_exec_arg_t *arg = &product->args[product->n_args];

  arg->arg = id;
  if (!sumi_cpu_dnnl_check (dnnl_memory_create (&arg->memory, desc, d->engine, DNNL_MEMORY_NONE), "an argument", error))
    return FALSE;
  product->n_args++;
  return TRUE;
}

SumiCpuProduct *
sumi_cpu_product_new (const SumiCpuDnnl *d, dnnl_primitive_desc_t pd, const int *ids, const SumiValue *const *values,
                      guint n, GError **error)
{
  SumiCpuProduct *product = g_new0 (SumiCpuProduct, 1);
  gboolean ok;

  product->implementation = g_strdup (sumi_cpu_implementation (pd));
  product->scratch = dnnl_memory_desc_get_size (dnnl_primitive_desc_query_md (pd, dnnl_query_scratchpad_md, 0));
  ok = sumi_cpu_dnnl_check (dnnl_primitive_create (&product->primitive, pd), "a primitive", error);
  for (guint i = 0; ok && i < n; i++)
    {
      product->values[i] = *values[i];
      ok = add_arg (d, product, pd, ids[i], error);
    }
  ok = ok && add_arg (d, product, pd, DNNL_ARG_SCRATCHPAD, error);
  dnnl_primitive_desc_destroy (pd);
  if (!ok)
    g_clear_pointer (&product, sumi_cpu_product_free);
  return product;
}

gboolean
sumi_cpu_product_point (SumiCpuProduct *product, guint arg, void *at, GError **error)
{
  return sumi_cpu_dnnl_check (dnnl_memory_set_data_handle (product->args[arg].memory, at), "an address", error);
}

gboolean
sumi_cpu_product_execute (const SumiCpuDnnl *d, const SumiCpuProduct *product, const char *what, GError **error)
{
  return sumi_cpu_dnnl_check (
             dnnl_primitive_execute (product->primitive, d->stream, (int)product->n_args, product->args), what, error)
         && sumi_cpu_dnnl_check (dnnl_stream_wait (d->stream), what, error);
}

SumiCpuProduct *
sumi_cpu_reorder_new (const SumiCpuDnnl *d, const SumiValue *from, const_dnnl_memory_desc_t from_desc,
                      const SumiValue *to, const_dnnl_memory_desc_t to_desc, GError **error)
{
  const int ids[] = { DNNL_ARG_FROM, DNNL_ARG_TO };
  const SumiValue *values[] = { from, to };
  dnnl_primitive_desc_t pd = NULL;

  if (!sumi_cpu_dnnl_check (dnnl_reorder_primitive_desc_create (&pd, from_desc, d->engine, to_desc, d->engine, d->attr),
                            "a reorder", error))
    return NULL;
  return sumi_cpu_product_new (d, pd, ids, values, 2, error);
}
