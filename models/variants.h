/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a model of a known family was made into: what its network predicts, and whether it was distilled to few steps.
 */
#pragma once

#include <json-glib/json-glib.h>

#include "tensor/tensor-map.h"

G_BEGIN_DECLS

/* Sets the scheduler's prediction_type (and zero terminal SNR), with evidence.  unet: original names; NULL: only the
 * file's metadata, markers and name are looked at. Leaves a prediction_type that is there. */
void sumi_variants_prediction (JsonObject *config, const SumiTensorMap *file, const SumiTensorMap *unet,
                               const char *name);
/* Sets "defaults" of models whose name says that they were distilled; and sampler and spacing, unless the scheduler is
 * the authors' own. */
void sumi_variants_distilled (JsonObject *config, const char *name, gboolean own_scheduler);

G_END_DECLS
