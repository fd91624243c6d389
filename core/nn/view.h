/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Layers that look at a whole picture, in networks that are built for a sample or a tile of it (SumiView). */
#pragma once

#include "nn/module.h"

G_BEGIN_DECLS

/* In a sample `value`, which becomes the output "view/PREFIXname"; in a tile the input of that name and shape. */
SumiNode *sumi_view_share (SumiModule *m, const char *name, SumiNode *value, const SumiShape *shape);
/* sumi_group_norm of x (N,C,H,W) with the mean and variance of all patches of the sample: (2,groups). */
SumiNode *sumi_view_group_norm (SumiModule *m, const char *name, SumiNode *x, SumiNode *w, SumiNode *b, guint groups,
                                double eps, SumiAct act);

G_END_DECLS
