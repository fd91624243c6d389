/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The reference data's small models, as much of them as conditioning needs. */
#pragma once

#include "diffusion/model.h"

typedef struct
{
  JsonObject *json;
  SumiModelConfig config;
  SumiTensorMap *weights; /* of the text encoders */
} GoldenModel;

/* From the diffusers folder under root/models.  Ends the test on failure. */
GoldenModel *golden_model_open (const char *root, const char *name);
void golden_model_free (GoldenModel *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GoldenModel, golden_model_free)
