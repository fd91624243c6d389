/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The gradient of a convolution's weights: a sum over pictures and places.
 *
 * oneDNN cuts that sum among its threads, so that its result depends on their number.  Here the shape alone decides:
 * the batch is cut into groups of pictures, and single pictures into blocks of rows; each piece is a primitive for one
 * thread with a result of its own, and the pieces' results are added in order. */
#include <omp.h>

#include "engine/cpu/plan.h"

#define PIECES 16               /* at most, when there are as many pictures */
#define MIN_PLACES 64           /* of the gradient, in a piece */
#define ROOM ((gsize)256 << 20) /* bytes of the pieces' results */

/* Pictures [n0, n0 + n) and rows [y0, y0 + rows) of the result's gradient. */
typedef struct
{
  gint64 n0, n, y0, rows;
} Piece;

/* The pieces' results travel through memory: a piece must have enough places to be worth that. */
static guint
most_pieces (const SumiNode *n)
{
  const SumiShape *gy = &n->src[1]->shape;
  gsize size = (gsize)sumi_shape_numel (&n->shape) * sizeof (float);
  gsize places = (gsize)(gy->d[0] * gy->d[2] * gy->d[3]);

  return (guint)CLAMP (MIN (ROOM / size, places / MIN_PLACES), 1, PIECES);
}

static gint64
cuts (gint64 n, gint64 size)
{
  return (n + size - 1) / size;
}

static GArray *
cut (const SumiNode *n)
{
  gint64 most = most_pieces (n), batch = n->src[1]->shape.d[0], height = n->src[1]->shape.d[2];
  gint64 group = cuts (batch, most), per_picture = MIN (group > 1 ? 1 : most / batch, MAX (1, height / 4));
  gint64 block = cuts (height, per_picture);
  GArray *pieces = g_array_new (FALSE, FALSE, sizeof (Piece));

  for (gint64 n0 = 0; n0 < batch; n0 += group)
    for (gint64 y0 = 0; y0 < height; y0 += block)
      {
        Piece piece = { n0, MIN (group, batch - n0), y0, MIN (block, height - y0) };

        g_array_append_val (pieces, piece);
      }
  return pieces;
}

static dnnl_primitive_desc_t
piece_desc (SumiCpuPlan *p, const SumiNode *n, const SumiValue *x, const SumiValue *gy, gint64 above, gint64 below,
            const_dnnl_memory_desc_t gw, GError **error)
{
  dnnl_primitive_desc_t hint = NULL, pd = NULL;
  SumiCpuConvolution c;

  sumi_cpu_convolution_init (&c, x->dtype, n, &x->shape, &n->shape, NULL, &gy->shape, gy->dtype);
  c.pad_before[0] = above;
  c.pad_after[0] = below;
  if (sumi_cpu_convolution_forward (p, &c, dnnl_forward_training, &hint, error))
    sumi_cpu_dnnl_check (dnnl_convolution_backward_weights_primitive_desc_create (
                             &pd, p->dnnl->engine, dnnl_convolution_direct, c.x, gw, NULL, c.y, c.stride, c.dilation,
                             c.pad_before, c.pad_after, hint, p->dnnl->attr),
                         "conv2d_bwd_weights", error);
  dnnl_primitive_desc_destroy (hint);
  sumi_cpu_convolution_clear (&c);
  return pd;
}

/* The rows of x that the piece's rows of gy were made from; what lies outside is padding. */
static dnnl_primitive_desc_t
describe (SumiCpuPlan *p, const SumiNode *n, const Piece *piece, const_dnnl_memory_desc_t desc, SumiValue *x,
          SumiValue *gy, GError **error)
{
  gint64 stride = n->attr.conv.stride, height = x->shape.d[2];
  gint64 first = piece->y0 * stride - n->attr.conv.pad_top;
  gint64 end = (piece->y0 + piece->rows - 1) * stride - n->attr.conv.pad_top + n->shape.d[2];
  gint64 from = CLAMP (first, 0, height - 1), to = CLAMP (end, from + 1, height);

  *x = sumi_cpu_picture_part (x, piece->n0, piece->n, from, to - from);
  *gy = sumi_cpu_picture_part (gy, piece->n0, piece->n, piece->y0, piece->rows);
  return piece_desc (p, n, x, gy, from - first, end - to, desc, error);
}

static gboolean
run_sum_pieces (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  s->k->sum (&s->in[0].shape, sumi_cpu_at (p, &s->out), s->out.stride, TRUE, sumi_cpu_at (p, &s->in[0]),
             s->in[0].stride, p->scratch);
  return TRUE;
}

/* All pieces write the format that the first one likes. */
static GPtrArray *
make_products (SumiCpuPlan *p, const SumiNode *n, const GArray *pieces, const SumiValue *x, const SumiValue *gy,
               SumiValue *parts, dnnl_memory_desc_t *desc, GError **error)
{
  const int ids[] = { DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS };
  GPtrArray *products = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_cpu_product_free);

  *desc = sumi_cpu_shape_desc (&n->shape, SUMI_F32, dnnl_format_tag_any);
  for (guint i = 0; i < pieces->len; i++)
    {
      SumiValue px = *x, pgy = *gy, part;
      const SumiValue *values[] = { &px, &pgy, &part };
      dnnl_primitive_desc_t pd = describe (p, n, &g_array_index (pieces, Piece, i), *desc, &px, &pgy, error);
      SumiCpuProduct *product;

      if (pd == NULL)
        return products;
      if (i == 0)
        {
          gsize size;

          dnnl_memory_desc_destroy (*desc);
          dnnl_memory_desc_clone (desc,
                                  dnnl_primitive_desc_query_md (pd, dnnl_query_exec_arg_md, DNNL_ARG_DIFF_WEIGHTS));
          size = dnnl_memory_desc_get_size (*desc);
          *parts = sumi_cpu_new_value (p, SUMI_F32, &SUMI_SHAPE (pieces->len, (gint64)(size / sizeof (float))),
                                       SUMI_ORDER_ROWS);
        }
      part = *parts;
      part.offset = (gsize)(i * parts->shape.d[1]) * sizeof (float);
      product = sumi_cpu_product_new (p->dnnl, pd, ids, values, 3, error);
      if (product == NULL)
        return products;
      g_ptr_array_add (products, product);
    }
  return products;
}

/* -> one value in the pieces' format */
static SumiValue
add_sum (SumiCpuPlan *p, const SumiNode *n, const SumiValue *parts)
{
  SumiShape one = SUMI_SHAPE (1, parts->shape.d[1]);
  SumiValue sum;

  if (parts->shape.d[0] == 1)
    return *parts;
  sum = sumi_cpu_new_value (p, SUMI_F32, &one, SUMI_ORDER_ROWS);
  sumi_cpu_add_step (p, run_sum_pieces, n, &sum, (const SumiValue *[]){ parts }, 1)->scratch
      = sumi_kernels_sum_scratch (&parts->shape, sum.stride);
  return sum;
}

static gboolean
add_rows (SumiCpuPlan *p, const SumiNode *n, const SumiValue *sum, const_dnnl_memory_desc_t desc, GError **error)
{
  SumiValue gw = { .dtype = SUMI_F32, .shape = n->shape, .buffer = sum->buffer };
  dnnl_memory_desc_t plain;
  gboolean ok = TRUE;

  sumi_value_set_order (&gw, SUMI_ORDER_ROWS);
  plain = sumi_cpu_value_desc (&gw);
  if (!dnnl_memory_desc_equal (plain, desc))
    {
      gw = sumi_cpu_new_value (p, SUMI_F32, &n->shape, SUMI_ORDER_ROWS);
      ok = sumi_cpu_add_reorder (p, n, sum, desc, &gw, plain, error);
    }
  dnnl_memory_desc_destroy (plain);
  p->values[n->id] = gw;
  return ok;
}

/* In bf16, oneDNN 3.7 reads uninitialized scratch where the stride is larger than the picture is wide. */
static SumiDType
safe_dtype (const SumiCpuPlan *p, const SumiNode *n)
{
  return n->attr.conv.stride > n->src[0]->shape.d[3] ? SUMI_F32 : p->dtype;
}

gboolean
sumi_cpu_lower_weight_gradient (SumiCpuPlan *p, const SumiNode *n, GError **error)
{
  SumiValue x = sumi_cpu_source (p, n, 0, safe_dtype (p, n), SUMI_ORDER_CHANNELS_LAST);
  SumiValue gy = sumi_cpu_source (p, n, 1, safe_dtype (p, n), SUMI_ORDER_CHANNELS_LAST), parts = { 0 }, sum;
  g_autoptr (GArray) pieces = cut (n);
  dnnl_memory_desc_t desc;
  GPtrArray *products;
  gboolean ok;

  omp_set_num_threads (1); /* what oneDNN plans for */
  products = make_products (p, n, pieces, &x, &gy, &parts, &desc, error);
  omp_set_num_threads ((int)p->threads);
  ok = products->len == pieces->len;
  if (ok)
    {
      sumi_cpu_add_pieces (p, n, products, &parts, (const SumiValue *[]){ &x, &gy }, 2);
      sum = add_sum (p, n, &parts);
      ok = add_rows (p, n, &sum, desc, error);
    }
  else
    g_ptr_array_unref (products);
  dnnl_memory_desc_destroy (desc);
  return ok;
}
