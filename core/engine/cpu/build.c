/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What lowering builds with: buffers, steps, and copies into the form that a reader wants. */
#include "engine/cpu/plan.h"

guint
sumi_cpu_add_buffer (SumiCpuPlan *p, gsize size)
{
  SumiCpuBuffer b = { .size = size, .first = G_MAXUINT, .alias = SUMI_CPU_NO_BUFFER };

  g_array_append_val (p->buffers, b);
  return p->buffers->len - 1;
}

guint
sumi_cpu_add_stored (SumiCpuPlan *p, gsize size)
{
  guint i = sumi_cpu_add_buffer (p, size);

  g_array_index (p->buffers, SumiCpuBuffer, i).stored = TRUE;
  return i;
}

static SumiValue
take_buffer (SumiCpuPlan *p, SumiValue v)
{
  v.buffer = sumi_cpu_add_buffer (p, (gsize)sumi_value_stored (&v) * sumi_dtype_size (v.dtype));
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

SumiDType
sumi_cpu_dtype_of (const SumiCpuPlan *p, const SumiNode *n)
{
  return n->kind == SUMI_INDEX ? SUMI_I64 : p->wide[n->id] ? SUMI_F32 : p->dtype;
}

SumiDType
sumi_cpu_arithmetic (const SumiCpuPlan *p, const SumiNode *n)
{
  return p->exact[n->id] ? SUMI_F32 : p->dtype;
}

void
sumi_cpu_extend_life (SumiCpuPlan *p, guint buffer, guint step)
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
  SumiDType dtype = n_in > 0 ? in[0]->dtype : out->dtype;
  SumiCpuStep s = { .run = run, .node = node, .k = dtype == SUMI_BF16 ? p->real : p->f32, .n_in = n_in, .out = *out };
  guint index = p->steps->len;

  for (guint i = 0; i < n_in; i++)
    {
      s.in[i] = *in[i];
      sumi_cpu_extend_life (p, in[i]->buffer, index);
    }
  sumi_cpu_extend_life (p, out->buffer, index);
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
  void *y = sumi_cpu_at (p, &s->out);
  const void *x = sumi_cpu_at (p, &s->in[0]);

  if (s->out.dtype == SUMI_I64)
    copy_indices (&s->out.shape, 0, y, s->out.stride, x, s->in[0].stride);
  else
    s->k->copy (&s->out.shape, y, s->out.stride, x, s->in[0].stride);
  return TRUE;
}

void
sumi_cpu_add_copy (SumiCpuPlan *p, const SumiNode *node, const SumiValue *to, const SumiValue *from)
{
  sumi_cpu_add_step (p, run_copy, node, to, (const SumiValue *[]){ from }, 1)->is_copy = TRUE;
}

static gboolean
same_strides (const SumiValue *a, const SumiValue *b)
{
  for (guint i = 0; i < a->shape.rank; i++)
    if (a->stride[i] != b->stride[i])
      return FALSE;
  return TRUE;
}

static const SumiValue *
find_copy (SumiCpuPlan *p, const SumiValue *from, SumiDType dtype, const SumiValue *like)
{
  for (guint i = p->copies->len; i-- > 0;)
    {
      const SumiCpuCopy *c = &g_array_index (p->copies, SumiCpuCopy, i);

      if (c->to.dtype == dtype && same_strides (&c->to, like) && sumi_value_same_place (&c->from, from))
        return &c->to;
    }
  return NULL;
}

/* Conversion goes through memory once, so a value that is not dense is made dense first, and what is then still in
 * another order is copied after. */
SumiValue
sumi_cpu_want_like (SumiCpuPlan *p, const SumiNode *node, const SumiValue *v, SumiDType dtype, const SumiValue *like)
{
  const SumiValue *made;
  SumiCpuCopy copy = { .from = *v };

  if (v->dtype == dtype && same_strides (v, like))
    return *v;
  made = find_copy (p, v, dtype, like);
  if (made != NULL)
    return *made;
  if (v->dtype != dtype)
    {
      SumiValue dense = sumi_cpu_want (p, node, v, v->dtype, SUMI_ORDER_ANY), other;

      other = sumi_cpu_new_value_like (p, dtype, &v->shape, &dense);
      sumi_cpu_add_step (p, run_convert, node, &other, (const SumiValue *[]){ &dense }, 1)->is_copy = TRUE;
      copy.to = other;
      if (same_strides (&other, like))
        g_array_append_val (p->copies, copy);
      return sumi_cpu_want_like (p, node, &other, dtype, like);
    }
  copy.to = sumi_cpu_new_value_like (p, dtype, &v->shape, like);
  sumi_cpu_add_copy (p, node, &copy.to, v);
  g_array_append_val (p->copies, copy);
  return copy.to;
}

SumiValue
sumi_cpu_want (SumiCpuPlan *p, const SumiNode *node, const SumiValue *v, SumiDType dtype, SumiOrder order)
{
  SumiValue like = *v;

  if (order == SUMI_ORDER_ANY)
    sumi_value_set_order_like (&like, v);
  else
    sumi_value_set_order (&like, order);
  return sumi_cpu_want_like (p, node, v, dtype, &like);
}

SumiValue
sumi_cpu_source (SumiCpuPlan *p, const SumiNode *n, guint i, SumiDType dtype, SumiOrder order)
{
  return sumi_cpu_want (p, n, &p->values[n->src[i]->id], dtype, order);
}
