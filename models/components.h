/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A checkpoint in one file, taken apart: the prefixes of the original code ("ldm"; Rombach et al. 2022, and Stability
 * AI's generative-models for SDXL) say which network a tensor belongs to. */
#pragma once

#include "tensor/tensor-map.h"

G_BEGIN_DECLS

typedef enum
{
  SUMI_COMPONENT_UNET,
  SUMI_COMPONENT_VAE,
  SUMI_COMPONENT_TEXT,
  SUMI_COMPONENT_TEXT_2,
  SUMI_N_COMPONENTS
} SumiComponentKind;

typedef struct
{
  SumiTensorMap *tensors[SUMI_N_COMPONENTS]; /* names without the prefix; the file's own tensors */
  const char *prefix[SUMI_N_COMPONENTS];     /* what stood before them, for messages; NULL where there are none */
  gboolean open_clip[SUMI_N_COMPONENTS];     /* a text encoder with OpenCLIP's names; else transformers' */
  GPtrArray *ignored;                        /* char*: what training left behind, and nothing is drawn from */
  SumiTensorMap *unknown;                    /* of no part that is known */
} SumiComponents;

SumiComponents *sumi_components_new (const SumiTensorMap *file);
void sumi_components_free (SumiComponents *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiComponents, sumi_components_free)

/* "unet", "vae", "text_encoder", "text_encoder_2": the folder of diffusers. */
const char *sumi_component_name (SumiComponentKind k);
/* Whether a name (with its prefix) is one that is ignored. */
gboolean sumi_component_is_ignored (const char *name);

G_END_DECLS
