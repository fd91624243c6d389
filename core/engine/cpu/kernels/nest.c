/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Puts a loop nest into its simplest form (nest.h). */
#include "engine/cpu/kernels/nest.h"

/* TRUE: axis a goes outside axis b. */
static gboolean
is_outer (const SumiNest *nest, guint n, guint lead, guint a, guint b)
{
  if (nest->s[lead][a] != nest->s[lead][b])
    return nest->s[lead][a] > nest->s[lead][b];
  for (guint o = 0; o < n; o++)
    if (nest->s[o][a] != nest->s[o][b])
      return nest->s[o][a] > nest->s[o][b];
  return FALSE;
}

static void
swap_axes (SumiNest *nest, guint a, guint b)
{
  const gint64 d = nest->d[a];
  nest->d[a] = nest->d[b];
  nest->d[b] = d;
  for (guint o = 0; o < SUMI_NEST_OPERANDS; o++)
    {
      const gint64 s = nest->s[o][a];
      nest->s[o][a] = nest->s[o][b];
      nest->s[o][b] = s;
    }
}

static gboolean
can_merge (const SumiNest *nest, guint n, guint outer, guint inner)
{
  for (guint o = 0; o < n; o++)
    if (nest->s[o][outer] != nest->s[o][inner] * nest->d[inner])
      return FALSE;
  return TRUE;
}

void
sumi_nest_init (SumiNest *nest, const SumiShape *dims, guint n_operands, const gint64 *const *strides, guint lead)
{
  *nest = (SumiNest){ 0 };
  for (guint a = 0; a < dims->rank; a++)
    {
      if (dims->d[a] == 1)
        continue;
      nest->d[nest->rank] = dims->d[a];
      for (guint o = 0; o < n_operands; o++)
        nest->s[o][nest->rank] = strides[o][a];
      nest->rank++;
    }

  for (guint a = 1; a < nest->rank; a++)
    for (guint b = a; b > 0 && is_outer (nest, n_operands, lead, b, b - 1); b--)
      swap_axes (nest, b, b - 1);

  guint last = 0;
  for (guint a = 1; a < nest->rank; a++)
    {
      if (can_merge (nest, n_operands, last, a))
        nest->d[a] *= nest->d[last];
      else
        last++;
      if (last != a)
        swap_axes (nest, last, a);
    }
  if (nest->rank == 0)
    nest->d[0] = 1;
  nest->rank = nest->rank == 0 ? 1 : last + 1;
}

gint64
sumi_nest_count (const SumiNest *nest, guint from, guint to)
{
  gint64 n = 1;
  for (guint a = from; a < to; a++)
    n *= nest->d[a];
  return n;
}
