/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Weights in whatever file people have, told by its content and never by its name:
 *   safetensors                      io/safetensors.h
 *   *.safetensors.index.json         io/shards.h: {"weight_map": {tensor: file}}; the shards lie beside it
 *   torch zip archives (.ckpt .pt .bin .pth)   io/torch-zip.h, read by a restricted unpickler: nothing is executed
 *   GGUF                             io/gguf.h */
#pragma once

#include "tensor/tensor-map.h"

G_BEGIN_DECLS

/* Tensors are slices of the mapped files.  From a pickle, the places in nested dictionaries and lists joined by dots
 * are the names ("state_dict.model.diffusion_model…", "string_to_param.*", "0"; a lone tensor is "tensor"); strings and
 * numbers beside them become metadata under their own joined names.  A ParameterDict is a dictionary.  In place of
 * what is known and of no use, such as numpy's arrays, there is the metadata text "(not read)".
 * missing_file, unsupported_format (names what was found), unsafe_pickle, unsafe_path (a shard that leads elsewhere)
 * and the errors of the readers. */
SumiTensorMap *sumi_weights_open (const char *path, GError **error);

G_END_DECLS
