/* SPDX-License-Identifier: GPL-3.0-or-later */
/* safetensors: u64 LE header length n | n bytes of JSON | data.
 * Format: https://github.com/huggingface/safetensors (README, "Format").
 *
 * The reader validates everything before any tensor exists: length, UTF-8, JSON, depth, duplicate names, integer
 * dimensions, products, dtype, and that the data ranges are ordered without holes, overlaps or bytes left over. */
#pragma once

#include "tensor/tensor-map.h"

G_BEGIN_DECLS

/* Memory-maps the file; tensors are slices of the mapping. */
SumiTensorMap *sumi_safetensors_open (const char *path, GError **error);
/* From memory (fuzzing, tests, sockets). */
SumiTensorMap *sumi_safetensors_parse (GBytes *bytes, GError **error);
/* Writes to a temporary file beside `path`, syncs and renames: `path` is complete or untouched.
 * Tensors sorted by (dtype size descending, name), header padded to 8. */
gboolean sumi_safetensors_save (const SumiTensorMap *map, const char *path, GError **error);

G_END_DECLS
