/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A model in several files: *.index.json, {"metadata": {…}, "weight_map": {tensor: file}}, as transformers and
 * diffusers write it beside *.safetensors or *.bin shards. */
#pragma once

#include "tensor/tensor-map.h"

G_BEGIN_DECLS

/* Opens one shard: sumi_safetensors_open or another reader. */
typedef SumiTensorMap *(*SumiShardOpen) (const char *path, GError **error);

/* The tensors of all shards, in the order of the index; its "metadata" texts and numbers are the metadata. `text` is
 * the index's JSON, `folder` where it lies.
 * bad_config (no index, or a tensor twice in it), unsafe_path (a shard that is not a plain name), missing_file and the
 * errors of `open`, missing_tensor (one that its shard does not have), bad_header (one that a shard has and the index
 * gives to another or to none), too_large. */
SumiTensorMap *sumi_shards_open (const char *text, gsize length, const char *folder, SumiShardOpen open,
                                 GError **error);

G_END_DECLS
