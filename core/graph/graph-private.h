/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the builders in graph/ share: appending a node, and refusing one. */
#pragma once

#include "graph/graph.h"

G_BEGIN_DECLS

/* No value has more elements: its bytes, sums of a few sizes and strides all stay within gint64. */
#define SUMI_MAX_NUMEL (G_GINT64_CONSTANT (1) << 48)

/* Appends a node.  A shape that is no shape (a dimension below 1, too many elements) is a mistake. attr NULL: none. */
SumiNode *sumi_graph_append (SumiGraph *g, SumiOp op, SumiNodeKind kind, const SumiShape *shape, const SumiAttr *attr,
                             SumiNode *const *src, guint n_src);

/* The common case: a REAL node. */
#define sumi_graph_append_real(g, op, shape, attr, ...)                                                                \
  sumi_graph_append ((g), (op), SUMI_REAL, (shape), (attr), (SumiNode *const[]){ __VA_ARGS__ },                        \
                     sizeof ((SumiNode *[]){ __VA_ARGS__ }) / sizeof (SumiNode *))

/* Remembers the mistake and gives the harmless node that the builder returns. */
SumiNode *sumi_graph_mistake (SumiGraph *g, const char *format, ...) G_GNUC_PRINTF (2, 3);
/* As sumi_graph_poison, with another error code than shape_mismatch. */
void sumi_graph_poison_code (SumiGraph *g, SumiError code, const char *format, ...) G_GNUC_PRINTF (3, 4);

/* FALSE, with a mistake remembered, when x is INDEX or does not have this rank. */
gboolean sumi_graph_want_real (SumiGraph *g, SumiOp op, const SumiNode *x);
gboolean sumi_graph_want_rank (SumiGraph *g, SumiOp op, const char *what, const SumiNode *x, guint rank);
gboolean sumi_graph_want_shape (SumiGraph *g, SumiOp op, const char *what, const SumiNode *x, const SumiShape *want);

/* The common shape of two broadcast shapes, as in numpy; FALSE when there is none. */
gboolean sumi_shape_broadcast (const SumiShape *a, const SumiShape *b, SumiShape *out);

G_END_DECLS
