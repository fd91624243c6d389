/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a model is, without running it: what `sumi inspect` prints. */
#pragma once

#include "models/inspect-adapter.h"
#include "models/model-report.h"

G_BEGIN_DECLS

typedef struct
{
  char *path;
  SumiTensorMap *weights;
  JsonObject *json;           /* the configuration; with a report only */
  SumiModelConfig config;     /* with a report only */
  SumiModelReport *report;    /* NULL: no family that is known */
  SumiAdapterReport *adapter; /* NULL: neither adapter nor embedding */
  GError *why;                /* unknown_model; set exactly when report is NULL */
  GPtrArray *non_finite;      /* char*: tensors with NaN or infinity; NULL where nobody looked */
} SumiInspection;

/* `model` as sumi_model_find takes it.  load_as: NULL, or what to read it as, as drawing would, with the errors that
 * would have: "any" (every tensor is read, a known family is not needed), "model" (of any known family), a family's
 * name, "lora" or "textual-inversion". usage for another word. */
SumiInspection *sumi_inspection_new (const char *model, const char *load_as, GError **error);
/* What its denoiser draws from, in a word: "text", "inpainting", "edit" (a picture and an instruction), "pixels". */
const char *sumi_inspection_get_variant (const SumiInspection *i);
void sumi_inspection_free (SumiInspection *i);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiInspection, sumi_inspection_free)

G_END_DECLS
