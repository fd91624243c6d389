/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What weights are of which nobody wrote down the configuration. */
#pragma once

#include <json-glib/json-glib.h>

#include "tensor/tensor-map.h"

G_BEGIN_DECLS

/* The configuration, where names and shapes leave no doubt about the family; else unknown_model, saying what the file
 * looks like. */
JsonObject *sumi_model_detect (const SumiTensorMap *weights, GError **error);

G_END_DECLS
