/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Element by element. */
#include <math.h>

#include "engine/ref/ref.h"

void
sumi_ref_fill (const SumiRefArgs *a)
{
  gint64 numel = sumi_shape_numel (&a->n->shape);

  for (gint64 i = 0; i < numel; i++)
    a->y[i] = a->n->attr.fill.value;
}

static double
combine (SumiOp op, double a, double b)
{
  switch (op)
    {
    case SUMI_OP_ADD:
      return a + b;
    case SUMI_OP_SUB:
      return a - b;
    case SUMI_OP_MUL:
      return a * b;
    default:
      return a / b;
    }
}

void
sumi_ref_binary (const SumiRefArgs *a)
{
  const SumiShape *shape = &a->n->shape;
  gint64 numel = sumi_shape_numel (shape);
  gint64 stride[2][SUMI_MAX_RANK];

  for (guint s = 0; s < 2; s++)
    sumi_ref_broadcast_strides (&a->n->src[s]->shape, shape, stride[s]);
  for (gint64 i = 0; i < numel; i++)
    a->y[i] = combine (a->n->op, a->x[0][sumi_ref_offset (shape, i, stride[0])],
                       a->x[1][sumi_ref_offset (shape, i, stride[1])]);
}

void
sumi_ref_affine (const SumiRefArgs *a)
{
  gint64 numel = sumi_shape_numel (&a->n->shape);

  for (gint64 i = 0; i < numel; i++)
    a->y[i] = a->n->attr.affine.a * a->x[0][i] + a->n->attr.affine.b;
}

static double
sigmoid (double x)
{
  return 1 / (1 + exp (-x));
}

/* The normal distribution's cumulative function. */
static double
phi (double x)
{
  return 0.5 * erfc (-x * M_SQRT1_2);
}

double
sumi_ref_act_value (SumiAct kind, double x)
{
  switch (kind)
    {
    case SUMI_ACT_RELU:
      return x > 0 ? x : 0;
    case SUMI_ACT_SILU:
      return x * sigmoid (x);
    case SUMI_ACT_SIGMOID:
      return sigmoid (x);
    case SUMI_ACT_TANH:
      return tanh (x);
    case SUMI_ACT_GELU:
      return x * phi (x);
    case SUMI_ACT_QUICK_GELU:
      return x * sigmoid (1.702 * x);
    case SUMI_ACT_EXP:
      return exp (x);
    case SUMI_ACT_SQRT:
      return sqrt (x);
    default:
      return x;
    }
}

double
sumi_ref_act_slope (SumiAct kind, double x)
{
  double s;

  switch (kind)
    {
    case SUMI_ACT_RELU:
      return x > 0 ? 1 : 0;
    case SUMI_ACT_SILU:
      s = sigmoid (x);
      return s + x * s * (1 - s);
    case SUMI_ACT_SIGMOID:
      s = sigmoid (x);
      return s * (1 - s);
    case SUMI_ACT_TANH:
      return 1 - tanh (x) * tanh (x);
    case SUMI_ACT_GELU: /* Phi (x) + x Phi' (x) */
      return phi (x) + x * exp (-0.5 * x * x) / sqrt (2 * G_PI);
    case SUMI_ACT_QUICK_GELU:
      s = sigmoid (1.702 * x);
      return s + 1.702 * x * s * (1 - s);
    case SUMI_ACT_EXP:
      return exp (x);
    case SUMI_ACT_SQRT:
      return 0.5 / sqrt (x);
    default:
      return 1;
    }
}

void
sumi_ref_act (const SumiRefArgs *a)
{
  gint64 numel = sumi_shape_numel (&a->n->shape);

  for (gint64 i = 0; i < numel; i++)
    a->y[i] = sumi_ref_act_value (a->n->attr.act.kind, a->x[0][i]);
}

void
sumi_ref_act_bwd (const SumiRefArgs *a)
{
  gint64 numel = sumi_shape_numel (&a->n->shape);

  for (gint64 i = 0; i < numel; i++)
    a->y[i] = a->x[1][i] * sumi_ref_act_slope (a->n->attr.act.kind, a->x[0][i]);
}
