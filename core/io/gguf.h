/* SPDX-License-Identifier: GPL-3.0-or-later */
/* GGUF, versions 2 and 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md):
 * "GGUF" | version | counts | key-value pairs | tensor infos | padding | data. */
#pragma once

#include "tensor/tensor-map.h"

G_BEGIN_DECLS

/* Dimensions are turned round: the slowest comes first, as everywhere here.  Block-quantised tensors stay as they are
 * in the file.  Numbers and strings become metadata, arrays do not, but for comfy.gguf.orig_shape.NAME: the shape that
 * a tensor of NAME had before its rows were made whole blocks is given back to it.
 * truncated, bad_header, bad_shape, bad_offsets, unsupported_dtype (a type not listed in tensor.h), unsupported_format
 * (another version, a big-endian file), too_large. */
SumiTensorMap *sumi_gguf_open (const char *path, GError **error);
/* From memory, which is not taken for a mapping. */
SumiTensorMap *sumi_gguf_parse (GBytes *bytes, GError **error);

G_END_DECLS
