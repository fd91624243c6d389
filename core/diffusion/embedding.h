/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Textual inversion (Gal et al. 2022): learned vectors that stand for a word.  Read from the four kinds of files there
 * are (A1111 .pt, "emb_params", diffusers' {"<token>": vectors}, SDXL's clip_l + clip_g). */
#pragma once

#include "tensor/tensor-map.h"

G_BEGIN_DECLS

typedef struct
{
  char *token; /* what stands for it in a prompt: the dictionary's key or, where the file has none, `name` */
  guint n_vectors;
  SumiTensor *vectors;   /* F32 (n,D) of the first text encoder, or NULL */
  SumiTensor *vectors_2; /* F32 (n,D) of the second (SDXL), or NULL */
} SumiEmbedding;

/* file: as io/weights.h gives it; name: the file's stem.
 * unknown_model: no embedding; bad_shape, unsupported_dtype, non_finite, too_large (more than 75 vectors). */
SumiEmbedding *sumi_embedding_new (const SumiTensorMap *file, const char *name, GError **error);
void sumi_embedding_free (SumiEmbedding *e);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiEmbedding, sumi_embedding_free)

G_END_DECLS
