/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reverse-mode autodiff on the graph: one rule per op returns graph nodes (graph/vjp.c); only nodes on a path from
 * the loss to a wanted node are visited. */
#pragma once

#include "graph/graph.h"

G_BEGIN_DECLS

/* loss: a REAL node with one element.  grads[i] becomes d loss / d wrt[i], shaped as wrt[i]; a node the loss does not
 * depend on gets a fill of zeros.  An op on the path without a gradient poisons the graph (engine error at check). */
void sumi_graph_grad (SumiGraph *g, SumiNode *loss, SumiNode *const *wrt, guint n, SumiNode **grads);

/* The rule of one op: gy is the gradient of n; fill gsrc[i] for every want[i]. In graph/vjp.c. */
void sumi_vjp (SumiGraph *g, const SumiNode *n, SumiNode *gy, const gboolean *want, SumiNode **gsrc);

G_END_DECLS
