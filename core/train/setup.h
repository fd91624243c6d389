/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a training run is started with: from the command line, or from a checkpoint. */
#pragma once

#include "tensor/tensor-map.h"
#include "train/dataset.h"
#include "train/options.h"

G_BEGIN_DECLS

typedef struct
{
  JsonObject *config; /* the model's; the run fills in what the data decide: vocabulary, statistics of the latents */
  SumiTrainOptions options;
  char *data; /* folder */
  SumiDatasetKind kind;
  char *engine;         /* NULL: best */
  char **prompts;       /* of the sample grids; NULL: none */
  char *output;         /* OUT.safetensors; beside it OUT.ckpt.safetensors, OUT.latents.safetensors, OUT.loss.csv… */
  char *merges, *taef2; /* CLIP merges and TAEF2 weights, for text models */
  SumiTensorMap *checkpoint; /* to go on from, or NULL */
  SumiTensorMap *init;       /* a model whose weights and vocabulary are begun with, or NULL */
} SumiTrainSetup;

void sumi_train_setup_clear (SumiTrainSetup *s);

/* Opens a checkpoint and takes everything but merges and taef2 from it; the output only when the file is called
 * OUT.ckpt.safetensors. */
gboolean sumi_train_setup_resume (SumiTrainSetup *s, const char *checkpoint, GError **error);
/* The JSON text a checkpoint keeps of the setup. Free with g_free. */
char *sumi_train_setup_to_text (const SumiTrainSetup *s);

/* Data and output are given, and the output's curves and samples would not become pictures of the data set. */
gboolean sumi_train_setup_check (const SumiTrainSetup *s, GError **error);

/* OUT.safetensors, "ckpt.safetensors" -> OUT.ckpt.safetensors. Free with g_free. */
char *sumi_train_setup_beside (const SumiTrainSetup *s, const char *ending);

/* Fills in placeholders for what only the data can say, and parses. */
gboolean sumi_train_config_prepare (JsonObject *config, SumiModelConfig *c, GError **error);
/* A model for this data when the user names none: the simple U-Net, or with captions the starter's. */
JsonObject *sumi_train_config_default (const char *data, SumiDatasetKind kind, GError **error);

G_END_DECLS
