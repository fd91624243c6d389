/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From a request to pictures: text encoder, sampler loop with classifier-free guidance (Ho & Salimans 2022:
 * uncond + w (cond - uncond)), decoder.  One pipeline keeps its compiled plans warm between requests. */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

#include "base/rng.h"
#include "tensor/tensor-map.h"

G_BEGIN_DECLS

#define SUMI_MIN_SIDE 16
#define SUMI_MAX_SIDE 4096
#define SUMI_MAX_STEPS 1000
#define SUMI_MAX_BATCH 64
#define SUMI_MAX_GUIDANCE 100.0

typedef struct
{
  const char *prompt; /* UTF-8; NULL or "" for none */
  const char *negative_prompt;
  guint width, height;   /* pixels; 0: the model's own size */
  guint steps;           /* 1..SUMI_MAX_STEPS */
  double guidance_scale; /* 1: the prompt alone, 0: the negative prompt alone, one model call a step each */
  const char *sampler;   /* sumi_sampler_list(): "ddim", "ddpm" */
  double eta;            /* ddim, 0..1 */
  guint64 seed;
  SumiRngKind rng;
  guint batch;                  /* pictures; picture i is drawn with seed + i */
  const SumiTensor *init_noise; /* instead of the drawn start noise: (batch,C,h,w) of the sample, or NULL */
  guint preview_every;          /* every so many steps the progress function gets a picture; 0: never */
} SumiRequest;

void sumi_request_init (SumiRequest *r); /* defaults */

typedef enum
{
  SUMI_PHASE_LOAD,
  SUMI_PHASE_TEXT,
  SUMI_PHASE_SAMPLE,
  SUMI_PHASE_DECODE
} SumiPhase;

const char *sumi_phase_name (SumiPhase phase); /* "load", "text", "sample", "decode" */

/* On the calling thread. step of n_steps done, all pictures of the batch together; picture: U8 (H,W,3), what the
 * picture being drawn is expected to become, or NULL. */
typedef void (*SumiProgressFunc) (SumiPhase phase, guint step, guint n_steps, SumiTensor *picture, gpointer user);

typedef struct
{
  const char *engine; /* NULL: best */
  SumiDType dtype;    /* SUMI_F32 or SUMI_BF16 (of the denoising network; text encoder and decoder are F32) */
  guint threads;      /* 0: all */
  const char *merges; /* path of the CLIP merges (text models) */
  const char *taef2;  /* path of the TAEF2 weights (latent models) */
  const char *model;  /* name for the recipe, or NULL */
} SumiPipelineOptions;

typedef struct
{
  GPtrArray *images;     /* SumiTensor U8 (H,W,3) */
  SumiTensor *latents;   /* F32 (N,C,h,w): the sampler's last state */
  GPtrArray *notes;      /* char*: what was ignored, cut or scaled, for the user */
  GPtrArray *parameters; /* char*: the recipe of each picture, as AUTOMATIC1111's web UI writes it */
} SumiResult;

void sumi_result_free (SumiResult *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiResult, sumi_result_free)

typedef struct _SumiPipeline SumiPipeline;

/* weights + configuration of one model (models/ finds both).  config: {"family": "simple-unet" | "ddpm" |
 * "sumi-latent", …}, see docs/FORMATS.md.  Everything the networks need is looked for and checked here. */
SumiPipeline *sumi_pipeline_new (SumiTensorMap *weights, JsonObject *config, const SumiPipelineOptions *options,
                                 GError **error);
void sumi_pipeline_free (SumiPipeline *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiPipeline, sumi_pipeline_free)

gboolean sumi_pipeline_takes_prompt (const SumiPipeline *p);
void sumi_pipeline_get_size (const SumiPipeline *p, guint *width, guint *height); /* the model's own */

/* NULL on error or cancellation (checked between nodes). The same request on the same machine gives the same bytes;
 * a picture does not depend on the batch it is drawn in. */
SumiResult *sumi_pipeline_run (SumiPipeline *p, const SumiRequest *request, SumiProgressFunc progress, gpointer user,
                               GCancellable *cancellable, GError **error);

G_END_DECLS
