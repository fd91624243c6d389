/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files that are no model, but something for one: adapters (nn/lora.h) and embeddings (diffusion/embedding.h). */
#pragma once

#include "diffusion/embedding.h"
#include "nn/lora.h"

G_BEGIN_DECLS

typedef struct
{
  SumiLoraInfo lora;        /* with a dialect, or it is none */
  SumiEmbedding *embedding; /* or NULL */
} SumiAdapterReport;

/* load_as "lora", "textual-inversion": read as drawing would, but for what only a model shows; else whichever of them
 * it is. name: the file's stem. unknown_model: none of them; the errors of sumi_lora_check and sumi_embedding_new. */
SumiAdapterReport *sumi_adapter_report_new (const SumiTensorMap *weights, const char *name, const char *load_as,
                                            GError **error);
void sumi_adapter_report_free (SumiAdapterReport *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiAdapterReport, sumi_adapter_report_free)

gboolean sumi_adapter_report_is_kind (const char *load_as); /* "lora" or "textual-inversion" */
/* Of the model it is for, or NULL where it cannot be told. Static. */
const char *sumi_adapter_report_family (const SumiAdapterReport *r);

G_END_DECLS
