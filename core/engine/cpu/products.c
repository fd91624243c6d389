/* SPDX-License-Identifier: GPL-3.0-or-later */
/* oneDNN primitives as steps, and values in the formats that they want. */
#include "engine/cpu/plan.h"

gboolean
sumi_cpu_bind_product (SumiCpuPlan *p, SumiCpuProduct *product, GError **error)
{
  for (guint i = 0; i < product->n_args; i++)
    {
      gboolean scratch = product->args[i].arg == DNNL_ARG_SCRATCHPAD;

      if (!sumi_cpu_product_point (product, i, scratch ? p->scratch : sumi_cpu_at (p, &product->values[i]), error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
run_product (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  return sumi_cpu_product_execute (p->dnnl, s->product, sumi_op_name (s->node->op), error);
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

gboolean
sumi_cpu_add_reorder (SumiCpuPlan *p, const SumiNode *node, const SumiValue *from, const_dnnl_memory_desc_t from_desc,
                      const SumiValue *to, const_dnnl_memory_desc_t to_desc, GError **error)
{
  SumiCpuProduct *product = sumi_cpu_reorder_new (p->dnnl, from, from_desc, to, to_desc, error);

  if (product == NULL)
    return FALSE;
  sumi_cpu_add_product (p, node, product);
  return TRUE;
}

/* The buffer of a form: the one that stands for it already, or a new one. */
static guint
buffer_of_form (SumiCpuPlan *p, SumiCpuForm *form)
{
  guint i;

  for (i = 0; i < p->buffers->len; i++)
    if (g_array_index (p->buffers, SumiCpuBuffer, i).form == form)
      return i;
  i = sumi_cpu_add_stored (p, form->size);
  g_array_index (p->buffers, SumiCpuBuffer, i).form = form;
  return i;
}

gboolean
sumi_cpu_want_desc (SumiCpuPlan *p, const SumiNode *node, const SumiValue *v, const_dnnl_memory_desc_t desc,
                    SumiValue *out, GError **error)
{
  const char *parameter = g_array_index (p->buffers, SumiCpuBuffer, v->buffer).parameter;
  dnnl_memory_desc_t own = sumi_cpu_value_desc (v);
  gboolean ok = TRUE;

  *out = (SumiValue){ .dtype = v->dtype, .shape = v->shape };
  if (dnnl_memory_desc_equal (own, desc))
    *out = *v;
  else if (parameter != NULL)
    {
      SumiCpuForm *form = sumi_cpu_weights_want (p->weights, parameter, v, desc, error);

      ok = form != NULL;
      if (ok)
        out->buffer = buffer_of_form (p, form);
    }
  else
    {
      out->buffer = sumi_cpu_add_buffer (p, dnnl_memory_desc_get_size (desc));
      ok = sumi_cpu_add_reorder (p, node, v, own, out, desc, error);
    }
  dnnl_memory_desc_destroy (own);
  return ok;
}

/* pd was described with its best format: another one that takes a format which is there, or pd itself. Consumes pd. */
static dnnl_primitive_desc_t
prefer_known (SumiCpuPlan *p, const SumiValue *weights, SumiDType dtype, SumiCpuDescribe describe, gconstpointer what,
              dnnl_primitive_desc_t pd)
{
  const char *parameter = g_array_index (p->buffers, SumiCpuBuffer, weights->buffer).parameter;
  const_dnnl_memory_desc_t best = dnnl_primitive_desc_query_md (pd, dnnl_query_exec_arg_md, DNNL_ARG_WEIGHTS);
  g_autoptr (GPtrArray) known = sumi_cpu_weights_formats (p->weights, parameter, weights, dtype);

  for (guint i = 0; i < known->len; i++)
    if (dnnl_memory_desc_equal (known->pdata[i], best))
      return pd;
  for (guint i = 0; i < known->len; i++)
    {
      dnnl_primitive_desc_t other = describe (p, what, known->pdata[i], NULL);

      if (other != NULL && g_str_equal (sumi_cpu_implementation (other), sumi_cpu_implementation (pd)))
        {
          dnnl_primitive_desc_destroy (pd);
          return other;
        }
      dnnl_primitive_desc_destroy (other);
    }
  return pd;
}

dnnl_primitive_desc_t
sumi_cpu_describe_weighted (SumiCpuPlan *p, const SumiValue *weights, SumiDType dtype, SumiCpuDescribe describe,
                            gconstpointer what, GError **error)
{
  dnnl_memory_desc_t any = sumi_cpu_shape_desc (&weights->shape, dtype, dnnl_format_tag_any);
  dnnl_primitive_desc_t pd = describe (p, what, any, error);

  dnnl_memory_desc_destroy (any);
  if (pd == NULL || g_array_index (p->buffers, SumiCpuBuffer, weights->buffer).parameter == NULL)
    return pd;
  return prefer_known (p, weights, dtype, describe, what, pd);
}
