/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the readers of weights share: a file mapped for reading, or bytes from anywhere else. */
#pragma once

#include "tensor/tensor-map.h"

G_BEGIN_DECLS

/* sumi_tensor_new_mapped or sumi_tensor_new_bytes. */
typedef SumiTensor *(*SumiNewTensorFunc) (SumiDType dtype, const SumiShape *shape, GBytes *bytes, GError **error);
/* Tensors made by new_tensor are slices of bytes. */
typedef SumiTensorMap *(*SumiParseFunc) (GBytes *bytes, SumiNewTensorFunc new_tensor, GError **error);

/* Errors begin with the path. */
SumiTensorMap *sumi_parse_mapped (const char *path, SumiParseFunc parse, GError **error);

G_END_DECLS
