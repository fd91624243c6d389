/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Decoding of GGUF's block-quantised types. */
#pragma once

#include "tensor/tensor.h"

G_BEGIN_DECLS

/* Blocks at any address, n_blocks * sumi_dtype_block_length values. Nothing for a type that has no blocks. */
void sumi_dequantise (SumiDType dtype, const void *blocks, float *out, gsize n_blocks);

G_END_DECLS
