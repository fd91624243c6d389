/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A convolution of an enlarged picture, strip by strip: the enlarged picture is the largest value of an auto-encoder's
 * decoder by far, and each of its rows is read by few rows of the result. */
#include "engine/cpu/plan.h"

#define STRIP ((gint64)16 << 20) /* bytes of a strip of the enlarged picture */
#define MIN_ROWS 8

static guint *
count_readers (const SumiCpuPlan *p, SumiNode *const *nodes, guint n)
{
  guint *readers = g_new0 (guint, sumi_graph_get_size (p->base.graph));

  for (guint i = 0; i < n; i++)
    for (guint k = 0; k < nodes[i]->n_src; k++)
      readers[nodes[i]->src[k]->id]++;
  for (guint i = 0; i < sumi_graph_get_n_outputs (p->base.graph); i++)
    {
      SumiNode *node;

      sumi_graph_get_output (p->base.graph, i, &node);
      readers[node->id]++;
    }
  return readers;
}

/* Small pictures are not worth strips. */
static gboolean
is_enlarged (const SumiNode *n)
{
  const SumiNode *up = n->src[0], *x = n->op == SUMI_OP_CONV2D && up->op == SUMI_OP_UPSAMPLE ? up->src[0] : NULL;

  return x != NULL && n->attr.conv.stride == 1 && up->shape.d[2] % x->shape.d[2] == 0
         && up->shape.d[3] % x->shape.d[3] == 0
         && sumi_shape_numel (&up->shape) * (gint64)sizeof (float) / up->shape.d[0] > 2 * STRIP;
}

void
sumi_cpu_mark_inner (SumiCpuPlan *p, SumiNode *const *nodes, guint n)
{
  g_autofree guint *readers = count_readers (p, nodes, n);

  for (guint i = 0; i < n; i++)
    if (is_enlarged (nodes[i]) && readers[nodes[i]->src[0]->id] == 1)
      p->inner[nodes[i]->src[0]->id] = TRUE;
}

/* Rows [y0, y0 + rows) of the result read rows [from, to) of the enlarged picture, which come from rows
 * [low, high) of the source. */
typedef struct
{
  gint64 y0, rows, from, to, low, high;
  gint64 above, below; /* padding */
} Strip;

static Strip
strip_at (const SumiNode *n, gint64 y0, gint64 rows)
{
  gint64 height = n->src[0]->shape.d[2], factor = height / n->src[0]->src[0]->shape.d[2];
  gint64 first = y0 - n->attr.conv.pad_top, end = y0 + rows - 1 - n->attr.conv.pad_top + n->src[1]->shape.d[2];
  gint64 from = CLAMP (first, 0, height - 1), to = CLAMP (end, from + 1, height);

  return (Strip){ y0, rows, from, to, from / factor, (to + factor - 1) / factor, from - first, end - to };
}

static gsize
enlarged_row (const SumiNode *n, SumiDType dtype)
{
  return (gsize)(n->src[0]->shape.d[1] * n->src[0]->shape.d[3]) * sumi_dtype_size (dtype);
}

static GArray *
cut (const SumiNode *n, SumiDType dtype)
{
  gint64 height = n->shape.d[2], most = MAX (STRIP / (gint64)enlarged_row (n, dtype), MIN_ROWS);
  gint64 strips = (height + most - 1) / most, rows = (height + strips - 1) / strips;
  GArray *list = g_array_new (FALSE, FALSE, sizeof (Strip));

  for (gint64 y0 = 0; y0 < height; y0 += rows)
    {
      Strip strip = strip_at (n, y0, MIN (rows, height - y0));

      g_array_append_val (list, strip);
    }
  return list;
}

/* The source of a piece is a part of the picture that is not yet enlarged. */
static gboolean
run_strips (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  const SumiNode *up = s->node->src[0];
  gint64 factor = up->shape.d[2] / up->src[0]->shape.d[2];

  for (guint i = 0; i < s->pieces->len; i++)
    {
      SumiCpuProduct *product = s->pieces->pdata[i];
      const SumiShape *d = &product->values[0].shape;
      const SumiPicture x = { .n = 1, .c = d->d[1], .h = d->d[2], .w = d->d[3] };

      s->k->upsample (&x, x.h * factor, up->shape.d[3], p->scratch, sumi_cpu_at (p, &product->values[0]));
      if (!sumi_cpu_product_point (product, 0, (guint8 *)p->scratch + product->lead, error)
          || !sumi_cpu_product_point (product, product->n_args - 1,
                                      (guint8 *)p->scratch + s->scratch - sumi_cpu_aligned (product->scratch), error)
          || !sumi_cpu_product_execute (p->dnnl, product, "conv2d", error))
        return FALSE;
    }
  return TRUE;
}

/* The sources and the result of a convolution. */
typedef struct
{
  const SumiNode *node;
  SumiValue x, w, b, y;
  gboolean biased;
} Convolution;

/* weights NULL: in the format that is best, or known */
static dnnl_primitive_desc_t
describe (SumiCpuPlan *p, const Convolution *c, const Strip *strip, const_dnnl_memory_desc_t weights, GError **error)
{
  SumiShape x = SUMI_SHAPE (1, c->x.shape.d[1], strip->to - strip->from, c->node->src[0]->shape.d[3]);
  SumiShape y = SUMI_SHAPE (1, c->y.shape.d[1], strip->rows, c->y.shape.d[3]);
  dnnl_primitive_desc_t pd;
  SumiCpuConvolution d;

  sumi_cpu_convolution_init (&d, c->x.dtype, c->node, &x, &c->w.shape, c->biased ? &c->b.shape : NULL, &y, c->y.dtype);
  d.pad_before[0] = strip->above;
  d.pad_after[0] = strip->below;
  pd = weights != NULL ? sumi_cpu_describe_conv2d (p, &d, weights, error)
                       : sumi_cpu_describe_weighted (p, &c->w, c->x.dtype, sumi_cpu_describe_conv2d, &d, error);
  sumi_cpu_convolution_clear (&d);
  return pd;
}

/* Consumes pd. */
static SumiCpuProduct *
product_of (SumiCpuPlan *p, const Convolution *c, const Strip *strip, gint64 picture, const SumiValue *w,
            dnnl_primitive_desc_t pd, GError **error)
{
  const int ids[] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, c->biased ? DNNL_ARG_BIAS : DNNL_ARG_DST, DNNL_ARG_DST };
  SumiValue x = sumi_cpu_picture_part (&c->x, picture, 1, strip->low, strip->high - strip->low);
  SumiValue y = sumi_cpu_picture_part (&c->y, picture, 1, strip->y0, strip->rows);
  const SumiValue *values[] = { &x, w, c->biased ? &c->b : &y, &y };
  gint64 factor = c->node->src[0]->shape.d[2] / c->x.shape.d[2];
  SumiCpuProduct *product = sumi_cpu_product_new (p->dnnl, pd, ids, values, c->biased ? 4 : 3, error);

  if (product != NULL)
    product->lead = (gsize)(strip->from - strip->low * factor) * enlarged_row (c->node, c->x.dtype);
  return product;
}

/* All strips read the weights in the format that the first one takes. */
static gboolean
make_products (SumiCpuPlan *p, const Convolution *c, const GArray *strips, SumiValue *w, GPtrArray *products,
               GError **error)
{
  dnnl_primitive_desc_t first = describe (p, c, &g_array_index (strips, Strip, 0), NULL, error);
  const_dnnl_memory_desc_t weights;
  gboolean ok;

  if (first == NULL)
    return FALSE;
  weights = dnnl_primitive_desc_query_md (first, dnnl_query_exec_arg_md, DNNL_ARG_WEIGHTS);
  ok = sumi_cpu_want_desc (p, c->node, &c->w, weights, w, error);
  for (gint64 picture = 0; ok && picture < c->x.shape.d[0]; picture++)
    for (guint i = 0; ok && i < strips->len; i++)
      {
        const Strip *strip = &g_array_index (strips, Strip, i);
        dnnl_primitive_desc_t pd = describe (p, c, strip, weights, error);
        SumiCpuProduct *product = pd != NULL ? product_of (p, c, strip, picture, w, pd, error) : NULL;

        ok = product != NULL;
        if (ok)
          g_ptr_array_add (products, product);
      }
  dnnl_primitive_desc_destroy (first);
  return ok;
}

/* Bytes of the largest strip with whole source rows, then of a primitive's scratch. */
static gsize
scratch_of (const Convolution *c, const GArray *strips, const GPtrArray *products)
{
  gint64 factor = c->node->src[0]->shape.d[2] / c->x.shape.d[2], rows = 0;
  gsize most = 0;

  for (guint i = 0; i < strips->len; i++)
    {
      const Strip *strip = &g_array_index (strips, Strip, i);

      rows = MAX (rows, (strip->high - strip->low) * factor);
    }
  for (guint i = 0; i < products->len; i++)
    most = MAX (most, sumi_cpu_aligned (((const SumiCpuProduct *)products->pdata[i])->scratch));
  return sumi_cpu_aligned ((gsize)rows * enlarged_row (c->node, c->x.dtype)) + most;
}

gboolean
sumi_cpu_lower_strips (SumiCpuPlan *p, const SumiNode *n, GError **error)
{
  SumiDType dtype = sumi_cpu_arithmetic (p, n);
  Convolution c = {
    .node = n,
    .x = sumi_cpu_source (p, n->src[0], 0, dtype, SUMI_ORDER_CHANNELS_LAST),
    .w = sumi_cpu_weights_of (p, n, 1),
    .y = sumi_cpu_new_value (p, sumi_cpu_dtype_of (p, n), &n->shape, SUMI_ORDER_CHANNELS_LAST),
    .biased = n->n_src > 2,
  };
  g_autoptr (GArray) strips = cut (n, dtype);
  g_autoptr (GPtrArray) products = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_cpu_product_free);
  SumiCpuStep *s;
  SumiValue w;

  if (c.biased)
    c.b = sumi_cpu_source (p, n, 2, SUMI_F32, SUMI_ORDER_ROWS);
  if (!make_products (p, &c, strips, &w, products, error))
    return FALSE;
  s = sumi_cpu_add_step (p, run_strips, n, &c.y, (const SumiValue *[]){ &c.x, &w, &c.b }, c.biased ? 3 : 2);
  s->scratch = scratch_of (&c, strips, products);
  s->pieces = g_steal_pointer (&products);
  p->values[n->id] = c.y;
  return TRUE;
}
