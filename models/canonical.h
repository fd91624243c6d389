/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Checkpoints of any naming -> the one set of names that a model has inside Sumi (nn/names.h).  Tensors stay slices of
 * the mapped file; only OpenCLIP's text_projection, which is stored the other way round, is copied. */
#pragma once

#include "diffusion/model.h"
#include "models/components.h"

G_BEGIN_DECLS

/* A single-file checkpoint.  Names that no network of `config` has are kept as they are; those of layers that are not
 * used go to c->ignored. Metadata are those of `file`. Transfer full; NULL: out_of_memory, bad_shape. */
SumiTensorMap *sumi_canonical_from_components (SumiComponents *c, const SumiTensorMap *file,
                                               const SumiModelConfig *config, GError **error);

/* One part with diffusers' (transformers') names, as its folder holds it, into `to`, with "unet." … in front: also the
 * names and shapes of older versions. ignored: char*. */
gboolean sumi_canonical_add_part (SumiTensorMap *to, const SumiTensorMap *from, SumiComponentKind kind,
                                  const SumiModelConfig *config, GPtrArray *ignored, GError **error);

G_END_DECLS
