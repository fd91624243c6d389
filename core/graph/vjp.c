/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One gradient rule per op: given gy = d loss / d y, the nodes of d loss / d source (the vector-Jacobian product).
 * Coarse ops have a backward op of their own, fine ops derive into fine ops. */
#include "graph/autodiff.h"
#include "graph/graph-private.h"

/* Sums gy over the axes along which a value of this shape was repeated. */
static SumiNode *
unbroadcast (SumiGraph *g, SumiNode *gy, const SumiShape *shape)
{
  guint axes = 0, lead = gy->shape.rank - shape->rank;

  for (guint i = 0; i < gy->shape.rank; i++)
    if (i < lead || (shape->d[i - lead] == 1 && gy->shape.d[i] != 1))
      axes |= 1u << i;
  return sumi_reshape (g, sumi_sum (g, gy, axes, TRUE), shape);
}

static void
vjp_elementwise (SumiGraph *g, const SumiNode *n, SumiNode *gy, const gboolean *want, SumiNode **gsrc)
{
  SumiNode *a = n->src[0], *b = n->n_src > 1 ? n->src[1] : NULL;

  switch (n->op)
    {
    case SUMI_OP_ADD:
    case SUMI_OP_SUB:
      if (want[0])
        gsrc[0] = unbroadcast (g, gy, &a->shape);
      if (want[1])
        gsrc[1] = sumi_affine (g, unbroadcast (g, gy, &b->shape), n->op == SUMI_OP_ADD ? 1 : -1, 0);
      break;
    case SUMI_OP_MUL:
      if (want[0])
        gsrc[0] = unbroadcast (g, sumi_mul (g, gy, b), &a->shape);
      if (want[1])
        gsrc[1] = unbroadcast (g, sumi_mul (g, gy, a), &b->shape);
      break;
      case SUMI_OP_DIV: /* d (a/b) / d b = -(a/b) / b */
      {
        SumiNode *ga = sumi_div (g, gy, b);

        if (want[0])
          gsrc[0] = unbroadcast (g, ga, &a->shape);
        if (want[1])
          gsrc[1] = sumi_affine (g, unbroadcast (g, sumi_mul (g, ga, sumi_graph_peek (g, n->id)), &b->shape), -1, 0);
        break;
      }
    case SUMI_OP_AFFINE:
      gsrc[0] = sumi_affine (g, gy, n->attr.affine.a, 0);
      break;
    default:
      gsrc[0] = sumi_act_bwd (g, a, gy, n->attr.act.kind);
      break;
    }
}

static void
vjp_shape (SumiGraph *g, const SumiNode *n, SumiNode *gy, const gboolean *want, SumiNode **gsrc)
{
  SumiNode *x = n->src[0];

  switch (n->op)
    {
      case SUMI_OP_PERMUTE: {
        guint8 inverse[SUMI_MAX_RANK] = { 0 };

        for (guint8 i = 0; i < n->shape.rank; i++)
          inverse[n->attr.permute.axis[i]] = i;
        gsrc[0] = sumi_permute (g, gy, inverse);
        break;
      }
      case SUMI_OP_CONCAT: {
        guint axis = n->attr.concat.axis;
        gint64 start = 0;

        for (guint i = 0; i < n->n_src; i++)
          {
            gint64 length = n->src[i]->shape.d[axis];

            if (want[i])
              gsrc[i] = sumi_slice (g, gy, axis, start, length);
            start += length;
          }
        break;
      }
      case SUMI_OP_SLICE: {
        guint axis = n->attr.slice.axis;
        gint64 start = n->attr.slice.start;

        gsrc[0] = sumi_pad (g, gy, axis, start, x->shape.d[axis] - start - n->attr.slice.length);
        break;
      }
    case SUMI_OP_PAD:
      gsrc[0] = sumi_slice (g, gy, n->attr.pad.axis, n->attr.pad.before, x->shape.d[n->attr.pad.axis]);
      break;
    case SUMI_OP_BROADCAST:
      gsrc[0] = unbroadcast (g, gy, &x->shape);
      break;
      case SUMI_OP_SUM: {
        SumiShape kept = x->shape;

        for (guint i = 0; i < kept.rank; i++)
          if (n->attr.sum.axes & 1u << i)
            kept.d[i] = 1;
        gsrc[0] = sumi_broadcast (g, sumi_reshape (g, gy, &kept), &x->shape);
        break;
      }
    default:
      gsrc[0] = sumi_reshape (g, gy, &x->shape);
      break;
    }
}

static void
vjp_matmul (SumiGraph *g, const SumiNode *n, SumiNode *gy, const gboolean *want, SumiNode **gsrc)
{
  SumiNode *a = n->src[0], *b = n->src[1];
  gboolean ta = n->attr.matmul.ta, tb = n->attr.matmul.tb;

  if (want[0])
    {
      SumiNode *ga = ta ? sumi_matmul (g, b, gy, tb, TRUE) : sumi_matmul (g, gy, b, FALSE, !tb);
      gsrc[0] = unbroadcast (g, ga, &a->shape);
    }
  if (want[1])
    {
      SumiNode *gb = tb ? sumi_matmul (g, gy, a, TRUE, ta) : sumi_matmul (g, a, gy, !ta, FALSE);
      gsrc[1] = unbroadcast (g, gb, &b->shape);
    }
}

/* The leading dimensions become one, so that each gradient is a single large product. */
static void
vjp_linear (SumiGraph *g, const SumiNode *n, SumiNode *gy, const gboolean *want, SumiNode **gsrc)
{
  SumiNode *x = n->src[0], *w = n->src[1];
  gint64 out = w->shape.d[0], in = w->shape.d[1];
  gint64 rows = sumi_shape_numel (&gy->shape) / out;
  SumiNode *flat = sumi_reshape (g, gy, &SUMI_SHAPE (rows, out));

  if (want[0])
    gsrc[0] = sumi_reshape (g, sumi_matmul (g, flat, w, FALSE, FALSE), &x->shape);
  if (want[1])
    gsrc[1] = sumi_matmul (g, flat, sumi_reshape (g, x, &SUMI_SHAPE (rows, in)), TRUE, FALSE);
  if (n->n_src > 2 && want[2])
    gsrc[2] = sumi_sum (g, flat, 1u << 0, FALSE);
}

static void
vjp_conv2d (SumiGraph *g, const SumiNode *n, SumiNode *gy, const gboolean *want, SumiNode **gsrc)
{
  SumiNode *x = n->src[0], *w = n->src[1];

  if (want[0])
    gsrc[0] = sumi_conv2d_bwd_data (g, gy, w, x->shape.d[2], x->shape.d[3], &n->attr);
  if (want[1])
    gsrc[1] = sumi_conv2d_bwd_weights (g, x, gy, w->shape.d[2], w->shape.d[3], &n->attr);
  if (n->n_src > 2 && want[2])
    gsrc[2] = sumi_sum (g, gy, 1u << 0 | 1u << 2 | 1u << 3, FALSE);
}

/* The transpose of a linear map is linear: its gradient in the picture is the convolution itself, and in the
 * weights the convolution's, with picture and gradient in exchanged roles. */
static void
vjp_conv2d_bwd_data (SumiGraph *g, const SumiNode *n, SumiNode *gy, const gboolean *want, SumiNode **gsrc)
{
  SumiNode *x = n->src[0], *w = n->src[1];

  if (want[0])
    gsrc[0] = sumi_conv2d_padded (g, gy, w, NULL, n->attr.conv.stride, n->attr.conv.pad_top, n->attr.conv.pad_left,
                                  n->attr.conv.pad_bottom, n->attr.conv.pad_right);
  if (want[1])
    gsrc[1] = sumi_conv2d_bwd_weights (g, gy, x, w->shape.d[2], w->shape.d[3], &n->attr);
}

/* Weight and bias gradients come packed as (2,C) from one pass. */
static void
unpack_norm (SumiGraph *g, SumiNode *packed, const gboolean *want, SumiNode **gsrc)
{
  SumiShape channels = SUMI_SHAPE (packed->shape.d[packed->shape.rank - 1]);

  for (guint i = 0; i < 2; i++)
    if (want[1 + i])
      gsrc[1 + i] = sumi_reshape (g, sumi_slice (g, packed, 0, i, 1), &channels);
}

static void
vjp_norm (SumiGraph *g, const SumiNode *n, SumiNode *gy, const gboolean *want, SumiNode **gsrc)
{
  SumiNode *x = n->src[0], *w = n->src[1], *b = n->src[2];
  gboolean group = n->op == SUMI_OP_GROUP_NORM;

  if (want[0])
    gsrc[0] = group ? sumi_group_norm_bwd_x (g, x, w, b, gy, &n->attr) : sumi_layer_norm_bwd_x (g, x, w, gy, &n->attr);
  if (want[1] || want[2])
    unpack_norm (g,
                 group ? sumi_group_norm_bwd_w (g, x, w, b, gy, &n->attr) : sumi_layer_norm_bwd_w (g, x, gy, &n->attr),
                 want, gsrc);
}

static void
vjp_sdpa (SumiGraph *g, const SumiNode *n, SumiNode *gy, const gboolean *want, SumiNode **gsrc)
{
  SumiNode *packed = sumi_sdpa_bwd (g, n->src[0], n->src[1], n->src[2], gy, &n->attr);
  gint64 start = 0;

  for (guint i = 0; i < 3; i++)
    {
      gint64 length = n->src[i]->shape.d[1];

      if (want[i])
        gsrc[i] = sumi_slice (g, packed, 1, start, length);
      start += length;
    }
}

void
sumi_vjp (SumiGraph *g, const SumiNode *n, SumiNode *gy, const gboolean *want, SumiNode **gsrc)
{
  SumiNode *x = n->n_src > 0 ? n->src[0] : NULL;

  switch (n->op)
    {
    case SUMI_OP_ADD:
    case SUMI_OP_SUB:
    case SUMI_OP_MUL:
    case SUMI_OP_DIV:
    case SUMI_OP_AFFINE:
    case SUMI_OP_ACT:
      vjp_elementwise (g, n, gy, want, gsrc);
      break;
    case SUMI_OP_RESHAPE:
    case SUMI_OP_PERMUTE:
    case SUMI_OP_CONCAT:
    case SUMI_OP_SLICE:
    case SUMI_OP_PAD:
    case SUMI_OP_BROADCAST:
    case SUMI_OP_SUM:
      vjp_shape (g, n, gy, want, gsrc);
      break;
    case SUMI_OP_MATMUL:
      vjp_matmul (g, n, gy, want, gsrc);
      break;
    case SUMI_OP_LINEAR:
      vjp_linear (g, n, gy, want, gsrc);
      break;
    case SUMI_OP_CONV2D:
      vjp_conv2d (g, n, gy, want, gsrc);
      break;
    case SUMI_OP_CONV2D_BWD_DATA:
      vjp_conv2d_bwd_data (g, n, gy, want, gsrc);
      break;
    case SUMI_OP_MAX_POOL2D:
      gsrc[0] = sumi_max_pool2d_bwd (g, x, gy, n->attr.pool.kernel, n->attr.pool.stride);
      break;
    case SUMI_OP_UPSAMPLE:
      gsrc[0] = sumi_upsample_bwd (g, gy, x->shape.d[2], x->shape.d[3]);
      break;
    case SUMI_OP_GROUP_NORM:
    case SUMI_OP_LAYER_NORM:
      vjp_norm (g, n, gy, want, gsrc);
      break;
    case SUMI_OP_SOFTMAX:
      gsrc[0] = sumi_softmax_bwd (g, sumi_graph_peek (g, n->id), gy);
      break;
    case SUMI_OP_SDPA:
      vjp_sdpa (g, n, gy, want, gsrc);
      break;
    case SUMI_OP_EMBEDDING:
      gsrc[0] = sumi_embedding_bwd (g, n->src[1], gy, x->shape.d[0]);
      break;
    default:
      sumi_graph_poison_code (g, SUMI_ERROR_ENGINE, "%s: has no gradient", sumi_op_name (n->op));
      break;
    }
}
