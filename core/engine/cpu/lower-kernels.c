/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The ops that our own kernels compute. */
#include <string.h>

#include "engine/cpu/plan.h"

#define IN(i) sumi_cpu_at (p, &s->in[i])
#define OUT sumi_cpu_at (p, &s->out)

/* ---- element by element ---- */

static gboolean
run_binary (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  SumiBinary op = (SumiBinary)(s->node->op - SUMI_OP_ADD + SUMI_BINARY_ADD);

  s->k->binary (op, &s->out.shape, OUT, s->out.stride, IN (0), s->in[0].stride, IN (1), s->in[1].stride);
  return TRUE;
}

static gboolean
run_affine (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  s->k->affine (sumi_value_stored (&s->out), OUT, IN (0), (float)s->node->attr.affine.a, (float)s->node->attr.affine.b);
  return TRUE;
}

static gboolean
run_act (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  s->k->act (sumi_value_stored (&s->out), OUT, IN (0), s->node->attr.act.kind);
  return TRUE;
}

static gboolean
run_act_bwd (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  s->k->act_bwd (sumi_value_stored (&s->out), OUT, IN (0), IN (1), s->node->attr.act.kind);
  return TRUE;
}

static void
add_kernel (SumiCpuPlan *p, const SumiNode *n, SumiCpuRun run, const SumiValue *out, const SumiValue *in, guint n_in,
            gsize scratch, guint in_place)
{
  const SumiValue *list[SUMI_MAX_SRC];
  SumiCpuStep *s;

  for (guint i = 0; i < n_in; i++)
    list[i] = &in[i];
  s = sumi_cpu_add_step (p, run, n, out, list, n_in);
  s->scratch = scratch;
  s->in_place = in_place;
  p->values[n->id] = *out;
}

/* A dense layout for a result of n's shape: that of its first source that has the shape, else row-major. */
static SumiValue
new_result (SumiCpuPlan *p, const SumiNode *n, SumiDType dtype)
{
  for (guint i = 0; i < n->n_src; i++)
    {
      const SumiValue *v = &p->values[n->src[i]->id];

      if (sumi_shape_equal (&v->shape, &n->shape) && !sumi_value_repeats (v))
        return sumi_cpu_new_value_like (p, dtype, &n->shape, v);
    }
  return sumi_cpu_new_value (p, dtype, &n->shape, SUMI_ORDER_ROWS);
}

static void
lower_binary (SumiCpuPlan *p, const SumiNode *n)
{
  SumiDType dtype = sumi_cpu_dtype_of (p, n);
  SumiValue y = new_result (p, n, dtype), in[2];

  for (guint i = 0; i < 2; i++)
    {
      const SumiValue *v = &p->values[n->src[i]->id];

      in[i] = v->dtype == dtype ? *v : sumi_cpu_want (p, n, v, dtype, SUMI_ORDER_ANY);
      sumi_value_broadcast (&in[i], &n->shape, &in[i]);
    }
  add_kernel (p, n, run_binary, &y, in, 2, 0, 3);
}

/* Repeated axes stay repeated. */
static void
lower_unary (SumiCpuPlan *p, const SumiNode *n, SumiCpuRun run)
{
  SumiDType dtype = sumi_cpu_dtype_of (p, n);
  SumiValue x = sumi_cpu_source (p, n, 0, dtype, SUMI_ORDER_ANY);
  SumiValue y = sumi_cpu_new_value_like (p, dtype, &n->shape, &x);

  add_kernel (p, n, run, &y, &x, 1, 0, 1);
}

static void
lower_act_bwd (SumiCpuPlan *p, const SumiNode *n)
{
  SumiDType dtype = sumi_cpu_dtype_of (p, n);
  SumiValue y = new_result (p, n, dtype), in[2];

  for (guint i = 0; i < 2; i++)
    in[i] = sumi_cpu_want_like (p, n, &p->values[n->src[i]->id], dtype, &y);
  add_kernel (p, n, run_act_bwd, &y, in, 2, 0, 3);
}

/* ---- reduction ---- */

static gboolean
run_sum (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  s->k->sum (&s->in[0].shape, OUT, s->out.stride, s->out.dtype == SUMI_F32, IN (0), s->in[0].stride, p->scratch);
  return TRUE;
}

/* The result keeps the order of the axes that stay. */
static void
lower_sum (SumiCpuPlan *p, const SumiNode *n)
{
  SumiValue x = p->values[n->src[0]->id], order = x, y, shown;

  for (guint i = 0; i < x.shape.rank; i++)
    if (n->attr.sum.axes & 1u << i)
      {
        order.shape.d[i] = 1;
        order.stride[i] = 0;
      }
    else if (x.shape.d[i] > 1 && x.stride[i] == 0)
      order.stride[i] = 1; /* a repeated axis is written out */
  y = sumi_cpu_new_value_like (p, sumi_cpu_dtype_of (p, n), &order.shape, &order);
  sumi_value_reshape (&y, &n->shape, &shown);
  add_kernel (p, n, run_sum, &y, &x, 1, sumi_kernels_sum_scratch (&x.shape, y.stride), 0);
  p->values[n->id] = shown;
}

/* ---- movement ---- */

static void
lower_concat (SumiCpuPlan *p, const SumiNode *n)
{
  SumiDType dtype = sumi_cpu_dtype_of (p, n);
  SumiValue y = sumi_cpu_new_value_like (p, dtype, &n->shape, &p->values[n->src[0]->id]), part;
  gint64 at = 0;

  if (sumi_value_repeats (&y))
    y = sumi_cpu_new_value (p, dtype, &n->shape, SUMI_ORDER_ROWS);
  for (guint i = 0; i < n->n_src; i++)
    {
      const SumiValue *v = &p->values[n->src[i]->id];
      SumiValue x = v->dtype == dtype ? *v : sumi_cpu_want (p, n, v, dtype, SUMI_ORDER_ANY);

      sumi_value_slice (&y, n->attr.concat.axis, at, x.shape.d[n->attr.concat.axis], &part);
      sumi_cpu_add_copy (p, n, &part, &x);
      at += x.shape.d[n->attr.concat.axis];
    }
  p->values[n->id] = y;
}

static gboolean
run_zero (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  s->k->fill (sumi_value_stored (&s->out), OUT, 0);
  return TRUE;
}

static void
lower_pad (SumiCpuPlan *p, const SumiNode *n)
{
  SumiDType dtype = sumi_cpu_dtype_of (p, n);
  const SumiValue *v = &p->values[n->src[0]->id];
  SumiValue x = v->dtype == dtype ? *v : sumi_cpu_want (p, n, v, dtype, SUMI_ORDER_ANY);
  SumiValue y = sumi_cpu_new_value_like (p, dtype, &n->shape, &x), part;

  if (sumi_value_repeats (&y))
    y = sumi_cpu_new_value (p, dtype, &n->shape, SUMI_ORDER_ROWS);
  add_kernel (p, n, run_zero, &y, NULL, 0, 0, 0);
  sumi_value_slice (&y, n->attr.pad.axis, n->attr.pad.before, x.shape.d[n->attr.pad.axis], &part);
  sumi_cpu_add_copy (p, n, &part, &x);
}

/* ---- pictures ---- */

static SumiPicture
picture_of (const SumiShape *s)
{
  return (SumiPicture){ .n = s->d[0], .c = s->d[1], .h = s->d[2], .w = s->d[3] };
}

static gboolean
run_picture (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  const SumiNode *n = s->node;
  SumiPicture x = picture_of (&s->in[0].shape), small = picture_of (&s->out.shape);
  guint kernel = n->attr.pool.kernel, stride = n->attr.pool.stride;

  switch (n->op)
    {
    case SUMI_OP_MAX_POOL2D:
      s->k->max_pool2d (&x, kernel, stride, OUT, IN (0));
      break;
    case SUMI_OP_MAX_POOL2D_BWD:
      s->k->max_pool2d_bwd (&x, kernel, stride, OUT, IN (0), IN (1));
      break;
    case SUMI_OP_UPSAMPLE:
      s->k->upsample (&x, n->shape.d[2], n->shape.d[3], OUT, IN (0));
      break;
    default:
      s->k->upsample_bwd (&small, x.h, x.w, OUT, IN (0));
      break;
    }
  return TRUE;
}

static void
lower_picture (SumiCpuPlan *p, const SumiNode *n)
{
  SumiDType dtype = sumi_cpu_dtype_of (p, n);
  SumiValue y, in[2];

  for (guint i = 0; i < n->n_src; i++)
    in[i] = sumi_cpu_source (p, n, i, dtype, SUMI_ORDER_CHANNELS_LAST);
  y = sumi_cpu_new_value (p, dtype, &n->shape, SUMI_ORDER_CHANNELS_LAST);
  add_kernel (p, n, run_picture, &y, in, n->n_src, 0, 0);
}

/* ---- norms ---- */

static SumiGroupNormDims
group_norm_dims (const SumiNode *n, const SumiValue *x)
{
  const SumiShape *s = &x->shape;

  return (SumiGroupNormDims){
    .n = s->d[0],
    .c = s->d[1],
    .s = sumi_shape_numel (s) / (s->d[0] * s->d[1]),
    .channels_last = sumi_value_has_order (x, SUMI_ORDER_CHANNELS_LAST),
    .groups = n->attr.norm.groups,
    .eps = (float)n->attr.norm.eps,
    .act = n->attr.norm.act,
  };
}

static gboolean
run_group_norm (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  SumiGroupNormDims d = group_norm_dims (s->node, &s->in[0]);

  if (s->node->op == SUMI_OP_GROUP_NORM)
    (s->out.dtype == SUMI_BF16 ? s->k->group_norm_narrow : s->k->group_norm) (&d, OUT, IN (0), IN (1), IN (2),
                                                                              p->scratch);
  else if (s->node->op == SUMI_OP_GROUP_NORM_BWD_X)
    s->k->group_norm_bwd_x (&d, OUT, IN (0), IN (1), IN (2), IN (3), p->scratch);
  else
    s->k->group_norm_bwd_w (&d, OUT, IN (0), IN (1), IN (2), IN (3), p->scratch);
  return TRUE;
}

/* out: the gradient of x; also: those of the weights */
static gboolean
run_group_norm_bwd (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  SumiGroupNormDims d = group_norm_dims (s->node, &s->in[0]);

  s->k->group_norm_bwd (&d, OUT, sumi_cpu_at (p, &s->also), IN (0), IN (1), IN (2), IN (3), p->scratch);
  return TRUE;
}

/* The step that computes the other gradient of the same norm, if there is one. */
static SumiCpuStep *
find_other_gradient (SumiCpuPlan *p, const SumiNode *n, guint *index)
{
  for (guint i = p->steps->len; i-- > 0;)
    {
      SumiCpuStep *s = &g_array_index (p->steps, SumiCpuStep, i);

      if (s->run == run_group_norm && s->node->op != SUMI_OP_GROUP_NORM && s->node->op != n->op
          && memcmp (s->node->src, n->src, sizeof n->src) == 0 && s->node->attr.norm.groups == n->attr.norm.groups
          && s->node->attr.norm.eps == n->attr.norm.eps && s->node->attr.norm.act == n->attr.norm.act)
        {
          *index = i;
          return s;
        }
    }
  return NULL;
}

/* Both gradients share most of the work: the earlier step does the later one's too. */
static gboolean
join_gradients (SumiCpuPlan *p, const SumiNode *n)
{
  guint index;
  SumiCpuStep *s = find_other_gradient (p, n, &index);
  SumiValue gw, gx;

  if (s == NULL)
    return FALSE;
  if (n->op == SUMI_OP_GROUP_NORM_BWD_W)
    {
      gx = s->out;
      gw = p->values[n->id] = sumi_cpu_new_value (p, SUMI_F32, &n->shape, SUMI_ORDER_ROWS);
    }
  else
    {
      gw = s->out;
      gx = p->values[n->id] = sumi_cpu_new_value_like (p, p->dtype, &n->shape, &s->in[0]);
    }
  s->out = gx;
  s->also = gw;
  s->run = run_group_norm_bwd;
  sumi_cpu_extend_life (p, p->values[n->id].buffer, index);
  return TRUE;
}

/* A norm reads F32 where its source is, and where it writes F32; its gradients compute in the plan's dtype. */
static SumiDType
norm_source (const SumiCpuPlan *p, const SumiNode *n)
{
  gboolean forward = n->op == SUMI_OP_GROUP_NORM || n->op == SUMI_OP_LAYER_NORM;

  return forward && (p->wide[n->id] || p->wide[n->src[0]->id]) ? SUMI_F32 : p->dtype;
}

/* Pictures channels last; what else is row-major stays so. */
static void
lower_group_norm (SumiCpuPlan *p, const SumiNode *n)
{
  const SumiValue *given = &p->values[n->src[0]->id];
  SumiOrder order = given->shape.rank == 4 || !sumi_value_has_order (given, SUMI_ORDER_ROWS) ? SUMI_ORDER_CHANNELS_LAST
                                                                                             : SUMI_ORDER_ROWS;
  SumiValue in[4], y;
  SumiGroupNormDims d;

  if (n->op != SUMI_OP_GROUP_NORM && join_gradients (p, n))
    return;
  in[0] = sumi_cpu_source (p, n, 0, norm_source (p, n), order);
  in[1] = sumi_cpu_source (p, n, 1, SUMI_F32, SUMI_ORDER_ROWS);
  in[2] = sumi_cpu_source (p, n, 2, SUMI_F32, SUMI_ORDER_ROWS);
  if (n->n_src > 3)
    in[3] = sumi_cpu_source (p, n, 3, p->dtype, order);
  d = group_norm_dims (n, &in[0]);
  if (n->op == SUMI_OP_GROUP_NORM_BWD_W)
    y = sumi_cpu_new_value (p, SUMI_F32, &n->shape, SUMI_ORDER_ROWS);
  else
    y = sumi_cpu_new_value (p, sumi_cpu_dtype_of (p, n), &n->shape, order);
  add_kernel (p, n, run_group_norm, &y, in, n->n_src, sumi_kernels_group_norm_scratch (&d),
              n->op == SUMI_OP_GROUP_NORM ? 1 : 0);
}

static gboolean
run_layer_norm (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  const SumiShape *x = &s->in[0].shape;
  gint64 c = x->d[x->rank - 1], rows = sumi_shape_numel (x) / c;
  float eps = (float)s->node->attr.norm.eps;

  if (s->node->op == SUMI_OP_LAYER_NORM)
    (s->out.dtype == SUMI_BF16 ? s->k->layer_norm_narrow : s->k->layer_norm) (rows, c, eps, OUT, IN (0), IN (1),
                                                                              IN (2));
  else if (s->node->op == SUMI_OP_LAYER_NORM_BWD_X)
    s->k->layer_norm_bwd_x (rows, c, eps, OUT, IN (0), IN (1), IN (2));
  else
    s->k->layer_norm_bwd_w (rows, c, eps, OUT, IN (0), IN (1), p->scratch);
  return TRUE;
}

static void
lower_layer_norm (SumiCpuPlan *p, const SumiNode *n)
{
  gboolean to_weights = n->op == SUMI_OP_LAYER_NORM_BWD_W;
  SumiValue in[3], y = sumi_cpu_new_value (p, sumi_cpu_dtype_of (p, n), &n->shape, SUMI_ORDER_ROWS);
  gint64 c = n->shape.d[n->shape.rank - 1], rows = sumi_shape_numel (&n->src[0]->shape) / c;

  for (guint i = 0; i < n->n_src; i++)
    {
      gboolean weight = n->op == SUMI_OP_LAYER_NORM ? i > 0 : !to_weights && i == 1;

      in[i] = sumi_cpu_source (p, n, i, weight ? SUMI_F32 : norm_source (p, n), SUMI_ORDER_ROWS);
    }
  add_kernel (p, n, run_layer_norm, &y, in, n->n_src, to_weights ? sumi_kernels_layer_norm_bwd_w_scratch (rows, c) : 0,
              n->op == SUMI_OP_LAYER_NORM ? 1 : 0);
}

/* ---- attention and text ---- */

static gboolean
run_softmax (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  gint64 c = s->out.shape.rank > 0 ? s->out.shape.d[s->out.shape.rank - 1] : 1;
  gint64 rows = sumi_shape_numel (&s->out.shape) / c;

  if (s->node->op == SUMI_OP_SOFTMAX)
    s->k->softmax (rows, c, OUT, IN (0));
  else
    s->k->softmax_bwd (rows, c, OUT, IN (0), IN (1));
  return TRUE;
}

static void
lower_softmax (SumiCpuPlan *p, const SumiNode *n)
{
  SumiDType dtype = sumi_cpu_dtype_of (p, n);
  SumiValue in[2], y = sumi_cpu_new_value (p, dtype, &n->shape, SUMI_ORDER_ROWS);

  for (guint i = 0; i < n->n_src; i++)
    in[i] = sumi_cpu_source (p, n, i, dtype, SUMI_ORDER_ROWS);
  add_kernel (p, n, run_softmax, &y, in, n->n_src, 0, n->op == SUMI_OP_SOFTMAX ? 1 : 0);
}

static SumiSdpaDims
sdpa_dims (const SumiNode *n)
{
  const SumiShape *q = &n->src[0]->shape, *k = &n->src[1]->shape;

  return (SumiSdpaDims){
    .n = q->d[0],
    .heads = n->attr.sdpa.heads,
    .sq = q->d[1],
    .sk = k->d[1],
    .d = q->d[2] / n->attr.sdpa.heads,
    .causal = n->attr.sdpa.causal,
    .scale = (float)n->attr.sdpa.scale,
  };
}

static gboolean
run_sdpa (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  SumiSdpaDims d = sdpa_dims (s->node);

  if (s->node->op == SUMI_OP_SDPA)
    s->k->sdpa (&d, OUT, IN (0), IN (1), IN (2), p->scratch);
  else
    s->k->sdpa_bwd (&d, OUT, IN (0), IN (1), IN (2), IN (3), p->scratch);
  return TRUE;
}

static void
lower_sdpa (SumiCpuPlan *p, const SumiNode *n)
{
  SumiSdpaDims d = sdpa_dims (n);
  SumiDType dtype = sumi_cpu_arithmetic (p, n);
  SumiValue in[4], y = sumi_cpu_new_value (p, dtype, &n->shape, SUMI_ORDER_ROWS);
  gsize scratch = n->op == SUMI_OP_SDPA ? sumi_kernels_sdpa_scratch (&d, p->threads)
                                        : sumi_kernels_sdpa_bwd_scratch (&d, p->threads);

  for (guint i = 0; i < n->n_src; i++)
    in[i] = sumi_cpu_source (p, n, i, dtype, SUMI_ORDER_ROWS);
  add_kernel (p, n, run_sdpa, &y, in, n->n_src, scratch, 0);
}

static gboolean
run_embedding (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  gboolean forward = s->node->op == SUMI_OP_EMBEDDING, ok;
  const SumiShape *table = forward ? &s->in[0].shape : &s->out.shape;
  gint64 rows = table->d[0], c = table->d[1];

  if (forward)
    ok = s->k->embedding (sumi_shape_numel (&s->in[1].shape), rows, c, OUT, IN (0), IN (1));
  else
    ok = s->k->embedding_bwd (sumi_shape_numel (&s->in[1].shape), rows, c, OUT, IN (1), IN (0));
  if (!ok)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH,
                 "%s in \"%s\": found an index outside the table, expected 0 to %" G_GINT64_FORMAT,
                 sumi_op_name (s->node->op), s->node->scope, rows - 1);
  return ok;
}

/* The table stays F32: only the few rows that are asked for are read. */
static void
lower_embedding (SumiCpuPlan *p, const SumiNode *n)
{
  gboolean forward = n->op == SUMI_OP_EMBEDDING;
  SumiValue in[2], y = sumi_cpu_new_value (p, SUMI_F32, &n->shape, SUMI_ORDER_ROWS);

  if (forward)
    in[0] = sumi_cpu_source (p, n, 0, SUMI_F32, SUMI_ORDER_ROWS);
  else
    in[0] = sumi_cpu_source (p, n, 1, p->values[n->src[1]->id].dtype, SUMI_ORDER_ROWS);
  in[1] = sumi_cpu_source (p, n, forward ? 1 : 0, SUMI_I64, SUMI_ORDER_ROWS);
  add_kernel (p, n, run_embedding, &y, in, 2, 0, 0);
}

static gboolean
run_timestep_embedding (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  const SumiAttr *a = &s->node->attr;

  s->k->timestep_embedding (s->out.shape.d[0], a->timestep.dim, a->timestep.cos_first, a->timestep.freq_shift,
                            a->timestep.max_period, OUT, IN (0));
  return TRUE;
}

static void
lower_timestep_embedding (SumiCpuPlan *p, const SumiNode *n)
{
  SumiValue t = sumi_cpu_source (p, n, 0, SUMI_F32, SUMI_ORDER_ROWS);
  SumiValue y = sumi_cpu_new_value (p, SUMI_F32, &n->shape, SUMI_ORDER_ROWS);

  add_kernel (p, n, run_timestep_embedding, &y, &t, 1, 0, 0);
}

void
sumi_cpu_lower_kernel (SumiCpuPlan *p, const SumiNode *n)
{
  switch (n->op)
    {
    case SUMI_OP_ADD:
    case SUMI_OP_SUB:
    case SUMI_OP_MUL:
    case SUMI_OP_DIV:
      lower_binary (p, n);
      break;
    case SUMI_OP_AFFINE:
      lower_unary (p, n, run_affine);
      break;
    case SUMI_OP_ACT:
      lower_unary (p, n, run_act);
      break;
    case SUMI_OP_ACT_BWD:
      lower_act_bwd (p, n);
      break;
    case SUMI_OP_SUM:
      lower_sum (p, n);
      break;
    case SUMI_OP_CONCAT:
      lower_concat (p, n);
      break;
    case SUMI_OP_PAD:
      lower_pad (p, n);
      break;
    case SUMI_OP_MAX_POOL2D:
    case SUMI_OP_MAX_POOL2D_BWD:
    case SUMI_OP_UPSAMPLE:
    case SUMI_OP_UPSAMPLE_BWD:
      lower_picture (p, n);
      break;
    case SUMI_OP_GROUP_NORM:
    case SUMI_OP_GROUP_NORM_BWD_X:
    case SUMI_OP_GROUP_NORM_BWD_W:
      lower_group_norm (p, n);
      break;
    case SUMI_OP_LAYER_NORM:
    case SUMI_OP_LAYER_NORM_BWD_X:
    case SUMI_OP_LAYER_NORM_BWD_W:
      lower_layer_norm (p, n);
      break;
    case SUMI_OP_SOFTMAX:
    case SUMI_OP_SOFTMAX_BWD:
      lower_softmax (p, n);
      break;
    case SUMI_OP_SDPA:
    case SUMI_OP_SDPA_BWD:
      lower_sdpa (p, n);
      break;
    case SUMI_OP_EMBEDDING:
    case SUMI_OP_EMBEDDING_BWD:
      lower_embedding (p, n);
      break;
    default: /* SUMI_OP_TIMESTEP_EMBEDDING */
      lower_timestep_embedding (p, n);
      break;
    }
}
