/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Builders: matrix products and convolutions. */
#include "graph/graph-private.h"

SumiNode *
sumi_matmul (SumiGraph *g, SumiNode *a, SumiNode *b, gboolean ta, gboolean tb)
{
  SumiAttr attr = { .matmul = { !!ta, !!tb } };
  SumiShape lead_a = a->shape, lead_b = b->shape, shape;

  if (!sumi_graph_want_real (g, SUMI_OP_MATMUL, a) || !sumi_graph_want_real (g, SUMI_OP_MATMUL, b))
    return sumi_graph_mistake (g, "matmul");

  if (a->shape.rank >= 2 && b->shape.rank >= 2)
    {
      const gint64 *da = a->shape.d + a->shape.rank - 2;
      const gint64 *db = b->shape.d + b->shape.rank - 2;

      lead_a.rank -= 2;
      lead_b.rank -= 2;
      if (da[ta ? 0 : 1] == db[tb ? 1 : 0] && sumi_shape_broadcast (&lead_a, &lead_b, &shape))
        {
          shape.d[shape.rank++] = da[ta ? 1 : 0];
          shape.d[shape.rank++] = db[tb ? 0 : 1];
          return sumi_graph_append_real (g, SUMI_OP_MATMUL, &shape, &attr, a, b);
        }
    }

  g_autofree char *sa = sumi_shape_to_string (&a->shape);
  g_autofree char *sb = sumi_shape_to_string (&b->shape);

  return sumi_graph_mistake (g, "matmul: got %s%s and %s%s, want (…,M,K) and (…,K,N)", sa, ta ? " transposed" : "", sb,
                             tb ? " transposed" : "");
}

SumiNode *
sumi_linear (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b)
{
  SumiShape shape = x->shape, want = x->shape;

  if (!sumi_graph_want_real (g, SUMI_OP_LINEAR, x) || !sumi_graph_want_rank (g, SUMI_OP_LINEAR, "weight", w, 2))
    return sumi_graph_mistake (g, "linear");
  if (shape.rank < 1)
    return sumi_graph_mistake (g, "linear: got a scalar, want (…,%" G_GINT64_FORMAT ")", w->shape.d[1]);
  want.d[want.rank - 1] = w->shape.d[1];
  if (!sumi_graph_want_shape (g, SUMI_OP_LINEAR, "input", x, &want)
      || (b && !sumi_graph_want_shape (g, SUMI_OP_LINEAR, "bias", b, &SUMI_SHAPE (w->shape.d[0]))))
    return sumi_graph_mistake (g, "linear");
  shape.d[shape.rank - 1] = w->shape.d[0];
  return b ? sumi_graph_append_real (g, SUMI_OP_LINEAR, &shape, NULL, x, w, b)
           : sumi_graph_append_real (g, SUMI_OP_LINEAR, &shape, NULL, x, w);
}

/* ---- convolutions ---- */

/* Output size along one axis, or 0 when the padded picture is smaller than the kernel. */
static gint64
conv_size (gint64 size, gint64 kernel, guint stride, guint before, guint after)
{
  gint64 room = size + before + after - kernel;

  return room < 0 ? 0 : room / stride + 1;
}

static gboolean
want_conv_attr (SumiGraph *g, SumiOp op, const SumiAttr *attr)
{
  if (attr->conv.stride >= 1)
    return TRUE;
  sumi_graph_poison (g, "%s: got stride 0, want at least 1", sumi_op_name (op));
  return FALSE;
}

/* The pixels a convolution gives for a picture of height x width. */
static gboolean
conv_pixels (SumiGraph *g, SumiOp op, gint64 height, gint64 width, gint64 kh, gint64 kw, const SumiAttr *a,
             gint64 *out_h, gint64 *out_w)
{
  if (height < 1 || width < 1 || height > SUMI_MAX_NUMEL || width > SUMI_MAX_NUMEL)
    {
      sumi_graph_poison (g, "%s: got %" G_GINT64_FORMAT " x %" G_GINT64_FORMAT " pixels, want at least 1 x 1",
                         sumi_op_name (op), width, height);
      return FALSE;
    }
  /* More would give rows of nothing but padding, which no network wants and oneDNN does not survive. */
  if (MAX (a->conv.pad_top, a->conv.pad_bottom) >= kh || MAX (a->conv.pad_left, a->conv.pad_right) >= kw)
    {
      sumi_graph_poison (g, "%s: got a padding of %u, want less than the kernel's %" G_GINT64_FORMAT, sumi_op_name (op),
                         MAX (MAX (a->conv.pad_top, a->conv.pad_bottom), MAX (a->conv.pad_left, a->conv.pad_right)),
                         MIN (kh, kw));
      return FALSE;
    }
  *out_h = conv_size (height, kh, a->conv.stride, a->conv.pad_top, a->conv.pad_bottom);
  *out_w = conv_size (width, kw, a->conv.stride, a->conv.pad_left, a->conv.pad_right);
  if (*out_h >= 1 && *out_w >= 1)
    return TRUE;
  sumi_graph_poison (g,
                     "%s: got %" G_GINT64_FORMAT " x %" G_GINT64_FORMAT
                     " pixels with their padding, want at least the kernel's %" G_GINT64_FORMAT " x %" G_GINT64_FORMAT,
                     sumi_op_name (op), width + a->conv.pad_left + a->conv.pad_right,
                     height + a->conv.pad_top + a->conv.pad_bottom, kw, kh);
  return FALSE;
}

SumiNode *
sumi_conv2d_padded (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b, guint stride, guint top, guint left,
                    guint bottom, guint right)
{
  SumiAttr attr = { .conv = { stride, top, left, bottom, right } };
  gint64 h, wd;

  if (!sumi_graph_want_rank (g, SUMI_OP_CONV2D, "input", x, 4)
      || !sumi_graph_want_rank (g, SUMI_OP_CONV2D, "weight", w, 4) || !want_conv_attr (g, SUMI_OP_CONV2D, &attr))
    return sumi_graph_mistake (g, "conv2d");

  const gint64 *dx = x->shape.d, *dw = w->shape.d;

  if (!sumi_graph_want_shape (g, SUMI_OP_CONV2D, "input", x, &SUMI_SHAPE (dx[0], dw[1], dx[2], dx[3]))
      || (b && !sumi_graph_want_shape (g, SUMI_OP_CONV2D, "bias", b, &SUMI_SHAPE (dw[0])))
      || !conv_pixels (g, SUMI_OP_CONV2D, dx[2], dx[3], dw[2], dw[3], &attr, &h, &wd))
    return sumi_graph_mistake (g, "conv2d");

  SumiShape shape = SUMI_SHAPE (dx[0], dw[0], h, wd);

  return b ? sumi_graph_append_real (g, SUMI_OP_CONV2D, &shape, &attr, x, w, b)
           : sumi_graph_append_real (g, SUMI_OP_CONV2D, &shape, &attr, x, w);
}

SumiNode *
sumi_conv2d (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b, guint stride, guint pad)
{
  return sumi_conv2d_padded (g, x, w, b, stride, pad, pad, pad, pad);
}

SumiNode *
sumi_conv2d_bwd_data (SumiGraph *g, SumiNode *gy, SumiNode *w, gint64 height, gint64 width, const SumiAttr *conv)
{
  SumiAttr attr = { .conv = conv->conv };
  SumiOp op = SUMI_OP_CONV2D_BWD_DATA;
  gint64 h, wd;

  if (!sumi_graph_want_rank (g, op, "gradient", gy, 4) || !sumi_graph_want_rank (g, op, "weight", w, 4)
      || !want_conv_attr (g, op, conv)
      || !conv_pixels (g, op, height, width, w->shape.d[2], w->shape.d[3], conv, &h, &wd)
      || !sumi_graph_want_shape (g, op, "gradient", gy, &SUMI_SHAPE (gy->shape.d[0], w->shape.d[0], h, wd)))
    return sumi_graph_mistake (g, "conv2d_bwd_data");
  return sumi_graph_append_real (g, op, &SUMI_SHAPE (gy->shape.d[0], w->shape.d[1], height, width), &attr, gy, w);
}

SumiNode *
sumi_conv2d_bwd_weights (SumiGraph *g, SumiNode *x, SumiNode *gy, gint64 kh, gint64 kw, const SumiAttr *conv)
{
  SumiAttr attr = { .conv = conv->conv };
  SumiOp op = SUMI_OP_CONV2D_BWD_WEIGHTS;
  gint64 h, wd;

  if (!sumi_graph_want_rank (g, op, "input", x, 4) || !sumi_graph_want_rank (g, op, "gradient", gy, 4)
      || !want_conv_attr (g, op, conv))
    return sumi_graph_mistake (g, "conv2d_bwd_weights");
  if (kh < 1 || kw < 1)
    return sumi_graph_mistake (g, "conv2d_bwd_weights: got a kernel of %" G_GINT64_FORMAT " x %" G_GINT64_FORMAT, kw,
                               kh);
  if (!conv_pixels (g, op, x->shape.d[2], x->shape.d[3], kh, kw, conv, &h, &wd)
      || !sumi_graph_want_shape (g, op, "gradient", gy, &SUMI_SHAPE (x->shape.d[0], gy->shape.d[1], h, wd)))
    return sumi_graph_mistake (g, "conv2d_bwd_weights");
  return sumi_graph_append_real (g, op, &SUMI_SHAPE (gy->shape.d[1], x->shape.d[1], kh, kw), &attr, x, gy);
}

SumiNode *
sumi_conv_transpose2d (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b, guint stride)
{
  SumiAttr attr = { .conv = { .stride = stride } };
  gint64 size[2];

  if (!sumi_graph_want_rank (g, SUMI_OP_CONV2D_BWD_DATA, "input", x, 4)
      || !sumi_graph_want_rank (g, SUMI_OP_CONV2D_BWD_DATA, "weight", w, 4))
    return sumi_graph_mistake (g, "conv_transpose2d");
  for (guint i = 0; i < 2; i++)
    if (__builtin_mul_overflow (x->shape.d[2 + i] - 1, (gint64)stride, &size[i])
        || __builtin_add_overflow (size[i], w->shape.d[2 + i], &size[i]))
      return sumi_graph_mistake (g, "conv_transpose2d: got stride %u, want a smaller one", stride);

  SumiNode *y = sumi_conv2d_bwd_data (g, x, w, size[0], size[1], &attr);

  if (!b)
    return y;
  if (!sumi_graph_want_shape (g, SUMI_OP_CONV2D_BWD_DATA, "bias", b, &SUMI_SHAPE (w->shape.d[1])))
    return sumi_graph_mistake (g, "conv_transpose2d");
  return sumi_add (g, y, sumi_reshape (g, b, &SUMI_SHAPE (w->shape.d[1], 1, 1)));
}
