/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The parts of a pipeline, shared by the files that make it. */
#pragma once

#include "diffusion/conditioner.h"
#include "diffusion/model.h"
#include "diffusion/pipeline.h"
#include "engine/engine.h"
#include "nn/tokenizer.h"

G_BEGIN_DECLS

/* A compiled network with its parameters, and buffers of its input and output. */
typedef struct
{
  gboolean decoder;
  gint64 n, height, width; /* of the input */
  SumiPlan *plan;
  SumiTensor *input, *output; /* F32 */
  SumiTensor *timestep;       /* F32 (n); denoisers only */
} SumiWarmPlan;

struct _SumiPipeline
{
  SumiModelConfig config;
  SumiSchedule *schedule;
  SumiTensorMap *weights, *taef2;
  SumiEngine *engine;
  SumiDType dtype;
  guint threads;
  char *model;

  GPtrArray *warm; /* SumiWarmPlan, the last used first */

  /* text models only */
  SumiTokenizer *tokenizer;
  const gint64 *token_ids; /* of `vocabulary` */
  SumiTensor *vocabulary;
  SumiPlan *text;
};

/* ---- pipeline.c ---- */
/* Fills in the model's own size where none was asked for, checks everything, and says the sample's shape. */
gboolean sumi_pipeline_check_request (SumiPipeline *p, SumiRequest *r, SumiShape *sample, GError **error);
void sumi_pipeline_tell_ignored (SumiPipeline *p, const SumiRequest *r, const SumiShape *sample, GPtrArray *notes);

/* ---- pipeline-plans.c ---- */
void sumi_warm_plan_free (SumiWarmPlan *w);
/* Builds the networks once, at the model's own size, and checks the weights against them. */
gboolean sumi_pipeline_check_weights (SumiPipeline *p, GError **error);
/* A denoiser for n samples at once, or a decoder, at a size in sample values: kept from before or compiled now. */
SumiWarmPlan *sumi_pipeline_warm (SumiPipeline *p, gboolean decoder, gint64 n, gint64 height, gint64 width,
                                  GError **error);
/* The text encoder for one prompt (input "input_ids" (1,S); outputs "states" (1,S,D), "pooled" (1,D)). */
SumiPlan *sumi_pipeline_text_plan (SumiPipeline *p, GError **error);

/* ---- pipeline-text.c ---- */
/* Tells in `notes` which words are unknown and what was cut. */
gboolean sumi_pipeline_encode (SumiPipeline *p, const char *what, const char *prompt, SumiTextStates *t,
                               GPtrArray *notes, GCancellable *cancellable, GError **error);

/* ---- recipe.c ---- */
/* The recipe of picture i. Free with g_free. */
char *sumi_recipe_text (const SumiRequest *r, guint i, gboolean takes_prompt, const char *model);

G_END_DECLS
