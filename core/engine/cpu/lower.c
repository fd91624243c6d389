/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From a node to its value: leaves and views here; work in lower-products.c and lower-kernels.c. */
#include "engine/cpu/plan.h"

static void
lower_leaf (SumiCpuPlan *p, const SumiNode *n)
{
  SumiValue v = { .dtype = n->kind == SUMI_INDEX ? SUMI_I64 : SUMI_F32, .shape = n->shape };

  sumi_value_set_order (&v, SUMI_ORDER_ROWS);
  v.buffer = sumi_cpu_add_stored (p, (gsize)sumi_shape_numel (&n->shape) * sumi_dtype_size (v.dtype));
  if (n->op == SUMI_OP_PARAM)
    g_array_index (p->buffers, SumiCpuBuffer, v.buffer).parameter = n->name;
  p->values[n->id] = v;
}

/* One element that repeats along every axis. */
static void
lower_fill (SumiCpuPlan *p, const SumiNode *n)
{
  SumiCpuConstant c
      = { .value = { .dtype = sumi_cpu_dtype_of (p, n), .shape = n->shape }, .constant = (float)n->attr.fill.value };

  c.value.buffer = sumi_cpu_add_stored (p, sizeof (float));
  g_array_append_val (p->constants, c);
  p->values[n->id] = c.value;
}

static void
lower_view (SumiCpuPlan *p, const SumiNode *n)
{
  SumiValue x = p->values[n->src[0]->id], *y = &p->values[n->id];

  switch (n->op)
    {
    case SUMI_OP_RESHAPE:
      if (!sumi_value_reshape (&x, &n->shape, y))
        {
          x = sumi_cpu_want (p, n, &x, x.dtype, SUMI_ORDER_ROWS);
          sumi_value_reshape (&x, &n->shape, y);
        }
      break;
    case SUMI_OP_PERMUTE:
      sumi_value_permute (&x, n->attr.permute.axis, y);
      break;
    case SUMI_OP_SLICE:
      sumi_value_slice (&x, n->attr.slice.axis, n->attr.slice.start, n->attr.slice.length, y);
      break;
    default:
      sumi_value_broadcast (&x, &n->shape, y);
      break;
    }
}

gboolean
sumi_cpu_lower (SumiCpuPlan *p, const SumiNode *n, GError **error)
{
  switch (n->op)
    {
    case SUMI_OP_INPUT:
    case SUMI_OP_PARAM:
      lower_leaf (p, n);
      return TRUE;
    case SUMI_OP_FILL:
      lower_fill (p, n);
      return TRUE;
    case SUMI_OP_RESHAPE:
    case SUMI_OP_PERMUTE:
    case SUMI_OP_SLICE:
    case SUMI_OP_BROADCAST:
      lower_view (p, n);
      return TRUE;
    case SUMI_OP_MATMUL:
    case SUMI_OP_LINEAR:
    case SUMI_OP_CONV2D:
    case SUMI_OP_CONV2D_BWD_DATA:
    case SUMI_OP_CONV2D_BWD_WEIGHTS:
      return sumi_cpu_lower_product (p, n, error);
    default:
      sumi_cpu_lower_kernel (p, n);
      return TRUE;
    }
}
