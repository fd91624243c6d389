/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Convolutions and matrix products, by oneDNN.  Pictures are channels last; parameters come in whatever format the
 * primitive likes best (DNNL_FORMAT_TAG_ANY). */
#include <omp.h>

#include "engine/cpu/plan.h"

/* ---- convolution ---- */

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

void
sumi_cpu_convolution_init (SumiCpuConvolution *c, SumiDType dtype, const SumiNode *n, const SumiShape *x,
                           const SumiShape *w, const SumiShape *b, const SumiShape *y)
{
  *c = (SumiCpuConvolution){
    .x = sumi_cpu_shape_desc (x, dtype, dnnl_nhwc),
    .w = sumi_cpu_shape_desc (w, dtype, dnnl_format_tag_any),
    .b = b != NULL ? sumi_cpu_shape_desc (b, SUMI_F32, dnnl_a) : NULL,
    .y = sumi_cpu_shape_desc (y, dtype, dnnl_nhwc),
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
                                  pd, p->engine, kind, dnnl_convolution_direct, c->x, c->w, c->b, c->y, c->stride,
                                  c->dilation, c->pad_before, c->pad_after, p->attr),
                              "conv2d", error);
}

/* Weights as a dense row-major value when they are not a plain view already. */
static SumiValue
weights_of (SumiCpuPlan *p, const SumiNode *n, guint i)
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
  SumiValue given = weights_of (p, n, 1), w, y;
  const SumiValue *values[] = { x, &w, bias != NULL ? bias : &y, &y };
  SumiCpuProduct *product;

  if (!sumi_cpu_want_desc (p, n, &given, desc, &w, error))
    {
      dnnl_primitive_desc_destroy (pd);
      return FALSE;
    }
  y = sumi_cpu_new_value (p, p->dtype, &n->shape, order);
  product = sumi_cpu_product_new (p, pd, ids, values, bias != NULL ? 4 : 3, error);
  if (product == NULL)
    return FALSE;
  sumi_cpu_add_product (p, n, product);
  p->values[n->id] = y;
  return TRUE;
}

static gboolean
lower_conv2d (SumiCpuPlan *p, const SumiNode *n, GError **error)
{
  gboolean biased = n->n_src > 2, ok;
  SumiValue x = sumi_cpu_source (p, n, 0, p->dtype, SUMI_ORDER_CHANNELS_LAST), b = { 0 };
  dnnl_primitive_desc_t pd = NULL;
  SumiCpuConvolution c;

  if (biased)
    b = sumi_cpu_source (p, n, 2, SUMI_F32, SUMI_ORDER_ROWS);
  sumi_cpu_convolution_init (&c, p->dtype, n, &x.shape, &n->src[1]->shape, biased ? &b.shape : NULL, &n->shape);
  ok = sumi_cpu_convolution_forward (p, &c, dnnl_forward_inference, &pd, error)
       && finish_weighted (p, n, pd, &x, DNNL_ARG_SRC, biased ? &b : NULL, SUMI_ORDER_CHANNELS_LAST, DNNL_ARG_DST,
                           error);
  sumi_cpu_convolution_clear (&c);
  return ok;
}

static dnnl_primitive_desc_t
backward_data_desc (SumiCpuPlan *p, const SumiNode *n, const SumiShape *gx, const SumiShape *gy, GError **error)
{
  dnnl_primitive_desc_t hint = NULL, pd = NULL;
  SumiCpuConvolution c;

  sumi_cpu_convolution_init (&c, p->dtype, n, gx, &n->src[1]->shape, NULL, gy);
  if (sumi_cpu_convolution_forward (p, &c, dnnl_forward_training, &hint, error))
    sumi_cpu_dnnl_check (dnnl_convolution_backward_data_primitive_desc_create (
                             &pd, p->engine, dnnl_convolution_direct, c.x, c.w, c.y, c.stride, c.dilation, c.pad_before,
                             c.pad_after, hint, p->attr),
                         "conv2d_bwd_data", error);
  dnnl_primitive_desc_destroy (hint);
  sumi_cpu_convolution_clear (&c);
  return pd;
}

/* One primitive per picture. */
static gboolean
add_backward_pictures (SumiCpuPlan *p, const SumiNode *n, const SumiValue *gy, GPtrArray *products, SumiValue *w,
                       const SumiValue *gx, GError **error)
{
  const int ids[] = { DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC };
  SumiValue given = weights_of (p, n, 1);

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
        product = sumi_cpu_product_new (p, pd, ids, values, 3, error);
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

/* ---- matrix products ---- */

static gboolean
matmul_desc (SumiCpuPlan *p, dnnl_memory_desc_t a, dnnl_memory_desc_t b, dnnl_memory_desc_t bias, dnnl_memory_desc_t y,
             dnnl_primitive_desc_t *pd, GError **error)
{
  return sumi_cpu_dnnl_check (dnnl_matmul_primitive_desc_create (pd, p->engine, a, b, bias, y, p->attr),
                              "a matrix product", error);
}

static void
swap_last_two (SumiValue *v)
{
  guint8 axes[SUMI_MAX_RANK];
  guint r = v->shape.rank;

  for (guint i = 0; i < r; i++)
    axes[i] = (guint8)(i + 2 < r ? i : 2 * r - 3 - i);
  sumi_value_permute (v, axes, v);
}

/* Whether oneDNN reads the matrices of v fast where they lie: rows or columns are dense. */
static gboolean
has_plain_matrices (const SumiValue *v)
{
  guint r = v->shape.rank;
  gint64 m = v->shape.d[r - 2], n = v->shape.d[r - 1], sm = v->stride[r - 2], sn = v->stride[r - 1];

  if ((m > 1 && sm == 0) || (n > 1 && sn == 0))
    return FALSE;
  return n == 1 ? m == 1 || sm == 1 : sn == 1 ? m == 1 || sm >= n : sn >= m && (m == 1 || sm == 1);
}

/* Source i as matrices (rows, columns) in the plan's dtype (parameters stay what they are), with `rank` axes. */
static SumiValue
matrices_of (SumiCpuPlan *p, const SumiNode *n, guint i, gboolean transposed, guint rank)
{
  SumiValue v = p->values[n->src[i]->id];
  SumiShape shape = { .rank = rank };
  guint lead;

  if (!g_array_index (p->buffers, SumiCpuBuffer, v.buffer).leaf && v.dtype != p->dtype)
    v = sumi_cpu_want (p, n, &v, p->dtype, SUMI_ORDER_ROWS);
  if (!has_plain_matrices (&v))
    v = sumi_cpu_want (p, n, &v, v.dtype, SUMI_ORDER_ROWS);
  if (transposed)
    swap_last_two (&v);
  lead = rank - v.shape.rank;
  for (guint k = 0; k < rank; k++)
    shape.d[k] = k < lead ? 1 : v.shape.d[k - lead];
  sumi_value_broadcast (&v, &shape, &v);
  for (guint k = 0; k + 2 < rank; k++)
    if (v.stride[k] == 0)
      v.shape.d[k] = 1; /* oneDNN repeats an axis of size 1 */
  return v;
}

/* Where all matrices of b are the same one and those of a lie one after the other: one large product. */
static gboolean
flatten (SumiValue *a, SumiValue *b, SumiValue *y)
{
  guint r = y->shape.rank;
  gint64 rows = 1;

  for (guint k = 0; k + 2 < r; k++)
    {
      if (b->shape.d[k] != 1 || a->shape.d[k] != y->shape.d[k])
        return FALSE;
      rows *= a->shape.d[k];
    }
  rows *= a->shape.d[r - 2];
  if (!sumi_value_reshape (a, &SUMI_SHAPE (rows, a->shape.d[r - 1]), a))
    return FALSE;
  return sumi_value_reshape (b, &SUMI_SHAPE (b->shape.d[r - 2], b->shape.d[r - 1]), b)
         && sumi_value_reshape (y, &SUMI_SHAPE (rows, y->shape.d[r - 1]), y);
}

static SumiValue
cast_leaf (SumiCpuPlan *p, const SumiNode *n, const SumiValue *v)
{
  return v->dtype == p->dtype ? *v : sumi_cpu_want (p, n, v, p->dtype, SUMI_ORDER_ANY);
}

/* y = a b + bias: a and b are views of matrices, y is dense. */
static gboolean
add_matmul (SumiCpuPlan *p, const SumiNode *n, SumiValue a, SumiValue b, const SumiValue *bias, SumiValue y,
            GError **error)
{
  gboolean packed, ok;
  SumiShape row = { .rank = y.shape.rank };
  SumiValue w = { 0 };
  const int ids[] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, bias != NULL ? DNNL_ARG_BIAS : DNNL_ARG_DST, DNNL_ARG_DST };
  const SumiValue *values[] = { &a, &w, bias != NULL ? bias : &y, &y };
  dnnl_memory_desc_t a_desc, b_desc, y_desc, bias_desc = NULL;
  dnnl_primitive_desc_t pd = NULL;
  SumiCpuProduct *product = NULL;

  packed = g_array_index (p->buffers, SumiCpuBuffer, b.buffer).leaf && b.shape.rank == 2;
  a = cast_leaf (p, n, &a);
  if (!packed)
    b = cast_leaf (p, n, &b);
  for (guint i = 0; i + 1 < row.rank; i++)
    row.d[i] = 1;
  row.d[row.rank - 1] = y.shape.d[row.rank - 1];
  a_desc = sumi_cpu_value_desc (&a);
  b_desc = packed ? sumi_cpu_shape_desc (&b.shape, p->dtype, dnnl_format_tag_any) : sumi_cpu_value_desc (&b);
  y_desc = sumi_cpu_value_desc (&y);
  if (bias != NULL)
    {
      SumiValue flat;

      sumi_value_reshape (bias, &row, &flat);
      bias_desc = sumi_cpu_value_desc (&flat);
    }
  ok = matmul_desc (p, a_desc, b_desc, bias_desc, y_desc, &pd, error);
  if (ok)
    {
      ok = sumi_cpu_want_desc (p, n, &b, dnnl_primitive_desc_query_md (pd, dnnl_query_exec_arg_md, DNNL_ARG_WEIGHTS),
                               &w, error);
      if (ok)
        product = sumi_cpu_product_new (p, pd, ids, values, bias != NULL ? 4 : 3, error);
      else
        dnnl_primitive_desc_destroy (pd);
      ok = product != NULL;
    }
  if (ok)
    sumi_cpu_add_product (p, n, product);
  dnnl_memory_desc_destroy (a_desc);
  dnnl_memory_desc_destroy (b_desc);
  dnnl_memory_desc_destroy (y_desc);
  dnnl_memory_desc_destroy (bias_desc);
  return ok;
}

static gboolean
lower_matmul (SumiCpuPlan *p, const SumiNode *n, GError **error)
{
  guint rank = n->shape.rank;
  SumiValue a = matrices_of (p, n, 0, n->attr.matmul.ta, rank);
  SumiValue b = matrices_of (p, n, 1, n->attr.matmul.tb, rank);
  SumiValue y = sumi_cpu_new_value (p, sumi_cpu_dtype_of (p, n), &n->shape, SUMI_ORDER_ROWS);
  SumiValue a2 = a, b2 = b, y2 = y;

  p->values[n->id] = y;
  return flatten (&a2, &b2, &y2) ? add_matmul (p, n, a2, b2, NULL, y2, error) : add_matmul (p, n, a, b, NULL, y, error);
}

static gboolean
lower_linear (SumiCpuPlan *p, const SumiNode *n, GError **error)
{
  gint64 k = n->src[1]->shape.d[1], o = n->src[1]->shape.d[0], rows = sumi_shape_numel (&n->shape) / o;
  SumiValue x = sumi_cpu_source (p, n, 0, p->dtype, SUMI_ORDER_ROWS), w = weights_of (p, n, 1), b = { 0 };
  SumiValue y = sumi_cpu_new_value (p, sumi_cpu_dtype_of (p, n), &n->shape, SUMI_ORDER_ROWS);
  gboolean biased = n->n_src > 2;

  p->values[n->id] = y;
  if (biased)
    b = sumi_cpu_source (p, n, 2, SUMI_F32, SUMI_ORDER_ROWS);
  if (!has_plain_matrices (&w))
    w = sumi_cpu_want (p, n, &w, w.dtype, SUMI_ORDER_ROWS);
  swap_last_two (&w);
  sumi_value_reshape (&x, &SUMI_SHAPE (rows, k), &x);
  sumi_value_reshape (&y, &SUMI_SHAPE (rows, o), &y);
  return add_matmul (p, n, x, w, biased ? &b : NULL, y, error);
}

gboolean
sumi_cpu_lower_product (SumiCpuPlan *p, const SumiNode *n, GError **error)
{
  switch (n->op)
    {
    case SUMI_OP_CONV2D:
      return lower_conv2d (p, n, error);
    case SUMI_OP_CONV2D_BWD_DATA:
      return lower_conv2d_bwd_data (p, n, error);
    case SUMI_OP_CONV2D_BWD_WEIGHTS:
      return sumi_cpu_lower_weight_gradient (p, n, error);
    case SUMI_OP_LINEAR:
      return lower_linear (p, n, error);
    default:
      return lower_matmul (p, n, error);
    }
}
