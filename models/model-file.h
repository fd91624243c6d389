/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From a path to weights and configuration: a file of weights, or a folder as diffusers saves it. */
#pragma once

#include <json-glib/json-glib.h>

#include "tensor/tensor-map.h"

G_BEGIN_DECLS

/* Where the configuration is looked for: in the file's metadata under this key (JSON text), … */
#define SUMI_MODEL_CONFIG_KEY "sumi.config"
/* … else beside it as NAME.json for NAME.safetensors, else it is told from the tensors (models/detect.h).
 * The weights get the names they have inside Sumi (nn/names.h).
 *
 * Weights that no known family explains are no failure: *config is then NULL, and *why (unknown_model) says what was
 * found. FALSE: missing_file, bad_config, unsafe_pickle and the errors of the readers. */
gboolean sumi_model_read (const char *path, SumiTensorMap **weights, JsonObject **config, GError **why, GError **error);

/* How many bytes of a path are left without the ending of a file of weights (".safetensors", ".ckpt" …). */
gsize sumi_model_stem (const char *path);

/* For readers whose configuration was refused (takes `wrong` over): what no family explains is no failure, but told in
 * *why; *weights is then `map`. */
gboolean sumi_model_is_unknown (GError *wrong, SumiTensorMap *map, SumiTensorMap **weights, GError **why,
                                GError **error);

G_END_DECLS
