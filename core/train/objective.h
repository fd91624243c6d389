/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The graph of one training run: mean (weight (prediction - target)^2) and its gradients.
 *
 * Inputs: "x_t" (N,C,H,W), "timestep" (N), "target" (N,C,H,W), "weight" (N,1,1,1), for text models "input_ids" (N,S).
 * Outputs: "loss" and, for every parameter, the gradient "grad/NAME". */
#pragma once

#include "diffusion/model.h"
#include "engine/engine.h"

G_BEGIN_DECLS

typedef struct
{
  SumiGraph *graph;
  SumiModule *module; /* its parameters are what is trained */
  guint64 flops;      /* of one run */
} SumiObjective;

gboolean sumi_objective_build (SumiObjective *o, const SumiModelConfig *config, guint batch, GError **error);
void sumi_objective_clear (SumiObjective *o);

/* "grad/NAME"; free with g_free. */
char *sumi_objective_gradient_name (const char *parameter);

G_END_DECLS
