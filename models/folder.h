/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A model as diffusers saves it: model_index.json, and a folder with a configuration and weights for each network. */
#pragma once

#include <json-glib/json-glib.h>

#include "tensor/tensor-map.h"

G_BEGIN_DECLS

/* As sumi_model_read. */
gboolean sumi_folder_read (const char *folder, SumiTensorMap **weights, JsonObject **config, GError **why,
                           GError **error);

/* The weights file of a network's folder: STEM.safetensors, else sharded, else of half precision, else a pickle; with
 * the endings diffusers and transformers have. NULL: missing_file. Free with g_free. */
char *sumi_folder_find_weights (const char *folder, GError **error);

G_END_DECLS
