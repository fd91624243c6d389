/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One row of the case table (cases.def): a small graph around one op, and values for its leaves. */
#pragma once

#include "engine/engine.h"

G_BEGIN_DECLS

typedef struct
{
  SumiOp op; /* that the row is for */
  const char *name;
  SumiNode *(*build) (SumiGraph *g);
  gboolean f32_only; /* in bf16 the result is noise, by its nature */
} SumiCase;

extern const SumiCase sumi_cases[];
extern const guint sumi_n_cases;

/* With output "y" and the row's own further outputs. */
SumiGraph *sumi_case_graph (const SumiCase *c);
/* Whether every op between the real leaves and y has a gradient. */
gboolean sumi_case_is_differentiable (const SumiCase *c);
/* With the output "loss", the sum of y times the input "cotangent", and the row's own. */
SumiGraph *sumi_case_loss_graph (const SumiCase *c);
/* With an output for that loss's gradient in each real leaf of y, named as the leaf, and the row's own. */
SumiGraph *sumi_case_grad_graph (const SumiCase *c);

/* The real inputs and parameters but for "cotangent"; g_ptr_array_unref. */
GPtrArray *sumi_case_real_leaves (const SumiGraph *g);
/* "conv2d/3x3"; g_free. */
char *sumi_case_path (const SumiCase *c);
/* The test /SUITE/PATH, with the row as its data. */
void sumi_case_add_test (const char *suite, const SumiCase *c, GTestDataFunc run);

G_END_DECLS
