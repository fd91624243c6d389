/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What weights are of which nobody wrote down the configuration. */
#pragma once

#include <json-glib/json-glib.h>

#include "models/components.h"

G_BEGIN_DECLS

/* The configuration, where names and shapes leave no doubt about the family; else unknown_model, saying what the file
 * looks like.  Without `components` only models of pixels are known.
 * name: of the file or folder, whose words tell of distilled models.
 * known (may be NULL): {"family", "unet": {"attention_heads_per_level", "norm_num_groups", …}, "vae", "text_encoder",
 * "text_encoder_2", "scheduler"}: the hyper-parameters of a single file which its shapes do not show (docs/FORMATS.md);
 * they win over what is supposed. bad_config. */
JsonObject *sumi_model_detect (const SumiTensorMap *file, const SumiComponents *components, const char *name,
                               JsonObject *known, GError **error);

G_END_DECLS
