/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where a node's value lies in memory: a buffer, an offset and one stride per axis, as in numpy, so that reshape,
 * permute, slice, broadcast and fill cost nothing.
 *
 * An axis of size 1 always has stride 0, and so has an axis along which one value repeats. */
#pragma once

#include "graph/graph.h"

G_BEGIN_DECLS

typedef struct
{
  guint buffer;    /* index in the plan's buffers */
  gsize offset;    /* bytes */
  SumiDType dtype; /* F32, BF16 or I64 */
  SumiShape shape;
  gint64 stride[SUMI_MAX_RANK]; /* in elements */
} SumiValue;

/* The orders in which a dense value can lie. */
typedef enum
{
  SUMI_ORDER_ANY,          /* dense in whatever order; repeated axes may stay repeated */
  SUMI_ORDER_ROWS,         /* row-major */
  SUMI_ORDER_CHANNELS_LAST /* axis 1 moves to the end: N,H,W,C */
} SumiOrder;

/* The strides of a dense value of v->shape; ANY: row-major. */
void sumi_value_set_order (SumiValue *v, SumiOrder order);
/* Strides of a dense value whose axes lie in the order of `like` (same rank); repeated axes stay repeated. */
void sumi_value_set_order_like (SumiValue *v, const SumiValue *like);
gboolean sumi_value_has_order (const SumiValue *v, SumiOrder order);
gboolean sumi_value_repeats (const SumiValue *v);                        /* some axis longer than 1 has stride 0 */
gboolean sumi_value_same_place (const SumiValue *a, const SumiValue *b); /* same memory, same strides */
gint64 sumi_value_stored (const SumiValue *v); /* elements that a dense value takes in memory */

/* Views; reshape is FALSE when no strides can say it. */
gboolean sumi_value_reshape (const SumiValue *v, const SumiShape *shape, SumiValue *out);
void sumi_value_permute (const SumiValue *v, const guint8 *axes, SumiValue *out);
void sumi_value_slice (const SumiValue *v, guint axis, gint64 start, gint64 length, SumiValue *out);
void sumi_value_broadcast (const SumiValue *v, const SumiShape *shape, SumiValue *out); /* numpy rules */

G_END_DECLS
