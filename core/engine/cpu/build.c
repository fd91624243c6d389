/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What lowering builds with: buffers, steps, and copies into the form that a reader wants. */
#include <string.h>

#include "engine/cpu/plan.h"

guint
sumi_cpu_add_buffer (SumiCpuPlan *p, gsize size)
{
  SumiCpuBuffer b = { .size = size, .first = p->steps->len, .last = p->steps->len, .alias = SUMI_CPU_NO_BUFFER };

  g_array_append_val (p->buffers, b);
  return p->buffers->len - 1;
}

static SumiValue
take_buffer (SumiCpuPlan *p, SumiValue v)
{
  v.buffer = sumi_cpu_add_buffer (p, (gsize) sumi_value_stored (&v) * sumi_dtype_size (v.dtype));
  return v;
}

SumiValue
sumi_cpu_new_value (SumiCpuPlan *p, SumiDType dtype, const SumiShape *shape, SumiOrder order)
{
  SumiValue v = { .dtype = dtype, .shape = *shape };

  sumi_value_set_order (&v, order);
  return take_buffer (p, v);
}

SumiValue
sumi_cpu_new_value_like (SumiCpuPlan *p, SumiDType dtype, const SumiShape *shape, const SumiValue *like)
{
  SumiValue v = { .dtype = dtype, .shape = *shape };

  sumi_value_set_order_like (&v, like);
  return take_buffer (p, v);
}

const SumiKernels *
sumi_cpu_kernels (const SumiCpuPlan *p, SumiDType dtype)
{
  return dtype == SUMI_BF16 ? p->real : p->f32;
}

static void
extend_life (SumiCpuPlan *p, guint buffer, guint step)
{
  SumiCpuBuffer *b = &g_array_index (p->buffers, SumiCpuBuffer, buffer);

  b->first = MIN (b->first, step);
  b->last = MAX (b->last, step);
  b->used = TRUE;
}

SumiCpuStep *
sumi_cpu_add_step (SumiCpuPlan *p, SumiCpuRun run, const SumiNode *node, const SumiValue *out,
                   const SumiValue *const *in, guint n_in)
{
  SumiCpuStep s = { .run = run, .node = node, .k = sumi_cpu_kernels (p, out->dtype), .n_in = n_in, .out = *out };
  guint index = p->steps->len;

  for (guint i = 0; i < n_in; i++)
    {
      s.in[i] = *in[i];
      extend_life (p, in[i]->buffer, index);
    }
  extend_life (p, out->buffer, index);
  g_array_append_val (p->steps, s);
  return &g_array_index (p->steps, SumiCpuStep, index);
}

/* Both dense in the same order: one run through memory. */
static gboolean
run_convert (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  gint64 n = sumi_value_stored (&s->out);

  if (s->out.dtype == SUMI_BF16)
    p->real->from_f32 (n, sumi_cpu_at (p, &s->out), sumi_cpu_at (p, &s->in[0]));
  else
    p->real->to_f32 (n, sumi_cpu_at (p, &s->out), sumi_cpu_at (p, &s->in[0]));
  return TRUE;
}

/* INDEX values: few and small. */
static void
copy_indices (const SumiShape *d, guint axis, gint64 *y, const gint64 *sy, const gint64 *x, const gint64 *sx)
{
  if (axis == d->rank)
    *y = *x;
  else
    for (gint64 i = 0; i < d->d[axis]; i++)
      copy_indices (d, axis + 1, y + i * sy[axis], sy, x + i * sx[axis], sx);
}

static gboolean
run_copy (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  if (s->out.dtype == SUMI_I64)
    copy_indices (&s->out.shape, 0, sumi_cpu_at (p, &s->out), s->out.stride, sumi_cpu_at (p, &s->in[0]),
                  s->in[0].stride);
  else
    s->k->copy (&s->out.shape, sumi_cpu_at (p, &s->out), s->out.stride, sumi_cpu_at (p, &s->in[0]), s->in[0].stride);
  return TRUE;
}

static SumiValue
converted (SumiCpuPlan *p, const SumiNode *node, const SumiValue *v, SumiDType dtype)
{
  SumiValue dense = sumi_cpu_want (p, node, v, v->dtype, SUMI_ORDER_ANY);
  SumiValue out = sumi_cpu_new_value_like (p, dtype, &v->shape, &dense);

  sumi_cpu_add_step (p, run_convert, node, &out, (const SumiValue *[]) { &dense }, 1);
  return out;
}

SumiValue
sumi_cpu_want (SumiCpuPlan *p, const SumiNode *node, const SumiValue *v, SumiDType dtype, SumiOrder order)
{
  SumiCpuCopy copy = { .from = *v, .order = order };

  if (v->dtype == dtype && sumi_value_has_order (v, order))
    return *v;
  for (guint i = p->copies->len; i-- > 0;)
    {
      const SumiCpuCopy *c = &g_array_index (p->copies, SumiCpuCopy, i);

      if (c->to.dtype == dtype && c->order == order && sumi_value_same_place (&c->from, v))
        return c->to;
    }
  if (v->dtype != dtype)
    {
      SumiValue other = converted (p, node, v, dtype);

      copy.to = sumi_cpu_want (p, node, &other, dtype, order);
    }
  else
    {
      if (order == SUMI_ORDER_ANY)
        copy.to = sumi_cpu_new_value_like (p, dtype, &v->shape, v);
      else
        copy.to = sumi_cpu_new_value (p, dtype, &v->shape, order);
      sumi_cpu_add_step (p, run_copy, node, &copy.to, (const SumiValue *[]) { v }, 1);
    }
  g_array_append_val (p->copies, copy);
  return copy.to;
}

SumiValue
sumi_cpu_source (SumiCpuPlan *p, const SumiNode *n, guint i, SumiDType dtype, SumiOrder order)
{
  return sumi_cpu_want (p, n, &p->values[n->src[i]->id], dtype, order);
}
