/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which models there are, and what a file is: a path or a store name -> weights + configuration. */
#pragma once

#include "diffusion/pipeline.h"

G_BEGIN_DECLS

/* Where the installed data lie: $SUMI_DATADIR, else DATADIR/sumi of the build. Static string. */
const char *sumi_data_dir (void);
/* Where the user's own models lie: $XDG_DATA_HOME/sumi/models. Static string. */
const char *sumi_user_models_dir (void);
/* $XDG_DATA_HOME/sumi/NAME: "models", "loras", "embeddings", "vae". Static string. */
const char *sumi_user_folder (const char *name);

/* The path of `model`: a store name ("starter"), else a file or folder as it is.  A name is looked for before a file of
 * the same name in the current folder; "./NAME" says the file.  missing_file; unsafe_path for a name that would leave
 * the store. Free with g_free. */
char *sumi_model_find (const char *model, GError **error);

/* Finds `model` (a file of weights, a diffusers folder, or a store name such as "starter"), detects its family and
 * reads weights and configuration.  unknown_model, missing_file, bad_config and the reader's errors. */
gboolean sumi_model_open (const char *model, SumiTensorMap **weights, JsonObject **config, GError **error);

/* Names in the store, sorted. Free with g_strfreev. */
char **sumi_model_list (void);

/* open + sumi_pipeline_new; what the options leave open (merges, TAEF2 weights, name) is filled in. */
SumiPipeline *sumi_model_open_pipeline (const char *model, const SumiPipelineOptions *options, GError **error);

G_END_DECLS
