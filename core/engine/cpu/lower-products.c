/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Convolutions, by oneDNN.  Pictures are channels last; parameters come in whatever format the
 * primitive likes best (DNNL_FORMAT_TAG_ANY). */
#include <omp.h>

#include "engine/cpu/plan.h"

/* ---- convolution ---- */

void
sumi_cpu_convolution_init (SumiCpuConvolution *c, SumiDType dtype, const SumiNode *n, const SumiShape *x,
                           const SumiShape *w, const SumiShape *b, const SumiShape *y, SumiDType y_dtype)
{
  *c = (SumiCpuConvolution){
    .x = sumi_cpu_shape_desc (x, dtype, dnnl_nhwc),
    .w = sumi_cpu_shape_desc (w, dtype, dnnl_format_tag_any),
    .b = b != NULL ? sumi_cpu_shape_desc (b, SUMI_F32, dnnl_a) : NULL,
    .y = sumi_cpu_shape_desc (y, y_dtype, dnnl_nhwc),
    .stride = { n->attr.conv.stride, n->attr.conv.stride },
    .pad_before = { n->attr.conv.pad_top, n->attr.conv.pad_left },
    .pad_after = { n->attr.conv.pad_bottom, n->attr.conv.pad_right },
  };
}

void
sumi_cpu_convolution_clear (SumiCpuConvolution *c)
{
  dnnl_memory_desc_destroy (c->x);
  dnnl_memory_desc_destroy (c->w);
  dnnl_memory_desc_destroy (c->b);
  dnnl_memory_desc_destroy (c->y);
}

gboolean
sumi_cpu_convolution_forward (SumiCpuPlan *p, const SumiCpuConvolution *c, dnnl_prop_kind_t kind,
                              dnnl_primitive_desc_t *pd, GError **error)
{
  return sumi_cpu_dnnl_check (dnnl_convolution_forward_primitive_desc_create (
                                  pd, p->dnnl->engine, kind, dnnl_convolution_direct, c->x, c->w, c->b, c->y, c->stride,
                                  c->dilation, c->pad_before, c->pad_after, p->dnnl->attr),
                              "conv2d", error);
}

/* Weights as a dense row-major value when they are not a plain view already. */
SumiValue
sumi_cpu_weights_of (SumiCpuPlan *p, const SumiNode *n, guint i)
{
  const SumiValue *w = &p->values[n->src[i]->id];

  return sumi_value_repeats (w) ? sumi_cpu_want (p, n, w, w->dtype, SUMI_ORDER_ROWS) : *w;
}

/* Adds the step of a product whose second source are weights, and makes the result the node's value. */
static gboolean
finish_weighted (SumiCpuPlan *p, const SumiNode *n, dnnl_primitive_desc_t pd, const SumiValue *x, int x_id,
                 const SumiValue *bias, SumiOrder order, int y_id, GError **error)
{
  const int ids[] = { x_id, DNNL_ARG_WEIGHTS, bias != NULL ? DNNL_ARG_BIAS : y_id, y_id };
  const_dnnl_memory_desc_t desc = dnnl_primitive_desc_query_md (pd, dnnl_query_exec_arg_md, DNNL_ARG_WEIGHTS);
  SumiValue given = sumi_cpu_weights_of (p, n, 1), w, y;
  const SumiValue *values[] = { x, &w, bias != NULL ? bias : &y, &y };
  SumiCpuProduct *product;

  if (!sumi_cpu_want_desc (p, n, &given, desc, &w, error))
    {
      dnnl_primitive_desc_destroy (pd);
      return FALSE;
    }
  y = sumi_cpu_new_value (p, sumi_cpu_dtype_of (p, n), &n->shape, order);
  product = sumi_cpu_product_new (p->dnnl, pd, ids, values, bias != NULL ? 4 : 3, error);
  if (product == NULL)
    return FALSE;
  sumi_cpu_add_product (p, n, product);
  p->values[n->id] = y;
  return TRUE;
}

dnnl_primitive_desc_t
sumi_cpu_describe_conv2d (SumiCpuPlan *p, gconstpointer what, const_dnnl_memory_desc_t weights, GError **error)
{
  SumiCpuConvolution c = *(const SumiCpuConvolution *)what;
  dnnl_primitive_desc_t pd = NULL;

  c.w = (dnnl_memory_desc_t)weights;
  sumi_cpu_convolution_forward (p, &c, dnnl_forward_inference, &pd, error);
  return pd;
}

static gboolean
lower_conv2d (SumiCpuPlan *p, const SumiNode *n, GError **error)
{
  gboolean biased = n->n_src > 2;
  SumiDType dtype = sumi_cpu_arithmetic (p, n);
  SumiValue x = sumi_cpu_source (p, n, 0, dtype, SUMI_ORDER_CHANNELS_LAST), w = sumi_cpu_weights_of (p, n, 1), b;
  dnnl_primitive_desc_t pd;
  SumiCpuConvolution c;

  if (biased)
    b = sumi_cpu_source (p, n, 2, SUMI_F32, SUMI_ORDER_ROWS);
  sumi_cpu_convolution_init (&c, dtype, n, &x.shape, &w.shape, biased ? &b.shape : NULL, &n->shape,
                             sumi_cpu_dtype_of (p, n));
  pd = sumi_cpu_describe_weighted (p, &w, dtype, sumi_cpu_describe_conv2d, &c, error);
  sumi_cpu_convolution_clear (&c);
  return pd != NULL
         && finish_weighted (p, n, pd, &x, DNNL_ARG_SRC, biased ? &b : NULL, SUMI_ORDER_CHANNELS_LAST, DNNL_ARG_DST,
                             error);
}

typedef struct
{
  const SumiNode *node;
  const SumiShape *gx, *gy;
} Backward;

static dnnl_primitive_desc_t
describe_backward (SumiCpuPlan *p, gconstpointer what, const_dnnl_memory_desc_t weights, GError **error)
{
  const Backward *b = what;
  dnnl_primitive_desc_t hint = NULL, pd = NULL;
  SumiCpuConvolution c;

  sumi_cpu_convolution_init (&c, p->dtype, b->node, b->gx, &b->node->src[1]->shape, NULL, b->gy, p->dtype);
  if (sumi_cpu_convolution_forward (p, &c, dnnl_forward_training, &hint, error))
    sumi_cpu_dnnl_check (dnnl_convolution_backward_data_primitive_desc_create (
                             &pd, p->dnnl->engine, dnnl_convolution_direct, c.x, weights, c.y, c.stride, c.dilation,
                             c.pad_before, c.pad_after, hint, p->dnnl->attr),
                         "conv2d_bwd_data", error);
  dnnl_primitive_desc_destroy (hint);
  sumi_cpu_convolution_clear (&c);
  return pd;
}

/* gx: shape of the result, or of a part of it; gy: of the part's source.  A format of the weights that is there already
 * is not asked for: oneDNN 3.7 leaks memory when this primitive refuses one. */
static dnnl_primitive_desc_t
backward_data_desc (SumiCpuPlan *p, const SumiNode *n, const SumiShape *gx, const SumiShape *gy, GError **error)
{
  dnnl_memory_desc_t any = sumi_cpu_shape_desc (&n->src[1]->shape, p->dtype, dnnl_format_tag_any);
  dnnl_primitive_desc_t pd = describe_backward (p, &(Backward){ n, gx, gy }, any, error);

  dnnl_memory_desc_destroy (any);
  return pd;
}

/* One primitive per picture. */
static gboolean
add_backward_pictures (SumiCpuPlan *p, const SumiNode *n, const SumiValue *gy, GPtrArray *products, SumiValue *w,
                       const SumiValue *gx, GError **error)
{
  const int ids[] = { DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC };
  SumiValue given = sumi_cpu_weights_of (p, n, 1);

  for (gint64 i = 0; i < n->shape.d[0]; i++)
    {
      SumiValue from = sumi_cpu_picture_part (gy, i, 1, 0, gy->shape.d[2]);
      SumiValue to = sumi_cpu_picture_part (gx, i, 1, 0, gx->shape.d[2]);
      const SumiValue *values[] = { &from, w, &to };
      dnnl_primitive_desc_t pd = backward_data_desc (p, n, &to.shape, &from.shape, error);
      const_dnnl_memory_desc_t desc = dnnl_primitive_desc_query_md (pd, dnnl_query_exec_arg_md, DNNL_ARG_WEIGHTS);
      SumiCpuProduct *product = NULL;

      if (pd == NULL)
        return FALSE;
      if (i == 0 && !sumi_cpu_want_desc (p, n, &given, desc, w, error))
        dnnl_primitive_desc_destroy (pd);
      else
        product = sumi_cpu_product_new (p->dnnl, pd, ids, values, 3, error);
      if (product == NULL)
        return FALSE;
      g_ptr_array_add (products, product);
    }
  return TRUE;
}

/* Where strided windows overlap, oneDNN adds their shares in an order that depends on its threads. */
static gboolean
lower_conv2d_bwd_data_pieces (SumiCpuPlan *p, const SumiNode *n, const SumiValue *gy, GError **error)
{
  GPtrArray *products = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_cpu_product_free);
  SumiValue gx = sumi_cpu_new_value (p, p->dtype, &n->shape, SUMI_ORDER_CHANNELS_LAST), w;
  gboolean ok;

  omp_set_num_threads (1); /* what oneDNN plans for */
  ok = add_backward_pictures (p, n, gy, products, &w, &gx, error);
  omp_set_num_threads ((int)p->threads);
  if (ok)
    sumi_cpu_add_pieces (p, n, products, &gx, (const SumiValue *[]){ gy, &w }, 2);
  else
    g_ptr_array_unref (products);
  p->values[n->id] = gx;
  return ok;
}

static gboolean
lower_conv2d_bwd_data (SumiCpuPlan *p, const SumiNode *n, GError **error)
{
  SumiValue gy = sumi_cpu_source (p, n, 0, p->dtype, SUMI_ORDER_CHANNELS_LAST);
  const SumiShape *w = &n->src[1]->shape;
  dnnl_primitive_desc_t pd;
  gint64 stride = n->attr.conv.stride;

  if (stride > 1 && MAX (w->d[2], w->d[3]) > stride)
    return lower_conv2d_bwd_data_pieces (p, n, &gy, error);
  pd = backward_data_desc (p, n, &n->shape, &gy.shape, error);
  return pd != NULL
         && finish_weighted (p, n, pd, &gy, DNNL_ARG_DIFF_DST, NULL, SUMI_ORDER_CHANNELS_LAST, DNNL_ARG_DIFF_SRC,
                             error);
}

gboolean
sumi_cpu_lower_product (SumiCpuPlan *p, const SumiNode *n, GError **error)
{
  switch (n->op)
    {
    case SUMI_OP_CONV2D:
      return p->inner[n->src[0]->id] ? sumi_cpu_lower_strips (p, n, error) : lower_conv2d (p, n, error);
    case SUMI_OP_CONV2D_BWD_DATA:
      return lower_conv2d_bwd_data (p, n, error);
    case SUMI_OP_CONV2D_BWD_WEIGHTS:
      return sumi_cpu_lower_weight_gradient (p, n, error);
    case SUMI_OP_LINEAR:
      return sumi_cpu_lower_linear (p, n, error);
    default:
      return sumi_cpu_lower_matmul (p, n, error);
    }
}
