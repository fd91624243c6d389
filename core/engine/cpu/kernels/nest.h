/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Loop nests over strided operands, put into their simplest form: axes in memory order, neighbours merged where every
 * operand allows it.  Then the last axis is the longest run a kernel can take at once, and the special cases of
 * broadcasting, permuting and slicing need no code of their own. */
#pragma once

#include "tensor/tensor.h"

G_BEGIN_DECLS

#define SUMI_NEST_OPERANDS 3

typedef struct
{
  guint rank; /* at least 1 */
  gint64 d[SUMI_MAX_RANK];
  gint64 s[SUMI_NEST_OPERANDS][SUMI_MAX_RANK]; /* strides in elements */
} SumiNest;

/* Axes are sorted by falling stride of operand `lead`, ties by falling stride of the first operand that differs. */
void sumi_nest_init (SumiNest *nest, const SumiShape *dims, guint n_operands, const gint64 *const *strides, guint lead);
/* Product of the axes [from, to). */
gint64 sumi_nest_count (const SumiNest *nest, guint from, guint to);

/* Walks the axes [0, rank) of a nest in row-major order, keeping the operands' offsets. */
typedef struct
{
  guint rank;
  gint64 i[SUMI_MAX_RANK];
  gint64 at[SUMI_NEST_OPERANDS];
} SumiNestWalk;

static inline void
sumi_nest_walk_start (SumiNestWalk *w, const SumiNest *nest, guint rank, gint64 index)
{
  *w = (SumiNestWalk){ .rank = rank };
  for (guint a = rank; a-- > 0;)
    {
      w->i[a] = index % nest->d[a];
      index /= nest->d[a];
      for (guint o = 0; o < SUMI_NEST_OPERANDS; o++)
        w->at[o] += w->i[a] * nest->s[o][a];
    }
}

static inline void
sumi_nest_walk_next (SumiNestWalk *w, const SumiNest *nest)
{
  for (guint a = w->rank; a-- > 0;)
    {
      const gint64 back = ++w->i[a] < nest->d[a] ? 0 : nest->d[a];
      for (guint o = 0; o < SUMI_NEST_OPERANDS; o++)
        w->at[o] += (1 - back) * nest->s[o][a];
      if (back == 0)
        return;
      w->i[a] = 0;
    }
}

G_END_DECLS
