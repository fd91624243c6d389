/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tiny random models of Stable Diffusion's families, opened. */
#pragma once

#include <json-glib/json-glib.h>

#include "diffusion/pipeline.h"

/* Weights with the names of diffusion/model.h. name: of random-model.h. Ends the test on failure. */
SumiTensorMap *stable_model_weights (const char *name);
/* A pipeline of it. options NULL: warm; the CLIP merges are those of the data folder. */
SumiPipeline *stable_model_open (const char *name, const SumiPipelineOptions *options);
/* The same with another scheduler configuration. */
SumiPipeline *stable_model_open_scheduler (const char *name, JsonObject *scheduler);
/* A picture of smooth colours, U8 (height,width,3). */
SumiTensor *stable_model_picture (guint height, guint width);
