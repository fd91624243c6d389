/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What torch.save has written since torch 1.6 (.ckpt .pt .pth .bin): a zip archive of stored entries, PREFIX/data.pkl,
 * a pickle that says which tensors there are, and PREFIX/data/KEY, their values. */
#pragma once

#include "tensor/tensor-map.h"

G_BEGIN_DECLS

/* Names and metadata are as io/weights.h says. Contiguous tensors are slices of the archive; others (channels-last
 * ones) are copied into order, all together at most the size of the archive.
 * Errors of io/zip.h and io/pickle.h, and: missing_tensor (a storage that is not in the archive), bad_shape and
 * bad_offsets (a tensor beyond its storage), unsupported_format (no checkpoint of torch, or a big-endian one). */
SumiTensorMap *sumi_torch_zip_open (const char *path, GError **error);
/* From memory, which is not taken for a mapping. */
SumiTensorMap *sumi_torch_zip_parse (GBytes *bytes, GError **error);

G_END_DECLS
