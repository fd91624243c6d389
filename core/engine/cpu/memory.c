/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where buffers lie.  The arena is one mapping that lives as long as the plan. */
#include <string.h>

#include "engine/cpu/plan.h"
#include "graph/memory-plan.h"

/* An in-place step gives its result the memory of a source that dies there. */
static gboolean
can_take (SumiCpuPlan *p, const SumiCpuStep *s, guint index, guint i)
{
  const SumiValue *in = &s->in[i];
  const SumiCpuBuffer *out = &g_array_index (p->buffers, SumiCpuBuffer, s->out.buffer);
  const SumiCpuBuffer *root = sumi_cpu_buffer (p, in->buffer);

  if (root->stored || root->last != index || out->stored || out->alias != SUMI_CPU_NO_BUFFER || out->first != index
      || root->size != out->size || in->offset != 0 || s->out.offset != 0 || in->dtype != s->out.dtype)
    return FALSE;
  for (guint a = 0; a < s->out.shape.rank; a++)
    if (in->stride[a] != s->out.stride[a])
      return FALSE;
  for (guint j = 0; j < s->n_in; j++)
    if (j != i && sumi_cpu_buffer (p, s->in[j].buffer) == root && !sumi_value_same_place (&s->in[j], in))
      return FALSE;
  return TRUE;
}

static void
share_memory (SumiCpuPlan *p)
{
  for (guint k = 0; k < p->steps->len; k++)
    {
      const SumiCpuStep *s = &g_array_index (p->steps, SumiCpuStep, k);

      for (guint i = 0; i < s->n_in; i++)
        if ((s->in_place & 1u << i) && can_take (p, s, k, i))
          {
            SumiCpuBuffer *out = &g_array_index (p->buffers, SumiCpuBuffer, s->out.buffer);

            sumi_cpu_buffer (p, s->in[i].buffer)->last = out->last;
            out->alias = s->in[i].buffer;
            break;
          }
    }
}

static gsize
scratch_room (SumiCpuPlan *p)
{
  gsize most = 0;

  for (guint i = 0; i < p->steps->len; i++)
    {
      const SumiCpuStep *s = &g_array_index (p->steps, SumiCpuStep, i);

      most = MAX (most, s->scratch);
      if (s->product != NULL)
        most = MAX (most, s->product->scratch);
    }
  return most;
}

/* Bytes of the arena, G_MAXSIZE when nothing could hold it. */
static gsize
place_arena (SumiCpuPlan *p)
{
  g_autofree SumiInterval *intervals = g_new0 (SumiInterval, p->buffers->len + 1);
  gsize size;

  for (guint i = 0; i < p->buffers->len; i++)
    {
      const SumiCpuBuffer *b = &g_array_index (p->buffers, SumiCpuBuffer, i);

      if (!b->stored && b->used && b->alias == SUMI_CPU_NO_BUFFER)
        intervals[i] = (SumiInterval){ .size = b->size, .first = b->first, .last = b->last };
    }
  size = sumi_memory_plan (intervals, p->buffers->len);
  for (guint i = 0; i < p->buffers->len; i++)
    if (!g_array_index (p->buffers, SumiCpuBuffer, i).stored)
      g_array_index (p->buffers, SumiCpuBuffer, i).offset = intervals[i].offset;
  return size;
}

/* Inputs and constants. */
static gsize
place_store (SumiCpuPlan *p)
{
  gsize size = 0;

  for (guint i = 0; i < p->buffers->len; i++)
    {
      SumiCpuBuffer *b = &g_array_index (p->buffers, SumiCpuBuffer, i);

      if (!b->stored || !b->used || b->form != NULL)
        continue;
      b->offset = size;
      if (b->size > G_MAXSIZE / 2 - size)
        return G_MAXSIZE;
      size += sumi_cpu_aligned (b->size);
    }
  return size;
}

/* Parameters that steps read as they are need a form too. */
static gboolean
want_plain_forms (SumiCpuPlan *p, GError **error)
{
  for (guint i = 0; i < sumi_graph_get_size (p->base.graph); i++)
    {
      const SumiNode *n = sumi_graph_peek (p->base.graph, i);
      SumiCpuBuffer *b
          = n->op == SUMI_OP_PARAM ? &g_array_index (p->buffers, SumiCpuBuffer, p->values[i].buffer) : NULL;

      if (b == NULL || b->parameter != n->name || !b->used)
        continue;
      b->form = sumi_cpu_weights_want (p->weights, n->name, &p->values[i], NULL, error);
      if (b->form == NULL)
        return FALSE;
    }
  return TRUE;
}

static void
list_forms (SumiCpuPlan *p)
{
  for (guint i = 0; i < p->buffers->len; i++)
    {
      SumiCpuForm *form = g_array_index (p->buffers, SumiCpuBuffer, i).form;
      GPtrArray *forms = form != NULL ? g_hash_table_lookup (p->forms, form->parameter) : NULL;

      if (form != NULL && forms == NULL)
        g_hash_table_insert (p->forms, (gpointer)form->parameter, forms = g_ptr_array_new ());
      if (form != NULL)
        g_ptr_array_add (forms, form);
    }
}

gboolean
sumi_cpu_place_buffers (SumiCpuPlan *p, GError **error)
{
  gsize scratch = scratch_room (p), arena;

  share_memory (p);
  arena = place_arena (p);
  if (!sumi_cpu_map (&p->arena, arena >= G_MAXSIZE / 2 - scratch ? G_MAXSIZE : sumi_cpu_aligned (arena) + scratch,
                     "memory for values", error))
    return FALSE;
  p->scratch = p->arena.at + sumi_cpu_aligned (arena);
  if (!want_plain_forms (p, error) || !sumi_cpu_map (&p->store, place_store (p), "memory for inputs", error)
      || !sumi_cpu_weights_place (p->weights, error))
    return FALSE;
  list_forms (p);
  return TRUE;
}

gsize
sumi_cpu_parameter_bytes (const SumiCpuPlan *p)
{
  gsize size = p->store.size;

  for (guint i = 0; i < p->buffers->len; i++)
    {
      const SumiCpuBuffer *b = &g_array_index (p->buffers, SumiCpuBuffer, i);

      if (b->form != NULL)
        size += b->form->size;
    }
  return size;
}

void
sumi_cpu_poison_arena (SumiCpuPlan *p)
{
  memset (p->arena.at, 0xff, p->arena.size); /* NaN in F32 and in BF16 */
}

void
sumi_cpu_poison_dead (SumiCpuPlan *p, guint step)
{
  for (guint i = 0; i < p->buffers->len; i++)
    {
      const SumiCpuBuffer *b = &g_array_index (p->buffers, SumiCpuBuffer, i);

      if (!b->stored && b->used && b->alias == SUMI_CPU_NO_BUFFER && b->last == step)
        memset (p->arena.at + b->offset, 0xff, b->size);
    }
}
