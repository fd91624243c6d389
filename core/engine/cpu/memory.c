/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where buffers lie.  The arena is one mapping that lives as long as the plan: fresh pages are slow to fault in, so
 * they are asked for once, large where the system has large ones. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/cpu/plan.h"
#include "graph/memory-plan.h"

#define ALIGNMENT 64

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
  for (guint i = 0; i < p->packs->len; i++)
    most = MAX (most, g_array_index (p->packs, SumiCpuPack, i).product->scratch);
  return most;
}

static gsize
aligned (gsize size)
{
  return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
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

static gsize
place_store (SumiCpuPlan *p)
{
  gsize size = 0;

  for (guint i = 0; i < p->buffers->len; i++)
    {
      SumiCpuBuffer *b = &g_array_index (p->buffers, SumiCpuBuffer, i);

      if (!b->stored || !b->used)
        continue;
      b->offset = size;
      if (b->size > G_MAXSIZE / 2 - size)
        return G_MAXSIZE;
      size += aligned (b->size);
    }
  return size;
}

static gsize
physical_memory (void)
{
  long pages = sysconf (_SC_PHYS_PAGES), page = sysconf (_SC_PAGESIZE);

  return pages > 0 && page > 0 ? (gsize)pages * (gsize)page : G_MAXSIZE;
}

/* The system may promise more than it has; a plan that cannot fit is refused here rather than killed later. */
static guint8 *
map_memory (gsize size, const char *what, GError **error)
{
  gsize limit = physical_memory ();
  void *m = size <= limit ? mmap (NULL, MAX (size, 1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                          : MAP_FAILED;

  if (m == MAP_FAILED)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY,
                   "%s: found no room for %.1f MiB, expected it within this machine's %.1f MiB", what, size / 1048576.0,
                   limit / 1048576.0);
      return NULL;
    }
  madvise (m, MAX (size, 1), MADV_HUGEPAGE);
  return m;
}

gboolean
sumi_cpu_place_buffers (SumiCpuPlan *p, GError **error)
{
  gsize scratch = scratch_room (p), arena;

  share_memory (p);
  arena = place_arena (p);
  p->store_size = place_store (p);
  p->arena_size = arena >= G_MAXSIZE / 2 - scratch ? G_MAXSIZE : aligned (arena) + scratch;
  p->arena = map_memory (p->arena_size, "memory for values", error);
  if (p->arena == NULL)
    return FALSE;
  p->scratch = p->arena + aligned (arena);
  p->store = map_memory (p->store_size, "memory for parameters", error);
  return p->store != NULL;
}

void
sumi_cpu_free_memory (SumiCpuPlan *p)
{
  if (p->arena != NULL)
    munmap (p->arena, MAX (p->arena_size, 1));
  if (p->store != NULL)
    munmap (p->store, MAX (p->store_size, 1));
}

void
sumi_cpu_poison_arena (SumiCpuPlan *p)
{
  memset (p->arena, 0xff, p->arena_size); /* NaN in F32 and in BF16 */
}

void
sumi_cpu_poison_dead (SumiCpuPlan *p, guint step)
{
  for (guint i = 0; i < p->buffers->len; i++)
    {
      const SumiCpuBuffer *b = &g_array_index (p->buffers, SumiCpuBuffer, i);

      if (!b->stored && b->used && b->alias == SUMI_CPU_NO_BUFFER && b->last == step)
        memset (p->arena + b->offset, 0xff, b->size);
    }
}
