/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Weights held against what the model's networks ask for. */
#pragma once

#include "diffusion/model.h"
#include "models/components.h"

G_BEGIN_DECLS

typedef struct
{
  guint64 n_parameters;              /* values the networks have */
  guint64 n_part[SUMI_N_COMPONENTS]; /* of them in each network of a model that has several; else 0 */
  GPtrArray *missing;                /* char*: parameters without a tensor */
  GPtrArray *unknown;                /* char*: tensors no network asks for */
  GError *wrong; /* the first missing tensor, wrong shape, wrong type or value that is not finite; or NULL */
} SumiModelReport;

/* Reads every tensor the model needs. NULL: the configuration makes no network (shape_mismatch). */
SumiModelReport *sumi_model_report_new (const SumiTensorMap *weights, const SumiModelConfig *config, GError **error);
void sumi_model_report_free (SumiModelReport *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiModelReport, sumi_model_report_free)

G_END_DECLS
