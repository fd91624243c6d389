/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Greedy by size (Pisarchyk & Lee 2020, algorithm 3): the largest value first, each into the smallest gap that fits
 * among the values alive at the same time, or else after them. */
#include "graph/memory-plan.h"

#define ALIGNMENT 64

static int
compare_size (gconstpointer a, gconstpointer b, gpointer user_data)
{
  const SumiInterval *intervals = user_data;
  guint i = *(const guint *)a, j = *(const guint *)b;

  if (intervals[i].size != intervals[j].size)
    return intervals[i].size > intervals[j].size ? -1 : 1;
  return i < j ? -1 : i > j;
}

/* Every value begins at a multiple of the alignment, so that sizes count rounded up. */
static gsize
room_of (const SumiInterval *v)
{
  return (v->size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* placed: the places taken so far, by offset. */
static gsize
find_offset (const SumiInterval *intervals, const GArray *placed, const SumiInterval *v)
{
  gsize end = 0, best = 0, best_gap = G_MAXSIZE;

  for (guint i = 0; i < placed->len; i++)
    {
      const SumiInterval *other = &intervals[g_array_index (placed, guint, i)];

      if (other->last < v->first || v->last < other->first)
        continue;
      if (other->offset > end && other->offset - end >= room_of (v) && other->offset - end < best_gap)
        {
          best = end;
          best_gap = other->offset - end;
        }
      end = MAX (end, other->offset + room_of (other));
    }
  return best_gap < G_MAXSIZE ? best : end;
}

static void
insert_by_offset (const SumiInterval *intervals, GArray *placed, guint which)
{
  guint low = 0, high = placed->len;

  while (low < high)
    {
      guint middle = (low + high) / 2;

      if (intervals[g_array_index (placed, guint, middle)].offset <= intervals[which].offset)
        low = middle + 1;
      else
        high = middle;
    }
  g_array_insert_val (placed, low, which);
}

gsize
sumi_memory_plan (SumiInterval *intervals, guint n)
{
  g_autoptr (GArray) order = g_array_sized_new (FALSE, FALSE, sizeof (guint), n);
  g_autoptr (GArray) placed = g_array_sized_new (FALSE, FALSE, sizeof (guint), n);
  gsize total = 0, arena = 0;

  for (guint i = 0; i < n; i++)
    {
      g_array_append_val (order, i);
      intervals[i].offset = 0;
      /* when the sum of all fits, so does every offset */
      if (intervals[i].size > G_MAXSIZE - ALIGNMENT || !g_size_checked_add (&total, total, room_of (&intervals[i])))
        return G_MAXSIZE;
    }
  g_array_sort_with_data (order, compare_size, intervals);
  for (guint i = 0; i < n; i++)
    {
      guint which = g_array_index (order, guint, i);
      SumiInterval *v = &intervals[which];

      if (v->size == 0)
        break;
      v->offset = find_offset (intervals, placed, v);
      insert_by_offset (intervals, placed, which);
      arena = MAX (arena, v->offset + room_of (v));
    }
  return arena;
}
